//! The operations that T81 adds to Burn's backends: float weights in, ternary weights out; and products with packed weights.
//!
//! Burn dispatches a [`Tensor`] to its backend at run time; [`TernaryOps`] extends every backend with
//! [`ternary_quantize`](TernaryOps::ternary_quantize). A backend that has a kernel of its own overrides it; any other
//! one inherits the default body, which reads the weight to the host, calls the same [`Quantizer`] and uploads the
//! result. Both give the same bits, since only `t81_core` turns floats into codes and scales.

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension, get_device_settings};
use burn::tensor::{DType, Tensor, TensorData, read_sync};
use t81_core::{ActivationPrecision, InterleavedMatrix, Layout, Quantizer};

use crate::activations::fake_quantize_composed;
use crate::operations::cast;

/// What [`ternary_quantize`] does to a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct TernarySettings {
    /// The quantizer that the exporter will use, too.
    pub quantizer: Quantizer,
    /// Share of the ternary value in the result, 0..=1: `w + blend * (scale * code - w)`. 1 gives exactly
    /// `scale * code`.
    pub blend: f32,
    /// Which axis of the weight holds the output features. Burn's `Linear` is [`Layout::InOut`].
    pub layout: Layout,
    /// Float type of the result, that of the weight if `None`. A half-precision result saves a mixed-precision forward pass
    /// a conversion; f16 holds `scale * code` exactly.
    pub dtype: Option<DType>,
    /// Factor of the gradients of weights whose code is 0, weighed by the blend: `1 + blend * (zero_gain - 1)`. 1 is the plain
    /// straight-through gradient. Below 1, weights of a warmed-up model leave zero more slowly than the others move.
    pub zero_gain: f32,
    /// What a log line calls the weight, such as its path in the model.
    pub name: Option<Arc<str>>,
}

impl TernarySettings {
    /// Settings that give the exact ternary values of a Burn `Linear` weight (`[d_input, d_output]`).
    pub fn new(quantizer: Quantizer) -> Self {
        Self {
            quantizer,
            blend: 1.0,
            layout: Layout::InOut,
            dtype: None,
            zero_gain: 1.0,
            name: None,
        }
    }

    /// The float type of the result for a weight of type `weight`.
    pub(crate) fn output_dtype(&self, weight: DType) -> DType {
        self.dtype.unwrap_or(weight)
    }

    /// `(rows, columns)` of the weight as `t81_core` counts them: output features, input features.
    pub(crate) fn rows_and_columns(&self, shape: [usize; 2]) -> (usize, usize) {
        match self.layout {
            Layout::OutIn => (shape[0], shape[1]),
            Layout::InOut => (shape[1], shape[0]),
        }
    }

    /// Settings of the exact ternary values that the gradient depends on, with the gain at this blend.
    pub(crate) fn of_gradient(&self) -> Self {
        Self {
            blend: 1.0,
            dtype: None,
            zero_gain: 1.0 + self.blend * (self.zero_gain - 1.0),
            ..self.clone()
        }
    }

    /// Quantizes `weight` into `output`, both in the settings' layout.
    ///
    /// A weight that cannot be quantized (NaN, infinity, a scale beyond f16) gives NaN everywhere: an operation on a
    /// backend has no way to return an error, and NaN makes the loss of that step NaN, which a training loop notices. A log
    /// line says which weight it is and why. At blend 0 no quantized value enters the result: it is the weight, as on a GPU.
    pub(crate) fn apply(&self, weight: &[f32], shape: [usize; 2], output: &mut [f32]) {
        if self.blend == 0.0 {
            output.copy_from_slice(weight);
            return;
        }
        let (rows, columns) = self.rows_and_columns(shape);
        let result =
            self.quantizer
                .fake_quantize(weight, rows, columns, self.layout, self.blend, output);
        if let Err(error) = result {
            let name = self.name.as_deref().unwrap_or("a weight");
            log::error!("{name} becomes NaN, as it cannot be quantized: {error}");
            output.fill(f32::NAN);
        }
    }
}

/// Burn's backends, extended by ternary quantization.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "gpu"),
    Fusion: cfg(feature = "gpu"),
)]
pub trait TernaryOps: Backend {
    /// Replaces a float weight by its ternary value.
    ///
    /// # Shapes
    ///
    /// - `weight`: `[d_input, d_output]`, or `[d_output, d_input]` with [`Layout::OutIn`]
    /// - output: the same shape, of the float type that the settings ask for
    ///
    /// The gradient passes straight through (Bengio et al. 2013, <https://arxiv.org/abs/1308.3432>).
    #[fusion(dtype = settings.output_dtype(weight), shape = weight)]
    fn ternary_quantize(weight: FloatTensor<Self>, settings: TernarySettings) -> FloatTensor<Self> {
        quantize_through_host::<Self>(weight, &settings)
    }

    /// The gradient of a weight from that of its ternary value: times [`TernarySettings::zero_gain`], weighed by the blend, where
    /// the code is 0, and as it is elsewhere.
    ///
    /// # Shapes
    ///
    /// - `gradient`, `weight`: as [`ternary_quantize`](Self::ternary_quantize)'s output and input
    /// - output: the same shape, of the float type of the weight
    #[fusion(dtype = weight, shape = weight)]
    fn ternary_gradient(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        settings: TernarySettings,
    ) -> FloatTensor<Self> {
        weaken_codes::<Self>(gradient, weight, &settings)
    }

    /// The same from the ternary value itself, which tells the codes where the blend is 1: times `gain` where it is 0, and as it
    /// is elsewhere.
    ///
    /// # Shapes
    ///
    /// - `gradient`, `ternary`: alike
    /// - output: the same shape, of float type `dtype`
    #[fusion(default)]
    fn weaken_zeros(
        gradient: FloatTensor<Self>,
        ternary: FloatTensor<Self>,
        gain: f32,
        dtype: DType,
    ) -> FloatTensor<Self> {
        weaken::<Self>(gradient, ternary, gain, dtype)
    }

    /// Replaces activations by what their int8 stands for, in blocks of 256 along the last dimension; see
    /// [`fake_quantize_activations`](crate::fake_quantize_activations).
    ///
    /// # Shapes
    ///
    /// - `input`: `[..., d_input]`
    /// - output: the same shape and float type; computed in f32
    ///
    /// The gradient passes straight through. A backend that divides less exactly than a CPU may give other last bits of a
    /// scale, and where these decide a rounding the next code.
    #[fusion(dtype = input, shape = input)]
    fn fake_quantize_activations(input: FloatTensor<Self>) -> FloatTensor<Self> {
        fake_quantize_composed::<Self>(input)
    }

    /// Multiplies activations with a packed ternary weight, which has no gradient.
    ///
    /// # Shapes
    ///
    /// - `input`: `[batch, d_input]`
    /// - output: `[batch, d_output]`, of the float type of the input
    ///
    /// A backend without packed kernels makes floats of the weight, and for int8 rounds the activations.
    #[fusion(dtype = input, shape = {
        let mut shape = input.clone();
        shape[1] = weight.rows();
        shape
    })]
    fn ternary_matmul(
        input: FloatTensor<Self>,
        weight: Arc<InterleavedMatrix>,
        precision: ActivationPrecision,
    ) -> FloatTensor<Self> {
        let input = match precision {
            ActivationPrecision::Float32 => input,
            ActivationPrecision::Int8 => Self::fake_quantize_activations(input),
        };
        let matrix = weight.to_matrix();
        let mut values = vec![0.0; matrix.rows() * matrix.columns()];
        matrix
            .dequantize_into(Layout::InOut, &mut values)
            .expect("the buffer has the size of the matrix");
        let data =
            TensorData::new(values, [matrix.columns(), matrix.rows()]).convert_dtype(input.dtype());
        let weight = Self::float_from_data(data, &input.device());
        Self::float_matmul(input, weight)
    }
}

/// [`TernaryOps::ternary_gradient`] by quantizing the weight once more.
pub(crate) fn weaken_codes<B: TernaryOps>(
    gradient: FloatTensor<B>,
    weight: FloatTensor<B>,
    settings: &TernarySettings,
) -> FloatTensor<B> {
    let dtype = weight.dtype();
    let exact = settings.of_gradient();
    let gain = exact.zero_gain;
    B::weaken_zeros(gradient, B::ternary_quantize(weight, exact), gain, dtype)
}

/// [`TernaryOps::weaken_zeros`] by operations that every backend has.
pub(crate) fn weaken<B: Backend>(
    gradient: FloatTensor<B>,
    ternary: FloatTensor<B>,
    gain: f32,
    dtype: DType,
) -> FloatTensor<B> {
    let gradient = cast::<B>(gradient, dtype);
    let booleans = get_device_settings::<B>(&ternary.device()).bool_dtype;
    let zeros = B::float_equal_elem(ternary, 0.0.into(), booleans);
    let weakened = B::float_mul_scalar(gradient.clone(), gain.into());
    B::float_mask_where(gradient, zeros, weakened)
}

/// Reads a weight back, quantizes it and uploads the result.
pub(crate) fn quantize_through_host<B: Backend>(
    weight: FloatTensor<B>,
    settings: &TernarySettings,
) -> FloatTensor<B> {
    let device = weight.device();
    let dtype = settings.output_dtype(weight.dtype());
    let data = read_sync(B::float_into_data(weight))
        .expect("the backend reads a weight back to the host synchronously");
    B::float_from_data(quantize_on_host(data, dtype, settings), &device)
}

/// Quantizes host data of any float dtype, through f32, to `dtype`.
pub(crate) fn quantize_on_host(
    data: TensorData,
    dtype: DType,
    settings: &TernarySettings,
) -> TensorData {
    let shape = data.shape().clone();
    let dims = [shape[0], shape[1]];
    let weight: Vec<f32> = data.iter::<f32>().collect();
    let mut output = vec![0.0; weight.len()];
    settings.apply(&weight, dims, &mut output);
    TensorData::new(output, shape).convert_dtype(dtype)
}

/// Replaces a float weight by its ternary value; the gradient passes straight through.
///
/// # Shapes
///
/// - `weight`: `[d_input, d_output]`, or `[d_output, d_input]` with [`Layout::OutIn`]
/// - output: the same shape
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use t81_burn::{TernarySettings, ternary_quantize};
/// use t81_core::Quantizer;
///
/// let device = Device::default();
/// let weight = Tensor::<2>::from_floats([[0.9, -0.1], [-1.1, 1.0]], &device);
/// let ternary = ternary_quantize(weight, TernarySettings::new(Quantizer::bitnet()));
/// // mean(|w|) = 0.775, as f16 0.7749; weights below half of it become 0.
/// let values: Vec<f32> = ternary.into_data().try_into_vec().unwrap();
/// assert_eq!(values, [0.774_902_34, 0.0, -0.774_902_34, 0.774_902_34]);
/// ```
pub fn ternary_quantize(weight: Tensor<2>, settings: TernarySettings) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::ternary_quantize(weight.into_dispatch(), settings))
}

/// Multiplies activations with a packed ternary weight, which has no gradient; on the CPU by the kernels of
/// [`InterleavedMatrix::matmul`], on other backends as floats.
///
/// # Shapes
///
/// - input: `[batch, d_input]`
/// - output: `[batch, d_output]`
///
/// # Panics
///
/// When `d_input` is not the matrix' number of columns.
pub fn ternary_matmul(
    input: Tensor<2>,
    weight: Arc<InterleavedMatrix>,
    precision: ActivationPrecision,
) -> Tensor<2> {
    assert_eq!(
        input.dims()[1],
        weight.columns(),
        "ternary_matmul: the input features must be the weight's columns"
    );
    Tensor::from_dispatch(Dispatch::ternary_matmul(
        input.into_dispatch(),
        weight,
        precision,
    ))
}
