//! What can lie on the floor of a valley, and what it costs at least.
//!
//! Nothing is left empty there only if the tensors put on the floor divide the valley among them: their lives are edges of a
//! path from its first section to its end. Where there is no such path some sections must be skipped, at the cost of what they
//! leave empty. The cheapest path says what the valley will cost at least; an edge on no cheapest path is no choice; and a
//! section that every cheapest path skips is raised at once. This is what makes dead ends visible before they are reached: the
//! choices of one valley depend on one another through the places where lives begin and end.

use super::aim::Aim;
use super::filled::Filled;

/// A tensor that fits on the floor, from section to section of the valley.
#[derive(Clone, Copy)]
struct Edge {
    from: u32,
    to: u32,
    item: u32,
}

/// An item that may be put on the floor of a valley.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    pub(super) item: u32,
    /// What the valley will cost at least in the sections before it, and in those after it.
    pub(super) before: f64,
    pub(super) after: f64,
}

/// See the [module](self). Sections are counted from the valley's first, but for those to raise.
#[derive(Default)]
pub(super) struct Valley {
    /// What was looked at: of a profile with this set of items placed, and sections with this floor; a second look would see
    /// the same.
    seen: Option<(u64, (usize, usize), u64)>,
    first: u32,
    floor: u64,
    /// Where sections rise to when nothing can begin on the floor.
    ceiling: u64,
    /// The smallest size that fits: what is skipped leaves so much empty at least.
    least: u64,
    edges: Vec<Edge>,
    /// The least cost from the valley's start to each section, and from each to its end.
    forth: Vec<f64>,
    back: Vec<f64>,
    skip: Vec<f64>,
    /// Edges, and edges on a cheapest path, that begin (+) and end (-) at each section.
    all: Vec<i32>,
    cheapest: Vec<i32>,
    /// Sections that every cheapest path skips, counted from the ground's first, and what they rise to.
    pub(super) raised: Vec<(u32, u64)>,
}

impl Valley {
    /// Forgets what it has seen: what follows is of another ground.
    pub(super) fn forget(&mut self) {
        self.seen = None;
    }

    /// Looks at sections of one floor, which rise to `ceiling` where nothing can begin on it.
    pub(super) fn look(
        &mut self,
        filled: &Filled,
        aim: &Aim<'_>,
        (first, end): (usize, usize),
        ceiling: u64,
        looked: &mut u64,
    ) {
        let ground = aim.ground;
        let seen = Some((filled.set, (first, end), filled.floor[first]));
        if self.seen == seen && self.ceiling == ceiling {
            return;
        }
        self.seen = seen;
        let width = end - first;
        (self.first, self.floor, self.ceiling) = (first as u32, filled.floor[first], ceiling);
        self.edges.clear();
        self.least = ceiling - self.floor;
        let items = ground.starting(first).start..ground.starting(end - 1).end;
        *looked += (width + items.len()) as u64;
        let mut last = None;
        for number in items {
            let item = &ground.items[number];
            if item.end as usize > end || filled.is_placed(number as u32) {
                continue;
            }
            // Of equal ones the first stands for all.
            let kind = (item.first, item.end, item.size, item.alignment);
            if last == Some(kind) || !filled.fits(ground, number as u32, self.floor) {
                continue;
            }
            last = Some(kind);
            self.least = self.least.min(item.size);
            let (from, to) = (item.first - self.first, item.end - self.first);
            self.edges.push(Edge { from, to, item: number as u32 });
        }
        self.skip.clear();
        let skip = |s| {
            let empty = filled.empty[s];
            aim.cost(s, empty + self.least) - aim.cost(s, empty)
        };
        self.skip.extend((first..end).map(skip));
        // Edges are by their first section, so that a section's cost is known before what begins there.
        self.forth.clear();
        self.forth.resize(width + 1, f64::INFINITY);
        self.forth[0] = 0.0;
        let mut next = 0;
        for s in 0..width {
            let here = self.forth[s];
            self.forth[s + 1] = self.forth[s + 1].min(here + self.skip[s]);
            while let Some(edge) = self.edges.get(next).filter(|edge| edge.from as usize == s) {
                let there = &mut self.forth[edge.to as usize];
                *there = there.min(here);
                next += 1;
            }
        }
        self.back.clear();
        self.back.resize(width + 1, 0.0);
        for s in (0..width).rev() {
            let mut least = self.back[s + 1] + self.skip[s];
            while next > 0 && self.edges[next - 1].from as usize == s {
                least = least.min(self.back[self.edges[next - 1].to as usize]);
                next -= 1;
            }
            self.back[s] = least;
        }
    }

    /// What the valley will cost at least beside what is counted.
    pub(super) fn least_cost(&self) -> f64 {
        self.forth[self.forth.len() - 1]
    }

    /// Whether an edge is on a cheapest path.
    fn is_cheapest(&self, edge: &Edge) -> bool {
        let least = self.least_cost();
        let cost = self.forth[edge.from as usize] + self.back[edge.to as usize];
        // Sums in another order differ by little.
        cost <= least * (1.0 + 1e-9) + 1e-12
    }

    /// The section with the fewest choices for its weight: how few, and which, counted from the ground's first. `None` where
    /// sections are to be [raised](Self::raised) first.
    pub(super) fn tightest(&mut self, weight: &[f32]) -> Option<(f32, u32)> {
        let width = self.skip.len();
        for steps in [&mut self.all, &mut self.cheapest] {
            steps.clear();
            steps.resize(width + 1, 0);
        }
        for number in 0..self.edges.len() {
            let edge = self.edges[number];
            self.all[edge.from as usize] += 1;
            self.all[edge.to as usize] -= 1;
            if self.is_cheapest(&edge) {
                self.cheapest[edge.from as usize] += 1;
                self.cheapest[edge.to as usize] -= 1;
            }
        }
        self.raised.clear();
        let mut best = (f32::INFINITY, 0);
        let mut best_far = i64::MAX;
        let (mut fits, mut choices) = (0, 0);
        for s in 0..width {
            fits += self.all[s];
            choices += self.cheapest[s];
            let section = self.first + s as u32;
            if choices == 0 {
                // Where something fits it may yet begin a little higher.
                let rise = if fits == 0 { self.ceiling } else { self.ceiling.min(self.floor + self.least) };
                self.raised.push((section, rise));
                continue;
            }
            let tightness = (choices as f32 - 0.9) / weight[section as usize];
            let far = (2 * s as i64 - width as i64).abs();
            if tightness < best.0 || tightness == best.0 && far < best_far {
                best_far = far;
                best = (tightness, section);
            }
        }
        self.raised.is_empty().then_some(best)
    }

    /// The items on cheapest paths that take a section.
    pub(super) fn choices(&self, section: u32, out: &mut Vec<Choice>) {
        out.clear();
        let at = section - self.first;
        let edges =
            self.edges.iter().filter(|edge| edge.from <= at && at < edge.to && self.is_cheapest(edge));
        out.extend(edges.map(|edge| Choice {
            item: edge.item,
            before: self.forth[edge.from as usize],
            after: self.back[edge.to as usize],
        }));
    }
}
