//! `config.json`: which architecture a model has, and its dimensions.

mod biases;
mod fields;
mod foreign_settings;
mod rope;
mod sliding;
mod tokens;

use std::path::Path;

use serde_json::Value;

use crate::architectures::{Architecture, Defaults};
use crate::files::MAX_JSON_BYTES;
use crate::json::read_json;
use crate::tensor_names::HEAD;
use crate::{Checkpoint, HubError, TensorRole, TensorSpec};

pub use biases::AttentionBias;
pub(crate) use fields::Fields;
pub use rope::{Rope, RopeScaling};
pub use sliding::SlidingWindow;

/// Largest context length accepted (Llama 4 Scout has 10 485 760).
const MAX_POSITIONS: usize = 1 << 28;
const MAX_LAYERS: usize = 1024;
const MAX_HEADS: usize = 1 << 12;
const MAX_HEAD_DIM: usize = 1 << 12;
const MAX_WIDTH: usize = 1 << 20;
const MAX_VOCABULARY: usize = 1 << 24;

/// A validated `config.json`. Values are in range and consistent: no dimension is zero, heads are a multiple of
/// key/value heads, a rotated head dimension is even, token ids are below `vocab_size`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The architecture.
    pub architecture: Architecture,
    /// The `model_type` of the file, one of [`Architecture::model_types`].
    pub model_type: &'static str,
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
    /// Width of a head; `hidden_size / num_attention_heads` unless the file says otherwise.
    pub head_dim: usize,
    /// What the products of queries and keys are multiplied by: `head_dim^-0.5`, in Gemma 3 `query_pre_attn_scalar^-0.5`.
    pub query_scale: f64,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Longest context in tokens.
    pub max_position_embeddings: usize,
    /// Rotary embedding of positions; none where positions are learned.
    pub rope: Option<Rope>,
    /// Added to the mean square (or variance) in normalisations.
    pub norm_eps: f64,
    /// Activation of the MLP: `silu`, `gelu_pytorch_tanh` or `gelu_new` (the last two are the same function).
    pub hidden_act: &'static str,
    /// Which projections of the attention have biases.
    pub attention_bias: AttentionBias,
    /// Whether the projections of the MLP have biases.
    pub mlp_bias: bool,
    /// Whether the output matrix is the embedding.
    pub tie_word_embeddings: bool,
    /// Token that starts a text. This and the other special tokens are in the vocabulary; any other value of the file (-1 in
    /// old checkpoints) is none, see [`SpecialTokens`](crate::SpecialTokens).
    pub bos_token_id: Option<u32>,
    /// Tokens that end a text; may be empty.
    pub eos_token_ids: Vec<u32>,
    /// Token that pads a batch.
    pub pad_token_id: Option<u32>,
    /// Attention within a window only, if the model has that.
    pub sliding_window: Option<SlidingWindow>,
    /// The file's contents, whole.
    pub raw: Value,
}

impl ModelConfig {
    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    /// If the file cannot be read, is not JSON, is out of range or describes an unsupported architecture.
    pub fn from_file(path: &Path) -> Result<Self, HubError> {
        Self::from_json_at(read_json(path, MAX_JSON_BYTES)?, path)
    }

    /// Validates the contents of a `config.json`. Errors call the file `config.json`.
    ///
    /// # Errors
    /// If a field is out of range or the architecture is unsupported.
    pub fn from_json(raw: Value) -> Result<Self, HubError> {
        Self::from_json_at(raw, Path::new("config.json"))
    }

    fn from_json_at(raw: Value, path: &Path) -> Result<Self, HubError> {
        let fields = Fields::new(&raw, path)?;
        let Some(model_type) = fields.text("model_type")? else {
            return Err(fields.error("model_type", "is missing"));
        };
        let Some((architecture, model_type)) = Architecture::of_model_type(model_type) else {
            return Err(HubError::UnsupportedModelType {
                path: path.to_path_buf(),
                model_type: model_type.to_owned(),
                supported: Architecture::supported(),
            });
        };
        let fields = fields.renamed(architecture.family().renamed);
        let mut config = Self::parse(&fields, architecture, model_type)?;
        (architecture.family().complete)(&fields, &mut config)?;
        foreign_settings::refuse(&fields, &config)?;
        config.raw = raw;
        Ok(config)
    }

    /// What all architectures have.
    fn parse(
        fields: &Fields<'_>,
        architecture: Architecture,
        model_type: &'static str,
    ) -> Result<Self, HubError> {
        let hidden_size = fields.required("hidden_size", 1..=MAX_WIDTH)?;
        let num_attention_heads = fields.required("num_attention_heads", 1..=MAX_HEADS)?;
        let family = architecture.family();
        let defaults = (family.defaults)(model_type);
        let given_heads = fields.integer("num_key_value_heads", 1..=MAX_HEADS)?;
        let num_key_value_heads = match (given_heads, defaults.key_value_heads) {
            (Some(heads), _) => heads,
            (None, Some(usual)) if !fields.is_null("num_key_value_heads") => usual,
            (None, _) => num_attention_heads,
        };
        if !num_attention_heads.is_multiple_of(num_key_value_heads) {
            let origin = match given_heads {
                Some(_) => String::new(),
                None => format!(" (the default of {model_type})"),
            };
            return Err(fields.error(
                "num_attention_heads",
                format!("is {num_attention_heads}, no multiple of num_key_value_heads = {num_key_value_heads}{origin}"),
            ));
        }
        let usual_head_dim = defaults.head_dim.filter(|_| !fields.is_null("head_dim"));
        let head_dim = match fields
            .integer("head_dim", 2..=MAX_HEAD_DIM)?
            .or(usual_head_dim)
        {
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
        if head_dim > MAX_HEAD_DIM {
            let problem = format!("is {head_dim}; it may be at most {MAX_HEAD_DIM}");
            return Err(fields.error("head_dim", problem));
        }
        let layer_norm = family.normalisation == crate::Normalisation::Layer;
        let intermediate_size = match fields.integer("intermediate_size", 1..=MAX_WIDTH)? {
            Some(size) => size,
            // GPT-2 alone leaves it open.
            None if architecture == Architecture::Gpt2 => 4 * hidden_size,
            None => fields.required("intermediate_size", 1..=MAX_WIDTH)?,
        };
        let max_position_embeddings = fields
            .integer("max_position_embeddings", 1..=MAX_POSITIONS)?
            .unwrap_or(defaults.positions);
        let epsilon = match layer_norm {
            true => "layer_norm_epsilon",
            false => "rms_norm_eps",
        };
        let norm_eps = fields
            .float(epsilon, 0.0..=1.0)?
            .unwrap_or(defaults.norm_eps);
        let rope = match architecture {
            Architecture::Gpt2 => None,
            _ => Some(Rope::parse(
                fields,
                head_dim,
                max_position_embeddings,
                architecture,
            )?),
        };
        let vocab_size = fields.required("vocab_size", 1..=MAX_VOCABULARY)?;
        let tokens = tokens::SpecialTokens::parse(fields, vocab_size);
        Ok(Self {
            architecture,
            model_type,
            hidden_size,
            intermediate_size,
            num_hidden_layers: fields.required("num_hidden_layers", 1..=MAX_LAYERS)?,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            query_scale: (head_dim as f64).powf(-0.5),
            vocab_size,
            max_position_embeddings,
            rope,
            norm_eps,
            hidden_act: "silu",
            attention_bias: AttentionBias::NONE,
            mlp_bias: false,
            tie_word_embeddings: fields
                .boolean("tie_word_embeddings")?
                .unwrap_or(defaults.tied),
            bos_token_id: tokens.bos,
            eos_token_ids: tokens.eos,
            pad_token_id: tokens.pad,
            sliding_window: None,
            raw: Value::Null,
        })
    }

    /// What an absent field means.
    fn defaults(&self) -> Defaults {
        (self.architecture.family().defaults)(self.model_type)
    }

    /// Sets the activation to `name`, which the file may call by any of `known`.
    pub(crate) fn activation(
        &mut self,
        fields: &Fields<'_>,
        name: &'static str,
        known: &[&str],
    ) -> Result<(), HubError> {
        let found = fields.text("hidden_act")?.unwrap_or(name);
        if !known.contains(&found) {
            return Err(fields.error(
                "hidden_act",
                format!("is `{found}`; only {} is supported", known[0]),
            ));
        }
        self.hidden_act = name;
        Ok(())
    }

    /// Every tensor of the model, in the order of its table: embedding first, then block by block.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        self.architecture.tensors(self)
    }

    /// Names of the weights that are made ternary: the linear layers of every block. Embeddings, output matrix, norms
    /// and biases stay floats.
    pub fn ternary_weight_names(&self) -> Vec<String> {
        self.ternary_weights().map(|spec| spec.name).collect()
    }

    /// The weights that are made ternary, with their shapes and layouts.
    pub fn ternary_weights(&self) -> impl Iterator<Item = TensorSpec> {
        let tensors = self.tensors().into_iter();
        tensors.filter(|spec| spec.role == TensorRole::Linear)
    }

    /// Names of all tensors that the architecture needs, and their shapes as a checkpoint stores them.
    pub fn expected_tensors(&self) -> Vec<(String, Vec<usize>)> {
        let tensors = self.tensors().into_iter();
        tensors
            .map(|spec| (spec.stored_shape(), spec.name))
            .map(|(shape, name)| (name, shape))
            .collect()
    }

    /// True for a tensor that old checkpoints carry and that no loader needs: stored rotary frequencies and attention
    /// masks, and the output matrix of a model whose configuration ties it to the embedding.
    pub fn is_redundant(&self, name: &str) -> bool {
        [".inv_freq", ".cos_cached", ".sin_cached"]
            .iter()
            .any(|table| name.ends_with(&format!(".rotary_emb{table}")))
            || (self.architecture == Architecture::Gpt2
                && (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")))
            || (self.tie_word_embeddings && name == HEAD)
    }

    /// Checks that a checkpoint holds every tensor of the architecture in the right shape.
    ///
    /// # Errors
    /// [`HubError::MissingTensor`], [`HubError::MissingHead`] or [`HubError::Shape`] for the first tensor at fault.
    pub fn check(&self, checkpoint: &Checkpoint) -> Result<(), HubError> {
        check_shapes(self.expected_tensors(), checkpoint.directory(), |name| {
            checkpoint.tensor(name).ok().map(|tensor| tensor.shape)
        })
    }
}

/// Compares the shapes that `place` holds with the expected ones; the first difference is the error.
pub(crate) fn check_shapes(
    expected: Vec<(String, Vec<usize>)>,
    place: &Path,
    shape_of: impl Fn(&str) -> Option<Vec<usize>>,
) -> Result<(), HubError> {
    for (name, expected) in expected {
        match shape_of(&name) {
            None if name == HEAD => return Err(HubError::MissingHead(place.to_path_buf())),
            None => {
                return Err(HubError::MissingTensor {
                    name,
                    place: place.to_path_buf(),
                });
            }
            Some(found) if found != expected => {
                return Err(HubError::Shape {
                    name,
                    found,
                    expected,
                });
            }
            Some(_) => {}
        }
    }
    Ok(())
}
