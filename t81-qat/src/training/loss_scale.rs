//! The factor of the loss that keeps small gradients within float16.

use std::sync::{Arc, Mutex};

use burn::tensor::{Bool, Device, Tensor};

/// Of the mean loss of an optimizer step: about the number of its tokens, so that the gradient of a token has the size that it
/// has alone.
const START: f32 = 8192.0;
const LOWEST: f32 = 1.0 / 256.0;
const HIGHEST: f32 = 65536.0;

/// Updates in a row without an overflow after which the factor doubles.
const GROWTH_INTERVAL: f32 = 100.0;

/// A loss scale that halves when a gradient leaves float16 and doubles after a while without (Micikevicius et al. 2018,
/// [mixed precision training](https://arxiv.org/abs/1710.03740)).
///
/// All of it is decided on the device, so that no step waits for an answer. Clones share the scale.
#[derive(Clone, Debug)]
pub(crate) struct LossScale {
    start: f32,
    now: Arc<Mutex<Option<Scale>>>,
}

#[derive(Clone, Debug)]
struct Scale {
    /// `[1]`
    factor: Tensor<1>,
    /// Updates since it last changed, `[1]`.
    updates: Tensor<1>,
}

impl LossScale {
    /// Starts from what an earlier part of the run came to, if there was one.
    pub(crate) fn new(earlier: Option<f32>) -> Self {
        Self {
            start: earlier.unwrap_or(START),
            now: Arc::default(),
        }
    }

    /// The factor, `[1]`, on `device`, which has no autodiff.
    pub(crate) fn factor(&self, device: &Device) -> Tensor<1> {
        self.now(device).factor.to_device(device)
    }

    /// Takes note of an update; `overflows`, `[1]`, says whether its gradient was beyond float16.
    pub(crate) fn update(&self, overflows: Tensor<1, Bool>) {
        let Scale { factor, updates } = self.now(&overflows.device());
        let updates = updates.add_scalar(1.0).mask_fill(overflows.clone(), 0.0);
        let grows = updates.clone().greater_equal_elem(GROWTH_INTERVAL);
        let halved = factor.clone().div_scalar(2.0).clamp_min(LOWEST);
        let doubled = factor.clone().mul_scalar(2.0).clamp_max(HIGHEST);
        let next = Scale {
            factor: factor
                .mask_where(overflows, halved)
                .mask_where(grows.clone(), doubled),
            updates: updates.mask_fill(grows, 0.0),
        };
        if let Ok(mut now) = self.now.lock() {
            *now = Some(next);
        }
    }

    /// The factor as a number; waits for the device.
    pub(crate) fn value(&self) -> f32 {
        let factor = self.now.lock().ok().and_then(|now| now.clone());
        factor.map_or(self.start, |scale| scale.factor.into_scalar::<f32>())
    }

    fn now(&self, device: &Device) -> Scale {
        let fresh = || Scale {
            factor: Tensor::from_data([self.start], device),
            updates: Tensor::from_data([0.0], device),
        };
        match self.now.lock() {
            Ok(mut now) => now.get_or_insert_with(fresh).clone(),
            Err(_) => fresh(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_halves_at_an_overflow_and_doubles_after_a_while_without() {
        let device = Device::flex();
        let scale = LossScale::new(None);
        let update = |overflows: bool| scale.update(Tensor::from_data([overflows], &device));
        assert_eq!(scale.value(), START);
        update(true);
        update(true);
        assert_eq!(scale.value(), START / 4.0);
        for _ in 0..99 {
            update(false);
        }
        assert_eq!(scale.value(), START / 4.0);
        update(false);
        assert_eq!(scale.value(), START / 2.0);
        for _ in 0..99 {
            update(false);
        }
        update(true);
        assert_eq!(scale.value(), START / 4.0, "the count starts again");
        for _ in 0..40 {
            update(true);
        }
        assert_eq!(scale.value(), LOWEST);
        for _ in 0..100 * 30 {
            update(false);
        }
        assert_eq!(scale.value(), HIGHEST);
        assert_eq!(LossScale::new(Some(32.0)).value(), 32.0);
    }
}
