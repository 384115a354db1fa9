//! A set of tensors as bits.

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// The empty set, of numbers below `n`.
    pub(super) fn new(n: usize) -> Self {
        Self(vec![0; n.div_ceil(64)])
    }

    /// All numbers below `n`.
    pub(super) fn all(n: usize) -> Self {
        let mut bits = Self::new(n);
        (0..n).for_each(|i| bits.insert(i));
        bits
    }

    pub(super) fn insert(&mut self, i: usize) {
        self.0[i / 64] |= 1 << (i % 64);
    }

    pub(super) fn remove(&mut self, i: usize) {
        self.0[i / 64] &= !(1 << (i % 64));
    }

    pub(super) fn contains(&self, i: usize) -> bool {
        self.0[i / 64] >> (i % 64) & 1 == 1
    }

    pub(super) fn unite(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    /// Removes all from `first` to before `end`; may remove others of the same words.
    pub(super) fn clear_between(&mut self, first: usize, end: usize) {
        self.0[first / 64..end.div_ceil(64)].fill(0);
    }

    /// Visits what is in both, ascending.
    #[inline]
    pub(super) fn for_each_common(&self, other: &Self, mut visit: impl FnMut(usize)) {
        for (at, (&a, &b)) in self.0.iter().zip(&other.0).enumerate() {
            let mut word = a & b;
            while word != 0 {
                visit(64 * at + word.trailing_zeros() as usize);
                word &= word - 1;
            }
        }
    }

    /// What is in both, ascending.
    pub(super) fn common<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = usize> + 'a {
        let words = self.0.iter().zip(&other.0).enumerate();
        words.flat_map(|(at, (&a, &b))| Ones { word: a & b, base: 64 * at })
    }
}

/// The ones of a word.
struct Ones {
    word: u64,
    base: usize,
}

impl Iterator for Ones {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.word == 0 {
            return None;
        }
        let i = self.base + self.word.trailing_zeros() as usize;
        self.word &= self.word - 1;
        Some(i)
    }
}
