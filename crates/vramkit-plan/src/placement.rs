//! Where the buffers of a problem are: what searches hand to one another.

use super::problem::Problem;
use vramkit_units::ByteSize;

/// Offsets of a problem's buffers.
///
/// ```
/// use vramkit_plan::{Buffer, ByteSize, Placement, Problem};
///
/// let buffer = |start, end| Buffer { start, end, size: ByteSize::mb(5), alignment: 256, pinned: None };
/// let problem = Problem { buffers: vec![buffer(0, 2), buffer(1, 3), buffer(2, 4)], gaps: vec![], ranks: 4 };
/// let placement = Placement::new(&problem, vec![ByteSize::ZERO, ByteSize::mb(5), ByteSize::ZERO]);
/// assert_eq!(placement.arena, problem.max_load());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
