//! Burn's older CPU backend keeps the default body.

use burn::backend::NdArray;

use crate::ops::TernaryOps;
use crate::softmax::SoftmaxOps;

impl TernaryOps for NdArray {}

impl SoftmaxOps for NdArray {}
