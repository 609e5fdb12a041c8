//! What an instruction set has to offer to products with floats.

use half::{bf16, f16};

/// Neighbouring outputs that a product computes side by side.
pub(super) const PANEL: usize = 16;

/// Sixteen floats of one instruction set.
///
/// Methods are always inlined, so that an entry point compiled for an instruction set (`#[target_feature]`) compiles them
/// for it.
pub(super) trait Lanes {
    /// Whether there are registers for the sums of six rows with four panels.
    const WIDE_BATCHES: bool;

    /// Sixteen floats.
    type Floats: Copy;

    fn zero() -> Self::Floats;

    fn load(values: &[f32; PANEL]) -> Self::Floats;

    /// The values, exactly.
    fn load_f16(values: &[f16; PANEL]) -> Self::Floats;

    /// The values, exactly.
    fn load_bf16(values: &[bf16; PANEL]) -> Self::Floats;

    /// `sums + weights * value`, rounded once.
    fn multiply_add(sums: Self::Floats, weights: Self::Floats, value: f32) -> Self::Floats;

    fn store(floats: Self::Floats, output: &mut [f32; PANEL]);
}

/// Plain Rust, for every machine; where the target's base has fused products and vectors, the compiler uses them.
pub(super) struct Portable;

impl Lanes for Portable {
    const WIDE_BATCHES: bool = false;

    type Floats = [f32; PANEL];

    #[inline(always)]
    fn zero() -> [f32; PANEL] {
        [0.0; PANEL]
    }

    #[inline(always)]
    fn load(values: &[f32; PANEL]) -> [f32; PANEL] {
        *values
    }

    #[inline(always)]
    fn load_f16(values: &[f16; PANEL]) -> [f32; PANEL] {
        values.map(f16::to_f32)
    }

    #[inline(always)]
    fn load_bf16(values: &[bf16; PANEL]) -> [f32; PANEL] {
        values.map(|value| f32::from_bits(u32::from(value.to_bits()) << 16))
    }

    #[inline(always)]
    fn multiply_add(mut sums: [f32; PANEL], weights: [f32; PANEL], value: f32) -> [f32; PANEL] {
        for (sum, weight) in sums.iter_mut().zip(weights) {
            *sum = weight.mul_add(value, *sum);
        }
        sums
    }

    #[inline(always)]
    fn store(floats: [f32; PANEL], output: &mut [f32; PANEL]) {
        *output = floats;
    }
}
