//! Burn's older CPU backend keeps the default body.

use burn::backend::NdArray;

use crate::operations::embedding::EmbeddingOps;
use crate::operations::normalization::NormalizationOps;
use crate::operations::rotation::RotationOps;
use crate::operations::softmax::SoftmaxOps;
use crate::ops::TernaryOps;

impl TernaryOps for NdArray {}

impl SoftmaxOps for NdArray {}

impl NormalizationOps for NdArray {}

impl RotationOps for NdArray {}

impl EmbeddingOps for NdArray {}
