//! Reading JSON files that nobody vouches for.

use std::fmt;
use std::io::Read;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::{ForeignContent, HubError, open_regular_file};

/// Reads at most `limit` bytes of a regular file; a larger file, a directory or a pipe is an error.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, HubError> {
    let file = open_regular_file(path)?;
    let metadata = file.metadata().map_err(HubError::io("read", path))?;
    let too_large = |bytes| HubError::FileTooLarge {
        path: path.to_path_buf(),
        bytes,
        limit,
    };
    if metadata.len() > limit {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(HubError::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Reads and parses a JSON file of at most `limit` bytes, as Python's `json` would: a byte order mark is passed over, and the
/// words `NaN`, `Infinity` and `-Infinity` are values. They are read as strings, so that a number that is needed must be one.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T, HubError> {
    let bytes = read_limited(path, limit)?;
    if let Some(found) = ForeignContent::recognize(&bytes) {
        return Err(HubError::Foreign {
            path: path.to_path_buf(),
            found,
        });
    }
    let json = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let parsed = serde_json::from_slice(json).or_else(|error| match quoted_words(json) {
        Some(quoted) => serde_json::from_slice(&quoted).map_err(|_| error),
        None => Err(error),
    });
    parsed.map_err(|source| HubError::Json {
        path: path.to_path_buf(),
        source,
    })
}

/// The document with quotation marks around the words that JSON does not have, if it has any outside of strings.
fn quoted_words(json: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut quoted = Vec::with_capacity(json.len() + 16);
    let (mut rest, mut found) = (json, false);
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'"' {
            let end = string_end(rest);
            quoted.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        match WORDS.into_iter().find(|word| rest.starts_with(word)) {
            Some(word) => {
                quoted.push(b'"');
                quoted.extend_from_slice(word);
                quoted.push(b'"');
                rest = &rest[word.len()..];
                found = true;
            }
            None => {
                quoted.push(byte);
                rest = after;
            }
        }
    }
    found.then_some(quoted)
}

/// Bytes of the string that begins here, its quotation marks included.
fn string_end(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// A JSON object whose keys must all differ, in file order. Serde's maps silently keep the last of two equal keys.
pub(crate) struct UniqueMap<V>(pub(crate) Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UniqueVisitor<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for UniqueVisitor<V> {
            type Value = UniqueMap<V>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    let value = map
                        .next_value()
                        .map_err(|error| A::Error::custom(format!("`{key}`: {error}")))?;
                    entries.push((key, value));
                }
                let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
                keys.sort_unstable();
                if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
                    return Err(A::Error::custom(format!("`{}` occurs twice", pair[0])));
                }
                Ok(UniqueMap(entries))
            }
        }

        deserializer.deserialize_map(UniqueVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_keys_are_named() {
        let map: UniqueMap<u8> = serde_json::from_str(r#"{"b": 1, "a": 2}"#).unwrap();
        assert_eq!(map.0, [("b".to_owned(), 1), ("a".to_owned(), 2)]);
        let error = serde_json::from_str::<UniqueMap<u8>>(r#"{"a": 1, "a": 1}"#)
            .err()
            .unwrap();
        assert!(error.to_string().contains("`a` occurs twice"));
        let error = serde_json::from_str::<UniqueMap<u8>>(r#"{"a": -1}"#)
            .err()
            .unwrap();
        assert!(error.to_string().contains("`a`"), "{error}");
    }

    #[test]
    fn size_and_kind_of_file_are_checked() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, b"[1,2]").unwrap();
        assert_eq!(read_json::<Vec<u8>>(&file, 5).unwrap(), [1, 2]);
        assert!(matches!(
            read_limited(&file, 4),
            Err(HubError::FileTooLarge { bytes: 5, .. })
        ));
        assert!(matches!(
            read_limited(directory.path(), 4),
            Err(HubError::NotAFile { .. })
        ));
    }

    #[test]
    fn what_python_writes_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            read_json::<serde_json::Value>(&file, 100)
        };
        assert_eq!(
            read("\u{feff}{\"a\": 1}").unwrap(),
            serde_json::json!({"a": 1})
        );
        assert_eq!(
            read(r#"{"NaN \" Infinity": [NaN, -Infinity, Infinity, 2], "b": "NaN"}"#).unwrap(),
            serde_json::json!({"NaN \" Infinity": ["NaN", "-Infinity", "Infinity", 2], "b": "NaN"})
        );
        for damaged in ["{NaN: 1", "{\"a\": NaN", "[1, Nan]", "\"\\"] {
            assert!(
                matches!(read(damaged), Err(HubError::Json { .. })),
                "{damaged}"
            );
        }
    }
}
