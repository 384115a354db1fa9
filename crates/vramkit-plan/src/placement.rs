//! Where the buffers of a problem are: what searches hand to one another.

use super::problem::Problem;
use vramkit_units::ByteSize;

/// Offsets of a problem's buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// One for each buffer, from the arena's start.
    pub offsets: Vec<ByteSize>,
    /// The highest end.
    pub arena: ByteSize,
}

impl Placement {
    /// Of the offsets of a problem's buffers, one for each.
    pub fn new(problem: &Problem, offsets: Vec<ByteSize>) -> Self {
        let ends = problem.buffers.iter().zip(&offsets).map(|(buffer, &offset)| offset + buffer.size);
        let arena = ends.max().unwrap_or_default();
        Self { offsets, arena }
    }
}
