//! Allocation traces against pool policies: `vramkit.replay/1`.
//!
//! In: trace files and policies. Out: how much memory each policy would have taken, where it would have run out, who held it, what grew
//! from one file to another, and pictures of it. Takes no memory itself.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use vramkit::ByteSize;
use vramkit_replay::{
    DiffReport, Held, HeldReport, OwnedBy, PolicyName, PolicyReport, ReplayReport, Setup, Trace, TraceReport,
    grown, place, read_traces,
};
use vramkit_report::{TraceBox, TracePicture, flame_svg, trace_svg};

use crate::error::{AskError, QuestionError};
use crate::listener::Listener;

/// Up to so many operations the plan of a whole trace is made without being asked for.
const SHORT: usize = 20_000;

/// A moment of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Moment {
    /// When most is live.
    #[default]
    Peak,
    /// After the last operation.
    End,
    /// When the first policy that refuses anything does so first.
    Failure,
    /// After an operation, counted from 0.
    Operation(usize),
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peak => f.pad("peak"),
            Self::End => f.pad("end"),
            Self::Failure => f.pad("failure"),
            Self::Operation(operation) => operation.fmt(f),
        }
    }
}

impl FromStr for Moment {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, QuestionError> {
        match text {
            "peak" => Ok(Self::Peak),
            "end" => Ok(Self::End),
            "failure" => Ok(Self::Failure),
            text => text.parse().map(Self::Operation).map_err(|_| {
                QuestionError::NotAWord(format!(
                    "`{text}` is no moment: use peak, end, failure or the number of an operation"
                ))
            }),
        }
    }
}

/// How much memory would these policies have taken for what was recorded, and who held it?
#[derive(Clone, Debug, Default)]
pub struct ReplayQuestion {
    /// Allocation traces: text, RMM's CSV, JSON Lines, PyTorch's snapshots; gzip or not. `-` is standard input.
    pub traces: Vec<PathBuf>,
    /// Policies, in the order in which they are answered; `default`, `best-fit`, `pytorch` and, for traces that are not long,
    /// `offline` where none is named.
    pub policies: Vec<PolicyName>,
    /// Most bytes that there are; whether each trace gets through with some policy is then the answer.
    pub capacity: Option<ByteSize>,
    /// PyTorch's settings, as `PYTORCH_CUDA_ALLOC_CONF` has them, on top of those that were recorded.
    pub alloc_conf: String,
    /// Whether the least capacity is looked for in long traces too.
    pub least_capacity: bool,
    /// What an owner is.
    pub by: OwnedBy,
    /// When what is held is told.
    pub at: Moment,
    /// What the second of two traces holds more than the first is told, and nothing replayed.
    pub diff: bool,
}

impl ReplayQuestion {
    /// Policies of these names, each once and in this order; `all` is every one.
    ///
    /// ```
    /// use vramkit_ask::{PolicyName, ReplayQuestion};
    ///
    /// let policies = ReplayQuestion::policies(&["offline", "all"])?;
    /// assert_eq!((policies[0].as_str(), policies.len()), ("offline", PolicyName::ALL.len()));
    /// # Ok::<(), vramkit_ask::QuestionError>(())
    /// ```
    ///
    /// # Errors
    /// A name that is no policy's.
    pub fn policies(names: &[impl AsRef<str>]) -> Result<Vec<PolicyName>, QuestionError> {
        let mut policies = Vec::new();
        for name in names.iter().map(AsRef::as_ref) {
            let named = if name == "all" {
                PolicyName::ALL.to_vec()
            } else {
                let policy: Result<PolicyName, _> = name.parse();
                vec![policy.map_err(|error| QuestionError::NotAPolicy(error.to_string()))?]
            };
            for policy in named {
                if !policies.contains(&policy) {
                    policies.push(policy);
                }
            }
        }
        Ok(policies)
    }

    /// Whether it can be asked.
    ///
    /// # Errors
    /// No traces, or standard input more than once.
    pub fn check(&self) -> Result<(), QuestionError> {
        let from_input = self.traces.iter().filter(|file| file.as_os_str() == "-").count();
        match (self.traces.is_empty(), from_input) {
            (true, _) => Err(QuestionError::NoFiles),
            (_, 2..) => Err(QuestionError::NotAWord("standard input (`-`) is read once".to_owned())),
            _ => Ok(()),
        }
    }

    /// The policies for a trace.
    fn policies_for(&self, trace: &Trace) -> Vec<PolicyName> {
        if !trace.has_history || self.diff {
            return Vec::new();
        }
        if !self.policies.is_empty() {
            return self.policies.clone();
        }
        let mut policies = vec![PolicyName::Default, PolicyName::BestFit, PolicyName::Pytorch];
        if trace.operations.len() <= SHORT {
            policies.push(PolicyName::Offline);
        }
        policies
    }
}

/// The answer to a [`ReplayQuestion`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReplayAnswer {
    /// `vramkit.replay/1`.
    pub report: ReplayReport,
    /// What was read, as the report lists it.
    pub traces: Vec<Trace>,
    /// One for each trace.
    first_replays: Vec<Replayed>,
}

/// What a picture of a trace needs besides.
#[derive(Clone, Debug)]
struct Replayed {
    /// What the first policy is replayed with.
    setup: Option<Setup>,
    /// When what is held is told, and after which operation that is.
    moment: (Moment, Option<usize>),
}

impl ReplayAnswer {
    /// Whether some policy gets each trace through; always without a capacity.
    pub fn is_yes(&self) -> bool {
        let fits = |trace: &TraceReport| {
            trace.policies.is_empty() || trace.policies.iter().any(|policy| policy.failures == 0)
        };
        self.report.traces.iter().all(fits)
    }

    /// Addresses over time for the first trace and the first policy, as a standalone SVG, with who holds what at the moment asked for.
    /// Replays it once more; `None` when nothing was replayed.
    pub fn picture(&self) -> Option<String> {
        let (trace, report) = (self.traces.first()?, self.report.traces.first()?);
        let setup = self.first_replays.first()?.setup.as_ref()?;
        let owners = trace.owners(report.held.by);
        let boxes = place(trace, setup).into_iter().map(|placed| TraceBox {
            start: placed.start,
            end: placed.end,
            offset_bytes: placed.offset.bytes(),
            size_bytes: placed.granted.bytes(),
            owner: owners.of(trace, placed.number).to_owned(),
        });
        Some(trace_svg(&TracePicture {
            title: format!("{}, {}", trace.name, setup.policy),
            operations: trace.operations.len(),
            at: report.held.operation,
            moment: report.held.when(),
            peak_live_bytes: trace.peak_live().bytes(),
            boxes: boxes.collect(),
        }))
    }

    /// What the first trace holds at the moment asked for, a line for each stack: its frames, outermost first, with `;` between them, a
    /// blank and the bytes. Flame graphs are drawn from it.
    pub fn folded(&self) -> Option<String> {
        let line = |held: &Held| {
            let owner = if held.owner.is_empty() { "not recorded" } else { &held.owner };
            format!("{owner} {}\n", held.bytes.bytes())
        };
        Some(self.stacks()?.iter().map(line).collect())
    }

    /// The same as a flame graph, as a standalone SVG.
    pub fn flame(&self) -> Option<String> {
        let (trace, report) = (self.traces.first()?, self.report.traces.first()?);
        let stacks: Vec<(String, u64)> =
            self.stacks()?.into_iter().map(|held| (held.owner, held.bytes.bytes())).collect();
        Some(flame_svg(&format!("{}, held {}", trace.name, report.held.when()), &stacks))
    }

    fn stacks(&self) -> Option<Vec<Held>> {
        let (trace, (at, after)) = (self.traces.first()?, self.first_replays.first()?.moment);
        Some(owners_at(trace, at, after, OwnedBy::Stack))
    }
}

/// The moment that is told, and the operation that it is after, if it is after any; the peak where nothing failed.
fn told(trace: &Trace, at: Moment, policies: &[PolicyReport]) -> (Moment, Option<usize>) {
    let last = trace.operations.len().saturating_sub(1);
    let failure = policies.iter().find_map(|policy| policy.first_failure.as_ref());
    match (at, failure) {
        (Moment::Failure, Some(failure)) => (at, failure.operation.checked_sub(1)),
        (Moment::Peak | Moment::Failure, _) => (Moment::Peak, Some(trace.peak_at())),
        (Moment::End, _) => (at, Some(last)),
        (Moment::Operation(operation), _) => (at, Some(operation)),
    }
}

fn owners_at(trace: &Trace, at: Moment, after: Option<usize>, by: OwnedBy) -> Vec<Held> {
    match (at, after) {
        (Moment::Peak, _) => trace.held_at_peak(by),
        (_, Some(operation)) => trace.held_after(operation, by),
        (_, None) => Vec::new(),
    }
}

/// Who holds what at a moment, and what must be said of that.
fn held(
    trace: &Trace,
    question: &ReplayQuestion,
    (at, after): (Moment, Option<usize>),
    notes: &mut Vec<String>,
) -> HeldReport {
    if question.at == Moment::Failure && at != Moment::Failure {
        notes.push("nothing was refused: what is held at the peak is told".to_owned());
    }
    let owners = owners_at(trace, at, after, question.by);
    HeldReport {
        at: at.to_string(),
        operation: after.unwrap_or(0),
        by: question.by,
        bytes: owners.iter().map(|held| held.bytes).sum(),
        owners,
    }
}

/// Replays traces against policies.
///
/// ```
/// use vramkit_ask::{ReplayQuestion, quiet, replay};
///
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("two.trace");
/// std::fs::write(&file, "a 1 8388608\na 2 8388608\nf 1\nf 2\n")?;
/// let question = ReplayQuestion { traces: vec![file], capacity: Some("8MiB".parse()?), ..ReplayQuestion::default() };
/// let answer = replay(&question, quiet())?;
/// assert!(!answer.is_yes());
/// let failure = answer.report.traces[0].policies[0].first_failure.as_ref().expect("the second does not fit");
/// assert_eq!((failure.operation, failure.requested_bytes.bytes()), (1, 8 << 20));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A question without traces, a file that is no trace, settings that PyTorch would refuse, a capacity for a trace without history.
pub fn replay(question: &ReplayQuestion, listener: Arc<dyn Listener>) -> Result<ReplayAnswer, AskError> {
    question.check()?;
    let mut traces = Vec::new();
    for file in &question.traces {
        let length = std::fs::metadata(file).ok().map(|file| file.len()).filter(|&length| length > 0);
        traces.extend(read_traces(file, &|bytes| listener.read(bytes, length))?);
    }
    if let Some(trace) = traces.iter().find(|trace| question.capacity.is_some() && !trace.has_history) {
        return Err(QuestionError::NoHistory(trace.name.clone()).into());
    }
    let behind =
        |trace: &&Trace| matches!(question.at, Moment::Operation(at) if at >= trace.operations.len());
    if let Some(trace) = traces.iter().find(behind) {
        let (name, count) = (&trace.name, trace.operations.len());
        let told = format!("`{name}` has operations 0 to {}: there is none {}", count - 1, question.at);
        return Err(QuestionError::NotAWord(told).into());
    }
    if question.diff && traces.len() != 2 {
        return Err(QuestionError::NotTwo(traces.len()).into());
    }
    listener.begun(traces.iter().map(|trace| question.policies_for(trace).len() as u64).sum());
    let (mut reports, mut first_replays) = (Vec::new(), Vec::new());
    for trace in &traces {
        let mut policies = Vec::new();
        let mut first = None;
        for policy in question.policies_for(trace) {
            let setup = Setup::new(trace, policy, &question.alloc_conf, question.capacity)
                .map_err(QuestionError::from)?;
            policies.push(vramkit_replay::replay(trace, &setup, question.least_capacity));
            first.get_or_insert(setup);
            listener.advanced(1);
        }
        let mut notes = trace.notes.clone();
        let moment = told(trace, question.at, &policies);
        let held = held(trace, question, moment, &mut notes);
        first_replays.push(Replayed { setup: first, moment });
        reports.push(TraceReport {
            file: trace.name.clone(),
            operations: trace.operations.len(),
            peak_live_bytes: trace.peak_live(),
            recorded_reserved_bytes: trace.recorded_reserved,
            recorded_settings: trace.recorded_settings.clone(),
            notes,
            held,
            policies,
        });
    }
    let diff = question.diff.then(|| diff(&reports));
    let report = ReplayReport { schema: "vramkit.replay/1", traces: reports, diff };
    Ok(ReplayAnswer { report, traces, first_replays })
}

/// What the second of two traces holds more than the first.
fn diff(reports: &[TraceReport]) -> DiffReport {
    let [before, after] = reports else { unreachable!("there are two") };
    let signed = |bytes: ByteSize| bytes.bytes() as i64;
    DiffReport {
        before: before.file.clone(),
        after: after.file.clone(),
        at: before.held.at.clone(),
        by: before.held.by,
        grown_bytes: signed(after.held.bytes) - signed(before.held.bytes),
        owners: grown(&before.held.owners, &after.held.owners),
    }
}
