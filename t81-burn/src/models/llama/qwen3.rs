use super::config::LlamaConfig;

impl LlamaConfig {
    /// Qwen3 ([Yang et al. 2025](https://arxiv.org/abs/2505.09388)): LLaMA whose query and key heads are normalised before
    /// their rotation and whose `head_dim` (128) does not follow from the other sizes. Defaults are those of `transformers`.
    ///
    /// ```
    /// use t81_burn::models::llama::LlamaConfig;
    ///
    /// let config = LlamaConfig::qwen3(97, 64, 128, 2, 4).with_num_key_value_heads(Some(2));
    /// let model = config.init(&Default::default());
    /// assert_eq!(model.layers[0].self_attn.q_proj.weight.dims(), [64, 4 * 128]);
    /// assert!(model.layers[0].self_attn.q_norm.is_some());
    /// ```
    pub fn qwen3(
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
        .with_head_dim(Some(128))
        .with_max_position_embeddings(32_768)
        .with_rms_norm_eps(1e-6)
        .with_qk_norm(true)
    }
}
