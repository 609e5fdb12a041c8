//! The smallest model.

use serde_json::{Value, json};

/// Its `config.json`.
pub fn config() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 4, "vocab_size": 3,
        "max_position_embeddings": 8, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
    })
}
