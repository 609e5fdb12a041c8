//! [`TernaryOps`](crate::TernaryOps) and the operations of a decoder's layers on each backend: a kernel where there is one, the
//! default body elsewhere.

mod autodiff;
#[cfg(feature = "gpu")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "ndarray")]
mod ndarray;
