//! What can be asked about a plan.

use std::path::PathBuf;
use std::time::Duration;

use vramkit::plan::Schedule;
use vramkit::{ByteSize, Step};
use vramkit_models::ReadOptions;
use vramkit_models::onnx::RuntimeLevel;

use crate::error::QuestionError;

/// Where should the tensors of these models be, and how much memory do they need?
///
/// ```
/// use vramkit_ask::{PlanQuestion, QuestionError};
///
/// assert_eq!(PlanQuestion::default().check(), Err(QuestionError::NoFiles));
/// let question = PlanQuestion { files: vec!["model.onnx".into()], ..PlanQuestion::default() };
/// assert_eq!(question.check(), Ok(()));
/// ```
#[derive(Clone, Debug)]
pub struct PlanQuestion {
    /// ONNX graphs, lifetime tables, workloads.
    pub files: Vec<PathBuf>,
    /// How they are read.
    pub read: ReadOptions,
    /// How the models run beside one another. When not given: what the workload says, else `Fixed` for one file and
    /// `Sequential` for several.
    pub schedule: Option<Schedule>,
    /// Stop at the first plan that fits; whether one does is then the answer.
    pub capacity: Option<ByteSize>,
    /// Say besides what an engine plans for graphs by its own rules.
    pub engine: Option<PlanEngine>,
    /// Whether graphs run in the file's order, or in the one found that has least live at most.
    pub reorder: bool,
    /// As `reorder`, whether that is asked for or not, and cheap operators run again where that has less live at most.
    pub recompute: bool,
    /// How long to search for a better plan than the first ones; 1 s by default. Orders of graphs, where they are looked for,
    /// have half of it, and nodes to run again half of what is left then; the models' starts, where they are chosen, three
    /// quarters of what is left after that.
    pub deadline: Duration,
    /// Where the search's random choices start.
    pub seed: u64,
    /// Threads that search, up to 64; as many as the machine has when not given.
    pub threads: Option<usize>,
    /// Choose when each model starts, so that all end within so many steps and least is live at most; for the fixed
    /// schedule alone.
    pub makespan: Option<Step>,
}

/// An engine whose own plan of a graph is known.
///
/// ```
/// use vramkit_ask::{PlanEngine, PlanQuestion, RuntimeLevel};
///
/// let default = PlanEngine::onnx_runtime();
/// assert!(matches!(default, PlanEngine::OnnxRuntime(RuntimeLevel::All { block: 8 | 16, .. })));
/// let question = PlanQuestion { engine: Some(default), ..PlanQuestion::default() };
/// # assert!(question.engine.is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanEngine {
    /// ONNX Runtime on a processor, at one of its levels of optimisation.
    OnnxRuntime(RuntimeLevel),
}

impl PlanEngine {
    /// ONNX Runtime with everything, its default, on this machine's processor.
    pub fn onnx_runtime() -> Self {
        #[cfg(target_arch = "x86_64")]
        let block = if std::arch::is_x86_feature_detected!("avx512f") { 16 } else { 8 };
        #[cfg(not(target_arch = "x86_64"))]
        let block = 8;
        Self::OnnxRuntime(RuntimeLevel::All { block })
    }
}

impl Default for PlanQuestion {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            read: ReadOptions::default(),
            schedule: None,
            capacity: None,
            engine: None,
            reorder: false,
            recompute: false,
            deadline: Duration::from_secs(1),
            seed: 0,
            threads: None,
            makespan: None,
        }
    }
}

impl PlanQuestion {
    /// Whether it can be asked. What the files make of it is seen when they are read.
    ///
    /// # Errors
    /// No files, an alignment that is no power of two, no threads, starts to choose under another schedule than the fixed one.
    pub fn check(&self) -> Result<(), QuestionError> {
        if self.files.is_empty() {
            return Err(QuestionError::NoFiles);
        }
        if let Some(bytes) = self.read.alignment.filter(|bytes| !bytes.is_power_of_two()) {
            return Err(QuestionError::Alignment(bytes));
        }
        if self.threads == Some(0) {
            return Err(QuestionError::NoThreads);
        }
        match (self.makespan, self.schedule) {
            (Some(_), Some(schedule)) => has_clock(schedule),
            _ => Ok(()),
        }
    }

    /// The files' names, for messages.
    pub(crate) fn file_names(&self) -> String {
        self.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// Starts can be chosen on one clock alone.
pub(crate) fn has_clock(schedule: Schedule) -> Result<(), QuestionError> {
    match schedule {
        Schedule::Fixed => Ok(()),
        schedule => Err(QuestionError::MakespanWithoutClock { schedule }),
    }
}
