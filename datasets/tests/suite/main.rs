//! The crate as its users see it.

mod cache;
mod columns;
mod files;
mod fixtures;
mod hostile;
mod hub;
#[path = "../../../t81-hub/tests/hub_server/mod.rs"]
mod hub_server;
mod repositories;
mod source;
#[cfg(unix)]
mod special_files;
mod tables;
mod tokenizer;
