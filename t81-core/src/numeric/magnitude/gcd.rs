//! Greatest common divisors: Lehmer's algorithm, which takes many steps of Euclid's on leading words alone (algorithm L of
//! Knuth, The Art of Computer Programming, volume 2, section 4.5.2).

use std::cmp::Ordering;

use super::divisor::Radix;
use super::{TERNARY, compare, div_rem, normalize};

/// The greatest common divisor of two numbers without leading zeros; that of zero and a number is the number.
pub(in crate::numeric) fn gcd(mut left: Vec<u64>, mut right: Vec<u64>) -> Vec<u64> {
    if compare(&left, &right) == Ordering::Less {
        std::mem::swap(&mut left, &mut right);
    }
    while !right.is_empty() {
        let steps = leading_words(&left, &right).and_then(|(x, y)| euclid_steps(x, y));
        match steps {
            Some(steps) => apply(steps, &mut left, &mut right),
            None => {
                let (_, remainder) = div_rem::<TERNARY>(&left, &right);
                left = std::mem::replace(&mut right, remainder);
            }
        }
    }
    left
}

/// Both numbers divided by one power of the base and of two, so that the larger has at most 62 bits; `None` where a long
/// division gets on faster.
fn leading_words(left: &[u64], right: &[u64]) -> Option<(i64, i64)> {
    let length = left.len();
    if length < 2 || right.len() < length {
        return None;
    }
    let leading = |digits: &[u64]| {
        u128::from(digits[length - 1]) * u128::from(TERNARY) + u128::from(digits[length - 2])
    };
    let (x, y) = (leading(left), leading(right));
    let shift = (128 - x.leading_zeros()).saturating_sub(62);
    Some(((x >> shift) as i64, (y >> shift) as i64))
}

/// The matrix `[a, b, c, d]` of the steps that the leading words are sure of; `None` when there is none.
fn euclid_steps(mut x: i64, mut y: i64) -> Option<[i64; 4]> {
    let [mut a, mut b, mut c, mut d] = [1, 0, 0, 1];
    while y + c != 0 && y + d != 0 {
        let quotient = (x + a) / (y + c);
        if quotient != (x + b) / (y + d) {
            break;
        }
        (a, c) = (c, a - quotient * c);
        (b, d) = (d, b - quotient * d);
        (x, y) = (y, x - quotient * y);
    }
    (b != 0).then_some([a, b, c, d])
}

/// Replaces the numbers by `a left + b right` and `c left + d right`, neither of them negative.
fn apply([a, b, c, d]: [i64; 4], left: &mut Vec<u64>, right: &mut Vec<u64>) {
    // A multiple of the base keeps what is divided above zero.
    const OFFSET: i64 = 1 << 62;
    let (mut upper, mut lower) = (0_i64, 0_i64);
    let next = |sum: i128| {
        let above_zero = sum + i128::from(OFFSET) * i128::from(TERNARY);
        let (carry, digit) = Radix::<TERNARY>::DIVISOR.div_rem(above_zero as u128);
        (carry as i64 - OFFSET, digit)
    };
    for (left, right) in left.iter_mut().zip(right.iter_mut()) {
        let (x, y) = (i128::from(*left), i128::from(*right));
        (upper, *left) = next(i128::from(a) * x + i128::from(b) * y + i128::from(upper));
        (lower, *right) = next(i128::from(c) * x + i128::from(d) * y + i128::from(lower));
    }
    debug_assert_eq!((upper, lower), (0, 0));
    normalize(left);
    normalize(right);
}

#[cfg(test)]
mod tests {
    use super::super::{add, multiply};
    use super::*;

    /// Euclid's algorithm by long division alone.
    fn reference(mut left: Vec<u64>, mut right: Vec<u64>) -> Vec<u64> {
        while !right.is_empty() {
            let (_, remainder) = div_rem::<TERNARY>(&left, &right);
            left = std::mem::replace(&mut right, remainder);
        }
        left
    }

    #[test]
    fn fibonacci_numbers_have_the_divisor_of_their_indices() {
        // Every quotient is 1: the most steps a number of this length can take.
        let mut numbers: Vec<Vec<u64>> = vec![vec![], vec![1]];
        for index in 2..1_501 {
            numbers.push(add::<TERNARY>(&numbers[index - 1], &numbers[index - 2]));
        }
        assert_eq!(gcd(numbers[1_500].clone(), numbers[1_499].clone()), [1]);
        assert_eq!(
            gcd(numbers[1_000].clone(), numbers[1_500].clone()),
            numbers[500]
        );
    }

    #[test]
    fn divisors_are_those_of_long_division() {
        for seed in 1..200_u64 {
            let digits = |length: u64, salt: u64| -> Vec<u64> {
                (1..=length)
                    .map(|index| {
                        let digit = (index * seed + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                        [digit % TERNARY, 0, 1, TERNARY - 1][(digit >> 60).min(3) as usize]
                    })
                    .chain([seed])
                    .collect()
            };
            let common = digits(seed % 5, 3);
            let left = multiply::<TERNARY>(&digits(seed % 11, 1), &common);
            let right = multiply::<TERNARY>(&digits(seed % 7 + seed % 4, 2), &common);
            let [left, right] = [left, right].map(|mut number| {
                normalize(&mut number);
                number
            });
            assert_eq!(
                gcd(left.clone(), right.clone()),
                reference(left, right),
                "seed {seed}"
            );
        }
    }
}
