//! Parsing a GGUF header from bytes that nobody vouches for.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. No allocation is larger than a small
//! multiple of the bytes that are really there: every count is compared with the rest of the file first.

mod cursor;

use std::collections::HashSet;

use cursor::Cursor;

use crate::fork_types::q2_0_in_blocks_of_128;
use crate::format_error::FormatError;
use crate::metadata::{Metadata, MetadataArray, MetadataValue};
use crate::tensor_type::TensorType;

/// The first bytes of every GGUF file.
pub(crate) const MAGIC: [u8; 4] = *b"GGUF";
/// The alignment of tensor data where the metadata names none.
pub(crate) const DEFAULT_ALIGNMENT: u64 = 32;
/// The metadata key of the alignment.
pub(crate) const ALIGNMENT_KEY: &str = "general.alignment";
/// Bytes of ggml's tensor name buffer, which a terminating zero shares.
pub(crate) const NAME_BUFFER: usize = 64;
/// Dimensions of a ggml tensor.
pub(crate) const MAX_DIMENSIONS: usize = 4;

const MAX_ARRAY_NESTING: usize = 4;

/// A tensor as the file's header lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// The name, unique in the file.
    pub name: String,
    /// How elements are stored.
    pub tensor_type: TensorType,
    /// Elements per dimension, the fastest first: `[in, out]` for a weight matrix `[out, in]`.
    pub dimensions: Vec<u64>,
    /// Where the data begins, in bytes from the start of the data section.
    pub offset: u64,
    /// Bytes of data, without padding.
    pub bytes: u64,
}

impl TensorInfo {
    /// The number of elements.
    pub fn elements(&self) -> u64 {
        self.dimensions.iter().product()
    }

    /// Elements of a row (the first dimension; 1 for a scalar).
    pub fn columns(&self) -> u64 {
        self.dimensions.first().copied().unwrap_or(1)
    }
}

/// The header of a GGUF file: everything but the tensor data.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufHeader {
    /// The format version, 2 or 3.
    pub version: u32,
    /// Metadata in file order.
    pub metadata: Metadata,
    /// Tensors in file order.
    pub tensors: Vec<TensorInfo>,
    /// What tensor offsets are multiples of.
    pub alignment: u64,
    /// Where the data section begins, in bytes from the start of the file.
    pub data_start: u64,
}

impl GgufHeader {
    /// Parses and validates the header of the file whose whole content is `bytes`.
    ///
    /// # Errors
    ///
    /// A [`FormatError`] says what is wrong: nothing about the bytes is taken for granted, and tensor data is
    /// checked to lie inside the file, aligned and without overlap.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut cursor = Cursor::new(bytes);
        let magic = &bytes[..bytes.len().min(4)];
        if magic != MAGIC {
            return Err(FormatError::Magic {
                found: magic.to_vec(),
            });
        }
        cursor.take("the magic", 4)?;
        let version = cursor.u32("the version")?;
        match version {
            2 | 3 => {}
            _ if version & 0xffff == 0 && version != 0 => return Err(FormatError::BigEndian),
            _ => return Err(FormatError::Version(version)),
        }
        // Least sizes: a tensor takes name length, dimension count, type and offset; an entry key length, one key
        // character, type and one byte of value.
        let tensor_count = cursor.u64("the tensor count")?;
        let metadata_count = cursor.u64("the metadata count")?;
        cursor.check_count("the metadata count", metadata_count, 8 + 1 + 4 + 1)?;
        cursor.check_count("the tensor count", tensor_count, 8 + 4 + 4 + 8)?;

        let metadata = parse_metadata(&mut cursor, metadata_count)?;
        let alignment = alignment(&metadata)?;
        cursor.check_count("the tensor count", tensor_count, 8 + 4 + 4 + 8)?;
        let tensors = parse_tensors(&mut cursor, tensor_count as usize)?;

        let header_end = cursor.position();
        let data_start = header_end.next_multiple_of(alignment);
        let available = (bytes.len() as u64).saturating_sub(data_start);
        check_data(&tensors, alignment, available).map_err(|error| match q2_0_in_blocks_of_128(
            &tensors, alignment, available,
        ) {
            Some(info) => FormatError::BlocksOf128 {
                name: info.name.clone(),
            },
            None => error,
        })?;
        Ok(Self {
            version,
            metadata,
            tensors,
            alignment,
            data_start,
        })
    }
}

fn parse_metadata(cursor: &mut Cursor<'_>, count: u64) -> Result<Metadata, FormatError> {
    let mut metadata = Metadata::new();
    for _ in 0..count {
        let offset = cursor.position();
        let key = cursor.string("a metadata key")?;
        if key.is_empty() {
            return Err(FormatError::EmptyName {
                field: "a metadata key",
                offset,
            });
        }
        if metadata.get(&key).is_some() {
            return Err(FormatError::DuplicateKey { key });
        }
        let type_id = cursor.u32("a metadata type")?;
        let value = parse_value(cursor, &key, type_id)?;
        metadata.set(key, value);
    }
    Ok(metadata)
}

fn parse_value(
    cursor: &mut Cursor<'_>,
    key: &str,
    type_id: u32,
) -> Result<MetadataValue, FormatError> {
    const FIELD: &str = "a metadata value";
    Ok(match type_id {
        0 => MetadataValue::U8(u8::from_le_bytes(cursor.array(FIELD)?)),
        1 => MetadataValue::I8(i8::from_le_bytes(cursor.array(FIELD)?)),
        2 => MetadataValue::U16(u16::from_le_bytes(cursor.array(FIELD)?)),
        3 => MetadataValue::I16(i16::from_le_bytes(cursor.array(FIELD)?)),
        4 => MetadataValue::U32(u32::from_le_bytes(cursor.array(FIELD)?)),
        5 => MetadataValue::I32(i32::from_le_bytes(cursor.array(FIELD)?)),
        6 => MetadataValue::F32(f32::from_le_bytes(cursor.array(FIELD)?)),
        7 => MetadataValue::Bool(boolean(key, cursor.array::<1>(FIELD)?[0])?),
        8 => {
            let text = cursor.text(FIELD)?;
            match std::str::from_utf8(text) {
                Ok(text) => MetadataValue::String(text.to_owned()),
                Err(_) => MetadataValue::Bytes(text.to_vec()),
            }
        }
        9 => MetadataValue::Array(parse_array(cursor, key, 1)?),
        10 => MetadataValue::U64(u64::from_le_bytes(cursor.array(FIELD)?)),
        11 => MetadataValue::I64(i64::from_le_bytes(cursor.array(FIELD)?)),
        12 => MetadataValue::F64(f64::from_le_bytes(cursor.array(FIELD)?)),
        _ => {
            return Err(FormatError::ValueType {
                key: key.to_owned(),
                type_id,
            });
        }
    })
}

fn parse_array(
    cursor: &mut Cursor<'_>,
    key: &str,
    depth: usize,
) -> Result<MetadataArray, FormatError> {
    const FIELD: &str = "a metadata array";
    if depth > MAX_ARRAY_NESTING {
        return Err(FormatError::Nesting {
            key: key.to_owned(),
            limit: MAX_ARRAY_NESTING,
        });
    }
    let type_id = cursor.u32(FIELD)?;
    let count = cursor.u64(FIELD)?;
    Ok(match type_id {
        0 => MetadataArray::U8(cursor.values(count, u8::from_le_bytes)?),
        1 => MetadataArray::I8(cursor.values(count, i8::from_le_bytes)?),
        2 => MetadataArray::U16(cursor.values(count, u16::from_le_bytes)?),
        3 => MetadataArray::I16(cursor.values(count, i16::from_le_bytes)?),
        4 => MetadataArray::U32(cursor.values(count, u32::from_le_bytes)?),
        5 => MetadataArray::I32(cursor.values(count, i32::from_le_bytes)?),
        6 => MetadataArray::F32(cursor.values(count, f32::from_le_bytes)?),
        7 => {
            cursor.check_count(FIELD, count, 1)?;
            let bytes = cursor.take(FIELD, count)?;
            MetadataArray::Bool(
                bytes
                    .iter()
                    .map(|&byte| boolean(key, byte))
                    .collect::<Result<_, _>>()?,
            )
        }
        8 => {
            cursor.check_count(FIELD, count, 8)?;
            let texts: Vec<&[u8]> = (0..count)
                .map(|_| cursor.text(FIELD))
                .collect::<Result<_, _>>()?;
            let utf_8: Result<Vec<&str>, _> =
                texts.iter().map(|text| std::str::from_utf8(text)).collect();
            match utf_8 {
                Ok(texts) => MetadataArray::String(texts.into_iter().map(str::to_owned).collect()),
                Err(_) => MetadataArray::Bytes(texts.into_iter().map(<[u8]>::to_vec).collect()),
            }
        }
        9 => {
            cursor.check_count(FIELD, count, 4 + 8)?;
            MetadataArray::Array(
                (0..count)
                    .map(|_| parse_array(cursor, key, depth + 1))
                    .collect::<Result<_, _>>()?,
            )
        }
        10 => MetadataArray::U64(cursor.values(count, u64::from_le_bytes)?),
        11 => MetadataArray::I64(cursor.values(count, i64::from_le_bytes)?),
        12 => MetadataArray::F64(cursor.values(count, f64::from_le_bytes)?),
        _ => {
            return Err(FormatError::ValueType {
                key: key.to_owned(),
                type_id,
            });
        }
    })
}

fn boolean(key: &str, value: u8) -> Result<bool, FormatError> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(FormatError::Boolean {
            key: key.to_owned(),
            value,
        }),
    }
}

fn alignment(metadata: &Metadata) -> Result<u64, FormatError> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&MetadataValue::U32(value)) if value.is_power_of_two() && value >= 8 => {
            Ok(value.into())
        }
        Some(other) => Err(FormatError::Alignment {
            found: other.to_string(),
        }),
    }
}

fn parse_tensors(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<TensorInfo>, FormatError> {
    let mut tensors = Vec::with_capacity(count);
    let mut seen = HashSet::with_capacity(count);
    for _ in 0..count {
        let info = parse_tensor(cursor)?;
        if !seen.insert(info.name.clone()) {
            return Err(FormatError::DuplicateTensor { name: info.name });
        }
        tensors.push(info);
    }
    Ok(tensors)
}

fn parse_tensor(cursor: &mut Cursor<'_>) -> Result<TensorInfo, FormatError> {
    let start = cursor.position();
    let name = cursor.string("a tensor name")?;
    if name.is_empty() {
        return Err(FormatError::EmptyName {
            field: "a tensor name",
            offset: start,
        });
    }
    if name.len() >= NAME_BUFFER {
        return Err(FormatError::NameLength {
            length: name.len(),
            name,
        });
    }
    let dimension_count = cursor.u32("a dimension count")?;
    if dimension_count as usize > MAX_DIMENSIONS {
        return Err(FormatError::Dimensions {
            name,
            dimensions: dimension_count,
        });
    }
    let dimensions = (0..dimension_count)
        .map(|_| cursor.u64("a dimension"))
        .collect::<Result<Vec<_>, _>>()?;
    let type_id = cursor.u32("a tensor type")?;
    let offset = cursor.u64("a tensor offset")?;
    let Some(tensor_type) = TensorType::from_id(type_id) else {
        return Err(FormatError::TensorType { name, type_id });
    };
    let bytes = tensor_bytes(&name, tensor_type, &dimensions)?;
    Ok(TensorInfo {
        name,
        tensor_type,
        dimensions,
        offset,
        bytes,
    })
}

/// The size of a tensor, or what is wrong with its shape.
pub(crate) fn tensor_bytes(
    name: &str,
    tensor_type: TensorType,
    dimensions: &[u64],
) -> Result<u64, FormatError> {
    let impossible = || FormatError::Shape {
        name: name.to_owned(),
        dimensions: dimensions.to_vec(),
    };
    let columns = dimensions.first().copied().unwrap_or(1);
    let elements = dimensions
        .iter()
        .try_fold(1u64, |product, &dimension| product.checked_mul(dimension));
    // ggml counts in signed 64 bits.
    if elements.is_none_or(|elements| elements == 0 || elements > i64::MAX as u64) {
        return Err(impossible());
    }
    if !columns.is_multiple_of(tensor_type.block_len()) {
        return Err(FormatError::BlockLength {
            name: name.to_owned(),
            columns,
            tensor_type: tensor_type.name(),
            block_len: tensor_type.block_len(),
        });
    }
    let row_bytes = tensor_type.row_bytes(columns).ok_or_else(impossible)?;
    dimensions
        .iter()
        .skip(1)
        .try_fold(row_bytes, |product, &dimension| {
            product.checked_mul(dimension)
        })
        .filter(|&bytes| bytes <= i64::MAX as u64)
        .ok_or_else(impossible)
}

fn check_data(tensors: &[TensorInfo], alignment: u64, available: u64) -> Result<(), FormatError> {
    for info in tensors {
        if !info.offset.is_multiple_of(alignment) {
            return Err(FormatError::Misaligned {
                name: info.name.clone(),
                offset: info.offset,
                alignment,
            });
        }
        if info
            .offset
            .checked_add(info.bytes)
            .is_none_or(|end| end > available)
        {
            return Err(FormatError::OutOfRange {
                name: info.name.clone(),
                offset: info.offset,
                bytes: info.bytes,
                available,
            });
        }
    }
    let mut by_offset: Vec<&TensorInfo> = tensors.iter().collect();
    by_offset.sort_by_key(|info| info.offset);
    for pair in by_offset.windows(2) {
        if pair[0].offset + pair[0].bytes > pair[1].offset {
            return Err(FormatError::Overlap {
                first: pair[0].name.clone(),
                second: pair[1].name.clone(),
            });
        }
    }
    Ok(())
}
