//! Any Burn model becomes ternary by a reparameterization of its `Linear` weights.

use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param, Reparameterization, Reparameterizer};
use burn::tensor::{DType, Tensor};
use t81_core::{
    ActivationPrecision, Granularity, Layout, QuantizeError, Quantizer, Rounding, TernaryMatrix,
};

use crate::linear_shape::used_shape;
use crate::ops::{TernarySettings, ternary_quantize};
use crate::report::{KeptParameter, TernaryParameter, TernaryReport};
use crate::schedules::{TernaryHandle, TernarySchedule};
use crate::selection::Selection;

/// Makes the `Linear` weights of a Burn model ternary.
///
/// The float weights remain the model's parameters: records, optimizers, checkpoints, device moves and adapters treat
/// them as before, and a float checkpoint loads into the ternary model unchanged. Each read of a weight in a forward
/// pass quantizes it anew. `model.valid()` evaluates exactly ternary weights, whatever the blend of the warm-up is;
/// `model.valid().materialize()` folds them in.
///
/// ```
/// use burn::module::Module;
/// use burn::nn::LinearConfig;
/// use burn::tensor::Device;
/// use t81_burn::{RampShape, Selection, Ternary, TernarySchedule};
/// use t81_core::{Granularity, Quantizer};
///
/// let schedule = TernarySchedule::constant(0.7).with_blend_warmup(RampShape::Linear, 200);
/// let ternary = Ternary::new(Quantizer::twn(Granularity::Row))
///     .with_schedule(&schedule)
///     .with_selection(Selection::default().exclude("^output").unwrap());
/// let model = LinearConfig::new(16, 4).init(&Device::default());
/// let (model, report) = ternary.apply(model);
/// assert_eq!(report.to_string(), "64 of 68 weights ternary (94.1 %) in 1 parameters, scale per row; 1 parameters stay float");
/// let exact = model.valid().materialize();
/// # let _ = exact;
/// ```
#[derive(Clone, Debug)]
pub struct Ternary {
    quantizer: Quantizer,
    granularity: Option<Granularity>,
    handle: TernaryHandle,
    selection: Selection,
    zero_gain: f32,
    compute_dtype: Option<DType>,
    activations: ActivationPrecision,
}

impl Default for Ternary {
    /// Least-squares scales, threshold 0.7, groups of 256 where every selected row divides by 256, else of 64.
    fn default() -> Self {
        let quantizer = Quantizer::twn(Granularity::Tensor);
        Self {
            granularity: None,
            ..Self::new(quantizer)
        }
    }
}

impl Ternary {
    /// Uses `quantizer` as it is, ternary from the first forward pass on.
    pub fn new(quantizer: Quantizer) -> Self {
        let schedule = TernarySchedule::constant(quantizer.threshold());
        Self {
            granularity: Some(quantizer.granularity()),
            quantizer,
            handle: TernaryHandle::new(&schedule),
            selection: Selection::default(),
            zero_gain: 1.0,
            compute_dtype: None,
            activations: ActivationPrecision::Float32,
        }
    }

    /// Gives the weights of a training step the float type of its products, which a mixed-precision model would otherwise
    /// convert them to; f16 and bf16 round a blended weight as that conversion does. The float weights and their gradients
    /// keep their own type.
    pub fn with_compute_dtype(mut self, dtype: Option<DType>) -> Self {
        self.compute_dtype = dtype;
        self
    }

    /// How activations enter the products with the ternary weights, in training and evaluation:
    /// [`ActivationPrecision::Int8`] trains what a model [packed](Self::pack) for int8 computes, up to the rounding of f32
    /// sums. Gradients pass straight through the rounding.
    ///
    /// A weight cannot see what it is multiplied with, so the layer's forward pass must:
    /// [`packed_linear`](crate::packed_linear), with which the decoders of [`models`](crate::models) and
    /// [`TernaryLinear`](crate::TernaryLinear) compute, does; the `forward` of any other `Linear` takes activations as they
    /// are. A model that was [materialized](Module::materialize) has no ternary weights left and rounds nothing.
    pub fn with_activations(mut self, activations: ActivationPrecision) -> Self {
        self.activations = activations;
        self
    }

    /// Multiplies the gradients of weights whose code is 0 by `gain` once the blend is complete; see
    /// [`TernarySettings::zero_gain`].
    pub fn with_zero_gain(mut self, gain: f32) -> Self {
        self.zero_gain = gain;
        self
    }

    /// Chooses the granularity from the model: groups of 256 where every selected row divides by 256, else of 64.
    pub fn with_auto_granularity(mut self) -> Self {
        self.granularity = None;
        self
    }

    /// Starts at step 0 of `schedule`, whose threshold replaces the quantizer's.
    pub fn with_schedule(self, schedule: &TernarySchedule) -> Self {
        self.with_handle(TernaryHandle::new(schedule))
    }

    /// Follows `handle`, which a [`TernaryScheduler`](crate::TernaryScheduler) or a loop of your own moves along.
    pub fn with_handle(mut self, handle: TernaryHandle) -> Self {
        self.handle = handle;
        self
    }

    /// Chooses which weights become ternary.
    pub fn with_selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// The handle that the ternary weights read.
    pub fn handle(&self) -> &TernaryHandle {
        &self.handle
    }

    /// Makes `model` ternary and reports which of its parameters are.
    pub fn apply<M: Module>(&self, model: M) -> (M, TernaryReport) {
        let mut survey = Survey {
            selection: &self.selection,
            path: Vec::new(),
            ternary: Vec::new(),
            kept: Vec::new(),
        };
        model.visit(&mut survey);
        let Survey { ternary, kept, .. } = survey;
        let granularity = self.granularity.unwrap_or_else(|| {
            Granularity::auto(ternary.iter().map(|parameter| parameter.columns))
        });
        let report = TernaryReport {
            granularity,
            ternary,
            kept,
        };
        let attach = Attach {
            report: &report,
            quantizer: self.quantizer.clone().with_granularity(granularity),
            handle: &self.handle,
            zero_gain: self.zero_gain,
            compute_dtype: self.compute_dtype,
            activations: self.activations,
        };
        (model.apply_reparameterization(attach), report)
    }
}

impl Ternary {
    /// The quantizer of exact ternary weights at the current step of the schedule, for a model that `report` describes.
    pub fn exact_quantizer(&self, report: &TernaryReport) -> Quantizer {
        exact(
            self.quantizer.clone().with_granularity(report.granularity),
            &self.handle,
        )
    }

    /// Gives each ternary weight of `model` to `receive`, packed as an evaluation would see it: the very codes and scales
    /// that [`valid`](Module::valid) computes with. One weight at a time, `[d_output, d_input]`.
    ///
    /// # Errors
    ///
    /// The first weight that cannot be quantized (NaN, infinity), and the first error of `receive`.
    pub fn quantize_weights<M, E>(
        &self,
        model: &M,
        report: &TernaryReport,
        receive: impl FnMut(&str, TernaryMatrix) -> Result<(), E>,
    ) -> Result<(), E>
    where
        M: Module,
        E: From<QuantizeWeightError>,
    {
        let mut visitor = Quantize {
            report,
            quantizer: self.exact_quantizer(report),
            path: Vec::new(),
            receive,
            outcome: Ok(()),
        };
        model.visit(&mut visitor);
        visitor.outcome
    }
}

/// A weight of a model that cannot be quantized.
#[derive(Debug, thiserror::Error)]
#[error("cannot quantize `{path}`")]
pub struct QuantizeWeightError {
    /// Path of the weight in the model.
    pub path: String,
    /// Why.
    pub source: QuantizeError,
}

/// The codes and scales of a `Linear` weight `[d_input, d_output]`.
pub(crate) fn quantize_weight<const D: usize>(
    path: &str,
    quantizer: &Quantizer,
    weight: Tensor<D>,
) -> Result<TernaryMatrix, QuantizeWeightError> {
    let shape = weight.shape();
    let (columns, rows) = (shape[0], shape[1]);
    let data = weight.inner().into_data().convert::<f32>();
    let values = data
        .as_slice::<f32>()
        .expect("data converted to f32 is a slice of f32");
    quantizer
        .quantize(values, rows, columns, Layout::InOut)
        .map_err(|source| QuantizeWeightError {
            path: path.to_string(),
            source,
        })
}

struct Quantize<'a, F, E> {
    report: &'a TernaryReport,
    quantizer: Quantizer,
    path: Vec<String>,
    receive: F,
    outcome: Result<(), E>,
}

impl<F, E> Quantize<'_, F, E>
where
    F: FnMut(&str, TernaryMatrix) -> Result<(), E>,
    E: From<QuantizeWeightError>,
{
    fn give<const D: usize>(&mut self, path: &str, weight: Tensor<D>) -> Result<(), E> {
        let matrix = quantize_weight(path, &self.quantizer, weight)?;
        (self.receive)(path, matrix)
    }
}

impl<F, E> ModuleVisitor for Quantize<'_, F, E>
where
    F: FnMut(&str, TernaryMatrix) -> Result<(), E>,
    E: From<QuantizeWeightError>,
{
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        if D == 2 && self.outcome.is_ok() && self.report.is_ternary(&path) {
            self.outcome = self.give(&path, param.base());
        }
    }
}

/// `quantizer` as evaluation uses it: deterministic, with the schedule's threshold.
fn exact(quantizer: Quantizer, handle: &TernaryHandle) -> Quantizer {
    quantizer
        .with_threshold(handle.threshold())
        .expect("the handle keeps its threshold within 0..=1")
        .with_rounding(Rounding::Deterministic)
}

/// Finds the weights to quantize: rank 2, inside a `Linear`, selected.
struct Survey<'a> {
    selection: &'a Selection,
    path: Vec<(String, bool)>,
    ternary: Vec<TernaryParameter>,
    kept: Vec<KeptParameter>,
}

impl ModuleVisitor for Survey<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path
            .push((name.to_string(), container_type == "Struct:Linear"));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let names: Vec<&str> = self.path.iter().map(|(name, _)| name.as_str()).collect();
        let path = names.join(".");
        let in_linear = self.path.last().is_some_and(|(_, is_linear)| *is_linear);
        let shape = used_shape(param);
        match shape[..] {
            [columns, rows] if in_linear && self.selection.selects(&path) => {
                self.ternary.push(TernaryParameter {
                    path,
                    rows,
                    columns,
                });
            }
            _ => self.kept.push(KeptParameter { path, shape }),
        }
    }
}

struct Attach<'a> {
    report: &'a TernaryReport,
    quantizer: Quantizer,
    handle: &'a TernaryHandle,
    zero_gain: f32,
    compute_dtype: Option<DType>,
    activations: ActivationPrecision,
}

impl Reparameterizer for Attach<'_> {
    type Reparam = TernaryWeight;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<TernaryWeight>) {
        let weight = self.report.is_ternary(path).then(|| TernaryWeight {
            quantizer: self.quantizer.clone(),
            handle: self.handle.clone(),
            path: path.into(),
            zero_gain: self.zero_gain,
            compute_dtype: self.compute_dtype,
            activations: self.activations,
        });
        (param, weight)
    }
}

/// The state that Burn attaches to a ternary parameter: how to quantize it, and where to read the schedule.
#[derive(Module, Debug)]
pub struct TernaryWeight {
    #[module(skip)]
    quantizer: Quantizer,
    #[module(skip)]
    handle: TernaryHandle,
    /// Path in the model. Stochastic rounding draws other numbers for each.
    #[module(skip)]
    path: Arc<str>,
    #[module(skip)]
    zero_gain: f32,
    #[module(skip)]
    compute_dtype: Option<DType>,
    #[module(skip)]
    activations: ActivationPrecision,
}

impl TernaryWeight {
    /// How activations enter the products with the weight.
    pub fn activations(&self) -> ActivationPrecision {
        self.activations
    }

    /// The quantizer of exact ternary weights at the current step: deterministic, with the schedule's threshold.
    pub fn exact_quantizer(&self) -> Quantizer {
        exact(self.quantizer.clone(), &self.handle)
    }

    fn training_settings(&self) -> TernarySettings {
        let mut quantizer = self.exact_quantizer();
        if let Rounding::Stochastic { seed } = self.quantizer.rounding() {
            let step = self.handle.step() as u64;
            let seed = seed ^ fnv1a(&self.path) ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            quantizer = quantizer.with_rounding(Rounding::Stochastic { seed });
        }
        TernarySettings {
            quantizer,
            blend: self.handle.blend(),
            layout: Layout::InOut,
            dtype: self.compute_dtype,
            zero_gain: self.zero_gain,
            name: Some(self.path.clone()),
        }
    }
}

impl Reparameterization for TernaryWeight {
    const NAME: &'static str = "ternary";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let settings = if base.is_autodiff() {
            self.training_settings()
        } else {
            TernarySettings {
                name: Some(self.path.clone()),
                ..TernarySettings::new(self.exact_quantizer())
            }
        };
        let weight = Tensor::<2>::from_dispatch(base.into_dispatch());
        Tensor::from_dispatch(ternary_quantize(weight, settings).into_dispatch())
    }
}

/// 64-bit FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>: stable across runs, unlike the standard hasher.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}
