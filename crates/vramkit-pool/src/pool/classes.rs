//! To which size is a request rounded up? Sizes in bytes in, sizes in bytes out; the pool aligns them to its unit.
//!
//! A coarser class wastes memory inside a block and finds a block of its own size more often.

use serde::{Deserialize, Serialize};

const MIB: u64 = 1 << 20;

/// How a pool rounds requests up. What a policy wastes is
/// [`PoolStats::internal_fragmentation_ratio`](super::PoolStats::internal_fragmentation_ratio).
///
/// ```
/// use vramkit_pool::pool::SizeClasses;
///
/// assert_eq!(SizeClasses::Stepped.round(15 << 20), Some(20 << 20));
/// assert_eq!(SizeClasses::PowersOfTwo { steps: 4 }.round(1100), Some(1280));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SizeClasses {
    /// As requested.
    #[default]
    Exact,
    /// To the next 0.1 MiB below 1 MiB, 1 MiB below 10, 10 MiB below 100, 50 MiB from there.
    Stepped,
    /// To multiples of 512 bytes, as PyTorch's caching allocator does (`round_size` in `CUDACachingAllocator.cpp`).
    PyTorch,
    /// To the next of `steps` equal steps between two powers of two; a number of steps that is not a power of two
    /// counts as the next one. One step is rounding to powers of two.
    PowersOfTwo {
        /// Steps between a power of two and the next.
        steps: u32,
    },
}

/// Up to the next tenth of a MiB. That is no number of bytes: the class ends at the first whole one past it, and a size which is one
/// stays in it.
fn tenth(size: u64) -> u64 {
    let end = |tenths: u64| (tenths * MIB).div_ceil(10);
    let tenths = (size * 10).div_ceil(MIB);
    let before = end(tenths.saturating_sub(1));
    if before >= size { before } else { end(tenths) }
}

impl SizeClasses {
    /// The size granted for a request of `size` bytes; `None` when it passes 2^64.
    pub fn round(self, size: u64) -> Option<u64> {
        match self {
            Self::Exact => Some(size),
            Self::Stepped if size < MIB => Some(tenth(size)),
            Self::Stepped if size < 10 * MIB => Some(size.next_multiple_of(MIB)),
            Self::Stepped if size < 100 * MIB => Some(size.next_multiple_of(10 * MIB)),
            Self::Stepped => size.checked_next_multiple_of(50 * MIB),
            Self::PyTorch => size.max(1).checked_next_multiple_of(512),
            Self::PowersOfTwo { steps } => {
                let below = size.max(1).ilog2();
                let steps = steps.max(1).checked_next_power_of_two().unwrap_or(1 << 31);
                size.checked_next_multiple_of(((1u64 << below) / u64::from(steps)).max(1))
            }
        }
    }

    /// The largest size whose class is at most so many bytes; 0 when none is.
    pub fn most_within(self, bytes: u64) -> u64 {
        let fits = |size: u64| self.round(size).is_some_and(|class| class <= bytes);
        if fits(bytes) {
            return bytes;
        }
        // Classes never fall as sizes grow.
        let (mut low, mut high) = (0, bytes);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if fits(middle) { low = middle } else { high = middle }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stepped_sizes_are_those_of_the_requirement() {
        let tenth_mib = |tenths: u64| SizeClasses::Stepped.round(tenths * MIB / 10).unwrap();
        assert_eq!([5, 15, 150, 1500].map(tenth_mib), [MIB / 2, 2 * MIB, 20 * MIB, 150 * MIB]);
        assert_eq!(SizeClasses::Stepped.round(1).unwrap(), 104_858);
        assert_eq!(SizeClasses::Stepped.round(MIB / 2 + 1).unwrap(), 629_146);
        assert_eq!(SizeClasses::Stepped.round(u64::MAX), None);
    }

    #[test]
    fn other_classes() {
        // More sub-steps than there are bytes between: as it is asked for.
        assert_eq!(SizeClasses::PowersOfTwo { steps: u32::MAX }.round(1001), Some(1001));
        assert_eq!([1, 512, 513].map(|size| SizeClasses::PyTorch.round(size)), [512, 512, 1024].map(Some));
        let eight = SizeClasses::PowersOfTwo { steps: 8 };
        assert_eq!([1, 1024, 1025, 2047].map(|size| eight.round(size)), [1, 1024, 1152, 2048].map(Some));
        assert_eq!(SizeClasses::PowersOfTwo { steps: 1 }.round(1025), Some(2048));
        assert_eq!(eight.round(u64::MAX), None);
    }

    proptest! {
        #[test]
        fn rounding_never_shrinks_and_is_stable_and_monotonic(size in 1u64..1 << 40, more in 0u64..1 << 20, steps in 1u32..40) {
            for classes in
                [SizeClasses::Exact, SizeClasses::Stepped, SizeClasses::PyTorch, SizeClasses::PowersOfTwo { steps }]
            {
                let rounded = classes.round(size).unwrap();
                prop_assert!(rounded >= size);
                prop_assert_eq!(classes.round(rounded), Some(rounded));
                prop_assert!(classes.round(size + more).unwrap() >= rounded);
                let limit = match classes {
                    SizeClasses::Exact => size,
                    SizeClasses::Stepped => size + 50 * MIB,
                    SizeClasses::PyTorch => size + 511,
                    SizeClasses::PowersOfTwo { .. } => size * 2,
                };
                prop_assert!(rounded <= limit, "{classes:?} {size} {rounded}");
                let most = classes.most_within(size);
                prop_assert!(most == 0 || classes.round(most).unwrap() <= size, "{classes:?} {size} {most}");
                prop_assert!(most == size || classes.round(most + 1).unwrap() > size, "{classes:?} {size} {most}");
            }
        }
    }
}
