//! The tensors of llama.cpp's architectures: `load_arch_tensors` of `models/*.cpp` (b11434) as tables.

/// A dimension in terms of the hyper-parameters.
#[derive(Clone, Copy)]
pub(super) enum Size {
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
pub(super) enum Need {
    Required,
    Optional,
}

/// A tensor: name (inside a layer: without `blk.N.`), dimensions with the fastest first (none: not checked), need.
pub(super) type Row = (&'static str, &'static [Size], Need);

use Need::{Optional, Required};
use Size::{
    Context, Embedding, Fused, Head, Inner, Keys, Pairs, Queries, TwiceInner, Values, Vocabulary,
};

/// An architecture's tensors.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Outside of the layers.
    pub(super) model: &'static [Row],
    /// In each layer.
    pub(super) layer: &'static [Row],
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
pub(super) const SCALED: &[&str] = &[
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_qkv",
    "attn_output",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
];

pub(super) const TABLES: &[Table] = &[
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
