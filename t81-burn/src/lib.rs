//! Ternary quantization-aware training for Burn
