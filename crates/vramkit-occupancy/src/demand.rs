//! The demand of all sequences together under continuous batching, and how likely it is to be over a capacity.
//!
//! Seats that are refilled one by one are independent of each other; so the total is their N-fold convolution. Deep in
//! its tail a plain Fourier transform has lost all digits: the law is tilted first so that its mean is the capacity, where
//! the transform is exact to about 10 digits, and the known factor is taken out afterwards.
//! With a load driven by arrivals instead of a fixed number of seats the total is compound Poisson, with the same seat.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use realfft::RealFftPlanner;

use crate::error::{OccupancyError, finite};
use crate::lengths::Lengths;
use crate::limits::MAX_SEATS;
use crate::seat::{Cumulants, Seat};

/// How many sequences there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Population {
    /// So many seats, each refilled as soon as its sequence ends.
    Seats(u32),
    /// As many as have arrived and not ended: so many arrive each step on average, each by itself, and none waits.
    Arrivals {
        /// Requests a step.
        per_step: f64,
    },
}

/// The tokens held by all sequences, at a moment drawn at random.
///
/// ```
/// use vramkit_occupancy::{Lengths, Population, TokenDemand};
///
/// let lengths = Lengths::geometric(1000.0, 0.005)?;
/// let demand = TokenDemand::new(&lengths, Population::Seats(200), 16)?;
/// assert!(demand.mean() > 200_000.0);
/// // Deep in the tail only the logarithm is a number.
/// assert!(demand.tail(2.0 * demand.mean())?.ln < -100.0);
/// # Ok::<(), vramkit_occupancy::OccupancyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokenDemand {
    pub(crate) lengths: Lengths,
    pub(crate) population: Population,
    pub(crate) block: u32,
    seat: Seat,
}

/// A probability that may be too small for a number: its natural logarithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// The natural logarithm; minus infinity for an impossible event.
    pub ln: f64,
}

impl Tail {
    /// The probability; 0 below 1e-308.
    pub fn probability(self) -> f64 {
        self.ln.exp().min(1.0)
    }
}

impl TokenDemand {
    /// Of a population with these lengths, in memory that is granted in blocks of `block` tokens (1: by the token).
    ///
    /// # Errors
    /// No seats, a rate that is not positive, blocks outside 1 to 65,536 tokens.
    pub fn new(lengths: &Lengths, population: Population, block: u32) -> Result<Self, OccupancyError> {
        match population {
            Population::Seats(seats) => {
                finite(
                    "the batch",
                    seats.into(),
                    1.0..=f64::from(MAX_SEATS),
                    "it must be 1 to 1,048,576 sequences",
                )?;
            }
            Population::Arrivals { per_step } => {
                finite(
                    "arrivals a step",
                    per_step,
                    1e-9..=1e6,
                    "they must be more than 0 and at most a million",
                )?;
                finite(
                    "sequences at once, with so many arrivals,",
                    per_step * lengths.mean_output(),
                    0.0..=f64::from(MAX_SEATS),
                    "they must be at most 1,048,576 on average",
                )?;
            }
        }
        finite("the block", block.into(), 1.0..=65_536.0, "it must be 1 to 65,536 tokens")?;
        let seat = Seat::new(lengths, block);
        Ok(Self { lengths: lengths.clone(), population, block, seat })
    }

    /// Mean number of sequences.
    pub fn sequences(&self) -> f64 {
        match self.population {
            Population::Seats(seats) => seats.into(),
            Population::Arrivals { per_step } => per_step * self.lengths.mean_output(),
        }
    }

    /// Mean demand, tokens (in whole blocks).
    pub fn mean(&self) -> f64 {
        self.total(0.0).mean * f64::from(self.block)
    }

    /// Variance of the demand, square tokens.
    pub fn variance(&self) -> f64 {
        self.total(0.0).variance * f64::from(self.block).powi(2)
    }

    /// ln E\[e^{tD}\] and its derivatives, D in blocks.
    fn total(&self, t: f64) -> Cumulants {
        let one = self.seat.cumulants(t);
        match self.population {
            Population::Seats(seats) => {
                let n = f64::from(seats);
                Cumulants { k: n * one.k, mean: n * one.mean, variance: n * one.variance }
            }
            Population::Arrivals { .. } => {
                let tilted = self.sequences() * one.k.exp();
                Cumulants {
                    k: self.sequences() * one.k.exp_m1(),
                    mean: tilted * one.mean,
                    variance: tilted * (one.variance + one.mean * one.mean),
                }
            }
        }
    }

    /// The least and the most blocks that there can be.
    pub(crate) fn range(&self) -> (f64, f64) {
        let (low, high) = self.seat.range();
        match self.population {
            Population::Seats(seats) => (f64::from(seats) * low, f64::from(seats) * high),
            Population::Arrivals { .. } => (0.0, f64::INFINITY),
        }
    }

    /// The tilt under which the mean is so many blocks.
    fn tilt_to(&self, blocks: f64) -> f64 {
        let mut scale = 1.0 / self.total(0.0).variance.sqrt().max(1.0);
        let up = self.total(0.0).mean < blocks;
        let limit = self.seat.limit();
        let (mut low, mut high) = (0.0, 0.0);
        // Out until the mean is on the other side.
        for _ in 0..200 {
            let t = if up { if scale < limit { scale } else { limit } } else { -scale };
            if up {
                (low, high) = (high, t)
            } else {
                (high, low) = (low, t)
            }
            let there = t >= limit || {
                let mean = self.total(t).mean;
                !mean.is_finite() || (mean >= blocks) == up
            };
            if there {
                break;
            }
            scale *= 2.0;
        }
        let mut t = 0.5 * (low + high);
        for _ in 0..200 {
            let here = self.total(t);
            let error = here.mean - blocks;
            if error.abs() < 1e-9 * blocks.abs().max(1.0) {
                break;
            }
            if error > 0.0 || !error.is_finite() {
                high = t
            } else {
                low = t
            }
            let newton = t - error / here.variance;
            t = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
            if high - low <= 1e-14 * high.abs().max(low.abs()) {
                break;
            }
        }
        t
    }

    /// The tilt under which the mean lies just over so many blocks: between two values, so that even the outermost has one.
    fn tilt_over(&self, blocks: f64) -> f64 {
        let (least, most) = self.range();
        self.tilt_to((blocks + 0.5).min(most - 0.25).max(least + 0.25))
    }

    /// P(D > capacity), tokens: exact but for some 1e-9 of itself, at any depth.
    ///
    /// # Errors
    /// A capacity that is no positive number. Refused when the law is too wide to be computed (over 2^24 blocks).
    pub fn tail(&self, capacity: f64) -> Result<Tail, OccupancyError> {
        finite("the capacity", capacity, 1.0..=1e15, "it must be 1 to 1e15 tokens")?;
        let blocks = (capacity / f64::from(self.block)).floor();
        let (least, most) = self.range();
        if blocks >= most {
            return Ok(Tail { ln: f64::NEG_INFINITY });
        }
        if blocks < least {
            return Ok(Tail { ln: 0.0 });
        }
        let t = self.tilt_over(blocks);
        let here = self.total(t);
        let size = self.window(t, here, most - least)?;
        let forward = planner().plan_fft_forward(size);
        let mut spectrum = self.seat.transform(t, size, &*forward);
        match self.population {
            Population::Seats(seats) => {
                // Most of the spectrum of a sum of many is nothing.
                let least = (-90.0 / f64::from(seats)).exp();
                for value in &mut spectrum {
                    *value = if value.norm_sqr() < least { 0.0.into() } else { value.powu(seats) };
                }
            }
            Population::Arrivals { .. } => {
                let tilted = self.sequences() * self.seat.cumulants(t).k.exp();
                for value in &mut spectrum {
                    *value = ((*value - 1.0) * tilted).exp();
                }
            }
        }
        // The two ends of a real signal's spectrum are real; rounding has left them almost so.
        spectrum[0].im = 0.0;
        spectrum[size / 2].im = 0.0;
        let backward = planner().plan_fft_inverse(size);
        let mut law = backward.make_output_vec();
        backward.process(&mut spectrum, &mut law).expect("both have the plan's lengths");
        // The length is a power of two.
        let at = |d: f64| law[d as i64 as usize & (size - 1)].max(0.0) / size as f64;
        // A window with room for every value has each in one place; in a smaller one the far half is the other side's.
        let whole = size as f64 > most - least;
        let reach = if whole { most - least } else { (size / 2) as f64 };
        let factor = here.k - t * blocks;
        if t >= 0.0 {
            let last = reach.min(most - blocks);
            let above = sum(1.0, last, |j| (-t * j).exp() * at(blocks + j));
            Ok(Tail { ln: (factor + above.ln()).min(0.0) })
        } else {
            let last = reach.min(blocks - least);
            let below = (factor + sum(0.0, last, |j| (t * j).exp() * at(blocks - j)).ln()).exp();
            Ok(Tail { ln: (-below.min(1.0)).ln_1p() })
        }
    }

    /// ln P(D > capacity) to some per cent, from the tilt alone (Bahadur and Rao, "On deviations of the sample mean", 1960):
    /// to begin a search with. Minus infinity for the impossible, 0 below the mean.
    pub(crate) fn rough_tail(&self, capacity: f64) -> f64 {
        let blocks = (capacity / f64::from(self.block)).floor();
        let (least, most) = self.range();
        if blocks >= most {
            return f64::NEG_INFINITY;
        }
        if blocks < least || blocks <= self.total(0.0).mean {
            return 0.0;
        }
        let t = self.tilt_over(blocks);
        let here = self.total(t);
        let width = t * here.variance.sqrt() * std::f64::consts::TAU.sqrt();
        here.k - t * blocks - width.max(1.0).ln()
    }

    /// Tokens by which a capacity must grow for the tail to fall by a factor of e, about.
    pub(crate) fn worth(&self, capacity: f64) -> f64 {
        let spread = self.variance().sqrt().max(1.0);
        let aside = 0.05 * spread;
        let slope = (self.rough_tail(capacity) - self.rough_tail(capacity + aside)) / aside;
        if slope.is_finite() && slope > 0.0 { (1.0 / slope).min(spread) } else { spread }
    }

    /// How many values to compute, a power of two: so many that what lies further from the mean has under 1e-13, by
    /// Chernoff's bound on either side.
    fn window(&self, t: f64, here: Cumulants, range: f64) -> Result<usize, OccupancyError> {
        const MOST: usize = 1 << 24;
        let enough = |half: f64| {
            [1.0, -1.0].iter().all(|&side: &f64| {
                let gentlest = half / here.variance.max(1e-300);
                let nearest = if side > 0.0 { self.seat.limit() - t } else { f64::INFINITY };
                [1.0, 0.5, 0.25, 0.12, 0.06, 0.03].iter().any(|part| {
                    let s = side * (part * gentlest).min(nearest * 0.9);
                    self.total(t + s).k - here.k - s * (here.mean + side * half) < -30.0
                })
            })
        };
        let mut size = (8.0 * here.variance.sqrt()).max(64.0).min(MOST as f64) as usize;
        size = size.next_power_of_two();
        while size < MOST {
            if size as f64 > range + 2.0 || enough(size as f64 / 2.0) {
                return Ok(size);
            }
            size *= 2;
        }
        Err(OccupancyError::Refused {
            what: "the law of the total demand".to_owned(),
            why: format!("it spreads over more than {MOST} blocks"),
            instead: format!("count in larger blocks than {} tokens", self.block),
        })
    }

    /// The tilt, a token, under which the mean is about the capacity: below 0 where that is below the mean.
    pub(crate) fn tilt_of(&self, capacity: f64) -> f64 {
        self.tilt_over((capacity / f64::from(self.block)).floor()) / f64::from(self.block)
    }

    /// K(t) of the total and its derivatives, in blocks.
    pub(crate) fn total_at(&self, t: f64) -> Cumulants {
        self.total(t)
    }

    /// The tilt by which samples are drawn where the demand is about the capacity.
    pub(crate) fn tilt_for(&self, capacity: f64) -> f64 {
        let blocks = (capacity / f64::from(self.block)).floor();
        self.tilt_over(blocks).max(0.0) / f64::from(self.block)
    }
}

/// Tokens of a capacity in whole blocks.
pub(crate) fn whole_blocks(capacity: f64, block: u32) -> f64 {
    let block = f64::from(block);
    (capacity / block).floor() * block
}

fn sum(first: f64, last: f64, term: impl Fn(f64) -> f64) -> f64 {
    (first as u64..=last as u64).map(|j| term(j as f64)).sum()
}

/// Transforms' tables, which take longer to make than to use.
fn planner() -> MutexGuard<'static, RealFftPlanner<f64>> {
    static PLANNER: LazyLock<Mutex<RealFftPlanner<f64>>> =
        LazyLock::new(|| Mutex::new(RealFftPlanner::new()));
    PLANNER.lock().unwrap_or_else(PoisonError::into_inner)
}
