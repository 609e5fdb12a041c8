//! Change of base, by multiplication in the base wanted: no division of long numbers.

use super::divisor::Radix;
use super::{add_assign, multiply, normalize};

/// Above this many digits, halves are converted apart: 8 measured alike, 32 and 64 slower.
const SPLIT_DIGITS: usize = 16;

/// Multiplies by a factor below 2^63 and adds a summand below the factor's size or the base's.
pub(in crate::numeric) fn multiply_small<const BASE: u64>(
    digits: &mut Vec<u64>,
    factor: u64,
    summand: u64,
) {
    let mut carry = summand;
    for digit in digits.iter_mut() {
        let value = u128::from(*digit) * u128::from(factor) + u128::from(carry);
        (carry, *digit) = Radix::<BASE>::DIVISOR.div_rem(value);
    }
    while carry != 0 {
        digits.push(carry % BASE);
        carry /= BASE;
    }
}

/// Adds a word.
pub(in crate::numeric) fn add_small<const BASE: u64>(digits: &mut Vec<u64>, summand: u64) {
    multiply_small::<BASE>(digits, 1, summand);
}

/// The same number in another base, without leading zeros.
pub(in crate::numeric) fn convert<const FROM: u64, const TO: u64>(digits: &[u64]) -> Vec<u64> {
    // Pieces of one length, so that the products of the halves have factors of one length.
    let (mut piece, mut halvings) = (digits.len(), 0);
    while piece > SPLIT_DIGITS {
        piece = piece.div_ceil(2);
        halvings += 1;
    }
    // The n-th power is FROM to the power of piece * 2^n.
    let mut powers: Vec<Vec<u64>> = Vec::new();
    while powers.len() < halvings {
        let mut power = match powers.last() {
            Some(last) => multiply::<TO>(last, last),
            None => convert_short::<FROM, TO>(&power_of_base(piece)),
        };
        normalize(&mut power);
        powers.push(power);
    }
    let mut converted = convert_halves::<FROM, TO>(digits, piece, &powers);
    normalize(&mut converted);
    converted
}

/// The base to a power, in the base itself.
fn power_of_base(exponent: usize) -> Vec<u64> {
    let mut digits = vec![0; exponent + 1];
    digits[exponent] = 1;
    digits
}

fn convert_halves<const FROM: u64, const TO: u64>(
    digits: &[u64],
    piece: usize,
    powers: &[Vec<u64>],
) -> Vec<u64> {
    let Some((power, lower_powers)) = powers.split_last() else {
        return convert_short::<FROM, TO>(digits);
    };
    let half = piece << lower_powers.len();
    if digits.len() <= half {
        return convert_halves::<FROM, TO>(digits, piece, lower_powers);
    }
    let (low, high) = digits.split_at(half);
    let low = convert_halves::<FROM, TO>(low, piece, lower_powers);
    let high = convert_halves::<FROM, TO>(high, piece, lower_powers);
    let mut sum = multiply::<TO>(&high, power);
    // The low part is below the power, so that a sum of equal lengths leaves no carry.
    if sum.len() < low.len() {
        sum.resize(low.len(), 0);
    }
    add_assign::<TO>(&mut sum, &low);
    normalize(&mut sum);
    sum
}

/// Horner's rule.
fn convert_short<const FROM: u64, const TO: u64>(digits: &[u64]) -> Vec<u64> {
    let mut converted = Vec::new();
    for &digit in digits.iter().rev() {
        multiply_small::<TO>(&mut converted, FROM, digit);
    }
    converted
}

#[cfg(test)]
mod tests {
    use super::super::{DECIMAL, TERNARY};
    use super::*;

    #[test]
    fn conversion_there_and_back_keeps_the_number() {
        for length in [
            0,
            1,
            2,
            SPLIT_DIGITS - 1,
            SPLIT_DIGITS,
            SPLIT_DIGITS + 1,
            4 * SPLIT_DIGITS + 1,
            1000,
        ] {
            let digits: Vec<u64> = (1..=length as u64)
                .map(|index| index.wrapping_mul(0x9e37_79b9_7f4a_7c15) % TERNARY)
                .collect();
            let decimal = convert::<TERNARY, DECIMAL>(&digits);
            assert!(decimal.iter().all(|&digit| digit < DECIMAL));
            assert_eq!(
                convert::<DECIMAL, TERNARY>(&decimal),
                digits,
                "{length} digits"
            );
        }
    }

    #[test]
    fn runs_of_zeros_and_of_the_largest_digit_convert() {
        for length in [64, 65, 128, 129, 300] {
            let power = power_of_base(length);
            let largest = vec![TERNARY - 1; length];
            let mut successor = convert::<TERNARY, DECIMAL>(&largest);
            add_small::<DECIMAL>(&mut successor, 1);
            assert_eq!(
                successor,
                convert::<TERNARY, DECIMAL>(&power),
                "{length} digits"
            );
        }
    }
}
