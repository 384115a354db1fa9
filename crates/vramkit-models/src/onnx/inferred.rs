//! What a walk along a graph's nodes leaves behind.

use std::collections::HashMap;

use super::fact::Fact;
use super::proto::NodeProto;

/// Facts of every tensor of a graph, the order in which its nodes run, and what their bodies hold.
pub(super) struct Inferred<'g> {
    pub(super) facts: HashMap<&'g str, Fact>,
    pub(super) nodes: Vec<&'g NodeProto>,
    /// For each node, in order: most bytes that its bodies hold at one time.
    pub(super) held: Vec<u64>,
}
