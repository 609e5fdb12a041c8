//! What an export wrote.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::ExportType;
use crate::tensor_type::TensorType;

/// What an export wrote, and where it had to depart from what was asked. Shown as a table.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportSummary {
    /// The file.
    pub output: PathBuf,
    /// The type asked for, or chosen where none was.
    pub quant: ExportType,
    /// Every tensor, in file order.
    pub tensors: Vec<ExportedTensor>,
    /// Tensors in another type than asked for.
    pub fallbacks: Vec<Fallback>,
    /// Remarks on what was read or written otherwise than the model's own files say, or will be done otherwise by llama.cpp.
    pub notes: Vec<String>,
}

/// A tensor of an exported file.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportedTensor {
    /// The GGUF name.
    pub name: String,
    /// The stored type.
    pub tensor_type: TensorType,
    /// Elements per dimension, the fastest first.
    pub dimensions: Vec<u64>,
    /// Bytes of data.
    pub bytes: u64,
    /// Whether the values are ternary, in whichever type.
    pub ternary: bool,
}

/// A tensor that the asked type cannot hold without loss.
#[derive(Clone, Debug, PartialEq)]
pub struct Fallback {
    /// The GGUF name.
    pub tensor: String,
    /// The type asked for.
    pub asked: TensorType,
    /// The type written.
    pub written: TensorType,
    /// Why.
    pub reason: String,
}

impl ExportSummary {
    /// Bytes of tensor data.
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.bytes).sum()
    }

    /// Weights in all.
    pub fn weights(&self) -> u64 {
        self.tensors
            .iter()
            .map(|tensor| tensor.dimensions.iter().product::<u64>())
            .sum()
    }
}

/// What a user must know of ternary matrices that hold nothing but zeros.
pub(crate) fn zero_note(names: &[String]) -> Option<String> {
    let more = match names {
        [] => return None,
        [_] => String::new(),
        [_, more @ ..] => format!(" and of {} more", more.len()),
    };
    Some(format!(
        "every weight of {}{more} is 0: if the model's are not, they are too small for the 16-bit scales of ternary weights \
         (magnitudes below 3e-8)",
        names[0]
    ))
}

impl fmt::Display for ExportSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.output.display(), self.quant)?;
        let mut kinds: BTreeMap<TensorType, (usize, u64, u64)> = BTreeMap::new();
        for tensor in &self.tensors {
            let (count, weights, bytes) = kinds.entry(tensor.tensor_type).or_default();
            *count += 1;
            *weights += tensor.dimensions.iter().product::<u64>();
            *bytes += tensor.bytes;
        }
        writeln!(
            f,
            "{:<8} {:>8} {:>14} {:>14} {:>12}",
            "type", "tensors", "weights", "bytes", "bits/weight"
        )?;
        for (kind, (count, weights, bytes)) in &kinds {
            let bits = *bytes as f64 * 8.0 / *weights as f64;
            writeln!(
                f,
                "{kind:<8} {count:>8} {weights:>14} {bytes:>14} {bits:>12.4}"
            )?;
        }
        let bits = self.bytes() as f64 * 8.0 / self.weights().max(1) as f64;
        write!(
            f,
            "{:<8} {:>8} {:>14} {:>14} {bits:>12.4}",
            "total",
            self.tensors.len(),
            self.weights(),
            self.bytes()
        )?;
        // Fallbacks of a model are alike in their hundreds: one line a reason.
        let mut reasons: BTreeMap<(&TensorType, &TensorType, &str), Vec<&str>> = BTreeMap::new();
        for Fallback {
            tensor,
            asked,
            written,
            reason,
        } in &self.fallbacks
        {
            reasons
                .entry((asked, written, reason))
                .or_default()
                .push(tensor);
        }
        for ((asked, written, reason), tensors) in reasons {
            let more = if tensors.len() > 1 {
                format!(" and {} more", tensors.len() - 1)
            } else {
                String::new()
            };
            write!(
                f,
                "\n{written} instead of {asked}: {}{more} ({reason})",
                tensors[0]
            )?;
        }
        for note in &self.notes {
            write!(f, "\nnote: {note}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use t81_core::BlockFormat;

    use super::*;

    #[test]
    fn the_table_counts_types_and_gathers_reasons() {
        let tensor =
            |name: &str, tensor_type: TensorType, rows: u64, columns: u64| ExportedTensor {
                name: name.to_owned(),
                tensor_type,
                dimensions: vec![columns, rows],
                bytes: tensor_type.row_bytes(columns).unwrap() * rows,
                ternary: true,
            };
        let fallback = |tensor: &str| Fallback {
            tensor: tensor.to_owned(),
            asked: TensorType::TQ2_0,
            written: TensorType::Q2_0,
            reason: "rows of 64".to_owned(),
        };
        let summary = ExportSummary {
            output: "m.gguf".into(),
            quant: ExportType::Ternary(BlockFormat::Tq2_0),
            tensors: vec![
                tensor("a", TensorType::TQ2_0, 2, 256),
                tensor("b", TensorType::Q2_0, 2, 64),
                tensor("c", TensorType::Q2_0, 2, 64),
            ],
            fallbacks: vec![fallback("b"), fallback("c")],
            notes: vec!["remark".to_owned()],
        };
        assert_eq!(
            summary.to_string(),
            "m.gguf (TQ2_0)\n\
             type      tensors        weights          bytes  bits/weight\n\
             TQ2_0           1            512            132       2.0625\n\
             Q2_0            2            256             72       2.2500\n\
             total           3            768            204       2.1250\n\
             Q2_0 instead of TQ2_0: b and 1 more (rows of 64)\n\
             note: remark"
        );
    }
}
