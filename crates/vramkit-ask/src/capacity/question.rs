//! What can be asked about a capacity.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use vramkit::ByteSize;
use vramkit_models::CacheType;
use vramkit_models::traffic::Columns;

use super::flags::Serving;
use crate::error::QuestionError;

/// How likely is this memory to run out, and what is the largest batch for a risk?
///
/// ```
/// use vramkit_ask::{CapacityQuestion, Memory, TrafficSource, capacity, quiet};
///
/// let question = CapacityQuestion {
///     traffic: Some(TrafficSource::Geometric { prompt_tokens: 100.0, termination: 0.05 }),
///     memory: Some(Memory::Tokens(5_000.0)),
///     batch: Some(32),
///     risk: Some(0.01),
///     ..CapacityQuestion::default()
/// };
/// let answer = capacity(&question, quiet())?;
/// assert_eq!(answer.is_yes(), Some(true));
/// assert!(answer.report.occupancy.max_batch.is_some_and(|largest| largest >= 32));
/// # Ok::<(), vramkit_ask::AskError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CapacityQuestion {
    /// What is served.
    pub traffic: Option<TrafficSource>,
    /// Outputs are cut off at so many tokens.
    pub max_output: Option<u32>,
    /// The model's context: prompts that fill it are refused, outputs end where it is full.
    pub max_model_len: Option<u32>,
    /// Tokens with which all prompts begin alike, and which are held once; 0 by default.
    pub shared_prefix: u32,
    /// Whether requests come in the log's own order, instead of any of them at any time.
    pub as_logged: bool,
    /// Requests a second that come each by itself; without it there always is one for a free seat. The batch is then the most
    /// that are served at once, as many as come when not given.
    pub arrival_rate: Option<f64>,
    /// Machines among which requests are shared out, each with this memory and batch; 1 by default. A risk is that of any of them.
    pub replicas: u32,
    /// Whether all sequences of the batch begin at once when the horizon begins.
    pub cold_start: bool,
    /// Sequences in the batch; the largest for the risk when not given.
    pub batch: Option<u32>,
    /// Replace ended sequences when so many have ended; each at once (continuous batching) when not given.
    pub threshold: Option<u32>,
    /// The memory that may run out; without one it is said how much is needed.
    pub memory: Option<Memory>,
    /// What an engine said when it started, or says of itself: text of its log or its metrics. Its memory, block and longest sequence
    /// count where none are given.
    pub engine_text: Option<PathBuf>,
    /// The model whose tokens are held: with it sizes are told in bytes too.
    pub model: Option<KvSource>,
    /// How the cache's numbers are stored; `f16` by default.
    pub cache_type: CacheType,
    /// Tokens of a block that memory is granted in (continuous batching); the engine's, or 1, by default.
    pub block: Option<u32>,
    /// The risk that would do, 0..1; 0.01 when not given, and then no risk is a no.
    pub risk: Option<f64>,
    /// Other risks that the largest batch is told for, beside that one; 0..1.
    pub other_risks: Vec<f64>,
    /// For how long memory must do. When not given: an hour where time is told otherwise (the time of a step, arrivals a second, a cold
    /// start, or settings for an engine are asked for), else a cycle.
    pub horizon: Option<HorizonChoice>,
    /// Seconds that a decode step takes.
    pub step_seconds: Option<f64>,
    /// The engine that is to be run with the answer: its options are told.
    pub engine: Option<Serving>,
    /// Also run the log through a scheduler.
    pub replay: Option<ReplaySettings>,
    /// Cycles to simulate; 20,000 by default. Samples are drawn in proportion.
    pub cycles: u64,
    /// Where the random numbers start.
    pub seed: u64,
    /// How long may be looked for an answer; 10 seconds by default.
    pub deadline: Duration,
    /// Whether risk is also computed for batches around this one, to be drawn. Takes many times as long.
    pub picture: bool,
}

/// Where lengths of requests come from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TrafficSource {
    /// A log of lengths (a table, JSON Lines, JSON, Parquet; packed by gzip or not).
    Log {
        /// The file; `-` is standard input.
        path: PathBuf,
        /// Leave rows of no or impossibly many tokens out, and count them, instead of refusing the file.
        skip_bad_rows: bool,
        /// The names of the columns that hold lengths, where they are none that are known.
        columns: Columns,
    },
    /// Prompts of one length, outputs that end after any token with the same probability.
    Geometric {
        /// The exact length of every prompt, tokens.
        prompt_tokens: f64,
        /// The probability that an output ends after a token: one over its mean length.
        termination: f64,
    },
}

/// A memory.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Memory {
    /// So many tokens.
    Tokens(f64),
    /// So many bytes of KV cache, which needs a [`KvSource`].
    Bytes(ByteSize),
    /// What vLLM leaves for the KV cache on a card, which needs a [`KvSource::Model`].
    Card {
        /// The card's memory.
        total: ByteSize,
        /// The part of it that vLLM takes, 0..1.
        utilization: f64,
    },
}

/// What says how many numbers a token keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KvSource {
    /// A model: its `config.json`, the folder that has it, or GGUF. What it keeps of a sequence whatever its length (windows,
    /// recurrent state) is taken from the memory for each sequence of the batch.
    Model(PathBuf),
    /// The shape itself.
    Shape {
        /// Layers.
        layers: u64,
        /// KV heads of a layer.
        kv_heads: u64,
        /// Numbers in a head's key, and in its value.
        head_dim: u64,
    },
}

/// How a scheduler works that a log is run through: first come first served, preempt and recompute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReplaySettings {
    /// Part of the memory that admission leaves free, 0..1; 0 by default.
    pub watermark: f64,
    /// Most tokens computed in a step; 8,192 by default.
    pub token_budget: u32,
}

impl Default for ReplaySettings {
    fn default() -> Self {
        Self { watermark: 0.0, token_budget: 8192 }
    }
}

/// For how long memory must do.
///
/// ```
/// use std::time::Duration;
/// use vramkit_ask::HorizonChoice;
///
/// assert_eq!("1h".parse(), Ok(HorizonChoice::Time(Duration::from_secs(3600))));
/// assert_eq!("144000".parse(), Ok(HorizonChoice::Steps(144_000.0)));
/// assert!("soon".parse::<HorizonChoice>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum HorizonChoice {
    /// `cycle`: a cycle; a step drawn at random under continuous batching.
    #[default]
    Cycle,
    /// So many decode steps.
    Steps(f64),
    /// So long, which needs the time of a step.
    Time(Duration),
}

impl FromStr for HorizonChoice {
    type Err = QuestionError;

    /// Reads `cycle`, a number of steps, or a time such as `90s` or `1h`.
    fn from_str(text: &str) -> Result<Self, QuestionError> {
        if text == "cycle" {
            return Ok(Self::Cycle);
        }
        if let Ok(steps) = text.parse::<f64>() {
            return Ok(Self::Steps(steps));
        }
        let time = humantime::parse_duration(text);
        time.map(Self::Time).map_err(|error| QuestionError::NotAHorizon(error.to_string()))
    }
}

impl Default for CapacityQuestion {
    fn default() -> Self {
        Self {
            traffic: None,
            max_output: None,
            max_model_len: None,
            shared_prefix: 0,
            as_logged: false,
            arrival_rate: None,
            replicas: 1,
            cold_start: false,
            batch: None,
            threshold: None,
            memory: None,
            engine_text: None,
            model: None,
            cache_type: "f16".parse().expect("f16 is a cache type"),
            block: None,
            risk: None,
            other_risks: Vec::new(),
            horizon: None,
            step_seconds: None,
            engine: None,
            replay: None,
            cycles: 20_000,
            seed: 0,
            deadline: Self::DEFAULT_DEADLINE,
            picture: false,
        }
    }
}

impl CapacityQuestion {
    /// The risk when none is asked about.
    pub const DEFAULT_RISK: f64 = 1e-2;
    /// How long is looked for an answer when nothing else is said.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
    /// What a decode step is taken to last where nobody says it: that of a model of some ten billion parameters on one card.
    pub const ASSUMED_STEP: Duration = Duration::from_millis(25);

    /// The risk that would do.
    pub fn risk(&self) -> f64 {
        self.risk.unwrap_or(Self::DEFAULT_RISK)
    }

    /// For how long memory must do.
    pub fn horizon(&self) -> HorizonChoice {
        let in_time = self.step_seconds.is_some()
            || self.arrival_rate.is_some()
            || self.cold_start
            || self.engine.is_some();
        match self.horizon {
            Some(horizon) => horizon,
            None if in_time => HorizonChoice::Time(Duration::from_secs(3600)),
            None => HorizonChoice::Cycle,
        }
    }

    /// The time of a step, and whether it is assumed.
    pub(super) fn step(&self) -> (f64, bool) {
        (self.step_seconds.unwrap_or(Self::ASSUMED_STEP.as_secs_f64()), self.step_seconds.is_none())
    }

    /// Whether nothing that it needs is missing. Numbers out of their range are told when they are used.
    ///
    /// # Errors
    /// No traffic; bytes without a model; a time without a step's, or a step of none; no batch and no memory to find one for; a
    /// threshold without a batch, or with arrivals; a replay or a picture of arrivals; a replay on several machines or at a threshold; arrivals that begin all at once, or a moment at which nothing begins; a log's order without a log; a replay without a
    /// log or memory; a picture without memory; no replicas.
    pub fn check(&self) -> Result<(), QuestionError> {
        let missing = |is_missing: bool, error| if is_missing { Err(error) } else { Ok(()) };
        missing(self.traffic.is_none(), QuestionError::NoTraffic)?;
        let in_bytes = matches!(self.memory, Some(Memory::Bytes(_)));
        missing(in_bytes && self.model.is_none(), QuestionError::NoShape)?;
        if let Some(Memory::Card { utilization, .. }) = self.memory {
            let has_file = matches!(self.model, Some(KvSource::Model(_)));
            missing(!has_file, QuestionError::CardWithoutModel)?;
            missing(!(utilization > 0.0 && utilization <= 1.0), QuestionError::Utilization(utilization))?;
        }
        if let Some(step) = self.step_seconds {
            missing(!(step > 0.0 && step.is_finite()), QuestionError::StepTime(step))?;
        }
        let in_time = matches!(self.horizon, Some(HorizonChoice::Time(_)));
        missing(in_time && self.step_seconds.is_none(), QuestionError::NoStepTime)?;
        if let (None, Some(threshold)) = (self.batch, self.threshold) {
            return Err(QuestionError::ThresholdWithoutBatch(threshold));
        }
        if let Some(rate) = self.arrival_rate {
            missing(!(rate > 0.0 && rate.is_finite()), QuestionError::ArrivalRate(rate))?;
            missing(self.threshold.is_some(), QuestionError::ArrivalsAtAThreshold)?;
            missing(self.cold_start, QuestionError::ArrivalsAllAtOnce)?;
            missing(self.replay.is_some(), QuestionError::ReplayOfArrivals)?;
            missing(self.picture, QuestionError::PictureOfArrivals)?;
        }
        let has_no_beginning = self.threshold.is_none() && self.horizon() == HorizonChoice::Cycle;
        missing(self.cold_start && has_no_beginning, QuestionError::ColdStartAtAMoment)?;
        missing(self.replicas == 0, QuestionError::Zero("number of replicas"))?;
        missing(self.replay.is_some() && self.replicas > 1, QuestionError::ReplayOfReplicas)?;
        missing(self.replay.is_some() && self.threshold.is_some(), QuestionError::ReplayAtAThreshold)?;
        let has_memory = self.memory.is_some() || self.engine_text.is_some();
        let has_batch = self.batch.is_some() || self.arrival_rate.is_some();
        missing(!has_batch && !has_memory, QuestionError::NoBatch)?;
        let is_input = |path: &PathBuf| path.as_os_str() == "-";
        if let (Some(TrafficSource::Log { path, .. }), Some(text)) = (&self.traffic, &self.engine_text) {
            missing(is_input(path) && is_input(text), QuestionError::InputTwice)?;
        }
        let has_log = matches!(self.traffic, Some(TrafficSource::Log { .. }));
        missing(self.as_logged && !has_log, QuestionError::OrderWithoutLog)?;
        missing(self.replay.is_some() && !has_log, QuestionError::ReplayWithoutLog)?;
        missing(self.replay.is_some() && !has_memory, QuestionError::ReplayWithoutCapacity)?;
        missing(self.picture && !has_memory, QuestionError::PictureWithoutCapacity)
    }
}
