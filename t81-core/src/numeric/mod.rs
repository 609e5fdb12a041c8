//! Exact integers over balanced ternary digits, and their bytes and texts.
//!
//! [`Limb`] is one word of 48 trits, [`BigInt`] an integer of any size. Both have one canonical form in bytes, in
//! decimal, in balanced ternary and in base 81; `serde` takes the decimal text for formats that people read and the bytes
//! for the others.
//!
//! ```
//! use t81_core::numeric::BigInt;
//!
//! let power = BigInt::from(3).pow(48);
//! let half: BigInt = "39883221538436254931680".parse()?;
//! assert_eq!(&half + &half + BigInt::from(1), power);
//!
//! let bytes = (half + BigInt::from(1)).to_bytes();
//! assert_eq!(bytes[..5], [0, 2, 0, 0, 0]);
//! assert_eq!(bytes[5..21], [0; 16]);
//! assert_eq!(bytes[21], 14);
//! assert_eq!(BigInt::from_bytes(&bytes)?.to_balanced_ternary(), format!("1{}", "T".repeat(48)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Representation
//!
//! The bytes of a [`BigInt`] are a stream of base-27 digits, three trits each, whatever limbs they are counted in. A
//! magnitude is therefore kept in base 3^39, 13 of those bytes in a machine word: a product of two words and a carry fit
//! 128 bits, as they do not in base 3^48, and words become bytes by a few multiplications and a table. On two cores of an
//! AMD EPYC, products of 1,000 decimal digits took 1.6 times as long as those of `num-bigint`, which works in base 2^64,
//! quotients 2.8 times and greatest common divisors 0.4 times, and a number went to bytes and back at 1.1 GB of them a
//! second; `docs/serialization.md` has the tables and the commands.

mod bigint;
mod error;
mod limb;
mod magnitude;
mod serialize;
mod text;
mod tryte;

pub use bigint::BigInt;
pub use error::{ArithmeticError, DecodeError, IntegerRangeError, ParseNumberError};
pub use limb::Limb;
