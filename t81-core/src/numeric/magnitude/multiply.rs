//! Products: column sums for short factors, Karatsuba's recursion above.

use super::add::{absolute_difference, add_assign, subtract_assign};
use super::divisor::Radix;

/// From this length of the shorter factor on Karatsuba's recursion pays: 24 and 32 measured slower, 40 to 64 alike.
pub(super) const KARATSUBA_DIGITS: usize = 56;

/// The product, `left.len() + right.len()` digits (none when a factor has none).
pub(in crate::numeric) fn multiply<const BASE: u64>(left: &[u64], right: &[u64]) -> Vec<u64> {
    if left.is_empty() || right.is_empty() {
        return Vec::new();
    }
    let mut product = vec![0; left.len() + right.len()];
    multiply_into::<BASE>(left, right, &mut product);
    product
}

/// Writes the product of two factors into as many digits as they have together.
pub(super) fn multiply_into<const BASE: u64>(left: &[u64], right: &[u64], product: &mut [u64]) {
    let (long, short) = if left.len() >= right.len() {
        (left, right)
    } else {
        (right, left)
    };
    if short.len() < KARATSUBA_DIGITS {
        return multiply_columns::<BASE>(long, short, product);
    }
    let mut scratch = vec![0; scratch_digits(short.len())];
    if long.len() == short.len() {
        return multiply_equal::<BASE>(long, short, product, &mut scratch);
    }
    // A long factor is cut into pieces of the short one's length.
    product.fill(0);
    let length = short.len();
    let mut piece_product = vec![0; length + short.len()];
    for (index, piece) in long.chunks(length).enumerate() {
        let piece_product = &mut piece_product[..piece.len() + short.len()];
        if piece.len() == short.len() {
            multiply_equal::<BASE>(piece, short, piece_product, &mut scratch);
        } else {
            multiply_into::<BASE>(short, piece, piece_product);
        }
        add_assign::<BASE>(&mut product[index * length..], piece_product);
    }
}

/// What [`multiply_equal`] needs for factors of this length, its recursion included.
fn scratch_digits(length: usize) -> usize {
    if length < KARATSUBA_DIGITS {
        return 0;
    }
    let half = length.div_ceil(2);
    4 * half + 1 + scratch_digits(half)
}

/// Karatsuba's product of two factors of one length, by the difference of the halves, which needs no extra digit.
fn multiply_equal<const BASE: u64>(
    left: &[u64],
    right: &[u64],
    product: &mut [u64],
    scratch: &mut [u64],
) {
    if left.len() < KARATSUBA_DIGITS {
        return multiply_columns::<BASE>(left, right, product);
    }
    let half = left.len().div_ceil(2);
    let (left_low, left_high) = left.split_at(half);
    let (right_low, right_high) = right.split_at(half);
    let (middle, scratch) = scratch.split_at_mut(2 * half + 1);
    let (cross, rest) = scratch.split_at_mut(2 * half);

    // The differences lie where the outer products will, and are used up before.
    let (differences, _) = product.split_at_mut(2 * half);
    let (left_difference, right_difference) = differences.split_at_mut(half);
    let left_swapped = difference_of_halves::<BASE>(left_low, left_high, left_difference);
    let right_swapped = difference_of_halves::<BASE>(right_low, right_high, right_difference);
    multiply_equal::<BASE>(left_difference, right_difference, cross, rest);

    let (low, high) = product.split_at_mut(2 * half);
    multiply_equal::<BASE>(left_low, right_low, low, rest);
    multiply_equal::<BASE>(left_high, right_high, high, rest);

    middle[..2 * half].copy_from_slice(low);
    middle[2 * half] = 0;
    add_assign::<BASE>(middle, high);
    if left_swapped == right_swapped {
        subtract_assign::<BASE>(middle, cross);
    } else {
        add_assign::<BASE>(middle, cross);
    }
    add_assign::<BASE>(&mut product[half..], middle);
}

/// `|low - high|`, where the high half may be one digit shorter; true when it is the larger.
fn difference_of_halves<const BASE: u64>(
    low: &[u64],
    high: &[u64],
    difference: &mut [u64],
) -> bool {
    if high.len() == low.len() {
        return absolute_difference::<BASE>(low, high, difference);
    }
    let last = high.len();
    if low[last] == 0 {
        difference[last] = 0;
        return absolute_difference::<BASE>(&low[..last], high, &mut difference[..last]);
    }
    difference.copy_from_slice(low);
    subtract_assign::<BASE>(difference, high);
    false
}

/// The schoolbook product, a column at a time, so that a digit costs one reduction and not one for each of its terms.
fn multiply_columns<const BASE: u64>(long: &[u64], short: &[u64], product: &mut [u64]) {
    let mut carry = 0_u128;
    let last = product.len() - 1;
    for (column, digit) in product[..last].iter_mut().enumerate() {
        let first = (column + 1).saturating_sub(short.len());
        let end = (column + 1).min(long.len());
        let left = &long[first..end];
        let right = &short[column + 1 - end..column + 1 - first];
        let (mut total, mut overflows) = (carry, 0_u64);
        for (&left, &right) in left.iter().zip(right.iter().rev()) {
            let overflow;
            (total, overflow) = total.overflowing_add(u128::from(left) * u128::from(right));
            overflows += u64::from(overflow);
        }
        let high = u128::from(overflows) << 64 | total >> 64;
        (carry, *digit) = Radix::<BASE>::DIVISOR.div_rem_wide(high, total as u64);
    }
    product[last] = carry as u64;
}

#[cfg(test)]
mod tests {
    use super::super::{DECIMAL, TERNARY};
    use super::*;

    /// The product by single digits, the slow way.
    fn reference<const BASE: u64>(left: &[u64], right: &[u64]) -> Vec<u64> {
        let mut product = vec![0; left.len() + right.len()];
        for (offset, &left) in left.iter().enumerate() {
            let mut carry = 0;
            for (index, &right) in right.iter().enumerate() {
                let sum = u128::from(left) * u128::from(right)
                    + u128::from(product[offset + index])
                    + carry;
                product[offset + index] = (sum % u128::from(BASE)) as u64;
                carry = sum / u128::from(BASE);
            }
            product[offset + right.len()] = carry as u64;
        }
        product
    }

    fn digits<const BASE: u64>(length: usize, seed: u64) -> Vec<u64> {
        (0..length as u64)
            .map(|index| match seed % 3 {
                // All digits the largest: every carry there is.
                0 => BASE - 1,
                // Halves that differ in their last digits only.
                1 => (index == 0).into(),
                _ => {
                    (index + seed)
                        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                        .rotate_left(17)
                        % BASE
                }
            })
            .collect()
    }

    fn products_match<const BASE: u64>() {
        let threshold = KARATSUBA_DIGITS;
        let lengths = [
            1,
            2,
            15,
            16,
            17,
            33,
            threshold - 1,
            threshold,
            threshold + 1,
            2 * threshold + 1,
            5 * threshold,
        ];
        for left_length in lengths {
            for right_length in lengths {
                for seed in 0..9 {
                    let left = digits::<BASE>(left_length, seed % 3);
                    let right = digits::<BASE>(right_length, 3 + seed / 3);
                    assert_eq!(
                        multiply::<BASE>(&left, &right),
                        reference::<BASE>(&left, &right),
                        "{left_length} x {right_length} digits, seed {seed}"
                    );
                }
            }
        }
    }

    #[test]
    fn products_of_both_bases_match_the_schoolbook() {
        products_match::<TERNARY>();
        products_match::<DECIMAL>();
    }

    #[test]
    fn no_digits_make_an_empty_product() {
        assert!(multiply::<TERNARY>(&[], &[1, 2]).is_empty());
    }
}
