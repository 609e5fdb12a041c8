use super::config::{AttentionBiases, LlamaConfig};

impl LlamaConfig {
    /// Qwen2 and Qwen2.5 ([Yang et al. 2024](https://arxiv.org/abs/2407.10671)): LLaMA with biases on the query, key and value
    /// projections. Defaults are those of `transformers`.
    ///
    /// ```
    /// use t81_burn::models::llama::LlamaConfig;
    ///
    /// let config = LlamaConfig::qwen2(97, 64, 128, 2, 4).with_num_key_value_heads(Some(2));
    /// let attention = &config.init(&Default::default()).layers[0].self_attn;
    /// assert!(attention.k_proj.bias.is_some() && attention.o_proj.bias.is_none());
    /// ```
    pub fn qwen2(
        vocab_size: usize,
        hidden_size: usize,
        intermediate_size: usize,
        num_hidden_layers: usize,
        num_attention_heads: usize,
    ) -> Self {
        Self::new(
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
        )
        .with_max_position_embeddings(32_768)
        .with_rms_norm_eps(1e-6)
        .with_attention_bias(AttentionBiases::QUERY_KEY_VALUE)
    }
}
