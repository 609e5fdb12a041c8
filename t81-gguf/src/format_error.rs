//! What can be wrong with the bytes of a GGUF file.

use thiserror::Error;

use crate::fork_types::explain;

/// Why bytes are no valid GGUF file. Offsets count bytes from the beginning of the file.
#[derive(Debug, Error, Clone, PartialEq)]
#[non_exhaustive]
pub enum FormatError {
    /// The first four bytes are not `GGUF`.
    #[error("this is no GGUF file: it begins with {found:02x?}")]
    Magic {
        /// The first bytes, four at most.
        found: Vec<u8>,
    },
    /// A version that this reader does not know.
    #[error("GGUF version {0} is not supported (2 and 3 are)")]
    Version(u32),
    /// A file written for a big-endian machine.
    #[error("this is a big-endian GGUF file; convert it with gguf-convert-endian")]
    BigEndian,
    /// The file ends inside a field.
    #[error(
        "the file ends inside {field} at byte {offset}: {needed} bytes needed, {remaining} left"
    )]
    Truncated {
        /// What was being read.
        field: &'static str,
        /// Where the field begins.
        offset: u64,
        /// Bytes that the field needs.
        needed: u64,
        /// Bytes that are left.
        remaining: u64,
    },
    /// A count that cannot fit into the rest of the file.
    #[error(
        "{field} at byte {offset} claims {count} entries, more than the {remaining} bytes that are left can hold"
    )]
    Count {
        /// What is counted.
        field: &'static str,
        /// Where the count stands.
        offset: u64,
        /// The claimed count.
        count: u64,
        /// Bytes that are left.
        remaining: u64,
    },
    /// Text that is not UTF-8.
    #[error("{field} at byte {offset} is not UTF-8")]
    Utf8 {
        /// What was being read.
        field: &'static str,
        /// Where the text begins.
        offset: u64,
    },
    /// A metadata key or tensor name without a character.
    #[error("{field} at byte {offset} is empty")]
    EmptyName {
        /// What was being read.
        field: &'static str,
        /// Where it begins.
        offset: u64,
    },
    /// A metadata type identifier that the format does not define.
    #[error("metadata `{key}` has the unknown value type {type_id}")]
    ValueType {
        /// The metadata key.
        key: String,
        /// The identifier.
        type_id: u32,
    },
    /// A boolean other than 0 and 1.
    #[error("metadata `{key}` holds {value} where a boolean (0 or 1) belongs")]
    Boolean {
        /// The metadata key.
        key: String,
        /// The byte found.
        value: u8,
    },
    /// Arrays nested more deeply than this reader follows.
    #[error("metadata `{key}` nests arrays more than {limit} deep")]
    Nesting {
        /// The metadata key.
        key: String,
        /// The deepest nesting that is read.
        limit: usize,
    },
    /// Two metadata entries of one key.
    #[error("metadata `{key}` appears twice")]
    DuplicateKey {
        /// The metadata key.
        key: String,
    },
    /// Two tensors of one name.
    #[error("tensor `{name}` appears twice")]
    DuplicateTensor {
        /// The tensor.
        name: String,
    },
    /// An alignment that is no multiple of 8 and power of two, or no 32-bit unsigned integer.
    #[error(
        "general.alignment is {found}; a power of two from 8 on, as a 32-bit unsigned integer, belongs there"
    )]
    Alignment {
        /// The value found.
        found: String,
    },
    /// A tensor name as long as ggml's fixed buffer or longer.
    #[error("tensor name `{name}` is {length} bytes long; ggml allows 63")]
    NameLength {
        /// The tensor.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// More dimensions than ggml's four.
    #[error("tensor `{name}` has {dimensions} dimensions; ggml allows 4")]
    Dimensions {
        /// The tensor.
        name: String,
        /// The number of dimensions.
        dimensions: u32,
    },
    /// A dimension of zero, or more elements or bytes than 63 bits count.
    #[error("tensor `{name}` has the impossible shape {dimensions:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its dimensions, the fastest first.
        dimensions: Vec<u64>,
    },
    /// A tensor type identifier that ggml does not define; types of its forks are named.
    #[error("tensor `{name}` has the unknown type {type_id}{}", explain(*.type_id))]
    TensorType {
        /// The tensor.
        name: String,
        /// The identifier.
        type_id: u32,
    },
    /// A row that is no whole number of blocks.
    #[error(
        "tensor `{name}` has rows of {columns} elements, no multiple of the {block_len} that a {tensor_type} block holds"
    )]
    BlockLength {
        /// The tensor.
        name: String,
        /// Elements of a row.
        columns: u64,
        /// The type's name.
        tensor_type: &'static str,
        /// Elements of a block.
        block_len: u64,
    },
    /// Tensor data that does not begin on the file's alignment.
    #[error(
        "tensor `{name}` begins at offset {offset}, which is not a multiple of the alignment {alignment}"
    )]
    Misaligned {
        /// The tensor.
        name: String,
        /// Its offset in the data section.
        offset: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// Tensor data beyond the end of the file.
    #[error(
        "tensor `{name}` needs {bytes} bytes at offset {offset} of the data section, which holds {available}"
    )]
    OutOfRange {
        /// The tensor.
        name: String,
        /// Its offset in the data section.
        offset: u64,
        /// Its size.
        bytes: u64,
        /// The size of the data section.
        available: u64,
    },
    /// Tensors of type Q2_0 laid out in blocks of 128 weights, as PrismML's llama.cpp wrote them.
    #[error(
        "tensor `{name}` is called Q2_0 but lies in blocks of 128 weights, as PrismML's llama.cpp wrote them under that name; Q2_0 of llama.cpp has blocks of 64: take a file of the same model in these (`Q2_g64`) or in F16"
    )]
    BlocksOf128 {
        /// The first such tensor.
        name: String,
    },
    /// Two tensors that share bytes.
    #[error("tensors `{first}` and `{second}` overlap")]
    Overlap {
        /// The tensor that begins first.
        first: String,
        /// The tensor that begins inside it.
        second: String,
    },
}
