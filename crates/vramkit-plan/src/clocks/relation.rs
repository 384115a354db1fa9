//! Which lives may be live together, as bits, and sets of them that cover every such pair.

/// A bit for each life.
pub(super) type Bits = Vec<u64>;

/// The places of the bits that are set, ascending.
pub(super) fn ones(bits: &[u64]) -> impl Iterator<Item = usize> + '_ {
    bits.iter().enumerate().flat_map(|(word, &bits)| {
        let rest = std::iter::successors(Some(bits), |bits| Some(bits & bits.wrapping_sub(1)));
        rest.take_while(|&bits| bits != 0).map(move |bits| 64 * word + bits.trailing_zeros() as usize)
    })
}

/// The place of the lowest bit that is set.
pub(super) fn lowest(bits: impl Iterator<Item = u64>) -> Option<usize> {
    let mut set = bits.enumerate().filter(|(_, word)| *word != 0);
    set.next().map(|(at, word)| 64 * at + word.trailing_zeros() as usize)
}

pub(super) fn set(bits: &mut [u64], i: usize) {
    bits[i / 64] |= 1 << (i % 64);
}

/// Lives in an order in which one that is before another comes before it.
pub(super) struct Relation {
    /// For each life those that it conflicts with, itself not.
    pub(super) conflicts: Vec<Bits>,
    /// For each life those that it is before.
    pub(super) after: Vec<Bits>,
}

impl Relation {
    /// Of lives from one moment to another, each a counter of every clock.
    ///
    /// On one clock, those that begin after a life's end are as many bits as there are lives, and more of them the sooner it
    /// ends. All clocks' bits together say what it is before: for all lives as many words as pairs / 64, a clock.
    pub(super) fn new(lives: &[(&[u64], &[u64])]) -> Self {
        let n = lives.len();
        let words = n.div_ceil(64);
        let clocks = lives.first().map_or(0, |(start, _)| start.len());
        let sorted = |key: &dyn Fn(usize) -> u64| {
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by_key(|&i| std::cmp::Reverse(key(i)));
            order
        };
        let mut after: Vec<Bits> = vec![vec![u64::MAX; words]; n];
        for clock in 0..clocks {
            let begins = sorted(&|i| lives[i].0[clock]);
            let mut late: Bits = vec![0; words];
            let mut next = begins.iter().peekable();
            for i in sorted(&|i| lives[i].1[clock]) {
                while let Some(&j) = next.next_if(|&&j| lives[j].0[clock] >= lives[i].1[clock]) {
                    set(&mut late, j);
                }
                after[i].iter_mut().zip(&late).for_each(|(after, late)| *after &= late);
            }
        }
        // What is neither before nor after conflicts.
        let mut conflicts: Vec<Bits> = vec![vec![u64::MAX; words]; n];
        for (i, own) in conflicts.iter_mut().enumerate() {
            own.iter_mut().zip(&after[i]).for_each(|(conflicts, after)| *conflicts &= !after);
            own[i / 64] &= !(1 << (i % 64));
            if !n.is_multiple_of(64) {
                own[words - 1] &= (1 << (n % 64)) - 1;
            }
        }
        for (i, after) in after.iter().enumerate() {
            ones(after).for_each(|j| conflicts[j][i / 64] &= !(1 << (i % 64)));
        }
        Self { conflicts, after }
    }

    /// Sets of lives that all conflict, so that every conflict and every life is in one; `None` where it takes more of
    /// them, more members, or more work (in words of bits) than given.
    pub(super) fn cuts(&self, most: usize, mut members: usize, mut work: usize) -> Option<Vec<Bits>> {
        let n = self.conflicts.len();
        let mut cuts: Vec<Bits> = Vec::new();
        // The conflicts of each that are in no set.
        let mut missing = self.conflicts.clone();
        let mut is_in: Vec<bool> = vec![false; n];
        for i in 0..n {
            loop {
                let first = lowest(missing[i].iter().copied());
                if first.is_none() && is_in[i] {
                    break;
                }
                let (cut, grown) = self.grow(i, first, &missing[i]);
                // Members lie close to one another where clocks meet often: only words between the first and the last matter.
                let from = cut.iter().position(|&word| word != 0).unwrap_or(0);
                let end = cut.len() - cut.iter().rev().position(|&word| word != 0).unwrap_or(0);
                for member in ones(&cut) {
                    let own = &mut missing[member][from..end];
                    own.iter_mut().zip(&cut[from..end]).for_each(|(missing, cut)| *missing &= !cut);
                    is_in[member] = true;
                    members = members.checked_sub(1)?;
                    work = work.checked_sub(end - from)?;
                }
                work = work.checked_sub(grown)?;
                cuts.push(cut);
                if cuts.len() > most {
                    return None;
                }
            }
        }
        Some(cuts)
    }

    /// A set that cannot grow, with a life and another: first of those whose conflict with it is in no set yet. With it,
    /// the words that were looked at.
    fn grow(&self, i: usize, first: Option<usize>, missing: &[u64]) -> (Bits, usize) {
        let own = &self.conflicts[i];
        let mut cut = vec![0; own.len()];
        set(&mut cut, i);
        // Whoever is in the set conflicts with the first, so only words in which it has conflicts matter.
        let from = own.iter().position(|&word| word != 0).unwrap_or(0);
        let end = own.len() - own.iter().rev().position(|&word| word != 0).unwrap_or(0);
        let mut work = own.len();
        let mut open: Bits = own[from..end.max(from)].to_vec();
        let missing = &missing[from..end.max(from)];
        let mut next = first;
        while let Some(j) = next {
            set(&mut cut, j);
            let conflicts = &self.conflicts[j][from..end];
            open.iter_mut().zip(conflicts).for_each(|(open, conflicts)| *open &= conflicts);
            let wanted = open.iter().zip(missing).map(|(open, missing)| open & missing);
            next = lowest(wanted).or_else(|| lowest(open.iter().copied())).map(|at| 64 * from + at);
            work += 2 * open.len();
        }
        (cut, work)
    }
}
