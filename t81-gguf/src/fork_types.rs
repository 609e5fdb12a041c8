//! Tensor types that llama.cpp does not define: those of its forks and those that ggml has retired. They are named in
//! messages; nothing here reads them.

use crate::parse::TensorInfo;
use crate::tensor_type::TensorType;

/// Whose a type is and what it is called there.
///
/// Sources: `enum ggml_type` of microsoft/BitNet's llama.cpp, ikawrakow/ik_llama.cpp and PrismML-Eng/llama.cpp; the retired
/// ones are comments in ggml's own.
const NAMES: &[(u32, &str)] = &[
    (4, "Q4_2, which ggml has retired"),
    (5, "Q4_3, which ggml has retired"),
    (31, "Q4_0_4_4, which ggml has retired"),
    (32, "Q4_0_4_8, which ggml has retired"),
    (33, "Q4_0_8_8, which ggml has retired"),
    (
        36,
        "I2_S of BitNet (bitnet.cpp), ternary with one scale a tensor",
    ),
    (37, "I8_S of BitNet (bitnet.cpp)"),
    (38, "TL1 of BitNet (bitnet.cpp), ternary for lookup tables"),
    (98, "Q8_0_X4 of ik_llama.cpp"),
    (99, "Q8_1_X4 of ik_llama.cpp"),
    (133, "Q6_0 of ik_llama.cpp"),
    (134, "IQ1_BN of ik_llama.cpp, ternary"),
    (135, "IQ2_BN of ik_llama.cpp, ternary"),
    (136, "Q8_K64 of ik_llama.cpp"),
    (137, "IQ2_K of ik_llama.cpp"),
    (138, "IQ3_K of ik_llama.cpp"),
    (139, "IQ4_K of ik_llama.cpp"),
    (140, "IQ5_K of ik_llama.cpp"),
    (141, "IQ6_K of ik_llama.cpp"),
    (
        142,
        "PQ2_0 of PrismML's llama.cpp, 2 bits in blocks of 128 (or IQ2_TN of an old ik_llama.cpp)",
    ),
    (
        143,
        "PTQ1_0 of PrismML's llama.cpp, ternary in blocks of 128 (or IQ1_TN of an old ik_llama.cpp)",
    ),
    (144, "IQ4_KS of ik_llama.cpp"),
    (145, "IQ2_KS of ik_llama.cpp"),
    (146, "IQ4_KSS of ik_llama.cpp"),
    (147, "Q8_K16 of ik_llama.cpp"),
    (148, "Q8_K32 of ik_llama.cpp"),
    (149, "Q8_KR8 of ik_llama.cpp"),
    (150, "Q8_K128 of ik_llama.cpp"),
    (151, "Q8_KV of ik_llama.cpp"),
    (152, "IQ5_KS of ik_llama.cpp"),
    (153, "IQ2_KT of ik_llama.cpp"),
    (154, "IQ3_KT of ik_llama.cpp"),
    (155, "IQ4_KT of ik_llama.cpp"),
    (156, "IQ3_KS of ik_llama.cpp"),
    (157, "IQ2_KL of ik_llama.cpp"),
    (158, "IQ1_KT of ik_llama.cpp"),
];

/// ik_llama.cpp numbers its row-interleaved types so.
const INTERLEAVED: std::ops::RangeInclusive<u32> = 202..=399;

/// What follows "has the unknown type N" in a message: the type's name, if it is known, and the way forward.
pub(crate) fn explain(type_id: u32) -> String {
    let name = NAMES.iter().find(|(id, _)| *id == type_id);
    match name {
        Some((_, name)) => format!(
            ": {name}; the program that wrote the file reads it, here a file of the same model in a type of llama.cpp's own is needed (F16, Q8_0, ...)"
        ),
        None if INTERLEAVED.contains(&type_id) => {
            ": a row-interleaved type of ik_llama.cpp, whose source file in a type of llama.cpp's own is needed".to_owned()
        }
        None => ", of a fork of llama.cpp or of a later version than b11434".to_owned(),
    }
}

/// The first Q2_0 tensor of a file whose Q2_0 tensors, all of them, have the length of blocks of 128 weights in 34 bytes
/// instead of blocks of 64 in 18: PrismML's llama.cpp wrote the former under the identifier that ggml gave the latter.
///
/// `available` is the number of bytes of the data section.
pub(crate) fn q2_0_in_blocks_of_128(
    tensors: &[TensorInfo],
    alignment: u64,
    available: u64,
) -> Option<&TensorInfo> {
    let mut by_offset: Vec<&TensorInfo> = tensors.iter().collect();
    by_offset.sort_by_key(|info| info.offset);
    let nexts = by_offset.iter().skip(1).map(|next| Some(next.offset));
    let has_its_length = |info: &TensorInfo, next: Option<u64>| -> Option<bool> {
        if !info.columns().is_multiple_of(128) {
            return Some(false);
        }
        let end = info.offset.checked_add(info.elements() / 128 * 34)?;
        let padded = end.checked_next_multiple_of(alignment)?;
        Some(match next {
            Some(next) => padded == next,
            None => end == available || padded == available,
        })
    };
    let mut all = by_offset
        .iter()
        .zip(nexts.chain([None]))
        .filter(|(info, _)| info.tensor_type == TensorType::Q2_0)
        .peekable();
    let (first, _) = *all.peek()?;
    all.all(|(info, next)| has_its_length(info, next) == Some(true))
        .then_some(*first)
}
