//! The float types that a matrix is stored in.

use half::{bf16, f16};

use super::lanes::{Lanes, PANEL};

/// A float type of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloatFormat {
    /// 32 bits.
    F32,
    /// IEEE half precision, 16 bits.
    F16,
    /// The upper 16 bits of an f32.
    Bf16,
}

impl FloatFormat {
    /// Whether this type has each of the values, all of which are finite.
    #[must_use]
    pub fn holds(self, values: &[f32]) -> bool {
        match self {
            Self::F32 => values.iter().all(|value| value.is_finite()),
            Self::F16 => values
                .iter()
                .all(|&value| value.is_finite() && f16::from_f32(value).to_f32() == value),
            Self::Bf16 => values
                .iter()
                .all(|&value| value.is_finite() && value.to_bits() & 0xffff == 0),
        }
    }
}

/// A value of a [`FloatFormat`].
pub(super) trait Element: Copy + Send + Sync {
    fn rounded(value: f32) -> Self;
    fn value(self) -> f32;
    fn load<L: Lanes>(values: &[Self; PANEL]) -> L::Floats;
}

impl Element for f32 {
    fn rounded(value: f32) -> Self {
        value
    }

    fn value(self) -> f32 {
        self
    }

    #[inline(always)]
    fn load<L: Lanes>(values: &[Self; PANEL]) -> L::Floats {
        L::load(values)
    }
}

impl Element for f16 {
    fn rounded(value: f32) -> Self {
        Self::from_f32(value)
    }

    fn value(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    fn load<L: Lanes>(values: &[Self; PANEL]) -> L::Floats {
        L::load_f16(values)
    }
}

impl Element for bf16 {
    fn rounded(value: f32) -> Self {
        Self::from_f32(value)
    }

    fn value(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    fn load<L: Lanes>(values: &[Self; PANEL]) -> L::Floats {
        L::load_bf16(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_holds_what_it_can_represent() {
        let (f16, bf16) = (FloatFormat::F16, FloatFormat::Bf16);
        assert!(f16.holds(&[1.0, -0.099_975_586, 65504.0, 6.0e-8_f32 * 0.0]));
        assert!(!f16.holds(&[0.1]) && !f16.holds(&[65536.0]));
        assert!(bf16.holds(&[1.0, 65536.0, 2.0_f32.powi(-100)]) && !bf16.holds(&[1.001]));
        for format in [FloatFormat::F32, f16, bf16] {
            assert!(!format.holds(&[f32::INFINITY]) && !format.holds(&[f32::NAN]));
        }
    }
}
