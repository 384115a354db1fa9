//! Scaled bytes: 32 bits where they do, since a processor compares twice as many at once, else 64.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Sub, SubAssign};

/// A number of units; see [`Sections`](super::sections::Sections) for what one is.
pub(super) trait Units:
    Copy + Ord + Debug + Send + Sync + Add<Output = Self> + Sub<Output = Self> + AddAssign + SubAssign + 'static
{
    /// None.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// The floor of a section without unplaced tensors: twice this is still a number.
    const DONE: Self;

    /// `None` for more than [`DONE`](Self::DONE).
    fn new(units: u64) -> Option<Self>;
    /// The number; not below zero.
    fn get(self) -> u64;
    /// The number, widened with its sign.
    fn wide(self) -> u128;
    /// The number, about.
    fn approximate(self) -> f32;
    /// The next multiple of a power of two.
    fn align_up(self, alignment: Self) -> Self;
    /// The last multiple of a power of two.
    fn align_down(self, alignment: Self) -> Self;
}

macro_rules! units {
    ($integer:ty) => {
        impl Units for $integer {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const DONE: Self = <$integer>::MAX / 2;

            fn new(units: u64) -> Option<Self> {
                Self::try_from(units).ok().filter(|&units| units <= Self::DONE)
            }

            fn get(self) -> u64 {
                self as u64
            }

            fn wide(self) -> u128 {
                i128::from(self) as u128
            }

            fn approximate(self) -> f32 {
                self as f32
            }

            #[inline]
            fn align_up(self, alignment: Self) -> Self {
                (self + alignment - 1) & -alignment
            }

            fn align_down(self, alignment: Self) -> Self {
                self & -alignment
            }
        }
    };
}

units!(i32);
units!(i64);
