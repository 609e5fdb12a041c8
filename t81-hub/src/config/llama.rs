//! The llama architecture: dimensions, tensor names and tensor shapes.

use serde_json::{Value, json};

use super::check_shapes;
use super::fields::{Fields, brief};
use super::rope::{RopeScaling, parse_rope};
use crate::{Checkpoint, HubError};

/// Largest context length accepted (Llama 4 Scout has 10 485 760).
pub(super) const MAX_POSITIONS: usize = 1 << 28;
const MAX_LAYERS: usize = 1024;
const MAX_HEADS: usize = 1 << 12;
const MAX_HEAD_DIM: usize = 1 << 12;
const MAX_WIDTH: usize = 1 << 20;
const MAX_VOCABULARY: usize = 1 << 24;

/// Dimensions of a `LlamaForCausalLM`. Parsed values are in range and consistent: no dimension is zero, heads are
/// a multiple of key/value heads, the head dimension is even, token ids are below `vocab_size`.
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Number of decoder blocks.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of a head, even; `hidden_size / num_attention_heads` unless the file says otherwise.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Longest context in tokens.
    pub max_position_embeddings: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Scaling of the rotary frequencies.
    pub rope_scaling: Option<RopeScaling>,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Activation of the MLP: always `silu`.
    pub hidden_act: String,
    /// Whether q, k, v and o projections have biases.
    pub attention_bias: bool,
    /// Whether gate, up and down projections have biases.
    pub mlp_bias: bool,
    /// Whether the output matrix is the embedding.
    pub tie_word_embeddings: bool,
    /// Token that starts a text.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a text; may be empty.
    pub eos_token_ids: Vec<u32>,
    /// Token that pads a batch. An id outside the vocabulary (old checkpoints say -1) is none.
    pub pad_token_id: Option<u32>,
    /// Attention window in tokens, if the model has one.
    pub sliding_window: Option<usize>,
}

impl LlamaConfig {
    pub(super) fn parse(fields: &Fields<'_>) -> Result<Self, HubError> {
        let hidden_size = fields.required("hidden_size", 1..=MAX_WIDTH)?;
        let num_attention_heads = fields.required("num_attention_heads", 1..=MAX_HEADS)?;
        let num_key_value_heads = fields
            .integer("num_key_value_heads", 1..=MAX_HEADS)?
            .unwrap_or(num_attention_heads);
        if !num_attention_heads.is_multiple_of(num_key_value_heads) {
            return Err(fields.error(
                "num_attention_heads",
                format!("is {num_attention_heads}, no multiple of num_key_value_heads = {num_key_value_heads}"),
            ));
        }
        let head_dim = match fields.integer("head_dim", 2..=MAX_HEAD_DIM)? {
            Some(head_dim) => head_dim,
            None if hidden_size.is_multiple_of(num_attention_heads) => {
                hidden_size / num_attention_heads
            }
            None => {
                return Err(fields.error(
                    "hidden_size",
                    format!("is {hidden_size}, no multiple of num_attention_heads = {num_attention_heads}"),
                ));
            }
        };
        if !head_dim.is_multiple_of(2) || head_dim > MAX_HEAD_DIM {
            return Err(fields.error(
                "head_dim",
                format!("is {head_dim}; the rotary embedding needs an even one of at most {MAX_HEAD_DIM}"),
            ));
        }
        let hidden_act = fields.text("hidden_act")?.unwrap_or("silu");
        if !matches!(hidden_act, "silu" | "swish") {
            return Err(fields.error(
                "hidden_act",
                format!("is `{hidden_act}`; only silu is supported"),
            ));
        }
        let vocab_size = fields.required("vocab_size", 1..=MAX_VOCABULARY)?;
        let (rope_theta, rope_scaling) = parse_rope(fields)?;
        Ok(Self {
            hidden_size,
            intermediate_size: fields.required("intermediate_size", 1..=MAX_WIDTH)?,
            num_hidden_layers: fields.required("num_hidden_layers", 1..=MAX_LAYERS)?,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            vocab_size,
            max_position_embeddings: fields
                .integer("max_position_embeddings", 1..=MAX_POSITIONS)?
                .unwrap_or(2048),
            rope_theta,
            rope_scaling,
            rms_norm_eps: fields.float("rms_norm_eps", 0.0..=1.0)?.unwrap_or(1e-6),
            hidden_act: "silu".into(),
            attention_bias: fields.boolean("attention_bias")?.unwrap_or(false),
            mlp_bias: fields.boolean("mlp_bias")?.unwrap_or(false),
            tie_word_embeddings: fields.boolean("tie_word_embeddings")?.unwrap_or(false),
            bos_token_id: token_id(fields, "bos_token_id", vocab_size)?,
            eos_token_ids: token_ids(fields, "eos_token_id", vocab_size)?,
            pad_token_id: pad_token_id(fields, vocab_size)?,
            sliding_window: fields.integer("sliding_window", 1..=MAX_POSITIONS)?,
        })
    }

    /// A `config.json` that transformers 4 and 5 read. `torch_dtype` is left to whoever stores the weights.
    pub fn to_json(&self) -> Value {
        let eos = match self.eos_token_ids[..] {
            [] => Value::Null,
            [one] => json!(one),
            _ => json!(self.eos_token_ids),
        };
        let mut config = json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.max_position_embeddings,
            "rope_theta": self.rope_theta,
            "rope_scaling": self.rope_scaling.map(RopeScaling::to_json),
            "rms_norm_eps": self.rms_norm_eps,
            "hidden_act": self.hidden_act,
            "attention_bias": self.attention_bias,
            "mlp_bias": self.mlp_bias,
            "tie_word_embeddings": self.tie_word_embeddings,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": eos,
            "pad_token_id": self.pad_token_id,
        });
        if let Some(window) = self.sliding_window {
            config["sliding_window"] = json!(window);
        }
        config
    }

    /// Names of the seven linear weights of block `layer`: q, k, v, o, gate, up, down.
    pub fn linear_names(&self, layer: usize) -> [String; 7] {
        [
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "mlp.gate_proj",
            "mlp.up_proj",
            "mlp.down_proj",
        ]
        .map(|part| format!("model.layers.{layer}.{part}.weight"))
    }

    /// Names of the weights that are made ternary: [`linear_names`](Self::linear_names) of every block. Embedding,
    /// output matrix, norms and biases stay floats.
    pub fn ternary_weight_names(&self) -> Vec<String> {
        (0..self.num_hidden_layers)
            .flat_map(|layer| self.linear_names(layer))
            .collect()
    }

    /// Names and shapes (`[out, in]` for weights) of all tensors of the model, embedding first.
    pub fn expected_tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let query = self.num_attention_heads * self.head_dim;
        let key_value = self.num_key_value_heads * self.head_dim;
        let shapes = [
            (query, hidden),
            (key_value, hidden),
            (key_value, hidden),
            (hidden, query),
            (inner, hidden),
            (inner, hidden),
            (hidden, inner),
        ];
        let mut tensors = vec![(
            "model.embed_tokens.weight".to_owned(),
            vec![self.vocab_size, hidden],
        )];
        for layer in 0..self.num_hidden_layers {
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                tensors.push((format!("model.layers.{layer}.{norm}.weight"), vec![hidden]));
            }
            for (index, (name, (rows, columns))) in
                self.linear_names(layer).into_iter().zip(shapes).enumerate()
            {
                if if index < 4 {
                    self.attention_bias
                } else {
                    self.mlp_bias
                } {
                    let bias = name.strip_suffix("weight").unwrap_or(&name);
                    tensors.push((format!("{bias}bias"), vec![rows]));
                }
                tensors.push((name, vec![rows, columns]));
            }
        }
        tensors.push(("model.norm.weight".to_owned(), vec![hidden]));
        if !self.tie_word_embeddings {
            tensors.push(("lm_head.weight".to_owned(), vec![self.vocab_size, hidden]));
        }
        tensors
    }

    /// Checks that a checkpoint holds every tensor of this model in the right shape.
    ///
    /// # Errors
    /// [`HubError::MissingTensor`] or [`HubError::Shape`] for the first tensor at fault.
    pub fn check(&self, checkpoint: &Checkpoint) -> Result<(), HubError> {
        check_shapes(self.expected_tensors(), checkpoint.directory(), |name| {
            checkpoint.tensor(name).ok().map(|tensor| tensor.shape)
        })
    }
}

fn token_id(fields: &Fields<'_>, name: &str, vocab_size: usize) -> Result<Option<u32>, HubError> {
    fields
        .integer(name, 0..=vocab_size - 1)
        .map(|id| id.map(|id| id as u32))
}

fn token_ids(fields: &Fields<'_>, name: &str, vocab_size: usize) -> Result<Vec<u32>, HubError> {
    let Some(Value::Array(ids)) = fields.get(name) else {
        return Ok(token_id(fields, name, vocab_size)?.into_iter().collect());
    };
    ids.iter()
        .map(|id| match id.as_u64() {
            Some(id) if id < vocab_size as u64 => Ok(id as u32),
            _ => Err(fields.error(
                name,
                format!("lists {}, no id below {vocab_size}", brief(id)),
            )),
        })
        .collect()
}

fn pad_token_id(fields: &Fields<'_>, vocab_size: usize) -> Result<Option<u32>, HubError> {
    match fields.get("pad_token_id") {
        None => Ok(None),
        Some(id) if id.is_i64() || id.is_u64() => Ok(id
            .as_u64()
            .filter(|&id| id < vocab_size as u64)
            .map(|id| id as u32)),
        Some(id) => Err(fields.error("pad_token_id", format!("is {}, not an integer", brief(id)))),
    }
}
