//! What decides: the largest part of the device's memory.

use vramkit_units::ByteSize;

use crate::answers::need::Need;
use crate::footprint::Footprint;

/// The largest part of what processes need on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Largest {
    /// What it is: `weights`, `KV cache`, `state`, `workspace`, `overhead`.
    pub part: &'static str,
    /// Its size.
    pub size: ByteSize,
    /// What is known of all parts.
    pub of: ByteSize,
}

/// The largest part, of all processes together; `None` when they need nothing.
pub(crate) fn largest(footprints: &[Footprint]) -> Option<Largest> {
    let sum = |part: fn(&Footprint) -> Option<ByteSize>| {
        footprints.iter().filter_map(part).fold(ByteSize::ZERO, ByteSize::saturating_add)
    };
    let parts = [
        (
            "weights",
            sum(|footprint| {
                let device = &footprint.device;
                Some(device.weights.unwrap_or_default().saturating_add(device.rearranged_weights))
            }),
        ),
        ("KV cache", sum(|footprint| Some(footprint.device.kv))),
        ("state", sum(|footprint| Some(footprint.device.state))),
        ("workspace", sum(|footprint| footprint.device.workspace)),
        ("overhead", sum(|footprint| footprint.overhead)),
    ];
    let (part, size) = parts.into_iter().max_by_key(|&(_, size)| size)?;
    let of = Need::of_all(footprints).at_least;
    (!size.is_zero()).then_some(Largest { part, size, of })
}
