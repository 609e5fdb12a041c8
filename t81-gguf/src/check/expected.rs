//! The tensors that llama.cpp reads from a file of an architecture with given sizes.

use super::hyper_parameters::HyperParameters;
use super::tensor_tables::{Need, Row, SCALED, Size, TABLES};
use crate::tensor_type::TensorType;

/// A tensor that an architecture consumes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expected {
    pub(super) name: String,
    /// The fastest first; `None` where any will do.
    pub(super) dimensions: Option<Vec<u64>>,
    pub(super) required: bool,
}

/// Every tensor that the architecture consumes with these sizes; none for an architecture without a table.
///
/// `vocabulary` is the number of tokens; `type_of` gives the type of a tensor that the file has, as some are read only beside
/// others.
pub(super) fn expected(
    architecture: &str,
    parameters: &HyperParameters,
    vocabulary: u64,
    type_of: impl Fn(&str) -> Option<TensorType>,
) -> Option<Vec<Expected>> {
    let table = TABLES.iter().find(|table| table.name == architecture)?;
    if parameters.experts > 0 {
        return None;
    }
    let resolve = |name: String, &(_, sizes, need): &Row| Expected {
        name,
        dimensions: (!sizes.is_empty()).then(|| {
            let size = |&size: &Size| resolve_size(size, parameters, vocabulary);
            sizes.iter().map(size).collect()
        }),
        required: need == Need::Required,
    };
    let mut tensors: Vec<Expected> = table
        .model
        .iter()
        // Which factors are read depends on the kind of scaling.
        .filter(|(name, ..)| match *name {
            "rope_freqs.weight" => !parameters.long_rope,
            "rope_factors_long.weight" | "rope_factors_short.weight" if architecture == "llama" => {
                parameters.long_rope
            }
            _ => true,
        })
        .map(|row| resolve(row.0.to_owned(), row))
        .collect();
    if type_of("output.weight") == Some(TensorType::NVFP4) {
        tensors.extend(scales("output"));
    }
    for layer in 0..parameters.layers {
        let name = |inner: &str| format!("blk.{layer}.{inner}");
        let is_present = |inner: &str| type_of(&name(inner)).is_some();
        let rows = table.layer.iter().map(|row| resolve(row.0.to_owned(), row));
        for mut tensor in fused_where_present(rows.collect(), is_present) {
            if let Some(matrix) = tensor.name.strip_suffix(".weight")
                && SCALED.contains(&matrix)
                && is_present(&tensor.name)
            {
                tensors.extend(scales(&name(matrix)));
            }
            tensor.name = name(&tensor.name);
            tensors.push(tensor);
        }
    }
    Some(tensors)
}

/// A layer's tensors, with `attn_qkv` in the place of `attn_q`, `attn_k` and `attn_v` if the file has it and the architecture
/// reads either (`create_tensor_qkv`).
fn fused_where_present(tensors: Vec<Expected>, is_present: impl Fn(&str) -> bool) -> Vec<Expected> {
    let parts = ["attn_q", "attn_k", "attn_v"];
    let is_part = |tensor: &Expected, kind: &str| {
        let stem = tensor.name.strip_suffix(kind);
        stem.is_some_and(|stem| parts.contains(&stem))
    };
    let outputs = |kind: &str| -> u64 {
        let parts = tensors.iter().filter(|tensor| is_part(tensor, kind));
        let outputs = parts.filter_map(|part| part.dimensions.as_ref()?.last().copied());
        outputs.fold(0, u64::saturating_add)
    };
    let (weight, bias) = (outputs(".weight"), outputs(".bias"));
    // bitnet reads no fused matrix, and has no biases.
    if bias == 0 || !is_present("attn_qkv.weight") {
        return tensors;
    }
    let inputs = tensors
        .iter()
        .find(|tensor| is_part(tensor, ".weight"))
        .and_then(|part| part.dimensions.as_ref()?.first().copied());
    // Beside the fused bias the separate ones are not read.
    let fused_bias = is_present("attn_qkv.bias");
    let mut fused: Vec<Expected> = tensors
        .into_iter()
        .filter(|tensor| !(is_part(tensor, ".weight") || fused_bias && is_part(tensor, ".bias")))
        .collect();
    fused.push(Expected {
        name: "attn_qkv.weight".to_owned(),
        dimensions: inputs.map(|inputs| vec![inputs, weight]),
        required: true,
    });
    fused.push(Expected {
        name: "attn_qkv.bias".to_owned(),
        dimensions: Some(vec![bias]),
        required: false,
    });
    fused
}

/// The scales beside a matrix.
fn scales(matrix: &str) -> [Expected; 2] {
    ["scale", "input_scale"].map(|kind| Expected {
        name: format!("{matrix}.{kind}"),
        dimensions: Some(vec![1]),
        required: false,
    })
}

/// These architectures take the sizes of the first layer for all of them.
fn resolve_size(size: Size, parameters: &HyperParameters, vocabulary: u64) -> u64 {
    let times = |heads: u64, features: u64| heads.saturating_mul(features);
    let embedding = parameters.embedding;
    let queries = times(parameters.heads.at(0), parameters.key_length);
    let key_value_heads = parameters.key_value_heads.at(0);
    let keys = times(key_value_heads, parameters.key_length);
    let values = times(key_value_heads, parameters.value_length);
    let inner = parameters.inner.at(0);
    match size {
        Size::Embedding => embedding,
        Size::Vocabulary => vocabulary,
        Size::Context => parameters.context,
        Size::Inner => inner,
        Size::TwiceInner => inner.saturating_mul(2),
        Size::Queries => queries,
        Size::Keys => keys,
        Size::Values => values,
        Size::Fused => embedding.saturating_add(values.saturating_mul(2)),
        Size::Head => parameters.key_length,
        Size::Pairs => parameters.rotated / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::super::hyper_parameters::PerLayer;
    use super::*;

    /// Four heads of 32 in a model 64 wide, whose values are 8 wide.
    fn parameters() -> HyperParameters {
        HyperParameters {
            layers: 1,
            context: 16,
            embedding: 64,
            inner: PerLayer::One(96),
            heads: PerLayer::One(4),
            key_value_heads: PerLayer::One(2),
            key_length: 32,
            value_length: 8,
            rotated: 32,
            experts: 0,
            long_rope: false,
        }
    }

    fn dimensions(architecture: &str, present: &[&str], name: &str) -> Option<Vec<u64>> {
        let type_of = |name: &str| present.contains(&name).then_some(TensorType::F32);
        let tensors = expected(architecture, &parameters(), 100, type_of).unwrap();
        let tensor = tensors.into_iter().find(|tensor| tensor.name == name)?;
        tensor.dimensions
    }

    #[test]
    fn widths_of_attention_are_those_of_each_loader() {
        for (architecture, query, key, value) in [
            ("llama", 128, 64, 16),
            ("gemma3", 128, 64, 16),
            ("qwen3", 128, 16, 16),
            ("qwen2", 64, 16, 16),
            ("phi3", 64, 16, 16),
            ("bitnet", 64, 16, 16),
        ] {
            let of =
                |matrix: &str| dimensions(architecture, &[], &format!("blk.0.{matrix}.weight"));
            assert_eq!(of("attn_q"), Some(vec![64, query]), "{architecture}");
            assert_eq!(of("attn_k"), Some(vec![64, key]), "{architecture}");
            assert_eq!(of("attn_v"), Some(vec![64, value]), "{architecture}");
            assert_eq!(of("attn_output"), Some(vec![query, 64]), "{architecture}");
            let fused = "blk.0.attn_qkv.weight";
            assert_eq!(dimensions(architecture, &[], fused), None);
            let found = dimensions(architecture, &[fused], fused);
            let all = vec![64, query + key + value];
            assert_eq!(
                found,
                (architecture != "bitnet").then_some(all),
                "{architecture}"
            );
        }
        let fused = dimensions("gpt2", &[], "blk.0.attn_qkv.weight");
        assert_eq!(fused, Some(vec![64, 64 + 2 * 16]));
    }

    #[test]
    fn a_fused_bias_takes_the_place_of_separate_ones() {
        let (weight, bias) = ("blk.0.attn_qkv.weight", "blk.0.attn_qkv.bias");
        let separate = "blk.0.attn_q.bias";
        for (present, expected) in [
            (&[][..], Some(vec![128])),
            (&[weight], Some(vec![128])),
            (&[weight, bias], None),
        ] {
            assert_eq!(dimensions("llama", present, separate), expected);
        }
        assert_eq!(dimensions("llama", &[weight], bias), Some(vec![208]));
    }

    #[test]
    fn scales_are_read_beside_their_matrix_alone() {
        let (query, fused) = ("blk.0.attn_q.weight", "blk.0.attn_qkv.weight");
        for (present, scale, is_read) in [
            (&[query][..], "blk.0.attn_q.scale", true),
            (&[query], "blk.0.attn_q.input_scale", true),
            (&[], "blk.0.attn_q.scale", false),
            (&[query], "blk.0.attn_qkv.scale", false),
            (&[query, fused], "blk.0.attn_q.scale", false),
            (&[fused], "blk.0.attn_qkv.scale", true),
            (&["blk.0.attn_norm.weight"], "blk.0.attn_norm.scale", false),
            (&["output.weight"], "output.scale", false),
        ] {
            let found = dimensions("llama", present, scale);
            assert_eq!(found, is_read.then(|| vec![1]), "{present:?} {scale}");
        }
        let nvfp4 = |name: &str| (name == "output.weight").then_some(TensorType::NVFP4);
        let tensors = expected("llama", &parameters(), 100, nvfp4).unwrap();
        assert!(
            tensors
                .iter()
                .any(|tensor| tensor.name == "output.input_scale")
        );
    }
}
