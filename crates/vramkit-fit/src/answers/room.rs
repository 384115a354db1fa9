//! The memory there is, and whether processes fit in it.
//!
//! vLLM takes a part of the card as a whole when it starts (`--gpu-memory-utilization`), however little it needs, and fits
//! when its need is within that part; what others hold may not reach into it. Other engines take what they need.

use vramkit_units::ByteSize;

use crate::answers::need::Need;
use crate::footprint::Footprint;
use crate::options::Runtime;

/// The memory of a device.
///
/// ```
/// use vramkit_fit::{Backend, Footprint, Room, Runtime};
/// use vramkit_units::ByteSize;
///
/// let mut footprint = Footprint::new(Runtime::LlamaCpp, Backend::Cuda);
/// footprint.device.weights = Some(ByteSize::gib(6));
/// footprint.device.workspace = Some(ByteSize::gib(1));
/// footprint.overhead = Some(ByteSize::gib(1));
/// let verdict = Room::of(ByteSize::gib(24)).verdict(&[footprint.clone(), footprint], 0.9);
/// assert_eq!(verdict.fits, Some(true));
/// assert_eq!(verdict.headroom, Some(8 << 30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// All of it.
    pub total: ByteSize,
    /// What nobody holds.
    pub free: ByteSize,
}

/// Whether processes fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// Whether they do; `None` when what is known of their need fits and the rest is not known.
    pub fits: Option<bool>,
    /// What they may take together, bytes.
    pub available: ByteSize,
    /// What is left of it, bytes; negative by what is missing; `None` when the need is not known.
    pub headroom: Option<i128>,
    /// What the processes take at their start whatever they need, where one of them is vLLM's and that is not what is told of:
    /// where there are others beside it, or it takes more than is free.
    pub claim: Option<ByteSize>,
}

impl Room {
    /// A device that nobody holds anything of.
    pub fn of(total: ByteSize) -> Self {
        Self { total, free: total }
    }

    /// The part that vLLM takes of it.
    pub fn share(&self, utilization: f64) -> ByteSize {
        ByteSize::new((self.total.bytes() as f64 * utilization.clamp(0.0, 1.0)) as u64)
    }

    /// What a process takes of it: its need, or under vLLM its whole part where that is more.
    pub fn claim(&self, footprint: &Footprint, utilization: f64) -> Need {
        let need = Need::of(footprint);
        match footprint.runtime {
            // Under vLLM the part is taken whole, so what is not known of the need changes nothing while that is in it.
            Runtime::Vllm => Need { at_least: need.at_least.max(self.share(utilization)), is_whole: true },
            _ => need,
        }
    }

    /// Whether these processes fit beside one another. `utilization` is what each of vLLM's is told.
    pub fn verdict(&self, footprints: &[Footprint], utilization: f64) -> Verdict {
        let share = self.share(utilization);
        let claims = footprints.iter().map(|footprint| self.claim(footprint, utilization).at_least);
        let claimed = claims.fold(ByteSize::ZERO, ByteSize::saturating_add);
        let left = difference(self.free, claimed);
        let is_vllm = |footprint: &&Footprint| footprint.runtime == Runtime::Vllm;
        let in_shares = footprints.iter().filter(is_vllm);
        let in_shares = in_shares.map(|footprint| difference(share, Need::of(footprint).at_least)).min();
        let of_free = footprints.iter().any(|footprint| !is_vllm(&footprint)).then_some(left);
        let headroom = match left {
            ..0 => left.min(in_shares.unwrap_or(left)),
            _ => in_shares.into_iter().chain(of_free).min().unwrap_or(left),
        };
        let only_share = footprints.len() == 1 && in_shares.is_some() && share <= self.free;
        let is_whole = Need::of_all(footprints).is_whole;
        Verdict {
            fits: match headroom {
                ..0 => Some(false),
                _ => is_whole.then_some(true),
            },
            available: if only_share { share } else { self.free },
            headroom: is_whole.then_some(headroom),
            claim: (in_shares.is_some() && !only_share).then_some(claimed),
        }
    }
}

fn difference(of: ByteSize, and: ByteSize) -> i128 {
    i128::from(of.bytes()) - i128::from(and.bytes())
}
