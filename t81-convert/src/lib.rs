//! Converts Hugging Face checkpoints to ternary
