//! Whether a card has memory of its own, or is a processor's own graphics. In this order, the first that says so:
//!
//! 1. KFD's topology: a node with both processor cores and SIMDs is one chip (older kernels; newer ones list two nodes).
//! 2. `gpu_metrics`: the driver gives cards tables of format 1, processors' graphics of format 2 or 3
//!    (`kgd_pp_interface.h`).
//! 3. `mem_info_vram_vendor`: who made a card's memory; of memory that is the machine's nobody is known.
//! 4. A guess by sizes, which says that it is one: little VRAM beside much GTT. GTT alone says nothing: it is half the
//!    machine's memory or more, so larger than the VRAM of many a card.

use vramkit::ByteSize;

use super::card::Card;
use super::kfd::Topology;
use crate::kernel::Kernel;

/// Memory set aside for a processor's graphics is rarely more where nothing else says what it is.
const SMALL: u64 = 2 << 30;

/// What a card is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// Whether it is a processor's own graphics.
    pub(super) is_integrated: bool,
    /// What is to be known of that.
    pub(super) note: Option<String>,
}

pub(super) fn kind(kernel: &Kernel, card: &Card, topology: &Topology) -> Kind {
    let sure = |is_integrated: bool| {
        Kind {
        is_integrated,
        note: is_integrated.then(|| {
            "a processor's own graphics: its memory is what is set aside for it and what it may have of the machine's (GTT)"
                .to_owned()
        }),
    }
    };
    if topology.node_of(card).is_some_and(|node| node.cpu_cores > 0 && node.simds > 0) {
        return sure(true);
    }
    let number = |name: &str| kernel.number(&card.file(name)).ok();
    if !card.sleeps(kernel)
        && let Ok(&[_, _, format, _]) = kernel.bytes(&card.file("gpu_metrics"), 4).as_deref()
    {
        match format {
            1 => return sure(false),
            2 | 3 => return sure(true),
            _ => {}
        }
    }
    let vendor = kernel.text(&card.file("mem_info_vram_vendor")).ok();
    if vendor.is_some_and(|vendor| !vendor.is_empty() && vendor != "unknown") {
        return sure(false);
    }
    let (vram, gtt) = (number("mem_info_vram_total"), number("mem_info_gtt_total"));
    let (Some(vram), Some(gtt)) = (vram, gtt) else { return sure(false) };
    let is_integrated = vram <= SMALL && vram < gtt / 4;
    let taken_for = if is_integrated {
        "a processor's own graphics, whose memory is both together"
    } else {
        "a card whose memory is its VRAM alone"
    };
    let (vram, gtt) = (ByteSize::new(vram), ByteSize::new(gtt));
    Kind {
        is_integrated,
        note: Some(format!("taken for {taken_for}: a guess from {vram} of VRAM beside {gtt} of GTT")),
    }
}
