//! What a node's bodies hold while it runs, which is counted with the node.

use super::infer::{Inferred, Scope};
use super::lifetimes::{activations, live_peak};
use super::node::{Node, title};
use super::proto::NodeProto;
use super::rules;

/// Most bytes that a node's bodies hold at one time while it runs, whichever of them runs; 0 without bodies.
pub(super) fn body_peak(node: &NodeProto, scope: &Scope<'_>, around: &Inferred<'_>) -> Result<u64, String> {
    let mut peak = 0;
    let find = |name: &String| around.facts.get(name.as_str());
    let facts = Node { proto: node, inputs: node.input.iter().map(find).collect() };
    for (body, inputs) in rules::bodies(&facts).map_err(|reason| format!("{}: {reason}", title(node)))? {
        let named = |reason: String| format!("{}: in its body: {reason}", title(node));
        let inner = scope.inside(Some(&around.facts));
        let inferred = inner.infer(body, inputs.into_iter().map(Some)).map_err(named)?;
        let mut activations = activations(body, &inferred).map_err(named)?;
        // What goes out is counted where it goes to.
        activations.retain(|activation| !activation.boundary);
        peak = peak.max(live_peak(&activations).map_err(named)?);
    }
    Ok(peak)
}
