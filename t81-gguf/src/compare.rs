//! Comparing the tensors of two GGUF files byte by byte.

use std::collections::BTreeSet;
use std::fmt;

use crate::reader::GgufFile;
use crate::tensor_type::TensorType;

/// How the tensors of two files differ.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Tensors of the same type, shape and bytes, by type.
    pub equal: std::collections::BTreeMap<TensorType, usize>,
    /// Tensors in both files that are not the same.
    pub different: Vec<TensorDifference>,
    /// Tensors of the first file alone.
    pub only_first: Vec<String>,
    /// Tensors of the second file alone.
    pub only_second: Vec<String>,
}

/// How one tensor differs.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorDifference {
    /// The tensor.
    pub name: String,
    /// What is different.
    pub kind: DifferenceKind,
}

/// What is different about a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum DifferenceKind {
    /// Its type.
    Type(TensorType, TensorType),
    /// Its shape, the fastest dimension first.
    Shape(Vec<u64>, Vec<u64>),
    /// Its bytes.
    Bytes {
        /// How many bytes differ.
        count: u64,
        /// The position of the first.
        first: u64,
        /// Bytes of the tensor.
        total: u64,
    },
}

impl Comparison {
    /// Compares every tensor of `first` with that of the same name in `second`; metadata and order do not matter.
    pub fn of(first: &GgufFile, second: &GgufFile) -> Self {
        let mut comparison = Self::default();
        for tensor in first.tensors() {
            let name = &tensor.info.name;
            let Some(other) = second.tensor(name) else {
                comparison.only_first.push(name.clone());
                continue;
            };
            let kind = if tensor.info.tensor_type != other.info.tensor_type {
                DifferenceKind::Type(tensor.info.tensor_type, other.info.tensor_type)
            } else if tensor.info.dimensions != other.info.dimensions {
                DifferenceKind::Shape(
                    tensor.info.dimensions.clone(),
                    other.info.dimensions.clone(),
                )
            } else if tensor.bytes != other.bytes {
                let mut different = tensor
                    .bytes
                    .iter()
                    .zip(other.bytes)
                    .enumerate()
                    .filter(|(_, (a, b))| a != b);
                let first = different.next().map_or(0, |(at, _)| at as u64);
                DifferenceKind::Bytes {
                    count: 1 + different.count() as u64,
                    first,
                    total: tensor.info.bytes,
                }
            } else {
                *comparison.equal.entry(tensor.info.tensor_type).or_default() += 1;
                continue;
            };
            comparison.different.push(TensorDifference {
                name: name.clone(),
                kind,
            });
        }
        let known: BTreeSet<&str> = first
            .header()
            .tensors
            .iter()
            .map(|info| info.name.as_str())
            .collect();
        let unknown = second
            .header()
            .tensors
            .iter()
            .filter(|info| !known.contains(info.name.as_str()));
        comparison.only_second = unknown.map(|info| info.name.clone()).collect();
        comparison
    }

    /// Whether both files hold the same tensors.
    pub fn is_equal(&self) -> bool {
        self.different.is_empty() && self.only_first.is_empty() && self.only_second.is_empty()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.only_first {
            writeln!(f, "{name}: only in the first file")?;
        }
        for name in &self.only_second {
            writeln!(f, "{name}: only in the second file")?;
        }
        for TensorDifference { name, kind } in &self.different {
            match kind {
                DifferenceKind::Type(first, second) => writeln!(
                    f,
                    "{name}: {first} in the first file, {second} in the second"
                )?,
                DifferenceKind::Shape(first, second) => {
                    writeln!(f, "{name}: shapes {first:?} and {second:?}")?
                }
                DifferenceKind::Bytes {
                    count,
                    first,
                    total,
                } => {
                    writeln!(
                        f,
                        "{name}: {count} of {total} bytes differ, the first at {first}"
                    )?;
                }
            }
        }
        let equal: Vec<String> = self
            .equal
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let equal = if equal.is_empty() {
            "none".to_owned()
        } else {
            equal.join(", ")
        };
        let others = self.different.len() + self.only_first.len() + self.only_second.len();
        write!(f, "equal tensors: {equal}; different or missing: {others}")
    }
}
