//! What the steps of a graph make and read, and what is live when they run in some order.
//!
//! Steps go by their number, from 0; where one runs in an order is a [`Step`] of the clock.

use std::borrow::Cow;

use vramkit_units::{ByteSize, Step};

/// What steps make and read.
///
/// ```
/// use std::time::Duration;
/// use vramkit_plan::{Dataflow, FlowValue, OrderBudget};
/// use vramkit_units::ByteSize;
///
/// let value = |bytes, maker, readers: &[usize]| FlowValue {
///     size: ByteSize::new(bytes),
///     maker,
///     readers: readers.to_vec(),
///     stays: false,
///     over: None,
/// };
/// // Two branches that each make 100 bytes and reduce them to 1.
/// let values = vec![
///     value(100, Some(0), &[2]),
///     value(100, Some(1), &[3]),
///     value(1, Some(2), &[]),
///     value(1, Some(3), &[]),
/// ];
/// let flow = Dataflow { cheap: vec![false; 4], values };
/// let best = flow.best_order(&[0, 1, 2, 3], &OrderBudget::new(Duration::from_secs(1), &()));
/// assert_eq!((flow.peak_of(&[0, 1, 2, 3]), best.peak), (ByteSize::new(201), ByteSize::new(101)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataflow {
    /// For each step whether it costs little to do again.
    pub cheap: Vec<bool>,
    /// Everything that takes memory.
    pub values: Vec<FlowValue>,
}

/// A tensor of a dataflow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowValue {
    /// Its size.
    pub size: ByteSize,
    /// The step that makes it; `None` for what is there from the start.
    pub maker: Option<usize>,
    /// The steps that read it, each once.
    pub readers: Vec<usize>,
    /// Whether it is still wanted at the end.
    pub stays: bool,
    /// The value whose place it takes, where its maker writes over that: where the maker is the only step that reads that, both
    /// are of one size, and that is not wanted at the end. Else, nothing.
    pub over: Option<usize>,
}

impl FlowValue {
    /// Whether it is there from the start, and nobody wants it.
    pub(super) fn is_unread(&self) -> bool {
        self.maker.is_none() && self.readers.is_empty() && !self.stays && !self.size.is_zero()
    }
}

impl Dataflow {
    /// How many steps there are.
    pub fn steps(&self) -> usize {
        self.cheap.len()
    }

    /// Most bytes live during a step, in an order of the steps.
    ///
    /// # Panics
    /// When the order leaves a step out, or has one that is not there.
    pub fn peak_of(&self, order: &[usize]) -> ByteSize {
        ByteSize::new(self.loads(order).into_iter().max().unwrap_or(0))
    }

    /// For each value its life in an order, on the order's clock: the first step, and one past the last.
    ///
    /// # Panics
    /// As [`peak_of`](Self::peak_of).
    pub fn lives(&self, order: &[usize]) -> Vec<(Step, Step)> {
        self.spans(order).into_iter().map(|(start, end)| (Step(start as u64), Step(end as u64))).collect()
    }

    /// The same steps with values that take each other's place as one value, where the last one stands; the others are
    /// of no size.
    pub(super) fn united(&self) -> Cow<'_, Self> {
        if self.values.iter().all(|value| value.over.is_none()) {
            return Cow::Borrowed(self);
        }
        let mut flow = self.clone();
        // The first of a row stands for it.
        let mut first: Vec<usize> = (0..self.values.len()).collect();
        let takes = |value: &FlowValue| {
            let under = value.over?;
            let other = self.values.get(under)?;
            let is_fit = other.size == value.size && !other.stays && value.maker.is_some();
            (is_fit && other.readers[..] == [value.maker?]).then_some(under)
        };
        let under: Vec<Option<usize>> = self.values.iter().map(takes).collect();
        let mut taken = vec![false; self.values.len()];
        for (v, &below) in under.iter().enumerate() {
            // One value at most takes another's place.
            if let Some(below) =
                below.filter(|&below| below != v && !std::mem::replace(&mut taken[below], true))
            {
                first[v] = below;
            }
        }
        for v in 0..first.len() {
            if first[v] == v {
                continue;
            }
            let (mut root, mut hops) = (v, 0);
            while first[root] != root && hops <= first.len() {
                (root, hops) = (first[root], hops + 1);
            }
            let (readers, stays) = (flow.values[v].readers.clone(), flow.values[v].stays);
            // What it is made from must be there before: an edge of no size is left of each.
            flow.values[v].size = ByteSize::ZERO;
            flow.values[v].stays = false;
            let whole = &mut flow.values[root];
            whole.readers.extend(readers);
            whole.stays |= stays;
        }
        // Whoever found the place taken has one of its own.
        flow.values.iter_mut().for_each(|value| value.over = None);
        Cow::Owned(flow)
    }

    /// As [`lives`](Self::lives), as places in the order.
    pub(super) fn spans(&self, order: &[usize]) -> Vec<(usize, usize)> {
        let mut position = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &step)| position[step] = at);
        let life = |value: &FlowValue| {
            let start = value.maker.map_or(0, |maker| position[maker]);
            let last = value.readers.iter().map(|&reader| position[reader]).max().unwrap_or(start);
            let end = if value.stays { order.len() } else { 0 };
            (start, end.max(last.max(start) + 1))
        };
        self.values.iter().map(life).collect()
    }

    /// Bytes live during each step of an order.
    pub(super) fn loads(&self, order: &[usize]) -> Vec<u64> {
        let flow = self.united();
        let mut change = vec![0u64; order.len() + 1];
        for (value, (start, end)) in flow.values.iter().zip(flow.spans(order)) {
            change[start] = change[start].wrapping_add(value.size.bytes());
            change[end.min(order.len())] = change[end.min(order.len())].wrapping_sub(value.size.bytes());
        }
        change.pop();
        let mut load = 0u64;
        change
            .iter()
            .map(|change| {
                load = load.wrapping_add(*change);
                load
            })
            .collect()
    }

    /// Whether no sum of values, some made again as often as is tried, passes 64 bits; what does is left as it is, and
    /// refused when it is to be planned.
    pub(super) fn is_countable(&self) -> bool {
        let sum: u128 = self.values.iter().map(|value| u128::from(value.size.bytes())).sum();
        sum <= u128::from(u64::MAX) / 512
    }
}
