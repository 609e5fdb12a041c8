//! Multiplication and division by powers of three.

use std::cmp::Ordering;

use super::{DIGIT_TRITS, TERNARY, add_small, multiply_small, normalize, significant};

/// The number times `3^trits`; it has no leading zeros.
pub(in crate::numeric) fn shift_left(digits: &[u64], trits: usize) -> Vec<u64> {
    if digits.is_empty() {
        return Vec::new();
    }
    let whole = trits / DIGIT_TRITS;
    let mut shifted = Vec::with_capacity(digits.len() + whole + 1);
    shifted.extend_from_slice(digits);
    let part = trits % DIGIT_TRITS;
    if part != 0 {
        multiply_small::<TERNARY>(&mut shifted, 3_u64.pow(part as u32), 0);
    }
    shifted.splice(0..0, std::iter::repeat_n(0, whole));
    shifted
}

/// The number divided by `3^trits`, to the nearest integer: there is no tie, since the power is odd.
pub(in crate::numeric) fn shift_right(digits: &[u64], trits: usize) -> Vec<u64> {
    let whole = trits / DIGIT_TRITS;
    if whole > digits.len() {
        return Vec::new();
    }
    let (dropped, kept) = digits.split_at(whole);
    let mut shifted = kept.to_vec();
    let part = 3_u64.pow((trits % DIGIT_TRITS) as u32);
    // The remainder's upper part is what the kept digits lose, its lower part the dropped digits.
    let mut lost = 0;
    for digit in shifted.iter_mut().rev() {
        let value = *digit;
        *digit = lost * (TERNARY / part) + value / part;
        lost = value % part;
    }
    normalize(&mut shifted);
    // The largest remainder that rounds down has every trit 1.
    let rounds_up = match lost.cmp(&(part / 2)) {
        Ordering::Equal => dropped
            .iter()
            .rev()
            .find(|&&digit| digit != TERNARY / 2)
            .is_some_and(|&digit| digit > TERNARY / 2),
        order => order == Ordering::Greater,
    };
    if rounds_up {
        add_small::<TERNARY>(&mut shifted, 1);
    }
    debug_assert_eq!(significant(&shifted).len(), shifted.len());
    shifted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifting_back_gives_the_number() {
        let digits = vec![7, TERNARY - 1, 0, 12_345];
        for trits in [0, 1, 38, 39, 40, 78, 100] {
            let shifted = shift_left(&digits, trits);
            assert_eq!(shift_right(&shifted, trits), digits, "{trits} trits");
        }
        assert_eq!(shift_left(&[5], 2), [45]);
        assert!(shift_left(&[], 1000).is_empty());
    }

    #[test]
    fn the_nearest_integer_is_found() {
        assert_eq!(shift_right(&[13], 3), Vec::<u64>::new());
        assert_eq!(shift_right(&[14], 3), [1]);
        assert_eq!(shift_right(&[40], 3), [1]);
        assert_eq!(shift_right(&[41], 3), [2]);
        let half = TERNARY / 2;
        assert!(shift_right(&[half, half], 78).is_empty());
        assert_eq!(shift_right(&[half + 1, half], 78), [1]);
        assert!(shift_right(&[half - 1, half], 78).is_empty());
        assert_eq!(shift_right(&[half + 1, half + TERNARY / 3], 78), [1]);
        assert_eq!(shift_right(&[TERNARY - 1, TERNARY - 1], 39), [0, 1]);
        assert!(shift_right(&[1], 1000).is_empty());
    }
}
