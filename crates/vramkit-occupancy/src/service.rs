//! What is asked about: traffic, how it is served, and for how long.

use statrs::function::gamma::checked_gamma_lr;

use crate::batch::Batch;
use crate::cycles::{Cycles, Effort, simulate_with};
use crate::deadline::Deadline;
use crate::demand::{Population, TokenDemand, whole_blocks};
use crate::error::{OccupancyError, finite};
use crate::exact::Exact;
use crate::lengths::Lengths;
use crate::limits::ENOUGH;
use crate::simulation::Start;
use crate::source::Order;

/// Requests of a seat, one after the other, after which most batches have forgotten how they began.
const MANY: f64 = 40.0;

/// Sequences whose sum is twice its mean with less than 1e-100: a sum of 2N exponential lengths has e^(−2N(1 − ln 2)).
const SURELY: f64 = 1000.0;

/// How sequences are replaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Batching {
    /// All that ended at once, when this part of the batch has ended.
    Threshold(Batch),
    /// Each at once.
    Continuous {
        /// Sequences in the batch.
        seats: u32,
    },
}

impl Batching {
    /// N.
    pub fn seats(self) -> u32 {
        match self {
            Self::Threshold(batch) => batch.seats(),
            Self::Continuous { seats } => seats,
        }
    }

    /// As threshold batching: continuous batching refills at every ending, k = 1.
    ///
    /// # Errors
    /// No seats, or over 2^20 of them.
    pub fn batch(self) -> Result<Batch, OccupancyError> {
        match self {
            Self::Threshold(batch) => Ok(batch),
            Self::Continuous { seats } => Batch::new(seats, 1),
        }
    }

    /// The same with another number of seats.
    #[must_use]
    pub fn with_seats(self, seats: u32) -> Self {
        match self {
            Self::Threshold(batch) => Self::Threshold(batch.with_seats(seats)),
            Self::Continuous { .. } => Self::Continuous { seats },
        }
    }
}

/// For how long it must not run out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Horizon {
    /// One cycle of threshold batching; under continuous batching, one step drawn at random.
    Cycle,
    /// So many decode steps.
    Steps(f64),
}

/// Traffic, how it is served, and for how long.
///
/// ```
/// use vramkit_occupancy::{Batching, Horizon, Lengths, RequestLengths, Service, Start};
///
/// // All alike and all at once: in one step all are at their longest.
/// let lengths = Lengths::from_requests(vec![RequestLengths { prompt: 1000, output: 1000 }])?;
/// let cold = Service { start: Start::Cold, ..Service::new(&lengths, Horizon::Steps(20_000.0)) };
/// assert_eq!(cold.least_capacity(Batching::Continuous { seats: 64 }, 0.01)?.value, 128_000.0);
/// # Ok::<(), vramkit_occupancy::OccupancyError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Service<'a> {
    /// The traffic.
    pub lengths: &'a Lengths,
    /// Tokens that a block of memory holds; 1 when it is granted by the token. Threshold batching counts in tokens.
    pub block: u32,
    /// For how long.
    pub horizon: Horizon,
    /// What the batch is when the horizon begins.
    pub start: Start,
    /// In which order requests come.
    pub order: Order,
    /// Requests that come in a step on average, each by itself; `None` where there always is one for a free seat. Continuous
    /// batching alone.
    pub arrivals: Option<f64>,
    /// Cycles or samples to draw, and where the random numbers start.
    pub effort: Effort,
    /// Until when.
    pub deadline: Deadline,
    /// Told how much work is done, in cycles.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl<'a> Service<'a> {
    /// A traffic over a horizon, all else as it mostly is: memory by the token, settled, requests in any order and always enough of them.
    pub fn new(lengths: &'a Lengths, horizon: Horizon) -> Self {
        Self {
            lengths,
            block: 1,
            horizon,
            start: Start::default(),
            order: Order::default(),
            arrivals: None,
            effort: Effort::default(),
            deadline: Deadline::none(),
            progress: &|_| {},
        }
    }

    pub(crate) fn check(&self, capacity: f64) -> Result<(), OccupancyError> {
        if let Horizon::Steps(steps) = self.horizon {
            finite("the horizon", steps, 1.0..=1e15, "it must be 1 to 1e15 steps")?;
        }
        finite("the cycles", self.effort.cycles as f64, 1e3..=1e8, "simulate 1,000 to 100,000,000 cycles")?;
        self.lengths.check_capacity(capacity)
    }

    /// Whether there are seats for as many as ever come at once, but for a millionth of the time: then none waits.
    pub(crate) fn is_unlimited(&self, seats: u32) -> bool {
        self.arrivals.is_some_and(|rate| {
            // P(Poisson(m) ≥ n) is the incomplete gamma function of n at m.
            let mean = rate * self.lengths.mean_output();
            let seats = f64::from(seats);
            seats > mean && checked_gamma_lr(seats, mean).is_ok_and(|crowded| crowded < 1e-6)
        })
    }

    /// Whether requests may have to wait for a seat.
    pub(crate) fn has_queue(&self, seats: u32) -> bool {
        self.arrivals.is_some() && !self.is_unlimited(seats)
    }

    /// Whether nothing is known of continuous batching but what is simulated from beginning to end.
    pub(crate) fn is_simulated(&self, seats: u32) -> bool {
        self.order == Order::AsLogged || self.has_queue(seats)
    }

    /// Tokens of a capacity that are granted: whole blocks, under continuous batching.
    pub(crate) fn granted(&self, batching: Batching, capacity: f64) -> f64 {
        match batching {
            Batching::Continuous { .. } => whole_blocks(capacity, self.block),
            Batching::Threshold(_) => capacity,
        }
    }

    /// The part of the seats that is taken, where requests arrive; 1 and more is too few seats for them.
    pub fn load(&self, seats: u32) -> Option<f64> {
        self.arrivals.map(|rate| rate * self.lengths.mean_output() / f64::from(seats))
    }

    pub(crate) fn demand(&self, seats: u32) -> Result<TokenDemand, OccupancyError> {
        let population = match self.arrivals {
            Some(per_step) if self.is_unlimited(seats) => Population::Arrivals { per_step },
            _ => Population::Seats(seats),
        };
        TokenDemand::new(self.lengths, population, self.block)
    }

    /// About what is served, in closed form: as if none waited where requests arrive.
    pub(crate) fn demand_like(&self, seats: u32) -> Result<TokenDemand, OccupancyError> {
        let population = match self.arrivals {
            Some(per_step) => Population::Arrivals { per_step },
            None => Population::Seats(seats),
        };
        TokenDemand::new(self.lengths, population, self.block)
    }

    /// Whether outputs are so much alike that sequences keep time with each other for many requests.
    pub(crate) fn keeps_together(&self) -> bool {
        let memory = self.lengths.memory();
        memory.is_none_or(|memory| memory as f64 > MANY * self.lengths.mean_output())
    }

    /// Whether memory is enough however long sequences get, or but for less than 1e-100.
    pub(crate) fn always_fits(&self, batching: Batching, capacity: f64) -> bool {
        // A sequence under way is at most twice as long as any, on average; of so many no sum is twice its mean.
        if let (Some((prompt, termination)), seats) =
            (self.lengths.as_geometric(), f64::from(batching.seats()))
            && seats >= SURELY
            && capacity > 2.0 * seats * (prompt + 2.0 / termination)
        {
            return true;
        }
        let block = if let Batching::Continuous { .. } = batching { self.block } else { 1 };
        let each = self.lengths.largest_granted(block);
        let granted = self.granted(batching, capacity);
        each.is_some_and(|each| f64::from(batching.seats()) * each <= granted)
    }

    /// Simulated cycles of a batch, enough for a risk of this size to be met often.
    ///
    /// # Errors
    /// Bad input; refused when it takes too long.
    pub fn cycles(&self, batch: Batch, risk: f64) -> Result<Cycles, OccupancyError> {
        let cycles = ((16.0 * ENOUGH / risk.max(1e-12)) as u64)
            .clamp(self.effort.cycles, self.effort.cycles.saturating_mul(20));
        let effort = Effort { cycles, ..self.effort };
        simulate_with(batch, self.lengths, effort, self.deadline, self.progress)
    }

    /// The closed forms with a log's means: exact for geometric lengths, a place to begin for others.
    pub(crate) fn exact(&self, batch: Batch) -> Exact {
        let lengths = self.lengths;
        let termination = 1.0 / lengths.mean_output();
        Exact::new(batch, lengths.mean_prompt(), lengths.prompt_variance(), termination)
    }

    pub(crate) fn steps(&self) -> f64 {
        match self.horizon {
            Horizon::Cycle => 1.0,
            Horizon::Steps(steps) => steps,
        }
    }

    /// Cycles of a horizon.
    pub(crate) fn cycles_within(&self, steps_of_a_cycle: f64) -> f64 {
        match self.horizon {
            Horizon::Cycle => 1.0,
            Horizon::Steps(steps) => (steps / steps_of_a_cycle).max(1.0),
        }
    }
}
