//! Hugging Face checkpoints and t81 directories on disk
