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

pub(super) fn set(bits: &mut [u64], i: usize) {
    bits[i / 64] |= 1 << (i % 64);
}

/// Lives in an order in which one that is before another comes before it.
pub(super) struct Relation {
    /// For each life those that it conflicts with, itself not.
    pub(super) conflicts: Vec<Bits>,
    words: usize,
}

impl Relation {
    /// Of so many, by whether one is before a later one.
    pub(super) fn new(lives: usize, is_before: impl Fn(usize, usize) -> bool) -> Self {
        let words = lives.div_ceil(64);
        let mut conflicts = vec![vec![0; words]; lives];
        for j in 0..lives {
            for i in (0..j).filter(|&i| !is_before(i, j)) {
                set(&mut conflicts[i], j);
                set(&mut conflicts[j], i);
            }
        }
        Self { conflicts, words }
    }

    /// Sets of lives that all conflict, so that every conflict and every life is in one; `None` where it takes more of
    /// them, or more members, than given.
    pub(super) fn cuts(&self, most: usize, mut members: usize) -> Option<Vec<Bits>> {
        let mut cuts: Vec<Bits> = Vec::new();
        // The conflicts of each that are in a set.
        let mut covered: Vec<Bits> = vec![vec![0; self.words]; self.conflicts.len()];
        for i in 0..self.conflicts.len() {
            let mut alone = !cuts.iter().any(|cut| cut[i / 64] >> (i % 64) & 1 == 1);
            loop {
                let missing = self.conflicts[i].iter().zip(&covered[i]).map(|(all, done)| all & !done);
                let missing: Bits = missing.collect();
                let first = ones(&missing).next();
                if first.is_none() && !alone {
                    break;
                }
                alone = false;
                let cut = self.grow(i, first, &missing);
                for member in ones(&cut) {
                    covered[member].iter_mut().zip(&cut).for_each(|(done, cut)| *done |= cut);
                    members = members.checked_sub(1)?;
                }
                cuts.push(cut);
                if cuts.len() > most {
                    return None;
                }
            }
        }
        Some(cuts)
    }

    /// A set that cannot grow, with a life and another: first of those whose conflict with it is in no set yet.
    fn grow(&self, i: usize, first: Option<usize>, missing: &[u64]) -> Bits {
        let mut cut = vec![0; self.words];
        let mut open = self.conflicts[i].clone();
        set(&mut cut, i);
        let mut next = first;
        while let Some(j) = next {
            set(&mut cut, j);
            open.iter_mut().zip(&self.conflicts[j]).for_each(|(open, conflicts)| *open &= conflicts);
            let wanted: Bits = open.iter().zip(missing).map(|(open, missing)| open & missing).collect();
            next = ones(&wanted).next().or_else(|| ones(&open).next());
        }
        cut
    }
}
