//! Activations rounded as the int8 products with packed weights round them, for training to see what will run.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, get_device_settings};
use burn::tensor::ops::PadMode;
use burn::tensor::{DType, Shape, Slice, Tensor};
use t81_core::ACTIVATION_BLOCK;

use crate::ops::TernaryOps;

/// Replaces activations by what their int8 stands for, in blocks of 256 along the last dimension, as
/// [`ternary_matmul`](crate::ternary_matmul) with [`ActivationPrecision::Int8`](t81_core::ActivationPrecision::Int8)
/// rounds them; the gradient passes straight through.
///
/// The arithmetic is f32; the result has the float type of the input, which in 16 bits rounds once more. The rule is that of
/// [`t81_core::fake_quantize_activations`].
///
/// # Shapes
///
/// - `input`: `[..., d_input]`
/// - output: the same shape
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use t81_burn::fake_quantize_activations;
///
/// let states = Tensor::<2>::from_floats([[12.7, -0.31, 0.04]], &Device::default());
/// let rounded: Vec<f32> = fake_quantize_activations(states).into_data().try_into_vec().unwrap();
/// // The scale is 12.7 / 127.
/// assert!((rounded[1] - -0.3).abs() < 1e-6);
/// assert_eq!((rounded[0], rounded[2]), (12.7, 0.0));
/// ```
pub fn fake_quantize_activations<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fake_quantize_activations(input.into_dispatch()))
}

/// [`TernaryOps::fake_quantize_activations`] by operations that every backend has, so that nothing is read back from a device.
///
/// Which sign the scale has changes no value, so the sign of the largest element is of no interest here.
pub(crate) fn fake_quantize_composed<B: Backend>(input: FloatTensor<B>) -> FloatTensor<B> {
    let (shape, dtype) = (input.shape(), input.dtype());
    let columns = shape.as_slice().last().copied().unwrap_or(0);
    if shape.num_elements() == 0 {
        return input;
    }
    let rows = shape.num_elements() / columns;
    let length = columns.min(ACTIVATION_BLOCK);
    let blocks = columns.div_ceil(length);
    let padding = blocks * length - columns;

    let mut values = match dtype {
        DType::F32 => input,
        _ => B::float_cast(input, DType::F32.into()),
    };
    if padding > 0 {
        let flat = B::float_reshape(values, Shape::new([rows, columns]));
        values = B::float_pad(flat, &[(0, 0), (0, padding)], PadMode::Constant(0.0));
    }
    let values = B::float_reshape(values, Shape::new([rows, blocks, length]));
    let device = values.device();
    let largest = B::float_max_abs_dim(values.clone(), 2);
    let steps = B::float_full(largest.shape(), 127.0.into(), &device, DType::F32.into());
    let inverse = B::float_div(steps, largest);
    let scale = B::float_recip(inverse.clone());
    // A block too small for a scale has the inverse infinity and the scale 0; its codes are to be 0, too.
    let booleans = get_device_settings::<B>(&device).bool_dtype;
    let too_small = B::float_is_inf(inverse.clone(), booleans);
    let inverse = B::float_mask_fill(inverse, too_small, 0.0.into());
    let codes = B::float_round(B::float_mul(values, inverse));
    let mut rounded = B::float_mul(codes, scale);
    if padding > 0 {
        let flat = B::float_reshape(rounded, Shape::new([rows, blocks * length]));
        rounded = B::float_slice(flat, &[Slice::from(0..rows), Slice::from(0..columns)]);
    }
    let rounded = B::float_reshape(rounded, shape);
    match dtype {
        DType::F32 => rounded,
        _ => B::float_cast(rounded, dtype.into()),
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use burn::tensor::TensorData;

    type Primitive = FloatTensor<Flex>;

    fn composed(values: &[f32], shape: [usize; 2], dtype: DType) -> Vec<f32> {
        let data = TensorData::new(values.to_vec(), shape).convert_dtype(dtype);
        let rounded = fake_quantize_composed::<Flex>(Primitive::from_data(data));
        assert_eq!(
            (rounded.dtype(), rounded.shape()),
            (dtype, Shape::new(shape))
        );
        rounded.into_data().iter::<f32>().collect()
    }

    /// Values of changing size, some blocks of them zero or too small for a scale.
    fn activations(count: usize) -> Vec<f32> {
        let sizes = [1.0, 1e-3, 300.0, 0.0, 1e-38, -7.0];
        let value = |index: usize| ((index * index) as f32 * 0.7).sin();
        (0..count)
            .map(|index| value(index) * sizes[index / 193 % 6])
            .collect()
    }

    #[test]
    fn the_composed_rounding_gives_the_values_of_the_core() {
        for columns in [1, 7, 256, 300, 1024] {
            let values = activations(6 * columns);
            let mut expected = vec![0.0; values.len()];
            t81_core::fake_quantize_activations(&values, columns, &mut expected).unwrap();
            assert_eq!(composed(&values, [6, columns], DType::F32), expected);
        }
        assert!(composed(&[], [0, 5], DType::F32).is_empty());
    }

    #[test]
    fn halves_are_rounded_in_f32() {
        let halves: Vec<f32> = activations(6 * 300).into_iter().map(half_of).collect();
        let mut expected = vec![0.0; halves.len()];
        t81_core::fake_quantize_activations(&halves, 300, &mut expected).unwrap();
        let expected: Vec<f32> = expected.into_iter().map(half_of).collect();
        assert_eq!(composed(&halves, [6, 300], DType::F16), expected);
    }

    /// The nearest f16.
    fn half_of(value: f32) -> f32 {
        let data = TensorData::from([value]).convert_dtype(DType::F16);
        data.iter::<f32>().next().unwrap()
    }

    #[test]
    fn what_is_not_finite_makes_its_block_no_number() {
        for bad in [f32::NAN, f32::NEG_INFINITY] {
            let mut values = vec![1.0; 600];
            values[300] = bad;
            let found = composed(&values, [1, 600], DType::F32);
            assert!(found[256..512].iter().all(|value| value.is_nan()), "{bad}");
            assert_eq!((found[255], found[512]), (1.0, 1.0));
        }
    }
}
