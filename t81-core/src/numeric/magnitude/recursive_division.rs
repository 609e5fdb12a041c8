//! Division at the cost of multiplication: a quotient found by a divisor's leading digits is put right by one product with
//! the others (Burnikel and Ziegler, "Fast recursive division", Max-Planck-Institut für Informatik, 1998).

use std::cmp::Ordering;

use super::add::{add_assign, subtract_assign};
use super::divide::divide_schoolbook;
use super::multiply::multiply_into;

/// From this length of a quotient on the recursion pays: 8 to 12 measured alike, 6 and less slower.
const RECURSION_DIGITS: usize = 10;

/// Divides by a divisor of two digits or more whose leading one is at least half the base.
///
/// The dividend has the digits of the divisor and the quotient together, the leading ones below the divisor; it becomes
/// the remainder.
pub(super) fn divide_scaled<const BASE: u64>(
    dividend: &mut [u64],
    divisor: &[u64],
    quotient: &mut [u64],
) {
    // A long quotient is found in pieces of the divisor's length, the leading one taking what is left over.
    let length = divisor.len();
    let mut scratch = Vec::new();
    let mut end = quotient.len();
    while end > 0 {
        let piece = (end - 1) % length + 1;
        let start = end - piece;
        divide_piece::<BASE>(
            &mut dividend[start..end + length],
            divisor,
            &mut quotient[start..end],
            &mut scratch,
        );
        end = start;
    }
}

/// The same for a quotient no longer than the divisor.
fn divide_piece<const BASE: u64>(
    dividend: &mut [u64],
    divisor: &[u64],
    quotient: &mut [u64],
    scratch: &mut Vec<u64>,
) {
    let half = quotient.len() / 2;
    let surplus = divisor.len() - quotient.len();
    if quotient.len() < RECURSION_DIGITS {
        divide_schoolbook::<BASE>(dividend, divisor, quotient);
    } else if surplus >= half {
        divide_by_head::<BASE>(dividend, divisor, quotient, surplus, scratch);
    } else {
        let (low, high) = quotient.split_at_mut(half);
        divide_by_head::<BASE>(&mut dividend[half..], divisor, high, half, scratch);
        let window = &mut dividend[..divisor.len() + half];
        divide_by_head::<BASE>(window, divisor, low, half, scratch);
    }
}

/// Divides by the divisor's digits from `cut` on, no fewer than the quotient's, then takes off what the digits before add.
fn divide_by_head<const BASE: u64>(
    dividend: &mut [u64],
    divisor: &[u64],
    quotient: &mut [u64],
    cut: usize,
    scratch: &mut Vec<u64>,
) {
    let (tail, head) = divisor.split_at(cut);
    let upper = &mut dividend[cut..];
    let leading = &mut upper[quotient.len()..];
    if leading.iter().rev().cmp(head.iter().rev()) == Ordering::Less {
        divide_piece::<BASE>(upper, head, quotient, scratch);
    } else {
        // The head divides to a digit more than the whole divisor does: the largest quotient is near enough. Its product
        // is the head shifted by the quotient's length, less the head.
        quotient.fill(BASE - 1);
        leading.fill(0);
        add_assign::<BASE>(upper, head);
    }
    scratch.resize(tail.len() + quotient.len(), 0);
    multiply_into::<BASE>(tail, quotient, scratch);
    let mut below_zero = subtract_assign::<BASE>(dividend, scratch);
    // Twice at most, since the divisor's leading digit is at least half the base.
    while below_zero {
        subtract_assign::<BASE>(quotient, &[1]);
        below_zero = !add_assign::<BASE>(dividend, divisor);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DECIMAL, TERNARY};
    use super::*;

    /// Digits of one of several shapes.
    fn digits<const BASE: u64>(length: usize, shape: u64) -> Vec<u64> {
        (0..length as u64)
            .map(|index| match shape {
                0 => BASE - 1,
                1 => 0,
                // Runs of both, which make estimates too large.
                2 => (index / 3 % 2) * (BASE - 1),
                3 => BASE / 2,
                _ => {
                    (index + shape)
                        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                        .rotate_left(17)
                        % BASE
                }
            })
            .collect()
    }

    fn quotients_are_those_of_the_schoolbook<const BASE: u64>() {
        let threshold = RECURSION_DIGITS;
        let lengths = [
            2,
            threshold - 1,
            threshold,
            threshold + 1,
            2 * threshold - 1,
            2 * threshold + 1,
            5 * threshold + 3,
        ];
        for length in lengths {
            for quotient_length in [1, 3].into_iter().chain(lengths) {
                for shapes in 0..36 {
                    let mut divisor = digits::<BASE>(length, shapes % 6);
                    divisor[length - 1] = match shapes / 6 {
                        0..3 => BASE / 2 + 1,
                        3 | 4 => BASE - 1,
                        _ => BASE / 2 + BASE / 5,
                    };
                    let mut dividend = digits::<BASE>(length + quotient_length, shapes / 6);
                    // The largest leading digits below the divisor, or less.
                    let leading = &mut dividend[quotient_length..];
                    if shapes % 2 == 0 {
                        leading.copy_from_slice(&divisor);
                        subtract_assign::<BASE>(leading, &[1]);
                    } else {
                        leading[length - 1] = BASE / 3;
                    }
                    let mut expected = (dividend.clone(), vec![0; quotient_length]);
                    divide_schoolbook::<BASE>(&mut expected.0, &divisor, &mut expected.1);
                    let mut quotient = vec![0; quotient_length];
                    divide_scaled::<BASE>(&mut dividend, &divisor, &mut quotient);
                    assert_eq!(
                        (dividend, quotient),
                        expected,
                        "{quotient_length} digits by {length}, shapes {shapes}"
                    );
                }
            }
        }
    }

    #[test]
    fn quotients_of_both_bases_are_those_of_the_schoolbook() {
        quotients_are_those_of_the_schoolbook::<TERNARY>();
        quotients_are_those_of_the_schoolbook::<DECIMAL>();
    }
}
