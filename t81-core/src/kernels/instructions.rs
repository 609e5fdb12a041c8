//! The instruction sets that the kernels are written for.

use std::fmt;

use super::activations::{Int8Activations, Int8Row};
#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
use super::interleaved::{InterleavedMatrix, PANEL, Step};
use super::kernel::{self, FloatScratch};
use super::portable::Portable;

/// An instruction set that the kernels are written for. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instructions(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Portable,
    /// Only made where the machine has AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Instructions {
    /// Plain Rust, for every machine.
    pub const PORTABLE: Self = Self(Set::Portable);

    /// Those that this machine has, the slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut available = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
        {
            available.push(Self(Set::Avx2));
        }
        available
    }

    /// The fastest that this machine has.
    #[must_use]
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
        {
            return Self(Set::Avx2);
        }
        Self::PORTABLE
    }
}

impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self.0 {
            Set::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "AVX2",
        })
    }
}

/// Panels of one f32 product with a single row: enough independent sums to hide the latency of one.
pub(super) const FLOAT_PANELS: usize = 4;

/// Declares the four products for [`Instructions`]: each calls the loops of [`kernel`] inside a function compiled for
/// the set.
macro_rules! products {
    ($($name:ident($($argument:ident: $kind:ty),*) = $generic:ident $(::<$constant:tt>)?;)*) => {
        impl Instructions {
            $(
                #[doc = concat!("[`kernel::", stringify!($generic), "`] on these instructions.")]
                pub(super) fn $name(self, $($argument: $kind),*) {
                    match self.0 {
                        Set::Portable => kernel::$generic::<Portable $(, $constant)?>($($argument),*),
                        #[cfg(target_arch = "x86_64")]
                        Set::Avx2 => {
                            #[target_feature(enable = "avx2,fma,f16c")]
                            fn compiled($($argument: $kind),*) {
                                kernel::$generic::<Avx2 $(, $constant)?>($($argument),*);
                            }
                            // SAFETY: the set is only made where the machine has these features.
                            #[allow(unsafe_code)]
                            unsafe { compiled($($argument),*) }
                        }
                    }
                }
            )*
        }
    };
}

products! {
    int8_vector(
        matrix: &InterleavedMatrix, panels: std::ops::Range<usize>, row: Int8Row<'_>, output: &mut [[f32; PANEL]]
    ) = int8_vector;
    int8_panel(
        matrix: &InterleavedMatrix, panel: usize, batch: &Int8Activations, quads: &mut Vec<Step>,
        output: &mut [[f32; PANEL]]
    ) = int8_panel;
    float_vectors(
        matrix: &InterleavedMatrix, first: usize, values: &[f32], quads: &mut [Vec<Step>; FLOAT_PANELS],
        output: &mut [[f32; PANEL]]
    ) = float_vector::<FLOAT_PANELS>;
    float_panel(
        matrix: &InterleavedMatrix, panel: usize, batch: &[f32], scratch: &mut FloatScratch,
        output: &mut [[f32; PANEL]]
    ) = float_panel;
}
