//! Inference with ternary weights in two bits, on the packed kernels.

use std::collections::HashMap;
use std::sync::Arc;

use burn::module::{Module, Param, Reparameterization, Reparameterizer};
use burn::nn::Linear;
use burn::tensor::{Shape, Tensor, TensorData};
use t81_core::{ActivationPrecision, CodeEncoding, InterleavedMatrix, Layout, TernaryMatrix};

use crate::activations::fake_quantize_activations;
use crate::linear_shape::used_shape;
use crate::ops::ternary_matmul;
use crate::reparameterization::{QuantizeWeightError, Ternary, TernaryWeight};
use crate::report::TernaryReport;

impl Ternary {
    /// Turns a trained model, which `report` describes, into one whose ternary weights take two bits each: the codes and
    /// scales that [`Module::valid`] computes with take the place of their float base.
    ///
    /// [`packed_linear`] then multiplies by the codes themselves; the decoders of [`models`](crate::models) and
    /// [`TernaryLinear`](crate::TernaryLinear) use it, any other `Linear` makes floats of its weight at each forward pass.
    /// The model is for inference: its float weights are gone, and a record of it holds NaN in their place. Its
    /// [`Module::materialize`] gives exact ternary floats.
    ///
    /// ```
    /// use burn::module::Module;
    /// use burn::tensor::{Device, Int, Tensor, Tolerance};
    /// use t81_burn::Ternary;
    /// use t81_burn::models::llama::LlamaConfig;
    /// use t81_core::ActivationPrecision;
    ///
    /// let device = Device::default();
    /// let ternary = Ternary::default();
    /// let (model, report) = ternary.apply(LlamaConfig::qwen2(97, 64, 128, 2, 4).init(&device));
    /// let tokens = Tensor::<2, Int>::from_data([[1, 2, 3]], &device);
    /// let expected = model.valid().forward(tokens.clone()).into_data();
    /// let packed = ternary.pack(model, &report, ActivationPrecision::Float32)?;
    /// let logits = packed.forward(tokens).into_data();
    /// logits.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-4));
    /// # Ok::<(), t81_burn::QuantizeWeightError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first weight that cannot be quantized (NaN, infinity).
    pub fn pack<M: Module>(
        &self,
        model: M,
        report: &TernaryReport,
        precision: ActivationPrecision,
    ) -> Result<M, QuantizeWeightError> {
        let packed = self.packed_weights(&model, report, precision)?;
        Ok(packed.attach(model.valid().materialize()))
    }

    /// The packed weights alone; see [`pack`](Self::pack).
    ///
    /// # Errors
    ///
    /// The first weight that cannot be quantized.
    pub fn packed_weights<M: Module>(
        &self,
        model: &M,
        report: &TernaryReport,
        precision: ActivationPrecision,
    ) -> Result<PackedWeights, QuantizeWeightError> {
        let mut packed = PackedWeights::new(precision);
        self.quantize_weights(model, report, |path, matrix| {
            packed.insert(path, &matrix);
            Ok::<(), QuantizeWeightError>(())
        })?;
        Ok(packed)
    }
}

/// Packed weights by the path of their parameter.
#[derive(Clone, Debug)]
pub struct PackedWeights {
    precision: ActivationPrecision,
    weights: HashMap<String, Arc<InterleavedMatrix>>,
}

impl PackedWeights {
    /// None yet. `precision` says how activations enter the products.
    pub fn new(precision: ActivationPrecision) -> Self {
        Self {
            precision,
            weights: HashMap::new(),
        }
    }

    /// Adds the weight of the parameter at `path`, `[d_output, d_input]`.
    pub fn insert(&mut self, path: impl Into<String>, matrix: &TernaryMatrix) {
        let matrix = InterleavedMatrix::new(matrix, CodeEncoding::TwoBit);
        self.weights.insert(path.into(), Arc::new(matrix));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// Bytes of all codes and scales.
    pub fn size_bytes(&self) -> usize {
        self.weights
            .values()
            .map(|matrix| matrix.size_bytes())
            .sum()
    }

    /// Puts the weights in the place of the float parameters at their paths. Paths that the model lacks, and weights of
    /// another shape, are left out.
    pub fn attach<M: Module>(self, model: M) -> M {
        self.attach_named(model, str::to_string)
    }

    /// [`attach`](Self::attach) of weights that go by what `name` makes of a path.
    pub(crate) fn attach_named<M: Module>(self, model: M, name: fn(&str) -> String) -> M {
        model.apply_reparameterization(Attach { packed: self, name })
    }
}

struct Attach {
    packed: PackedWeights,
    name: fn(&str) -> String,
}

impl Reparameterizer for Attach {
    type Reparam = PackedWeight;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<PackedWeight>) {
        let shape = used_shape(&param);
        let matrix = self.packed.weights.get(&(self.name)(path));
        let Some(matrix) = matrix.filter(|matrix| shape == [matrix.columns(), matrix.rows()])
        else {
            return (param, None);
        };
        // One NaN, seen at every place: the shape stays, the memory goes.
        let base = Tensor::<D>::full([1; D], f32::NAN, &param.lazy_device());
        let base = base.expand(Shape::from(shape));
        let weight = PackedWeight {
            matrix: matrix.clone(),
            precision: self.packed.precision,
        };
        (Param::initialized(param.id, base), Some(weight))
    }
}

/// The state that Burn attaches to a packed parameter.
#[derive(Module, Debug)]
pub struct PackedWeight {
    #[module(skip)]
    matrix: Arc<InterleavedMatrix>,
    #[module(skip)]
    precision: ActivationPrecision,
}

impl PackedWeight {
    /// The codes and scales.
    pub fn matrix(&self) -> &InterleavedMatrix {
        &self.matrix
    }

    /// How activations enter the products.
    pub fn precision(&self) -> ActivationPrecision {
        self.precision
    }
}

impl Reparameterization for PackedWeight {
    const NAME: &'static str = "packed";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let matrix = self.matrix.to_matrix();
        let mut weights = vec![0.0; matrix.rows() * matrix.columns()];
        matrix
            .dequantize_into(Layout::InOut, &mut weights)
            .expect("the buffer has the size of the matrix");
        let data = TensorData::new(weights, base.shape()).convert_dtype(base.dtype());
        Tensor::from_data(data, &base.device())
    }
}

/// Applies a `Linear` layer: on the packed kernels if its weight is packed, as Burn does otherwise, with the activations of
/// [`Ternary::with_activations`] if its weight is ternary.
///
/// # Shapes
///
/// - input: `[..., d_input]`
/// - output: `[..., d_output]`
pub fn packed_linear<const D: usize>(layer: &Linear, input: Tensor<D>) -> Tensor<D> {
    let Some(weight) = layer.weight.reparameterization::<PackedWeight>() else {
        return layer.forward(match rounds_activations(layer) {
            true => fake_quantize_activations(input),
            false => input,
        });
    };
    let mut shape = input.dims();
    let rows = shape[..D - 1].iter().product();
    let input = input.reshape([rows, shape[D - 1]]);
    let mut output = ternary_matmul(input, weight.matrix.clone(), weight.precision);
    if let Some(bias) = &layer.bias {
        output = output + bias.val().unsqueeze();
    }
    shape[D - 1] = weight.matrix.rows();
    output.reshape(shape)
}

/// Whether a layer's weight is ternary and wants its activations in int8. A packed one rounds them in its own product.
pub(crate) fn rounds_activations(layer: &Linear) -> bool {
    let weight = layer.weight.reparameterization::<TernaryWeight>();
    weight.is_some_and(|weight| weight.activations() == ActivationPrecision::Int8)
}
