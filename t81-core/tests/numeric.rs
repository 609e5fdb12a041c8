//! Exact integers agree with those of `num-bigint`.

use num_bigint::{BigInt as Reference, Sign};
use proptest::prelude::*;
use t81_core::numeric::{ArithmeticError, BigInt, DecodeError, Limb};

/// Three to the power of 48.
fn limb_base() -> Reference {
    Reference::from(3).pow(48)
}

/// Carries a number over by the byte layout, digit by digit as it is defined and apart from the library's own code.
fn from_reference(number: &Reference) -> BigInt {
    let base = limb_base();
    let half = &base / 2;
    let mut rest = Reference::from(number.magnitude().clone());
    let mut limbs: Vec<u8> = Vec::new();
    while rest.sign() != Sign::NoSign {
        let mut digit: Reference = &rest % &base;
        rest /= &base;
        if digit > half {
            digit -= &base;
            rest += 1;
        }
        let mut biased = digit + &half;
        for _ in 0..16 {
            limbs.push(u8::try_from(&biased % 27_u8).unwrap());
            biased /= 27;
        }
    }
    let mut bytes = vec![u8::from(number.sign() == Sign::Minus)];
    bytes.extend((limbs.len() as u32 / 16).to_le_bytes());
    bytes.extend(limbs);
    let ours = BigInt::from_bytes(&bytes).unwrap();
    assert_eq!(ours.to_bytes(), bytes);
    ours
}

/// Carries a number over by the definition of the limbs.
fn to_reference(number: &BigInt) -> Reference {
    let base = limb_base();
    number
        .to_limbs()
        .iter()
        .rev()
        .fold(Reference::ZERO, |sum, limb| sum * &base + limb.value())
}

/// Numbers of every shape: small ones, around the powers of three and of the limbs, runs of equal trits, random ones up
/// to far above the length where Karatsuba's recursion begins.
fn numbers() -> impl Strategy<Value = Reference> {
    let magnitude = prop_oneof![
        (0_u64..100).prop_map(Reference::from),
        any::<u128>().prop_map(Reference::from),
        (0_u32..500, -2_i32..=2).prop_map(|(power, off)| Reference::from(3).pow(power) + off),
        (1_u32..20, -2_i32..=2)
            .prop_map(|(limbs, off)| { (Reference::from(3).pow(48 * limbs) + 1) / 2 + off }),
        (0_u32..300, 0_u32..300)
            .prop_map(|(high, low)| { Reference::from(3).pow(high) - Reference::from(3).pow(low) }),
        prop::collection::vec(any::<u32>(), 0..60)
            .prop_map(|words| Reference::from_slice(Sign::Plus, &words)),
        prop::collection::vec(any::<u32>(), 0..600)
            .prop_map(|words| Reference::from_slice(Sign::Plus, &words)),
    ];
    (magnitude, any::<bool>())
        .prop_map(|(number, negative)| if negative { -number } else { number })
}

/// Numbers by their digits in base 3^39, in which the library computes: runs of zeros and of the largest digit, halves of the
/// base, lengths up to several times those at which division and multiplication begin to recurse.
fn digit_runs(lengths: std::ops::Range<usize>) -> impl Strategy<Value = Reference> {
    let base = 3_u64.pow(39);
    let digit = prop_oneof![
        3 => Just(0),
        3 => Just(base - 1),
        1 => Just(1),
        1 => Just(base / 2),
        1 => Just(base / 2 + 1),
        3 => 0..base,
    ];
    let run = (digit, 1_usize..12);
    (prop::collection::vec(run, 1..40), lengths).prop_map(move |(runs, length)| {
        let digits = runs
            .iter()
            .flat_map(|&(digit, count)| std::iter::repeat_n(digit, count));
        digits
            .cycle()
            .take(length)
            .fold(Reference::ZERO, |sum, digit| sum * base + digit)
    })
}

/// Rounds `number / 3^trits` to the nearest integer.
fn nearest(number: &Reference, trits: u32) -> Reference {
    let power = Reference::from(3).pow(trits);
    let shifted = number + &power / 2;
    let remainder = ((&shifted % &power) + &power) % &power;
    (shifted - remainder) / power
}

fn greatest_common_divisor(left: &Reference, right: &Reference) -> Reference {
    let (mut left, mut right) = (left.clone(), right.clone());
    while right.sign() != Sign::NoSign {
        (left, right) = (right.clone(), left % right);
    }
    Reference::from(left.magnitude().clone())
}

/// Balanced trits, least significant first.
fn trits(number: &Reference) -> Vec<i8> {
    let mut rest = number.clone();
    let mut trits = Vec::new();
    while rest.sign() != Sign::NoSign {
        let remainder = i8::try_from(&rest % 3).unwrap();
        let trit = match remainder {
            2 => -1,
            -2 => 1,
            trit => trit,
        };
        rest = (rest - trit) / 3;
        trits.push(trit);
    }
    trits
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arithmetic_agrees_with_num_bigint(left in numbers(), right in numbers()) {
        let (a, b) = (from_reference(&left), from_reference(&right));
        prop_assert_eq!(to_reference(&a), left.clone());
        prop_assert_eq!(to_reference(&(&a + &b)), &left + &right);
        prop_assert_eq!(to_reference(&(&a - &b)), &left - &right);
        prop_assert_eq!(to_reference(&(&a * &b)), &left * &right);
        prop_assert_eq!(a.cmp(&b), left.cmp(&right));
        prop_assert_eq!(a == b, left == right);
        let mut sum = a.clone();
        sum += &b;
        prop_assert_eq!(&sum, &(&b + &a));
        sum -= &b;
        prop_assert_eq!(&sum, &a);
        prop_assert_eq!(to_reference(&-&a), -&left);
        prop_assert_eq!(to_reference(&a.abs()), Reference::from(left.magnitude().clone()));
        if right.sign() == Sign::NoSign {
            prop_assert_eq!(a.checked_div_rem(&b), None);
        } else {
            prop_assert_eq!(to_reference(&(&a / &b)), &left / &right);
            prop_assert_eq!(to_reference(&(&a % &b)), &left % &right);
        }
    }

    #[test]
    fn products_divide_back(left in numbers(), right in numbers(), off in -1_i32..=1) {
        // Dividends around a multiple of the divisor: quotient digits at their extremes.
        let dividend = &left * &right + off;
        if right.sign() != Sign::NoSign {
            let (quotient, remainder) = from_reference(&dividend)
                .checked_div_rem(&from_reference(&right))
                .unwrap();
            prop_assert_eq!(to_reference(&quotient), &dividend / &right);
            prop_assert_eq!(to_reference(&remainder), &dividend % &right);
        }
    }

    #[test]
    fn long_quotients_and_remainders_agree_with_num_bigint(
        dividend in digit_runs(0..260),
        divisor in digit_runs(1..130),
        quotient in digit_runs(0..130),
        off in -1_i32..=1,
    ) {
        prop_assume!(divisor.sign() != Sign::NoSign);
        // Any dividend, and one around a multiple of the divisor.
        for dividend in [dividend, &divisor * &quotient + off] {
            let (quotient, remainder) = from_reference(&dividend)
                .checked_div_rem(&from_reference(&divisor))
                .unwrap();
            prop_assert_eq!(to_reference(&quotient), &dividend / &divisor);
            prop_assert_eq!(to_reference(&remainder), &dividend % &divisor);
        }
    }

    #[test]
    fn shifts_round_to_the_nearest(number in numbers(), by in 0_u32..400) {
        let ours = from_reference(&number);
        prop_assert_eq!(to_reference(&(&ours << by as usize)), &number * Reference::from(3).pow(by));
        prop_assert_eq!(to_reference(&(&ours >> by as usize)), nearest(&number, by));
    }

    #[test]
    fn texts_read_back_and_agree(number in numbers()) {
        let ours = from_reference(&number);
        let decimal = number.to_string();
        prop_assert_eq!(ours.to_string(), decimal.clone());
        prop_assert_eq!(decimal.parse::<BigInt>(), Ok(ours.clone()));

        let mut ternary: String = trits(&number).iter().rev().map(|trit| ['T', '0', '1'][(trit + 1) as usize]).collect();
        if ternary.is_empty() {
            ternary.push('0');
        }
        prop_assert_eq!(ours.to_balanced_ternary(), ternary.clone());
        prop_assert_eq!(BigInt::from_balanced_ternary(&ternary), Ok(ours.clone()));

        let base81 = ours.to_base81();
        prop_assert_eq!(BigInt::from_base81(&base81), Ok(ours.clone()));
        let alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&()*+-,./;:<=>?";
        let (sign, digits) = match base81.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, &base81[..]),
        };
        let value = digits.chars().fold(Reference::ZERO, |sum, digit| sum * 81 + alphabet.find(digit).unwrap());
        prop_assert_eq!(value * sign, number);
    }

    #[test]
    fn rust_integers_convert(number in any::<i128>(), shift in 0_u32..128) {
        let number = number >> shift;
        let ours = BigInt::from(number);
        prop_assert_eq!(ours.to_string(), number.to_string());
        prop_assert_eq!(i128::try_from(&ours), Ok(number));
        prop_assert_eq!(u128::try_from(&ours).ok(), u128::try_from(number).ok());
        prop_assert_eq!(i64::try_from(&ours).ok(), i64::try_from(number).ok());
        prop_assert_eq!(u64::try_from(&ours).ok(), u64::try_from(number).ok());
        prop_assert_eq!(i8::try_from(&ours).ok(), i8::try_from(number).ok());
        prop_assert_eq!(u16::try_from(&ours).ok(), u16::try_from(number).ok());
        prop_assert_eq!(Limb::try_from(&ours).ok(), Limb::try_from(number).ok());
        if let Ok(limb) = Limb::try_from(number) {
            prop_assert_eq!(BigInt::from(limb), ours);
            prop_assert_eq!(Limb::from_bytes(limb.to_bytes()), Ok(limb));
            prop_assert_eq!(Limb::from_trits(limb.to_trits()), Ok(limb));
            prop_assert_eq!(limb.to_string(), number.to_string());
            prop_assert_eq!(Limb::from_base81(&limb.to_base81()), Ok(limb));
            prop_assert_eq!(Limb::from_balanced_ternary(&limb.to_balanced_ternary()), Ok(limb));
            prop_assert_eq!(limb.to_string().parse(), Ok(limb));
        }
    }

    #[test]
    fn limbs_of_any_sign_add_up(values in prop::collection::vec(any::<i128>(), 0..12)) {
        let limbs: Vec<Limb> = values
            .iter()
            .map(|value| Limb::try_from(value % Limb::MAX.value()).unwrap())
            .collect();
        let base = limb_base();
        let expected = limbs.iter().rev().fold(Reference::ZERO, |sum, limb| sum * &base + limb.value());
        prop_assert_eq!(to_reference(&BigInt::from_limbs(&limbs)), expected);
    }

    #[test]
    fn wide_products_of_limbs_are_exact(left in any::<i128>(), right in any::<i128>(), shift in 51_u32..100) {
        let (left, right) = (left >> 51, right >> shift);
        let limbs = [left, right].map(|value| Limb::try_from(value % Limb::MAX.value()).unwrap());
        let (low, high) = limbs[0].widening_mul(limbs[1]);
        let expected = BigInt::from(limbs[0]) * BigInt::from(limbs[1]);
        prop_assert_eq!(BigInt::from_limbs(&[low, high]), expected.clone());
        prop_assert_eq!(limbs[0].checked_mul(limbs[1]), Limb::try_from(&expected).ok());
    }

    #[test]
    fn arbitrary_bytes_are_read_exactly_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(number) = BigInt::from_bytes(&bytes) {
            prop_assert_eq!(number.to_bytes(), bytes);
        }
    }

    #[test]
    fn arbitrary_limbs_are_read_exactly_or_refused(
        sign in 0_u8..2,
        trytes in prop::collection::vec(prop_oneof![Just(13), 0_u8..27], 0..60),
    ) {
        let limbs = trytes.len() / 16;
        let mut bytes = vec![sign, limbs as u8, 0, 0, 0];
        bytes.extend(&trytes[..16 * limbs]);
        let leading = trytes[..16 * limbs].rchunks(16).next().and_then(|limb| limb.iter().rev().find(|&&tryte| tryte != 13));
        match BigInt::from_bytes(&bytes) {
            Ok(number) => prop_assert_eq!(number.to_bytes(), bytes),
            Err(DecodeError::LeadingZero) => prop_assert!(limbs > 0 && leading.is_none()),
            Err(DecodeError::NegativeMagnitude) => prop_assert!(leading.is_some_and(|&tryte| tryte < 13)),
            Err(DecodeError::NegativeZero) => prop_assert!(limbs == 0 && sign == 1),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn powers_and_divisors_agree_with_num_bigint(base in numbers(), exponent in numbers(), modulus in numbers()) {
        let exponent = exponent % Reference::from(3).pow(200);
        let modulus = modulus % Reference::from(3).pow(400);
        let ours = from_reference(&base).pow_mod(&from_reference(&exponent), &from_reference(&modulus));
        if exponent.sign() == Sign::Minus {
            prop_assert_eq!(ours, Err(ArithmeticError::NegativeExponent));
        } else if modulus.sign() != Sign::Plus {
            prop_assert_eq!(ours, Err(ArithmeticError::NonPositiveModulus));
        } else {
            prop_assert_eq!(to_reference(&ours.unwrap()), base.modpow(&exponent, &modulus));
        }
        let (left, right) = (&base * &exponent, &modulus * &exponent);
        let divisor = from_reference(&left).gcd(&from_reference(&right));
        prop_assert_eq!(to_reference(&divisor), greatest_common_divisor(&left, &right));
    }
}

/// The numbers of tens of thousands of digits that proptest would take too long for.
#[test]
fn huge_numbers_agree_with_num_bigint() {
    let huge = |words: u32, seed: u32| {
        let words: Vec<u32> = (0..words)
            .map(|index| {
                (index + seed)
                    .wrapping_mul(0x9e37_79b9)
                    .rotate_left(index % 31)
                    ^ seed
            })
            .collect();
        Reference::from_slice(Sign::Plus, &words)
    };
    for (left, right) in [(3_000, 3_000), (5_000, 1_700), (4_001, 80), (9_000, 3)] {
        let (left, right) = (huge(left, 1), huge(right, 2));
        let (a, b): (BigInt, BigInt) = (
            left.to_string().parse().unwrap(),
            right.to_string().parse().unwrap(),
        );
        assert_eq!(to_reference(&a), left);
        assert_eq!(to_reference(&(&a * &b)), &left * &right);
        assert_eq!((&a * &b).to_string(), (&left * &right).to_string());
        let (quotient, remainder) = a.checked_div_rem(&b).unwrap();
        assert_eq!(to_reference(&quotient), &left / &right);
        assert_eq!(to_reference(&remainder), &left % &right);
    }
    let power = BigInt::from(3).pow(20_000);
    assert_eq!(power, BigInt::from(1) << 20_000);
    assert_eq!(
        power.to_string(),
        Reference::from(3).pow(20_000).to_string()
    );
}

#[test]
#[should_panic(expected = "a division by zero")]
fn the_operator_panics_on_division_by_zero() {
    let _ = BigInt::from(1) / BigInt::from(0);
}

#[test]
fn equal_numbers_hash_alike() {
    use std::collections::HashSet;
    let made: HashSet<BigInt> = [
        BigInt::from(9),
        BigInt::from(3) * BigInt::from(3),
        BigInt::from(10) - BigInt::from(1),
        BigInt::from(1) << 2,
        BigInt::from(83) >> 2,
        "009".parse().unwrap(),
    ]
    .into();
    assert_eq!(made, [BigInt::from(9)].into());
    assert!(BigInt::from(-10) < BigInt::from(-9) && BigInt::from(-9) < BigInt::default());
    assert_eq!(BigInt::from(5) - BigInt::from(5), BigInt::default());
    assert!(!(-BigInt::default()).is_negative());
}
