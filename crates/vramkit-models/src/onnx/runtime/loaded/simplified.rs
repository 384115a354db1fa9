//! What goes at the first level: nodes that compute weights from weights, copies, and what a convolution or a
//! matrix product does with its own weights.

use super::Loaded;
use crate::onnx::order::reads;
use crate::onnx::proto::NodeProto;

/// Operators that are not computed beforehand although all they read are weights.
const KEPT: [&str; 9] = [
    "DequantizeLinear",
    "If",
    "Loop",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Scan",
];

impl Loaded {
    pub(super) fn simplify(&mut self) {
        self.expand();
        self.link();
        self.compute();
        self.skip_copies();
        self.compute();
        for i in 0..self.nodes.len() {
            self.absorb(i);
        }
        for i in 0..self.nodes.len() {
            self.normalise(i);
        }
    }

    /// Puts the body of an operator without a kernel in its place.
    fn expand(&mut self) {
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for node in std::mem::take(&mut self.nodes).into_iter().flatten() {
            let standard = matches!(node.domain.as_str(), "" | "ai.onnx");
            match (node.op_type.as_str(), node.input.as_slice(), node.output.as_slice()) {
                ("HardSwish", [input], [output]) if standard => {
                    let gate = format!("{output} (gate)");
                    if let Some(fact) = self.facts.get(output).cloned() {
                        self.facts.insert(gate.clone(), fact);
                    }
                    let part = |op: &str, input: Vec<String>, output: &str| NodeProto {
                        op_type: op.to_owned(),
                        input,
                        output: vec![output.to_owned()],
                        ..NodeProto::default()
                    };
                    nodes.push(Some(part("HardSigmoid", vec![input.clone()], &gate)));
                    nodes.push(Some(part("Mul", vec![input.clone(), gate.clone()], output)));
                }
                _ => nodes.push(Some(node)),
            }
        }
        self.nodes = nodes;
    }

    /// Nodes come after those that they read from.
    fn compute(&mut self) {
        for i in 0..self.nodes.len() {
            let Some(node) = self.node(i) else { continue };
            let shape_only = matches!(node.op_type.as_str(), "Shape" | "Size")
                && node.input.first().is_some_and(|name| self.facts.contains_key(name));
            let weights = reads(node).iter().all(|name| self.weight(name));
            let leaves = node.output.iter().any(|name| self.stays.contains(name));
            if (weights || shape_only) && !leaves && !KEPT.contains(&node.op_type.as_str()) {
                for name in self.take(i).into_iter().flat_map(|node| node.output) {
                    self.facts.remove(&name);
                }
            }
        }
    }

    fn skip_copies(&mut self) {
        for i in 0..self.nodes.len() {
            let Some(node) = self.node(i) else { continue };
            let (Some(input), Some(output)) = (node.input.first(), node.output.first()) else { continue };
            let alike = match (self.facts.get(input), self.facts.get(output)) {
                (Some(a), Some(b)) => a.dtype == b.dtype && a.shape == b.shape,
                _ => false,
            };
            let unread = |name: &String| self.readers(name).next().is_none() && !self.stays.contains(name);
            let copy = match node.op_type.as_str() {
                "Identity" => true,
                "Dropout" => node.output.iter().skip(1).all(|name| name.is_empty() || unread(name)),
                "Cast" | "Slice" | "Expand" | "Pad" => alike,
                "Concat" => node.input.len() == 1,
                _ => false,
            };
            // A body may take it from around itself by its name.
            let bound = self.stays.contains(output) || self.links.captured.contains(output);
            if !copy || bound || self.weight(input) {
                continue;
            }
            let (input, output) = (input.clone(), output.clone());
            for reader in self.readers(&output).collect::<Vec<_>>() {
                let Some(mut node) = self.take(reader) else { continue };
                let names = node.input.iter_mut().filter(|name| **name == output);
                names.for_each(|name| name.clone_from(&input));
                self.put(reader, node);
            }
            self.take(i);
            self.facts.remove(&output);
        }
    }

    /// Lets a convolution or matrix product do what follows it with weights alone.
    fn absorb(&mut self, i: usize) {
        let op = self.op(i).to_owned();
        while matches!(op.as_str(), "Conv" | "ConvTranspose")
            && let Some(next) = self.follower(i)
        {
            let made = self.node(i).and_then(|node| node.output.first()).cloned().unwrap_or_default();
            let goes = match self.op(next) {
                "BatchNormalization" => true,
                "Add" | "Mul" if op == "Conv" => self.shape(&made) == self.output_shape(next),
                _ => false,
            };
            if !goes || !self.others(next, &made).is_empty() {
                break;
            }
            self.merge(i, next);
        }
        if op == "MatMul"
            && let Some(next) = self.follower(i).filter(|&next| self.op(next) == "Add")
        {
            let made = self.node(i).and_then(|node| node.output.first()).cloned().unwrap_or_default();
            let by_weight =
                self.node(i).and_then(|node| node.input.get(1)).is_some_and(|name| self.weight(name));
            if by_weight
                && self.others(next, &made).is_empty()
                && self.shape(&made) == self.output_shape(next)
            {
                self.merge(i, next);
                if let Some(node) = self.nodes[i].as_mut() {
                    "Gemm".clone_into(&mut node.op_type);
                }
            }
        }
    }

    pub(super) fn output_shape(&self, i: usize) -> Option<&[i64]> {
        self.shape(self.node(i)?.output.first()?)
    }

    /// Layer normalisation that is written out: mean, difference, its square's mean, root, quotient, scale,
    /// shift.
    fn normalise(&mut self, i: usize) -> Option<()> {
        if self.op(i) != "ReduceMean" {
            return None;
        }
        let node = self.node(i)?;
        let (input, mean) = (node.input.first()?.clone(), node.output.first()?.clone());
        let differences: Vec<usize> = self.readers(&mean).collect();
        if !differences.iter().all(|&d| self.op(d) == "Sub") {
            return None;
        }
        let with = |i: usize, op: &str| {
            let output = self.node(i)?.output.first()?;
            self.readers(output).find(|&reader| self.op(reader) == op)
        };
        let square = differences.iter().find_map(|&d| with(d, "Pow").or_else(|| with(d, "Mul")))?;
        let quotient = differences.iter().find_map(|&d| with(d, "Div"))?;
        let mut group = vec![i];
        group.extend(&differences);
        group.push(square);
        let mut at = square;
        for op in ["ReduceMean", "Add", "Sqrt", "Div"] {
            at = self.follower(at).filter(|&next| self.op(next) == op)?;
            group.push(at);
        }
        if at != quotient {
            return None;
        }
        for op in ["Mul", "Add"] {
            let made = self.node(at)?.output.first()?.clone();
            match self.follower(at) {
                Some(next) if self.op(next) == op && self.others(next, &made).is_empty() => {
                    group.push(next);
                    at = next;
                }
                _ => break,
            }
        }
        group.retain(|&member| member != at);
        self.replace(&group, at, "LayerNormalization", "", vec![input]).map(|_| ())
    }
}
