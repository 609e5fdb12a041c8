//! How weights and gradients travel between devices: many together, since each reading waits for its device.

use std::collections::{HashSet, VecDeque};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

/// Numbers that travel together: 256 MiB of f32.
const NUMBERS_AT_ONCE: usize = 1 << 26;

/// A copy of `model` on `device` for a step of its own.
pub(super) fn model_on<M: Module>(model: &M, device: &Device) -> M {
    let is_there = |from: &Device| from.clone().inner() == device.clone().inner();
    if model.devices().iter().all(is_there) {
        return model.clone().fork(device);
    }
    let mut weights = Weights::default();
    model.visit(&mut weights);
    let mut arrived = Arrived {
        tensors: moved(weights.tensors, device).into(),
    };
    // What is no parameter follows by itself.
    model.clone().map(&mut arrived).fork(device)
}

/// The `gradients` of `model`'s parameters, brought to `device`.
pub(super) fn gradients_on<M: Module>(
    gradients: GradientsParams,
    model: &M,
    device: &Device,
) -> GradientsParams {
    let mut taken = Taken {
        gradients,
        learnt: HashSet::new(),
        tensors: Vec::new(),
    };
    model.visit(&mut taken);
    let Taken {
        mut gradients,
        learnt,
        tensors,
    } = taken;
    let mut returned = Returned {
        gradients: &mut gradients,
        learnt,
        tensors: moved(tensors, device).into(),
    };
    model.visit(&mut returned);
    gradients
}

/// Flat `tensors` on `device`.
fn moved(tensors: Vec<Tensor<1>>, device: &Device) -> Vec<Tensor<1>> {
    let device = device.clone().inner();
    let mut moved = Vec::with_capacity(tensors.len());
    let mut tensors = tensors.into_iter().peekable();
    while let Some(first) = tensors.next() {
        let dtype = first.dtype();
        let mut numbers = first.dims()[0];
        let mut lengths = vec![numbers];
        let mut together = vec![first];
        while let Some(next) = tensors
            .next_if(|next| next.dtype() == dtype && numbers + next.dims()[0] <= NUMBERS_AT_ONCE)
        {
            numbers += next.dims()[0];
            lengths.push(next.dims()[0]);
            together.push(next);
        }
        let data = Tensor::cat(together, 0).into_data();
        let flat = Tensor::<1>::from_data(data, (&device, dtype));
        let mut start = 0;
        for length in lengths {
            moved.push(flat.clone().narrow(0, start, length));
            start += length;
        }
    }
    moved
}

/// Collects the float parameters of a module, flat and without gradient.
#[derive(Default)]
struct Weights {
    tensors: Vec<Tensor<1>>,
}

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.tensors.push(param.base().inner().flatten(0, D - 1));
    }
}

/// Puts what has arrived in the place of the parameters, in the order in which they were collected.
struct Arrived {
    tensors: VecDeque<Tensor<1>>,
}

impl ModuleMapper for Arrived {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(arrived) = self.tensors.pop_front() else {
            return param;
        };
        param.map(|weight| {
            let arrived = arrived.reshape(weight.shape());
            match (weight.is_autodiff(), weight.is_require_grad()) {
                (false, _) => arrived,
                (true, learns) => Tensor::from_inner(arrived).set_require_grad(learns),
            }
        })
    }
}

/// Takes the gradients of a module's parameters out, flat.
struct Taken {
    gradients: GradientsParams,
    /// The parameters that have one.
    learnt: HashSet<ParamId>,
    tensors: Vec<Tensor<1>>,
}

impl ModuleVisitor for Taken {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.learnt.insert(param.id);
            self.tensors.push(gradient.flatten(0, D - 1));
        }
    }
}

/// Puts them back.
struct Returned<'a> {
    gradients: &'a mut GradientsParams,
    learnt: HashSet<ParamId>,
    tensors: VecDeque<Tensor<1>>,
}

impl ModuleVisitor for Returned<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.learnt.remove(&param.id)
            && let Some(gradient) = self.tensors.pop_front()
        {
            let gradient = gradient.reshape(param.lazy_shape());
            self.gradients.register::<D>(param.id, gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Distribution;
    use t81_burn::Ternary;

    fn values(tensors: Vec<Tensor<1>>) -> Vec<Vec<f32>> {
        let values = tensors.into_iter().map(Tensor::into_data);
        values.map(|data| data.iter::<f32>().collect()).collect()
    }

    #[test]
    fn flat_tensors_arrive_in_order_whatever_travels_together() {
        let device = Device::flex();
        let tensor = |numbers: &[f32]| Tensor::<1>::from_data(numbers, &device);
        let halves = tensor(&[4.0, 5.0]).cast(burn::tensor::DType::F16);
        let tensors = vec![tensor(&[1.0, 2.0]), tensor(&[3.0]), halves, tensor(&[6.0])];
        let moved = moved(tensors.clone(), &device);
        assert_eq!(moved[2].dtype(), burn::tensor::DType::F16);
        assert_eq!(values(moved), values(tensors));
    }

    #[test]
    fn a_model_and_its_gradients_are_put_together_again() {
        let device = Device::flex().autodiff();
        let (layer, _) = Ternary::default().apply(LinearConfig::new(64, 3).init(&device));
        let mut weights = Weights::default();
        layer.visit(&mut weights);
        let mut arrived = Arrived {
            tensors: moved(weights.tensors.clone(), &device).into(),
        };
        let copy: Linear = layer.clone().map(&mut arrived);
        let input = Tensor::<2>::random([5, 64], Distribution::Default, &device);
        let (output, expected) = (copy.forward(input.clone()), layer.forward(input));
        assert_eq!(output.clone().into_data(), expected.clone().into_data());
        let gradients = GradientsParams::from_grads(output.sum().backward(), &copy);
        let gradients = gradients_on(gradients, &copy, &device);
        let expected = GradientsParams::from_grads(expected.sum().backward(), &layer);
        assert_eq!(gradients.len(), 2);
        let (weight, bias) = (layer.weight.id, layer.bias.as_ref().unwrap().id);
        let of_weight =
            |gradients: &GradientsParams| gradients.get::<2>(weight).unwrap().into_data();
        let of_bias = |gradients: &GradientsParams| gradients.get::<1>(bias).unwrap().into_data();
        assert_eq!(of_weight(&gradients), of_weight(&expected));
        assert_eq!(of_bias(&gradients), of_bias(&expected));
    }
}
