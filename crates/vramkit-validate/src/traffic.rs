//! The law of lengths that an experiment met.

use vramkit_occupancy::{Lengths, OccupancyError, RequestLengths};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub prompt: usize,
    /// Tokens written behind the prompt: decode steps.
    pub output: usize,
    /// Whether it was cut off instead of ending of itself.
    pub is_cut: bool,
}

/// Requests that decoded.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub lengths: Lengths,
    /// Outputs that ended of themselves, over decode steps: the likeliest p of outputs that end in any step alike, some of which are
    /// cut off. `None` when none ended.
    pub termination: Option<f64>,
    pub requests: usize,
    pub cut_off: usize,
    /// At how many tokens outputs were cut off, on average: where the context ends that is not the same for all.
    pub mean_cut: u32,
}

impl Traffic {
    /// Of all requests that were begun and decoded.
    ///
    /// # Errors
    /// There is none.
    pub fn of(outcomes: &[Outcome]) -> Result<Self, OccupancyError> {
        let whole = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
        let requests: Vec<RequestLengths> = outcomes
            .iter()
            .map(|outcome| RequestLengths { prompt: whole(outcome.prompt), output: whole(outcome.output) })
            .collect();
        let cut_off = outcomes.iter().filter(|outcome| outcome.is_cut).count();
        let cut_steps: usize =
            outcomes.iter().filter(|outcome| outcome.is_cut).map(|outcome| outcome.output).sum();
        let mean_cut = whole(cut_steps.checked_div(cut_off).unwrap_or(0).max(1));
        let ended = outcomes.len() - cut_off;
        let steps: usize = outcomes.iter().map(|outcome| outcome.output).sum();
        let termination = (ended > 0).then(|| ended as f64 / steps as f64);
        Ok(Self {
            lengths: Lengths::from_requests(requests)?,
            termination,
            requests: outcomes.len(),
            cut_off,
            mean_cut,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_was_cut_off_did_not_end_but_its_steps_count() {
        let ended = Outcome { prompt: 10, output: 30, is_cut: false };
        let cut = Outcome { prompt: 20, output: 70, is_cut: true };
        let traffic = Traffic::of(&[ended, cut]).unwrap();
        assert_eq!((traffic.termination, traffic.cut_off, traffic.mean_cut), (Some(0.01), 1, 70));
        assert_eq!((traffic.lengths.mean_prompt(), traffic.lengths.mean_output()), (15.0, 50.0));
        assert_eq!(Traffic::of(&[cut]).unwrap().termination, None);
        assert!(Traffic::of(&[]).is_err());
    }
}
