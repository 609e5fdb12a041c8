//! Behaviour of the crate on real directories.

mod architectures;
mod as_found;
mod checkpoint;
mod config;
mod foreign_content;
#[path = "../hub_server/mod.rs"]
mod hub_server;
mod model;
mod mutations;
mod properties;
mod remote;
mod t81_directory;
mod t81_mutations;
mod tokenizer;
mod writer_safety;
