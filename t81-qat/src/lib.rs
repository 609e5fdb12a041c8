//! Quantization-aware training of ternary language models
