//! TQ1_0: `qs: [u8; 48], qh: [u8; 4], d: f16`; a byte holds five base-3 digits `code + 1`, the first element most
//! significant.
//!
//! `qs[m]`, m < 32, holds elements `m + 32n`, n < 5; `qs[32 + m]`, m < 16, elements `160 + m + 16n`, n < 5; `qh[j]`
//! elements `240 + j + 4n`, n < 4, and a fifth digit 0. The number q < 243 of five digits is stored as
//! `ceil(q * 256 / 243)`: a fraction of 256 whose digits come out from the top by multiplication.

use half::f16;

use super::error::BlockFault;
use super::{pack, read_scale, spread};
use crate::vectorized::vectorized;

pub(super) const LEN: usize = 256;
pub(super) const BYTES: usize = 54;
const CODE_BYTES: usize = 52;
const POWERS: [u8; 5] = [1, 3, 9, 27, 81];

/// A run of bytes that hold the same number of digits: element `first + m + bytes * n` is digit n of byte m.
struct Run {
    bytes: usize,
    digits: usize,
    first: usize,
}

const RUNS: [Run; 3] = [
    Run {
        bytes: 32,
        digits: 5,
        first: 0,
    },
    Run {
        bytes: 16,
        digits: 5,
        first: 160,
    },
    Run {
        bytes: 4,
        digits: 4,
        first: 240,
    },
];

vectorized! {
    /// Writes a block of these codes.
    pub(super) fn encode(codes: &[u8], scale: f16, block: &mut [u8]) = encode_loop;
}

/// Four neighbouring bytes of a run have the digits of one byte of packed codes at each place: a sum of bytes in a word.
#[inline(always)]
fn encode_loop(codes: &[u8], scale: f16, block: &mut [u8]) {
    let mut numbers = [0_u32; CODE_BYTES / 4];
    let mut first = 0;
    for run in &RUNS {
        let run_numbers = &mut numbers[first..][..run.bytes / 4];
        let codes = &codes[run.first / 4..];
        for n in 0..5 {
            if n < run.digits {
                let codes = &codes[n * run.bytes / 4..];
                for (number, &byte) in run_numbers.iter_mut().zip(codes) {
                    // At most 242 in each byte: nothing is carried.
                    *number = *number * 3 + spread(byte);
                }
            } else {
                run_numbers.iter_mut().for_each(|number| *number *= 3);
            }
        }
        first += run.bytes / 4;
    }
    let (qs, d) = block.split_at_mut(CODE_BYTES);
    for (bytes, number) in qs.as_chunks_mut::<4>().0.iter_mut().zip(numbers) {
        *bytes = number.to_le_bytes();
    }
    for byte in qs {
        *byte = stored(u16::from(*byte));
    }
    d.copy_from_slice(&scale.to_le_bytes());
}

pub(super) fn decode(block: &[u8], codes: &mut [u8]) -> Result<f16, BlockFault> {
    let (qs, qh) = block[..CODE_BYTES].split_at(48);
    let five = |&byte: &u8| !CANONICAL[usize::from(byte)];
    // The fifth digit of a `qh` byte must be 0.
    let four = |&byte: &u8| !CANONICAL[usize::from(byte)] || digit(byte, 4) != 0;
    let wrong = qs
        .iter()
        .position(five)
        .or_else(|| qh.iter().position(four).map(|j| 48 + j));
    if let Some(byte) = wrong {
        return Err(BlockFault::Code(byte, block[byte]));
    }
    pack(&values(block), codes);
    Ok(read_scale(block[52], block[53]))
}

pub(super) fn dequantize(block: &[u8], weights: &mut [f32]) {
    let scale = read_scale(block[52], block[53]).to_f32();
    for (weight, value) in weights.iter_mut().zip(values(block)) {
        *weight = (f32::from(value) - 1.0) * scale;
    }
}

/// The stored byte of a number below 243.
const fn stored(number: u16) -> u8 {
    (number * 256).div_ceil(243) as u8
}

/// Digit n of a stored byte; 0, 1 or 2 for any byte.
fn digit(byte: u8, n: usize) -> u8 {
    ((u16::from(byte.wrapping_mul(POWERS[n])) * 3) >> 8) as u8
}

/// The bytes that some five digits give; 13 of the 256 are not among them.
const CANONICAL: [bool; 256] = {
    let mut canonical = [false; 256];
    let mut number = 0;
    while number < 243 {
        canonical[stored(number) as usize] = true;
        number += 1;
    }
    canonical
};

/// The digits in element order.
fn values(block: &[u8]) -> [u8; LEN] {
    let mut values = [0; LEN];
    let mut bytes = &block[..CODE_BYTES];
    for run in &RUNS {
        let (run_bytes, rest) = bytes.split_at(run.bytes);
        bytes = rest;
        let elements = &mut values[run.first..][..run.bytes * run.digits];
        for (n, elements) in elements.chunks_exact_mut(run.bytes).enumerate() {
            for (element, &byte) in elements.iter_mut().zip(run_bytes) {
                *element = digit(byte, n);
            }
        }
    }
    values
}

pub(super) fn zero_codes(block: &[u8]) -> u32 {
    let (qs, qh) = block[..CODE_BYTES].split_at(48);
    let five = qs.iter().map(|&byte| u32::from(ONES[usize::from(byte)][1]));
    let four = qh.iter().map(|&byte| u32::from(ONES[usize::from(byte)][0]));
    five.chain(four).sum()
}

/// How many of the first four, and of all five, digits of a stored byte are 1.
const ONES: [[u8; 2]; 256] = {
    let mut ones = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut n = 0;
        while n < 5 {
            let fraction = (byte as u8).wrapping_mul(POWERS[n]) as u16;
            if (fraction * 3) >> 8 == 1 {
                ones[byte][1] += 1;
                if n < 4 {
                    ones[byte][0] += 1;
                }
            }
            n += 1;
        }
        byte += 1;
    }
    ones
};
