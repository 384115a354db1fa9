//! The order that the Vulkan back end gives the nodes of its part (`ggml_vk_graph_optimize`).
//!
//! It looks a few nodes ahead for work that waits for nothing, so that more runs at a time, and keeps together what it computes
//! in one kernel. Who lives when changes with it, so it has to be followed to the node.

use std::collections::{HashMap, HashSet};

use vramkit_models::gguf::TensorType;

use crate::ggml::graph::Graph;
use crate::ggml::tensor::{Op, TensorId, Unary};

/// Nodes looked at from the first that waits.
const AHEAD: usize = 20;

/// Nodes looked at for what a node can be joined with.
const NEAR: usize = 15;

/// The kinds of operations that patterns are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reshape,
    View,
    Add,
    Mul,
    Div,
    Clamp,
    Unary,
    RmsNorm,
    Rope,
    SoftMax,
    GetRows,
    SetRows,
    SumRows,
    ArgSort,
    Other,
}

fn kind(op: Op) -> Kind {
    match op {
        Op::Reshape => Kind::Reshape,
        Op::View => Kind::View,
        Op::Add => Kind::Add,
        Op::Mul => Kind::Mul,
        Op::Div => Kind::Div,
        Op::Clamp => Kind::Clamp,
        Op::Unary(_) => Kind::Unary,
        Op::RmsNorm => Kind::RmsNorm,
        Op::Rope => Kind::Rope,
        Op::SoftMax => Kind::SoftMax,
        Op::GetRows => Kind::GetRows,
        Op::SetRows => Kind::SetRows,
        Op::SumRows => Kind::SumRows,
        Op::ArgSort => Kind::ArgSort,
        _ => Kind::Other,
    }
}

/// Choices of experts, each one kernel; what they read is kept until they end.
const EXPERT_CHOICES: [&[Kind]; 4] = {
    use Kind::*;
    [
        &[SoftMax, Reshape, ArgSort, View, GetRows, Reshape, SumRows, Clamp, Div, Reshape],
        &[Unary, Reshape, Add, ArgSort, View, GetRows, Reshape, SumRows, Clamp, Div, Reshape],
        &[SoftMax, Reshape, ArgSort, View, GetRows],
        &[ArgSort, View, GetRows, Reshape, SoftMax, Reshape],
    ]
};

/// Other work that is one kernel.
const JOINED: [&[Kind]; 5] = {
    use Kind::*;
    [
        &[RmsNorm, Mul, Add, Mul],
        &[RmsNorm, Mul, Add],
        &[RmsNorm, Mul, Rope, View, SetRows],
        &[RmsNorm, View, SetRows],
        &[Rope, View, SetRows],
    ]
};

/// What is asked of a node many times: its tensor, whose memory that has, whether it is work, and its sources.
#[derive(Clone, Copy)]
struct Brief {
    kind: Kind,
    memory: TensorId,
    is_work: bool,
    /// Where its sources are in the list of all nodes' sources.
    sources: (u32, u32),
}

struct Order<'a> {
    graph: &'a Graph,
    nodes: &'a [TensorId],
    briefs: Vec<Brief>,
    /// Sources of all nodes, each with whose memory it has.
    all_sources: Vec<(TensorId, TensorId)>,
    used: Vec<bool>,
    placed: HashSet<TensorId>,
    order: Vec<TensorId>,
    first: usize,
    kept: HashMap<TensorId, Vec<TensorId>>,
}

/// The nodes in the order in which they run, and what is kept until a node has run although nobody reads it any more.
pub(crate) fn reorder(
    graph: &Graph,
    nodes: &[TensorId],
) -> (Vec<TensorId>, HashMap<TensorId, Vec<TensorId>>) {
    let memory = |id: TensorId| graph.get(id).view_of.unwrap_or(id);
    let mut all_sources = Vec::with_capacity(2 * nodes.len());
    let brief = |&node: &TensorId| {
        let tensor = graph.get(node);
        let begin = all_sources.len() as u32;
        all_sources.extend(tensor.sources().iter().map(|&source| (source, memory(source))));
        let sources = (begin, all_sources.len() as u32);
        Brief { kind: kind(tensor.op), memory: memory(node), is_work: !tensor.op.is_empty(), sources }
    };
    let briefs = nodes.iter().map(brief).collect();
    let mut order = Order {
        graph,
        nodes,
        briefs,
        all_sources,
        used: vec![false; nodes.len()],
        placed: HashSet::with_capacity(nodes.len()),
        order: Vec::with_capacity(nodes.len()),
        first: 0,
        kept: HashMap::new(),
    };
    while order.first < nodes.len() {
        if !order.take_pattern() {
            order.take_independent();
        }
        while order.first < nodes.len() && order.used[order.first] {
            order.first += 1;
        }
    }
    (order.order, order.kept)
}

impl Order<'_> {
    fn op(&self, at: usize) -> Op {
        self.graph.get(self.nodes[at]).op
    }

    fn kind(&self, at: usize) -> Kind {
        self.briefs[at].kind
    }

    fn sources(&self, at: usize) -> &[TensorId] {
        self.graph.get(self.nodes[at]).sources()
    }

    fn is_source(&self, at: usize, position: usize, source: usize) -> bool {
        self.sources(at).get(position) == Some(&self.nodes[source])
    }

    fn sources_in_brief(&self, of: &Brief) -> &[(TensorId, TensorId)] {
        &self.all_sources[of.sources.0 as usize..of.sources.1 as usize]
    }

    /// Whether a node cannot go before another.
    fn needs(&self, later: usize, earlier: usize) -> bool {
        let (after, before) = (&self.briefs[later], &self.briefs[earlier]);
        if after.memory == before.memory {
            return true;
        }
        let id = self.nodes[earlier];
        let is_work = after.is_work && before.is_work;
        let reads =
            |&(source, memory): &(TensorId, TensorId)| source == id || (is_work && memory == before.memory);
        self.sources_in_brief(after).iter().any(reads)
            || (is_work && self.sources_in_brief(before).iter().any(|&(_, memory)| memory == after.memory))
    }

    fn matches(&self, pattern: &[Kind], at: usize) -> bool {
        at + pattern.len() <= self.nodes.len()
            && pattern.iter().enumerate().all(|(i, &kind)| self.kind(at + i) == kind && !self.used[at + i])
    }

    fn place(&mut self, at: usize) {
        self.order.push(self.nodes[at]);
        self.placed.insert(self.nodes[at]);
        self.used[at] = true;
    }

    /// Takes what is one kernel as it stands.
    fn take_pattern(&mut self) -> bool {
        let first = self.first;
        if let Some(pattern) = EXPERT_CHOICES.iter().find(|pattern| self.matches(pattern, first)) {
            self.keep_sources(pattern.len());
            (first..first + pattern.len()).for_each(|at| self.place(at));
            return true;
        }
        if let Some(pattern) = JOINED.iter().find(|pattern| self.matches(pattern, first)) {
            (first..first + pattern.len()).for_each(|at| self.place(at));
            return true;
        }
        false
    }

    /// What a choice of experts reads from outside is kept until its last node, and a scale behind it, has run.
    fn keep_sources(&mut self, length: usize) {
        let behind = self.first + length;
        let scaled = behind < self.nodes.len() && self.op(behind) == Op::Scale;
        let until = self.nodes[behind - usize::from(!scaled)];
        let mut seen = HashSet::new();
        let mut kept = Vec::new();
        for at in self.first..behind {
            kept.extend(self.sources(at).iter().copied().filter(|&source| seen.insert(source)));
            seen.insert(self.nodes[at]);
        }
        let list = self.kept.entry(until).or_default();
        for source in kept {
            if !list.contains(&source) {
                list.push(source);
            }
        }
    }

    /// Takes the first node that waits, what near it waits for nothing, and what can be joined with that.
    fn take_independent(&mut self) {
        let first = self.first;
        let end = (first + AHEAD).min(self.nodes.len());
        let mut set = vec![first];
        for at in first + 1..end {
            if self.used[at] || self.op(at).is_empty() || self.begins_pattern(at) {
                continue;
            }
            let last = *set.last().expect("it has its first");
            let waits = (first..at).any(|earlier| {
                !self.used[earlier] && self.needs(at, earlier) && !self.follows(last, earlier, at)
            });
            if !waits {
                set.push(at);
                self.join(at, &mut set);
            }
        }
        let last = *set.last().expect("it has its first");
        if self.kind(last) != Kind::Add {
            for at in first + 1..end {
                if self.used[at] || !self.op(at).is_empty() {
                    continue;
                }
                let waits = (first..at)
                    .any(|earlier| !self.used[earlier] && self.needs(at, earlier) && !set.contains(&earlier));
                if !waits {
                    set.push(at);
                }
            }
        }
        for at in set {
            self.place(at);
        }
    }

    fn begins_pattern(&self, at: usize) -> bool {
        EXPERT_CHOICES.iter().chain(&JOINED).any(|pattern| self.matches(pattern, at))
    }

    /// Whether a node may come right behind one that it needs, because both are one kernel.
    fn follows(&self, last: usize, earlier: usize, at: usize) -> bool {
        if earlier != last {
            return false;
        }
        if matches!(self.kind(earlier), Kind::RmsNorm | Kind::Unary) && self.kind(at) == Kind::Mul {
            return (earlier + 1..at).all(|between| self.used[between] || self.op(between).is_empty());
        }
        at == earlier + 1
            && matches!(
                (self.op(earlier), self.op(at)),
                (Op::MulMat | Op::Add | Op::SsmConv, Op::Add)
                    | (Op::MulMatId, Op::AddId | Op::Mul)
                    | (Op::SsmConv, Op::Unary(_))
            )
    }

    /// Pulls forward what is computed together with the node that was just taken.
    fn join(&mut self, at: usize, set: &mut Vec<usize>) {
        let near = at + 1..(at + NEAR).min(self.nodes.len());
        let mut rotated = at;
        let behind = |order: &Self, op: fn(Op) -> bool| at > 0 && op(order.op(at - 1));
        if self.kind(at) == Kind::Mul && behind(self, |op| op == Op::RmsNorm) {
            let given = |order: &Self, later: usize| {
                order.sources(later)[1..].iter().all(|&source| order.graph.get(source).op == Op::None)
            };
            let rope = near.clone().find(|&later| {
                self.op(later) == Op::Rope && self.is_source(later, 0, at) && given(self, later)
            });
            if let Some(rope) = rope {
                self.pull(rope, set);
                rotated = rope;
            }
        }
        if matches!(self.op(rotated), Op::Rope | Op::RmsNorm) {
            self.join_store(rotated, set);
        }
        let ready = |order: &Self, source: TensorId| {
            order.graph.get(source).op == Op::None || order.placed.contains(&source)
        };
        let next = |order: &Self, op: Op| {
            near.clone().find(|&later| {
                order.op(later) == op
                    && order.is_source(later, 0, at)
                    && order.sources(later).get(1).is_some_and(|&source| ready(order, source))
            })
        };
        let joined = match self.op(at) {
            Op::AddId if behind(self, |op| op == Op::MulMatId) => next(self, Op::Mul),
            Op::Add if behind(self, |op| op == Op::MulMat) => next(self, Op::Add),
            Op::Unary(_) => near.clone().find(|&later| self.gates(at, later)),
            _ => None,
        };
        if let Some(joined) = joined {
            self.pull(joined, set);
        }
        if self.op(at) == Op::Add && behind(self, |op| op == Op::SsmConv) {
            let unary =
                near.clone().find(|&later| self.kind(later) == Kind::Unary && self.is_source(later, 0, at));
            if let Some(unary) = unary {
                self.pull(unary, set);
            }
        }
    }

    fn pull(&mut self, at: usize, set: &mut Vec<usize>) {
        set.push(at);
        self.used[at] = true;
    }

    /// A view of what was just taken that is stored into a cache comes right behind it, unless that must wait.
    fn join_store(&mut self, rotated: usize, set: &mut Vec<usize>) {
        let mut view = None;
        let mut store = None;
        for at in rotated + 1..(rotated + NEAR).min(self.nodes.len()) {
            if self.used[at] {
                continue;
            }
            match view {
                None if self.op(at) == Op::View && self.is_source(at, 0, rotated) => view = Some(at),
                Some(view) if self.op(at) == Op::SetRows && self.is_source(at, 0, view) => {
                    store = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let (Some(view), Some(store)) = (view, store) else { return };
        let waits = (rotated + 1..store)
            .any(|at| !self.used[at] && at != view && !self.op(at).is_empty() && self.needs(store, at));
        if self.is_one_kernel(rotated, view, store) && !waits {
            self.pull(view, set);
            self.pull(store, set);
        }
    }

    /// Nobody else reads what lies between, and nothing of it is a result.
    fn is_one_kernel(&self, rotated: usize, view: usize, store: usize) -> bool {
        let inner = [(rotated, view), (view, store)].into_iter().all(|(inner, _)| {
            let id = self.nodes[inner];
            let inside = [view, store].into_iter().filter(|&at| at > inner);
            let reads: usize =
                inside.map(|at| self.sources(at).iter().filter(|&&source| source == id).count()).sum();
            !self.graph.get(id).output && reads == self.graph.uses[id.index()] as usize
        });
        inner && self.graph.get(self.nodes[view]).view_of == Some(self.nodes[rotated])
    }

    /// A product of an activation with something that is there already.
    fn gates(&self, unary: usize, product: usize) -> bool {
        const JOINABLE: [Unary; 4] = [Unary::Gelu, Unary::Sigmoid, Unary::Silu, Unary::Softplus];
        let activation = self.nodes[unary];
        let Op::Unary(function) = self.op(unary) else { return false };
        if self.op(product) != Op::Mul || !JOINABLE.contains(&function) {
            return false;
        }
        let [left, right] = *self.sources(product) else { return false };
        let other = if left == activation {
            right
        } else if right == activation {
            left
        } else {
            return false;
        };
        let (of, with) = (self.graph.get(activation), self.graph.get(other));
        let is_ready = with.op == Op::None || self.placed.contains(&other);
        let types = [TensorType::F32, TensorType::F16].contains(&of.kind)
            && of.kind == self.graph.get(self.nodes[product]).kind
            && of.kind == with.kind;
        let argument = self.sources(unary).first().map(|&source| self.graph.get(source));
        let lines = with.contiguous_from(1) && argument.is_some_and(|argument| argument.contiguous_from(1));
        let (small, large) = if left == activation { (with, of) } else { (of, self.graph.get(left)) };
        let tiles = small.ne.iter().zip(&large.ne).all(|(&small, &large)| small != 0 && large % small == 0);
        is_ready && types && lines && tiles
    }
}
