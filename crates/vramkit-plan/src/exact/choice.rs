//! Where to branch: the section whose floor is decided next.
//!
//! A *valley* is a run of sections with one floor between higher ones. Whatever can still start on that floor lies
//! inside the valley whole (it would lower the floors beside it otherwise), so for each of its sections the
//! alternatives are few and exclude one another: one of the candidates starts there, or none does. Four rules in
//! rotation choose the section; each learns its own *weights*: a section gains one with every conflict in it, kept
//! from one restart to the next. Without the weights the hard instances take seconds to hours, with them
//! milliseconds.

use super::state::State;
use super::units::Units;
use vramkit_units::SplitMix64;

/// How sections are compared; the least score is branched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Few alternatives for their weight, in any valley, the lower the better.
    Local,
    /// Few alternatives for their weight, in the lowest valleys.
    Lowest,
    /// As `Local`, with the square root of the weight.
    LocalRoot,
    /// Little room to spare for their weight, in the lowest valleys.
    Slack,
}

/// The rules in the order of their rotation.
pub(super) const RULES: [Rule; 4] = [Rule::Local, Rule::Lowest, Rule::LocalRoot, Rule::Slack];

/// A rule with what it has learned.
pub(super) struct Chooser {
    rule: Rule,
    /// One for each section.
    pub(super) weight: Vec<f32>,
    /// Candidates that begin (+) and end (-) at each section.
    steps: Vec<i32>,
    valley: Vec<bool>,
    paths: Paths,
    /// Whether the last choice was a section that nothing gets over.
    is_dead_end: bool,
}

impl Chooser {
    pub(super) fn new(rule: Rule, sections: usize) -> Self {
        let (steps, valley) = (vec![0; sections + 1], vec![false; sections]);
        Self {
            rule,
            weight: vec![1.0; sections],
            steps,
            valley,
            paths: Paths::new(sections),
            is_dead_end: false,
        }
    }

    /// Lets the first weights differ by up to a percent, so that ties fall elsewhere than to the earliest section.
    pub(super) fn shake(&mut self, random: &mut SplitMix64) {
        self.weight.iter_mut().for_each(|weight| *weight += 1e-4 * random.below(100) as f32);
    }

    /// The section to branch on, between two sections that nothing unplaced crosses, with at least one unplaced
    /// tensor between them. It may have no [way on](Self::is_open) at all.
    pub(super) fn choose<U: Units>(&mut self, state: &State<'_, U>, (first, end): (usize, usize)) -> usize {
        self.is_dead_end = false;
        let floor = &state.floor[first..end];
        // What has a gap may lie in several valleys: all of it is on one floor only in the lowest.
        let local = matches!(self.rule, Rule::Local | Rule::LocalRoot) && !state.sections.is_gapped;
        let lowest = floor.iter().copied().min().unwrap_or(U::DONE);
        let valley = &mut self.valley[first..end];
        if local {
            mark_valleys(floor, valley);
        } else {
            valley.iter_mut().zip(floor).for_each(|(valley, &floor)| *valley = floor == lowest);
        }
        let steps = &mut self.steps[first..=end];
        steps.fill(0);
        let has_paths = !state.sections.is_gapped;
        let mut s = 0;
        while s < floor.len() {
            if !valley[s] {
                s += 1;
                continue;
            }
            let width =
                valley[s..].iter().zip(&floor[s..]).take_while(|(v, f)| **v && **f == floor[s]).count();
            if has_paths {
                if let Some(gap) = self.paths.look(state, (first + s, first + s + width)) {
                    self.is_dead_end = true;
                    return gap;
                }
                for &(lo, hi) in &self.paths.edges {
                    if self.paths.is_on_one(lo, hi) {
                        steps[lo as usize - first] += 1;
                        steps[hi as usize - first] -= 1;
                    }
                }
            } else {
                for section in first + s..first + s + width {
                    for &t in state.sections.starting(section) {
                        if state.bound[t as usize] == floor[s] && state.can_start(t as usize) {
                            for &(lo, hi) in state.sections.spans(t as usize) {
                                steps[lo as usize - first] += 1;
                                steps[hi as usize - first] -= 1;
                            }
                        }
                    }
                }
            }
            s += width;
        }
        let mut best = (f32::INFINITY, first);
        let mut starting = 0;
        let scale = 1.0 / state.capacity.approximate();
        for (i, &f) in floor.iter().enumerate() {
            starting += steps[i];
            if !valley[i] {
                continue;
            }
            let slack = state.slack(first + i);
            let s = (first + i) as u32;
            let may_pass = slack > U::ZERO && (!has_paths || self.paths.is_on_one(s, s + 1));
            let alternatives = starting as f32 + f32::from(u8::from(may_pass));
            let weight = self.weight[first + i];
            let score = match self.rule {
                Rule::Local => (alternatives - 0.9) / weight + f.approximate() * scale,
                Rule::Lowest => alternatives / weight,
                Rule::LocalRoot => (alternatives - 0.9) / weight.sqrt() + f.approximate() * scale,
                Rule::Slack => (slack + U::ONE).approximate() / weight,
            };
            if score < best.0 {
                best = (score, first + i);
            }
        }
        best.1
    }

    /// Whether what lives from one section to another may start on the floor that was chosen, or the sections stay empty there.
    pub(super) fn is_open(&self, (first, end): (u32, u32), is_gapped: bool) -> bool {
        !self.is_dead_end && (is_gapped || self.paths.is_on_one(first, end))
    }
}

/// What may be put on the floor of each valley, by paths through it: what lies on one floor divides the valley among it, each
/// life beginning where another ends, but for sections that have bytes to spare, which may be skipped. What is on no such
/// path starts nowhere on this floor.
struct Paths {
    /// From each section, and up to each, whether there is a way to the valley's end, or from its start.
    forth: Vec<bool>,
    back: Vec<bool>,
    /// The lives that fit, of the valley looked at last.
    edges: Vec<(u32, u32)>,
}

impl Paths {
    fn new(sections: usize) -> Self {
        Self { forth: vec![false; sections + 1], back: vec![false; sections + 1], edges: Vec::new() }
    }

    /// Looks at a valley. Where there is no path, returns the first section that nothing gets over.
    fn look<U: Units>(&mut self, state: &State<'_, U>, (first, end): (usize, usize)) -> Option<usize> {
        let floor = state.floor[first];
        self.edges.clear();
        self.forth[first..=end].fill(false);
        self.forth[first] = true;
        let mut last = first;
        for s in first..end {
            let is_reached = self.forth[s];
            for &t in state.sections.starting(s) {
                if state.bound[t as usize] == floor && state.can_start(t as usize) {
                    let (lo, hi) = state.sections.hull[t as usize];
                    self.edges.push((lo, hi));
                    self.forth[hi as usize] |= is_reached;
                }
            }
            if is_reached {
                last = s;
                self.forth[s + 1] |= state.slack(s) > U::ZERO;
            }
        }
        if !self.forth[end] {
            return Some(last);
        }
        self.back[first..=end].fill(false);
        self.back[end] = true;
        let mut edges = self.edges.iter().rev().peekable();
        for s in (first..end).rev() {
            let mut reaches = self.back[s + 1] && state.slack(s) > U::ZERO;
            while let Some(&(_, hi)) = edges.next_if(|edge| edge.0 as usize == s) {
                reaches |= self.back[hi as usize];
            }
            self.back[s] = reaches;
        }
        None
    }

    /// Whether something from one section to another is on a path.
    fn is_on_one(&self, first: u32, end: u32) -> bool {
        self.forth[first as usize] && self.back[end as usize]
    }
}

/// Marks the runs of equal floors that have higher ones on both sides.
fn mark_valleys<U: Units>(floor: &[U], valley: &mut [bool]) {
    let mut before = U::DONE;
    let mut i = 0;
    while i < floor.len() {
        let run = floor[i..].iter().take_while(|&&other| other == floor[i]).count();
        let after = floor.get(i + run).copied().unwrap_or(U::DONE);
        let is_valley =
            floor[i] < before && (floor[i] < after || (i + run == floor.len() && floor[i] < U::DONE));
        valley[i..i + run].fill(is_valley);
        before = floor[i];
        i += run;
    }
}
