//! The floats that ggml reads from the blocks of a tensor, bit for bit.
//!
//! Layouts and formulas are those of `ggml-common.h` and `ggml-quants.c` (b11434). Every product in them is exact in
//! an f32 (an f16 has 11 bits, codes and sub-block scales at most 13 together), so only the last addition rounds and
//! neither the order of the factors nor fused multiply-add matters.

mod blocks_of_32;
mod floats;
mod k_quants;

use half::f16;
use rayon::prelude::*;

use crate::tensor_type::TensorType;

/// Blocks decoded by one task, as weights.
const TASK: usize = 1 << 14;

/// Writes the elements of one or more blocks.
type Decode = fn(&[u8], &mut [f32]);

/// A type's elements cannot be computed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// The types whose elements [`dequantize`] computes, for messages.
pub(crate) const READABLE: &str =
    "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, TQ1_0, TQ2_0 and Q2_0";

/// Whether [`dequantize`] computes the elements of a tensor type.
pub(crate) fn is_readable(tensor_type: TensorType) -> bool {
    tensor_type.block_format().is_some() || decoder(tensor_type).is_some()
}

/// Writes the elements of `bytes`, whole blocks, into `values`, on all cores.
///
/// # Errors
///
/// [`Unreadable`] for a type that [`is_readable`] denies, and when the lengths do not belong together.
pub(crate) fn dequantize(
    tensor_type: TensorType,
    bytes: &[u8],
    values: &mut [f32],
) -> Result<(), Unreadable> {
    if tensor_type.row_bytes(values.len() as u64) != Some(bytes.len() as u64) {
        return Err(Unreadable);
    }
    if let Some(format) = tensor_type.block_format() {
        return format.dequantize(bytes, values).map_err(|_| Unreadable);
    }
    let decode = decoder(tensor_type).ok_or(Unreadable)?;
    let task_bytes = TASK / tensor_type.block_len() as usize * tensor_type.block_bytes() as usize;
    values
        .par_chunks_mut(TASK)
        .zip(bytes.par_chunks(task_bytes))
        .for_each(|(values, bytes)| decode(bytes, values));
    Ok(())
}

fn decoder(tensor_type: TensorType) -> Option<Decode> {
    Some(match tensor_type {
        TensorType::F32 => floats::f32,
        TensorType::F16 => floats::f16,
        TensorType::BF16 => floats::bf16,
        TensorType::Q4_0 => blocks_of_32::q4_0,
        TensorType::Q4_1 => blocks_of_32::q4_1,
        TensorType::Q5_0 => blocks_of_32::q5_0,
        TensorType::Q5_1 => blocks_of_32::q5_1,
        TensorType::Q8_0 => blocks_of_32::q8_0,
        TensorType::Q4_K => k_quants::q4_k,
        TensorType::Q5_K => k_quants::q5_k,
        TensorType::Q6_K => k_quants::q6_k,
        _ => return None,
    })
}

/// An f16 field of a block.
fn half(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_lists_the_readable_types() {
        for &tensor_type in TensorType::ALL {
            let listed = READABLE
                .split([' ', ','])
                .any(|name| name == tensor_type.name());
            assert_eq!(is_readable(tensor_type), listed, "{tensor_type}");
        }
    }

    #[test]
    fn tasks_are_whole_blocks_and_lengths_are_checked() {
        for &tensor_type in TensorType::ALL {
            assert!((TASK as u64).is_multiple_of(tensor_type.block_len()));
        }
        let mut values = [0.0; 32];
        assert_eq!(dequantize(TensorType::Q8_0, &[0; 34], &mut values), Ok(()));
        assert_eq!(
            dequantize(TensorType::Q8_0, &[0; 33], &mut values),
            Err(Unreadable)
        );
        assert_eq!(
            dequantize(TensorType::IQ4_NL, &[0; 18], &mut values),
            Err(Unreadable)
        );
    }
}
