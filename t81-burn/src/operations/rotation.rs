//! The rotary embedding of positions together with the split into heads.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Slice, Tensor};

use super::cast;

/// Burn's backends, extended by the rotation of heads.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "gpu"),
    Fusion: cfg(feature = "gpu"),
)]
pub(crate) trait RotationOps: Backend {
    /// Splits states into heads and turns feature `i` of each with feature `i + width / 2` (Su et al. 2021,
    /// [RoFormer](https://arxiv.org/abs/2104.09864), in the order of Hugging Face).
    ///
    /// # Shapes
    ///
    /// - `states`: `[batch, length, heads * width]`
    /// - `cosines`, `sines`: `[length, width / 2]` in f32, without gradient
    /// - output: `[batch, heads, length, width]`, of the float type of the states
    #[fusion(dtype = states, shape = split(states, *heads))]
    fn rotate_heads(
        states: FloatTensor<Self>,
        cosines: FloatTensor<Self>,
        sines: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        let [batch, _, length, width] = split(&states.shape(), heads).dims();
        let by_position = Shape::from([batch, length, heads, width]);
        let states = Self::float_swap_dims(Self::float_reshape(states, by_position), 1, 2);
        turn::<Self>(states, cosines, sines, false)
    }

    /// The gradient of the states from that of [`rotate_heads`](Self::rotate_heads)' output: turned back.
    ///
    /// # Shapes
    ///
    /// - `gradient`: `[batch, heads, length, width]`; `cosines`, `sines`: `[length, width / 2]`
    /// - output: `[batch, length, heads * width]`, of the float type of the gradient
    #[fusion(dtype = gradient, shape = merged(gradient))]
    fn rotate_heads_gradient(
        gradient: FloatTensor<Self>,
        cosines: FloatTensor<Self>,
        sines: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let shape = merged(&gradient.shape());
        let states = turn::<Self>(gradient, cosines, sines, true);
        Self::float_reshape(Self::float_swap_dims(states, 1, 2), shape)
    }
}

/// `[batch, length, heads * width]` to `[batch, heads, length, width]`.
fn split(states: &Shape, heads: usize) -> Shape {
    let [batch, length, all] = states.dims();
    Shape::from([batch, heads, length, all / heads])
}

/// `[batch, heads, length, width]` to `[batch, length, heads * width]`.
fn merged(states: &Shape) -> Shape {
    let [batch, heads, length, width] = states.dims();
    Shape::from([batch, length, heads * width])
}

/// Turns the features of `states` `[batch, heads, length, width]`.
fn turn<B: Backend>(
    states: FloatTensor<B>,
    cosines: FloatTensor<B>,
    sines: FloatTensor<B>,
    back: bool,
) -> FloatTensor<B> {
    let [_, _, length, width] = states.shape().dims();
    let half = width / 2;
    let dtype = states.dtype();
    let table = |table: FloatTensor<B>| {
        B::float_reshape(cast::<B>(table, dtype), Shape::from([1, 1, length, half]))
    };
    let (cosines, sines) = (table(cosines), table(sines));
    let features = |first: usize| {
        let slices = [
            Slice::full(),
            Slice::full(),
            Slice::full(),
            Slice::from(first..first + half),
        ];
        B::float_slice(states.clone(), &slices)
    };
    let (first, second) = (features(0), features(half));
    let product =
        |left: &FloatTensor<B>, right: &FloatTensor<B>| B::float_mul(left.clone(), right.clone());
    let (by_first, by_second) = (product(&first, &sines), product(&second, &sines));
    let (first, second) = (product(&first, &cosines), product(&second, &cosines));
    let turned = match back {
        false => [
            B::float_sub(first, by_second),
            B::float_add(second, by_first),
        ],
        true => [
            B::float_add(first, by_second),
            B::float_sub(second, by_first),
        ],
    };
    B::float_cat(turned.into(), 3)
}

/// Splits `states` `[batch, length, heads * width]` into heads, turned by `cosines` and `sines` `[length, width / 2]` in f32:
/// `[batch, heads, length, width]`.
pub(crate) fn rotate_heads(
    states: Tensor<3>,
    cosines: &Tensor<2>,
    sines: &Tensor<2>,
    heads: usize,
) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::rotate_heads(
        states.into_dispatch(),
        cosines.clone().into_dispatch(),
        sines.clone().into_dispatch(),
        heads,
    ))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution, Tolerance};

    #[test]
    fn each_pair_of_features_turns_by_its_angle() {
        let device = Device::flex();
        let states =
            Tensor::<3>::from_data([[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]], &device);
        // Two heads of one pair; the second position turns by a quarter.
        let cosines = Tensor::<2>::from_data([[1.0], [0.0]], &device);
        let sines = Tensor::<2>::from_data([[0.0], [1.0]], &device);
        let turned = rotate_heads(states, &cosines, &sines, 2);
        assert_eq!(turned.dims(), [1, 2, 2, 2]);
        let values: Vec<f32> = turned.into_data().try_into_vec().unwrap();
        assert_eq!(values, [1.0, 2.0, -6.0, 5.0, 3.0, 4.0, -8.0, 7.0]);
    }

    #[test]
    fn the_gradient_is_the_transposed_rotation() {
        let device = Device::flex().autodiff();
        let random =
            |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let states = random([2 * 3, 4 * 6]).reshape([2, 3, 24]).require_grad();
        let factors = random([2 * 3, 4 * 6]).reshape([2, 4, 3, 6]);
        let (cosines, sines) = (random([3, 3]), random([3, 3]));
        let product =
            |states: Tensor<3>| (rotate_heads(states, &cosines, &sines, 4) * factors.clone()).sum();
        let gradient = states.grad(&product(states.clone()).backward()).unwrap();
        // The operation is linear: <A x, y> = <x, A' y> for any x.
        let other = random([2 * 3, 4 * 6]).reshape([2, 3, 24]);
        let expected = product(other.clone()).into_data();
        let found = (other.inner() * gradient).sum().into_data();
        found.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-4));
    }
}
