//! Behaviour of the converter, as a library and as a program.

mod library;
mod model;
mod program;
mod signals;
