//! Gradients of the operations, each from what its own backward pass needs.

mod embedding;
mod normalization;
mod rotation;
mod softmax;
mod ternary;
