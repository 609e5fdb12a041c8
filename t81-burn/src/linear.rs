//! A `Linear` layer whose weight is ternary from the start.

use burn::config::Config;
use burn::module::{
    Content, Devices, DisplaySettings, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper,
    ModuleVisitor,
};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use t81_core::{ActivationPrecision, Granularity, Quantizer, Reference, Rounding, ScaleRule};

use crate::linear_shape::used_shape;
use crate::packed::{PackedWeights, packed_linear};
use crate::reparameterization::{QuantizeWeightError, Ternary, TernaryWeight, quantize_weight};
use crate::schedules::TernaryHandle;
use crate::selection::Selection;

/// Configuration of a [`TernaryLinear`].
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use t81_burn::TernaryLinearConfig;
///
/// let device = Device::default();
/// let layer = TernaryLinearConfig::new(128, 32).with_bias(false).init(&device);
/// let input = Tensor::<3>::random([2, 7, 128], Distribution::Default, &device);
/// assert_eq!(layer.forward(input).dims(), [2, 7, 32]);
/// ```
#[derive(Config, Debug)]
pub struct TernaryLinearConfig {
    /// The size of the input features.
    pub d_input: usize,
    /// The size of the output features.
    pub d_output: usize,
    /// If a bias is added.
    #[config(default = true)]
    pub bias: bool,
    /// How the float weight and the bias are initialized; Burn's default for `Linear`.
    #[config(default = "Initializer::KaimingUniform{gain:1.0/3.0f64.sqrt(), fan_out_only:false}")]
    pub initializer: Initializer,
    /// Which weights share a scale; by default groups of 256 inputs where `d_input` divides by 256, else of 64.
    pub granularity: Option<Granularity>,
    /// Fraction of the reference magnitude below which a weight becomes 0, within 0..=1.
    #[config(default = 0.7)]
    pub threshold: f32,
    /// The magnitude that the threshold refers to.
    #[config(default = "Reference::AbsMean")]
    pub reference: Reference,
    /// How the scale is computed.
    #[config(default = "ScaleRule::LeastSquares")]
    pub scale: ScaleRule,
    /// Deterministic or stochastic rounding during training; evaluation is deterministic.
    #[config(default = "Rounding::Deterministic")]
    pub rounding: Rounding,
    /// How activations enter the product, in training and evaluation; int8 is what [`TernaryLinear::pack`] can compute with.
    #[config(default = "ActivationPrecision::Float32")]
    pub activations: ActivationPrecision,
}

impl TernaryLinearConfig {
    /// Initializes a layer that is ternary from its first forward pass on.
    ///
    /// # Panics
    ///
    /// When the threshold lies outside 0..=1.
    pub fn init(&self, device: &Device) -> TernaryLinear {
        self.wrap(self.linear().init(device), None)
    }

    /// Initializes a layer that follows the schedule behind `handle`, which also gives the threshold.
    ///
    /// # Panics
    ///
    /// When the threshold lies outside 0..=1.
    pub fn init_with_handle(&self, device: &Device, handle: &TernaryHandle) -> TernaryLinear {
        self.wrap(self.linear().init(device), Some(handle))
    }

    /// Makes a trained `Linear` ternary; the sizes and the bias are the layer's own.
    ///
    /// # Panics
    ///
    /// When the threshold lies outside 0..=1.
    pub fn init_from(&self, linear: Linear, handle: Option<&TernaryHandle>) -> TernaryLinear {
        self.wrap(linear, handle)
    }

    fn linear(&self) -> LinearConfig {
        LinearConfig::new(self.d_input, self.d_output)
            .with_bias(self.bias)
            .with_initializer(self.initializer.clone())
    }

    fn wrap(&self, linear: Linear, handle: Option<&TernaryHandle>) -> TernaryLinear {
        let granularity = self
            .granularity
            .unwrap_or_else(|| Granularity::auto([used_shape(&linear.weight)[0]]));
        let quantizer = Quantizer::new(granularity, self.threshold)
            .unwrap_or_else(|error| panic!("TernaryLinearConfig: {error}"))
            .with_reference(self.reference)
            .with_scale(self.scale)
            .with_rounding(self.rounding);
        let mut ternary = Ternary::new(quantizer)
            .with_selection(Selection::default())
            .with_activations(self.activations);
        if let Some(handle) = handle {
            ternary = ternary.with_handle(handle.clone());
        }
        let (linear, _) = ternary.apply(linear);
        TernaryLinear { linear }
    }
}

/// A `Linear` layer with a ternary weight: `O = I * ternary(W) + b`.
///
/// In records and for adapters it *is* a Burn `Linear`: the same parameter names (`weight`, `bias`), the same float
/// weight `[d_input, d_output]`, the same container type. A float checkpoint therefore loads into it, and its own
/// checkpoint into a `Linear`.
#[derive(Clone, Debug)]
pub struct TernaryLinear {
    linear: Linear,
}

impl TernaryLinear {
    /// Applies the layer.
    ///
    /// # Shapes
    ///
    /// - input: `[..., d_input]`
    /// - output: `[..., d_output]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        packed_linear(&self.linear, input)
    }

    /// The layer for inference, its weight in two bits; see [`Ternary::pack`].
    ///
    /// # Errors
    ///
    /// When the weight cannot be quantized (NaN, infinity).
    ///
    /// # Panics
    ///
    /// As [`quantizer`](Self::quantizer).
    pub fn pack(self, precision: ActivationPrecision) -> Result<Self, QuantizeWeightError> {
        let weight = self.linear.weight.base();
        let matrix = quantize_weight("weight", &self.quantizer(), weight)?;
        let mut packed = PackedWeights::new(precision);
        packed.insert("weight", &matrix);
        Ok(Self {
            linear: packed.attach(self.linear.valid().materialize()),
        })
    }

    /// The layer's float parameters, with the ternary reparameterization attached.
    pub fn linear(&self) -> &Linear {
        &self.linear
    }

    /// The quantizer of the weight at the current step.
    ///
    /// # Panics
    ///
    /// When the reparameterization was folded in by [`Module::materialize`] or packed.
    pub fn quantizer(&self) -> Quantizer {
        self.linear
            .weight
            .reparameterization::<TernaryWeight>()
            .expect("a TernaryLinear that was not materialized holds its quantizer")
            .exact_quantizer()
    }
}

// A derived `Module` would put the parameters one level deeper (`linear.weight`). Delegating keeps the paths and the
// container type of the inner `Linear`.
impl Module for TernaryLinear {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.linear.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Self {
            linear: self.linear.fork(device),
        }
    }

    fn to_device(self, device: &Device) -> Self {
        Self {
            linear: self.linear.to_device(device),
        }
    }

    fn train(self) -> Self {
        Self {
            linear: self.linear.train(),
        }
    }

    fn valid(&self) -> Self {
        Self {
            linear: self.linear.valid(),
        }
    }

    fn materialize(self) -> Self {
        Self {
            linear: self.linear.materialize(),
        }
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        self.linear.visit(visitor);
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        Self {
            linear: self.linear.map(mapper),
        }
    }
}

impl ModuleDisplayDefault for TernaryLinear {
    fn content(&self, content: Content) -> Option<Content> {
        self.linear.custom_content(content)
    }

    fn num_params(&self) -> usize {
        Module::num_params(&self.linear)
    }
}

impl ModuleDisplay for TernaryLinear {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        self.linear.custom_settings()
    }
}
