//! A soft and a hard limit on what a source holds, judged from counters where there are any.

use std::fmt;

use serde::Serialize;

use vramkit_units::ByteSize;

/// Bytes that may be held.
///
/// ```
/// use vramkit_pressure::Limits;
/// use vramkit_units::ByteSize;
///
/// let limits = Limits::new(ByteSize::gib(20), ByteSize::gib(22))?;
/// assert_eq!(limits.hard(), ByteSize::gib(22));
/// assert!(Limits::new(ByteSize::gib(22), ByteSize::gib(20)).is_err());
/// # Ok::<(), vramkit_pressure::LimitsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Limits {
    soft: ByteSize,
    hard: ByteSize,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// The lower one: a warning.
    Soft,
    /// The higher one: an error.
    Hard,
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Soft => "soft",
            Self::Hard => "hard",
        })
    }
}

/// Limits that make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the soft limit ({soft}) must be above zero and below the hard one ({hard})")]
#[non_exhaustive]
pub struct LimitsError {
    /// As given.
    pub soft: ByteSize,
    /// As given.
    pub hard: ByteSize,
}

impl Limits {
    /// A warning from more than `soft` bytes on, an error from more than `hard`.
    pub fn new(soft: ByteSize, hard: ByteSize) -> Result<Self, LimitsError> {
        if soft.is_zero() || soft >= hard { Err(LimitsError { soft, hard }) } else { Ok(Self { soft, hard }) }
    }

    /// The lower one.
    pub fn soft(&self) -> ByteSize {
        self.soft
    }

    /// The higher one.
    pub fn hard(&self) -> ByteSize {
        self.hard
    }
}

/// Numbers of a limit that was passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Passed {
    /// What was being done.
    pub context: String,
    /// Bytes held.
    pub current_bytes: ByteSize,
    /// Bytes about to be asked for.
    pub requested_bytes: ByteSize,
    /// Bytes allowed.
    pub limit_bytes: ByteSize,
    /// Bytes over that.
    pub excess_bytes: ByteSize,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} held", self.context, self.current_bytes)?;
        if !self.requested_bytes.is_zero() {
            write!(f, " and {} about to be asked for", self.requested_bytes)?;
        }
        write!(f, ", limit {}, {} too much", self.limit_bytes, self.excess_bytes)
    }
}

/// The soft limit was passed; the program may go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("soft limit passed: {0}")]
pub struct MemoryPressureWarning(pub Passed);

/// The hard limit is passed, or nothing is known of the memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryPressureError {
    /// Too much is held.
    #[error("hard limit passed: {0}; release memory or raise the limit")]
    Passed(Passed),
    /// The source gives no number to judge.
    #[error("{device}: limits cannot be checked: {reason}")]
    Unavailable {
        /// The source's device.
        device: String,
        /// Why.
        reason: String,
    },
}
