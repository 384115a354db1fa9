//! What the rules of operators with graphs inside ask of the inference: it walks the bodies, they know what goes in
//! and what the outputs mean. Neither knows the other.

use super::fact::Fact;
use super::proto::GraphProto;

/// What one run of a body comes to.
pub(super) struct Body {
    /// Of its outputs, in order.
    pub(super) outputs: Vec<Fact>,
    /// Most bytes that it holds at one time, without its inputs and outputs.
    pub(super) peak: u64,
}

/// Infers the bodies of one node.
pub(super) trait Bodies {
    /// Runs a body, given the facts of its inputs. The body sees the tensors around its node.
    fn run(&self, body: &GraphProto, inputs: Vec<Fact>) -> Result<Body, String>;

    /// Whether the error of the last run was that shapes do not go together, and not that something is not known.
    fn fits_no_shape(&self) -> bool;

    /// Whether there is work left to follow a loop run by run.
    fn can_follow(&self) -> bool;

    /// Says that one of the node's bodies is taken not to run, as it cannot: why.
    fn leave_out(&self, reason: String);

    /// Says that the node holds so many bytes inside at some time.
    fn hold(&self, bytes: u64);
}
