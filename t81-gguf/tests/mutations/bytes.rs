//! The bytes of a GGUF file, with a note of where each field begins.

use std::collections::BTreeMap;

/// A GGUF file under construction, which need not be valid.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bytes {
    bytes: Vec<u8>,
    /// Where fields begin, by a name of their own.
    fields: BTreeMap<String, usize>,
}

impl Bytes {
    pub(crate) fn header(tensors: u64, entries: u64) -> Self {
        Self::default()
            .raw("magic", b"GGUF")
            .u32("version", 3)
            .u64("tensor count", tensors)
            .u64("entry count", entries)
    }

    pub(crate) fn raw(mut self, field: &str, bytes: &[u8]) -> Self {
        self.fields.insert(field.to_owned(), self.bytes.len());
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(crate) fn u32(self, field: &str, value: u32) -> Self {
        self.raw(field, &value.to_le_bytes())
    }

    pub(crate) fn u64(self, field: &str, value: u64) -> Self {
        self.raw(field, &value.to_le_bytes())
    }

    pub(crate) fn text(self, field: &str, text: &str) -> Self {
        self.u64(&format!("{field} length"), text.len() as u64)
            .raw(field, text.as_bytes())
    }

    /// A metadata entry whose value is `value` as it stands.
    pub(crate) fn entry(self, key: &str, type_id: u32, value: &[u8]) -> Self {
        self.text(&format!("key {key}"), key)
            .u32(&format!("type of {key}"), type_id)
            .raw(&format!("value of {key}"), value)
    }

    pub(crate) fn texts(self, key: &str, texts: &[String]) -> Self {
        let mut bytes = self
            .text(&format!("key {key}"), key)
            .u32(&format!("type of {key}"), 9)
            .u32(&format!("element type of {key}"), 8)
            .u64(&format!("count of {key}"), texts.len() as u64);
        for (at, text) in texts.iter().enumerate() {
            bytes = bytes.text(&format!("{key} {at}"), text);
        }
        bytes
    }

    pub(crate) fn tensor(self, name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Self {
        let mut bytes = self
            .text(&format!("name of {name}"), name)
            .u32(&format!("dimensions of {name}"), dimensions.len() as u32);
        for (at, &dimension) in dimensions.iter().enumerate() {
            bytes = bytes.u64(&format!("dimension {at} of {name}"), dimension);
        }
        bytes
            .u32(&format!("kind of {name}"), kind)
            .u64(&format!("offset of {name}"), offset)
    }

    /// Pads to the alignment of 32 with zeros.
    pub(crate) fn pad(mut self, field: &str) -> Self {
        let padding = self.bytes.len().next_multiple_of(32) - self.bytes.len();
        let zeros = vec![0; padding];
        self = self.raw(field, &zeros);
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where each field begins.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, usize)> {
        self.fields.iter().map(|(name, &at)| (name.as_str(), at))
    }

    /// The bytes with some replaced from a field's beginning on.
    pub(crate) fn with(&self, field: &str, skip: usize, replacement: &[u8]) -> Vec<u8> {
        let at = *self
            .fields
            .get(field)
            .unwrap_or_else(|| panic!("no field {field}"))
            + skip;
        let mut bytes = self.bytes.clone();
        bytes[at..at + replacement.len()].copy_from_slice(replacement);
        bytes
    }
}
