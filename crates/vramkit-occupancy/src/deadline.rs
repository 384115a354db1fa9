//! Until when an answer is looked for.

use std::time::{Duration, Instant};

use crate::error::OccupancyError;

/// A moment by which an answer is wanted: what is not found by then is refused, and says so.
///
/// ```
/// use std::time::Duration;
/// use vramkit_occupancy::Deadline;
///
/// assert!(!Deadline::none().has_passed());
/// assert!(Deadline::within(Duration::ZERO).has_passed());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// However long it takes.
    pub const fn none() -> Self {
        Self(None)
    }

    /// So long from now.
    pub fn within(time: Duration) -> Self {
        Self(Instant::now().checked_add(time))
    }

    /// Whether it is over.
    pub fn has_passed(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }

    /// After a part (0..1) of the time that is left.
    #[must_use]
    pub fn part(self, part: f64) -> Self {
        let left = self.0.map(|at| at.saturating_duration_since(Instant::now()));
        left.map_or(self, |left| Self::within(left.mul_f64(part.clamp(0.0, 1.0))))
    }

    /// The earlier of this and so long from now.
    #[must_use]
    pub fn at_most(self, time: Duration) -> Self {
        match (self.0, Self::within(time).0) {
            (Some(at), Some(other)) => Self(Some(at.min(other))),
            (at, other) => Self(at.or(other)),
        }
    }

    /// # Errors
    /// What is looked for, refused when it is over.
    pub(crate) fn check(self, what: &str) -> Result<(), OccupancyError> {
        if self.has_passed() { Err(Self::refused(what)) } else { Ok(()) }
    }

    /// What is looked for was not found in time.
    pub(crate) fn refused(what: &str) -> OccupancyError {
        OccupancyError::Refused {
            what: what.to_owned(),
            why: "it was not found by the deadline".to_owned(),
            instead: "give a later one".to_owned(),
        }
    }
}
