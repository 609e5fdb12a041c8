//! Products of ternary matrices with activations.

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_batch;
#[cfg(target_arch = "x86_64")]
mod avx2_row;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_tables;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
mod instructions;
mod int8;
mod interleaved;
mod kernel;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
mod portable;
mod product;
mod segments;

pub use instructions::Instructions;
pub use int8::{ACTIVATION_BLOCK, fake_quantize_activations};
pub use interleaved::{CodeEncoding, InterleavedMatrix};
pub use product::ActivationPrecision;
