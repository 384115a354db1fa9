//! How many sequences decode together, and when those that ended are replaced.

use crate::error::{OccupancyError, finite};
use crate::limits::MAX_SEATS;

/// How a batch is refilled: all ended sequences at once, when `threshold` of `seats` have ended.
///
/// ```
/// use vramkit_occupancy::Batch;
///
/// let batch = Batch::new(128, 32)?;
/// assert_eq!(batch.theta(), 0.25);
/// assert!(Batch::new(128, 129).is_err());
/// # Ok::<(), vramkit_occupancy::OccupancyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    pub(crate) seats: u32,
    pub(crate) threshold: u32,
}

impl Batch {
    /// A batch of `seats` sequences (N), refilled when `threshold` (k) have ended.
    ///
    /// # Errors
    /// No seats or over 2^20 of them, a threshold of 0 or over the seats.
    pub fn new(seats: u32, threshold: u32) -> Result<Self, OccupancyError> {
        finite("the batch", seats.into(), 1.0..=f64::from(MAX_SEATS), "it must be 1 to 1,048,576 sequences")?;
        if threshold == 0 || threshold > seats {
            return Err(OccupancyError::Threshold { threshold, seats });
        }
        Ok(Self { seats, threshold })
    }

    /// The batch whose threshold is the same part of it, for another number of seats.
    #[must_use]
    pub fn with_seats(self, seats: u32) -> Self {
        let threshold = (self.theta() * f64::from(seats)).round() as u32;
        Self { seats, threshold: threshold.clamp(1, seats) }
    }

    /// N.
    pub fn seats(self) -> u32 {
        self.seats
    }

    /// k.
    pub fn threshold(self) -> u32 {
        self.threshold
    }

    /// k / N.
    pub fn theta(self) -> f64 {
        f64::from(self.threshold) / f64::from(self.seats)
    }

    /// Cycles after which one in a thousand of the first sequences is still there.
    pub(crate) fn memory(self) -> u64 {
        let lasting = 1.0 - self.theta();
        if lasting <= 0.0 { 1 } else { (1e-3f64.ln() / lasting.ln()).ceil() as u64 }
    }
}
