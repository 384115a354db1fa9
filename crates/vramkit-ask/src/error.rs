//! Why a question has no answer.
//!
//! Each cause is kept as the crate that found it says it. No text here names an option of a program: it says what is missing,
//! and whoever asked knows by which of their options it is given.

use std::fmt;
use std::io;
use std::sync::Arc;

use vramkit::ByteSize;
use vramkit::device::CudaError;
use vramkit::plan::{LifetimeError, PoolPlanError, Schedule, StartsError};
use vramkit::pressure::LadderError;
use vramkit_fit::{CacheTypeError, FitError};
use vramkit_llm::{AdapterError, LoadError};
use vramkit_models::ReadError;
use vramkit_models::serving::ServingError;
use vramkit_occupancy::OccupancyError;
use vramkit_print::PrintError;
use vramkit_replay::ReadTraceError;
use vramkit_report::DocumentError;
use vramkit_sets::SetsError;
use vramkit_stress::StressError;
use vramkit_validate::ValidateError;

use crate::device::DeviceChoice;
use crate::run::{RunError, TraceFormat};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The question contradicts itself, or something is missing in it.
    #[error(transparent)]
    Question(#[from] QuestionError),
    /// A file is not what it should be.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file is no allocation trace.
    #[error(transparent)]
    ReadTrace(#[from] ReadTraceError),
    /// What files ask for cannot be planned.
    #[error("{files}: {error}")]
    Lifetimes {
        /// The files.
        files: String,
        /// What is wrong.
        #[source]
        error: LifetimeError,
    },
    /// What files ask for cannot be distributed over pools as they say. That no distribution fits is no error but an answer.
    #[error("{files}: {error}")]
    Pools {
        /// The files.
        files: String,
        /// What is wrong.
        #[source]
        error: PoolPlanError,
    },
    /// No starts can be chosen.
    #[error(transparent)]
    Starts(#[from] StartsError),
    /// The device is not here.
    #[error("device `{device}` is not here: {error}")]
    DeviceUnavailable {
        /// The device.
        device: DeviceChoice,
        /// What its driver said.
        #[source]
        error: CudaError,
    },
    /// The device is here, and its driver does not say how much memory it has.
    #[error("how much memory `{device}` has cannot be read: {reason}")]
    NoReading {
        /// The device.
        device: DeviceChoice,
        /// What its driver said.
        reason: String,
    },
    /// Nothing can be said of a model under an engine.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// A model cannot be loaded by the engine.
    #[error(transparent)]
    Load(Box<LoadError>),
    /// The engine does not take a prompt, or does not go on with it.
    #[error(transparent)]
    Engine(Arc<AdapterError>),
    /// A model cannot be put under pressure.
    #[error(transparent)]
    Stress(#[from] StressError),
    /// A model cannot be validated, or no longer.
    #[error(transparent)]
    Validate(#[from] ValidateError),
    /// A configuration of several models is not understood, or cannot be given back.
    #[error(transparent)]
    Sets(#[from] SetsError),
    /// A workload cannot be run, or a run ended early.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A run's trace cannot be written. The run itself went on to its end.
    #[error("cannot write the trace as {format}: {error}")]
    WriteTrace {
        /// Which of the two.
        format: TraceFormat,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// No risk can be told.
    #[error(transparent)]
    Occupancy(#[from] OccupancyError),
    /// An engine's text says nothing of its cache.
    #[error(transparent)]
    Serving(#[from] ServingError),
    /// Levels of pressure that make no sense.
    #[error(transparent)]
    Ladder(#[from] LadderError),
    /// A document lacks what its picture needs.
    #[error(transparent)]
    Draw(#[from] DocumentError),
    /// A picture cannot be printed.
    #[error(transparent)]
    Print(#[from] PrintError),
}

impl From<LoadError> for AskError {
    fn from(error: LoadError) -> Self {
        Self::Load(Box::new(error))
    }
}

impl From<AdapterError> for AskError {
    fn from(error: AdapterError) -> Self {
        Self::Engine(Arc::new(error))
    }
}

/// What can be asked of graphs alone.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfGraphs {
    /// An order of nodes.
    Order,
    /// Nodes that run again.
    Recompute,
    /// Operators that work in place.
    InPlace,
    /// An engine's plan.
    Engine,
    /// Measured shapes.
    Shapes,
}

impl fmt::Display for OfGraphs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Order => "an order of nodes",
            Self::Recompute => "nodes that run again",
            Self::InPlace => "operators that work in place",
            Self::Engine => "an engine's plan",
            Self::Shapes => "measured shapes",
        })
    }
}

/// What is missing in a question, or contradicts something else in it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuestionError {
    /// There is no file to ask about.
    #[error("no files: at least one is needed")]
    NoFiles,
    /// An alignment that no address can have.
    #[error("an alignment of {0} bytes: it must be a power of two")]
    Alignment(u64),
    /// A search on no thread.
    #[error("no threads: a search needs at least one")]
    NoThreads,
    /// Starts are to be chosen where models have no common clock.
    #[error(
        "a makespan is what models start within on one clock; the {schedule} schedule has none, the fixed one has"
    )]
    MakespanWithoutClock {
        /// The schedule asked for.
        schedule: Schedule,
    },
    /// A capacity is given for pools that have their own.
    #[error(
        "{files}: each of the {pools} pools has a capacity of its own, and there is no arena to hold another against"
    )]
    CapacityOfPools {
        /// The files.
        files: String,
        /// How many pools.
        pools: usize,
    },
    /// A tensor names a pool where there are none.
    #[error("tensor `{tensor}` of `{model}` is allowed in pool `{pool}`, and there are no pools")]
    NoPools {
        /// The tensor.
        tensor: String,
        /// Its model.
        model: String,
        /// The pool.
        pool: String,
    },
    /// Something is asked of graphs, and none of the files has any.
    #[error("{what}: that is asked of ONNX graphs, and there is none in {files}")]
    NoGraph {
        /// What is asked.
        what: OfGraphs,
        /// The files.
        files: String,
    },
    /// A workload over several pools is to be run.
    #[error("{workload} distributes tensors over {pools} pools, and a run binds one")]
    SeveralPools {
        /// The file.
        workload: String,
        /// How many.
        pools: usize,
    },
    /// A name that is no pool policy's.
    #[error("{0}")]
    NotAPolicy(String),
    /// What an owner is, or a moment of a trace, in words that are neither.
    #[error("{0}")]
    NotAWord(String),
    /// PyTorch's settings.
    #[error(transparent)]
    Settings(#[from] vramkit_replay::SettingsError),
    /// Whether something fits that nobody has recorded the order of.
    #[error(
        "`{0}` has no history: whether it gets through with a capacity cannot be told; without one it says who holds what"
    )]
    NoHistory(String),
    /// A comparison of more or fewer than two.
    #[error("a comparison is of two traces: {0} were read")]
    NotTwo(usize),
    /// No traffic is described.
    #[error(
        "no traffic: a log of lengths is needed, or the length of prompts with the probability that an output ends"
    )]
    NoTraffic,
    /// Neither a batch nor a memory to find one for.
    #[error("neither a batch nor a capacity to find the largest batch for")]
    NoBatch,
    /// A threshold of nothing.
    #[error("a threshold of {0} ended sequences needs a batch")]
    ThresholdWithoutBatch(u32),
    /// A memory that no device has.
    #[error("a memory of {0}; no device has more than 1 EiB")]
    TooMuchMemory(vramkit::ByteSize),
    /// The model's sequences take the same whatever their length.
    #[error(
        "nothing that this model keeps grows with every token: a sequence takes {per_sequence} at most{}",
        fit.map_or_else(String::new, |fit| format!(", so {fit} always fit"))
    )]
    NothingGrows {
        /// What a sequence takes, its windows full.
        per_sequence: ByteSize,
        /// Sequences that the memory has room for; `None` where it is not given in bytes.
        fit: Option<u64>,
    },
    /// Memory in bytes, and nobody knows what a token takes.
    #[error(
        "a capacity in bytes needs to know what a token takes: a model, or its layers, KV heads and head size"
    )]
    NoShape,
    /// Layers, heads and numbers that make no KV cache.
    #[error("{0}")]
    Shape(String),
    /// A text that is no horizon.
    #[error("neither `cycle`, a number of steps nor a time such as 90s or 1h: {0}")]
    NotAHorizon(String),
    /// A horizon in time, and nobody knows how long a step takes.
    #[error("a horizon in time needs to know how long a decode step takes")]
    NoStepTime,
    /// A step that takes no time.
    #[error("a step of {0} seconds: a step takes more than 0 seconds")]
    StepTime(f64),
    /// A rate at which nothing comes.
    #[error("{0} requests a second: a rate is more than 0")]
    ArrivalRate(f64),
    /// Requests that come by themselves and wait for a threshold.
    #[error("requests that come by themselves take a free seat at once: there is no threshold to wait for")]
    ArrivalsAtAThreshold,
    /// A log is to be replayed as if its requests came at a rate.
    #[error("a replay has all requests of its log at once, and not at a rate")]
    ReplayOfArrivals,
    /// A log is to be replayed by a scheduler that does not wait for a threshold.
    #[error("a replay fills each seat at once: it has no threshold to wait for")]
    ReplayAtAThreshold,
    /// Two files are both standard input.
    #[error("a log and an engine's text cannot both be standard input")]
    InputTwice,
    /// A log is to be replayed on several machines.
    #[error("a replay runs the log through one machine: how several share it out is not said")]
    ReplayOfReplicas,
    /// Risk is to be drawn against a batch that is not always full.
    #[error(
        "a picture of risk against batch is of batches that are always full, and not of requests that come at a rate"
    )]
    PictureOfArrivals,
    /// Requests that come by themselves and all at once.
    #[error(
        "requests that come by themselves do not begin all at once: a cold start is of a batch that is always full"
    )]
    ArrivalsAllAtOnce,
    /// A moment drawn at random is asked about, and its beginning.
    #[error("a step drawn at random has no beginning: a cold start needs a horizon of steps or a time")]
    ColdStartAtAMoment,
    /// The memory of a card, and nobody knows what a model leaves of it.
    #[error("what is left of a card for the KV cache needs a model's files")]
    CardWithoutModel,
    /// The order of a log is to be kept, and there is none.
    #[error("an order of requests needs a log of lengths")]
    OrderWithoutLog,
    /// Options for an engine that is not known.
    #[error("`{0}` is no engine that options are known of: vllm, sglang, llama.cpp")]
    NoSuchEngine(String),
    /// An engine's text does not say what its cache has.
    #[error("{0}")]
    NoCacheSize(String),
    /// A log is to be replayed, and there is none.
    #[error("a replay needs a log of lengths")]
    ReplayWithoutLog,
    /// A log is to be replayed in no memory.
    #[error("a replay needs a capacity")]
    ReplayWithoutCapacity,
    /// Risk is to be drawn of no memory.
    #[error("a picture of risk against batch needs a capacity")]
    PictureWithoutCapacity,
    /// Models are named beside a configuration that names them.
    #[error("models and a configuration of several: one of the two")]
    SetsBesideModels,
    /// Something is said of all models of a configuration, which says it of each.
    #[error("{0} beside a configuration: the options that its models have there count")]
    OptionBesideSets(&'static str),
    /// A picture is to be drawn of models that never run together.
    #[error("a picture shows models that run together, and those of a configuration do not")]
    PictureOfSets,
    /// A document of a kind that nothing draws alone.
    #[error("a document of {0}: plans, fits and validations are drawn from their documents")]
    NotDrawn(String),
    /// Documents that cannot be drawn side by side.
    #[error("{0} documents: up to 4 of validations are drawn side by side, and others one at a time")]
    NotSideBySide(usize),
    /// Sets are to be written, and there are none.
    #[error("sets of models that fit need a configuration and a memory")]
    NoSets,
    /// None of something that must be there.
    #[error("a {0} of 0: it must be at least 1")]
    Zero(&'static str),
    /// What is computed by the processor is to be in a card's memory.
    #[error("the cpu back end computes in main memory, and {device} is a card")]
    ProcessorOnCard {
        /// The card.
        device: DeviceChoice,
    },
    /// A part of a device's memory that is none.
    #[error("a part of {0} of the device's memory: it must be above 0 and at most 1")]
    Utilization(f64),
    /// A cache type that an engine does not have.
    #[error("{model}: {error}")]
    CacheType {
        /// The model.
        model: String,
        /// What is wrong.
        #[source]
        error: CacheTypeError,
    },
    /// A cache type that the engine of this toolkit does not have.
    #[error("a cache of {0}; the engine keeps f16, f32 and q8_0")]
    EngineCacheType(&'static str),
    /// More layers are to be on the device than there are.
    #[error("{model}: {asked} layers on the device, and it has {layers} and an output")]
    Layers {
        /// The model.
        model: String,
        /// Asked for.
        asked: u64,
        /// That it has, the output not counted.
        layers: u64,
    },
}
