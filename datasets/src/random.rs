//! The crate's own random numbers: the same stream on every platform, in every release.
//!
//! SplitMix64 of Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (OOPSLA 2014), with the
//! finalizer of Stafford's variant 13.

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The SplitMix64 finalizer: a bijection of 64-bit words that scatters neighbouring inputs.
pub(crate) fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[derive(Clone, Debug)]
pub(crate) struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A generator of its own for every `(seed, stream)`: for one seed, no two streams start in the same state.
    pub(crate) fn stream(seed: u64, stream: u64) -> Self {
        Self::new(mix(mix(seed.wrapping_add(GOLDEN_GAMMA)) ^ stream))
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        mix(self.state)
    }

    /// A number in `0..bound`, or 0 for a bound of 0. The bias of the multiply-shift is below `bound / 2^64`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// A number in `low..=high`.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True once in `one_in` draws.
    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// `N` different items, in random order; `items` must hold at least `N`.
    pub(crate) fn distinct<T: Copy, const N: usize>(&mut self, items: &[T]) -> [T; N] {
        let mut chosen = [0; N];
        for position in 0..N {
            chosen[position] = loop {
                let candidate = self.below(items.len());
                if !chosen[..position].contains(&candidate) {
                    break candidate;
                }
            };
        }
        chosen.map(|index| items[index])
    }

    /// Fisher-Yates, from the last position down.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_published_stream() {
        // First outputs of the reference C implementation (Vigna, splitmix64.c) for the state 1234567.
        let mut random = SplitMix64::new(1_234_567);
        let outputs: Vec<u64> = (0..5).map(|_| random.next_u64()).collect();
        assert_eq!(
            outputs,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        );
    }

    #[test]
    fn below_stays_in_range_and_reaches_every_value() {
        let mut random = SplitMix64::new(3);
        let mut seen = [0_usize; 7];
        for _ in 0..7000 {
            seen[random.below(7)] += 1;
        }
        assert!(
            seen.iter().all(|&count| (850..1150).contains(&count)),
            "{seen:?}"
        );
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
    }

    #[test]
    fn distinct_items_differ() {
        let mut random = SplitMix64::new(4);
        for _ in 0..200 {
            let [first, second, third] = random.distinct(&[1, 2, 3]);
            assert_eq!(first + second + third, 6);
            assert!(first != second && second != third);
        }
    }

    #[test]
    fn streams_of_one_seed_differ() {
        assert_ne!(
            SplitMix64::stream(1, 0).next_u64(),
            SplitMix64::stream(1, 1).next_u64()
        );
        assert_ne!(
            SplitMix64::stream(1, 0).next_u64(),
            SplitMix64::stream(2, 0).next_u64()
        );
    }
}
