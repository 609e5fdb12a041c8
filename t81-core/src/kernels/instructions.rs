//! The instruction sets that the kernels are written for.

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
use std::arch::is_aarch64_feature_detected;
use std::fmt;

use super::activations::{Int8Activations, PaddedRows};
#[cfg(target_arch = "x86_64")]
use super::avx_vnni::AvxVnni;
#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::interleaved::{InterleavedMatrix, PANEL, Step};
use super::kernel::{self, FloatScratch, MOST_PANELS};
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
use super::neon::Neon;
use super::portable::Portable;

/// An instruction set that the kernels are written for. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instructions(Set);

/// Each but the portable one is only made where the machine has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    Neon,
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    NeonDots,
}

impl Set {
    /// The slowest first.
    const ALL: &[Self] = &[
        Self::Portable,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "x86_64")]
        Self::AvxVnni,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        Self::Neon,
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        Self::NeonDots,
    ];

    /// Whether this machine has the features that [`products`] compiles for.
    fn is_present(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => Self::Avx2.is_present() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_present()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Self::Neon => is_aarch64_feature_detected!("neon"),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Self::NeonDots => Self::Neon.is_present() && is_aarch64_feature_detected!("dotprod"),
        }
    }
}

impl Instructions {
    /// Plain Rust, for every machine.
    pub const PORTABLE: Self = Self(Set::Portable);

    /// Those that this machine has, the slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let present = Set::ALL.iter().filter(|set| set.is_present());
        present.map(|&set| Self(set)).collect()
    }

    /// The fastest that this machine has.
    #[must_use]
    pub fn best() -> Self {
        let best = Set::ALL.iter().rfind(|set| set.is_present());
        best.map_or(Self::PORTABLE, |&set| Self(set))
    }
}

impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self.0 {
            Set::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => "AVX-VNNI",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "AVX-512",
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Set::Neon => "NEON",
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Set::NeonDots => "NEON dot products",
        })
    }
}

/// Calls a product of [`kernel`] inside a function compiled for the features that a [`Set`] needs.
#[cfg(any(
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_endian = "little")
))]
macro_rules! compiled {
    ($features:literal, $kernel:ty, $generic:ident($($argument:ident: $kind:ty),*)) => {{
        #[target_feature(enable = $features)]
        fn compiled($($argument: $kind),*) {
            kernel::$generic::<$kernel>($($argument),*);
        }
        // SAFETY: the set is only made where the machine has these features.
        #[allow(unsafe_code)]
        unsafe {
            compiled($($argument),*);
        }
    }};
}

/// Declares the three products for [`Instructions`].
macro_rules! products {
    ($($name:ident($($argument:ident: $kind:ty),*) = $generic:ident;)*) => {
        impl Instructions {
            $(
                #[doc = concat!("[`kernel::", stringify!($generic), "`] on these instructions.")]
                pub(super) fn $name(self, $($argument: $kind),*) {
                    match self.0 {
                        Set::Portable => kernel::$generic::<Portable>($($argument),*),
                        #[cfg(target_arch = "x86_64")]
                        Set::Avx2 => {
                            compiled!("avx2,fma,f16c", Avx2, $generic($($argument: $kind),*))
                        }
                        #[cfg(target_arch = "x86_64")]
                        Set::AvxVnni => compiled!(
                            "avxvnni,avx2,fma,f16c",
                            AvxVnni,
                            $generic($($argument: $kind),*)
                        ),
                        #[cfg(target_arch = "x86_64")]
                        Set::Avx512 => compiled!(
                            "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c",
                            Avx512,
                            $generic($($argument: $kind),*)
                        ),
                        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
                        Set::Neon => {
                            compiled!("neon", Neon<false>, $generic($($argument: $kind),*))
                        }
                        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
                        Set::NeonDots => {
                            compiled!("neon,dotprod", Neon<true>, $generic($($argument: $kind),*))
                        }
                    }
                }
            )*
        }
    };
}

products! {
    int8_vector(
        matrix: &InterleavedMatrix, panels: std::ops::Range<usize>, activations: &Int8Activations,
        output: &mut [[f32; PANEL]]
    ) = int8_vector;
    int8_panels(
        matrix: &InterleavedMatrix, first: usize, batch: &Int8Activations, quads: &mut [Vec<Step>; MOST_PANELS],
        output: &mut [[f32; PANEL]]
    ) = int8_panels;
    float_panels(
        matrix: &InterleavedMatrix, first: usize, batch: &PaddedRows, scratch: &mut FloatScratch,
        output: &mut [[f32; PANEL]]
    ) = float_panels;
}
