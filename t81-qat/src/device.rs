//! Where a run computes.

use std::thread::available_parallelism;

use burn::module::Module;
use burn::tensor::Device;

/// Bytes that the gradients of all workers together may take.
const GRADIENT_BYTES: usize = 2 << 30;

/// `device`, once for each worker that shares out a batch of `rows` rows.
///
/// Flex computes the larger operations on every core, the smaller ones on one. Two workers on two halves of a batch keep
/// both cores busy in between. Each worker holds gradients of its own, which bounds their number for a large model.
pub(crate) fn workers<M: Module>(device: &Device, rows: usize, model: &M) -> Vec<Device> {
    let cores = available_parallelism().map_or(1, usize::from);
    let affordable = GRADIENT_BYTES / (4 * model.num_params().max(1));
    vec![device.clone(); cores.min(rows).min(affordable).max(1)]
}
