//! What is asked of a log, and what comes out of it.

use super::columns::Columns;

/// One request of a log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoggedRequest {
    /// Tokens of the prompt, at least 1.
    pub prompt: u32,
    /// Tokens generated, at least 1.
    pub output: u32,
}

/// What a file says of its traffic.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Traffic {
    /// In the file's order.
    pub requests: Vec<LoggedRequest>,
    /// Whether tokens were counted by somebody, or estimated here from text.
    pub estimated: bool,
    /// Rows left out because they can be no request, where that was allowed, or because the log says that they are none:
    /// requests that failed, spans of something else.
    pub left_out: u64,
    /// What was assumed, in words: the format, the columns, what was left out and why.
    pub notes: Vec<String>,
}

/// What to do with a row of no tokens or of impossibly many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BadRows {
    /// It is an error.
    #[default]
    Refuse,
    /// It is left out and counted.
    LeaveOut,
}

/// How a log is to be read.
///
/// ```
/// use vramkit_models::traffic::{BadRows, TrafficOptions};
///
/// let options = TrafficOptions { bad_rows: BadRows::LeaveOut, columns: "prompt=tokens in".parse()? };
/// assert_eq!(options.columns.prompt.as_deref(), Some("tokens in"));
/// # Ok::<(), vramkit_models::traffic::ColumnsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TrafficOptions {
    /// Rows that can be no request.
    pub bad_rows: BadRows,
    /// Columns that are known better by the caller than by their names.
    pub columns: Columns,
}
