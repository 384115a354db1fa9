//! How often what looks as if it belonged together does so by chance: the fewer times are expected, the surer it is.

use super::network::Network;

/// How much longer or shorter a piece may be to count as one like another.
const LIKE: f64 = 1.25;
const AS_LONG: f64 = 1.5;

/// Pieces between the same two moments are on one another far more often than not, even where as many are expected by chance.
const STACKED: f64 = 0.05;

/// See the [module](self): what pieces there were when it was made.
pub(super) struct Chance {
    sizes: Vec<u64>,
    /// How many pieces begin, and end, before each rank.
    beginning: Vec<u32>,
    ending: Vec<u32>,
}

impl Chance {
    pub(super) fn new(network: &Network) -> Self {
        let whole = || network.whole().map(|piece| &network.pieces[piece as usize]);
        let mut sizes: Vec<u64> = whole().map(|piece| piece.size).collect();
        sizes.sort_unstable();
        let rank = |node: u32| network.nodes[node as usize].rank as usize;
        let ranks = network.nodes.iter().map(|node| node.rank as usize + 1).max().unwrap_or(0);
        let (mut beginning, mut ending) = (vec![0; ranks + 1], vec![0; ranks + 1]);
        for piece in whole() {
            beginning[rank(piece.from) + 1] += 1;
            ending[rank(piece.to) + 1] += 1;
        }
        for at in 0..ranks {
            beginning[at + 1] += beginning[at];
            ending[at + 1] += ending[at];
        }
        Self { sizes, beginning, ending }
    }

    /// How many pieces it knows.
    pub(super) fn pieces(&self) -> usize {
        self.sizes.len()
    }

    /// How probable it is that some piece has a size.
    pub(super) fn of_size(&self, size: u64) -> f64 {
        let among = |low: u64, high: u64| {
            let from = self.sizes.partition_point(|&other| other < low);
            (self.sizes.partition_point(|&other| other <= high) - from) as f64
        };
        let (low, high) = ((size as f64 / LIKE).ceil() as u64, (size as f64 * LIKE) as u64);
        let smooth = among(low, high) / (high - low + 1) as f64;
        smooth.max(among(size, size) - 1.0) / self.sizes.len() as f64
    }

    /// How often something that ends at a node and something that begins there are of one size by chance.
    pub(super) fn in_row(&self, network: &Network, node: u32, size: u64) -> f64 {
        let node = &network.nodes[node as usize];
        // The pair itself is one of them, where it is still there.
        (node.ending.len() * node.beginning.len()).saturating_sub(1) as f64 * self.of_size(size)
    }

    /// How often a piece has a neighbour from the same node to the same by chance.
    pub(super) fn stacked(&self, network: &Network, piece: u32) -> f64 {
        let others = network.nodes[network.pieces[piece as usize].from as usize].beginning.len() - 1;
        STACKED * others as f64 * self.ends_at(network, piece)
    }

    /// How probable it is that another piece that is about as long as this ends where it does.
    pub(super) fn ends_at(&self, network: &Network, piece: u32) -> f64 {
        let piece = &network.pieces[piece as usize];
        let (from, to) = (&network.nodes[piece.from as usize], &network.nodes[piece.to as usize]);
        let (low, high) = (from.rank as f64, to.rank as f64);
        let (long, short) = (AS_LONG * (high - low), (high - low) / AS_LONG);
        let within = |counts: &[u32], first: f64, last: f64| {
            let at = |rank: f64| counts[(rank.max(0.0) as usize).min(counts.len() - 1)];
            at(last + 1.0) - at(first.ceil())
        };
        let ends = within(&self.ending, low + short, low + long);
        let starts = within(&self.beginning, high - long, high - short);
        (to.ending.len() - 1) as f64 / f64::from(ends.max(starts).max(1))
    }
}
