//! Who holds what at a step of a trace.

use vramkit_units::ByteSize;

use crate::trace::{Operation, Trace};

/// What one owner holds at a step of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// As the recording names it; empty for what it says nothing of.
    pub owner: String,
    /// Bytes asked for, and not given back.
    pub bytes: ByteSize,
    /// Allocations.
    pub allocations: u64,
}

impl Trace {
    /// Who holds what after a step, most first: after [`peak_at`](Self::peak_at) for the peak. Behind the last step, what is never
    /// given back.
    ///
    /// ```
    /// use vramkit_replay::Trace;
    ///
    /// let mut trace = Trace::new("by hand");
    /// trace.allocate("a", 4096, "weights")?;
    /// trace.allocate("b", 1024, "activations")?;
    /// trace.free("b")?;
    /// let peak = trace.held_after(trace.peak_at());
    /// assert_eq!((peak[0].owner.as_str(), peak[1].bytes.bytes()), ("weights", 1024));
    /// assert_eq!(trace.held_after(usize::MAX).len(), 1);
    /// # Ok::<(), vramkit_replay::TraceError>(())
    /// ```
    pub fn held_after(&self, step: usize) -> Vec<Held> {
        let mut sizes = vec![0_u64; self.allocations()];
        for operation in self.operations.iter().take(step.saturating_add(1)) {
            match *operation {
                Operation::Allocate { number, size } => sizes[number as usize] = size,
                Operation::Free { number } => sizes[number as usize] = 0,
            }
        }
        let mut held: Vec<(u64, u64)> = vec![(0, 0); self.owners.len()];
        for (size, owner) in sizes.iter().zip(&self.owner_of).filter(|(size, _)| **size > 0) {
            let (bytes, allocations) = &mut held[usize::from(*owner)];
            *bytes += size;
            *allocations += 1;
        }
        let mut held: Vec<Held> = held
            .into_iter()
            .zip(&self.owners)
            .filter(|((_, allocations), _)| *allocations > 0)
            .map(|((bytes, allocations), owner)| Held {
                owner: owner.clone(),
                bytes: ByteSize::new(bytes),
                allocations,
            })
            .collect();
        held.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.owner.cmp(&b.owner)));
        held
    }
}
