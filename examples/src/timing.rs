//! How long something takes.

use std::time::Instant;

/// Microseconds of the fastest of a few calls.
///
/// # Errors
///
/// The first error of `call`.
pub fn microseconds<T, E>(mut call: impl FnMut() -> Result<T, E>) -> Result<f64, E> {
    let mut fastest = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        call()?;
        fastest = fastest.min(start.elapsed().as_secs_f64());
    }
    Ok(1e6 * fastest)
}
