//! Behaviour of the crate on real directories.

mod checkpoint;
mod config;
mod model;
mod mutations;
mod properties;
mod t81_directory;
mod t81_mutations;
mod tokenizer;
mod writer_safety;
