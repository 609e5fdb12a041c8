//! The model as Burn's learner sees it: one step of training, one step of evaluation, one update.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::ExecutionError;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{
    GradientsParams, ModuleOptimizer, lr_scheduler::module_lr_scheduler::ModuleLearningRate,
};
use burn::tensor::{Device, Tensor};
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use t81_burn::models::Decoder;

use super::batch::TokenBatch;
use super::loss_scale::LossScale;

/// The outcome of a step on a batch.
#[derive(Clone, Debug)]
pub struct StepOutput {
    /// Sum of the negative log-likelihoods of the batch's targets in nats, `[1]`.
    pub negative_log_likelihood: Tensor<1>,
    /// Targets that count.
    pub tokens: usize,
    /// What the forward pass ran with.
    pub state: StepState,
}

/// The schedules' values in a step.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepState {
    /// Ternary threshold.
    pub threshold: f32,
    /// Share of the ternary value in the forward pass.
    pub blend: f32,
}

impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

/// A decoder on one device.
type DeviceCopy = (Device, Arc<Decoder>);

/// A float model whose predictions are taught, on each device that asked for it. Clones share the copies.
#[derive(Clone, Debug)]
pub(crate) struct Teacher {
    copies: Arc<Mutex<Vec<DeviceCopy>>>,
    /// Share of the predictions in what is taught; the text has the rest.
    share: f64,
}

impl Teacher {
    /// A teacher on its first device, with its share.
    pub(crate) fn new(decoder: Decoder, share: f64) -> Self {
        let devices = decoder.devices();
        let copies = devices
            .first()
            .map(|device| (device.clone().inner(), Arc::new(decoder)));
        Self {
            copies: Arc::new(Mutex::new(copies.into_iter().collect())),
            share,
        }
    }

    /// The copy on `device`, without autodiff; made from the first one at the first call.
    fn on(&self, device: &Device) -> Arc<Decoder> {
        let device = device.clone().inner();
        // A worker that panicked elsewhere leaves the copies whole.
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        copy_at(&mut copies, device, |decoder, device| {
            decoder.clone().to_device(device)
        })
    }
}

/// The copy that is at `place`, made from the first one and kept if there is none.
fn copy_at<P: PartialEq, T>(
    copies: &mut Vec<(P, Arc<T>)>,
    place: P,
    make: impl FnOnce(&T, &P) -> T,
) -> Arc<T> {
    if let Some((_, copy)) = copies.iter().find(|(other, _)| *other == place) {
        return copy.clone();
    }
    let copy = Arc::new(make(&copies[0].1, &place));
    copies.push((place, copy.clone()));
    copy
}

/// A language model in training.
#[derive(Module, Debug)]
pub struct QatModel {
    /// The decoder; its `Linear` weights are reparameterized.
    pub decoder: Decoder,
    max_grad_norm: f64,
    /// Scales the loss before the backward pass if the products are computed in float16.
    #[module(skip)]
    loss_scale: Option<LossScale>,
    #[module(skip)]
    teacher: Option<Teacher>,
    #[module(skip)]
    gradient_checkpointing: bool,
    #[module(skip)]
    gradient_norm: Arc<Mutex<Option<Tensor<1>>>>,
}

impl QatModel {
    /// Trains `decoder`, clipping the norm of all gradients together to `max_grad_norm` (0: never).
    pub fn new(decoder: Decoder, max_grad_norm: f64) -> Self {
        Self {
            decoder,
            max_grad_norm,
            loss_scale: None,
            teacher: None,
            gradient_checkpointing: false,
            gradient_norm: Arc::default(),
        }
    }

    /// Scales the loss by `scale`, as a model that computes in float16 needs.
    pub(crate) fn with_loss_scale(mut self, scale: Option<LossScale>) -> Self {
        self.loss_scale = scale;
        self
    }

    /// The factor of the loss, if there is one; waits for the device.
    pub(crate) fn loss_scale(&self) -> Option<f32> {
        self.loss_scale.as_ref().map(LossScale::value)
    }

    /// Norm of the last update's gradient before clipping, shared by all clones of the model.
    pub(crate) fn gradient_norm(&self) -> Option<f32> {
        let norm = self.gradient_norm.lock().ok()?.clone()?;
        norm.into_data().iter::<f32>().next()
    }

    /// Teaches the predictions of `teacher`, too.
    pub(crate) fn with_teacher(mut self, teacher: Option<Teacher>) -> Self {
        self.teacher = teacher;
        self
    }

    /// Whether a step keeps the activations of one layer at a time and computes the others again.
    pub(crate) fn with_gradient_checkpointing(mut self, checkpointing: bool) -> Self {
        self.gradient_checkpointing = checkpointing;
        self
    }

    /// The mean loss of `batch`, without autodiff, and the gradients of what `objective` makes of it.
    fn loss_and_gradients(
        &self,
        batch: TokenBatch,
        objective: impl FnOnce(Tensor<1>) -> Tensor<1>,
    ) -> (Tensor<1>, GradientsParams) {
        let device = self.devices().swap_remove(0);
        let (inputs, targets, mask) = batch.tensors(&device);
        let teacher = self.teacher.as_ref();
        let teacher = teacher.map(|teacher| (teacher.on(&device), teacher.share));
        let taught = teacher
            .as_ref()
            .map(|(decoder, share)| (decoder.as_ref(), *share));
        if self.gradient_checkpointing {
            let decoder = &self.decoder;
            let (loss, gradients) =
                decoder.forward_backward(inputs, targets, mask, taught, objective);
            return (loss.mean, gradients);
        }
        let loss = match taught {
            Some((teacher, share)) => self
                .decoder
                .forward_distillation_loss(inputs, targets, mask, teacher, share),
            None => self.decoder.forward_loss(inputs, targets, mask),
        };
        let gradients = objective(loss.mean.clone()).backward();
        let gradients = GradientsParams::from_grads(gradients, &self.decoder);
        (loss.mean.inner(), gradients)
    }
}

impl TrainStep for QatModel {
    type Input = TokenBatch;
    type Output = StepOutput;

    fn step(&self, batch: TokenBatch) -> TrainOutput<StepOutput> {
        let (share, tokens) = (batch.share_of_step(), batch.tokens());
        let scale = self.loss_scale.as_ref();
        let (mean, grads) = self.loss_and_gradients(batch, |mean| {
            let objective = mean.mul_scalar(share);
            match scale {
                Some(scale) => {
                    let factor = scale.factor(&objective.device().inner());
                    objective * Tensor::from_inner(factor)
                }
                None => objective,
            }
        });
        let item = StepOutput {
            negative_log_likelihood: mean.mul_scalar(tokens as f64),
            tokens,
            state: StepState::default(),
        };
        TrainOutput { grads, item }
    }

    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: ModuleLearningRate,
        mut gradients: GradientsParams,
    ) -> Self {
        let norm = global_norm(&self, &gradients);
        if let Some(norm) = norm {
            let scale = self.loss_scale.as_ref();
            let scale = scale.map(|scale| (scale, scale.factor(&norm.device())));
            let norm = match &scale {
                Some((_, factor)) => norm / factor.clone(),
                None => norm,
            };
            let clips = self.max_grad_norm > 0.0;
            if clips || scale.is_some() {
                // The decisions stay on the device: a factor of 1 where the norm is small enough.
                let mut factor = match clips {
                    true => norm
                        .clone()
                        .recip()
                        .mul_scalar(self.max_grad_norm)
                        .clamp_max(1.0),
                    false => norm.ones_like(),
                };
                let overflows = scale.is_some();
                if let Some((scale, divisor)) = scale {
                    // A gradient beyond float16 counts as 0, all of it.
                    let skips = norm.clone().is_finite().bool_not();
                    factor = (factor / divisor).mask_fill(skips.clone(), 0.0);
                    scale.update(skips);
                }
                scale_gradients(&self, &mut gradients, factor, overflows);
            }
            if let Ok(mut last) = self.gradient_norm.lock() {
                *last = Some(norm);
            }
        }
        optimizer.step(learning_rate, self, gradients)
    }
}

impl InferenceStep for QatModel {
    type Input = TokenBatch;
    type Output = StepOutput;

    fn step(&self, batch: TokenBatch) -> StepOutput {
        let tokens = batch.tokens();
        let device = self.devices().swap_remove(0);
        let (inputs, targets, mask) = batch.tensors(&device);
        let loss = self.decoder.forward_loss(inputs, targets, mask);
        StepOutput {
            negative_log_likelihood: loss.mean.mul_scalar(tokens as f64),
            tokens,
            state: StepState::default(),
        }
    }
}

/// Euclidean norm of all gradients together, `[1]`; none when there is no gradient.
fn global_norm<M: Module>(model: &M, gradients: &GradientsParams) -> Option<Tensor<1>> {
    struct SquareSum<'a> {
        gradients: &'a GradientsParams,
        sum: Option<Tensor<1>>,
    }
    impl ModuleVisitor for SquareSum<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.get::<D>(param.id) {
                let squares = gradient.square().sum();
                self.sum = Some(match self.sum.take() {
                    Some(sum) => sum + squares,
                    None => squares,
                });
            }
        }
    }
    let mut visitor = SquareSum {
        gradients,
        sum: None,
    };
    model.visit(&mut visitor);
    visitor.sum.map(Tensor::sqrt)
}

/// Multiplies every gradient by `factor`, `[1]`. Where a gradient that `overflows` is not finite the product counts as 0.
fn scale_gradients<M: Module>(
    model: &M,
    gradients: &mut GradientsParams,
    factor: Tensor<1>,
    overflows: bool,
) {
    struct Scale<'a> {
        gradients: &'a mut GradientsParams,
        factor: Tensor<1>,
        overflows: bool,
    }
    impl ModuleVisitor for Scale<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.remove::<D>(param.id) {
                let factor = self.factor.clone().reshape([1; D]);
                let mut scaled = gradient * factor;
                if self.overflows {
                    // Infinity times 0 is NaN. Element by element, as a GPU can do in the same pass.
                    let is_finite = scaled.clone().abs().lower_equal_elem(f32::MAX);
                    scaled = scaled.zeros_like().mask_where(is_finite, scaled);
                }
                self.gradients.register(param.id, scaled);
            }
        }
    }
    model.visit(&mut Scale {
        gradients,
        factor,
        overflows,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    use burn::nn::LinearConfig;
    use burn::tensor::DType;
    use t81_burn::models::{DecoderConfig, llama::LlamaConfig};
    use t81_datasets::TokenBlock;

    use crate::optimizer::optimizer;

    #[test]
    fn the_teacher_crosses_to_a_device_once() {
        let mut copies = vec![('a', Arc::new(1))];
        let mut crossings = Vec::new();
        for place in ['a', 'b', 'b', 'a', 'c', 'b'] {
            copy_at(&mut copies, place, |first, place| {
                crossings.push(*place);
                first + 1
            });
        }
        assert_eq!(crossings, ['b', 'c']);

        let config = DecoderConfig::Llama(LlamaConfig::new(7, 8, 8, 1, 2));
        let device = Device::flex();
        let teacher = Teacher::new(config.init(&device), 0.5);
        let first = teacher.on(&device);
        assert!(Arc::ptr_eq(&first, &teacher.clone().on(&device.autodiff())));
    }

    #[test]
    fn a_gradient_out_of_range_counts_as_zero_and_another_is_scaled() {
        let layer = LinearConfig::new(2, 1)
            .with_bias(false)
            .init(&Device::flex());
        let scaled = |values: [[f32; 1]; 2], factor: f32| -> Vec<f32> {
            let mut gradients = GradientsParams::new();
            let gradient = Tensor::<2>::from_data(values, &Device::flex());
            gradients.register(layer.weight.id, gradient);
            let factor = Tensor::from_data([factor], &Device::flex());
            scale_gradients(&layer, &mut gradients, factor, true);
            let gradient = gradients.get::<2>(layer.weight.id).unwrap();
            gradient.into_data().iter::<f32>().collect()
        };
        assert_eq!(scaled([[3.0], [-4.0]], 0.5), [1.5, -2.0]);
        assert_eq!(scaled([[3.0], [f32::NEG_INFINITY]], 0.0), [0.0, 0.0]);
        assert_eq!(scaled([[f32::INFINITY], [f32::NAN]], 0.0), [0.0, 0.0]);
    }

    #[test]
    fn an_overflow_leaves_the_weights_and_halves_the_scale() {
        let device = Device::flex().autodiff();
        let decoder = DecoderConfig::Llama(LlamaConfig::new(97, 32, 64, 1, 2)).init(&device);
        let decoder = decoder.with_compute_dtype(Some(DType::F16));
        let block = TokenBlock {
            tokens: vec![5, 17, 40, 3, 96],
        };
        let weight = |model: &QatModel| {
            let mut weights = Vec::new();
            let collected = model.decoder.visit_weights(|weight| {
                weights.extend(weight.values);
                Ok::<_, Infallible>(())
            });
            collected.unwrap();
            weights
        };
        let updated = |scale: f32| {
            let scale = LossScale::new(Some(scale));
            let model = QatModel::new(decoder.clone(), 1.0).with_loss_scale(Some(scale));
            let mut optimizer = optimizer(&model, 0.0);
            let output = TrainStep::step(&model, TokenBatch::new(std::slice::from_ref(&block)));
            model.optimize(&mut optimizer, 1e-2.into(), output.grads)
        };
        let before = weight(&QatModel::new(decoder.clone(), 1.0));
        let skipped = updated(1e30);
        assert_eq!(skipped.loss_scale(), Some(5e29));
        assert_eq!(weight(&skipped), before);
        let learnt = updated(1024.0);
        assert_eq!(learnt.loss_scale(), Some(1024.0));
        assert!(
            learnt
                .gradient_norm()
                .is_some_and(|norm| norm.is_finite() && norm > 0.0)
        );
        assert_ne!(weight(&learnt), before);
    }
}
