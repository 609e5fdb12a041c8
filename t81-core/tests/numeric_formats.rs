//! Exact integers in bytes and texts: the layout, what is refused, JSON, MessagePack and FlatBuffers.

use serde::{Deserialize, Serialize};
use t81_core::numeric::{BigInt, DecodeError, Limb, ParseNumberError};

#[test]
fn bytes_are_as_the_layout_says() {
    let mut one = vec![0, 1, 0, 0, 0, 0x0e];
    one.extend([0x0d; 15]);
    let mut minus_one = one.clone();
    minus_one[0] = 1;
    let mut above_half = vec![0, 2, 0, 0, 0];
    above_half.extend([0; 16]);
    above_half.push(0x0e);
    above_half.extend([0x0d; 15]);
    let half = BigInt::from(Limb::MAX);
    let mut largest_limb = vec![0, 1, 0, 0, 0];
    largest_limb.extend([26; 16]);
    for (number, bytes) in [
        (BigInt::from(0), vec![0; 5]),
        (BigInt::from(1), one),
        (BigInt::from(-1), minus_one),
        (half.clone(), largest_limb),
        (half + BigInt::from(1), above_half),
    ] {
        assert_eq!(number.to_bytes(), bytes, "{number}");
        assert_eq!(BigInt::from_bytes(&bytes), Ok(number));
    }
}

#[test]
fn other_bytes_are_refused() {
    let limb = |first: u8| {
        let mut limb = [13; 16];
        limb[0] = first;
        limb
    };
    let number = |sign: u8, count: u32, limbs: &[[u8; 16]]| {
        let mut bytes = vec![sign];
        bytes.extend(count.to_le_bytes());
        bytes.extend(limbs.concat());
        bytes
    };
    let length = |limbs, expected, actual| DecodeError::Length {
        limbs,
        expected,
        actual,
    };
    let cases = [
        (vec![], DecodeError::ShortHeader { actual: 0 }),
        (vec![0; 4], DecodeError::ShortHeader { actual: 4 }),
        (
            number(2, 1, &[limb(14)]),
            DecodeError::InvalidSign { value: 2 },
        ),
        (number(255, 0, &[]), DecodeError::InvalidSign { value: 255 }),
        (number(1, 0, &[]), DecodeError::NegativeZero),
        (number(0, 0, &[limb(14)]), length(0, 5, 21)),
        (number(0, 2, &[limb(14)]), length(2, 37, 21)),
        (
            number(0, u32::MAX, &[limb(14)]),
            length(u32::MAX, 5 + 16 * u64::from(u32::MAX), 21),
        ),
        (
            number(0, u32::MAX, &[]),
            length(u32::MAX, 5 + 16 * u64::from(u32::MAX), 5),
        ),
        (number(0, 1, &[limb(14)])[..20].to_vec(), length(1, 21, 20)),
        (number(0, 1, &[limb(13)]), DecodeError::LeadingZero),
        (number(1, 1, &[limb(13)]), DecodeError::LeadingZero),
        (
            number(0, 2, &[limb(14), limb(13)]),
            DecodeError::LeadingZero,
        ),
        (number(0, 1, &[limb(12)]), DecodeError::NegativeMagnitude),
        (
            number(1, 2, &[limb(14), limb(0)]),
            DecodeError::NegativeMagnitude,
        ),
        (
            number(0, 1, &[limb(27)]),
            DecodeError::InvalidTryte {
                index: 5,
                value: 27,
            },
        ),
        (
            number(0, 2, &[limb(13), limb(255)]),
            DecodeError::InvalidTryte {
                index: 21,
                value: 255,
            },
        ),
    ];
    for (bytes, error) in cases {
        assert_eq!(BigInt::from_bytes(&bytes), Err(error), "{bytes:?}");
    }
    for index in 0..32 {
        let mut bytes = number(0, 2, &[limb(14), limb(14)]);
        bytes[5 + index] = 27;
        let error = DecodeError::InvalidTryte {
            index: 5 + index,
            value: 27,
        };
        assert_eq!(BigInt::from_bytes(&bytes), Err(error));
    }
    assert_eq!(
        Limb::from_bytes(limb(27)),
        Err(DecodeError::InvalidTryte {
            index: 0,
            value: 27
        })
    );
    let mut trits = [0; 48];
    trits[47] = 2;
    assert_eq!(
        Limb::from_trits(trits),
        Err(DecodeError::InvalidTrit {
            index: 47,
            value: 2
        })
    );
}

#[test]
fn texts_are_as_the_documentation_says() {
    for (value, ternary, base81) in [
        (0, "0", "0"),
        (1, "1", "1"),
        (-1, "T", "-1"),
        (2, "1T", "2"),
        (40, "1111", "E"),
        (41, "1TTTT", "F"),
        (-5, "T11", "-5"),
        (70, "10TT1", "0+"),
        (-71, "T0101", "--"),
        (80, "1000T", "?"),
        (81, "10000", "10"),
        (71 * 81 + 1, "10T0T0001", "0-1"),
    ] {
        let number = BigInt::from(value);
        assert_eq!(number.to_base81(), base81);
        assert_eq!(BigInt::from_base81(base81), Ok(number.clone()));
        assert_eq!(number.to_balanced_ternary(), ternary);
        assert_eq!(BigInt::from_balanced_ternary(ternary), Ok(number));
    }
    assert_eq!(
        BigInt::from_base81("-0-1"),
        Ok(BigInt::from(-(71 * 81 + 1)))
    );
    assert_eq!("+0012".parse(), Ok(BigInt::from(12)));
    assert_eq!("-0".parse(), Ok(BigInt::from(0)));
    assert_eq!(format!("{:>6}", BigInt::from(-12)), "   -12");
    assert_eq!(format!("{:+}", BigInt::from(12)), "+12");

    let invalid = |position, found, base| ParseNumberError::InvalidDigit {
        position,
        found,
        base,
    };
    assert_eq!("".parse::<BigInt>(), Err(ParseNumberError::Empty));
    assert_eq!("-".parse::<BigInt>(), Err(ParseNumberError::Empty));
    assert_eq!("1 2".parse::<BigInt>(), Err(invalid(1, ' ', 10)));
    assert_eq!("--1".parse::<BigInt>(), Err(invalid(1, '-', 10)));
    assert_eq!("1é".parse::<BigInt>(), Err(invalid(1, 'é', 10)));
    assert_eq!("1é".parse::<Limb>(), Err(invalid(1, 'é', 10)));
    assert_eq!(
        BigInt::from_balanced_ternary(""),
        Err(ParseNumberError::Empty)
    );
    assert_eq!(
        BigInt::from_balanced_ternary("10-"),
        Err(invalid(2, '-', 3))
    );
    assert_eq!(BigInt::from_base81("-"), Err(ParseNumberError::Empty));
    assert_eq!(BigInt::from_base81("a~"), Err(invalid(1, '~', 81)));
    assert!(matches!(
        "39883221538436254931681".parse::<Limb>(),
        Err(ParseNumberError::OutOfRange(_))
    ));
    assert_eq!("39883221538436254931680".parse(), Ok(Limb::MAX));
    assert_eq!("-39883221538436254931680".parse(), Ok(Limb::MIN));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    name: String,
    number: BigInt,
    limb: Limb,
}

fn record() -> Record {
    Record {
        name: "largest".to_owned(),
        number: -(BigInt::from(Limb::MAX) + BigInt::from(1)),
        limb: Limb::from(-7),
    }
}

#[test]
fn json_holds_decimal_text() {
    let json = serde_json::to_string(&record()).unwrap();
    assert_eq!(
        json,
        r#"{"name":"largest","number":"-39883221538436254931681","limb":"-7"}"#
    );
    assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record());
    let error = serde_json::from_str::<BigInt>(r#""12x""#).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("'x' at byte 2 is no digit of base 10"),
        "{error}"
    );
    assert!(serde_json::from_str::<BigInt>("12").is_err());
}

#[test]
fn messagepack_holds_the_bytes() {
    let number = record().number;
    let packed = rmp_serde::to_vec(&number).unwrap();
    // bin 8: its marker, the length, the bytes.
    assert_eq!(packed[..2], [0xc4, 37]);
    assert_eq!(packed[2..], number.to_bytes());
    assert_eq!(rmp_serde::from_slice::<BigInt>(&packed).unwrap(), number);

    let packed = rmp_serde::to_vec(&record()).unwrap();
    assert_eq!(rmp_serde::from_slice::<Record>(&packed).unwrap(), record());

    let hostile = [0xc4, 5, 0, 255, 255, 255, 255];
    let error = rmp_serde::from_slice::<BigInt>(&hostile).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("4294967295 limbs takes 68719476725 bytes, not 5"),
        "{error}"
    );
    assert!(rmp_serde::from_slice::<Limb>(&[0xc4, 1, 13]).is_err());
}

/// The one field of this schema's table, read as the format defines it; generated code does the same:
///
/// ```text
/// table BigInt { data:[ubyte]; }
/// root_type BigInt;
/// ```
fn flatbuffer_data(buffer: &[u8]) -> Result<&[u8], flatbuffers::InvalidFlatbuffer> {
    use flatbuffers::{ForwardsUOffset, Vector, Verifiable, Verifier, VerifierOptions};

    struct Table;

    impl Verifiable for Table {
        fn run_verifier(
            verifier: &mut Verifier<'_, '_>,
            position: usize,
        ) -> Result<(), flatbuffers::InvalidFlatbuffer> {
            verifier
                .visit_table(position)?
                .visit_field::<ForwardsUOffset<Vector<'_, u8>>>("data", DATA, true)?
                .finish();
            Ok(())
        }
    }

    let options = VerifierOptions::default();
    let mut verifier = Verifier::new(&options, buffer);
    ForwardsUOffset::<Table>::run_verifier(&mut verifier, 0)?;

    let word = |position: usize| u32::from_le_bytes(*buffer[position..].first_chunk().unwrap());
    let table = word(0) as usize;
    let fields = (table as i64 - i64::from(word(table) as i32)) as usize;
    let field = u16::from_le_bytes(*buffer[fields + usize::from(DATA)..].first_chunk().unwrap());
    let offset = table + usize::from(field);
    let vector = offset + word(offset) as usize;
    Ok(&buffer[vector + 4..][..word(vector) as usize])
}

/// Where a table's first field is found among the offsets.
const DATA: u16 = 4;

#[test]
fn flatbuffers_hold_the_bytes() {
    use flatbuffers::FlatBufferBuilder;

    let number = record().number;
    let mut builder = FlatBufferBuilder::new();
    let data = builder.create_vector(&number.to_bytes());
    let table = builder.start_table();
    builder.push_slot_always(DATA, data);
    let table = builder.end_table(table);
    builder.finish(table, None);

    let buffer = builder.finished_data();
    let data = flatbuffer_data(buffer).unwrap();
    assert_eq!(data, number.to_bytes());
    assert_eq!(BigInt::from_bytes(data), Ok(number));
    assert!(flatbuffer_data(&buffer[..buffer.len() - 9]).is_err());
}
