//! What was measured and predicted, as a document: `vramkit.validate/1`.

use serde::{Deserialize, Serialize};
use vramkit::ByteSize;

/// The name and version of [`ValidateReport`]'s JSON.
pub(crate) const SCHEMA: &str = "vramkit.validate/1";

/// What was measured, what is predicted, and how far they are apart. Tokens and steps unless said; a ratio of 0.1 is 10 %. What cannot
/// be said is `null`, and a note says why.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ValidateReport {
    /// `vramkit.validate/1`.
    pub schema: &'static str,
    /// The model's file.
    pub model: String,
    /// `alpaca`, `sharegpt` or `lengths`.
    pub dataset: &'static str,
    /// What was asked, and what the requests were.
    pub parameters: Parameters,
    /// Means over cycles.
    pub measured: Measured,
    /// What each model of the cache's occupancy says.
    pub predicted: Predicted,
    /// How far off that is.
    pub errors: Errors,
    /// How often a cycle rises by more than so much, beside the bounds.
    pub tail: Tail,
    /// Which predictions hold.
    pub verdicts: Vec<Verdict>,
    /// What the experiment took.
    pub memory: Memory,
    /// How often there was too little room, where that was limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Each cycle that counts, in order.
    pub cycles: Vec<Cycle>,
    /// What a reader has to know: what was left out, cut off, used twice, or cannot be said.
    pub notes: Vec<String>,
    /// Prompt and output tokens of the requests whose lengths are known, for other questions about them.
    #[serde(skip)]
    pub lengths: Vec<[usize; 2]>,
    /// Reports of other data sets that were asked for at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub beside: Vec<ValidateReport>,
}

impl ValidateReport {
    /// Whether what is to be relied on holds: the simulation's X0, Xmax and κ, and the corrected bound.
    pub fn is_yes(&self) -> bool {
        let is_relied_on = |verdict: &&Verdict| {
            verdict.prediction == "exact" || (verdict.prediction, verdict.quantity) == ("corrected", "tail")
        };
        self.verdicts.iter().filter(is_relied_on).all(|verdict| verdict.passed)
    }
}

/// What was asked, and what the requests were.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Parameters {
    /// N.
    pub batch_size: usize,
    /// k.
    pub switching_threshold: usize,
    /// k / N.
    pub theta: f64,
    /// p: outputs that ended of themselves, over decode steps; `null` when none did.
    pub termination: Option<f64>,
    /// Mean tokens of the prompts of `requests`.
    pub mean_prompt_tokens: f64,
    /// Mean tokens written behind them: the token that ends an output is not one.
    pub mean_output_tokens: f64,
    /// Cycles that count.
    pub num_cycles: usize,
    /// Cycles before those.
    pub warmup_cycles: usize,
    /// Outputs are cut off at so many tokens.
    pub max_output_tokens: usize,
    /// Keys and values of a token in a sequence that has reached no window.
    pub bytes_per_token: ByteSize,
    /// What drew the order of requests.
    pub seed: u64,
    /// The data set's file.
    pub data_file: String,
    /// Most entries of it that were used.
    pub max_samples: usize,
    /// What the lengths of a log were multiplied by.
    pub scale: f64,
    /// Most tokens of a sequence: what the longest request needs, at most what was asked for or the model was made for.
    pub context_tokens: usize,
    /// Requests in the data set that could be used.
    pub prompts: usize,
    /// Requests in the data set that could not be used.
    pub left_out: usize,
    /// Requests whose lengths are known: of those that were begun, in warming up too, those that decoded.
    pub requests: usize,
    /// Requests of those whose output was cut off.
    pub cut_off: usize,
    /// Requests that ended with their first token, which were replaced before decoding.
    pub ended_at_once: u64,
}

/// Means over cycles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Measured {
    /// X0: held as decoding starts, all prompts read.
    pub x0: Measurement,
    /// Xmax: the most held in a cycle, in the step before what ends in it is given back.
    pub xmax: Measurement,
    /// sup Y = Xmax − X0, whose mean is κ.
    pub sup_y: Measurement,
}

/// A mean over cycles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Measurement {
    /// The mean, tokens.
    pub mean_tokens: f64,
    /// Its standard error, which knows that a cycle is like the one before it: from the series' own autocorrelation, or from how
    /// far means over as many simulated cycles scatter where that is more; `null` of one cycle without a simulation.
    pub standard_error_tokens: Option<f64>,
    /// The mean of what the pool had granted, in whole blocks, bytes.
    pub mean_bytes: f64,
}

/// By each model of the cache's occupancy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Predicted {
    /// As printed in arXiv 2606.00516, § 3.3.
    pub published: Prediction,
    /// Its correction, for outputs that forget their age.
    pub corrected: Prediction,
    /// By simulation of the lengths that were measured.
    pub exact: Prediction,
}

/// One model's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Prediction {
    /// E\[X0\], tokens.
    pub x0_tokens: Option<f64>,
    /// E\[Xmax\], tokens.
    pub xmax_tokens: Option<f64>,
    /// κ, tokens.
    pub kappa_tokens: Option<f64>,
}

/// How far off each model is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Errors {
    /// The published formulas.
    pub published: RelativeErrors,
    /// Their correction.
    pub corrected: RelativeErrors,
    /// The simulation.
    pub exact: RelativeErrors,
}

/// |predicted − measured| / measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RelativeErrors {
    /// Of X0.
    pub x0_ratio: Option<f64>,
    /// Of Xmax.
    pub xmax_ratio: Option<f64>,
    /// Of κ.
    pub kappa_ratio: Option<f64>,
}

/// How often a cycle rises by more than so much, beside the bounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Tail {
    /// At 20 places between the 50th and the 99th percentile of sup Y.
    pub thresholds: Vec<Threshold>,
    /// The share of them at which the published bound is one, with v = 2N/p.
    pub published_valid_ratio: Option<f64>,
    /// With the finite v.
    pub published_finite_valid_ratio: Option<f64>,
    /// At which the corrected bound is one.
    pub corrected_valid_ratio: Option<f64>,
    /// Thresholds at which nothing can be told: so few cycles rise by more that two standard errors reach to 0.
    pub undecided_thresholds: usize,
    /// Thresholds at which the corrected bound is what the simulation shows, since that is more than the exponential.
    pub corrected_from_simulation: usize,
}

/// One place of the tail.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Threshold {
    /// So much above X0.
    pub tokens: f64,
    /// The share of cycles that rise by more.
    pub observed: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// exp(−2|d|x/v), v = 2N/p.
    pub published: Option<f64>,
    /// The same with the finite v.
    pub published_finite: Option<f64>,
    /// exp(−r(x − N)) with the exponent r of the measured lengths, or what the simulation shows where that is more.
    pub corrected: Option<f64>,
    /// By the simulation.
    pub exact: Option<f64>,
}

/// Whether a prediction holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Verdict {
    /// `x0`, `xmax`, `kappa`, or `tail`: the share of thresholds at which the bound is none.
    pub quantity: &'static str,
    /// Whose: `published`, `published_finite`, `corrected`, `exact`.
    pub prediction: &'static str,
    /// What it may be off.
    pub limit_ratio: f64,
    /// What it is off; `null` where there is no prediction.
    pub error_ratio: Option<f64>,
    /// The standard error of that.
    pub standard_error_ratio: Option<f64>,
    /// Off by no more than the limit or two standard errors.
    pub passed: bool,
    /// `holds`, `does_not_hold`, `too_few_cycles`: it is off by less than two standard errors, and those are more than the limit;
    /// `not_known`: there is no prediction.
    pub outcome: Outcome,
}

/// What a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Within its limit.
    Holds,
    /// Beyond its limit, and beyond two standard errors.
    DoesNotHold,
    /// Within two standard errors, which are more than the limit.
    TooFewCycles,
    /// There is no prediction.
    NotKnown,
}

/// What the experiment took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Memory {
    /// The weights, as granted.
    pub weights_bytes: ByteSize,
    /// The most that sequences held, in whole blocks, in warming up and at the end too.
    pub peak_kv_bytes: ByteSize,
    /// The most that the pool held of the device.
    pub peak_committed_bytes: ByteSize,
    /// The most of the pool's memory that the device said is in use; `null` where it does not say.
    pub device_peak_bytes: Option<ByteSize>,
    /// What was granted after the model was unloaded.
    pub used_after_unload_bytes: ByteSize,
}

/// How often a limited cache had too little room.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Limit {
    /// Most bytes of keys and values.
    pub kv_limit_bytes: ByteSize,
    /// The tokens that those are, less half a block for each sequence, since memory is granted in whole ones.
    pub limit_tokens: f64,
    /// The share of cycles in which there was too little room: a sequence made way, or waited for room.
    pub preempting_ratio: f64,
    /// Its standard error.
    pub standard_error_ratio: f64,
}

/// One cycle: from the step in which all prompts are read to the one in which the k-th sequence ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Cycle {
    /// X0.
    pub x0_tokens: usize,
    /// Xmax.
    pub xmax_tokens: usize,
    /// What those hold that go on.
    pub final_tokens: usize,
    /// Decode steps.
    pub steps: usize,
    /// How often a sequence made way for lack of room.
    pub preempted: usize,
    /// Whether there was too little room: a sequence made way, or waited while others decoded. X0 is then the most that was held before
    /// all had begun, if they ever had.
    pub lacked_room: bool,
    /// What the pool had granted to sequences at X0.
    pub x0_bytes: ByteSize,
    /// The most of it.
    pub xmax_bytes: ByteSize,
    /// What the device said of the pool's memory at the end; `null` where it does not say.
    pub device_bytes: Option<ByteSize>,
}

impl Cycle {
    /// sup Y.
    pub(crate) fn rise_tokens(&self) -> usize {
        self.xmax_tokens.saturating_sub(self.x0_tokens)
    }
}
