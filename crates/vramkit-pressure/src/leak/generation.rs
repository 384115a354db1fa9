//! Does a generation of work leave more behind than the one before? A baseline after some generations of warming up, then
//! a comparison every few; memory that is explained moves the baseline.

use serde::Serialize;

use vramkit_units::ByteSize;

/// When and against what generations are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerationConfig {
    /// Generations before the baseline is taken.
    pub warm_up: u64,
    /// The comparison comes after every so many (0 counts as 1).
    pub every: u64,
    /// Growth since the baseline from which on it is told.
    pub threshold: ByteSize,
}

impl Default for GenerationConfig {
    /// After 1 generation, every 10, 100 MB.
    fn default() -> Self {
        Self { warm_up: 1, every: 10, threshold: ByteSize::mb(100) }
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
    /// Bytes then.
    pub baseline_bytes: ByteSize,
    /// Bytes now.
    pub current_bytes: ByteSize,
    /// The difference.
    pub growth_bytes: ByteSize,
}

/// What was held after an earlier generation.
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
    checked: u64,
    warned: bool,
}

impl GenerationBaseline {
    /// Takes in what is held after `generation` (the first is 1). Returns growth past the threshold, once, until it has
    /// gone or the baseline is moved.
    pub fn check(
        &mut self,
        config: &GenerationConfig,
        generation: u64,
        used: ByteSize,
    ) -> Option<MemoryLeakWarning> {
        let Some((since, baseline)) = self.baseline else {
            if generation >= config.warm_up {
                self.baseline = Some((generation, used));
                self.checked = generation;
            }
            return None;
        };
        if generation.saturating_sub(self.checked) < config.every.max(1) {
            return None;
        }
        self.checked = generation;
        let growth = used.saturating_sub(baseline);
        if growth < config.threshold || config.threshold.is_zero() && growth.is_zero() {
            // What was told has gone again; the next growth is another one.
            self.warned = false;
            return None;
        }
        if self.warned {
            return None;
        }
        self.warned = true;
        Some(MemoryLeakWarning {
            generations: generation - since,
            baseline_bytes: baseline,
            current_bytes: used,
            growth_bytes: growth,
        })
    }

    /// What is held now is explained: growth counts from here.
    pub fn rebase(&mut self, generation: u64, used: ByteSize) {
        *self = Self { baseline: Some((generation, used)), checked: generation, warned: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_once_and_counts_from_the_baseline() {
        let config = GenerationConfig { warm_up: 3, every: 5, threshold: ByteSize::mb(100) };
        let mut baseline = GenerationBaseline::default();
        let mut told = Vec::new();
        for generation in 1..=40u64 {
            // 10 MB a generation stay; the first two load what stays for good.
            let used = ByteSize::mb(if generation < 3 { 500 * generation } else { 1000 + 10 * generation });
            told.extend(baseline.check(&config, generation, used));
        }
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].generations, told[0].growth_bytes), (10, ByteSize::mb(100)));
        baseline.rebase(40, ByteSize::mb(1400));
        assert_eq!(baseline.check(&config, 45, ByteSize::mb(1499)), None);
        assert!(baseline.check(&config, 50, ByteSize::mb(1500)).is_some());
    }
}
