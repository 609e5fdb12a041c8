//! Exporting t81 directories: what the file holds against what the directory holds.

mod course;
mod exported;
mod metadata;
#[path = "../tiny_model/mod.rs"]
mod tiny_model;
mod values;
