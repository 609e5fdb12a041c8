//! Digits of the texts: decimal, balanced ternary, base 81.

use super::error::ParseNumberError;
use super::magnitude::{
    DECIMAL, DECIMAL_PLACES, DIGIT_TRITS, TERNARY, convert, normalize, significant,
};
use super::tryte::{self, LARGEST, ZERO};

/// The digits of base 81 in the order of their values.
const BASE_81: &[u8; 81] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&()*+-,./;:<=>?";

/// Digit values of bytes, 255 for those that are none.
const BASE_81_VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut value = 0;
    while value < BASE_81.len() {
        values[BASE_81[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// A sign and the text after it.
///
/// Signs are ASCII, so that the rest starts at byte 1 when there was one.
fn split_sign(text: &str) -> (bool, &str, usize) {
    if let Some(rest) = text.strip_prefix('-') {
        (true, rest, 1)
    } else if let Some(rest) = text.strip_prefix('+') {
        (false, rest, 1)
    } else {
        (false, text, 0)
    }
}

/// The error of the byte at `position`, which is no digit.
fn invalid_digit(text: &str, position: usize, base: u8) -> ParseNumberError {
    ParseNumberError::InvalidDigit {
        position,
        // Digits are ASCII: a byte that is none starts a character.
        found: text[position..].chars().next().unwrap_or_default(),
        base,
    }
}

/// A magnitude in decimal, without sign.
pub(super) fn format_decimal(magnitude: &[u64]) -> String {
    let digits = convert::<TERNARY, DECIMAL>(magnitude);
    let Some((leading, rest)) = digits.split_last() else {
        return "0".to_owned();
    };
    let mut text = leading.to_string();
    text.reserve(rest.len() * DECIMAL_PLACES);
    for &digit in rest.iter().rev() {
        let mut places = [b'0'; DECIMAL_PLACES];
        let mut value = digit;
        for place in places.iter_mut().rev() {
            *place += (value % 10) as u8;
            value /= 10;
        }
        text.extend(places.map(char::from));
    }
    text
}

/// Sign and magnitude of a decimal text.
pub(super) fn parse_decimal(text: &str) -> Result<(bool, Vec<u64>), ParseNumberError> {
    let (negative, digits, start) = split_sign(text);
    if digits.is_empty() {
        return Err(ParseNumberError::Empty);
    }
    if let Some(position) = digits.bytes().position(|byte| !byte.is_ascii_digit()) {
        return Err(invalid_digit(text, start + position, 10));
    }
    let decimal: Vec<u64> = digits
        .as_bytes()
        .rchunks(DECIMAL_PLACES)
        .map(|places| {
            places
                .iter()
                .fold(0, |value, &place| value * 10 + u64::from(place - b'0'))
        })
        .collect();
    Ok((negative, convert::<DECIMAL, TERNARY>(significant(&decimal))))
}

/// A number in balanced ternary: `T` is minus one.
pub(super) fn format_balanced(negative: bool, magnitude: &[u64]) -> String {
    let mut trytes = vec![ZERO; magnitude.len() * tryte::DIGIT_TRYTES + 1];
    tryte::write_balanced(magnitude, &mut trytes);
    let mut text = String::with_capacity(3 * trytes.len());
    for &tryte in trytes.iter().rev() {
        let tryte = if negative { LARGEST - tryte } else { tryte };
        for trit in [tryte / 9, tryte / 3 % 3, tryte % 3] {
            if !(text.is_empty() && trit == 1) {
                text.push(['T', '0', '1'][usize::from(trit)]);
            }
        }
    }
    if text.is_empty() {
        text.push('0');
    }
    text
}

/// Sign and magnitude of a text in balanced ternary.
pub(super) fn parse_balanced(text: &str) -> Result<(bool, Vec<u64>), ParseNumberError> {
    if text.is_empty() {
        return Err(ParseNumberError::Empty);
    }
    let trit = |byte| match byte {
        b'T' => Some(0),
        b'0' => Some(1),
        b'1' => Some(2),
        _ => None,
    };
    if let Some(position) = text.bytes().position(|byte| trit(byte).is_none()) {
        return Err(invalid_digit(text, position, 3));
    }
    let negative = text.trim_start_matches('0').starts_with('T');
    let mut trytes: Vec<u8> = text
        .as_bytes()
        .rchunks(3)
        .map(|trits| {
            let value = trits
                .iter()
                .fold(0, |value, &byte| value * 3 + trit(byte).unwrap_or_default());
            // Absent leading trits are zeros, which are kept as 1.
            value + [13, 12, 9, 0][trits.len()]
        })
        .collect();
    if negative {
        for tryte in &mut trytes {
            *tryte = LARGEST - *tryte;
        }
    }
    let (mut magnitude, _) = tryte::read_balanced(&trytes);
    normalize(&mut magnitude);
    Ok((negative, magnitude))
}

/// A number in base 81: a sign and unsigned digits.
///
/// A positive number whose first digit looks like a sign gets a zero before it.
pub(super) fn format_base81(negative: bool, magnitude: &[u64]) -> String {
    let mut trits = Vec::with_capacity(magnitude.len() * DIGIT_TRITS);
    for tryte in tryte::unsigned(magnitude) {
        trits.extend([tryte % 3, tryte / 3 % 3, tryte / 9]);
    }
    let digits: Vec<u8> = trits
        .chunks(4)
        .map(|trits| trits.iter().rev().fold(0, |value, &trit| value * 3 + trit))
        .collect();
    let leading = digits.iter().rposition(|&digit| digit != 0).unwrap_or(0);
    let characters = digits[..digits.len().min(leading + 1)]
        .iter()
        .rev()
        .map(|&digit| char::from(BASE_81[usize::from(digit)]));
    let mut text = String::with_capacity(digits.len() + 1);
    if negative {
        text.push('-');
    }
    text.extend(characters);
    if text.is_empty() || (!negative && text.starts_with(['+', '-'])) {
        text.insert(0, '0');
    }
    text
}

/// Sign and magnitude of a text in base 81.
pub(super) fn parse_base81(text: &str) -> Result<(bool, Vec<u64>), ParseNumberError> {
    let (negative, digits, start) = split_sign(text);
    if digits.is_empty() {
        return Err(ParseNumberError::Empty);
    }
    let value = |byte: u8| BASE_81_VALUES[usize::from(byte)];
    if let Some(position) = digits.bytes().position(|byte| value(byte) == u8::MAX) {
        return Err(invalid_digit(text, start + position, 81));
    }
    let trits: Vec<u8> = digits
        .bytes()
        .rev()
        .flat_map(|byte| {
            let value = value(byte);
            [value % 3, value / 3 % 3, value / 9 % 3, value / 27]
        })
        .collect();
    let mut magnitude: Vec<u64> = trits
        .chunks(DIGIT_TRITS)
        .map(|trits| {
            trits
                .iter()
                .rev()
                .fold(0, |value, &trit| value * 3 + u64::from(trit))
        })
        .collect();
    normalize(&mut magnitude);
    Ok((negative, magnitude))
}
