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
}

impl Chooser {
    pub(super) fn new(rule: Rule, sections: usize) -> Self {
        let (steps, valley) = (vec![0; sections + 1], vec![false; sections]);
        Self { rule, weight: vec![1.0; sections], steps, valley }
    }

    /// Lets the first weights differ by up to a percent, so that ties fall elsewhere than to the earliest section.
    pub(super) fn shake(&mut self, random: &mut SplitMix64) {
        self.weight.iter_mut().for_each(|weight| *weight += 1e-4 * random.below(100) as f32);
    }

    /// The section to branch on, between two sections that nothing unplaced crosses, with at least one unplaced
    /// tensor between them.
    pub(super) fn choose<U: Units>(&mut self, state: &State<'_, U>, (first, end): (usize, usize)) -> usize {
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
        for i in 0..floor.len() {
            if !valley[i] {
                continue;
            }
            for &t in state.sections.starting(first + i) {
                if state.bound[t as usize] == floor[i] && state.can_start(t as usize) {
                    for &(lo, hi) in state.sections.spans(t as usize) {
                        steps[lo as usize - first] += 1;
                        steps[hi as usize - first] -= 1;
                    }
                }
            }
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
            let alternatives = starting as f32 + if slack > U::ZERO { 1.0 } else { 0.0 };
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
