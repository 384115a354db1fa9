//! What is validated, and who is told how it goes.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::PathBuf;

use vramkit::ByteSize;

use crate::error::ValidateError;

/// Where requests come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Alpaca's entries, as JSON: each is a prompt.
    Alpaca(PathBuf),
    /// ShareGPT's conversations, as JSON: each answer is a request whose prompt is all that was said before it.
    ShareGpt(PathBuf),
    /// A log of lengths (CSV, JSON Lines): prompts of just so many tokens, outputs made to be of just so many.
    Lengths(PathBuf),
}

impl Source {
    /// `alpaca`, `sharegpt`, `lengths`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Alpaca(_) => "alpaca",
            Self::ShareGpt(_) => "sharegpt",
            Self::Lengths(_) => "lengths",
        }
    }

    /// The file.
    pub fn path(&self) -> &std::path::Path {
        match self {
            Self::Alpaca(path) | Self::ShareGpt(path) | Self::Lengths(path) => path,
        }
    }
}

/// Does the model of a KV cache's occupancy hold for this model and these requests?
///
/// ```
/// use vramkit_validate::{Source, ValidateQuestion};
///
/// let alpaca = Source::Alpaca("alpaca.json".into());
/// let question = ValidateQuestion { batch_size: 16, threshold: Some(4), ..ValidateQuestion::new("model.gguf", alpaca) };
/// # assert_eq!(question.cycles, 100);
/// ```
#[derive(Clone, Debug)]
pub struct ValidateQuestion {
    /// A GGUF file.
    pub model: PathBuf,
    /// Where requests come from.
    pub source: Source,
    /// Most entries of the data set that are used, from its beginning.
    pub most_samples: usize,
    /// N: sequences that decode together.
    pub batch_size: usize,
    /// k: as many must have ended before they are replaced; N / 5 when not given, and at least one.
    pub threshold: Option<usize>,
    /// Cycles that count.
    pub cycles: usize,
    /// Cycles before those; as many as leave one in fifty of the first sequences when not given.
    pub warmup_cycles: Option<usize>,
    /// Outputs are cut off at so many tokens.
    pub most_output_tokens: usize,
    /// What the lengths of a log are multiplied by.
    pub scale: f64,
    /// Whether rows of a log that can be no request are left out and counted; otherwise they are refused.
    pub leave_out_bad_rows: bool,
    /// Most tokens of a sequence; what the longest request needs when not given, and the model's at most.
    pub context: Option<usize>,
    /// Threads that compute; all processors when not given.
    pub threads: Option<usize>,
    /// Requests come in an order that this draws, and simulations start from it.
    pub seed: u64,
    /// Most bytes that weights, workspace and cache may take together; what they need when not given.
    pub capacity: Option<ByteSize>,
    /// Most bytes of keys and values: where there are too few, the sequence that came last makes way and is computed again.
    pub kv_limit: Option<ByteSize>,
    /// A file that each cycle is noted in, and that the same question goes on from.
    pub journal: Option<PathBuf>,
    /// The program that renders the file's chat template, whose standard input and output it hands to
    /// [`answer_apart`](vramkit_llm::text::answer_apart); in this process when there is none, which a hostile template can end.
    pub renderer: Option<Vec<OsString>>,
}

impl ValidateQuestion {
    /// A model and a data set; 32 sequences, 100 cycles, outputs of up to 256 tokens.
    pub fn new(model: impl Into<PathBuf>, source: Source) -> Self {
        Self {
            model: model.into(),
            source,
            most_samples: 5000,
            batch_size: 32,
            threshold: None,
            cycles: 100,
            warmup_cycles: None,
            most_output_tokens: 256,
            scale: 1.0,
            leave_out_bad_rows: false,
            context: None,
            threads: None,
            seed: 0,
            capacity: None,
            kv_limit: None,
            journal: None,
            renderer: None,
        }
    }

    /// k.
    pub(crate) fn threshold(&self) -> usize {
        self.threshold.unwrap_or((self.batch_size / 5).max(1))
    }

    /// Cycles before those that count.
    pub(crate) fn warmup(&self) -> usize {
        let lasting = 1.0 - self.threshold() as f64 / self.batch_size as f64;
        let forgotten =
            || if lasting <= 0.0 { 1 } else { ((1.0f64 / 50.0).ln() / lasting.ln()).ceil() as usize };
        self.warmup_cycles.unwrap_or_else(forgotten)
    }
}

/// How an experiment gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Cycles that are done, of warming up too.
    pub cycles: usize,
    /// Cycles in all.
    pub of: usize,
}

/// Tells that so many cycles are done.
///
/// # Errors
/// Who is told ends it.
pub(crate) fn told(
    question: &ValidateQuestion,
    watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    done: usize,
) -> Result<(), ValidateError> {
    let of = question.warmup() + question.cycles;
    match watch(Progress { cycles: done, of }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => {
            let journal = question.journal.clone().filter(|_| done > 0);
            Err(ValidateError::Stopped { done, cycles: of, journal })
        }
    }
}

/// Goes on whatever the progress.
pub fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
