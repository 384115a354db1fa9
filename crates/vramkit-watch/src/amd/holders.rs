//! Which process holds how much of which card, from both of AMD's drivers.
//!
//! A process may be known to the graphics driver (DRM, by its open files), to the compute driver (KFD), or to both. On
//! recent kernels what it took for computing stands in its open files as well, on older ones it does not: the larger of the
//! two figures counts, never their sum.

use std::collections::BTreeMap;

use vramkit::ByteSize;

use super::card::Card;
use super::fdinfo::Found;
use super::kfd::{KfdUse, Node, Topology};

/// What is known of a card here.
pub(super) struct OfCard<'a> {
    pub(super) card: &'a Card,
    pub(super) is_integrated: bool,
    /// What is in use of it.
    pub(super) used: Option<u64>,
    /// KFD's nodes that it is.
    pub(super) nodes: Vec<&'a Node>,
}

/// The result, in the order of the cards.
pub(super) struct Holders {
    /// By process.
    pub(super) held: Vec<BTreeMap<u32, u64>>,
    /// Where a card's processes are its by a guess.
    pub(super) guesses: Vec<Option<String>>,
    /// What KFD knows of cards that cannot be told.
    pub(super) unplaced: Vec<String>,
}

impl Holders {
    pub(super) fn of(cards: &[OfCard<'_>], drm: Found, kfd: &[KfdUse], topology: &Topology) -> Self {
        let mut held = vec![BTreeMap::new(); cards.len()];
        for ((bus, pid), uses) in drm.held {
            let Some(at) = cards.iter().position(|of| of.card.bus == bus) else { continue };
            // Of a card with memory of its own, what it maps of the machine's is no part.
            let gtt = if cards[at].is_integrated { uses.gtt } else { 0 };
            held[at].insert(pid, uses.vram.saturating_add(gtt));
        }
        let mut holders = Self { held, guesses: vec![None; cards.len()], unplaced: Vec::new() };
        let mut by_number: BTreeMap<u64, BTreeMap<u32, u64>> = BTreeMap::new();
        for &KfdUse { pid, gpu_id, bytes } in kfd.iter().filter(|found| found.bytes > 0) {
            by_number.entry(gpu_id).or_default().insert(pid, bytes);
        }
        let places = places(cards, &by_number, topology);
        // On a divided card a process may be on several parts.
        let mut computing = vec![BTreeMap::<u32, u64>::new(); cards.len()];
        for (gpu_id, uses) in by_number {
            let Some(&(at, is_guess)) = places.get(&gpu_id) else {
                holders.unplaced.push(unplaced(gpu_id, &uses));
                continue;
            };
            for (pid, bytes) in uses {
                let sum = computing[at].entry(pid).or_default();
                *sum = sum.saturating_add(bytes);
            }
            if is_guess {
                let note = "processes that compute are taken to be this card's: a guess, because it is the only one that they can be on and KFD's topology does not say";
                holders.guesses[at] = Some(note.to_owned());
            }
        }
        for (held, computing) in holders.held.iter_mut().zip(computing) {
            for (pid, bytes) in computing {
                let held = held.entry(pid).or_default();
                *held = bytes.max(*held);
            }
        }
        holders
    }
}

/// Which card each of KFD's numbers is, and whether that is a guess: by its topology, else the only card of those that are
/// left that has as much in use. Two numbers are not one card, but where the topology says that they are its parts.
fn places(
    cards: &[OfCard<'_>],
    by_number: &BTreeMap<u64, BTreeMap<u32, u64>>,
    topology: &Topology,
) -> BTreeMap<u64, (usize, bool)> {
    let mut places = BTreeMap::new();
    let mut guesses: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for (&gpu_id, uses) in by_number {
        if let Some(at) = cards.iter().position(|of| of.nodes.iter().any(|node| node.gpu_id == gpu_id)) {
            places.insert(gpu_id, (at, false));
        } else if !topology.knows(gpu_id) {
            let sum = sum(uses);
            let can_be =
                |at: &usize| cards[*at].nodes.is_empty() && cards[*at].used.is_none_or(|used| used >= sum);
            let mut can_be = (0..cards.len()).filter(can_be);
            if let (Some(at), None) = (can_be.next(), can_be.next()) {
                guesses.entry(at).or_default().push(gpu_id);
            }
        }
    }
    for (at, numbers) in guesses {
        if let [gpu_id] = numbers[..] {
            places.insert(gpu_id, (at, true));
        }
    }
    places
}

fn sum(uses: &BTreeMap<u32, u64>) -> u64 {
    uses.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
}

fn unplaced(gpu_id: u64, uses: &BTreeMap<u32, u64>) -> String {
    const SHOWN: usize = 8;
    let pids: Vec<String> = uses.keys().take(SHOWN).map(u32::to_string).collect();
    let who = match uses.len() {
        1 => format!("process {} holds", pids[0]),
        few if few <= SHOWN => format!("processes {} hold", pids.join(", ")),
        many => format!("processes {} and {} more hold", pids.join(", "), many - SHOWN),
    };
    let held = ByteSize::new(sum(uses));
    format!("{who} {held} of the card that KFD numbers {gpu_id}: which card that is cannot be told")
}
