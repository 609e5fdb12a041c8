//! Large integers to bytes and back.

use std::fmt;
use std::hint::black_box;

use serde::Serialize;
use t81_core::numeric::{BigInt, Limb};

use super::timing::Timing;
use crate::error::QatError;

/// Sign and limb count.
const HEADER: usize = 5;

/// Values of a byte of three balanced trits.
const TRYTES: u64 = 27;

/// A number, written and read back.
#[derive(Debug, Serialize)]
pub(super) struct RoundTrip {
    blob_bytes: usize,
    limbs: usize,
    limb_bytes: usize,
    to_bytes: Timing,
    from_bytes: Timing,
    to_bytes_gb_per_second: f64,
    from_bytes_gb_per_second: f64,
    round_trip_gb_per_second: f64,
}

/// Measures numbers of about these many bytes.
pub(super) fn measure(sizes: &[usize], seconds: f64) -> Result<Vec<RoundTrip>, QatError> {
    let one = |&bytes: &usize| {
        let limbs = bytes.div_ceil(Limb::BYTES);
        RoundTrip::of(limbs, seconds).map_err(QatError::benchmark("the serialization round trip"))
    };
    sizes.iter().map(one).collect()
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl RoundTrip {
    fn of(limbs: usize, seconds: f64) -> Result<Self, Failure> {
        let blob = blob(limbs)?;
        let number = BigInt::from_bytes(&blob)?;
        if number.to_bytes() != blob {
            return Err("the bytes read are not the bytes written".into());
        }
        let to_bytes = Timing::of(seconds, || {
            black_box(black_box(&number).to_bytes());
            Ok::<_, Failure>(())
        })?;
        let from_bytes = Timing::of(seconds, || {
            black_box(BigInt::from_bytes(black_box(&blob))?);
            Ok::<_, Failure>(())
        })?;
        let both = to_bytes.best_seconds + from_bytes.best_seconds;
        Ok(Self {
            blob_bytes: blob.len(),
            limbs,
            limb_bytes: Limb::BYTES,
            to_bytes_gb_per_second: to_bytes.giga_per_second(blob.len()),
            from_bytes_gb_per_second: from_bytes.giga_per_second(blob.len()),
            round_trip_gb_per_second: blob.len() as f64 / both / 1e9,
            to_bytes,
            from_bytes,
        })
    }
}

/// The bytes of a positive number without a pattern that arithmetic could use.
fn blob(limbs: usize) -> Result<Vec<u8>, Failure> {
    let mut blob = vec![0];
    blob.extend_from_slice(&u32::try_from(limbs)?.to_le_bytes());
    let mut state = 81_u64;
    blob.extend((0..limbs * Limb::BYTES).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((state >> 33) % TRYTES) as u8
    }));
    debug_assert_eq!(blob.len(), HEADER + limbs * Limb::BYTES);
    // Three trits of 1: the highest limb is above zero.
    if let Some(highest) = blob.last_mut() {
        *highest = TRYTES as u8 - 1;
    }
    Ok(blob)
}

impl fmt::Display for RoundTrip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "serialization, {} bytes: to_bytes {:.3} GB/s, from_bytes {:.3} GB/s, both {:.3} GB/s",
            self.blob_bytes,
            self.to_bytes_gb_per_second,
            self.from_bytes_gb_per_second,
            self.round_trip_gb_per_second
        )
    }
}
