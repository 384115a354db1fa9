//! From logits to a token: greedy, or drawn by temperature, top-k and top-p.
//!
//! In: one row of logits, [`Sampling`], and how many tokens the sequence has drawn. Out: a token, and log-probabilities where they
//! are asked for. The same seed and place draw the same number, whatever else runs: a sequence that is computed again continues as
//! it would have.

use std::cmp::Ordering;

/// How tokens are chosen.
///
/// ```
/// use vramkit_llm::Sampling;
///
/// let greedy = Sampling::default();
/// assert_eq!(greedy.temperature, 0.0);
/// let warm = Sampling { temperature: 0.8, top_p: 0.95, seed: 7, ..Sampling::default() };
/// # assert_eq!(warm.top_k, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this; 0 takes the most probable token always.
    pub temperature: f32,
    /// Only this many of the most probable tokens are drawn from; 0 for all.
    pub top_k: usize,
    /// Only the fewest most probable tokens that together have this probability are drawn from; 1 for all.
    pub top_p: f32,
    /// What is drawn depends on this alone, beside the logits.
    pub seed: u64,
}

impl Default for Sampling {
    /// Greedy.
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 }
    }
}

impl Sampling {
    /// Whether these numbers say how to choose; otherwise which does not, and what it may be.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(format!("the temperature is {}; 0 or more, finite, is", self.temperature));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(format!("top-p is {}; above 0 and at most 1 is", self.top_p));
        }
        Ok(())
    }
}

/// A token with the natural logarithm of its probability, at temperature 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenProbability {
    /// The token.
    pub token: u32,
    /// ln p.
    pub logprob: f32,
}

/// Chooses a token; of equal logits the lowest token. `drawn` counts the tokens that the sequence has chosen before.
pub(crate) fn choose(logits: &[f32], sampling: &Sampling, drawn: u64) -> u32 {
    let best = best(logits);
    if sampling.temperature == 0.0 {
        return best;
    }
    let Some(&most) = logits.get(best as usize) else { return 0 };
    let weight = |logit: f32| ((f64::from(logit) - f64::from(most)) / f64::from(sampling.temperature)).exp();
    let mut tokens: Vec<Weighed> =
        (0..).zip(logits).map(|(token, &logit)| Weighed { token, logit, weight: 0.0 }).collect();
    if sampling.top_k != 0 && sampling.top_k < tokens.len() {
        tokens.select_nth_unstable_by(sampling.top_k - 1, Weighed::order);
        tokens.truncate(sampling.top_k);
        tokens.sort_unstable_by(Weighed::order);
    }
    // Of those that are left alone: a vocabulary has many.
    tokens.iter_mut().for_each(|token| token.weight = weight(token.logit));
    if sampling.top_p < 1.0 {
        keep_nucleus(&mut tokens, f64::from(sampling.top_p));
    }
    let sum: f64 = tokens.iter().map(|token| token.weight).sum();
    let mut left = uniform(sampling.seed, drawn) * sum;
    for token in &tokens {
        left -= token.weight;
        if left < 0.0 {
            return token.token;
        }
    }
    // Rounding left something over.
    best
}

/// A token that may be drawn.
#[derive(Clone, Copy)]
struct Weighed {
    token: u32,
    logit: f32,
    /// Its probability, but for a factor that is all tokens'.
    weight: f64,
}

impl Weighed {
    /// The most probable first; of equal ones the lowest token.
    fn order(&self, other: &Self) -> Ordering {
        other.logit.total_cmp(&self.logit).then(self.token.cmp(&other.token))
    }
}

/// Keeps the fewest most probable tokens that have this part of the weight together. They are few as a rule, so only as many are put
/// in order as it takes.
fn keep_nucleus(tokens: &mut Vec<Weighed>, part: f64) {
    let wanted = part * tokens.iter().map(|token| token.weight).sum::<f64>();
    let mut first = 64;
    loop {
        let ordered = first.min(tokens.len());
        if ordered < tokens.len() {
            tokens.select_nth_unstable_by(ordered - 1, Weighed::order);
        }
        tokens[..ordered].sort_unstable_by(Weighed::order);
        let mut sum = 0.0;
        let reached = tokens[..ordered].iter().position(|token| {
            sum += token.weight;
            sum >= wanted
        });
        match reached {
            Some(last) => return tokens.truncate(last + 1),
            None if ordered == tokens.len() => return,
            None => first *= 16,
        }
    }
}

/// Lanes in which a maximum is sought at once.
const LANES: usize = 32;

fn best(logits: &[f32]) -> u32 {
    let (lanes, rest) = logits.as_chunks::<LANES>();
    let mut most = [f32::NEG_INFINITY; LANES];
    for lane in lanes {
        for (most, logit) in most.iter_mut().zip(lane) {
            *most = if *logit > *most { *logit } else { *most };
        }
    }
    let most = most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter().position(|logit| *logit == most).unwrap_or_default() as u32
}

/// Whether every logit is a finite number.
pub(crate) fn are_finite(logits: &[f32]) -> bool {
    // Without a way out of the loop, many are looked at together.
    logits.iter().fold(true, |so_far, logit| so_far & logit.is_finite())
}

/// The most probable tokens, the most probable first.
pub(crate) fn top(logits: &[f32], count: usize) -> Vec<TokenProbability> {
    let count = count.min(logits.len());
    if count == 0 {
        return Vec::new();
    }
    let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
    let by_logit = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if count < tokens.len() {
        tokens.select_nth_unstable_by(count - 1, by_logit);
        tokens.truncate(count);
    }
    tokens.sort_unstable_by(by_logit);
    let normaliser = log_sum(logits);
    let probability = |token: u32| TokenProbability {
        token,
        logprob: (f64::from(logits[token as usize]) - normaliser) as f32,
    };
    tokens.into_iter().map(probability).collect()
}

/// ln Σ exp.
fn log_sum(logits: &[f32]) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    most + logits.iter().map(|&logit| (f64::from(logit) - most).exp()).sum::<f64>().ln()
}

/// A number in [0, 1) that a seed and a place give (SplitMix64, Steele et al. 2014).
fn uniform(seed: u64, place: u64) -> f64 {
    let mut state = seed.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((state ^ (state >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn greedy_takes_the_first_of_the_best() {
        assert_eq!(choose(&[1.0, 3.0, 3.0, 2.0], &Sampling::default(), 0), 1);
    }

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_probable() {
        let logits = [0.7f32.ln(), 0.2f32.ln(), 0.1f32.ln()];
        let sampling = Sampling { temperature: 1.0, seed: 3, ..Sampling::default() };
        let mut counts = [0; 3];
        (0..100_000).for_each(|place| counts[choose(&logits, &sampling, place) as usize] += 1);
        for (count, share) in counts.iter().zip([0.7, 0.2, 0.1]) {
            // Six standard errors.
            assert!(
                (f64::from(*count) - share * 1e5).abs() < 6.0 * (share * (1.0 - share) * 1e5).sqrt(),
                "{counts:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_best_is_the_first_of_the_most_probable(logits in prop::collection::vec(-9i8..9, 1..200)) {
            let logits: Vec<f32> = logits.into_iter().map(f32::from).collect();
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            prop_assert_eq!(Some(best(&logits) as usize), logits.iter().position(|logit| *logit == most));
            prop_assert!(are_finite(&logits));
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let place = logits.len() / 2;
                let mut logits = logits.clone();
                logits[place] = bad;
                prop_assert!(!are_finite(&logits));
            }
        }

        #[test]
        fn a_nucleus_is_the_beginning_of_all_in_order(
            logits in prop::collection::vec(-3.0f32..3.0, 1..3000), part in 0.001f64..1.0,
        ) {
            let weighed = |(token, &logit): (usize, &f32)| {
                Weighed { token: token as u32, logit, weight: f64::from(logit).exp() }
            };
            let mut all: Vec<Weighed> = logits.iter().enumerate().map(weighed).collect();
            let mut nucleus = all.clone();
            keep_nucleus(&mut nucleus, part);
            all.sort_by(Weighed::order);
            let tokens = |of: &[Weighed]| of.iter().map(|each| each.token).collect::<Vec<_>>();
            prop_assert_eq!(tokens(&nucleus), tokens(&all[..nucleus.len()]));
            let sum = |of: &[Weighed]| of.iter().map(|each| each.weight).sum::<f64>();
            let wanted = part * sum(&all);
            prop_assert!(sum(&nucleus) >= wanted * (1.0 - 1e-12));
            prop_assert!(sum(&nucleus[..nucleus.len() - 1]) < wanted * (1.0 + 1e-12));
        }

        #[test]
        fn what_is_cut_off_is_never_drawn(
            logits in prop::collection::vec(-5.0f32..5.0, 1..40), seed: u64, place: u64, top_k in 1usize..5, top_p in 0.01f32..1.0,
        ) {
            let sampling = Sampling { temperature: 1.5, top_k, top_p, seed };
            let token = choose(&logits, &sampling, place);
            let before = logits.iter().filter(|logit| **logit > logits[token as usize]).count();
            prop_assert!(before < top_k);
            prop_assert_eq!(token, choose(&logits, &sampling, place));
            let most_probable = top(&logits, logits.len());
            let sum: f32 = most_probable.iter().map(|each| each.logprob.exp()).sum();
            prop_assert!((sum - 1.0).abs() < 1e-4);
            prop_assert_eq!(most_probable[0].token, choose(&logits, &Sampling::default(), 0));
        }
    }
}
