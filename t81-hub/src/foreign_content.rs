//! What downloads and clones leave in place of a file, recognized by its first bytes.

use std::fmt;

use serde_json::Value;

/// Longer messages of servers are cut.
const SHOWN_CHARACTERS: usize = 120;

/// Error messages are short; a longer JSON document is what it says it is.
const MAX_MESSAGE_BYTES: usize = 4096;

/// First words of the answers that the Hugging Face Hub gives in plain text.
const REFUSALS: [&str; 5] = [
    "Entry not found",
    "Repository not found",
    "Invalid username or password",
    "Access to model",
    "Not Found",
];

/// Contents that are plainly not the model or data file that their name promises. Its text form is to be read after "is" and
/// says how to get the file.
///
/// ```
/// use t81_hub::ForeignContent;
///
/// let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:9f2\nsize 1200\n";
/// let found = ForeignContent::recognize(pointer);
/// assert_eq!(found, Some(ForeignContent::LfsPointer { bytes: Some(1200) }));
/// assert_eq!(ForeignContent::recognize(b"{\"model_type\": \"llama\"}"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignContent {
    /// The pointer that Git keeps in place of a large file.
    LfsPointer {
        /// Size of the large file, if the pointer says so.
        bytes: Option<u64>,
    },
    /// A page for browsers.
    WebPage,
    /// What a server answered in place of the file.
    ServerMessage(String),
    /// An archive or a compressed file.
    Packed {
        /// The format's name.
        format: &'static str,
        /// A command that unpacks it, if one is enough.
        command: Option<&'static str>,
    },
    /// Weights in another format than safetensors.
    OtherWeights(&'static str),
    /// Only zeros, as a download that was cut off leaves.
    Zeros,
}

impl ForeignContent {
    /// Recognizes contents by their first bytes: a kilobyte is enough, but for a server's message, which is recognized only whole.
    /// `None` says nothing about the contents.
    pub fn recognize(bytes: &[u8]) -> Option<Self> {
        Self::magic(bytes).or_else(|| Self::text(bytes))
    }

    fn magic(bytes: &[u8]) -> Option<Self> {
        let packed = |format, command| Some(Self::Packed { format, command });
        match bytes {
            [0x1f, 0x8b, ..] => packed("gzip", Some("gunzip")),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => packed("zstd", Some("unzstd")),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => packed("xz", Some("unxz")),
            // PyTorch's files are archives of this kind, too.
            [b'P', b'K', 3, 4, ..] => packed("ZIP", None),
            [0x80, 2..=5, ..] => Some(Self::OtherWeights("a pickle of Python")),
            [b'G', b'G', b'U', b'F', ..] => Some(Self::OtherWeights("a GGUF file")),
            [0x89, b'H', b'D', b'F', ..] => Some(Self::OtherWeights("an HDF5 file")),
            _ if bytes.len() >= 16 && bytes.iter().all(|byte| *byte == 0) => Some(Self::Zeros),
            _ => None,
        }
    }

    fn text(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = bytes.trim_ascii();
        if text.starts_with(b"version https://git-lfs.github.com/spec/") {
            let lines = text.split(|byte| *byte == b'\n');
            let size = lines.filter_map(|line| line.strip_prefix(b"size "));
            let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.trim().parse().ok();
            return Some(Self::LfsPointer {
                bytes: size.filter_map(number).next(),
            });
        }
        let starts = |start: &[u8]| {
            let beginning = text.get(..start.len());
            beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(start))
        };
        if [&b"<!doctype html"[..], b"<html", b"<head"]
            .into_iter()
            .any(starts)
        {
            return Some(Self::WebPage);
        }
        if text.len() > MAX_MESSAGE_BYTES {
            return None;
        }
        if starts(b"<?xml") && contains(text, b"<Error>") {
            return Some(Self::message(&String::from_utf8_lossy(text)));
        }
        if REFUSALS
            .iter()
            .any(|refusal| text.starts_with(refusal.as_bytes()))
        {
            return Some(Self::message(&String::from_utf8_lossy(text)));
        }
        // A model's files have other fields; none of them is called so.
        match serde_json::from_slice(text) {
            Ok(Value::Object(fields)) if fields.len() <= 4 => match fields.get("error") {
                Some(Value::String(message)) => Some(Self::message(message)),
                _ => None,
            },
            _ => None,
        }
    }

    fn message(text: &str) -> Self {
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self::ServerMessage(match line.char_indices().nth(SHOWN_CHARACTERS) {
            Some((end, _)) => format!("{}...", &line[..end]),
            None => line,
        })
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

impl fmt::Display for ForeignContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LfsPointer { bytes } => {
                f.write_str("a Git LFS pointer, not the file itself")?;
                if let Some(bytes) = bytes {
                    write!(f, " (which has {bytes} bytes)")?;
                }
                f.write_str(
                    "; fetch it: run `git lfs install` once and `git lfs pull` in the clone, or download the repository with `hf download OWNER/NAME`",
                )
            }
            Self::WebPage => f.write_str(
                "a web page, not the file itself; on the Hugging Face Hub links to files contain /resolve/, not /blob/, and \
                 `hf download OWNER/NAME` fetches all of them",
            ),
            Self::ServerMessage(message) => write!(
                f,
                "a server's message in place of the file: \"{message}\"; download it again (a private or gated repository \
                 needs HF_TOKEN)"
            ),
            Self::Packed { format, command } => {
                write!(f, "{format} data, not the file itself; ")?;
                match command {
                    Some(command) => write!(f, "unpack it with `{command}` (it may need a suffix that the command knows)"),
                    None => f.write_str(
                        "unpack it, or, if it is a PyTorch checkpoint, convert it: load it with transformers and save it with save_pretrained",
                    ),
                }
            }
            Self::OtherWeights(what) => write!(
                f,
                "{what}, which is another format; use the model's safetensors, or load it with transformers and save it with save_pretrained"
            ),
            Self::Zeros => f.write_str(
                "filled with zeros: the download was cut off; download it again",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substitutes_are_recognized() {
        let page = b"\n<!DOCTYPE HTML><html><body>Sign in</body></html>";
        assert_eq!(
            ForeignContent::recognize(page),
            Some(ForeignContent::WebPage)
        );
        let message = |text: &str| Some(ForeignContent::ServerMessage(text.to_owned()));
        for (bytes, expected) in [
            (&b"Entry not found"[..], message("Entry not found")),
            (
                b"{\"error\":\"Repository not found\"}",
                message("Repository not found"),
            ),
            (
                b"Invalid username or password.",
                message("Invalid username or password."),
            ),
            (
                b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
                message("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"),
            ),
            (&[0; 64], Some(ForeignContent::Zeros)),
            (
                b"version https://git-lfs.github.com/spec/v1\r\noid sha256:1\r\nsize 7\r\n",
                Some(ForeignContent::LfsPointer { bytes: Some(7) }),
            ),
            (
                b"version https://git-lfs.github.com/spec/v1\n",
                Some(ForeignContent::LfsPointer { bytes: None }),
            ),
            (
                b"PK\x03\x04archive/data.pkl",
                Some(ForeignContent::Packed {
                    format: "ZIP",
                    command: None,
                }),
            ),
        ] {
            assert_eq!(ForeignContent::recognize(bytes), expected);
        }
        let text = ForeignContent::recognize(b"\x1f\x8b\x08\x00").unwrap();
        assert!(text.to_string().contains("gunzip"), "{text}");
    }

    #[test]
    fn ordinary_contents_are_not() {
        for bytes in [
            &b""[..],
            b"{}",
            b"{\"error\": 3}",
            b"{\"error\": \"x\"}\n{\"error\": \"y\"}",
            b"[1, 2]",
            b"PAR1",
            b"version 2 of a story",
            b"<p>Prose with a tag</p>",
        ] {
            assert_eq!(ForeignContent::recognize(bytes), None, "{bytes:?}");
        }
    }
}
