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

/// Two trytes for each number below 27^2.
const PAIRS: [u16; POWER_6 as usize] = {
    let mut pairs = [0; POWER_6 as usize];
    let mut value = 0;
    while value < pairs.len() {
        pairs[value] = (value % 27 + (value / 27) * 256) as u16;
        value += 1;
    }
    pairs
};

/// The value of eight trytes.
#[inline(always)]
pub(super) fn join_eight(trytes: u64) -> u64 {
    let pairs = (trytes & 0x00ff_00ff_00ff_00ff) + 27 * ((trytes >> 8) & 0x00ff_00ff_00ff_00ff);
    let fours = (pairs & 0x0000_ffff_0000_ffff) + POWER_6 * ((pairs >> 16) & 0x0000_ffff_0000_ffff);
    (fours & 0xffff_ffff) + POWER_12 * (fours >> 32)
}

/// The eight trytes of a value below 3^24.
#[inline(always)]
pub(super) fn split_eight(value: u64) -> u64 {
    let four = |value: u64| {
        u64::from(PAIRS[(value % POWER_6) as usize])
            | u64::from(PAIRS[(value / POWER_6) as usize]) << 16
    };
    four(value % POWER_12) | four(value / POWER_12) << 32
}

/// A bit for every byte above 26, in a word whose bytes are taken one by one.
#[inline(always)]
pub(super) fn invalid(trytes: u64) -> u64 {
    // 27 + 101 is the first sum with a high bit; the carry of a byte above 154 only reaches bytes of a word that is
    // invalid already.
    (trytes | trytes.wrapping_add(0x6565_6565_6565_6565)) & 0x8080_8080_8080_8080
}

/// The digit of 13 trytes, and a bit set for every byte above 26.
#[inline(always)]
fn join_digit(trytes: &[u8; DIGIT_TRYTES]) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m] = *trytes;
    let low = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let high = u64::from_le_bytes([f, g, h, i, j, k, l, m]) >> 24;
    let digit = join_eight(low).wrapping_add(POWER_24.wrapping_mul(join_eight(high)));
    (digit, invalid(low) | invalid(high))
}

/// The 13 trytes of a digit.
#[inline(always)]
fn split_digit(digit: u64) -> [u8; DIGIT_TRYTES] {
    let low = split_eight(digit % POWER_24);
    let high = split_eight(digit / POWER_24);
    let bytes = (u128::from(high) << 64 | u128::from(low)).to_le_bytes();
    *bytes.first_chunk().expect("16 bytes hold 13")
}

/// Writes a magnitude's balanced trytes over `trytes`, which are [`ZERO`] before and at least 13 a digit and one more.
pub(super) fn write_balanced(magnitude: &[u64], trytes: &mut [u8]) {
    let mut carry = 0;
    for (&digit, trytes) in magnitude.iter().zip(trytes.chunks_exact_mut(DIGIT_TRYTES)) {
        let biased = digit + TERNARY / 2 + carry;
        carry = u64::from(biased >= TERNARY);
        let biased = if carry == 1 { biased - TERNARY } else { biased };
        trytes.copy_from_slice(&split_digit(biased));
    }
    if carry == 1 {
        trytes[magnitude.len() * DIGIT_TRYTES] = ZERO + 1;
    }
}

/// A magnitude's unsigned trytes, the leading zeros included.
pub(super) fn unsigned(magnitude: &[u64]) -> impl Iterator<Item = u8> {
    magnitude.iter().flat_map(|&digit| split_digit(digit))
}

/// The number of balanced trytes: its digits with leading zeros, and whether they are to be taken less the base's power.
///
/// `None` when a byte is above 26.
pub(super) fn read_balanced(trytes: &[u8]) -> Option<(Vec<u64>, bool)> {
    let (whole, rest) = trytes.as_chunks::<DIGIT_TRYTES>();
    let mut magnitude = Vec::with_capacity(whole.len() + 1);
    let mut wrong = 0;
    let mut borrow = 0;
    let mut unbias = |trytes: &[u8; DIGIT_TRYTES]| {
        let (biased, invalid) = join_digit(trytes);
        wrong |= invalid;
        let digit = biased.wrapping_sub(TERNARY / 2 + borrow);
        borrow = digit >> 63;
        digit.wrapping_add(if borrow == 1 { TERNARY } else { 0 })
    };
    magnitude.extend(whole.iter().map(&mut unbias));
    if !rest.is_empty() {
        let mut last = [ZERO; DIGIT_TRYTES];
        last[..rest.len()].copy_from_slice(rest);
        magnitude.push(unbias(&last));
    }
    (wrong == 0).then_some((magnitude, borrow == 1))
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
    fn every_byte_above_26_is_found() {
        for position in 0..8 {
            for byte in 0..=255_u8 {
                let mut bytes = [26; 8];
                bytes[position] = byte;
                let found = invalid(u64::from_le_bytes(bytes)) != 0;
                assert_eq!(found, byte > 26, "{byte} at {position}");
            }
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
            let (mut read, negative) = read_balanced(&trytes).unwrap();
            assert!(!negative);
            assert_eq!(read.pop(), Some(0));
            assert_eq!(read, magnitude);
        }
        assert_eq!(read_balanced(&[27]), None);
        assert_eq!(read_balanced(&[12]), Some((vec![TERNARY - 1], true)));
    }
}
