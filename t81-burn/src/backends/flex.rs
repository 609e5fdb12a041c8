//! Flex keeps tensors in host memory: the quantizer reads the weight where it lies and writes the result once.

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{DType, TensorData};
use rayon::prelude::*;

use t81_core::{ActivationPrecision, InterleavedMatrix, fake_quantize_activations};

use crate::activations::fake_quantize_composed;
use crate::operations::embedding::EmbeddingOps;
use crate::operations::normalization::NormalizationOps;
use crate::operations::rotation::RotationOps;
use crate::operations::softmax::SoftmaxOps;
use crate::ops::{TernaryOps, TernarySettings, quantize_on_host, weaken};

/// Gradients that a thread of the pool takes at once: their three slices fit into its cache.
const WEAKENED_AT_ONCE: usize = 1 << 14;

impl TernaryOps for Flex {
    fn ternary_quantize(weight: FloatTensor<Self>, settings: TernarySettings) -> FloatTensor<Self> {
        let dtype = settings.output_dtype(weight.dtype());
        if weight.dtype() != DType::F32 || dtype != DType::F32 {
            let data = quantize_on_host(weight.into_data(), dtype, &settings);
            return FloatTensor::<Self>::from_data(data);
        }
        let weight = weight.to_contiguous();
        let shape = weight.shape();
        let values = weight
            .as_slice::<f32>()
            .expect("a contiguous F32 tensor is a slice of f32");
        let mut output = vec![0.0; values.len()];
        settings.apply(values, [shape[0], shape[1]], &mut output);
        FloatTensor::<Self>::from_data(TensorData::new(output, shape))
    }

    fn weaken_zeros(
        gradient: FloatTensor<Self>,
        ternary: FloatTensor<Self>,
        gain: f32,
        dtype: DType,
    ) -> FloatTensor<Self> {
        let all_f32 = [gradient.dtype(), ternary.dtype(), dtype] == [DType::F32; 3];
        if !all_f32 {
            return weaken::<Self>(gradient, ternary, gain, dtype);
        }
        let (gradient, ternary) = (gradient.to_contiguous(), ternary.to_contiguous());
        let shape = ternary.shape();
        let incoming = gradient
            .as_slice::<f32>()
            .expect("a contiguous F32 tensor is a slice of f32");
        let values = ternary
            .as_slice::<f32>()
            .expect("a contiguous F32 tensor is a slice of f32");
        let mut output = vec![0.0; values.len()];
        output
            .par_chunks_mut(WEAKENED_AT_ONCE)
            .zip(incoming.par_chunks(WEAKENED_AT_ONCE))
            .zip(values.par_chunks(WEAKENED_AT_ONCE))
            .for_each(|((output, incoming), values)| {
                for ((output, gradient), value) in output.iter_mut().zip(incoming).zip(values) {
                    let factor = if *value == 0.0 { gain } else { 1.0 };
                    *output = gradient * factor;
                }
            });
        FloatTensor::<Self>::from_data(TensorData::new(output, shape))
    }

    fn fake_quantize_activations(input: FloatTensor<Self>) -> FloatTensor<Self> {
        if input.dtype() != DType::F32 {
            return fake_quantize_composed::<Self>(input);
        }
        let input = input.to_contiguous();
        let shape = input.shape();
        let values = input
            .as_slice::<f32>()
            .expect("a contiguous F32 tensor is a slice of f32");
        let columns = shape.as_slice().last().copied().unwrap_or(0);
        let mut output = vec![0.0; values.len()];
        fake_quantize_activations(values, columns, &mut output)
            .expect("the last dimension divides the tensor");
        FloatTensor::<Self>::from_data(TensorData::new(output, shape))
    }

    fn ternary_matmul(
        input: FloatTensor<Self>,
        weight: Arc<InterleavedMatrix>,
        precision: ActivationPrecision,
    ) -> FloatTensor<Self> {
        let dtype = input.dtype();
        let shape = [input.shape()[0], weight.rows()];
        let mut output = vec![0.0; shape[0] * shape[1]];
        let multiplied = if dtype == DType::F32 {
            let input = input.to_contiguous();
            let values = input
                .as_slice::<f32>()
                .expect("a contiguous F32 tensor is a slice of f32");
            weight.matmul(values, &mut output, precision)
        } else {
            let values: Vec<f32> = input.into_data().iter::<f32>().collect();
            weight.matmul(&values, &mut output, precision)
        };
        multiplied.expect("the input features are the weight's columns");
        FloatTensor::<Self>::from_data(TensorData::new(output, shape).convert_dtype(dtype))
    }
}

impl SoftmaxOps for Flex {}

impl NormalizationOps for Flex {}

impl RotationOps for Flex {}

impl EmbeddingOps for Flex {}
