//! Trytes: bytes 0 to 26 that are digits of base 27, the least significant first, and the words they make up.
//!
//! Three balanced trits `t0 + 3 t1 + 9 t2` are kept as their value plus 13. A balanced number of n trytes is hence the
//! unsigned base-27 number of the same bytes less `(27^n - 1) / 2`.

use super::magnitude::TERNARY;

/// Trytes of a digit of a magnitude.
pub(super) const DIGIT_TRYTES: usize = 13;

/// The byte of three zero trits.
pub(super) const ZERO: u8 = 13;

/// The largest byte of three trits.
pub(super) const LARGEST: u8 = 26;

const POWER_6: u64 = 3_u64.pow(6);
const POWER_12: u64 = 3_u64.pow(12);
/// Three to the power of 24: the values of eight trytes.
pub(super) const POWER_24: u64 = 3_u64.pow(24);

/// Two trytes for each number below 27^2; the rest of the table spares the check of an index of ten bits.
const PAIRS: [u16; 1024] = {
    let mut pairs = [0; 1024];
    let mut value = 0;
    while value < POWER_6 as usize {
        pairs[value] = (value % 27 + (value / 27) * 256) as u16;
        value += 1;
    }
    pairs
};

/// The two trytes of a value below 3^6.
#[inline(always)]
fn split_two(value: u64) -> u16 {
    PAIRS[(value & 1023) as usize]
}

/// The value of eight trytes.
#[inline(always)]
pub(super) fn join_eight(trytes: u64) -> u64 {
    // The upper of two lanes is weighed 2^8, 2^16 and 2^32 times the lower already.
    let pairs = trytes - (256 - 27) * ((trytes >> 8) & 0x00ff_00ff_00ff_00ff);
    let fours = pairs - ((1 << 16) - POWER_6) * ((pairs >> 16) & 0x0000_ffff_0000_ffff);
    fours - ((1 << 32) - POWER_12) * (fours >> 32)
}

/// The eight trytes of a value below 3^24.
#[inline(always)]
pub(super) fn split_eight(value: u64) -> u64 {
    let four = |value: u64| {
        u64::from(split_two(value % POWER_6)) | u64::from(split_two(value / POWER_6)) << 16
    };
    four(value % POWER_12) | four(value / POWER_12) << 32
}

/// Index of the first byte above 26.
pub(super) fn first_invalid(bytes: &[u8]) -> Option<usize> {
    // The largest byte is found many at a time; where it lies matters only when it is too large.
    let largest = bytes.iter().fold(0, |largest, &byte| largest.max(byte));
    (largest > LARGEST).then(|| bytes.iter().position(|&byte| byte > LARGEST))?
}

/// The digit of 13 trytes.
#[inline(always)]
fn join_digit(trytes: &[u8; DIGIT_TRYTES]) -> u64 {
    let low = u64::from_le_bytes(*trytes.first_chunk().expect("13 bytes hold 8"));
    // The last eight bytes, less the three that the first eight have already.
    let high = u64::from_le_bytes(*trytes.last_chunk().expect("13 bytes hold 8")) >> 24;
    join_eight(low) + POWER_24 * join_eight(high)
}

/// Writes the 13 trytes of a digit.
///
/// The digit becomes a binary fraction of the base, and its trytes are what multiplication by 27 or 27^2 moves before the
/// point, the most significant first. The fraction of 64 bits has more than four values for each digit, so that one
/// between the digit's and the next one's is found without knowing it exactly.
#[inline(always)]
fn split_digit(digit: u64, trytes: &mut [u8; DIGIT_TRYTES]) {
    // 2^128 / 3^39 is 4.55 * 2^64. Rounding down twice loses less than two units.
    const RECIPROCAL: u128 = u128::MAX / TERNARY as u128;
    let part = (u128::from(digit) * (RECIPROCAL & u128::from(u64::MAX))) >> 64;
    let mut fraction = (RECIPROCAL >> 64) as u64 * digit + part as u64 + 2;
    let mut next = |factor: u64| {
        let product = u128::from(fraction) * u128::from(factor);
        fraction = product as u64;
        (product >> 64) as u64
    };
    trytes[12] = next(27) as u8;
    for index in [10, 8, 6, 4, 2, 0] {
        [trytes[index], trytes[index + 1]] = split_two(next(POWER_6)).to_le_bytes();
    }
}

/// Writes a magnitude's balanced trytes over `trytes`, which are [`ZERO`] before and at least 13 a digit and one more.
pub(super) fn write_balanced(magnitude: &[u64], trytes: &mut [u8]) {
    let mut carry = 0;
    let (chunks, _) = trytes.as_chunks_mut();
    for (&digit, trytes) in magnitude.iter().zip(chunks) {
        let biased = digit + TERNARY / 2 + carry;
        carry = u64::from(biased >= TERNARY);
        let biased = if carry == 1 { biased - TERNARY } else { biased };
        split_digit(biased, trytes);
    }
    if carry == 1 {
        trytes[magnitude.len() * DIGIT_TRYTES] = ZERO + 1;
    }
}

/// A magnitude's unsigned trytes, the leading zeros included.
pub(super) fn unsigned(magnitude: &[u64]) -> impl Iterator<Item = u8> {
    magnitude.iter().flat_map(|&digit| {
        let mut trytes = [0; DIGIT_TRYTES];
        split_digit(digit, &mut trytes);
        trytes
    })
}

/// The number of balanced trytes, none above 26: its digits with leading zeros, and whether it is below zero, in which
/// case the digits are those of its sum with a power of the base.
pub(super) fn read_balanced(trytes: &[u8]) -> (Vec<u64>, bool) {
    let (whole, rest) = trytes.as_chunks::<DIGIT_TRYTES>();
    let mut magnitude = Vec::with_capacity(whole.len() + 1);
    let mut borrow = 0;
    magnitude.extend(whole.iter().map(|trytes| {
        let digit;
        (digit, borrow) = unbias(join_digit(trytes), borrow);
        digit
    }));
    if !rest.is_empty() {
        let mut last = [ZERO; DIGIT_TRYTES];
        last[..rest.len()].copy_from_slice(rest);
        let digit;
        (digit, borrow) = unbias(join_digit(&last), borrow);
        magnitude.push(digit);
    }
    (magnitude, borrow == 1)
}

/// Takes the bias and a borrow from a digit, and gives the next borrow.
#[inline(always)]
fn unbias(biased: u64, borrow: u64) -> (u64, u64) {
    let digit = biased.wrapping_sub(TERNARY / 2 + borrow);
    let borrow = digit >> 63;
    (
        digit.wrapping_add(if borrow == 1 { TERNARY } else { 0 }),
        borrow,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_trytes_join_and_split() {
        for value in [
            0,
            1,
            26,
            27,
            728,
            729,
            POWER_12 - 1,
            POWER_12,
            POWER_24 / 2,
            POWER_24 - 1,
        ] {
            let trytes = split_eight(value);
            let mut rest = value;
            for tryte in trytes.to_le_bytes() {
                assert_eq!(u64::from(tryte), rest % 27, "{value}");
                rest /= 27;
            }
            assert_eq!(join_eight(trytes), value);
        }
    }

    #[test]
    fn digits_split_at_every_power() {
        let powers = (0..39).map(|power| 3_u64.pow(power));
        let digits = powers.flat_map(|power| [power - 1, power, power + 1, TERNARY - power]);
        for digit in digits.chain(
            (0..10_000).map(|index: u64| index.wrapping_mul(0x9e37_79b9_7f4a_7c15) % TERNARY),
        ) {
            let mut trytes = [0; DIGIT_TRYTES];
            split_digit(digit, &mut trytes);
            let mut rest = digit;
            for tryte in trytes {
                assert_eq!(u64::from(tryte), rest % 27, "{digit}");
                rest /= 27;
            }
            assert_eq!(join_digit(&trytes), digit);
        }
    }

    #[test]
    fn the_first_byte_above_26_is_found() {
        assert_eq!(first_invalid(&[26; 100]), None);
        assert_eq!(first_invalid(&[]), None);
        for byte in 27..=255 {
            let mut bytes = [26; 100];
            bytes[77] = byte;
            bytes[99] = 255;
            assert_eq!(first_invalid(&bytes), Some(77));
        }
    }

    #[test]
    fn balanced_trytes_keep_the_magnitude() {
        for magnitude in [
            vec![],
            vec![1],
            vec![TERNARY / 2],
            vec![TERNARY / 2 + 1],
            vec![TERNARY - 1],
            vec![TERNARY / 2, TERNARY / 2],
            vec![TERNARY - 1, 0, TERNARY - 1],
        ] {
            let mut trytes = vec![ZERO; magnitude.len() * DIGIT_TRYTES + 1];
            write_balanced(&magnitude, &mut trytes);
            let (mut read, negative) = read_balanced(&trytes);
            assert!(!negative);
            assert_eq!(read.pop(), Some(0));
            assert_eq!(read, magnitude);
        }
        assert_eq!(read_balanced(&[12]), (vec![TERNARY - 1], true));
    }
}
