use super::backend::is_flex;
use burn::tensor::activation::softmax;
use burn::tensor::{DType, IndexingUpdateOp, Int, Tensor};

/// Logits held at a time on a processor: 128 MiB in f32.
const LOGITS_AT_ONCE: usize = 1 << 25;
/// The same on a GPU, which smaller products leave idle: 1 GiB, less for a batch of fewer tokens.
const LOGITS_AT_ONCE_ON_A_GPU: usize = 1 << 28;

/// Factor of the logits' gradient in float16 products: probabilities down to 3e-10 survive the rounding, and 2 * 256 times a
/// weight of the head stays far below 65504.
const FLOAT16_GRADIENT_SCALE: f32 = 256.0;

/// Mean cross-entropy of a batch of tokens.
#[derive(Debug, Clone)]
pub struct TokenLoss {
    /// Mean over the counted tokens in nats, f32 `[1]`; 0 if no token counts. Its gradient flows to the model.
    pub mean: Tensor<1>,
    /// Number of counted tokens (the sum of the mask), f32 `[1]`, without gradient.
    pub count: Tensor<1>,
}

/// Mean cross-entropy of `logits` `[batch, length, vocabulary]` with `targets` `[batch, length]`.
///
/// A position counts `mask` times (1 if there is no mask); where the mask is 0 the target may be any number. Computed in
/// f32 whatever the type of the logits. The gradient is the closed form `softmax - target`, so that the backward pass keeps one
/// tensor of the size of the logits.
///
/// [`Decoder::forward_loss`](super::Decoder::forward_loss) does not even need the logits; prefer it for training.
pub fn cross_entropy(
    logits: Tensor<3>,
    targets: Tensor<2, Int>,
    mask: Option<Tensor<2>>,
) -> TokenLoss {
    let [batch, length, vocabulary] = logits.dims();
    let rows = batch * length;
    let logits = logits.reshape([rows, vocabulary]).cast(DType::F32);
    let tokens = Tokens::new(
        targets.reshape([rows]),
        mask.map(|mask| mask.reshape([rows])),
    );
    let differentiable = logits.is_autodiff();
    let piece = tokens.losses(logits.clone().inner(), None, differentiable);
    let count = tokens.count();
    let sum = match piece.gradient {
        Some(gradient) => with_gradient(piece.sum, product(logits, gradient)),
        None => piece.sum,
    };
    TokenLoss::new(sum, count, differentiable)
}

/// Matrix between states and logits.
pub(super) enum Head {
    /// `[hidden_size, vocab_size]`
    Untied(Tensor<2>),
    /// The embedding matrix `[vocab_size, hidden_size]`
    Tied(Tensor<2>),
}

impl Head {
    /// Logits `[batch, length, vocab_size]` of states `[batch, length, hidden_size]`.
    pub(super) fn logits(&self, states: Tensor<3>) -> Tensor<3> {
        let [batch, length, width] = states.dims();
        let logits = self.row_logits(states.reshape([batch * length, width]));
        let vocabulary = logits.dims()[1];
        logits.reshape([batch, length, vocabulary])
    }

    /// Mean cross-entropy of states `[batch, length, hidden_size]` with `targets` `[batch, length]`; see
    /// [`Decoder::forward_loss`](super::Decoder::forward_loss).
    pub(super) fn loss(
        self,
        states: Tensor<3>,
        targets: Tensor<2, Int>,
        mask: Option<Tensor<2>>,
        compute_dtype: Option<DType>,
        teacher: Option<Teacher>,
    ) -> TokenLoss {
        let [batch, length, width] = states.dims();
        let logits_at_once = match is_flex(&states.device()) {
            true => LOGITS_AT_ONCE,
            false => LOGITS_AT_ONCE_ON_A_GPU,
        };
        linear_cross_entropy(
            states.reshape([batch * length, width]),
            self,
            targets.reshape([batch * length]),
            mask.map(|mask| mask.reshape([batch * length])),
            compute_dtype,
            teacher,
            logits_at_once,
        )
    }

    /// States `[rows, hidden_size]` to logits `[rows, vocab_size]`.
    fn row_logits(&self, states: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Untied(weight) => states.matmul(weight.clone()),
            Self::Tied(weight) => states.matmul(weight.clone().transpose()),
        }
    }

    /// Gradient of the states `[rows, hidden_size]` for a gradient of the logits `[rows, vocab_size]`.
    fn states_gradient(&self, gradient: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Untied(weight) => gradient.matmul(weight.clone().transpose()),
            Self::Tied(weight) => gradient.matmul(weight.clone()),
        }
    }

    /// Gradient of the weight, in its own shape.
    fn weight_gradient(&self, states: Tensor<2>, gradient: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Untied(_) => states.transpose().matmul(gradient),
            Self::Tied(_) => gradient.transpose().matmul(states),
        }
    }

    fn weight(&self) -> &Tensor<2> {
        match self {
            Self::Untied(weight) | Self::Tied(weight) => weight,
        }
    }

    pub(super) fn cast(self, dtype: DType) -> Self {
        match self {
            Self::Untied(weight) => Self::Untied(weight.cast(dtype)),
            Self::Tied(weight) => Self::Tied(weight.cast(dtype)),
        }
    }

    fn inner(&self) -> Self {
        match self {
            Self::Untied(weight) => Self::Untied(weight.clone().inner()),
            Self::Tied(weight) => Self::Tied(weight.clone().inner()),
        }
    }
}

/// Mean cross-entropy of `states` `[rows, hidden_size]` times `head` with `targets` `[rows]`, a slice of the rows at a time.
///
/// The gradients of states and head are computed on the way (the loss is where the backward pass starts, so they are
/// known up to a factor), as in Liger Kernel's fused linear cross-entropy (Hsu et al. 2024, <https://arxiv.org/abs/2410.10989>).
///
/// The products are computed in `compute_dtype`, that of the states if `None`. In float16 the gradient of the logits is scaled up
/// before the rounding, which the scale of the whole loss comes too late for. `logits_at_once` bounds the logits held in memory;
/// [`LOGITS_AT_ONCE`] is a good number on a processor.
fn linear_cross_entropy(
    states: Tensor<2>,
    head: Head,
    targets: Tensor<1, Int>,
    mask: Option<Tensor<1>>,
    compute_dtype: Option<DType>,
    teacher: Option<Teacher>,
    logits_at_once: usize,
) -> TokenLoss {
    let [rows, _] = states.dims();
    let dtype = compute_dtype.unwrap_or(states.dtype());
    let plain_head = head.inner().cast(dtype);
    let vocabulary = match &head {
        Head::Untied(weight) => weight.dims()[1],
        Head::Tied(weight) => weight.dims()[0],
    };
    let differentiable = states.is_autodiff() || head.weight().is_autodiff();
    let scale = (dtype == DType::F16).then_some(FLOAT16_GRADIENT_SCALE);
    let scaled = |tensor: Tensor<2>, scale: Option<f32>| match scale {
        Some(scale) => tensor.mul_scalar(scale),
        None => tensor,
    };
    let unscale = scale.map(f32::recip);
    let plain_states = states.clone().inner().cast(dtype);
    let tokens = Tokens::new(targets, mask);
    // A power of two leaves no odd rest of the usual batches, for which a GPU would compile kernels of their own.
    let affordable = (logits_at_once / vocabulary).max(1);
    let step = (1 << affordable.ilog2()).min(rows).max(1);

    let mut sum: Option<Tensor<1>> = None;
    let mut states_gradients = Vec::with_capacity(rows.div_ceil(step));
    let mut weight_gradient: Option<Tensor<2>> = None;
    for start in (0..rows).step_by(step) {
        let length = step.min(rows - start);
        let part = plain_states.clone().narrow(0, start, length);
        let logits = plain_head.row_logits(part.clone()).cast(DType::F32);
        let taught = teacher
            .as_ref()
            .filter(|_| differentiable)
            .map(|teacher| teacher.taught(start, length));
        let piece = tokens
            .narrow(start, length)
            .losses(logits, taught, differentiable);
        sum = Some(add(sum, piece.sum));
        if let Some(gradient) = piece.gradient {
            let gradient = scaled(gradient, scale).cast(dtype);
            let part_gradient = plain_head.states_gradient(gradient.clone());
            states_gradients.push(scaled(part_gradient.cast(DType::F32), unscale));
            // Scaling the states down keeps this sum over many rows as large as it would be unscaled.
            let part = scaled(part, unscale);
            let part = plain_head.weight_gradient(part, gradient).cast(DType::F32);
            weight_gradient = Some(add(weight_gradient, part));
        }
    }
    let device = plain_states.device();
    let sum = sum.unwrap_or_else(|| Tensor::zeros([1], (&device, DType::F32)));
    let sum = match weight_gradient {
        Some(weight_gradient) => with_gradient(
            sum,
            product(states, Tensor::cat(states_gradients, 0))
                + product(head.weight().clone(), weight_gradient),
        ),
        None => sum,
    };
    TokenLoss::new(sum, tokens.count(), differentiable)
}

fn add<const D: usize>(sum: Option<Tensor<D>>, term: Tensor<D>) -> Tensor<D> {
    match sum {
        Some(sum) => sum + term,
        None => term,
    }
}

/// A number whose gradient towards `tensor` is `gradient`.
fn product(tensor: Tensor<2>, gradient: Tensor<2>) -> Tensor<1> {
    (tensor.cast(DType::F32) * Tensor::from_inner(gradient)).sum()
}

/// The value `value` with the gradient of `carrier`.
fn with_gradient(value: Tensor<1>, carrier: Tensor<1>) -> Tensor<1> {
    Tensor::from_inner(value) + (carrier.clone() - carrier.detach())
}

impl TokenLoss {
    fn new(sum: Tensor<1>, count: Tensor<1>, differentiable: bool) -> Self {
        let divisor = count.clone().mask_fill(count.clone().equal_elem(0.0), 1.0);
        let divisor = if differentiable {
            Tensor::from_inner(divisor)
        } else {
            divisor
        };
        Self {
            mean: sum / divisor,
            count,
        }
    }
}

/// A model whose predictions are taught (Hinton et al. 2015, [knowledge distillation](https://arxiv.org/abs/1503.02531)).
pub(super) struct Teacher {
    /// `[rows, hidden_size]`, without autodiff.
    pub(super) states: Tensor<2>,
    pub(super) head: Head,
    /// Share of the predictions in what is taught; the targets have the rest.
    pub(super) share: f64,
}

/// What a [`Teacher`] predicts for some rows, `[rows, vocabulary]`.
struct Taught {
    probabilities: Tensor<2>,
    share: f64,
}

impl Teacher {
    fn taught(&self, start: usize, length: usize) -> Taught {
        let states = self.states.clone().narrow(0, start, length);
        let logits = self.head.row_logits(states).cast(DType::F32);
        Taught {
            probabilities: softmax(logits, 1),
            share: self.share,
        }
    }
}

/// Targets and how often each counts (once if `weights` is `None`), `[rows, 1]`, without autodiff.
struct Tokens {
    targets: Tensor<2, Int>,
    weights: Option<Tensor<2>>,
}

/// Summed loss of some rows, and its gradient `[rows, vocabulary]` with respect to their logits if asked for.
struct Piece {
    sum: Tensor<1>,
    gradient: Option<Tensor<2>>,
}

impl Tokens {
    fn new(targets: Tensor<1, Int>, mask: Option<Tensor<1>>) -> Self {
        let targets = targets.inner().unsqueeze_dim::<2>(1);
        let weights = mask.map(|mask| mask.inner().cast(DType::F32).unsqueeze_dim::<2>(1));
        let targets = match &weights {
            Some(weights) => targets.mask_fill(weights.clone().equal_elem(0.0), 0),
            None => targets,
        };
        Self { targets, weights }
    }

    fn narrow(&self, start: usize, length: usize) -> Self {
        Self {
            targets: self.targets.clone().narrow(0, start, length),
            weights: self
                .weights
                .clone()
                .map(|weights| weights.narrow(0, start, length)),
        }
    }

    fn count(&self) -> Tensor<1> {
        match &self.weights {
            Some(weights) => weights.clone().sum(),
            None => {
                let rows = self.targets.dims()[0] as f32;
                Tensor::full([1], rows, (&self.targets.device(), DType::F32))
            }
        }
    }

    fn weigh(&self, rows: Tensor<2>) -> Tensor<2> {
        match &self.weights {
            Some(weights) => rows * weights.clone(),
            None => rows,
        }
    }

    /// The gradient is towards the target and what is `taught`.
    ///
    /// Losses of f32 `logits` `[rows, vocabulary]`: `ln(sum(exp(logits))) - logits[target]`, times the weight of the row.
    fn losses(&self, logits: Tensor<2>, taught: Option<Taught>, with_gradient: bool) -> Piece {
        let chosen = logits.clone().gather(1, self.targets.clone());
        let highest = logits.clone().max_dim(1);
        let probabilities = softmax(logits, 1);
        // The highest logit has the probability 1 / sum(exp(logits - highest)), which is at least 1 / vocabulary: unlike the one
        // of the target it cannot underflow.
        let log_sum = highest - probabilities.clone().max_dim(1).log();
        let losses = self.weigh(log_sum - chosen);
        let gradient = with_gradient.then(|| {
            let rows = Tensor::ones_like(&losses);
            let (difference, share) = match taught {
                Some(taught) => (
                    probabilities - taught.probabilities * taught.share,
                    1.0 - taught.share,
                ),
                None => (probabilities, 1.0),
            };
            let (indices, values) = (self.targets.clone(), self.weigh(rows) * -share);
            self.weigh(difference)
                .scatter(1, indices, values, IndexingUpdateOp::Add)
        });
        Piece {
            sum: losses.sum(),
            gradient,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::activation::log_softmax;
    use burn::tensor::{Device, Distribution};

    #[test]
    fn rows_in_parts_have_the_loss_and_gradients_of_all_at_once() {
        let device = Device::default().autodiff();
        let random = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let (states, weight) = (random([10, 6]), random([6, 7]));
        let targets = Tensor::<1, Int>::from_data([0, 6, 5, 4, 3, 2, 1, 0, 1, 2], &device);
        let mask = Tensor::<1>::from_data([1, 0, 1, 2, 1, 0, 0, 1, 1, 1], &device);
        let run = |logits_at_once: usize, tied: bool| {
            let states = states.clone().require_grad();
            let weight = weight.clone();
            let weight = if tied { weight.transpose() } else { weight }
                .detach()
                .require_grad();
            let head = if tied { Head::Tied } else { Head::Untied }(weight.clone());
            let (targets, mask) = (targets.clone(), Some(mask.clone()));
            let loss = linear_cross_entropy(
                states.clone(),
                head,
                targets,
                mask,
                None,
                None,
                logits_at_once,
            );
            let gradients = loss.mean.backward();
            let weight = weight.grad(&gradients).unwrap();
            let weight = if tied { weight.transpose() } else { weight };
            (
                loss.mean.into_scalar::<f32>(),
                states.grad(&gradients).unwrap(),
                weight,
            )
        };
        let (expected, states_gradient, weight_gradient) = run(1000, false);
        for (logits_at_once, tied) in [(1000, true), (7, false), (28, false), (28, true), (0, true)]
        {
            let (loss, states, weight) = run(logits_at_once, tied);
            assert!((loss - expected).abs() < 1e-6);
            let difference = |found: Tensor<2>, expected: &Tensor<2>| {
                (found - expected.clone()).abs().max().into_scalar::<f32>()
            };
            assert!(
                difference(states, &states_gradient) < 1e-6,
                "{logits_at_once} {tied}"
            );
            assert!(
                difference(weight, &weight_gradient) < 1e-6,
                "{logits_at_once} {tied}"
            );
        }
    }

    #[test]
    fn float16_keeps_the_gradients_of_improbable_tokens() {
        let device = Device::default().autodiff();
        const ROWS: usize = 4096;
        // Logits 0, -17, -18 and -20: probabilities of 4e-8, 2e-8 and 2e-9; float16 rounds each to 0 or 6e-8.
        let run = |dtype| {
            let states = Tensor::<2>::from_data([[1.0, 0.5]], &device)
                .repeat_dim(0, ROWS)
                .require_grad();
            let weight = [[0.0, -17.0, -18.0, -20.0], [0.0, 0.0, 0.0, 0.0]];
            let weight = Tensor::<2>::from_data(weight, &device).require_grad();
            let loss = linear_cross_entropy(
                states.clone(),
                Head::Untied(weight.clone()),
                Tensor::zeros([ROWS], &device),
                None,
                dtype,
                None,
                4 * ROWS,
            );
            let gradients = loss.mean.backward();
            let values = |tensor: Tensor<2>| {
                let data = tensor.grad(&gradients).unwrap().into_data();
                data.try_to_vec::<f32>().unwrap()
            };
            (values(weight), values(states))
        };
        let (weight, states) = run(None);
        let (half_weight, half_states) = run(Some(DType::F16));
        for (index, (found, expected)) in half_weight.iter().zip(&weight).enumerate() {
            if index % 4 > 0 {
                assert!(
                    (found / expected - 1.0).abs() < 0.05,
                    "{index}: {found}, {expected}"
                );
            }
        }
        assert!((half_states[0] / states[0] - 1.0).abs() < 0.05);
    }

    #[test]
    fn a_teacher_gives_the_gradient_of_the_mixture() {
        let device = Device::default().autodiff();
        let random = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let (states, weight) = (random([8, 6]), random([6, 7]));
        let (teacher_states, teacher_weight) = (random([8, 5]).inner(), random([5, 7]).inner());
        let targets = Tensor::<1, Int>::from_data([0, 6, 5, 4, 3, 2, 1, 0], &device);
        let share = 0.9;

        let tracked = states.clone().require_grad();
        let teacher = Teacher {
            states: teacher_states.clone(),
            head: Head::Untied(teacher_weight.clone()),
            share,
        };
        let head = Head::Untied(weight.clone());
        let loss = linear_cross_entropy(
            tracked.clone(),
            head,
            targets.clone(),
            None,
            None,
            Some(teacher),
            14,
        );
        let found = tracked.grad(&loss.mean.backward()).unwrap();

        let tracked = states.require_grad();
        let log_probabilities = log_softmax(tracked.clone().matmul(weight), 1);
        let taught = Tensor::from_inner(softmax(teacher_states.matmul(teacher_weight), 1));
        let text = log_probabilities
            .clone()
            .gather(1, targets.unsqueeze_dim::<2>(1))
            .mean()
            .neg();
        let divergence = (taught.clone() * (taught.log() - log_probabilities))
            .sum()
            .div_scalar(8.0);
        assert!((loss.mean.into_scalar::<f32>() - text.clone().into_scalar::<f32>()).abs() < 1e-6);
        let mixture = text * (1.0 - share) + divergence * share;
        let expected = tracked.grad(&mixture.backward()).unwrap();
        assert!((found - expected).abs().max().into_scalar::<f32>() < 1e-6);
    }

    #[test]
    fn a_hopeless_target_has_a_finite_loss() {
        let logits = Tensor::<3>::from_data([[[300.0, 0.0, -1e30]]], &Device::default());
        for (target, expected) in [(0i64, 0.0), (1, 300.0), (2, 1e30)] {
            let targets = Tensor::<2, Int>::from_data([[target]], &Device::default());
            let loss = cross_entropy(logits.clone(), targets, None)
                .mean
                .into_scalar::<f32>();
            assert_eq!(loss, expected);
        }
    }
}
