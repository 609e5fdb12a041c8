//! Decoder language models built from Burn's own layers, so that a reparameterization can make their weights ternary.

pub mod llama;
