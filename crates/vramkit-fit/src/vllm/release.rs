//! What changed in vLLM's memory between its releases.
//!
//! In: a release's number. Out: [`Release`], the few facts that the rest asks for. Never here: a model.
//!
//! Read from the releases 0.11.0, 0.19.1, 0.24.0 and 0.33.0; the steps between them are at the releases whose logs show them.

/// The last release that was read.
pub(super) const LAST: (u64, u64) = (0, 33);

/// What a range of releases does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Release {
    /// The release that was read, for notes.
    pub name: &'static str,
    /// Bytes that sampling has alive at its peak for each number of the logits (sequences × vocabulary).
    ///
    /// Up to 0.15, top-k and top-p sort the vocabulary: logits in the model's type (2) and as f32 (4), the sorted copy (4),
    /// its indices as i64 (8), and the sort's own buffers and the probabilities, which change places. 38.3 is measured: the
    /// peak that Llama-3.1-8B prints on an H100 and Qwen3-8B on a 48 GB card, less the hidden states. From 0.16 a kernel
    /// filters in place: logits twice, a filtered copy, probabilities, noise; measured on Qwen3-8B on an A100 alone.
    /// From 0.25 the second model runner has kernels of its own: measured on a model of half a billion parameters on a 16 GB
    /// card, with what CUDA graphs were expected to take.
    pub bytes_per_logit: f64,
    /// What is printed as the cache's size: blocks shared out to groups, or (later) concurrency × context.
    pub size_line: SizeLine,
    /// Blocks that a recurrent state takes of each group: from 0.20 prefixes are cached at block boundaries, which keeps one more.
    pub state_blocks: u64,
    /// Steps that may be under way at once: a window keeps the tokens of each beside its own.
    pub steps_in_flight: u64,
    /// Whether what CUDA graphs will take is set aside before the cache is sized; else they take what utilization leaves free.
    pub graphs_in_budget: bool,
    /// Whether groups are as large as the largest kind of layer when that is less than half again the smallest.
    pub even_groups: bool,
    /// Whether cards of 160 GiB and more take 16,384 tokens in a step by default, not 8,192.
    pub largest_card_steps: bool,
    /// Whether pages of different sizes are made the same by longer blocks.
    pub unifies_pages: bool,
}

/// How the line "GPU KV cache size" counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SizeLine {
    /// Blocks, divided by groups, times the tokens of a block.
    Blocks,
    /// Sequences at full length, times that length.
    Concurrency,
}

/// First release of each range, and what it does.
const RELEASES: [((u64, u64), Release); 4] = [
    ((0, 0), V0_11),
    (
        (0, 16),
        Release { name: "0.19", bytes_per_logit: 22.3, even_groups: true, unifies_pages: true, ..V0_11 },
    ),
    (
        (0, 20),
        Release {
            name: "0.24",
            bytes_per_logit: 22.3,
            size_line: SizeLine::Concurrency,
            state_blocks: 2,
            graphs_in_budget: true,
            even_groups: true,
            unifies_pages: true,
            ..V0_11
        },
    ),
    (
        (0, 25),
        Release {
            name: "0.33",
            bytes_per_logit: 20.0,
            size_line: SizeLine::Concurrency,
            state_blocks: 2,
            steps_in_flight: 2,
            graphs_in_budget: true,
            even_groups: true,
            largest_card_steps: true,
            unifies_pages: true,
        },
    ),
];

const V0_11: Release = Release {
    name: "0.11",
    bytes_per_logit: 38.3,
    size_line: SizeLine::Blocks,
    state_blocks: 1,
    steps_in_flight: 1,
    graphs_in_budget: false,
    even_groups: false,
    largest_card_steps: false,
    unifies_pages: false,
};

impl Release {
    /// What this release does; without one, what the release does that takes most, but for models that only later ones load.
    pub(super) fn of(release: Option<(u64, u64)>) -> Self {
        let Some(release) = release else { return Self { unifies_pages: true, ..V0_11 } };
        RELEASES.iter().rev().find(|known| known.0 <= release).map_or(V0_11, |known| known.1)
    }

    /// The last one that was read.
    pub(super) fn last() -> Self {
        RELEASES[RELEASES.len() - 1].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_the_last_range_that_has_begun() {
        assert_eq!(Release::of(None).name, "0.11");
        assert_eq!(Release::of(Some((0, 15))).name, "0.11");
        assert_eq!(Release::of(Some((0, 16))).name, "0.19");
        assert_eq!(Release::of(Some((0, 24))).name, "0.24");
        assert_eq!(Release::of(Some((1, 0))), Release::last());
    }
}
