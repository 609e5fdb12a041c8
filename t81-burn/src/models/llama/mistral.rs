use super::config::LlamaConfig;

impl LlamaConfig {
    /// Mistral ([Jiang et al. 2023](https://arxiv.org/abs/2310.06825)): LLaMA whose positions attend to the last 4096 tokens;
    /// later releases have no `sliding_window`. Defaults are those of `transformers`.
    ///
    /// ```
    /// use t81_burn::models::llama::LlamaConfig;
    ///
    /// let config = LlamaConfig::mistral(97, 64, 128, 2, 4).with_num_key_value_heads(Some(2));
    /// assert_eq!(config.init(&Default::default()).sliding_window, Some(4096));
    /// ```
    pub fn mistral(
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
        .with_max_position_embeddings(131_072)
        .with_rms_norm_eps(1e-6)
        .with_sliding_window(Some(4096))
    }
}
