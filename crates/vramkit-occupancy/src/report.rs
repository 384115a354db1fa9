//! The document `vramkit.capacity/1`, and what is asked for it.

use serde::{Deserialize, Serialize};

use crate::cycles::Convention;
use crate::risk::RiskMethod;
use crate::service::Batching;
use crate::waits::WaitingTime;

/// The name and version of [`OccupancyReport`]'s JSON.
pub const SCHEMA: &str = "vramkit.capacity/1";

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// How many sequences, and how they are replaced.
    pub batching: Batching,
    /// Memory, tokens.
    pub capacity: Option<f64>,
    /// The risk that would do.
    pub risk: f64,
}

/// One figure by each model; `None` where a model has nothing to say, or nothing it can stand behind.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Predictions {
    /// By the published formulas.
    pub published: Option<f64>,
    /// By the corrected closed forms.
    pub corrected: Option<f64>,
    /// Exactly, or simulated where no closed form is sound.
    pub exact: Option<f64>,
    /// By simulation.
    pub simulated: Option<f64>,
    /// The standard error of the simulation.
    pub standard_error: Option<f64>,
}

/// The probability that the peak of a cycle is over the capacity, by each model.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TailPredictions {
    /// The published bound, from its own E\[X0\].
    pub published: Option<f64>,
    /// By a Gamma law with the corrected moments.
    pub corrected: Option<f64>,
    /// By simulation, splitting, or the exact law.
    pub exact: Option<f64>,
}

/// The largest batch for one risk.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BatchForRisk {
    /// The risk over the horizon.
    pub risk: f64,
    /// The batch; `None` where refused.
    pub max_batch: Option<u32>,
    /// It may be as small as this.
    pub max_batch_low: Option<u32>,
    /// Or as large as this.
    pub max_batch_high: Option<u32>,
}

/// The traffic that was asked about.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TrafficReport {
    /// How many requests it was learned from; `None` for a formula.
    pub requests: Option<u64>,
    /// Mean prompt, tokens.
    pub mean_prompt: f64,
    /// Mean output, tokens.
    pub mean_output: f64,
    /// Endings over decode steps.
    pub termination: f64,
    /// The longest that a request can get, tokens; `None` without a limit.
    pub largest: Option<f64>,
}

/// The answer. Sizes are in tokens; probabilities are for the horizon asked about, `tail` for a cycle.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OccupancyReport {
    /// `vramkit.capacity/1`.
    pub schema: String,
    /// N.
    pub batch: u32,
    /// k; 1 under continuous batching.
    pub threshold: u32,
    /// Whether each seat is refilled at once.
    pub continuous: bool,
    /// What was asked about.
    pub traffic: TrafficReport,
    /// Whether all seats are filled at once when the horizon begins.
    pub cold_start: bool,
    /// Whether requests come in the log's own order.
    pub as_logged: bool,
    /// Requests that come in a step on average; `None` where there always is one for a free seat.
    pub arrivals_per_step: Option<f64>,
    /// The part of the seats that these take; 1 and more is too few seats for them.
    pub load_ratio: Option<f64>,
    /// How long requests wait for a seat, in decode steps.
    pub waiting: Option<WaitingTime>,
    /// Tokens of memory; `None` when none was given.
    pub capacity_tokens: Option<f64>,
    /// Bytes that a token takes, when a model was given.
    pub kv_bytes_per_token: Option<u64>,
    /// Steps of the horizon; `None` for a cycle (threshold batching) or a step drawn at random (continuous).
    pub horizon_steps: Option<f64>,
    /// Tokens held as decoding starts, on average.
    pub x0: Predictions,
    /// How much the peak of a cycle is above that, on average.
    pub kappa: Predictions,
    /// The peak of a cycle, on average.
    pub xmax: Predictions,
    /// The peak of one cycle over the capacity.
    pub tail: TailPredictions,
    /// Steps of a cycle, on average.
    pub cycle_steps: f64,
    /// Of running out within the horizon; `None` without a capacity, or refused.
    pub probability: Option<f64>,
    /// Within two standard errors of what was sampled and of the log's finite number of requests.
    pub probability_low: Option<f64>,
    /// The upper end.
    pub probability_high: Option<f64>,
    /// Whether the risk asked about is kept; `None` without a capacity, and where nothing says.
    pub within_risk: Option<bool>,
    /// The same probability if all seats are filled at once when the horizon begins; `None` where that was asked about already, or not
    /// computed.
    pub cold_start_probability: Option<f64>,
    /// How it was found.
    pub probability_method: Option<RiskMethod>,
    /// Why by that.
    pub probability_reason: Option<String>,
    /// The risk asked about.
    pub risk: f64,
    /// The largest batch with this risk.
    pub max_batch: Option<u32>,
    /// Largest batches for this and other risks.
    pub batches: Vec<BatchForRisk>,
    /// Sequences that would fit if each were of mean length: half the time too many.
    pub mean_fit_batch: Option<u32>,
    /// Sequences that always fit; `None` when lengths have no limit.
    pub worst_case_batch: Option<u32>,
    /// The least memory with which the batch has the risk; `None` where refused.
    pub capacity_tokens_needed: Option<f64>,
    /// It may be as little as this.
    pub capacity_tokens_needed_low: Option<f64>,
    /// Or as much as this.
    pub capacity_tokens_needed_high: Option<f64>,
    /// The same in bytes, when a model was given.
    pub capacity_bytes_needed: Option<u64>,
    /// What the peak of a cycle is taken to be.
    pub convention: Convention,
    /// What was refused and why, and where the published model does not hold.
    pub notes: Vec<String>,
}
