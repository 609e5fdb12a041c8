//! The tensors that llama.cpp's architectures consume: `load_arch_tensors` of `models/*.cpp` as tables.

use super::hyper_parameters::HyperParameters;
use crate::tensor_type::TensorType;

/// A dimension in terms of the hyper-parameters.
#[derive(Clone, Copy)]
enum Size {
    Embedding,
    Vocabulary,
    Context,
    Inner,
    TwiceInner,
    /// All query heads together.
    Queries,
    /// All key heads together.
    Keys,
    /// All value heads together.
    Values,
    /// Fused queries, as wide as the model, keys and values.
    Fused,
    /// One head.
    Head,
    /// A frequency for every rotated pair.
    Pairs,
}

/// Whether a tensor must be there.
#[derive(Clone, Copy, PartialEq)]
enum Need {
    Required,
    Optional,
}

/// A tensor: name (inside a layer: without `blk.N.`), dimensions with the fastest first (none: not checked), need.
type Row = (&'static str, &'static [Size], Need);

use Need::{Optional, Required};
use Size::{
    Context, Embedding, Fused, Head, Inner, Keys, Pairs, Queries, TwiceInner, Values, Vocabulary,
};

/// An architecture's tensors.
struct Table {
    name: &'static str,
    model: &'static [Row],
    layer: &'static [Row],
}

const EMBEDDING: Row = ("token_embd.weight", &[Embedding, Vocabulary], Required);
const OUTPUT_NORM: Row = ("output_norm.weight", &[Embedding], Required);
/// Without it the token embedding is the output matrix.
const OUTPUT: Row = ("output.weight", &[Embedding, Vocabulary], Optional);
const ROPE_LONG: Row = ("rope_factors_long.weight", &[Pairs], Optional);
const ROPE_SHORT: Row = ("rope_factors_short.weight", &[Pairs], Optional);
const ATTENTION_NORM: Row = ("attn_norm.weight", &[Embedding], Required);
const INNER_NORM: Row = ("ffn_norm.weight", &[Embedding], Required);
const QUERY: Row = ("attn_q.weight", &[Embedding, Queries], Required);
const KEY: Row = ("attn_k.weight", &[Embedding, Keys], Required);
const VALUE: Row = ("attn_v.weight", &[Embedding, Values], Required);
const QUERY_BIAS: Row = ("attn_q.bias", &[Queries], Optional);
const KEY_BIAS: Row = ("attn_k.bias", &[Keys], Optional);
const VALUE_BIAS: Row = ("attn_v.bias", &[Values], Optional);
const ATTENTION_OUT: Row = ("attn_output.weight", &[Queries, Embedding], Required);
/// qwen2, phi3, gpt2 and bitnet take the queries to be as wide as the model, whatever `attention.key_length` says, and
/// these and qwen3 the keys to be as wide as the values.
const SQUARE_QUERY: Row = ("attn_q.weight", &[Embedding, Embedding], Required);
const SQUARE_QUERY_BIAS: Row = ("attn_q.bias", &[Embedding], Optional);
const SQUARE_OUT: Row = ("attn_output.weight", &[Embedding, Embedding], Required);
const VALUE_WIDE_KEY: Row = ("attn_k.weight", &[Embedding, Values], Required);
const VALUE_WIDE_KEY_BIAS: Row = ("attn_k.bias", &[Values], Optional);
const GATE: Row = ("ffn_gate.weight", &[Embedding, Inner], Required);
const UP: Row = ("ffn_up.weight", &[Embedding, Inner], Required);
const DOWN: Row = ("ffn_down.weight", &[Inner, Embedding], Required);
const QUERY_NORM: Row = ("attn_q_norm.weight", &[Head], Required);
const KEY_NORM: Row = ("attn_k_norm.weight", &[Head], Required);

/// Matrices beside which `X.scale` and `X.input_scale` are read, one number each (NVFP4 files have them).
const SCALED: &[&str] = &[
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_qkv",
    "attn_output",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
];

const TABLES: &[Table] = &[
    Table {
        name: "llama",
        model: &[
            EMBEDDING,
            OUTPUT_NORM,
            OUTPUT,
            ("rope_freqs.weight", &[Pairs], Optional),
            ROPE_LONG,
            ROPE_SHORT,
        ],
        layer: &[
            ATTENTION_NORM,
            QUERY,
            KEY,
            VALUE,
            QUERY_BIAS,
            KEY_BIAS,
            VALUE_BIAS,
            ATTENTION_OUT,
            ("attn_output.bias", &[Embedding], Optional),
            INNER_NORM,
            GATE,
            UP,
            DOWN,
            ("ffn_gate.bias", &[Inner], Optional),
            ("ffn_up.bias", &[Inner], Optional),
            ("ffn_down.bias", &[Embedding], Optional),
        ],
    },
    Table {
        name: "qwen2",
        model: &[
            EMBEDDING,
            OUTPUT_NORM,
            OUTPUT,
            ("output.bias", &[Vocabulary], Optional),
        ],
        layer: &[
            ATTENTION_NORM,
            SQUARE_QUERY,
            VALUE_WIDE_KEY,
            VALUE,
            SQUARE_QUERY_BIAS,
            VALUE_WIDE_KEY_BIAS,
            VALUE_BIAS,
            SQUARE_OUT,
            INNER_NORM,
            GATE,
            UP,
            DOWN,
        ],
    },
    Table {
        name: "qwen3",
        model: &[
            EMBEDDING,
            OUTPUT_NORM,
            OUTPUT,
            ("cls.output.weight", &[], Optional),
        ],
        layer: &[
            ATTENTION_NORM,
            QUERY,
            VALUE_WIDE_KEY,
            VALUE,
            QUERY_BIAS,
            VALUE_WIDE_KEY_BIAS,
            VALUE_BIAS,
            ATTENTION_OUT,
            QUERY_NORM,
            KEY_NORM,
            INNER_NORM,
            GATE,
            UP,
            DOWN,
        ],
    },
    Table {
        name: "gemma3",
        model: &[
            EMBEDDING,
            OUTPUT_NORM,
            OUTPUT,
            ("dense_2.weight", &[], Optional),
            ("dense_3.weight", &[], Optional),
        ],
        layer: &[
            ATTENTION_NORM,
            QUERY,
            KEY,
            VALUE,
            QUERY_BIAS,
            KEY_BIAS,
            VALUE_BIAS,
            ATTENTION_OUT,
            QUERY_NORM,
            KEY_NORM,
            ("post_attention_norm.weight", &[Embedding], Required),
            INNER_NORM,
            GATE,
            UP,
            DOWN,
            ("post_ffw_norm.weight", &[Embedding], Required),
        ],
    },
    Table {
        name: "phi3",
        model: &[EMBEDDING, OUTPUT_NORM, OUTPUT, ROPE_LONG, ROPE_SHORT],
        layer: &[
            ATTENTION_NORM,
            SQUARE_QUERY,
            VALUE_WIDE_KEY,
            VALUE,
            SQUARE_QUERY_BIAS,
            VALUE_WIDE_KEY_BIAS,
            VALUE_BIAS,
            SQUARE_OUT,
            INNER_NORM,
            ("ffn_up.weight", &[Embedding, TwiceInner], Required),
            DOWN,
        ],
    },
    Table {
        name: "gpt2",
        model: &[
            EMBEDDING,
            ("position_embd.weight", &[Embedding, Context], Required),
            OUTPUT_NORM,
            ("output_norm.bias", &[Embedding], Required),
            OUTPUT,
        ],
        layer: &[
            ATTENTION_NORM,
            ("attn_norm.bias", &[Embedding], Required),
            ("attn_qkv.weight", &[Embedding, Fused], Required),
            ("attn_qkv.bias", &[Fused], Required),
            SQUARE_OUT,
            ("attn_output.bias", &[Embedding], Required),
            INNER_NORM,
            ("ffn_norm.bias", &[Embedding], Required),
            UP,
            ("ffn_up.bias", &[Inner], Required),
            DOWN,
            ("ffn_down.bias", &[Embedding], Required),
        ],
    },
    Table {
        name: "bitnet",
        model: &[EMBEDDING, OUTPUT_NORM],
        layer: &[
            ATTENTION_NORM,
            ("attn_sub_norm.weight", &[Embedding], Required),
            SQUARE_QUERY,
            VALUE_WIDE_KEY,
            VALUE,
            SQUARE_OUT,
            INNER_NORM,
            ("ffn_sub_norm.weight", &[Inner], Required),
            GATE,
            UP,
            DOWN,
        ],
    },
];

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
        required: need == Required,
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
