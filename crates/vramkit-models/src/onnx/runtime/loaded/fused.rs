//! What one kernel does for several nodes at the second level.

use super::Loaded;
use crate::onnx::proto::NodeProto;

const OWN: &str = "com.microsoft";

impl Loaded {
    pub(super) fn fuse(&mut self) {
        let all = |loaded: &mut Self, rule: fn(&mut Self, usize) -> Option<()>| {
            (0..loaded.nodes.len()).for_each(|i| {
                rule(loaded, i);
            });
        };
        all(self, Self::gelu);
        all(self, Self::swish);
        all(self, Self::skip);
        all(self, Self::activated);
        all(self, Self::split);
        all(self, Self::scaled);
        all(self, Self::transposed);
    }

    /// The Gaussian error linear unit, written out with `Erf`, and a bias before it.
    fn gelu(&mut self, i: usize) -> Option<()> {
        let erf = self.node(i).filter(|node| node.op_type == "Erf")?;
        let scale = self.maker(erf.input.first()?).filter(|&s| matches!(self.op(s), "Div" | "Mul"))?;
        let plus = self.follower(i).filter(|&p| self.op(p) == "Add")?;
        let product = self.follower(plus).filter(|&p| self.op(p) == "Mul")?;
        let [input] = self.others(scale, "").try_into().ok()?;
        let sum = self.node(plus)?.output.first()?.clone();
        let [other] = self.others(product, &sum).try_into().ok()?;
        let mut group = vec![scale, i, plus, product];
        let mut last = product;
        if other == input {
            let made = self.node(product)?.output.first()?.clone();
            if let Some(half) = self.follower(product)
                && self.op(half) == "Mul"
                && self.others(half, &made).is_empty()
            {
                group.push(half);
                last = half;
            }
        } else {
            let half = self
                .maker(&other)
                .filter(|&h| self.op(h) == "Mul" && self.others(h, "") == [input.clone()])?;
            group.push(half);
        }
        group.retain(|&member| member != last);
        let gelu = self.replace(&group, last, "Gelu", OWN, vec![input.clone()])?;
        let biased =
            self.maker(&input).filter(|&b| self.op(b) == "Add" && self.reader(&input) == Some(gelu))?;
        let [before] = self.others(biased, "").try_into().ok()?;
        self.replace(&[biased], gelu, "BiasGelu", OWN, vec![before]).map(|_| ())
    }

    /// `x * Sigmoid(x)`.
    fn swish(&mut self, i: usize) -> Option<()> {
        let node = self.node(i).filter(|node| node.op_type == "Sigmoid")?;
        let input = node.input.first()?.clone();
        let product = self.follower(i).filter(|&p| self.op(p) == "Mul")?;
        if !self.node(product)?.input.contains(&input) {
            return None;
        }
        self.replace(&[i], product, "QuickGelu", OWN, vec![input]).map(|_| ())
    }

    /// A layer normalisation of a sum that nobody else reads.
    fn skip(&mut self, i: usize) -> Option<()> {
        let node = self.node(i).filter(|node| node.op_type == "LayerNormalization")?;
        let input = node.input.first()?;
        let sum = self.maker(input).filter(|&s| self.op(s) == "Add" && self.reader(input) == Some(i))?;
        let both = self.others(sum, "");
        if both.len() != 2 {
            return None;
        }
        self.replace(&[sum], i, "SkipLayerNormalization", OWN, both).map(|_| ())
    }

    /// A convolution or matrix product and the function after it.
    fn activated(&mut self, i: usize) -> Option<()> {
        let fused = match self.op(i) {
            "Conv" => "FusedConv",
            "Gemm" => "FusedGemm",
            _ => return None,
        };
        let next = self.follower(i).filter(|&next| {
            matches!(self.op(next), "Relu" | "Sigmoid" | "Tanh" | "LeakyRelu" | "Clip" | "HardSigmoid")
        })?;
        self.merge(i, next);
        self.rename(i, fused)
    }

    /// Slices that together are the whole of what they are cut from, with nobody else to read that.
    fn split(&mut self, i: usize) -> Option<()> {
        let input = self.node(i).filter(|node| node.op_type == "Slice")?.input.first()?.clone();
        if self.readers(&input).next() != Some(i) || self.stays.contains(&input) {
            return None;
        }
        let readers: Vec<usize> = self.readers(&input).collect();
        let whole = self.shape(&input)?.to_vec();
        let mut lengths = 0i64;
        let mut along = None;
        let mut outputs = Vec::with_capacity(readers.len());
        for &reader in &readers {
            let slice = self.node(reader).filter(|node| node.op_type == "Slice")?;
            let output = slice.output.first()?.clone();
            let shape = self.shape(&output).filter(|shape| shape.len() == whole.len())?;
            let mut shorter = (0..whole.len()).filter(|&axis| shape[axis] != whole[axis]);
            let axis = shorter.next()?;
            if shorter.next().is_some() || *along.get_or_insert(axis) != axis {
                return None;
            }
            lengths = lengths.checked_add(shape[axis])?;
            outputs.push(output);
        }
        if lengths != whole[along?] {
            return None;
        }
        for reader in readers {
            self.take(reader);
        }
        let split = NodeProto {
            op_type: "Split".to_owned(),
            input: vec![input],
            output: outputs,
            ..NodeProto::default()
        };
        self.put(i, split);
        None
    }

    /// A matrix product, before or after which all is multiplied by one number.
    fn scaled(&mut self, i: usize) -> Option<()> {
        if !matches!(self.op(i), "MatMul" | "FusedMatMul") {
            return None;
        }
        let scales = |loaded: &Self, k: usize| {
            let by_one = |node: &NodeProto| node.input.iter().any(|name| loaded.scalars.contains(name));
            matches!(loaded.op(k), "Mul" | "Div") && loaded.node(k).is_some_and(by_one)
        };
        if let Some(next) = self.follower(i).filter(|&next| scales(self, next)) {
            self.merge(i, next);
            self.rename(i, "FusedMatMul");
        }
        for k in 0..2 {
            let name = self.node(i)?.input.get(k)?.clone();
            let before = self.maker(&name).filter(|&b| scales(self, b) && self.reader(&name) == Some(i));
            if let Some(before) = before
                && let Ok([source]) = <[String; 1]>::try_from(self.others(before, ""))
            {
                self.read_instead(i, k, before, source);
                self.rename(i, "FusedMatMul");
            }
        }
        None
    }

    /// A matrix product that reads a matrix by columns instead of its transpose.
    fn transposed(&mut self, i: usize) -> Option<()> {
        if !matches!(self.op(i), "MatMul" | "FusedMatMul") {
            return None;
        }
        for k in 0..2 {
            let name = self.node(i)?.input.get(k)?.clone();
            let Some(turned) =
                self.maker(&name).filter(|&t| self.op(t) == "Transpose" && self.reader(&name) == Some(i))
            else {
                continue;
            };
            let rank = self.shape(&name).map_or(0, <[i64]>::len);
            let node = self.node(turned)?;
            let order = node.attribute.iter().find(|a| a.name == "perm").map(|a| a.ints.as_slice());
            let last_two = match order {
                None => rank == 2,
                Some(order) => {
                    let mut want: Vec<i64> = (0..rank as i64).collect();
                    rank >= 2 && {
                        want.swap(rank - 2, rank - 1);
                        order == want
                    }
                }
            };
            if last_two {
                let source = node.input.first()?.clone();
                self.read_instead(i, k, turned, source);
                self.rename(i, "FusedMatMul");
            }
        }
        None
    }

    /// Lets a node's input `k` be what `before`, which made it for this node alone, reads.
    fn read_instead(&mut self, i: usize, k: usize, before: usize, source: String) {
        let Some(mut node) = self.take(i) else { return };
        if let Some(input) = node.input.get_mut(k) {
            self.facts.remove(&std::mem::replace(input, source));
        }
        self.take(before);
        self.put(i, node);
    }

    /// Makes a node one of the runtime's own operators.
    pub(super) fn rename(&mut self, i: usize, op: &str) -> Option<()> {
        let node = self.nodes.get_mut(i)?.as_mut()?;
        op.clone_into(&mut node.op_type);
        OWN.clone_into(&mut node.domain);
        None
    }
}
