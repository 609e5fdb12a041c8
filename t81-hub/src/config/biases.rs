//! Which linear layers have biases: what `config.json` says, and what the tensors say.

use super::ModelConfig;
use crate::architectures::Architecture;

/// Which projections of the attention have biases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AttentionBias {
    /// The projection of queries.
    pub query: bool,
    /// The projection of keys.
    pub key: bool,
    /// The projection of values.
    pub value: bool,
    /// The projection of the attention's result.
    pub output: bool,
}

impl AttentionBias {
    /// No projection has one.
    pub const NONE: Self = Self {
        query: false,
        key: false,
        value: false,
        output: false,
    };

    /// Every projection has one.
    pub const ALL: Self = Self {
        query: true,
        key: true,
        value: true,
        output: true,
    };
}

impl ModelConfig {
    /// Takes the biases of Llama's layers from the tensors, where `config.json` says something else: each bias may be there or
    /// not, to llama.cpp too. Returns a sentence for the user if that changes something.
    ///
    /// A flag without any of its biases stays, so that they are missed.
    pub(crate) fn adopt_biases(&mut self, has: impl Fn(&str) -> bool) -> Option<String> {
        if self.architecture != Architecture::Llama {
            return None;
        }
        let present = |layer: &str| {
            let mut blocks = 0..self.num_hidden_layers;
            blocks.any(|block| has(&format!("model.layers.{block}.{layer}_proj.bias")))
        };
        let attention = AttentionBias {
            query: present("self_attn.q"),
            key: present("self_attn.k"),
            value: present("self_attn.v"),
            output: present("self_attn.o"),
        };
        let mlp = ["mlp.gate", "mlp.up", "mlp.down"].into_iter().all(present);
        let mut flags = Vec::new();
        if attention != AttentionBias::NONE && attention != self.attention_bias {
            self.attention_bias = attention;
            flags.push("attention_bias");
        }
        if mlp && !self.mlp_bias {
            self.mlp_bias = true;
            flags.push("mlp_bias");
        }
        if flags.is_empty() {
            return None;
        }
        Some(format!(
            "config.json says something else of {}, but the biases that are there are kept (transformers leaves them out \
             unless the flag is true, and then takes zeros for those that are not there)",
            flags.join(" and ")
        ))
    }
}
