//! Bytes that are live between any two moments: a segment tree that adds over a stretch and says the most in one.

/// See the [module](self).
#[derive(Clone)]
pub(super) struct Load {
    /// Ranks, as a power of two.
    width: usize,
    /// Most bytes below each node of the tree, with all that was added to the whole of it.
    most: Vec<u64>,
    /// What was added to the whole of each node.
    added: Vec<u64>,
}

impl Load {
    pub(super) fn new(loads: &[u64]) -> Self {
        let width = loads.len().next_power_of_two().max(1);
        let mut most = vec![0; 2 * width];
        most[width..width + loads.len()].copy_from_slice(loads);
        for node in (1..width).rev() {
            most[node] = most[2 * node].max(most[2 * node + 1]);
        }
        Self { width, most, added: vec![0; 2 * width] }
    }

    /// Most bytes at any rank.
    pub(super) fn peak(&self) -> u64 {
        self.most[1]
    }

    /// Most bytes at ranks from `from` up to `to`, which is not one of them.
    pub(super) fn most(&self, from: u32, to: u32) -> u64 {
        self.most_below(1, (0, self.width), (from as usize, to as usize))
    }

    fn most_below(&self, node: usize, (low, high): (usize, usize), (from, to): (usize, usize)) -> u64 {
        if to <= low || high <= from {
            return 0;
        }
        if from <= low && high <= to {
            return self.most[node];
        }
        let middle = usize::midpoint(low, high);
        let left = self.most_below(2 * node, (low, middle), (from, to));
        self.added[node] + left.max(self.most_below(2 * node + 1, (middle, high), (from, to)))
    }

    /// Adds bytes at those ranks.
    pub(super) fn add(&mut self, from: u32, to: u32, bytes: u64) {
        self.add_below(1, (0, self.width), (from as usize, to as usize), bytes);
    }

    fn add_below(
        &mut self,
        node: usize,
        (low, high): (usize, usize),
        (from, to): (usize, usize),
        bytes: u64,
    ) {
        if bytes == 0 || to <= low || high <= from {
            return;
        }
        if from <= low && high <= to {
            self.most[node] += bytes;
            self.added[node] += bytes;
            return;
        }
        let middle = usize::midpoint(low, high);
        self.add_below(2 * node, (low, middle), (from, to), bytes);
        self.add_below(2 * node + 1, (middle, high), (from, to), bytes);
        self.most[node] = self.added[node] + self.most[2 * node].max(self.most[2 * node + 1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vramkit_units::SplitMix64;

    #[test]
    fn it_says_what_a_list_says() {
        let mut random = SplitMix64::new(7);
        for length in [1, 2, 3, 8, 13, 100] {
            let mut list: Vec<u64> = (0..length).map(|_| random.below(100) as u64).collect();
            let mut load = Load::new(&list);
            for _ in 0..200 {
                let (a, b) = (random.below(length), random.below(length));
                let (from, to) = (a.min(b), a.max(b) + 1);
                let bytes = random.below(50) as u64;
                load.add(from as u32, to as u32, bytes);
                list[from..to].iter_mut().for_each(|at| *at += bytes);
                let (from, to) = (random.below(length), length);
                assert_eq!(load.most(from as u32, to as u32), list[from..to].iter().copied().max().unwrap());
                assert_eq!(load.peak(), list.iter().copied().max().unwrap());
            }
        }
    }
}
