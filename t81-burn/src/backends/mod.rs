//! [`TernaryOps`](crate::TernaryOps) of each backend: a kernel where there is one, the host quantizer elsewhere.

mod autodiff;
#[cfg(feature = "gpu")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "ndarray")]
mod ndarray;
