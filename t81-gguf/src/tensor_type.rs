//! GGML tensor types: identifiers and block sizes.

use std::fmt;

use t81_core::BlockFormat;

macro_rules! tensor_types {
    ($($(#[$doc:meta])* $variant:ident = $id:literal, $name:literal, $block_len:literal, $block_bytes:literal;)+) => {
        /// How the elements of a GGUF tensor are stored.
        ///
        /// Identifiers and block sizes are those of `enum ggml_type` in llama.cpp's `ggml.h`; identifiers
        /// that ggml has retired (4, 5, 31 to 33, 36 to 38) are unknown here as they are there.
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum TensorType {
            $($(#[$doc])* $variant,)+
        }

        impl TensorType {
            /// Every known type, in the order of its identifier.
            pub const ALL: &'static [TensorType] = &[$(TensorType::$variant,)+];

            /// The type that a file names by `id`; `None` when ggml knows no such type.
            pub const fn from_id(id: u32) -> Option<Self> {
                match id {
                    $($id => Some(TensorType::$variant),)+
                    _ => None,
                }
            }

            /// The identifier in a file.
            pub const fn id(self) -> u32 {
                match self { $(TensorType::$variant => $id,)+ }
            }

            /// ggml's name, such as `TQ2_0`.
            pub const fn name(self) -> &'static str {
                match self { $(TensorType::$variant => $name,)+ }
            }

            /// Elements in a block; a row holds a whole number of blocks.
            pub const fn block_len(self) -> u64 {
                match self { $(TensorType::$variant => $block_len,)+ }
            }

            /// Bytes in a block.
            pub const fn block_bytes(self) -> u64 {
                match self { $(TensorType::$variant => $block_bytes,)+ }
            }
        }
    };
}

tensor_types! {
    /// 32-bit floats.
    F32 = 0, "F32", 1, 4;
    /// 16-bit IEEE floats.
    F16 = 1, "F16", 1, 2;
    /// 4 bits, one scale for 32 elements.
    Q4_0 = 2, "Q4_0", 32, 18;
    /// 4 bits, scale and minimum for 32 elements.
    Q4_1 = 3, "Q4_1", 32, 20;
    /// 5 bits, one scale for 32 elements.
    Q5_0 = 6, "Q5_0", 32, 22;
    /// 5 bits, scale and minimum for 32 elements.
    Q5_1 = 7, "Q5_1", 32, 24;
    /// 8 bits, one scale for 32 elements.
    Q8_0 = 8, "Q8_0", 32, 34;
    /// 8 bits with the block's sum (activations only).
    Q8_1 = 9, "Q8_1", 32, 36;
    /// 2-bit K-quant.
    Q2_K = 10, "Q2_K", 256, 84;
    /// 3-bit K-quant.
    Q3_K = 11, "Q3_K", 256, 110;
    /// 4-bit K-quant.
    Q4_K = 12, "Q4_K", 256, 144;
    /// 5-bit K-quant.
    Q5_K = 13, "Q5_K", 256, 176;
    /// 6-bit K-quant.
    Q6_K = 14, "Q6_K", 256, 210;
    /// 8-bit K-quant (activations only).
    Q8_K = 15, "Q8_K", 256, 292;
    /// 2.06 bits, codebook.
    IQ2_XXS = 16, "IQ2_XXS", 256, 66;
    /// 2.31 bits, codebook.
    IQ2_XS = 17, "IQ2_XS", 256, 74;
    /// 3.06 bits, codebook.
    IQ3_XXS = 18, "IQ3_XXS", 256, 98;
    /// 1.56 bits, codebook.
    IQ1_S = 19, "IQ1_S", 256, 50;
    /// 4.5 bits, non-linear.
    IQ4_NL = 20, "IQ4_NL", 32, 18;
    /// 3.44 bits, codebook.
    IQ3_S = 21, "IQ3_S", 256, 110;
    /// 2.5 bits, codebook.
    IQ2_S = 22, "IQ2_S", 256, 82;
    /// 4.25 bits, non-linear.
    IQ4_XS = 23, "IQ4_XS", 256, 136;
    /// Signed bytes.
    I8 = 24, "I8", 1, 1;
    /// Signed 16-bit integers.
    I16 = 25, "I16", 1, 2;
    /// Signed 32-bit integers.
    I32 = 26, "I32", 1, 4;
    /// Signed 64-bit integers.
    I64 = 27, "I64", 1, 8;
    /// 64-bit floats.
    F64 = 28, "F64", 1, 8;
    /// 1.75 bits, codebook.
    IQ1_M = 29, "IQ1_M", 256, 56;
    /// 16-bit brain floats.
    BF16 = 30, "BF16", 1, 2;
    /// Ternary, five codes a byte.
    TQ1_0 = 34, "TQ1_0", 256, 54;
    /// Ternary, four codes a byte.
    TQ2_0 = 35, "TQ2_0", 256, 66;
    /// Microscaling 4-bit floats.
    MXFP4 = 39, "MXFP4", 32, 17;
    /// NVIDIA 4-bit floats.
    NVFP4 = 40, "NVFP4", 64, 36;
    /// 1 bit, one scale for 128 elements.
    Q1_0 = 41, "Q1_0", 128, 18;
    /// 2 bits, one scale for 64 elements; holds ternary codes.
    Q2_0 = 42, "Q2_0", 64, 18;
}

impl TensorType {
    /// Bytes of a row of `columns` elements; `None` when the row is no whole number of blocks or the size overflows.
    pub const fn row_bytes(self, columns: u64) -> Option<u64> {
        if !columns.is_multiple_of(self.block_len()) {
            return None;
        }
        (columns / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Storage bits per element.
    pub fn bits_per_weight(self) -> f64 {
        self.block_bytes() as f64 * 8.0 / self.block_len() as f64
    }

    /// The ternary block format of this type, if it is one.
    pub const fn block_format(self) -> Option<BlockFormat> {
        match self {
            TensorType::TQ1_0 => Some(BlockFormat::Tq1_0),
            TensorType::TQ2_0 => Some(BlockFormat::Tq2_0),
            TensorType::Q2_0 => Some(BlockFormat::Q2_0),
            _ => None,
        }
    }
}

impl From<BlockFormat> for TensorType {
    fn from(format: BlockFormat) -> Self {
        match format {
            BlockFormat::Tq1_0 => TensorType::TQ1_0,
            BlockFormat::Tq2_0 => TensorType::TQ2_0,
            BlockFormat::Q2_0 => TensorType::Q2_0,
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_round_trip_and_retired_ones_are_unknown() {
        for &tensor_type in TensorType::ALL {
            assert_eq!(TensorType::from_id(tensor_type.id()), Some(tensor_type));
        }
        for retired in [4, 5, 31, 32, 33, 36, 37, 38, 43, u32::MAX] {
            assert_eq!(TensorType::from_id(retired), None);
        }
    }

    #[test]
    fn ternary_types_agree_with_the_codecs() {
        for format in [BlockFormat::Tq1_0, BlockFormat::Tq2_0, BlockFormat::Q2_0] {
            let tensor_type = TensorType::from(format);
            assert_eq!(tensor_type.block_len(), format.block_len() as u64);
            assert_eq!(tensor_type.block_bytes(), format.block_bytes() as u64);
            assert_eq!(tensor_type.id(), format.ggml_type());
            assert_eq!(tensor_type.block_format(), Some(format));
        }
    }

    #[test]
    fn rows_hold_whole_blocks_only() {
        assert_eq!(TensorType::TQ2_0.row_bytes(512), Some(132));
        assert_eq!(TensorType::TQ2_0.row_bytes(576), None);
        assert_eq!(TensorType::Q2_0.row_bytes(576), Some(162));
        assert_eq!(TensorType::F64.row_bytes(u64::MAX), None);
    }
}
