//! Exact division. A GPU rounds a float quotient as it likes, so the digits of the quotient come from whole numbers.

use cubecl::prelude::*;

/// The leading binary digits of a quotient: `digits * 2^exponent`, plus something below the last digit if `rest` is not 0.
#[derive(CubeType)]
struct Quotient {
    digits: u32,
    exponent: i32,
    rest: u32,
}

/// `sum / count` to at least `digits` binary digits, for a finite `sum >= 0` and `1 <= count < 2^31`.
#[cube]
fn divide(sum: f32, count: u32, #[comptime] digits: u32) -> Quotient {
    let bits = u32::reinterpret(sum);
    let mut mantissa = bits & 0x007f_ffff;
    let mut exponent = i32::cast_from(bits >> 23) - 150;
    if exponent == -150 {
        exponent += 1;
    } else {
        mantissa |= 0x0080_0000;
    }
    let least = comptime!(1u32 << digits);
    let mut quotient = mantissa / count;
    let mut rest = mantissa % count;
    while quotient < least && mantissa != 0 {
        quotient *= 2;
        rest *= 2;
        exponent -= 1;
        if rest >= count {
            rest -= count;
            quotient += 1;
        }
    }
    Quotient {
        digits: quotient,
        exponent,
        rest,
    }
}

/// A whole number of steps of size `2^exponent`.
#[derive(CubeType)]
struct Rounded {
    steps: u32,
    exponent: i32,
}

/// Rounds to the nearest number of `precision` binary digits, ties to even, none smaller than a step of the numbers
/// around `2^lowest`.
#[cube]
fn round(quotient: Quotient, #[comptime] precision: i32, #[comptime] lowest: i32) -> Rounded {
    let mut leading = quotient.exponent + 31 - i32::cast_from(quotient.digits.leading_zeros());
    if leading < lowest {
        leading = lowest.runtime();
    }
    let exponent = leading - comptime!(precision - 1);
    let mut steps = 0u32;
    let shift = u32::cast_from(exponent - quotient.exponent);
    // The digits are fewer than 27: above that shift they are less than half a step.
    if quotient.digits > 0 && shift < 28 {
        steps = quotient.digits >> shift;
        let remainder = quotient.digits - (steps << shift);
        let half = 1u32 << (shift - 1);
        let above = remainder > half || (remainder == half && quotient.rest > 0);
        let tie = remainder == half && quotient.rest == 0;
        if above || (tie && steps & 1 == 1) {
            steps += 1;
        }
    }
    Rounded { steps, exponent }
}

/// The f32 nearest to `sum / count`.
#[cube]
pub(super) fn mean(sum: f32, count: u32) -> f32 {
    let rounded = round(divide(sum, count, 24u32), 24, -126);
    // The leading digit of the steps adds the one that the exponent field lacks.
    let mut bits = rounded.steps;
    if rounded.steps > 0 {
        bits += u32::cast_from(rounded.exponent + 149) << 23;
    }
    f32::reinterpret(bits)
}

/// The f16 nearest to `sum / count`, as an f32 (above 65504: not an f16); 0 for a count of 0.
#[cube]
pub(super) fn scale(sum: f32, count: u32) -> f32 {
    let mut divisor = count;
    if count == 0 {
        divisor = 1u32;
    }
    let rounded = round(divide(sum, divisor, 11u32), 11, -14);
    let mut value = 0.0f32;
    if rounded.steps > 0 {
        // Any step up to this one makes the scale too large for f16 already.
        let mut exponent = rounded.exponent;
        if exponent > 16 {
            exponent = 16i32;
        }
        let step = f32::reinterpret(u32::cast_from(exponent + 127) << 23);
        value = f32::cast_from(rounded.steps) * step;
    }
    value
}
