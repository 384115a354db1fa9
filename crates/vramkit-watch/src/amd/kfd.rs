//! AMD's compute driver (KFD) in the kernel's files: its nodes, and what each process holds of which. It numbers cards by
//! itself (`gpu_id`); which card that is stands in its topology.

use super::card::Card;
use crate::ids::natural;
use crate::kernel::{Kernel, field};

const TOPOLOGY: &str = "sys/class/kfd/kfd/topology/nodes";
const PROCESSES: &str = "sys/class/kfd/kfd/proc";
/// Nodes, banks of one and processes that are believed to exist.
const MOST_NODES: usize = 1024;
const MOST_BANKS: usize = 8;
const MOST_PROCESSES: usize = 16_384;

/// A node of the topology.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) gpu_id: u64,
    pub(super) cpu_cores: u64,
    pub(super) simds: u64,
    /// Memory of its own.
    pub(super) bytes: u64,
    render: Option<u64>,
    /// Domain, and bus, device and function in one number.
    location: Option<(u64, u64)>,
}

/// The nodes that are cards.
#[derive(Clone, Debug, Default)]
pub(super) struct Topology {
    nodes: Vec<Node>,
}

/// What a process holds of a card, as KFD numbers cards.
pub(super) struct KfdUse {
    pub(super) pid: u32,
    pub(super) gpu_id: u64,
    pub(super) bytes: u64,
}

impl Topology {
    pub(super) fn read(kernel: &Kernel) -> Self {
        let node = |name: String| {
            let properties = kernel.text(&format!("{TOPOLOGY}/{name}/properties")).unwrap_or_default();
            let number = |name: &str| field(&properties, name);
            Node {
                gpu_id: kernel.number(&format!("{TOPOLOGY}/{name}/gpu_id")).unwrap_or(0),
                cpu_cores: number("cpu_cores_count").unwrap_or(0),
                simds: number("simd_count").unwrap_or(0),
                bytes: banks(kernel, &name),
                render: number("drm_render_minor").filter(|&minor| minor > 0),
                location: number("location_id").map(|location| (number("domain").unwrap_or(0), location)),
            }
        };
        let mut names = kernel.names(TOPOLOGY);
        names.sort_by(|one, other| natural(one, other));
        let nodes = names.into_iter().take(MOST_NODES).map(node);
        // A processor without graphics has the number 0.
        Self { nodes: nodes.filter(|node| node.gpu_id != 0).collect() }
    }

    pub(super) fn node_of(&self, card: &Card) -> Option<&Node> {
        self.nodes.iter().find(|node| node.is(card))
    }

    /// The nodes of a card: of one that is divided, all its parts, which have places of their own on its place.
    pub(super) fn nodes_of(&self, card: &Card, others: &[Card]) -> Vec<&Node> {
        let is_its = |node: &&Node| {
            node.is(card) || (node.is_part_of(card) && !others.iter().any(|other| node.is(other)))
        };
        self.nodes.iter().filter(is_its).collect()
    }

    /// Whether it knows a card by this number.
    pub(super) fn knows(&self, gpu_id: u64) -> bool {
        self.nodes.iter().any(|node| node.gpu_id == gpu_id)
    }
}

impl Node {
    fn is(&self, card: &Card) -> bool {
        match (self.render, card.render) {
            (Some(one), Some(other)) => one == other,
            _ => self.location.is_some() && self.location == location(&card.bus),
        }
    }

    /// Whether it may be a part of a divided card. The kernel writes which part it is over the function of the card's place (Linux
    /// 6.5 and later), or into the four highest bits (some releases between).
    fn is_part_of(&self, card: &Card) -> bool {
        let whole = |(domain, location): (u64, u64)| (domain, location & 0xfff8);
        let place = location(&card.bus).filter(|(_, location)| location & 7 == 0);
        place.is_some() && self.location.map(whole) == place
    }
}

/// The bytes of a node's banks that are a card's memory, which the processor sees or does not see.
fn banks(kernel: &Kernel, node: &str) -> u64 {
    let folder = format!("{TOPOLOGY}/{node}/mem_banks");
    let banks = kernel.names(&folder).into_iter().take(MOST_BANKS);
    let banks = banks.filter_map(|bank| kernel.text(&format!("{folder}/{bank}/properties")).ok());
    let of_card = banks.filter(|bank| matches!(field(bank, "heap_type"), Some(1 | 2)));
    of_card.filter_map(|bank| field(&bank, "size_in_bytes")).fold(0, u64::saturating_add)
}

/// `0000:c5:00.0` as the topology writes it.
fn location(bus: &str) -> Option<(u64, u64)> {
    let (rest, function) = bus.rsplit_once('.')?;
    let mut parts = rest.split(':').map(|part| u64::from_str_radix(part, 16));
    let (domain, bus, device) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let function = u64::from_str_radix(function, 16).ok()?;
    (bus < 256 && device < 32 && function < 8).then_some((domain, bus << 8 | device << 3 | function))
}

/// What each process holds of which card.
pub(super) fn uses(kernel: &Kernel) -> Vec<KfdUse> {
    let mut uses = Vec::new();
    for process in kernel.names(PROCESSES).into_iter().take(MOST_PROCESSES) {
        let Ok(pid) = process.parse() else { continue };
        for file in kernel.names(&format!("{PROCESSES}/{process}")).into_iter().take(MOST_NODES) {
            let Some(gpu_id) = file.strip_prefix("vram_").and_then(|id| id.parse().ok()) else { continue };
            let bytes = kernel.number(&format!("{PROCESSES}/{process}/{file}"));
            if let Some(bytes) = bytes.ok().filter(|&bytes| bytes < 1 << 60) {
                uses.push(KfdUse { pid, gpu_id, bytes });
            }
        }
    }
    uses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_on_the_bus_is_read_as_the_topology_writes_it() {
        assert_eq!(location("0000:c5:00.0"), Some((0, 0xc500)));
        assert_eq!(location("0001:05:1f.7"), Some((1, 0x05ff)));
        assert_eq!((location("device"), location("0000:c5:00"), location("0:100:0.0")), (None, None, None));
    }
}
