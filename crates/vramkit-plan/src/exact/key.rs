//! Keys of states: what decides what can follow, in 128 bits.
//!
//! Multilinear hashing (Carter and Wegman, "Universal classes of hash functions", 1979): the sum, modulo 2^128,
//! of every unplaced tensor's bound and of what its bound is above its support, each times a random factor of its
//! own, and of a random summand for being unplaced. Two states differ in their keys' upper 64 bits but for a
//! chance of about 2^-63 over the random factors, and a change costs one multiplication.

use std::ops::{Add, Sub};

use super::units::Units;
use vramkit_units::SplitMix64;

/// See the [module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Key(u128);

impl Key {
    /// The upper half, which tells states apart.
    pub(super) fn tag(self) -> u64 {
        (self.0 >> 64) as u64
    }

    /// The best bits of the lower half, to choose a slot by.
    pub(super) fn slot(self) -> usize {
        (self.0 >> 32) as u32 as usize
    }
}

impl Add for Key {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl Sub for Key {
    type Output = Self;

    #[inline]
    fn sub(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }
}

/// Each tensor's random numbers.
pub(super) struct Keys(Vec<[u128; 3]>);

impl Keys {
    pub(super) fn new(tensors: usize) -> Self {
        let mut random = SplitMix64::new(0x5eed);
        let mut wide = || u128::from(random.bits()) << 64 | u128::from(random.bits());
        Self((0..tensors).map(|_| [wide(), wide(), wide()]).collect())
    }

    /// An unplaced tensor's part of the key.
    #[inline]
    pub(super) fn of<U: Units>(&self, tensor: usize, support: U, bound: U) -> Key {
        Key(self.0[tensor][2]) + self.change(tensor, support, bound)
    }

    /// What a tensor's part changes by when its support and bound do.
    #[inline]
    pub(super) fn change<U: Units>(&self, tensor: usize, support: U, bound: U) -> Key {
        let [together, apart, _] = &self.0[tensor];
        let mut sum = together.wrapping_mul(bound.wide());
        if support != bound {
            sum = sum.wrapping_add(apart.wrapping_mul((bound - support).wide()));
        }
        Key(sum)
    }
}
