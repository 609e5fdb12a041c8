//! Burn's older CPU backend keeps the default body.

use burn::backend::NdArray;

use crate::ops::TernaryOps;

impl TernaryOps for NdArray {}
