//! GPUs, through CubeCL: the quantizer's arithmetic as kernels that give the very bits of `t81_core`.
//!
//! A thread owns one group of one output feature, so that neighbouring threads of Burn's `[d_input, d_output]` layout read
//! neighbouring weights. Groups and rows take one launch; a scale of the whole tensor takes a sum of each row and a fold first.

mod division;
mod kernels;
mod launch;
mod quantizer;
mod softmax;

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::{cast, into_contiguous};

use crate::ops::{TernaryOps, TernarySettings, quantize_through_host, weaken_zeros};
use crate::softmax::{CausalSpan, SoftmaxOps};

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
            return weaken_zeros::<Self>(gradient, weight, &settings);
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
