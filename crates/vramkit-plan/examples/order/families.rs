//! Dataflows by their family, from a seed: for the measurements here and for tests.

use vramkit_plan::{Dataflow, FlowValue};
use vramkit_units::{ByteSize, SplitMix64};

/// Adds steps and values one by one.
#[derive(Default)]
pub struct Builder {
    flow: Dataflow,
}

impl Builder {
    /// A step that reads values and makes one of a size; the value.
    pub fn step(&mut self, reads: &[usize], size: u64) -> usize {
        let step = self.flow.steps();
        self.flow.cheap.push(false);
        for &value in reads {
            if !self.flow.values[value].readers.contains(&step) {
                self.flow.values[value].readers.push(step);
            }
        }
        self.flow.values.push(FlowValue {
            size: ByteSize::new(size),
            maker: Some(step),
            ..FlowValue::default()
        });
        self.flow.values.len() - 1
    }

    /// A value that is there from the start.
    pub fn given(&mut self, size: u64) -> usize {
        self.flow.values.push(FlowValue { size: ByteSize::new(size), ..FlowValue::default() });
        self.flow.values.len() - 1
    }

    /// With some values wanted at the end.
    pub fn end(mut self, stays: &[usize]) -> Dataflow {
        stays.iter().for_each(|&value| self.flow.values[value].stays = true);
        self.flow
    }
}

/// A size at random, over some orders of magnitude.
fn size(random: &mut SplitMix64) -> u64 {
    let magnitude = random.below(10);
    1 + random.below(8 << magnitude) as u64
}

/// What chains of a family have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing: each begins with what it makes.
    Own,
    /// All read one value that is there from the start.
    Shared,
    /// All read one value, and so does the step in which they end.
    Kept,
}

/// Chains side by side that end in one step.
pub fn chains(count: usize, longest: usize, start: Start, seed: u64) -> Dataflow {
    let mut random = SplitMix64::new(seed);
    let mut builder = Builder::default();
    let shared = (start != Start::Own).then(|| builder.given(size(&mut random)));
    let mut ends = Vec::new();
    for _ in 0..count {
        let length = 2 + random.below(longest.saturating_sub(1));
        let mut last = shared;
        for _ in 0..length {
            let reads: Vec<usize> = last.into_iter().collect();
            last = Some(builder.step(&reads, size(&mut random)));
        }
        ends.extend(last);
    }
    ends.extend(shared.filter(|_| start == Start::Kept));
    let end = builder.step(&ends, 1);
    builder.end(&[end])
}

/// A tree whose steps read what up to three others make.
pub fn tree(steps: usize, seed: u64) -> Dataflow {
    let mut random = SplitMix64::new(seed);
    let mut builder = Builder::default();
    // Roots of trees that nothing reads yet.
    let mut roots: Vec<usize> = Vec::new();
    for _ in 1..steps {
        let most = random.below(4).min(roots.len());
        let reads: Vec<usize> = (0..most).map(|_| roots.swap_remove(random.below(roots.len()))).collect();
        let value = builder.step(&reads, size(&mut random));
        roots.push(value);
    }
    let end = builder.step(&roots, 1);
    builder.end(&[end])
}

/// The same from the other end: each step makes a value for each that follows, and nothing is read twice.
pub fn reversed(flow: &Dataflow) -> Dataflow {
    let steps = flow.steps();
    let turn = |value: &FlowValue| FlowValue {
        maker: value.readers.first().map(|&reader| steps - 1 - reader),
        readers: value.maker.map(|maker| steps - 1 - maker).into_iter().collect(),
        stays: value.maker.is_none(),
        ..value.clone()
    };
    Dataflow { values: flow.values.iter().map(turn).collect(), ..flow.clone() }
}

/// Steps one after the other and side by side, nested. Where branches part, each has a value of its own, or all
/// read one.
pub fn series_parallel(steps: usize, is_shared: bool, seed: u64) -> Dataflow {
    let mut random = SplitMix64::new(seed);
    let mut builder = Builder::default();
    let start = builder.given(size(&mut random));
    let end = nested(&mut builder, steps, start, is_shared, &mut random);
    builder.end(&[end])
}

fn nested(
    builder: &mut Builder,
    steps: usize,
    from: usize,
    is_shared: bool,
    random: &mut SplitMix64,
) -> usize {
    if steps < 4 {
        return builder.step(&[from], size(random));
    }
    if random.below(2) == 0 {
        let first = 1 + random.below(steps - 1);
        let middle = nested(builder, first, from, is_shared, random);
        return nested(builder, steps - first, middle, is_shared, random);
    }
    let branches = 2 + random.below(3);
    let each = (steps.saturating_sub(2) / branches).max(1);
    // A step that makes a value for each branch: one value a step here, so the others are added to it.
    let fork = builder.step(&[from], size(random));
    let maker = builder.flow.steps() - 1;
    let ends: Vec<usize> = (0..branches)
        .map(|branch| {
            let own = match branch == 0 || is_shared {
                true => fork,
                false => {
                    let size = ByteSize::new(size(random));
                    builder.flow.values.push(FlowValue { size, maker: Some(maker), ..FlowValue::default() });
                    builder.flow.values.len() - 1
                }
            };
            nested(builder, each, own, is_shared, random)
        })
        .collect();
    builder.step(&ends, size(random))
}

/// A graph at random: each step reads a few of those that came in the last so many.
pub fn random(steps: usize, reach: usize, seed: u64) -> Dataflow {
    let mut random = SplitMix64::new(seed);
    let mut builder = Builder::default();
    let mut values: Vec<usize> = Vec::new();
    for _ in 0..steps {
        let near = values.len().min(reach);
        let reads: Vec<usize> =
            (0..random.below(4).min(near)).map(|_| values[values.len() - 1 - random.below(near)]).collect();
        let value = builder.step(&reads, size(&mut random));
        values.push(value);
    }
    builder.end(&[])
}

/// A randomly wired network: nodes on a ring, each joined with its nearest on both sides, ends of joints moved at random
/// (Watts and Strogatz, 1998; as networks: Xie et al., 2019), run from lower numbers to higher. A node is a sum of what it
/// reads, and a step that reads the sum. All values have one size where `is_even`.
pub fn randwire(nodes: usize, near: usize, moved: f64, is_even: bool, seed: u64) -> Dataflow {
    let mut random = SplitMix64::new(seed);
    let mut joints = vec![vec![false; nodes]; nodes];
    for side in 1..=near / 2 {
        for node in 0..nodes {
            let mut other = (node + side) % nodes;
            if random.unit() < moved {
                let free: Vec<usize> =
                    (0..nodes).filter(|&to| to != node && !joints[node][to] && !joints[to][node]).collect();
                other = free.get(random.below(free.len())).copied().unwrap_or(other);
            }
            joints[node.min(other)][node.max(other)] = true;
        }
    }
    let is_joined = |from: usize, to: usize| joints[from][to];
    let mut builder = Builder::default();
    let mut next = || if is_even { 64 } else { size(&mut random) };
    let start = builder.given(next());
    let mut made: Vec<usize> = Vec::new();
    for node in 0..nodes {
        let mut reads: Vec<usize> =
            (0..node).filter(|&from| is_joined(from, node)).map(|from| made[from]).collect();
        if reads.is_empty() {
            reads.push(start);
        }
        let sum = if reads.len() > 1 { builder.step(&reads, next()) } else { reads[0] };
        let value = builder.step(&[sum], next());
        made.push(value);
    }
    let open: Vec<usize> = (0..nodes)
        .filter(|&node| !(node..nodes).any(|to| is_joined(node, to)))
        .map(|node| made[node])
        .collect();
    let end = builder.step(&open, next());
    builder.end(&[end])
}

/// Steps in a square, each read by the one to its right and the one below.
pub fn grid(side: usize, seed: u64) -> Dataflow {
    let mut random = SplitMix64::new(seed);
    let mut builder = Builder::default();
    let mut values: Vec<usize> = Vec::new();
    for at in 0..side * side {
        let left = (at % side > 0).then(|| at - 1);
        let above = at.checked_sub(side);
        let reads: Vec<usize> = left.into_iter().chain(above).map(|at| values[at]).collect();
        let value = builder.step(&reads, size(&mut random));
        values.push(value);
    }
    builder.end(&[])
}

/// The same dataflow with its steps numbered in another order that is possible, and its values likewise.
pub fn renumbered(flow: &Dataflow, seed: u64) -> Dataflow {
    let mut random = SplitMix64::new(seed);
    let mut number = vec![usize::MAX; flow.steps()];
    let waits = |number: &[usize], step: usize| {
        let reads = flow.values.iter().filter(|value| value.readers.contains(&step));
        reads.filter_map(|value| value.maker).any(|maker| number[maker] == usize::MAX)
    };
    for next in 0..flow.steps() {
        let ready: Vec<usize> =
            (0..flow.steps()).filter(|&step| number[step] == usize::MAX && !waits(&number, step)).collect();
        number[ready[random.below(ready.len())]] = next;
    }
    let mut cheap = flow.cheap.clone();
    flow.cheap.iter().enumerate().for_each(|(step, &is_cheap)| cheap[number[step]] = is_cheap);
    let mut values = flow.values.clone();
    for value in &mut values {
        value.maker = value.maker.map(|maker| number[maker]);
        value.readers.iter_mut().for_each(|reader| *reader = number[*reader]);
    }
    for at in (1..values.len()).rev() {
        values.swap(at, random.below(at + 1));
    }
    Dataflow { cheap, values }
}
