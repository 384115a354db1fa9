//! What the rules of operators with graphs inside ask of the inference: it walks the bodies, they know what goes in
//! and what the outputs mean. Neither knows the other.

use super::fact::Fact;
use super::proto::GraphProto;

/// Infers the bodies of one node.
pub(super) trait Bodies {
    /// The facts of a body's outputs, given those of its inputs. The body sees the tensors around its node.
    fn outputs(&self, body: &GraphProto, inputs: Vec<Fact>) -> Result<Vec<Fact>, String>;
}
