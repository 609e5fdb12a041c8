//! The tensors that llama.cpp's architectures consume: `load_arch_tensors` of `models/*.cpp` as tables.

use super::hyper_parameters::HyperParameters;

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
    /// Fused queries, keys and values.
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
const FUSED: Row = ("attn_qkv.weight", &[Embedding, Fused], Required);
const ATTENTION_OUT: Row = ("attn_output.weight", &[Queries, Embedding], Required);
const GATE: Row = ("ffn_gate.weight", &[Embedding, Inner], Required);
const UP: Row = ("ffn_up.weight", &[Embedding, Inner], Required);
const DOWN: Row = ("ffn_down.weight", &[Inner, Embedding], Required);
const QUERY_NORM: Row = ("attn_q_norm.weight", &[Head], Required);
const KEY_NORM: Row = ("attn_k_norm.weight", &[Head], Required);

/// What stands for `attn_q`, `attn_k` and `attn_v` where they are fused.
const FUSED_ROWS: &[Row] = &[
    FUSED,
    ("attn_qkv.bias", &[Fused], Optional),
    QUERY_BIAS,
    KEY_BIAS,
    VALUE_BIAS,
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
            QUERY,
            KEY,
            VALUE,
            QUERY_BIAS,
            KEY_BIAS,
            VALUE_BIAS,
            ATTENTION_OUT,
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
            KEY,
            VALUE,
            QUERY_BIAS,
            KEY_BIAS,
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
            QUERY,
            KEY,
            VALUE,
            QUERY_BIAS,
            KEY_BIAS,
            VALUE_BIAS,
            ATTENTION_OUT,
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
            FUSED,
            ("attn_qkv.bias", &[Fused], Required),
            ATTENTION_OUT,
            ("attn_output.bias", &[Embedding], Required),
            INNER_NORM,
            ("ffn_norm.bias", &[Embedding], Required),
            UP,
            ("ffn_up.bias", &[Inner], Required),
            DOWN,
            ("ffn_down.bias", &[Embedding], Required),
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
/// `vocabulary` is the number of tokens; `is_present` says which tensors the file has, as fused matrices stand for others.
pub(super) fn expected(
    architecture: &str,
    parameters: &HyperParameters,
    vocabulary: u64,
    is_present: impl Fn(&str) -> bool,
) -> Option<Vec<Expected>> {
    let table = TABLES.iter().find(|table| table.name == architecture)?;
    if parameters.experts > 0 {
        return None;
    }
    let resolve = |name: String, layer: usize, &(_, sizes, need): &Row| Expected {
        name,
        dimensions: (!sizes.is_empty()).then(|| {
            let size = |&size: &Size| resolve_size(size, parameters, vocabulary, layer);
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
        .map(|row| resolve(row.0.to_owned(), 0, row))
        .collect();
    for layer in 0..parameters.layers {
        // gpt2 is always fused, with a bias; its table says so.
        let fused = architecture != "gpt2" && is_present(&format!("blk.{layer}.attn_qkv.weight"));
        let is_separate = |name: &str| {
            ["attn_q.", "attn_k.", "attn_v."]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        };
        let rows = table
            .layer
            .iter()
            .filter(|(name, ..)| !(fused && is_separate(name)));
        let replaced = if fused { FUSED_ROWS } else { &[] };
        for row in rows.chain(replaced) {
            tensors.push(resolve(format!("blk.{layer}.{}", row.0), layer, row));
        }
    }
    Some(tensors)
}

fn resolve_size(size: Size, parameters: &HyperParameters, vocabulary: u64, layer: usize) -> u64 {
    let times = |heads: u64, features: u64| heads.saturating_mul(features);
    let queries = times(parameters.heads.at(layer), parameters.key_length);
    let keys = times(parameters.key_value_heads.at(layer), parameters.key_length);
    let values = times(
        parameters.key_value_heads.at(layer),
        parameters.value_length,
    );
    match size {
        Size::Embedding => parameters.embedding,
        Size::Vocabulary => vocabulary,
        Size::Context => parameters.context,
        Size::Inner => parameters.inner.at(layer),
        Size::TwiceInner => parameters.inner.at(layer).saturating_mul(2),
        Size::Queries => queries,
        Size::Keys => keys,
        Size::Values => values,
        Size::Fused => queries.saturating_add(keys).saturating_add(values),
        Size::Head => parameters.key_length,
        Size::Pairs => parameters.rotated / 2,
    }
}
