//! The JSON header of a safetensors file, validated against the file's size.
//!
//! Layout: `u64` little-endian header length, the JSON header, then the data region that the header's
//! `data_offsets` index. The `safetensors` crate checks that offsets are contiguous and fit shape and dtype; the checks
//! that it lacks (repeated names, offsets so large that their sum overflows) are made here, before it is asked.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::HubError;

/// The header may not be larger than this, as in the reference implementation.
pub(crate) const MAX_HEADER_BYTES: u64 = 100_000_000;

/// One tensor of a file. `range` counts bytes from the start of the file and lies within it.
#[derive(Debug)]
pub(crate) struct HeaderEntry {
    pub(crate) name: String,
    pub(crate) dtype: safetensors::Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) range: Range<usize>,
}

/// Parses the header of the file whose whole contents are `file`; entries come in file order.
pub(crate) fn parse_header(file: &[u8], path: &Path) -> Result<Vec<HeaderEntry>, HubError> {
    let invalid = |problem: String| HubError::Safetensors {
        path: path.to_path_buf(),
        problem,
    };
    let Some((length, rest)) = file.split_first_chunk::<8>() else {
        return Err(invalid(format!(
            "it has {} bytes, too few for a header length",
            file.len()
        )));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(invalid(format!(
            "a header of {length} bytes is announced, over the limit"
        )));
    }
    let length = length as usize;
    let Some((header, data)) = rest.split_at_checked(length) else {
        return Err(invalid(format!(
            "it ends within the header ({length} bytes announced, {} present)",
            rest.len()
        )));
    };
    let RawHeader(mut tensors) =
        serde_json::from_slice(header).map_err(|error| invalid(format!("header: {error}")))?;
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    for (name, info) in &tensors {
        let (start, end) = info.data_offsets;
        if end > data.len() {
            return Err(invalid(format!(
                "tensor `{name}` ends at byte {end} of the data, but the file holds only {} (truncated?)",
                data.len()
            )));
        }
        if start > end {
            return Err(invalid(format!(
                "tensor `{name}` ends at {end}, before its start {start}"
            )));
        }
    }
    let metadata = Metadata::new(None, tensors.clone()).map_err(|error| {
        invalid(match error {
            safetensors::SafeTensorError::InvalidOffset(name) => {
                format!("tensor `{name}` overlaps its predecessor or leaves a gap")
            }
            safetensors::SafeTensorError::TensorInvalidInfo => {
                match tensors.iter().find(|(_, info)| !size_fits(info)) {
                    Some((name, info)) => format!(
                        "tensor `{name}` ({} {:?}) does not fit its {} bytes",
                        info.dtype,
                        info.shape,
                        info.data_offsets.1 - info.data_offsets.0
                    ),
                    None => "a tensor's size contradicts its shape".to_owned(),
                }
            }
            other => other.to_string(),
        })
    })?;
    if metadata.data_len() != data.len() {
        return Err(invalid(format!(
            "{} bytes follow the last tensor",
            data.len() - metadata.data_len()
        )));
    }
    let base = 8 + length;
    Ok(tensors
        .into_iter()
        .map(|(name, info)| HeaderEntry {
            name,
            dtype: info.dtype,
            shape: info.shape,
            range: base + info.data_offsets.0..base + info.data_offsets.1,
        })
        .collect())
}

fn size_fits(info: &TensorInfo) -> bool {
    info.shape
        .iter()
        .try_fold(info.dtype.bitsize(), |bits, &length| {
            bits.checked_mul(length)
        })
        .is_some_and(|bits| bits / 8 == info.data_offsets.1 - info.data_offsets.0)
}

struct RawHeader(Vec<(String, TensorInfo)>);

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;

        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = RawHeader;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut tensors = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<Option<BTreeMap<String, String>>>()
                            .map_err(|error| A::Error::custom(format!("`{name}`: {error}")))?;
                        continue;
                    }
                    let info = map
                        .next_value::<TensorInfo>()
                        .map_err(|error| A::Error::custom(format!("tensor `{name}`: {error}")))?;
                    if tensors.contains_key(&name) {
                        return Err(A::Error::custom(format!("tensor `{name}` occurs twice")));
                    }
                    tensors.insert(name, info);
                }
                Ok(RawHeader(tensors.into_iter().collect()))
            }
        }

        deserializer.deserialize_map(HeaderVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    fn problem(bytes: &[u8]) -> String {
        parse_header(bytes, Path::new("model.safetensors"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn entries_are_in_file_order_with_absolute_ranges() {
        let header = r#"{"b":{"dtype":"U8","shape":[3],"data_offsets":[4,7]},
            "__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}"#;
        let entries = parse_header(&file(header, 7), Path::new("x")).unwrap();
        assert_eq!(entries[0].name, "a");
        assert_eq!(entries[0].shape, [1, 1]);
        assert_eq!(entries[1].range, header.len() + 12..header.len() + 15);
    }

    #[test]
    fn metadata_may_be_null() {
        let header = r#"{"__metadata__":null,"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
        let entries = parse_header(&file(header, 1), Path::new("x")).unwrap();
        assert_eq!((entries.len(), entries[0].name.as_str()), (1, "a"));
        let error = problem(&file(r#"{"__metadata__":3}"#, 0));
        assert!(error.contains("__metadata__"), "{error}");
    }

    #[test]
    fn damage_is_described() {
        let table: [(Vec<u8>, &str); 17] = [
            (vec![], "too few"),
            (vec![1, 2, 3], "too few"),
            (u64::MAX.to_le_bytes().to_vec(), "over the limit"),
            (100u64.to_le_bytes().to_vec(), "ends within the header"),
            (file("", 0), "header"),
            (file("[]", 0), "object of tensors"),
            (file("{\"a\":", 0), "EOF"),
            (file("{\"a\":\"\u{1}\"}", 0), "`a`"),
            (
                file(
                    r#"{"a":{"dtype":"Q9","shape":[1],"data_offsets":[0,1]}}"#,
                    1,
                ),
                "Q9",
            ),
            (
                file(
                    r#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#,
                    1,
                ),
                "`a`",
            ),
            (
                file(
                    r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#,
                    1,
                ),
                "truncated",
            ),
            (
                file(
                    r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[2,1]}}"#,
                    2,
                ),
                "before its start",
            ),
            (
                file(
                    r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
                    4,
                ),
                "`a` (F32 [2])",
            ),
            (
                file(
                    r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
                    2,
                ),
                "1 bytes follow",
            ),
            (
                file(
                    r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
                    1,
                ),
                "`a` occurs twice",
            ),
            (
                file(
                    r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
                    3,
                ),
                "`b` overlaps",
            ),
            (
                file(
                    r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#,
                    0,
                ),
                "overflow",
            ),
        ];
        for (bytes, expected) in &table {
            let message = problem(bytes);
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
    }

    /// Offsets near 2^64 wrap the sum that the reference implementation compares with the file's size.
    #[test]
    fn wrapping_offsets_are_refused() {
        let header = r#"{"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,9223372036854775808]},
            "b":{"dtype":"U8","shape":[9223372036854775806],"data_offsets":[9223372036854775808,18446744073709551614]}}"#;
        assert!(problem(&file(header, 6)).contains("truncated"));
    }
}
