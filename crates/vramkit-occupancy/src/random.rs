//! Random numbers: one stream for each piece of work, so that the same seed gives the same result on any
//! number of threads.

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// A stream of xoshiro256++ (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021).
pub(crate) struct RandomStream(Xoshiro256PlusPlus);

impl RandomStream {
    /// The stream of one piece of work of one seed.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        // Seeds that follow each other are mixed by SplitMix64 within `seed_from_u64`.
        let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) ^ number;
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// Within `(0, 1]`.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) + 1) as f64 * 2f64.powi(-53)
    }

    /// Below `n`, which is not 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // Lemire's multiplication; the bias is n / 2^64.
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }

    /// Of the exponential law with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -self.unit().ln()
    }
}
