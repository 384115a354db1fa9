//! Windows of a layout placed anew: what costs less stays.

use super::aim::Aim;
use super::beam::beam;
use super::ground::Ground;
use super::layout::Layout;
use super::profile::Scratch;
use super::rule::{First, Rule};
use vramkit_units::SplitMix64;

/// Tensors of the smallest windows.
const SMALLEST: usize = 32;

/// Each size of window is twice the one before.
const SIZES: usize = 9;

/// How heights are weighed: the more doublings, the more the highest sections alone count.
const DOUBLINGS: [u32; 3] = [4, 6, 7];

/// How much the lowest valleys are preferred.
const DEPTHS: [f32; 3] = [0.0, 1.0, 100.0];

/// Which of equal choices comes first.
const FIRSTS: [First; 5] = [First::Long, First::Large, First::FlushLong, First::FlushLarge, First::FlushArea];

/// How many profiles a beam follows.
const WIDTHS: [usize; 4] = [1, 1, 1, 4];

/// What one size of window has brought lately, and what it has cost.
#[derive(Clone, Copy)]
struct Yield {
    gain: f64,
    looked: f64,
}

/// A layout at work, with random choices of its own.
pub(super) struct Worker<'a> {
    pub(super) layout: Layout<'a>,
    random: SplitMix64,
    scratch: Scratch,
    yields: [Yield; SIZES],
}

impl<'a> Worker<'a> {
    pub(super) fn new(layout: Layout<'a>, seed: u64) -> Self {
        let yields = [Yield { gain: 1.0, looked: 1.0 }; SIZES];
        Self { layout, random: SplitMix64::new(seed), scratch: Scratch::default(), yields }
    }

    /// Places windows anew until `budget` tensors were looked at, or it is stopped.
    pub(super) fn work(&mut self, wanted: u64, budget: u64, stop: &dyn Fn() -> bool) {
        let end = self.scratch.looked + budget;
        while self.scratch.looked < end && self.layout.arena() > wanted && !stop() {
            let before = self.scratch.looked;
            let size = self.size();
            let gain = self.window(SMALLEST << size, wanted, stop);
            // Where a window is refused at once its cost is what it took to lay out.
            let looked = (self.scratch.looked - before) as f64;
            let own = &mut self.yields[size];
            (own.gain, own.looked) = (0.9 * own.gain + gain, 0.9 * own.looked + looked);
        }
    }

    /// One of the sizes at random, those that pay more often.
    fn size(&mut self) -> usize {
        if self.random.unit() < 0.4 {
            return self.random.below(SIZES);
        }
        let pays = |i: &usize| self.yields[*i].gain / self.yields[*i].looked;
        (0..SIZES).max_by(|a, b| pays(a).total_cmp(&pays(b))).unwrap_or(0)
    }

    /// Places a window of about so many tensors anew. Returns what part of its cost was gained.
    fn window(&mut self, tensors: usize, wanted: u64, stop: &dyn Fn() -> bool) -> f64 {
        let (first, end) = self.sections(tensors);
        let random = &mut self.random;
        let arena = self.layout.arena();
        let height = [0.0, 0.9, 0.5, 0.5][random.below(4)] * random.unit();
        let ground = Ground::window(&self.layout, (first, end), (arena as f64 * height) as u64);
        self.scratch.looked += (ground.items.len() + end - first) as u64;
        if ground.items.len() < 3 {
            return 0.0;
        }
        let rule = Rule {
            doublings: DOUBLINGS[random.below(DOUBLINGS.len())],
            depth: DEPTHS[random.below(DEPTHS.len())],
            first: FIRSTS[random.below(FIRSTS.len())],
        };
        let weight: Vec<f32> = (first..end).map(|_| 1.0 + 0.5 * random.unit() as f32).collect();
        let width = WIDTHS[random.below(WIDTHS.len())];
        let aim = Aim { ground: &ground, rule, wanted, weight: &weight };
        let cost = |tops: &[u64]| tops.iter().map(|&top| rule.weigh(top as f64 / wanted as f64)).sum::<f64>();
        let before = cost(&self.layout.tops[first..end]);
        // What costs the same is another place to go on from.
        let Some(found) = beam(&aim, width, before * (1.0 + 1e-9), &mut self.scratch, stop) else {
            return 0.0;
        };
        for (item, offset) in ground.items.iter().zip(found) {
            self.layout.offsets[item.number as usize] = offset;
        }
        self.layout.measure(first, end);
        let after = cost(&self.layout.tops[first..end]);
        ((before - after) / before).max(0.0)
    }

    /// Sections with about so many tensors, around one that is high.
    fn sections(&mut self, tensors: usize) -> (usize, usize) {
        let (places, tops, random) = (self.layout.places, &self.layout.tops, &mut self.random);
        let count = places.sections();
        let middle = if random.below(2) == 0 {
            // One of the highest.
            let arena = self.layout.arena();
            let highest = tops.iter().filter(|&&top| top == arena).count();
            let mut own = (0..count).filter(|&s| tops[s] == arena);
            own.nth(random.below(highest)).unwrap_or(0)
        } else {
            let some = |random: &mut SplitMix64| random.below(count);
            let first = some(random);
            (0..8).map(|_| some(random)).fold(first, |best, s| if tops[s] > tops[best] { s } else { best })
        };
        let wanted = tensors + random.below(tensors);
        let (mut first, mut end) = (middle, middle + 1);
        while (first > 0 || end < count)
            && places.begun_before(end as u32) - places.begun_before(first as u32) < wanted
        {
            let step = ((end - first) / 4).max(1);
            if random.below(2) == 0 {
                first = first.saturating_sub(step);
            } else {
                end = (end + step).min(count);
            }
        }
        (first, end)
    }
}
