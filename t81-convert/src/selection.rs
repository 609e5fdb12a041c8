//! Which tensors become ternary, and with what granularity each.

use std::collections::BTreeMap;

use t81_core::{BlockFormat, Granularity};
use t81_hub::{Checkpoint, TensorSpec};

use crate::{ConvertError, ConvertOptions};

/// The tensors that become ternary.
pub(crate) struct Selection {
    pub(crate) tensors: BTreeMap<String, Granularity>,
    /// The granularity of the settings, which all tensors share unless a GGUF format forces some into smaller groups.
    pub(crate) granularity: Granularity,
}

impl Selection {
    /// The checkpoint must have been checked against its configuration.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        options: &ConvertOptions,
    ) -> Result<Self, ConvertError> {
        let candidates: Vec<TensorSpec> = checkpoint.config().ternary_weights().collect();
        let count = candidates.len();
        let columns: BTreeMap<String, usize> = candidates
            .into_iter()
            .filter(|spec| is_selected(&spec.name, options))
            .map(|spec| (spec.name, spec.shape[1]))
            .collect();
        if columns.is_empty() {
            return Err(ConvertError::NothingSelected { candidates: count });
        }
        let (granularity, fallback) = match (options.granularity, options.gguf_format) {
            (Some(granularity), _) => (granularity, granularity),
            (None, Some(format)) => (block(format), block(BlockFormat::Q2_0)),
            (None, None) => {
                let auto = Granularity::auto(columns.values().copied());
                (auto, auto)
            }
        };
        let tensors = columns
            .into_iter()
            .map(|(name, length)| {
                let fits = options
                    .gguf_format
                    .is_none_or(|format| length.is_multiple_of(format.block_len()));
                (name, if fits { granularity } else { fallback })
            })
            .collect();
        Ok(Self {
            tensors,
            granularity,
        })
    }
}

fn is_selected(name: &str, options: &ConvertOptions) -> bool {
    let included =
        options.include.is_empty() || options.include.iter().any(|pattern| pattern.is_match(name));
    included && !options.exclude.iter().any(|pattern| pattern.is_match(name))
}

/// Groups of a format's block length.
fn block(format: BlockFormat) -> Granularity {
    // Block lengths are not zero, so the row granularity is never reached.
    Granularity::group(format.block_len()).unwrap_or(Granularity::Row)
}
