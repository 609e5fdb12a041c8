//! Which backend a model computes on.

use burn::tensor::Device;

/// Whether `device` is the processor by Burn's Flex, with or without autodiff.
#[cfg(feature = "flex")]
pub(super) fn is_flex(device: &Device) -> bool {
    device.clone().inner() == Device::flex()
}

/// Whether `device` is the processor by Burn's Flex, with or without autodiff.
#[cfg(not(feature = "flex"))]
pub(super) fn is_flex(_device: &Device) -> bool {
    false
}
