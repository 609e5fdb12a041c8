//! Sums, differences and comparison.

use std::cmp::Ordering;

/// One digit of a sum and its carry.
///
/// The complement of the base is added first, so that the machine's carry is the digit's.
#[inline(always)]
fn add_digits<const BASE: u64>(left: u64, right: u64, carry: bool) -> (u64, bool) {
    let (sum, carry) = left.wrapping_sub(BASE).carrying_add(right, carry);
    let digit = sum.wrapping_add(if carry { 0 } else { BASE });
    (digit, carry)
}

/// One digit of a difference and its borrow.
#[inline(always)]
fn subtract_digits<const BASE: u64>(left: u64, right: u64, borrow: bool) -> (u64, bool) {
    let (difference, borrow) = left.borrowing_sub(right, borrow);
    let digit = difference.wrapping_add(if borrow { BASE } else { 0 });
    (digit, borrow)
}

/// The sum; it has no leading zeros where the summands have none.
pub(in crate::numeric) fn add<const BASE: u64>(left: &[u64], right: &[u64]) -> Vec<u64> {
    let (long, short) = if left.len() >= right.len() {
        (left, right)
    } else {
        (right, left)
    };
    let mut sum = Vec::with_capacity(long.len() + 1);
    let mut carry = false;
    let (low, high) = long.split_at(short.len());
    sum.extend(low.iter().zip(short).map(|(&left, &right)| {
        let digit;
        (digit, carry) = add_digits::<BASE>(left, right, carry);
        digit
    }));
    sum.extend_from_slice(high);
    if carry && propagate_carry::<BASE>(&mut sum[low.len()..]) {
        sum.push(1);
    }
    sum
}

/// Adds `right` to the no shorter `left`; true when a carry leaves it.
pub(in crate::numeric) fn add_assign<const BASE: u64>(left: &mut [u64], right: &[u64]) -> bool {
    let (low, high) = left.split_at_mut(right.len());
    let mut carry = false;
    for (left, &right) in low.iter_mut().zip(right) {
        (*left, carry) = add_digits::<BASE>(*left, right, carry);
    }
    carry && propagate_carry::<BASE>(high)
}

/// Adds one; true when a carry leaves the digits.
fn propagate_carry<const BASE: u64>(digits: &mut [u64]) -> bool {
    for digit in digits {
        if *digit + 1 < BASE {
            *digit += 1;
            return false;
        }
        *digit = 0;
    }
    true
}

/// `left - right` for a `left` that is no smaller; leading zeros may remain.
pub(in crate::numeric) fn subtract<const BASE: u64>(left: &[u64], right: &[u64]) -> Vec<u64> {
    let (low, high) = left.split_at(right.len());
    let mut difference = Vec::with_capacity(left.len());
    let mut borrow = false;
    difference.extend(low.iter().zip(right).map(|(&left, &right)| {
        let digit;
        (digit, borrow) = subtract_digits::<BASE>(left, right, borrow);
        digit
    }));
    difference.extend_from_slice(high);
    if borrow {
        propagate_borrow::<BASE>(&mut difference[low.len()..]);
    }
    difference
}

/// Subtracts `right` from the no shorter `left`; true when a borrow leaves it.
pub(in crate::numeric) fn subtract_assign<const BASE: u64>(
    left: &mut [u64],
    right: &[u64],
) -> bool {
    let (low, high) = left.split_at_mut(right.len());
    let mut borrow = false;
    for (left, &right) in low.iter_mut().zip(right) {
        (*left, borrow) = subtract_digits::<BASE>(*left, right, borrow);
    }
    borrow && propagate_borrow::<BASE>(high)
}

/// Subtracts one; true when a borrow leaves the digits.
fn propagate_borrow<const BASE: u64>(digits: &mut [u64]) -> bool {
    for digit in digits {
        if *digit > 0 {
            *digit -= 1;
            return false;
        }
        *digit = BASE - 1;
    }
    true
}

/// Compares two numbers without leading zeros.
pub(in crate::numeric) fn compare(left: &[u64], right: &[u64]) -> Ordering {
    left.len()
        .cmp(&right.len())
        .then_with(|| left.iter().rev().cmp(right.iter().rev()))
}

/// `|left - right|` into `difference`, all of one length; true when `right` is the larger.
pub(super) fn absolute_difference<const BASE: u64>(
    left: &[u64],
    right: &[u64],
    difference: &mut [u64],
) -> bool {
    let swapped = left.iter().rev().lt(right.iter().rev());
    let (left, right) = if swapped {
        (right, left)
    } else {
        (left, right)
    };
    let mut borrow = false;
    for ((digit, &left), &right) in difference.iter_mut().zip(left).zip(right) {
        (*digit, borrow) = subtract_digits::<BASE>(left, right, borrow);
    }
    swapped
}
