//! Metadata of a GGUF file: typed values under unique keys, in file order.

use std::collections::HashMap;
use std::fmt;

macro_rules! scalar_types {
    ($($variant:ident($type:ty) = $id:literal, $doc:literal;)+) => {
        /// A metadata value.
        #[derive(Clone, Debug, PartialEq)]
        pub enum MetadataValue {
            $(#[doc = $doc] $variant($type),)+
            /// True or false, one byte in the file.
            Bool(bool),
            /// UTF-8 text.
            String(String),
            /// Text that is not UTF-8, which the format forbids but files contain.
            Bytes(Vec<u8>),
            /// Elements of one type.
            Array(MetadataArray),
        }

        /// The elements of an array value; all of one type, as in the file.
        #[derive(Clone, Debug, PartialEq)]
        pub enum MetadataArray {
            $(#[doc = $doc] $variant(Vec<$type>),)+
            /// True or false, one byte each.
            Bool(Vec<bool>),
            /// UTF-8 texts.
            String(Vec<String>),
            /// Texts of which at least one is not UTF-8, for instance tokens that are single bytes.
            Bytes(Vec<Vec<u8>>),
            /// Arrays in an array; their element types may differ.
            Array(Vec<MetadataArray>),
        }

        impl MetadataValue {
            pub(crate) const fn type_id(&self) -> u32 {
                match self {
                    $(MetadataValue::$variant(_) => $id,)+
                    MetadataValue::Bool(_) => 7,
                    MetadataValue::String(_) | MetadataValue::Bytes(_) => 8,
                    MetadataValue::Array(_) => 9,
                }
            }

            pub(crate) fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(MetadataValue::$variant(value) => out.extend_from_slice(&value.to_le_bytes()),)+
                    MetadataValue::Bool(value) => out.push(u8::from(*value)),
                    MetadataValue::String(text) => encode_string(text, out),
                    MetadataValue::Bytes(text) => encode_text(text, out),
                    MetadataValue::Array(array) => array.encode(out),
                }
            }
        }

        impl MetadataArray {
            /// The number of elements.
            pub fn len(&self) -> usize {
                match self {
                    $(MetadataArray::$variant(values) => values.len(),)+
                    MetadataArray::Bool(values) => values.len(),
                    MetadataArray::String(values) => values.len(),
                    MetadataArray::Bytes(values) => values.len(),
                    MetadataArray::Array(values) => values.len(),
                }
            }

            pub(crate) const fn element_type_id(&self) -> u32 {
                match self {
                    $(MetadataArray::$variant(_) => $id,)+
                    MetadataArray::Bool(_) => 7,
                    MetadataArray::String(_) | MetadataArray::Bytes(_) => 8,
                    MetadataArray::Array(_) => 9,
                }
            }

            pub(crate) fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.element_type_id().to_le_bytes());
                out.extend_from_slice(&(self.len() as u64).to_le_bytes());
                match self {
                    $(MetadataArray::$variant(values) => {
                        for value in values {
                            out.extend_from_slice(&value.to_le_bytes());
                        }
                    })+
                    MetadataArray::Bool(values) => out.extend(values.iter().map(|&value| u8::from(value))),
                    MetadataArray::String(values) => values.iter().for_each(|text| encode_string(text, out)),
                    MetadataArray::Bytes(values) => values.iter().for_each(|text| encode_text(text, out)),
                    MetadataArray::Array(values) => values.iter().for_each(|array| array.encode(out)),
                }
            }

            /// The first `count` elements as text, for display.
            fn preview(&self, count: usize) -> Vec<String> {
                match self {
                    $(MetadataArray::$variant(values) => values.iter().take(count).map(|value| value.to_string()).collect(),)+
                    MetadataArray::Bool(values) => values.iter().take(count).map(|value| value.to_string()).collect(),
                    MetadataArray::String(values) => values.iter().take(count).map(|value| format!("{value:?}")).collect(),
                    MetadataArray::Bytes(values) => {
                        values.iter().take(count).map(|value| format!("{:?}", String::from_utf8_lossy(value))).collect()
                    }
                    MetadataArray::Array(values) => values.iter().take(count).map(|value| value.to_string()).collect(),
                }
            }
        }

        $(
            impl From<$type> for MetadataValue {
                fn from(value: $type) -> Self {
                    MetadataValue::$variant(value)
                }
            }

            impl From<Vec<$type>> for MetadataValue {
                fn from(values: Vec<$type>) -> Self {
                    MetadataValue::Array(MetadataArray::$variant(values))
                }
            }
        )+
    };
}

scalar_types! {
    U8(u8) = 0, "Unsigned, 8 bits.";
    I8(i8) = 1, "Signed, 8 bits.";
    U16(u16) = 2, "Unsigned, 16 bits.";
    I16(i16) = 3, "Signed, 16 bits.";
    U32(u32) = 4, "Unsigned, 32 bits.";
    I32(i32) = 5, "Signed, 32 bits.";
    F32(f32) = 6, "Float, 32 bits.";
    U64(u64) = 10, "Unsigned, 64 bits.";
    I64(i64) = 11, "Signed, 64 bits.";
    F64(f64) = 12, "Float, 64 bits.";
}

pub(crate) fn encode_string(text: &str, out: &mut Vec<u8>) {
    encode_text(text.as_bytes(), out);
}

fn encode_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text);
}

impl MetadataArray {
    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the texts, UTF-8 or not; none for elements of another type.
    pub(crate) fn texts(&self) -> Option<Vec<&[u8]>> {
        match self {
            MetadataArray::String(texts) => Some(texts.iter().map(String::as_bytes).collect()),
            MetadataArray::Bytes(texts) => Some(texts.iter().map(Vec::as_slice).collect()),
            _ => None,
        }
    }
}

impl From<bool> for MetadataValue {
    fn from(value: bool) -> Self {
        MetadataValue::Bool(value)
    }
}

impl From<Vec<bool>> for MetadataValue {
    fn from(values: Vec<bool>) -> Self {
        MetadataValue::Array(MetadataArray::Bool(values))
    }
}

impl From<&str> for MetadataValue {
    fn from(value: &str) -> Self {
        MetadataValue::String(value.to_owned())
    }
}

impl From<String> for MetadataValue {
    fn from(value: String) -> Self {
        MetadataValue::String(value)
    }
}

impl From<Vec<String>> for MetadataValue {
    fn from(values: Vec<String>) -> Self {
        MetadataValue::Array(MetadataArray::String(values))
    }
}

impl fmt::Display for MetadataValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetadataValue::U8(value) => value.fmt(f),
            MetadataValue::I8(value) => value.fmt(f),
            MetadataValue::U16(value) => value.fmt(f),
            MetadataValue::I16(value) => value.fmt(f),
            MetadataValue::U32(value) => value.fmt(f),
            MetadataValue::I32(value) => value.fmt(f),
            MetadataValue::F32(value) => value.fmt(f),
            MetadataValue::U64(value) => value.fmt(f),
            MetadataValue::I64(value) => value.fmt(f),
            MetadataValue::F64(value) => value.fmt(f),
            MetadataValue::Bool(value) => value.fmt(f),
            MetadataValue::String(text) => write!(f, "{text:?}"),
            MetadataValue::Bytes(text) => write!(f, "{:?}", String::from_utf8_lossy(text)),
            MetadataValue::Array(array) => array.fmt(f),
        }
    }
}

impl fmt::Display for MetadataArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 6;
        write!(f, "[{}", self.preview(SHOWN).join(", "))?;
        if self.len() > SHOWN {
            write!(f, ", ... {} in all", self.len())?;
        }
        f.write_str("]")
    }
}

/// Metadata entries in file order, each key once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    entries: Vec<(String, MetadataValue)>,
    positions: HashMap<String, usize>,
}

impl Metadata {
    /// No entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key`, at the end if it is new, else in its old place.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<MetadataValue>) {
        let (key, value) = (key.into(), value.into());
        match self.positions.get(&key) {
            Some(&position) => self.entries[position].1 = value,
            None => {
                self.positions.insert(key.clone(), self.entries.len());
                self.entries.push((key, value));
            }
        }
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&MetadataValue> {
        self.positions
            .get(key)
            .map(|&position| &self.entries[position].1)
    }

    /// The text of `key`, if it holds text.
    pub fn string(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            MetadataValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number of `key`, if it holds an unsigned integer of up to 32 bits.
    pub fn u32(&self, key: &str) -> Option<u32> {
        match *self.get(key)? {
            MetadataValue::U8(value) => Some(value.into()),
            MetadataValue::U16(value) => Some(value.into()),
            MetadataValue::U32(value) => Some(value),
            _ => None,
        }
    }

    /// Entries in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &MetadataValue)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_replaces_in_place() {
        let mut metadata = Metadata::new();
        metadata.set("a", 1u32);
        metadata.set("b", "text");
        metadata.set("a", 2u32);
        assert_eq!(metadata.len(), 2);
        assert_eq!(
            metadata.iter().map(|(key, _)| key).collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert_eq!(metadata.u32("a"), Some(2));
        assert_eq!(metadata.string("b"), Some("text"));
        assert_eq!(metadata.string("a"), None);
        assert_eq!(metadata.get("c"), None);
    }

    #[test]
    fn arrays_are_shown_by_their_beginning() {
        let array = MetadataValue::from((0..10).collect::<Vec<i32>>());
        assert_eq!(array.to_string(), "[0, 1, 2, 3, 4, 5, ... 10 in all]");
        assert_eq!(
            MetadataValue::from(vec!["a\n".to_owned()]).to_string(),
            r#"["a\n"]"#
        );
    }

    #[test]
    fn texts_that_are_not_utf_8_are_encoded_as_texts() {
        let mut out = Vec::new();
        let array = MetadataArray::Bytes(vec![b"a".to_vec(), vec![0xff]]);
        MetadataValue::Array(array.clone()).encode(&mut out);
        assert_eq!(out[..4], 8u32.to_le_bytes());
        assert_eq!(out[out.len() - 9..], [1, 0, 0, 0, 0, 0, 0, 0, 0xff]);
        assert_eq!(array.texts(), Some(vec![&b"a"[..], &[0xff]]));
        assert_eq!(array.to_string(), "[\"a\", \"\u{fffd}\"]");
        out.clear();
        MetadataValue::Bytes(vec![0xfe]).encode(&mut out);
        assert_eq!(out, [1, 0, 0, 0, 0, 0, 0, 0, 0xfe]);
        assert_eq!(MetadataValue::Bytes(vec![0xfe]).type_id(), 8);
    }

    #[test]
    fn encoding_is_little_endian_with_64_bit_lengths() {
        let mut out = Vec::new();
        MetadataValue::from(vec!["ab".to_owned(), String::new()]).encode(&mut out);
        assert_eq!(
            out,
            [
                8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', 0, 0, 0, 0,
                0, 0, 0, 0
            ]
        );
        out.clear();
        MetadataValue::from(1.5f32).encode(&mut out);
        assert_eq!(out, 1.5f32.to_le_bytes());
    }
}
