//! What can be asked about a run, and how it is answered.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vramkit::ByteSize;
use vramkit::orchestrator::{PolicyLadder, Standing, Verify};
use vramkit::plan::{MemoryPlanner, Schedule};
use vramkit::trace::TraceCollector;
use vramkit_models::{Demand, ReadOptions, read};

use super::answer::RunAnswer;
use super::error::RunError;
use super::session::{Session, SessionModel};
use super::trace_sinks::{SinkError, TraceSinks};
use crate::device::DeviceChoice;
use crate::error::{AskError, QuestionError};
use crate::listener::Listener;

/// Does this workload run on that device as planned, with every tensor intact and nothing left behind?
///
/// A workload without a file is a [`Session`].
#[derive(Clone, Debug)]
pub struct RunQuestion {
    /// A workload (TOML, JSON).
    pub workload: PathBuf,
    /// How the models run beside one another; the workload's when not given.
    pub schedule: Option<Schedule>,
    /// Where the memory comes from.
    pub device: DeviceChoice,
    /// Most bytes of the pool; when not given the workload's, else what the device has free.
    pub capacity: Option<ByteSize>,
    /// How thoroughly tensors are checked.
    pub verify: Verify,
    /// Decide everything, take no memory.
    pub dry_run: bool,
    /// How long to search for a better plan than the first ones; 1 s by default.
    pub planning: Duration,
}

impl Default for RunQuestion {
    fn default() -> Self {
        Self {
            workload: PathBuf::new(),
            schedule: None,
            device: DeviceChoice::default(),
            capacity: None,
            verify: Verify::default(),
            dry_run: false,
            planning: Duration::from_secs(1),
        }
    }
}

impl RunQuestion {
    /// Whether it can be asked. What the workload makes of it is seen when it is read.
    ///
    /// # Errors
    /// No workload.
    pub fn check(&self) -> Result<(), QuestionError> {
        if self.workload.as_os_str().is_empty() { Err(QuestionError::NoFiles) } else { Ok(()) }
    }

    /// Reads the workload and opens the device. Nothing has run when it returns, so files for the trace can be opened now.
    ///
    /// # Errors
    /// A file that is not what it should be, several pools, a device that is not here.
    pub fn prepare(&self) -> Result<PreparedRun, AskError> {
        self.check()?;
        let file = self.workload.display().to_string();
        let demand = read(&self.workload, &ReadOptions::default())?;
        if !demand.pools.is_empty() {
            return Err(QuestionError::SeveralPools { workload: file, pools: demand.pools.len() }.into());
        }
        let device = self.device;
        let capacity = self.capacity.or(demand.capacity);
        let backing = device.open(capacity).map_err(|error| AskError::DeviceUnavailable { device, error })?;
        let graphs = demand.graphs();
        let Demand { name, models, settings, schedule, ladder, repetitions, .. } = demand;
        let models =
            models.into_iter().zip(settings).zip(graphs).map(|((model, settings), graph)| SessionModel {
                model,
                graph,
                standing: Standing { priority: settings.priority, ..Standing::default() },
                degrade_to_ratio: settings.degrade_to_ratio,
                weights: settings.weights,
            });
        let session = Session {
            name,
            models: models.collect(),
            schedule: self.schedule.or(schedule).unwrap_or_default(),
            device: backing,
            capacity,
            ladder: ladder.unwrap_or_else(PolicyLadder::orchestrator),
            repetitions,
            verify: self.verify,
            dry_run: self.dry_run,
            planner: MemoryPlanner::thorough(self.planning),
        };
        Ok(PreparedRun { file, session })
    }
}

/// A run whose workload is read and whose device is open.
pub struct PreparedRun {
    file: String,
    session: Session,
}

impl PreparedRun {
    /// Plans, binds, executes, verifies and releases.
    ///
    /// # Errors
    /// Lifetimes that cannot be planned, a capacity that the plan does not fit, a device that fails, a trace that cannot be
    /// written. Everything was released, and the trace is written as far as it goes.
    pub fn run(self, sinks: &mut TraceSinks, listener: Arc<dyn Listener>) -> Result<RunAnswer, AskError> {
        let Self { file, session } = self;
        listener.begun(session.steps());
        let trace = Arc::new(TraceCollector::new());
        let unwritten =
            |failed: SinkError| AskError::WriteTrace { format: failed.format, error: failed.error };
        let recording = sinks.take_recording();
        let run = || session.run_recorded(&trace, recording.as_ref(), &|steps| listener.advanced(steps));
        let outcome = sinks.around(&trace, run).map_err(unwritten)?;
        recording.map_or(Ok(()), |recording| recording.finish()).map_err(unwritten)?;
        outcome.map_err(|error| match error {
            RunError::Lifetimes(error) => AskError::Lifetimes { files: file, error },
            error => error.into(),
        })
    }
}

impl std::fmt::Debug for PreparedRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreparedRun").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Runs a workload: plans it, binds it to real memory, executes it under its schedule, verifies it, releases it.
///
/// ```
/// use vramkit_ask::{DeviceChoice, RunQuestion, TraceSinks, quiet, run};
///
/// # let folder = tempfile::tempdir()?;
/// # let workload = folder.path().join("one.toml");
/// let text = "[[models]]\nname = \"m\"\ntensors = [{ id = \"a\", size = \"1MB\", start = 0, end = 2 }]\n";
/// std::fs::write(&workload, text)?;
/// let question = RunQuestion { workload, device: DeviceChoice::Simulated, ..RunQuestion::default() };
/// let answer = run(&question, &mut TraceSinks::default(), quiet())?;
/// assert!(answer.is_yes());
/// assert_eq!(answer.report.verified_tensors, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As of [`RunQuestion::prepare`] and [`PreparedRun::run`].
pub fn run(
    question: &RunQuestion,
    sinks: &mut TraceSinks,
    listener: Arc<dyn Listener>,
) -> Result<RunAnswer, AskError> {
    question.prepare()?.run(sinks, listener)
}
