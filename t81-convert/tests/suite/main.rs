//! Behaviour of the converter, as a library and as a program.

mod hub;
#[path = "../../../t81-hub/tests/hub_server/mod.rs"]
mod hub_server;
mod library;
mod model;
mod program;
mod signals;
