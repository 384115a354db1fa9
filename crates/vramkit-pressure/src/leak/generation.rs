//! Does a generation of work leave more behind than those before? Bytes held after each generation come in; a warning comes
//! out when they have grown past a threshold.
//!
//! What is compared are floors, the least of several generations: what a generation made and gave back does not count, so
//! neither noise nor a peak is growth, and a baseline that was taken at a peak hides none. The first half of the warm-up is
//! left out (weights, caches, kernels that are loaded when first used), the floor of its second half is the baseline; after
//! that the floor since the last comparison is compared with it. Floors that have fallen may rise again: twice the deepest
//! fall that has been seen comes on top of the threshold, so that a load which wanders does not count, and a leak, which
//! never falls, does. Memory that is explained moves the baseline.

use serde::Serialize;

use vramkit_units::ByteSize;

/// When and against what generations are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerationConfig {
    /// Generations before the baseline is there: the least of their second half. As many as it takes until a program has
    /// loaded what it loads once.
    pub warm_up: u64,
    /// The comparison comes after every so many (0 counts as 1), with the least that was held after any of them. At least as
    /// many as from one low point of the program's memory to the next.
    pub every: u64,
    /// Growth since the baseline from which on it is told.
    pub threshold: ByteSize,
}

impl Default for GenerationConfig {
    /// After 100 generations, every 25, 100 MB: what healthy programs need that load things for fifty generations and come back
    /// to a low point every 25 (`cargo bench -p vramkit-testing --bench generations`).
    fn default() -> Self {
        Self { warm_up: 100, every: 25, threshold: ByteSize::mb(100) }
    }
}

/// Memory has grown over generations of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[error(
    "memory grew by {growth_bytes} over {generations} generations, from {baseline_bytes} to {current_bytes}; \
     release what a generation made, or rebase when this is expected"
)]
#[non_exhaustive]
pub struct MemoryLeakWarning {
    /// Generations since the baseline was taken.
    pub generations: u64,
    /// The floor then.
    pub baseline_bytes: ByteSize,
    /// The floor since the last comparison.
    pub current_bytes: ByteSize,
    /// The difference.
    pub growth_bytes: ByteSize,
}

/// What was held at least after earlier generations.
///
/// ```
/// use vramkit_pressure::leak::{GenerationBaseline, GenerationConfig};
/// use vramkit_units::ByteSize;
///
/// let config = GenerationConfig { warm_up: 1, every: 1, threshold: ByteSize::mib(50) };
/// let mut baseline = GenerationBaseline::default();
/// assert_eq!(baseline.check(&config, 1, ByteSize::mib(1000)), None);
/// assert_eq!(baseline.check(&config, 2, ByteSize::mib(1030)), None);
/// let warning = baseline.check(&config, 3, ByteSize::mib(1060)).expect("60 MiB more than after the first");
/// assert_eq!((warning.growth_bytes, warning.generations), (ByteSize::mib(60), 2));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct GenerationBaseline {
    baseline: Option<(u64, ByteSize)>,
    /// The least since the last comparison.
    floor: Option<ByteSize>,
    checked: u64,
    /// The floors of comparisons, those in the second half of the warm-up included.
    floors: Floors,
    warned: bool,
}

/// Extremes of a row of floors.
#[derive(Clone, Copy, Debug, Default)]
struct Floors {
    least: Option<ByteSize>,
    highest: ByteSize,
    /// The most by which one was below an earlier one.
    fall: ByteSize,
}

impl Floors {
    fn note(&mut self, floor: ByteSize) {
        self.least = Some(self.least.map_or(floor, |least| least.min(floor)));
        self.fall = self.fall.max(self.highest.saturating_sub(floor));
        self.highest = self.highest.max(floor);
    }
}

impl GenerationBaseline {
    /// Takes in what is held after `generation` (the first is 1); after each of them, so that floors are floors. Returns
    /// growth past the threshold, once, until it has gone or the baseline is moved.
    pub fn check(
        &mut self,
        config: &GenerationConfig,
        generation: u64,
        used: ByteSize,
    ) -> Option<MemoryLeakWarning> {
        let floor = self.floor.map_or(used, |floor| floor.min(used));
        if self.baseline.is_none() && generation <= config.warm_up / 2 {
            self.checked = generation;
            return None;
        }
        self.floor = Some(floor);
        let warm = self.baseline.is_none() && generation >= config.warm_up;
        if generation.saturating_sub(self.checked) < config.every.max(1) && !warm {
            return None;
        }
        (self.checked, self.floor) = (generation, None);
        self.floors.note(floor);
        let Some((since, baseline)) = self.baseline else {
            self.baseline = self.floors.least.filter(|_| warm).map(|least| (generation, least));
            return None;
        };
        let growth = floor.saturating_sub(baseline);
        if growth < config.threshold || config.threshold.is_zero() && growth.is_zero() {
            // What was told has gone again; the next growth is another one.
            self.warned = false;
            return None;
        }
        if growth - config.threshold < self.floors.fall.saturating_add(self.floors.fall) {
            return None;
        }
        if std::mem::replace(&mut self.warned, true) {
            return None;
        }
        Some(MemoryLeakWarning {
            generations: generation - since,
            baseline_bytes: baseline,
            current_bytes: floor,
            growth_bytes: growth,
        })
    }

    /// What is held now is explained: growth counts from here.
    pub fn rebase(&mut self, generation: u64, used: ByteSize) {
        *self = Self { baseline: Some((generation, used)), checked: generation, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn growth_is_told_once_and_counts_from_the_baseline() {
        let config = GenerationConfig { warm_up: 3, every: 5, threshold: ByteSize::mb(100) };
        let mut baseline = GenerationBaseline::default();
        let mut told = Vec::new();
        for generation in 1..=40u64 {
            // 10 MB a generation stay; the first loads what stays for good.
            let used = ByteSize::mb(if generation < 2 { 500 } else { 1000 + 10 * generation });
            told.extend(baseline.check(&config, generation, used));
        }
        assert_eq!(told.len(), 1, "{told:?}");
        // The least of the 14th to the 18th, over the least of the second and third.
        assert_eq!((told[0].generations, told[0].growth_bytes), (15, ByteSize::mb(120)));
        assert_eq!((told[0].baseline_bytes, told[0].current_bytes), (ByteSize::mb(1020), ByteSize::mb(1140)));
        baseline.rebase(40, ByteSize::mb(1400));
        assert_eq!(baseline.check(&config, 45, ByteSize::mb(1499)), None);
        assert!(baseline.check(&config, 50, ByteSize::mb(1500)).is_some());
    }

    #[test]
    fn neither_peaks_nor_what_falls_again_nor_a_start_at_a_peak_counts() {
        let told = |warm_up: u64, used: fn(u64) -> u64| {
            let config = GenerationConfig { warm_up, every: 4, threshold: ByteSize::mb(100) };
            let mut baseline = GenerationBaseline::default();
            let check = |generation| baseline.check(&config, generation, ByteSize::mb(used(generation)));
            (1..=100).filter_map(check).count()
        };
        assert_eq!(told(4, |generation| 1000 + 700 * (generation % 4)), 0, "a sawtooth");
        assert_eq!(told(4, |generation| if generation % 2 == 0 { 9000 } else { 1000 }), 0, "peaks");
        assert_eq!(
            told(4, |generation| if generation == 4 { 9000 } else { 1000 + 2 * generation }),
            1,
            "a leak"
        );
        let up_and_down = |generation| 1000 + 300 * (generation / 8 % 2);
        assert_eq!(up_and_down(100), 1000);
        assert_eq!(told(32, up_and_down), 0);
        assert_eq!(
            told(32, |generation| 1000 + 300 * (generation / 8 % 2) + 10 * generation),
            1,
            "a leak under it"
        );
    }

    proptest! {
        /// A warning is of a floor past the threshold: all that was held since the comparison before it was. Between two of
        /// them there was a comparison whose floor was below.
        #[test]
        fn a_warning_is_told_once_until_its_growth_has_gone(
            warm_up in 0u64..20,
            every in 1u64..10,
            used in prop::collection::vec(prop_oneof![0u64..500, Just(u64::MAX)], 1..200),
        ) {
            let config = GenerationConfig { warm_up, every, threshold: ByteSize::new(100) };
            let mut baseline = GenerationBaseline::default();
            let mut warned: Option<u64> = None;
            for generation in 1..=used.len() as u64 {
                let at = |generation: u64| used[generation as usize - 1];
                let Some(warning) = baseline.check(&config, generation, ByteSize::new(at(generation))) else { continue };
                let past = |used: u64| used >= warning.baseline_bytes.bytes() + 100;
                prop_assert!((generation - every + 1..=generation).all(|generation| past(at(generation))));
                prop_assert!(warning.current_bytes.bytes() - warning.growth_bytes.bytes() == warning.baseline_bytes.bytes());
                if let Some(before) = warned {
                    prop_assert!((before + 1..=generation - every).any(|generation| at(generation) < warning.current_bytes.bytes()));
                }
                warned = Some(generation);
            }
        }
    }
}
