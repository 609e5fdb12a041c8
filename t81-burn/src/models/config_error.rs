use thiserror::Error;

/// The configuration of a decoder that describes no model.
#[derive(Debug, Error, PartialEq)]
pub enum DecoderConfigError {
    /// A size that must be at least 1 is 0.
    #[error("`{0}` is 0; it must be at least 1")]
    Zero(&'static str),
    /// A size is not a multiple of another one.
    #[error("`{name}` is {value}, which is not a multiple of {divisor} (`{divisor_name}`)")]
    NotMultiple {
        /// Name of the size.
        name: &'static str,
        /// The size.
        value: usize,
        /// Name of its divisor.
        divisor_name: &'static str,
        /// The divisor.
        divisor: usize,
    },
    /// A number lies outside its range.
    #[error("`{name}` is {value}; it must be {expected}")]
    OutOfRange {
        /// Name of the number.
        name: &'static str,
        /// The number.
        value: f64,
        /// The range in words.
        expected: &'static str,
    },
}

/// Checks that no size is 0.
pub(super) fn at_least_one<const N: usize>(
    sizes: [(&'static str, usize); N],
) -> Result<(), DecoderConfigError> {
    match sizes.into_iter().find(|(_, size)| *size == 0) {
        Some((name, _)) => Err(DecoderConfigError::Zero(name)),
        None => Ok(()),
    }
}

/// Checks that one size divides another.
pub(super) fn multiple(
    (name, value): (&'static str, usize),
    (divisor_name, divisor): (&'static str, usize),
) -> Result<(), DecoderConfigError> {
    if value.is_multiple_of(divisor) {
        return Ok(());
    }
    Err(DecoderConfigError::NotMultiple {
        name,
        value,
        divisor_name,
        divisor,
    })
}

/// Checks that a number is finite and above 0.
pub(super) fn positive(name: &'static str, value: f64) -> Result<(), DecoderConfigError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(DecoderConfigError::OutOfRange {
        name,
        value,
        expected: "a finite number above 0",
    })
}
