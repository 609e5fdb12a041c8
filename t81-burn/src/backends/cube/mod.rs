//! GPUs, through CubeCL: the quantizer's arithmetic as kernels that give the very bits of `t81_core`.
//!
//! Neighbouring threads own groups of neighbouring output features, so that in Burn's `[d_input, d_output]` layout they read
//! neighbouring weights. Groups and rows take one launch; a scale of the whole tensor takes a sum of each row and a fold first.

mod division;
mod embedding;
mod kernels;
mod launch;
mod normalization;
mod quantizer;
mod rotation;
mod rows;
mod softmax;

use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::{cast, into_contiguous};

use crate::operations::embedding::EmbeddingOps;
use crate::operations::normalization::NormalizationOps;
use crate::operations::rotation::RotationOps;
use crate::operations::softmax::{CausalSpan, SoftmaxOps};
use crate::ops::{TernaryOps, TernarySettings, quantize_through_host, weaken_codes};

/// Weights of a tensor that the kernels count in 32 bits.
const MOST_WEIGHTS: usize = 1 << 31;

impl TernaryOps for CubeBackend {
    fn ternary_quantize(weight: FloatTensor<Self>, settings: TernarySettings) -> FloatTensor<Self> {
        let dtype = settings.output_dtype(weight.dtype());
        let count = weight.shape().num_elements();
        if count >= MOST_WEIGHTS {
            return quantize_through_host::<Self>(weight, &settings);
        }
        if settings.blend == 0.0 || count == 0 {
            return cast(weight, dtype);
        }
        let weight = into_contiguous(cast(weight, DType::F32));
        launch::quantize(weight, &settings, dtype)
    }

    fn ternary_gradient(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        settings: TernarySettings,
    ) -> FloatTensor<Self> {
        let count = weight.shape().num_elements();
        if count >= MOST_WEIGHTS || count == 0 || weight.dtype() != DType::F32 {
            return weaken_codes::<Self>(gradient, weight, &settings);
        }
        let settings = settings.of_gradient();
        launch::weaken(
            into_contiguous(gradient),
            into_contiguous(weight),
            &settings,
        )
    }
}

impl SoftmaxOps for CubeBackend {
    fn causal_softmax(scores: FloatTensor<Self>, span: CausalSpan) -> FloatTensor<Self> {
        softmax::causal_softmax(into_contiguous(scores), span)
    }

    fn causal_softmax_gradient(
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        span: CausalSpan,
    ) -> FloatTensor<Self> {
        softmax::causal_softmax_gradient(into_contiguous(weights), into_contiguous(gradient), span)
    }
}

/// `tensor` in f32, contiguous.
fn contiguous_f32(tensor: FloatTensor<CubeBackend>) -> FloatTensor<CubeBackend> {
    into_contiguous(cast(tensor, DType::F32))
}

impl NormalizationOps for CubeBackend {
    fn rms_norm(
        states: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
        dtype: DType,
    ) -> FloatTensor<Self> {
        let (states, gamma) = (into_contiguous(states), contiguous_f32(gamma));
        normalization::rms_norm(states, gamma, epsilon, dtype)
    }

    fn rms_norm_states_gradient(
        gradient: FloatTensor<Self>,
        states: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        let (gradient, states) = (into_contiguous(gradient), into_contiguous(states));
        normalization::states_gradient(gradient, states, contiguous_f32(gamma), epsilon)
    }

    fn rms_norm_gamma_gradient(
        gradient: FloatTensor<Self>,
        states: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        normalization::gamma_gradient(into_contiguous(gradient), into_contiguous(states), epsilon)
    }
}

impl RotationOps for CubeBackend {
    fn rotate_heads(
        states: FloatTensor<Self>,
        cosines: FloatTensor<Self>,
        sines: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        let (cosines, sines) = (contiguous_f32(cosines), contiguous_f32(sines));
        rotation::rotate(into_contiguous(states), cosines, sines, heads)
    }

    fn rotate_heads_gradient(
        gradient: FloatTensor<Self>,
        cosines: FloatTensor<Self>,
        sines: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (cosines, sines) = (contiguous_f32(cosines), contiguous_f32(sines));
        rotation::rotate_back(into_contiguous(gradient), cosines, sines)
    }
}

impl EmbeddingOps for CubeBackend {
    fn embed_tokens_gradient(
        gradient: FloatTensor<Self>,
        tokens: IntTensor<Self>,
        vocabulary: usize,
    ) -> FloatTensor<Self> {
        embedding::gradient(
            into_contiguous(gradient),
            into_contiguous(tokens),
            vocabulary,
        )
    }
}
