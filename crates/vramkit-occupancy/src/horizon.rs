//! The probability that continuous batching runs out at some step of a horizon, however rare.
//!
//! Exceedances come in clumps, for what is over the capacity now mostly is in the next step too, so steps times P(D > C) is many
//! times too high. All three ways weigh samples of importance sampling, whose sequences are drawn from their law tilted so that
//! the mean of the total is the capacity:
//!
//! - **Clumps**, where a horizon is long against what a batch remembers: they come as a Poisson process (Aldous, "Probability
//!   Approximations via the Poisson Clumping Heuristic", 1989), P(out within T) ≈ 1 − (1 − P(D > C))·e^(−λT) with λ = P(D > C)·E\[1 / steps
//!   over C in the clump | over at a moment\]. A clump has ended, on either side, when as many steps are not over as a batch remembers.
//! - **Sojourns**, where it is not, as when outputs are so alike that the seats of today are those of long ago: a moment of the horizon
//!   is drawn, the whole horizon run from it both ways, and P = T·P(D > C)·E\[1 / steps over C | over at that moment\]
//!   (Adler, Blanchet and Liu, "Efficient Monte Carlo for high excursions of Gaussian random fields", 2012). It supposes nothing.
//! - **Simulated**, where running out is no rare thing: horizons are run and counted.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cycles::Estimate;
use crate::deadline::Deadline;
use crate::demand::{Population, TokenDemand, whole_blocks};
use crate::error::{OccupancyError, finite};
use crate::inversion::{exposure, risk_of};
use crate::random::RandomStream;
use crate::run::{Room, Run, Time};
use crate::tilted::Tilted;

/// Samples drawn in one piece of work, and pieces between two looks at the clock.
const PIECE: u64 = 64;
const ROUND: u64 = 8;
/// Fewer say nothing.
const FEW: u64 = 256;
/// As precise as this is precise enough, once a quarter of the samples are drawn.
const PRECISE: f64 = 0.02;
/// Over the capacity this often, it is soon met by running on, and clumps are no longer far apart.
const OFTEN: f64 = 2e-3;

/// How a probability over a horizon was found.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HorizonMethod {
    /// It is 0 or 1 whatever happens.
    Certain,
    /// Poisson clumping, clumps counted by importance sampling: running out is rare.
    Clumps,
    /// Whole horizons around a moment over the capacity: what it holds is remembered for long.
    Sojourns,
    /// Horizons run through and counted: it is not.
    Simulated,
}

/// How likely continuous batching is to run out.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HorizonRisk {
    /// The probability of being over the capacity in at least one step.
    pub probability: f64,
    /// Within two standard errors, of the samples drawn and of the log that the traffic was learned from.
    pub low: f64,
    /// The upper end of the same.
    pub high: f64,
    /// No more than this, whatever clumps are like: every step by itself.
    pub union_bound: f64,
    /// At a moment drawn at random.
    pub at_a_moment: f64,
    /// What was done, and so how far it can be trusted.
    pub method: HorizonMethod,
    /// Relative standard error of −ln(1 − probability) from the number of samples.
    pub sampling_error_ratio: f64,
    /// The same from the number of requests in the log that the traffic was learned from; 0 for a formula.
    pub log_error_ratio: f64,
}

impl TokenDemand {
    /// The probability of being over `capacity` tokens in at least one of `steps` steps, started at a moment drawn at
    /// random. Draws up to `samples` samples (2,000 give some 20 %); the same for any number of threads.
    ///
    /// # Errors
    /// A capacity or a number of steps outside its range; what [`tail`](Self::tail) refuses.
    pub fn horizon(
        &self,
        capacity: f64,
        steps: f64,
        samples: u64,
        seed: u64,
    ) -> Result<HorizonRisk, OccupancyError> {
        self.horizon_by(capacity, steps, samples, seed, Deadline::none())
    }

    /// The same with the samples that can be drawn by a deadline.
    ///
    /// # Errors
    /// As for [`horizon`](Self::horizon); refused when they are too few.
    pub fn horizon_by(
        &self,
        capacity: f64,
        steps: f64,
        samples: u64,
        seed: u64,
        deadline: Deadline,
    ) -> Result<HorizonRisk, OccupancyError> {
        finite("the horizon", steps, 1.0..=1e15, "it must be 1 to 1e15 steps")?;
        finite("the samples", samples as f64, 1.0..=1e8, "draw 1 to 100,000,000 samples")?;
        let tail = self.tail(capacity)?;
        let at_a_moment = tail.probability();
        if tail.ln == f64::NEG_INFINITY || tail.ln > -1e-9 {
            let probability = at_a_moment.round();
            return Ok(HorizonRisk {
                probability,
                low: probability,
                high: probability,
                union_bound: probability,
                at_a_moment,
                method: HorizonMethod::Certain,
                sampling_error_ratio: 0.0,
                log_error_ratio: 0.0,
            });
        }
        // The moment that is drawn is the first of them.
        let work = Work { demand: self, capacity, after: steps - 1.0, at_a_moment, seed, deadline };
        let saddle = self.saddle(capacity);
        let memory = match self.population {
            Population::Seats(_) => self.lengths.memory(),
            // Arrivals keep no time.
            Population::Arrivals { .. } => Some(self.lengths.time_left()),
        };
        let remembers = memory.is_none_or(|memory| 4 * memory > steps as u64);
        let found = match memory {
            _ if remembers => {
                let found = work.sojourns(&saddle, samples)?;
                // Counted ones are better known where most run out.
                if found.exposure > 0.5 { work.counted(samples)? } else { found }
            }
            Some(memory) if at_a_moment <= OFTEN => work.clumps(&saddle, samples, memory)?,
            _ => work.counted(samples)?,
        };
        let left_open = self.left_open(capacity, at_a_moment);
        // Over at some step is at least as likely as at one, and no likelier than at all of them added up.
        let least = exposure(at_a_moment.min(1.0 - 1e-15));
        let exposure = found.exposure.max(least);
        Ok(HorizonRisk {
            probability: risk_of(exposure),
            low: risk_of(exposure * (-left_open[0].hypot(2.0 * found.error)).exp()),
            high: risk_of(exposure * left_open[1].hypot(2.0 * found.error).exp()),
            union_bound: (at_a_moment * steps).min(1.0),
            at_a_moment,
            method: found.method,
            sampling_error_ratio: found.error,
            log_error_ratio: 0.5 * left_open[1],
        })
    }

    /// The same by running whole horizons, `steps` on from a moment, and counting those that run out: for risks that `runs` of them would
    /// meet. With 0 steps, moments drawn at random.
    ///
    /// # Errors
    /// A capacity, a number of steps or of runs outside its range.
    pub fn simulate_horizon(
        &self,
        capacity: f64,
        steps: f64,
        runs: u64,
        seed: u64,
    ) -> Result<Estimate, OccupancyError> {
        finite("the capacity", capacity, 1.0..=1e15, "it must be 1 to 1e15 tokens")?;
        finite("the horizon", steps, 0.0..=1e12, "it must be 0 to 1e12 steps")?;
        finite("the runs", runs as f64, 1.0..=1e8, "run 1 to 100,000,000 horizons")?;
        let deadline = Deadline::none();
        let work =
            Work { demand: self, capacity, after: steps, at_a_moment: 0.0, seed: seed ^ 0x51, deadline };
        let (out, count) = work.count(runs)?;
        let mean = out / count;
        Ok(Estimate { mean, standard_error: (mean * (1.0 - mean) / count).sqrt().max(0.5 / count) })
    }

    /// Requests under way, tilted so that the mean of the total is the capacity.
    pub(crate) fn saddle(&self, capacity: f64) -> Tilted<'_> {
        Tilted::new(&self.lengths, self.tilt_for(capacity))
    }
}

/// −ln P(never over the capacity), which adds up where probabilities of staying within multiply, and its relative error.
struct Found {
    exposure: f64,
    error: f64,
    method: HorizonMethod,
}

/// Sums of weights of samples.
#[derive(Clone, Copy, Debug, Default)]
struct Weighted {
    /// Of those over the capacity.
    over: f64,
    /// What is looked for: the same over the steps that are over with them.
    wanted: f64,
}

/// What is looked for.
struct Work<'a> {
    demand: &'a TokenDemand,
    capacity: f64,
    /// Steps after the first one.
    after: f64,
    at_a_moment: f64,
    seed: u64,
    deadline: Deadline,
}

impl<'a> Work<'a> {
    fn run(&self, tilted: &'a Tilted<'a>) -> Run<'a> {
        Run { demand: self.demand, draws: self.demand.lengths.draws(), tilted }
    }

    fn limit(&self) -> f64 {
        whole_blocks(self.capacity, self.demand.block)
    }

    /// Draws samples until they are precise enough, or all drawn, or time is over. Sums of pieces.
    fn draw(
        &self,
        samples: u64,
        sample: impl Fn(&mut RandomStream, &mut Room, &mut Weighted) + Sync,
    ) -> Result<Vec<Weighted>, OccupancyError> {
        let pieces = samples.div_ceil(PIECE);
        let mut found: Vec<Weighted> = Vec::new();
        while (found.len() as u64) < pieces {
            let begin = found.len() as u64;
            let round = begin..(begin + ROUND).min(pieces);
            let more = round.into_par_iter().map(|piece| {
                let mut stream = RandomStream::new(self.seed, piece);
                let (mut room, mut sum) = (Room::default(), Weighted::default());
                for _ in 0..PIECE {
                    if self.deadline.has_passed() {
                        return None;
                    }
                    sample(&mut stream, &mut room, &mut sum);
                }
                Some(sum)
            });
            let more: Vec<Option<Weighted>> = more.collect();
            let late = more.iter().any(Option::is_none);
            found.extend(more.into_iter().flatten());
            if late {
                break;
            }
            if found.len() as u64 * 4 >= pieces && ratio_and_error(&found).1 < PRECISE {
                break;
            }
        }
        let enough = FEW.min(samples).div_ceil(PIECE) as usize;
        if found.len() < enough { Err(Deadline::refused("the risk of running out")) } else { Ok(found) }
    }

    fn clumps(&self, saddle: &Tilted, samples: u64, memory: u64) -> Result<Found, OccupancyError> {
        let steps = self.after.min(1e18) as u64;
        let (inverse, error) = self.inverse_of_steps(saddle, samples, memory, |_| [steps; 2])?;
        Ok(Found {
            exposure: exposure(self.at_a_moment) + self.at_a_moment * inverse * self.after,
            error,
            method: HorizonMethod::Clumps,
        })
    }

    fn sojourns(&self, saddle: &Tilted, samples: u64) -> Result<Found, OccupancyError> {
        let steps = self.after.ceil() as u64;
        let around = |stream: &mut RandomStream| {
            let before = stream.below(steps as usize + 1) as u64;
            [steps - before, before]
        };
        let (inverse, error) = self.inverse_of_steps(saddle, samples, u64::MAX, around)?;
        let probability = self.at_a_moment * (steps + 1) as f64 * inverse;
        Ok(Found { exposure: exposure(probability.min(1.0 - 1e-12)), error, method: HorizonMethod::Sojourns })
    }

    /// E[1 / steps over the capacity | over it now], and its relative standard error. Steps are looked at around the moment, so many after and
    /// before it, until as many in a row are not over as `quiet`.
    fn inverse_of_steps(
        &self,
        saddle: &Tilted,
        samples: u64,
        quiet: u64,
        around: impl Fn(&mut RandomStream) -> [u64; 2] + Sync,
    ) -> Result<(f64, f64), OccupancyError> {
        let (run, limit) = (self.run(saddle), self.limit());
        let found = self.draw(samples, |stream, room, sum| {
            let tokens = run.start(stream, room);
            if room.demand <= limit {
                return;
            }
            // Relative to a total of just the limit: only ratios are used.
            let weight = (-run.tilted.tilt() * (tokens as f64 - limit)).exp();
            sum.over += weight;
            let [after, before] = around(stream);
            let mut over = 1_u64;
            for (time, ahead) in [(Time::Forwards, after), (Time::Backwards, before)] {
                run.turn(stream, room, time);
                let (mut from, mut length, mut calm) = (0, 64, 0);
                while from < ahead && calm < quiet && !self.deadline.has_passed() {
                    let to = (from + length).min(ahead);
                    let mut demand = room.demand;
                    for change in run.go_on(stream, room, (from, to), time) {
                        demand += change;
                        calm = if demand > limit { 0 } else { calm + 1 };
                        if calm >= quiet {
                            break;
                        }
                        over += u64::from(calm == 0);
                    }
                    room.demand = demand;
                    (from, length) = (to, (2 * length).min(4096));
                }
            }
            sum.wanted += weight / over as f64;
        })?;
        let (inverse, error) = ratio_and_error(&found);
        if !error.is_finite() {
            return Err(OccupancyError::Refused {
                what: "the risk of running out".to_owned(),
                why: "no sample that was drawn is over the capacity".to_owned(),
                instead: "draw more samples".to_owned(),
            });
        }
        Ok((inverse, error))
    }

    fn counted(&self, samples: u64) -> Result<Found, OccupancyError> {
        // Whole horizons are dear and need no more.
        let (out, count) = self.count(samples.min(1024))?;
        // Half a horizon that did not run out more than were seen, so that none is certain.
        let ran_out = out / (count + 0.5);
        let exposure = exposure(ran_out);
        let error = (ran_out * (1.0 - ran_out) / count).sqrt() / (1.0 - ran_out) / exposure.max(1e-9);
        Ok(Found { exposure, error, method: HorizonMethod::Simulated })
    }

    /// How many of at least so many horizons run out.
    fn count(&self, runs: u64) -> Result<(f64, f64), OccupancyError> {
        let as_it_is = Tilted::new(&self.demand.lengths, 0.0);
        let (run, limit) = (self.run(&as_it_is), self.limit());
        let steps = self.after as u64;
        let found = self.draw(runs, |stream, room, sum| {
            run.start(stream, room);
            let (mut from, mut length) = (0, 64);
            while room.demand <= limit && from < steps && !self.deadline.has_passed() {
                let to = (from + length).min(steps);
                let mut demand = room.demand;
                for change in run.go_on(stream, room, (from, to), Time::Forwards) {
                    demand += change;
                    if demand > limit {
                        break;
                    }
                }
                room.demand = demand;
                (from, length) = (to, (length * 2).min(4096));
            }
            sum.over += 1.0;
            sum.wanted += f64::from(u8::from(room.demand > limit));
        })?;
        Ok((found.iter().map(|f| f.wanted).sum(), found.iter().map(|f| f.over).sum()))
    }
}

/// What is wanted over all that is over the capacity, and its relative standard error.
fn ratio_and_error(found: &[Weighted]) -> (f64, f64) {
    let sum = |value: fn(&Weighted) -> f64| found.iter().map(value).sum::<f64>();
    let (over, wanted) = (sum(|f| f.over), sum(|f| f.wanted));
    if over <= 0.0 || wanted <= 0.0 {
        return (0.0, f64::INFINITY);
    }
    let squares = found.iter().map(|f| (f.wanted / wanted - f.over / over).powi(2)).sum::<f64>();
    (wanted / over, squares.sqrt())
}
