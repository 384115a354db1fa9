//! Dimensions that the file leaves to the user.

/// A dimension that has no size until the user gives it one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenDimension {
    /// The tensor, an input of the graph or one within.
    pub tensor: String,
    /// The axis, counted from 0.
    pub axis: usize,
    /// What to give a size in [`ReadOptions::dims`](crate::ReadOptions::dims): the symbol, or the place where there is none.
    pub name: String,
}
