//! Bytes that processes need on the device, of which a part may not be known.

use vramkit_units::ByteSize;

use crate::footprint::Footprint;

/// Bytes needed on the device.
///
/// ```
/// use vramkit_fit::{Backend, Footprint, Need, Runtime};
/// use vramkit_units::ByteSize;
///
/// let mut footprint = Footprint::new(Runtime::LlamaCpp, Backend::Vulkan);
/// footprint.device.weights = Some(ByteSize::gib(4));
/// assert_eq!(Need::of(&footprint).total(), None); // its working memory is not known
/// assert_eq!(Need::of(&footprint).at_least, ByteSize::gib(4));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// What is known of it.
    pub at_least: ByteSize,
    /// Whether that is all of it.
    pub is_whole: bool,
}

impl Need {
    /// What a process needs, with what its driver's context takes.
    pub fn of(footprint: &Footprint) -> Self {
        let device = &footprint.device;
        let parts = [
            device.weights,
            Some(device.rearranged_weights),
            Some(device.kv),
            Some(device.state),
            device.workspace,
            footprint.overhead,
        ];
        let at_least = parts.into_iter().flatten().fold(ByteSize::ZERO, ByteSize::saturating_add);
        Self { at_least, is_whole: parts.iter().all(Option::is_some) }
    }

    /// What processes need together, each with a context of its own.
    pub fn of_all(footprints: &[Footprint]) -> Self {
        let nothing = Self { at_least: ByteSize::ZERO, is_whole: true };
        footprints.iter().map(Self::of).fold(nothing, |sum, need| Self {
            at_least: sum.at_least.saturating_add(need.at_least),
            is_whole: sum.is_whole && need.is_whole,
        })
    }

    /// All of it, where that is known.
    pub fn total(self) -> Option<ByteSize> {
        self.is_whole.then_some(self.at_least)
    }
}
