//! Counter-based random numbers for stochastic rounding: a function of seed and index, so that no order, layout or
//! thread count matters. Only 32-bit unsigned operations, so that a GPU repeats it.

/// A seed of stochastic rounding, mixed once for a whole matrix: `key0` and `key1` of [`stochastic_uniform`], for kernels that
/// draw the same numbers elsewhere (on a GPU).
#[derive(Clone, Copy, Debug)]
pub struct StochasticKey {
    low: u32,
    high: u32,
}

impl StochasticKey {
    /// The key of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let low = mix(seed as u32 ^ 0x9e37_79b9);
        let high = mix((seed >> 32) as u32 ^ low);
        Self { low, high }
    }

    /// `key0`, which meets the low half of an index.
    #[must_use]
    pub fn low(self) -> u32 {
        self.low
    }

    /// What the high half of an index contributes: `mix(hi(index) ^ key1)`.
    #[inline(always)]
    #[must_use]
    pub fn high(self, index: u64) -> u32 {
        mix((index >> 32) as u32 ^ self.high)
    }

    /// 24 random bits as a fraction of 1, for the low half of an index and the contribution of the high one.
    #[inline(always)]
    pub(super) fn uniform_at(self, low: u32, high: u32) -> f32 {
        Self::fraction(Self::finish(self.start(low), high))
    }

    /// What the low half of an index contributes.
    #[inline(always)]
    pub(super) fn start(self, low: u32) -> u32 {
        mix(low ^ self.low)
    }

    /// The random word of an index whose halves contribute these.
    #[inline(always)]
    pub(super) fn finish(low: u32, high: u32) -> u32 {
        mix(low ^ high)
    }

    /// The 24 upper bits of a random word as a fraction of 1.
    #[inline(always)]
    pub(super) fn fraction(word: u32) -> f32 {
        // Signed, as vector units convert it.
        (word >> 8) as i32 as f32 * (1.0 / 16_777_216.0)
    }
}

/// A bijective 32-bit mixer: lowbias32 of Chris Wellons' hash prospector.
#[inline(always)]
fn mix(mut word: u32) -> u32 {
    word ^= word >> 16;
    word = word.wrapping_mul(0x7feb_352d);
    word ^= word >> 15;
    word = word.wrapping_mul(0x846c_a68b);
    word ^ (word >> 16)
}

/// The random number in 0..1 (a multiple of 2^-24) that stochastic rounding compares with a weight's probability.
///
/// `index` is the weight's index in `[out, in]` order, whatever the memory layout: `row * columns + column`. With all
/// arithmetic in wrapping u32, `lo` and `hi` the halves of a u64, and
///
/// ```text
/// mix(x):  x ^= x >> 16;  x *= 0x7feb352d;  x ^= x >> 15;  x *= 0x846ca68b;  x ^= x >> 16
/// key0   = mix(lo(seed) ^ 0x9e3779b9)
/// key1   = mix(hi(seed) ^ key0)
/// word   = mix(mix(lo(index) ^ key0) ^ mix(hi(index) ^ key1))
/// result = (word >> 8) / 2^24
/// ```
#[must_use]
pub fn stochastic_uniform(seed: u64, index: u64) -> f32 {
    let key = StochasticKey::new(seed);
    key.uniform_at(index as u32, key.high(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_fixed() {
        // From the documented formula, computed apart (Python integers).
        let inputs = [
            (0, 0),
            (0, 1),
            (1, 0),
            (81, 123_456_789),
            (1 << 32, 0),
            (7, 1 << 32),
            (u64::MAX, u64::MAX),
        ];
        let words =
            inputs.map(|(seed, index)| (stochastic_uniform(seed, index) * 16_777_216.0) as u32);
        assert_eq!(
            words,
            [
                11_929_036, 5_131_069, 5_658_052, 10_031_448, 1_134_815, 2_409_878, 6_988_652
            ]
        );
    }

    #[test]
    fn numbers_are_uniform_and_uncorrelated() {
        for seed in [0, 1, 1 << 32, 0x9e37_79b9] {
            let numbers: Vec<f64> = (0..100_000)
                .map(|index| f64::from(stochastic_uniform(seed, index)))
                .collect();
            let mut counts = [0_i32; 10];
            for number in &numbers {
                counts[(number * 10.0) as usize] += 1;
            }
            // Five standard deviations of a binomial of 100,000 draws at 0.1.
            assert!(
                counts.iter().all(|count| (count - 10_000).abs() < 475),
                "{counts:?}"
            );
            for lag in [1, 2, 64, 256, 4096] {
                let products = numbers
                    .iter()
                    .zip(&numbers[lag..])
                    .map(|(a, b)| (a - 0.5) * (b - 0.5));
                let correlation = 12.0 * products.sum::<f64>() / (numbers.len() - lag) as f64;
                assert!(correlation.abs() < 0.016, "lag {lag}: {correlation}");
            }
        }
    }
}
