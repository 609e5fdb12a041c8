//! Behaviour of the converter, as a library and as a program.

mod as_found;
mod gguf;
mod hub;
#[path = "../../../t81-hub/tests/hub_server/mod.rs"]
mod hub_server;
mod interruption;
mod library;
mod model;
mod place;
mod pretrained;
mod program;
mod refusals;
mod signals;
mod validation;
