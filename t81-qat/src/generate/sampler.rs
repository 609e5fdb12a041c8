//! From the logits of a position to its token, in the order of Hugging Face's `generate`: repetition penalty, temperature,
//! top-k, top-p, draw.

/// How a token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divisor of the logits; 0 takes the most probable token.
    pub temperature: f32,
    /// How many of the most probable tokens are drawn from; 0 for all.
    pub top_k: usize,
    /// Probability that the drawn ones have together at least, most probable first; 1 for all.
    pub top_p: f32,
    /// What logits of tokens seen before are divided by if positive and multiplied by if negative; 1 for none.
    pub repetition_penalty: f32,
    /// Where the random numbers start.
    pub seed: u64,
}

impl Sampling {
    /// The most probable token each time.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        repetition_penalty: 1.0,
        seed: 0,
    };
}

/// A token that can be drawn and its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) token: u32,
    pub(crate) probability: f64,
}

/// Chooses tokens.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    sampling: Sampling,
    random: SplitMix64,
}

impl Sampler {
    pub(crate) fn new(sampling: Sampling) -> Self {
        Self {
            random: SplitMix64(sampling.seed),
            sampling,
        }
    }

    /// The next token after the tokens `seen`; `None` if no logit is a number above minus infinity.
    pub(crate) fn next(&mut self, mut logits: Vec<f32>, seen: &[u32]) -> Option<u32> {
        penalize(&mut logits, seen, self.sampling.repetition_penalty);
        if self.sampling.temperature == 0.0 {
            return most_probable(&logits);
        }
        let candidates = candidates(&logits, &self.sampling);
        let mut rest = self.random.unit();
        for candidate in &candidates {
            rest -= candidate.probability;
            if rest < 0.0 {
                return Some(candidate.token);
            }
        }
        // What rounding left over.
        candidates.last().map(|candidate| candidate.token)
    }
}

/// The token of the highest logit, the first of several.
fn most_probable(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (token, &logit) in (0..).zip(logits) {
        if logit > best.map_or(f32::NEG_INFINITY, |(_, highest)| highest) {
            best = Some((token, logit));
        }
    }
    best.map(|(token, _)| token)
}

/// Makes the tokens `seen` less probable, each once.
fn penalize(logits: &mut [f32], seen: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut seen = seen.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for token in seen {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit = match *logit < 0.0 {
                true => *logit * penalty,
                false => *logit / penalty,
            };
        }
    }
}

/// The tokens that can be drawn, most probable first (of equals the smaller id), with probabilities that sum to 1.
pub(crate) fn candidates(logits: &[f32], sampling: &Sampling) -> Vec<Candidate> {
    let mut order: Vec<(u32, f32)> = (0..)
        .zip(logits.iter().copied())
        .filter(|(_, logit)| *logit > f32::NEG_INFINITY)
        .collect();
    let by_logit = |left: &(u32, f32), right: &(u32, f32)| {
        right.1.total_cmp(&left.1).then(left.0.cmp(&right.0))
    };
    if sampling.top_k > 0 && sampling.top_k < order.len() {
        order.select_nth_unstable_by(sampling.top_k - 1, by_logit);
        order.truncate(sampling.top_k);
    }
    order.sort_unstable_by(by_logit);
    let Some(&(_, highest)) = order.first() else {
        return Vec::new();
    };
    let temperature = f64::from(sampling.temperature);
    let weights: Vec<f64> = order
        .iter()
        .map(|(_, logit)| ((f64::from(*logit) - f64::from(highest)) / temperature).exp())
        .collect();
    let total: f64 = weights.iter().sum();
    let mut kept = weights.len();
    if sampling.top_p < 1.0 {
        let mut sum = 0.0;
        let reached = weights.iter().position(|weight| {
            sum += weight / total;
            sum >= f64::from(sampling.top_p)
        });
        kept = reached.map_or(kept, |last| last + 1);
    }
    let total: f64 = weights[..kept].iter().sum();
    order[..kept]
        .iter()
        .zip(weights)
        .map(|(&(token, _), weight)| Candidate {
            token,
            probability: weight / total,
        })
        .collect()
}

/// Random numbers (Steele et al. 2014, [SplitMix](https://doi.org/10.1145/2714064.2660195)).
#[derive(Clone, Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    /// A number in 0..1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits whose probabilities at temperature 1 are 0.1, 0.4, 0.2, 0.3.
    fn logits() -> Vec<f32> {
        [0.1f32, 0.4, 0.2, 0.3].map(f32::ln).to_vec()
    }

    fn sampling(temperature: f32, top_k: usize, top_p: f32) -> Sampling {
        Sampling {
            temperature,
            top_k,
            top_p,
            ..Sampling::GREEDY
        }
    }

    fn tokens(sampling: Sampling) -> Vec<u32> {
        let candidates = candidates(&logits(), &sampling);
        let sum: f64 = candidates.iter().map(|one| one.probability).sum();
        assert!((sum - 1.0).abs() < 1e-12);
        candidates.iter().map(|one| one.token).collect()
    }

    #[test]
    fn greedy_is_the_first_highest_logit() {
        let mut sampler = Sampler::new(Sampling::GREEDY);
        assert_eq!(sampler.next(logits(), &[]), Some(1));
        assert_eq!(sampler.next(vec![1.0, 3.0, 3.0], &[]), Some(1));
        assert_eq!(sampler.next(vec![f32::NAN, -1.0], &[]), Some(1));
        assert_eq!(sampler.next(vec![f32::NAN, f32::NEG_INFINITY], &[]), None);
        assert_eq!(sampler.next(Vec::new(), &[]), None);
    }

    #[test]
    fn top_k_keeps_exactly_the_highest() {
        assert_eq!(tokens(sampling(1.0, 0, 1.0)), [1, 3, 2, 0]);
        assert_eq!(tokens(sampling(1.0, 1, 1.0)), [1]);
        assert_eq!(tokens(sampling(1.0, 2, 1.0)), [1, 3]);
        assert_eq!(tokens(sampling(1.0, 9, 1.0)), [1, 3, 2, 0]);
        let equals = candidates(&[2.0, 2.0, 2.0], &sampling(1.0, 2, 1.0));
        assert_eq!((equals[0].token, equals[1].token), (0, 1));
    }

    #[test]
    fn top_p_keeps_the_fewest_that_reach_it() {
        assert_eq!(tokens(sampling(1.0, 0, 0.39)), [1]);
        assert_eq!(tokens(sampling(1.0, 0, 0.41)), [1, 3]);
        assert_eq!(tokens(sampling(1.0, 0, 0.69)), [1, 3]);
        assert_eq!(tokens(sampling(1.0, 0, 0.71)), [1, 3, 2]);
        // Of the three that top-k leaves, 4/9 and 3/9.
        assert_eq!(tokens(sampling(1.0, 3, 0.77)), [1, 3]);
        assert_eq!(tokens(sampling(1.0, 3, 0.78)), [1, 3, 2]);
    }

    #[test]
    fn a_temperature_is_a_power() {
        let candidates = candidates(&logits(), &sampling(0.5, 2, 1.0));
        // 0.16 and 0.09, normalised.
        assert!((candidates[0].probability - 0.64).abs() < 1e-6);
    }

    #[test]
    fn draws_follow_the_probabilities_and_the_seed() {
        let draw = |seed| {
            let mut sampler = Sampler::new(Sampling {
                seed,
                ..sampling(1.0, 0, 1.0)
            });
            let draws: Vec<u32> = (0..10_000)
                .map(|_| sampler.next(logits(), &[]).unwrap())
                .collect();
            draws
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        for (token, share) in [(0, 0.1), (1, 0.4), (2, 0.2), (3, 0.3)] {
            let found = draw(7).iter().filter(|drawn| **drawn == token).count();
            assert!((found as f64 / 1e4 - share).abs() < 0.02, "{token}");
        }
    }

    #[test]
    fn a_penalty_counts_each_token_once() {
        let mut logits = vec![2.0, -2.0, 2.0];
        penalize(&mut logits, &[0, 1, 0, 9], 2.0);
        assert_eq!(logits, [1.0, -4.0, 2.0]);
        let mut sampler = Sampler::new(Sampling {
            repetition_penalty: 2.0,
            ..Sampling::GREEDY
        });
        assert_eq!(sampler.next(vec![3.0, 2.0], &[0]), Some(1));
    }
}
