//! The probability that continuous batching runs out at some step of a horizon, however rare.
//!
//! Poisson clumping: exceedances come in clumps, for what is over the capacity now mostly is in the next step too, so steps
//! times P(D > C) is many times too high. Clumps are rare and far apart, so they come as a Poisson process (Aldous,
//! "Probability Approximations via the Poisson Clumping Heuristic", 1989): with λ the rate at which clumps end,
//!
//! P(out within T) ≈ 1 − (1 − P(D > C))·e^(−λT),  λ = P(D₀ > C, D₁ … D_W ≤ C).
//!
//! λ is estimated by importance sampling. Every sequence's state is drawn from its law tilted so that the mean of the total
//! is the capacity, the batch is run on as it would really run, and the sample weighs e^(K − tD₀). The union bound
//! P(D > C) + T·P(D₀ > C ≥ D₁) comes from the same samples: nothing can be above it.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cycles::Estimate;
use crate::demand::{Population, TokenDemand};
use crate::error::{OccupancyError, finite};
use crate::inversion::{exposure, risk_of};
use crate::lengths::{Draws, Law};
use crate::random::RandomStream;
use crate::tilted::Tilted;

/// Samples drawn in one piece of work.
const PIECE: u64 = 128;
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
    /// No more than this, whatever clumps are like.
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
    /// random. Draws `samples` samples (2,000 give some 20 %); the same for any number of threads.
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
        finite("the horizon", steps, 1.0..=1e15, "it must be at least one step")?;
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
        let often = at_a_moment > OFTEN;
        let saddle = self.saddle(capacity);
        let as_it_is = often.then(|| Tilted::new(&self.lengths, 0.0));
        let tilted = as_it_is.as_ref().unwrap_or(&saddle);
        let steps_ahead = if often { steps as u64 } else { self.memory().min(steps.ceil() as u64) };
        let run = self.run(tilted, capacity, steps_ahead);
        // Whole horizons are dear and need no more.
        let pieces = if often { samples.min(512) } else { samples }.div_ceil(PIECE);
        let found: Vec<Weighted> = (0..pieces)
            .into_par_iter()
            .map(|piece| {
                let mut stream = RandomStream::new(seed, piece);
                let mut room = Room::default();
                let mut sum = Weighted::default();
                for _ in 0..PIECE {
                    if often {
                        sum.over += f64::from(run.runs_out(&mut stream, &mut room));
                    } else {
                        run.sample(&mut stream, &mut room, &mut sum);
                    }
                }
                sum
            })
            .collect();
        let sum = |value: fn(&Weighted) -> f64| found.iter().map(value).sum::<f64>();
        let (over, crossed, ended) = (sum(|f| f.over), sum(|f| f.crossed), sum(|f| f.ended));
        // −ln P(never over). Probabilities of staying within multiply, so this adds up.
        let (exposure, sampling_error_ratio, union_bound) = if often {
            // Half a horizon that did not run out more than were seen, so that none is certain.
            let count = (pieces * PIECE) as f64;
            let ran_out = over / (count + 0.5);
            let exposure = exposure(ran_out);
            let error = (ran_out * (1.0 - ran_out) / count).sqrt() / (1.0 - ran_out) / exposure.max(1e-9);
            (exposure, error, 1.0)
        } else {
            // P(D > C) is known: only the ratio to it is estimated, in which much of the weights' noise cancels.
            let ratio = |part: f64| if over > 0.0 { at_a_moment * part / over } else { 0.0 };
            let error = if ended > 0.0 {
                found.iter().map(|f| (f.ended / ended - f.over / over).powi(2)).sum::<f64>().sqrt()
            } else {
                f64::INFINITY
            };
            let exposure = exposure(at_a_moment) + ratio(ended) * steps;
            (exposure, error, (at_a_moment + steps * ratio(crossed)).min(1.0))
        };
        let log_error_ratio = self.log_error(&saddle);
        let error = (2.0 * sampling_error_ratio.hypot(log_error_ratio)).min(700.0);
        Ok(HorizonRisk {
            probability: risk_of(exposure),
            low: risk_of(exposure * (-error).exp()),
            high: risk_of(exposure * error.exp()),
            union_bound,
            at_a_moment,
            method: if often { HorizonMethod::Simulated } else { HorizonMethod::Clumps },
            sampling_error_ratio,
            log_error_ratio,
        })
    }

    /// The same by running whole horizons and counting those that run out: for risks that `runs` of them would meet. With 0
    /// steps, moments drawn at random.
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
        let tilted = Tilted::new(&self.lengths, 0.0);
        let run = self.run(&tilted, capacity, steps as u64);
        let piece = runs.div_ceil(64).clamp(1, PIECE);
        let pieces = runs.div_ceil(piece);
        let out: u64 = (0..pieces)
            .into_par_iter()
            .map(|number| {
                let (mut stream, mut room) = (RandomStream::new(seed ^ 0x51, number), Room::default());
                (0..piece).filter(|_| run.runs_out(&mut stream, &mut room)).count() as u64
            })
            .sum();
        let count = (pieces * piece) as f64;
        let mean = out as f64 / count;
        Ok(Estimate { mean, standard_error: (mean * (1.0 - mean) / count).sqrt().max(0.5 / count) })
    }

    /// Requests under way, tilted so that the mean of the total is the capacity.
    pub(crate) fn saddle(&self, capacity: f64) -> Tilted<'_> {
        Tilted::new(&self.lengths, self.tilt_for(capacity))
    }

    fn run<'a>(&'a self, tilted: &'a Tilted<'a>, capacity: f64, steps: u64) -> Run<'a> {
        let block = f64::from(self.block);
        let capacity = (capacity / block).floor() * block;
        Run { demand: self, draws: self.lengths.draws(), tilted, capacity, steps }
    }

    /// Steps after which what was held before hardly matters: three times the mean time that a sequence under way has
    /// left, or the mean output if that is longer.
    fn memory(&self) -> u64 {
        let mean = self.lengths.mean_output();
        let left = match &self.lengths.law {
            Law::Geometric { .. } => mean,
            Law::Log(requests) => {
                let squares: f64 = requests.iter().map(|r| f64::from(r.output).powi(2)).sum();
                squares / requests.len() as f64 / (2.0 * mean)
            }
        };
        (3.0 * mean.max(left)).ceil() as u64
    }

    /// The standard error of ln P from a log's finite number of requests, by the delta method: how much K(t), times the
    /// sequences, would differ if the log were drawn again.
    pub(crate) fn log_error(&self, tilted: &Tilted) -> f64 {
        let Some(requests) = self.lengths.requests() else { return 0.0 };
        let count = requests.len() as f64;
        let output = self.lengths.mean_output();
        let mean = tilted.weights().sum::<f64>() / count;
        let influence = |weight: f64, output_here: f64| match self.population {
            Population::Seats(seats) => f64::from(seats) * (weight / mean - output_here / output),
            Population::Arrivals { per_step } => {
                per_step * ((weight - mean) * tilted.scale() - (output_here - output))
            }
        };
        let squares: f64 = tilted
            .weights()
            .zip(requests)
            .map(|(weight, request)| influence(weight, f64::from(request.output)).powi(2))
            .sum();
        squares.sqrt() / count
    }
}

/// Sums of weights of samples.
#[derive(Clone, Copy, Debug, Default)]
struct Weighted {
    /// Of those over the capacity.
    over: f64,
    /// Of those that are not in the next step.
    crossed: f64,
    /// Of those that are not again for long: a clump has ended.
    ended: f64,
}

/// A sequence on its way.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// The last step in which it is there. The sample is drawn in step 0.
    ends: u64,
    /// Tokens that it holds in that step.
    full: u64,
}

/// What a sample needs room for, used again by the next.
#[derive(Default)]
struct Room {
    running: Vec<Running>,
    /// Tokens granted to all of them.
    demand: f64,
    /// When the next one comes, in steps; never to seats that are always taken.
    next_arrival: f64,
    changes: Vec<f64>,
}

struct Run<'a> {
    demand: &'a TokenDemand,
    draws: Draws<'a>,
    tilted: &'a Tilted<'a>,
    /// Tokens, in whole blocks.
    capacity: f64,
    /// How long to look on.
    steps: u64,
}

impl Run<'_> {
    fn granted(&self, tokens: u64) -> f64 {
        tokens.next_multiple_of(self.demand.block.into()) as f64
    }

    /// Draws every sequence on its way in step 0: the tokens that they hold.
    fn start(&self, stream: &mut RandomStream, room: &mut Room) -> u64 {
        room.running.clear();
        (room.demand, room.next_arrival) = (0.0, f64::INFINITY);
        let mut tokens = 0;
        let mut join = |stream: &mut RandomStream| {
            let (prompt, output, age) = self.tilted.draw(stream);
            tokens += prompt + u64::from(age);
            room.demand += self.granted(prompt + u64::from(age));
            room.running.push(Running { ends: u64::from(output - age), full: prompt + u64::from(output) });
        };
        match self.demand.population {
            Population::Seats(count) => (0..count).for_each(|_| join(stream)),
            Population::Arrivals { per_step } => {
                // A Poisson number of them, counted by its exponential gaps.
                let mut left = self.demand.sequences() * self.tilted.factor() - stream.exponential();
                while left > 0.0 {
                    join(stream);
                    left -= stream.exponential();
                }
                room.next_arrival = stream.exponential() / per_step;
            }
        }
        tokens
    }

    /// Runs on from step `from` to step `to`; what changes in each step is then in `room.changes`.
    fn go_on(&self, stream: &mut RandomStream, room: &mut Room, from: u64, to: u64) {
        let Room { running, changes, next_arrival, .. } = room;
        changes.clear();
        changes.resize((to - from) as usize, 0.0);
        running.retain_mut(|seat| self.follow(stream, changes, from, from, seat));
        while *next_arrival < to as f64 {
            let begin = next_arrival.max(from as f64) as u64 + 1;
            let mut seat = self.begin(stream, changes, from, begin);
            if self.follow(stream, changes, from, begin, &mut seat) {
                running.push(seat);
            }
            if let Population::Arrivals { per_step } = self.demand.population {
                *next_arrival += stream.exponential() / per_step;
            }
        }
    }

    /// Whether a horizon that starts at a moment drawn at random meets a step over the capacity.
    fn runs_out(&self, stream: &mut RandomStream, room: &mut Room) -> bool {
        self.start(stream, room);
        let (mut from, mut length) = (0, 64);
        while room.demand <= self.capacity && from < self.steps {
            let to = (from + length).min(self.steps);
            self.go_on(stream, room, from, to);
            for change in &room.changes {
                room.demand += change;
                if room.demand > self.capacity {
                    break;
                }
            }
            (from, length) = (to, (length * 2).min(4096));
        }
        room.demand > self.capacity
    }

    fn sample(&self, stream: &mut RandomStream, room: &mut Room, found: &mut Weighted) {
        let tokens = self.start(stream, room);
        if room.demand <= self.capacity {
            return;
        }
        // Relative to a total of just the capacity: only ratios are used.
        let weight = (-self.tilted.tilt() * (tokens as f64 - self.capacity)).exp();
        found.over += weight;
        // Most are over again soon, so the stretches looked at grow as they go.
        let (mut from, mut length) = (0, 4);
        while from < self.steps {
            let to = (from + length).min(self.steps);
            self.go_on(stream, room, from, to);
            for (i, change) in room.changes.iter().enumerate() {
                room.demand += change;
                if room.demand > self.capacity {
                    return;
                }
                if from == 0 && i == 0 {
                    found.crossed += weight;
                }
            }
            (from, length) = (to, length * 2);
        }
        found.ended += weight;
    }

    /// A new sequence, whose first step is `begin`.
    fn begin(&self, stream: &mut RandomStream, changes: &mut [f64], from: u64, begin: u64) -> Running {
        let (prompt, output) = self.draws.whole_request(stream);
        changes[(begin - from - 1) as usize] += self.granted(prompt + 1);
        Running { ends: begin + u64::from(output) - 1, full: prompt + u64::from(output) }
    }

    /// Follows a seat on from step `at`, for as many steps after `from` as there are changes. False when it is empty then.
    fn follow(
        &self,
        stream: &mut RandomStream,
        changes: &mut [f64],
        from: u64,
        at: u64,
        seat: &mut Running,
    ) -> bool {
        let to = from + changes.len() as u64;
        let block = u64::from(self.demand.block);
        let mut at = at;
        loop {
            // A block more in each step whose token is the first of one.
            let held = seat.full - (seat.ends - at);
            let first = at + (held.next_multiple_of(block) - held) + 1;
            let last = seat.ends.min(to);
            if first <= last {
                let steps = (first - from - 1) as usize..(last - from) as usize;
                changes[steps].iter_mut().step_by(block as usize).for_each(|change| *change += block as f64);
            }
            if seat.ends >= to {
                return true;
            }
            at = seat.ends + 1;
            changes[(at - from - 1) as usize] -= self.granted(seat.full);
            if let Population::Arrivals { .. } = self.demand.population {
                return false;
            }
            *seat = self.begin(stream, changes, from, at);
        }
    }
}
