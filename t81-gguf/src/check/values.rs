//! Every value of every tensor: floats are finite, blocks are valid, ternary blocks canonical.

use rayon::prelude::*;
use t81_core::{BlockFormat, CodecError};

use super::{Findings, Problem, Rule};
use crate::reader::{GgufFile, GgufTensor};
use crate::tensor_type::TensorType;

/// Bytes looked at by one task, about.
const TASK: usize = 1 << 18;

/// Offsets of the f16 scales in the blocks of a type, which `ggml_validate_row_data` wants finite.
const HALVES: &[(TensorType, &[usize])] = &[
    (TensorType::Q4_0, &[0]),
    (TensorType::Q4_1, &[0, 2]),
    (TensorType::Q5_0, &[0]),
    (TensorType::Q5_1, &[0, 2]),
    (TensorType::Q8_0, &[0]),
    (TensorType::Q2_K, &[80, 82]),
    (TensorType::Q3_K, &[108]),
    (TensorType::Q4_K, &[0, 2]),
    (TensorType::Q5_K, &[0, 2]),
    (TensorType::Q6_K, &[208]),
    (TensorType::IQ1_S, &[0]),
    (TensorType::IQ2_XXS, &[0]),
    (TensorType::IQ2_XS, &[0]),
    (TensorType::IQ2_S, &[0]),
    (TensorType::IQ3_XXS, &[0]),
    (TensorType::IQ3_S, &[0]),
    (TensorType::IQ4_NL, &[0]),
    (TensorType::IQ4_XS, &[0]),
    (TensorType::Q1_0, &[0]),
];

pub(super) fn check(file: &GgufFile, findings: &mut Findings) {
    for tensor in file.tensors() {
        if let Some(message) = fault(&tensor) {
            findings.problems.push(Problem {
                rule: Rule::Values,
                subject: tensor.info.name.clone(),
                message,
            });
        }
        tensor.release();
    }
}

/// Matrices without any weight but 0. Others are told by their beginning.
pub(super) fn remarks(file: &GgufFile) -> Vec<Problem> {
    let matrices = file
        .tensors()
        .filter(|tensor| tensor.info.dimensions.len() > 1 && only_zeros(tensor));
    let remark = |tensor: GgufTensor<'_>| {
        tensor.release();
        Problem {
            rule: Rule::Values,
            subject: tensor.info.name.clone(),
            message: "holds nothing but zeros (were its weights too small for 16-bit scales?)"
                .to_owned(),
        }
    };
    matrices.map(remark).collect()
}

fn only_zeros(tensor: &GgufTensor<'_>) -> bool {
    let tensor_type = tensor.info.tensor_type;
    let mut blocks = tensor
        .bytes
        .chunks_exact(tensor_type.block_bytes() as usize);
    match (tensor_type.block_format(), tensor_type) {
        (Some(format), _) => {
            let zeros = Ok(format.block_len() as u64);
            blocks.all(|block| format.zero_codes(block) == zeros)
        }
        (None, TensorType::F32 | TensorType::F16 | TensorType::BF16) => {
            tensor.bytes.iter().all(|byte| *byte == 0)
        }
        _ => false,
    }
}

/// What is wrong with a tensor's values.
fn fault(tensor: &GgufTensor<'_>) -> Option<String> {
    let tensor_type = tensor.info.tensor_type;
    if let Some(format) = tensor_type.block_format() {
        return ternary_fault(tensor, format);
    }
    let is_sound: fn(&[u8]) -> bool = match tensor_type {
        TensorType::F32 => |bytes| f32::from_le_bytes(fixed(bytes)).is_finite(),
        TensorType::F16 => |bytes| half_is_finite(bytes, 0),
        TensorType::BF16 => |bytes| u16::from_le_bytes(fixed(bytes)) & 0x7f80 != 0x7f80,
        TensorType::F64 => |bytes| f64::from_le_bytes(fixed(bytes)).is_finite(),
        _ => {
            let (_, halves) = HALVES.iter().find(|(known, _)| *known == tensor_type)?;
            return describe(
                bad_blocks(tensor, |block| {
                    halves.iter().all(|&at| half_is_finite(block, at))
                }),
                "blocks with a scale that is not finite",
            );
        }
    };
    describe(bad_blocks(tensor, is_sound), "values that are not finite")
}

/// How many blocks fail, and the first of them.
fn bad_blocks(
    tensor: &GgufTensor<'_>,
    is_sound: impl Fn(&[u8]) -> bool + Sync,
) -> Option<(usize, usize)> {
    let block_bytes = tensor.info.tensor_type.block_bytes() as usize;
    let blocks_per_task = (TASK / block_bytes).max(1);
    tensor
        .bytes
        .par_chunks(blocks_per_task * block_bytes)
        .enumerate()
        .filter_map(|(task, bytes)| {
            let mut bad = bytes
                .chunks_exact(block_bytes)
                .enumerate()
                .filter(|(_, block)| !is_sound(block));
            let (first, _) = bad.next()?;
            Some((1 + bad.count(), task * blocks_per_task + first))
        })
        .reduce_with(|(one, first), (other, second)| (one + other, first.min(second)))
}

fn describe(bad: Option<(usize, usize)>, what: &str) -> Option<String> {
    bad.map(|(count, first)| format!("has {count} {what}, the first at {first}"))
}

/// What a ternary block can be guilty of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum BlockFault {
    Code,
    Scale,
    NegativeScale,
    ZeroBlockScale,
}

fn ternary_fault(tensor: &GgufTensor<'_>, format: BlockFormat) -> Option<String> {
    let faults = [
        BlockFault::Code,
        BlockFault::Scale,
        BlockFault::NegativeScale,
        BlockFault::ZeroBlockScale,
    ];
    // One pass that finds nothing is the usual case.
    bad_blocks(tensor, |block| block_fault(format, block).is_none())?;
    let messages: Vec<String> = faults
        .iter()
        .filter_map(|&fault| {
            let what = match fault {
                BlockFault::Code => "blocks with a code that is not ternary",
                BlockFault::Scale => "blocks with a scale that is not finite",
                BlockFault::NegativeScale => "blocks with a negative scale",
                BlockFault::ZeroBlockScale => "blocks of zeros with a scale that is not 0",
            };
            let bad = bad_blocks(tensor, |block| block_fault(format, block) != Some(fault));
            describe(bad, what)
        })
        .collect();
    Some(messages.join("; "))
}

fn block_fault(format: BlockFormat, block: &[u8]) -> Option<BlockFault> {
    let at = match format {
        BlockFormat::Q2_0 => 0,
        BlockFormat::Tq1_0 | BlockFormat::Tq2_0 => block.len() - 2,
    };
    let scale = u16::from_le_bytes(fixed(&block[at..]));
    let is_zero = scale & 0x7fff == 0;
    match format.check_block(block) {
        Err(CodecError::InvalidScale { .. }) => Some(BlockFault::Scale),
        Err(_) => Some(BlockFault::Code),
        Ok(()) if scale & 0x8000 != 0 && !is_zero => Some(BlockFault::NegativeScale),
        Ok(()) if !is_zero && format.zero_codes(block) == Ok(format.block_len() as u64) => {
            Some(BlockFault::ZeroBlockScale)
        }
        Ok(()) => None,
    }
}

fn half_is_finite(bytes: &[u8], at: usize) -> bool {
    u16::from_le_bytes(fixed(&bytes[at..])) & 0x7c00 != 0x7c00
}

/// The first bytes of a slice that is long enough, as every block of a type is.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut fixed = [0; N];
    fixed.copy_from_slice(&bytes[..N]);
    fixed
}
