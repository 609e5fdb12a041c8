//! [`TernaryOps`](crate::TernaryOps) and the softmax of attention on each backend: a kernel where there is one, the default body
//! elsewhere.

mod autodiff;
mod autodiff_softmax;
#[cfg(feature = "gpu")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "ndarray")]
mod ndarray;
