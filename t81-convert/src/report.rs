//! What a conversion did, as data and as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use t81_core::{BlockFormat, Distortion, Granularity, Quantizer, TernaryMatrix};
use t81_gguf::ExportSummary;
use t81_hub::OutputFormat;

/// What every user must know; in the table and in `t81_metadata.json`.
pub(crate) const NOTE: &str = "A pretrained model is unusable after conversion alone (SmolLM2-135M: perplexity above 1e6): \
     it needs training with ternary weights afterwards, see t81-qat.";

/// What a conversion did. Its text form is a table for the user.
#[derive(Clone, Debug, PartialEq)]
pub struct ConversionReport {
    /// The directory written.
    pub directory: PathBuf,
    /// How ternary tensors are stored.
    pub format: OutputFormat,
    /// Settings of the quantizer.
    pub quantizer: Quantizer,
    /// The GGUF format that was asked for.
    pub gguf_format: Option<BlockFormat>,
    /// The ternary tensors, in the order of the files.
    pub ternary: Vec<TernaryReport>,
    /// The tensors that stayed floats.
    pub dense: DenseTotals,
    /// Ternary tensors that `gguf_format` cannot hold.
    pub unheld: Vec<Unheld>,
    /// Tensors left out because no loader needs them.
    pub dropped: Vec<String>,
    /// Tensors that the architecture does not know; copied as they are.
    pub unexpected: Vec<String>,
    /// What was read otherwise than it lies in the source ([`Checkpoint::notes`](t81_hub::Checkpoint::notes)).
    pub notes: Vec<String>,
    /// The GGUF file, if one was asked for; not part of the table.
    pub gguf: Option<ExportSummary>,
    /// Bytes of the source's tensors.
    pub source_bytes: u64,
    /// Bytes of the result's tensors.
    pub stored_bytes: u64,
    /// Duration in seconds.
    pub seconds: f64,
}

/// One ternary tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TernaryReport {
    /// Its name.
    pub name: String,
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub columns: usize,
    /// Whether the source stores it `[in, out]`.
    pub transposed: bool,
    /// How many weights share a scale.
    pub granularity: Granularity,
    /// Fraction of zero codes.
    pub sparsity: f64,
    /// Bits of codes and scales per weight, packed.
    pub bits_per_weight: f64,
    /// How far the ternary weights are from the float weights.
    pub distortion: Distortion,
    /// Bytes in the source.
    pub bytes_before: u64,
    /// Bytes in the result.
    pub bytes_after: u64,
}

impl TernaryReport {
    /// `norm(w - q) / norm(w)`, Frobenius norm; 0 for a tensor of zeros.
    pub fn relative_error(&self) -> f64 {
        self.distortion.relative_error()
    }

    fn weights(&self) -> f64 {
        self.rows as f64 * self.columns as f64
    }

    /// The name without what all names share, for example `layers.12.self_attn.q_proj`.
    fn short_name(&self) -> &str {
        let name = self.name.strip_suffix(".weight").unwrap_or(&self.name);
        name.strip_prefix("model.").unwrap_or(name)
    }

    /// The kind of layer: the name without the block's number and `.weight`, for example `self_attn.q_proj`.
    fn kind(&self) -> String {
        let parts: Vec<&str> = self
            .name
            .split('.')
            .filter(|part| part.parse::<usize>().is_err())
            .collect();
        let parts = parts.strip_suffix(&["weight"]).unwrap_or(&parts);
        parts[parts.len().saturating_sub(2)..].join(".")
    }
}

/// Totals of the tensors that stayed floats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DenseTotals {
    /// How many there are.
    pub tensors: usize,
    /// Their bytes in the source.
    pub bytes_before: u64,
    /// Their bytes in the result.
    pub bytes_after: u64,
}

/// A ternary tensor that the asked GGUF format cannot hold without loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unheld {
    /// Its name.
    pub name: String,
    /// Its row length.
    pub columns: usize,
    /// How many weights share a scale.
    pub granularity: Granularity,
    /// What an export will use: a block format, or F16 if none.
    pub instead: Option<BlockFormat>,
}

impl Unheld {
    pub(crate) fn new(name: &str, asked: BlockFormat, matrix: &TernaryMatrix) -> Self {
        let instead =
            Some(BlockFormat::Q2_0).filter(|format| *format != asked && format.holds(matrix));
        Self {
            name: name.to_owned(),
            columns: matrix.columns(),
            granularity: matrix.granularity(),
            instead,
        }
    }
}

/// A row of the table.
#[derive(Default)]
struct Line {
    tensors: usize,
    before: u64,
    after: u64,
    weights: f64,
    zeros: f64,
    bits: f64,
    distortion: Distortion,
}

impl Line {
    fn add(&mut self, tensor: &TernaryReport) {
        self.tensors += 1;
        self.before += tensor.bytes_before;
        self.after += tensor.bytes_after;
        self.weights += tensor.weights();
        self.zeros += tensor.weights() * tensor.sparsity;
        self.bits += tensor.weights() * tensor.bits_per_weight;
        self.distortion = [self.distortion, tensor.distortion].into_iter().sum();
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, title: &str) -> fmt::Result {
        write_sizes(f, title, self.tensors, self.before, self.after)?;
        writeln!(
            f,
            " {:>8.3} {:>7.1} % {:>7.1} %",
            self.bits / self.weights,
            100.0 * self.zeros / self.weights,
            100.0 * self.distortion.relative_error()
        )
    }
}

fn write_sizes(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    tensors: usize,
    before: u64,
    after: u64,
) -> fmt::Result {
    let ratio = before as f64 / after.max(1) as f64;
    write!(
        f,
        "{title:<36} {tensors:>7} {:>11} {:>11} {ratio:>6.2}x",
        size(before),
        size(after)
    )
}

/// Bytes with a decimal unit.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..10_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

impl ConversionReport {
    /// `norm(w - q) / norm(w)` over all ternary weights together.
    pub fn relative_error(&self) -> f64 {
        self.ternary
            .iter()
            .map(|tensor| tensor.distortion)
            .sum::<Distortion>()
            .relative_error()
    }

    /// Fraction of zero codes over all ternary weights together.
    pub fn sparsity(&self) -> f64 {
        let weights: f64 = self.ternary.iter().map(TernaryReport::weights).sum();
        self.ternary
            .iter()
            .map(|tensor| tensor.weights() * tensor.sparsity)
            .sum::<f64>()
            / weights
    }

    /// Bits of codes and scales per ternary weight, packed.
    pub fn bits_per_weight(&self) -> f64 {
        let weights: f64 = self.ternary.iter().map(TernaryReport::weights).sum();
        self.ternary
            .iter()
            .map(|tensor| tensor.weights() * tensor.bits_per_weight)
            .sum::<f64>()
            / weights
    }

    /// Names of weights that are not all 0 in the source and became so: their magnitudes are below what a 16-bit scale holds.
    pub fn vanished(&self) -> Vec<String> {
        let vanished = self
            .ternary
            .iter()
            .filter(|tensor| tensor.sparsity == 1.0 && tensor.distortion.squared_weights > 0.0);
        vanished.map(|tensor| tensor.name.clone()).collect()
    }

    /// The granularities in use, most frequent first, for example `group:64 and group:256`.
    fn granularities(&self) -> String {
        let mut counts: Vec<(Granularity, usize)> = Vec::new();
        for tensor in &self.ternary {
            match counts
                .iter_mut()
                .find(|(granularity, _)| *granularity == tensor.granularity)
            {
                Some((_, count)) => *count += 1,
                None => counts.push((tensor.granularity, 1)),
            }
        }
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let names: Vec<String> = counts
            .iter()
            .map(|(granularity, _)| granularity.to_string())
            .collect();
        names.join(" and ")
    }

    /// One line for each reason why the asked GGUF format will not be used throughout.
    fn write_unheld(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(asked) = self.gguf_format else {
            return Ok(());
        };
        let mut reasons: BTreeMap<(usize, String, Option<String>), usize> = BTreeMap::new();
        for tensor in &self.unheld {
            let instead = tensor.instead.map(|format| format.to_string());
            *reasons
                .entry((tensor.columns, tensor.granularity.to_string(), instead))
                .or_default() += 1;
        }
        for ((columns, granularity, instead), tensors) in reasons {
            writeln!(
                f,
                "warning: {tensors} tensors with rows of {columns} weights (scales per {granularity}) do not fit {asked} \
                 (blocks of {}); t81-gguf will write them as {}",
                asked.block_len(),
                instead.as_deref().unwrap_or("F16")
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for ConversionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quantizer = &self.quantizer;
        writeln!(
            f,
            "{} ({}, threshold {} of {}, {} scales, {}) in {:.1} s",
            self.directory.display(),
            self.format,
            quantizer.threshold(),
            quantizer.reference(),
            quantizer.scale(),
            self.granularities(),
            self.seconds
        )?;
        writeln!(
            f,
            "{:<36} {:>7} {:>11} {:>11} {:>7} {:>8} {:>9} {:>9}",
            "", "tensors", "before", "after", "ratio", "bits/w", "sparsity", "error"
        )?;
        let mut kinds: Vec<(String, Line)> = Vec::new();
        let mut ternary = Line::default();
        for tensor in &self.ternary {
            let mut line = Line::default();
            line.add(tensor);
            line.write(f, tensor.short_name())?;
            let kind = tensor.kind();
            let index = kinds
                .iter()
                .position(|(other, _)| *other == kind)
                .unwrap_or_else(|| {
                    kinds.push((kind, Line::default()));
                    kinds.len() - 1
                });
            kinds[index].1.add(tensor);
            ternary.add(tensor);
        }
        kinds.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (kind, line) in &kinds {
            line.write(f, kind)?;
        }
        ternary.write(f, "all ternary")?;
        let dense = &self.dense;
        write_sizes(
            f,
            "kept as floats",
            dense.tensors,
            dense.bytes_before,
            dense.bytes_after,
        )?;
        writeln!(f)?;
        write_sizes(
            f,
            "total",
            self.ternary.len() + dense.tensors,
            self.source_bytes,
            self.stored_bytes,
        )?;
        writeln!(f)?;
        self.write_unheld(f)?;
        write_names(
            f,
            "warning: all weights became 0, too small for the 16-bit scales of ternary weights (below 3e-8)",
            &self.vanished(),
        )?;
        write_names(f, "left out, no loader needs them", &self.dropped)?;
        write_names(
            f,
            "warning: unknown to the architecture and copied as they are",
            &self.unexpected,
        )?;
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        f.write_str(NOTE)
    }
}

fn write_names(f: &mut fmt::Formatter<'_>, title: &str, names: &[String]) -> fmt::Result {
    match names {
        [] => Ok(()),
        [name] => writeln!(f, "{title}: {name}"),
        [name, ..] => writeln!(f, "{title}: {name} and {} more", names.len() - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_a_kind_share_a_name() {
        let tensor = |name: &str| TernaryReport {
            name: name.into(),
            rows: 1,
            columns: 1,
            transposed: false,
            granularity: Granularity::Row,
            sparsity: 0.0,
            bits_per_weight: 1.0,
            distortion: Distortion::default(),
            bytes_before: 1,
            bytes_after: 1,
        };
        assert_eq!(
            tensor("model.layers.12.self_attn.q_proj.weight").kind(),
            "self_attn.q_proj"
        );
        assert_eq!(
            tensor("model.layers.3.mlp.down_proj.weight").kind(),
            "mlp.down_proj"
        );
        assert_eq!(tensor("w").kind(), "w");
        assert_eq!(tensor("w").relative_error(), 0.0);
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size(9_999), "9999 B");
        assert_eq!(size(10_000), "10.0 kB");
        assert_eq!(size(269_030_016), "269.0 MB");
        assert_eq!(size(16_000_000_000), "16.0 GB");
    }
}
