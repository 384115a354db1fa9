//! Allocation traces against pool policies: `vramkit.replay/1`.
//!
//! In: trace files and policies. Out: how much memory each policy would have taken, and a picture. Takes no memory itself.

use std::path::PathBuf;
use std::sync::Arc;

use vramkit::ByteSize;
use vramkit_replay::{PolicyName, ReplayReport, Trace, TraceReport, place, read_traces};
use vramkit_report::{TraceBox, TracePicture, trace_svg};

use crate::error::{AskError, QuestionError};
use crate::listener::Listener;

/// How much memory would these policies have taken for what was recorded?
#[derive(Clone, Debug)]
pub struct ReplayQuestion {
    /// Allocation traces: text, RMM's CSV, JSON Lines, PyTorch's snapshots; gzip or not.
    pub traces: Vec<PathBuf>,
    /// Policies, in the order in which they are answered; `default`, `best-fit`, `pytorch` and `offline` by default.
    pub policies: Vec<PolicyName>,
    /// Most bytes that there are; whether each trace gets through with some policy is then the answer.
    pub capacity: Option<ByteSize>,
}

impl Default for ReplayQuestion {
    fn default() -> Self {
        let policies =
            vec![PolicyName::Default, PolicyName::BestFit, PolicyName::Pytorch, PolicyName::Offline];
        Self { traces: Vec::new(), policies, capacity: None }
    }
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
    /// No traces, no policies.
    pub fn check(&self) -> Result<(), QuestionError> {
        match (self.traces.is_empty(), self.policies.is_empty()) {
            (true, _) => Err(QuestionError::NoFiles),
            (_, true) => Err(QuestionError::NoPolicies),
            _ => Ok(()),
        }
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
    capacity: Option<ByteSize>,
}

impl ReplayAnswer {
    /// Whether some policy gets each trace through; always without a capacity.
    pub fn is_yes(&self) -> bool {
        let fits = |trace: &TraceReport| trace.policies.iter().any(|policy| policy.failures == 0);
        self.report.traces.iter().all(fits)
    }

    /// Addresses over time for the first trace and the first policy, as a standalone SVG. Replays it once more; `None` when
    /// the files held no trace.
    pub fn picture(&self) -> Option<String> {
        let (trace, report) = (self.traces.first()?, self.report.traces.first()?);
        let policy = report.policies.first()?.policy;
        let boxes = place(trace, policy, self.capacity).into_iter().map(|placed| TraceBox {
            start: placed.start,
            end: placed.end,
            offset_bytes: placed.offset.bytes(),
            size_bytes: placed.granted.bytes(),
            owner: trace.owners[usize::from(trace.owner_of[placed.number as usize])].clone(),
        });
        Some(trace_svg(&TracePicture {
            title: format!("{}, {policy}", trace.name),
            operations: trace.operations.len(),
            peak_at: trace.peak_at(),
            peak_live_bytes: trace.peak_live().bytes(),
            boxes: boxes.collect(),
        }))
    }
}

/// Replays traces against policies.
///
/// ```
/// use vramkit_ask::{ReplayQuestion, quiet, replay};
///
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("two.trace");
/// std::fs::write(&file, "a 1 1048576\na 2 1048576\nf 1\nf 2\n")?;
/// let question = ReplayQuestion { traces: vec![file], capacity: Some("1MiB".parse()?), ..ReplayQuestion::default() };
/// assert!(!replay(&question, quiet())?.is_yes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A question without traces or policies, a file that is no trace.
pub fn replay(question: &ReplayQuestion, listener: Arc<dyn Listener>) -> Result<ReplayAnswer, AskError> {
    question.check()?;
    let mut traces = Vec::new();
    for file in &question.traces {
        traces.extend(read_traces(file)?);
    }
    listener.begun((traces.len() * question.policies.len()) as u64);
    let report = |trace: &Trace| TraceReport {
        file: trace.name.clone(),
        operations: trace.operations.len(),
        peak_live_bytes: trace.peak_live(),
        recorded_reserved_bytes: trace.recorded_reserved,
        policies: question
            .policies
            .iter()
            .map(|&policy| {
                let report = vramkit_replay::replay(trace, policy, question.capacity);
                listener.advanced(1);
                report
            })
            .collect(),
    };
    let report = ReplayReport { schema: "vramkit.replay/1", traces: traces.iter().map(report).collect() };
    Ok(ReplayAnswer { report, traces, capacity: question.capacity })
}
