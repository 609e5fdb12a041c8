//! Quotients and remainders; long division is algorithm D of Knuth, The Art of Computer Programming, volume 2, section
//! 4.3.1, the base case of the recursion in [`recursive_division`](super::recursive_division).

use std::cmp::Ordering;

use super::divisor::{Divisor, Radix};
use super::recursive_division::divide_scaled;
use super::{add_assign, compare, multiply_small, normalize};

/// Quotient and remainder of two numbers without leading zeros; the divisor is not zero.
pub(in crate::numeric) fn div_rem<const BASE: u64>(
    dividend: &[u64],
    divisor: &[u64],
) -> (Vec<u64>, Vec<u64>) {
    if compare(dividend, divisor) == Ordering::Less {
        return (Vec::new(), dividend.to_vec());
    }
    if let &[divisor] = divisor {
        let mut quotient = dividend.to_vec();
        let remainder = divide_small::<BASE>(&mut quotient, divisor);
        normalize(&mut quotient);
        let remainder = if remainder == 0 {
            Vec::new()
        } else {
            vec![remainder]
        };
        return (quotient, remainder);
    }
    // With a leading digit of at least half the base an estimated quotient digit is at most two too large.
    let scale = BASE / (divisor[divisor.len() - 1] + 1);
    let mut scaled_divisor = divisor.to_vec();
    multiply_small::<BASE>(&mut scaled_divisor, scale, 0);
    let mut remainder = dividend.to_vec();
    multiply_small::<BASE>(&mut remainder, scale, 0);
    remainder.resize(dividend.len() + 1, 0);

    let mut quotient = vec![0; remainder.len() - divisor.len()];
    divide_scaled::<BASE>(&mut remainder, &scaled_divisor, &mut quotient);
    normalize(&mut quotient);
    normalize(&mut remainder);
    divide_small::<BASE>(&mut remainder, scale);
    normalize(&mut remainder);
    (quotient, remainder)
}

/// Divides in place by one digit and gives the remainder.
fn divide_small<const BASE: u64>(digits: &mut [u64], divisor: u64) -> u64 {
    let divisor = Divisor::new(divisor);
    let mut remainder = 0;
    for digit in digits.iter_mut().rev() {
        let value = u128::from(remainder) * u128::from(BASE) + u128::from(*digit);
        (*digit, remainder) = divisor.div_rem(value);
    }
    remainder
}

/// Long division by a divisor of two digits or more whose leading one is at least half the base.
///
/// The dividend has the digits of the divisor and the quotient together, the leading ones below the divisor; it becomes
/// the remainder.
pub(super) fn divide_schoolbook<const BASE: u64>(
    dividend: &mut [u64],
    divisor: &[u64],
    quotient: &mut [u64],
) {
    let length = divisor.len();
    let (first, second) = (divisor[length - 1], divisor[length - 2]);
    let leading = Divisor::new(first);
    for (index, quotient) in quotient.iter_mut().enumerate().rev() {
        let window = &mut dividend[index..=index + length];
        let head = u128::from(window[length]) * u128::from(BASE) + u128::from(window[length - 1]);
        let (mut estimate, mut rest) = if window[length] >= first {
            let estimate = BASE - 1;
            (estimate, head - u128::from(estimate) * u128::from(first))
        } else {
            let (estimate, rest) = leading.div_rem(head);
            (estimate, u128::from(rest))
        };
        while rest < u128::from(BASE)
            && u128::from(estimate) * u128::from(second)
                > rest * u128::from(BASE) + u128::from(window[length - 2])
        {
            estimate -= 1;
            rest += u128::from(first);
        }
        if subtract_multiple::<BASE>(window, divisor, estimate) {
            estimate -= 1;
            // The carry that leaves the window cancels the borrow that left it.
            add_assign::<BASE>(window, divisor);
        }
        *quotient = estimate;
    }
}

/// Subtracts `factor * subtrahend`; true when a borrow leaves the digits, which are one more than the subtrahend's.
fn subtract_multiple<const BASE: u64>(digits: &mut [u64], subtrahend: &[u64], factor: u64) -> bool {
    let (low, high) = digits.split_at_mut(subtrahend.len());
    // Products are divided without what carries into them, so that no division waits for the one before.
    let (mut carry, mut borrow) = (0, 0);
    for (digit, &subtrahend) in low.iter_mut().zip(subtrahend) {
        let product = u128::from(subtrahend) * u128::from(factor);
        let (upper, lower) = Radix::<BASE>::DIVISOR.div_rem(product);
        let mut difference = *digit as i64 - (lower + carry + borrow) as i64;
        borrow = 0;
        for _ in 0..2 {
            let below = difference < 0;
            difference += if below { BASE as i64 } else { 0 };
            borrow += u64::from(below);
        }
        *digit = difference as u64;
        carry = upper;
    }
    let (difference, borrowed) = high[0].overflowing_sub(carry + borrow);
    high[0] = difference.wrapping_add(if borrowed { BASE } else { 0 });
    borrowed
}

#[cfg(test)]
mod tests {
    use super::super::{TERNARY, add, multiply};
    use super::*;

    #[test]
    fn quotient_times_divisor_plus_remainder_is_the_dividend() {
        let shapes: Vec<Vec<u64>> = vec![
            vec![1],
            vec![TERNARY - 1],
            vec![0, 1],
            vec![TERNARY - 1, TERNARY - 1],
            vec![0, TERNARY / 2 + 1],
            vec![TERNARY - 1, 0, TERNARY / 2],
            vec![0, 0, 0, 1],
            vec![5, TERNARY - 1, 0, TERNARY - 1, 1],
            vec![TERNARY - 1; 7],
            (1..12)
                .map(|index: u64| index.wrapping_mul(0x9e37_79b9_7f4a_7c15) % TERNARY)
                .collect(),
        ];
        for dividend in &shapes {
            for divisor in &shapes {
                let (quotient, remainder) = div_rem::<TERNARY>(dividend, divisor);
                assert_eq!(compare(&remainder, divisor), Ordering::Less);
                let mut back = add::<TERNARY>(&multiply::<TERNARY>(&quotient, divisor), &remainder);
                normalize(&mut back);
                assert_eq!(&back, dividend, "divided by {divisor:?}");
            }
        }
    }

    #[test]
    fn an_estimate_that_is_too_large_is_corrected() {
        // The leading two digits divide to one more than the whole numbers do.
        let divisor = vec![TERNARY - 1, 0, TERNARY / 2 + 1];
        let dividend = vec![0, 0, 0, TERNARY / 2 + 1];
        let (quotient, remainder) = div_rem::<TERNARY>(&dividend, &divisor);
        assert_eq!(quotient, [TERNARY - 1]);
        let product = multiply::<TERNARY>(&quotient, &divisor);
        let mut back = add::<TERNARY>(&product, &remainder);
        normalize(&mut back);
        assert_eq!(back, dividend);
    }
}
