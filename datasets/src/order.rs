//! The order of samples in an epoch.

use crate::random::SplitMix64;

/// The permutation of `0..len` in which epoch `epoch` visits `len` samples: a function of its arguments alone, so a
/// training run that resumes in the middle of an epoch skips what it has seen and goes on with the same samples.
///
/// ```
/// use t81_datasets::epoch_order;
///
/// let order = epoch_order(5, 42, 0);
/// assert_eq!(order, epoch_order(5, 42, 0));
/// assert_ne!(order, epoch_order(5, 42, 1));
/// let mut sorted = order;
/// sorted.sort_unstable();
/// assert_eq!(sorted, [0, 1, 2, 3, 4]);
/// ```
pub fn epoch_order(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    SplitMix64::stream(seed, epoch).shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_fixed_for_all_time() {
        assert_eq!(epoch_order(10, 0, 0), GOLDEN_ORDER);
        assert_eq!(epoch_order(0, 7, 1), Vec::<usize>::new());
        assert_eq!(epoch_order(1, 7, 1), [0]);
    }

    const GOLDEN_ORDER: [usize; 10] = [1, 4, 5, 0, 7, 6, 9, 8, 2, 3];

    #[test]
    fn is_a_permutation_for_every_length() {
        for len in 0..64 {
            let mut order = epoch_order(len, 9, len as u64);
            order.sort_unstable();
            assert!(order.iter().copied().eq(0..len));
        }
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let first = epoch_order(1000, 1, 0);
        for (seed, epoch) in [(1, 1), (2, 0), (0, 1)] {
            let other = epoch_order(1000, seed, epoch);
            let fixed = first.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(fixed < 10, "{fixed} samples kept their place");
        }
    }

    #[test]
    fn every_sample_is_as_likely_everywhere() {
        let mut first_place = [0_usize; 4];
        for epoch in 0..4000 {
            first_place[epoch_order(4, 5, epoch)[0]] += 1;
        }
        assert!(
            first_place
                .iter()
                .all(|&count| (900..1100).contains(&count)),
            "{first_place:?}"
        );
    }
}
