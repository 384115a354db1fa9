//! The shape that each operation makes (`ggml.c`).

use vramkit_models::gguf::TensorType;

use crate::ggml::graph::Graph;
use crate::ggml::tensor::{Glu, Op, Tensor, TensorId, Unary};

impl Graph {
    fn made(&mut self, kind: TensorType, ne: [u64; 4], op: Op, sources: &[TensorId]) -> TensorId {
        self.push(Tensor::new(kind, ne, op).with_sources(sources))
    }

    /// A result of the first source's type and shape.
    fn like(&mut self, a: TensorId, op: Op, sources: &[TensorId]) -> TensorId {
        let (kind, ne) = (self.get(a).kind, self.get(a).ne);
        self.made(kind, ne, op, sources)
    }

    /// Another look at a tensor's memory.
    fn look(&mut self, a: TensorId, ne: [u64; 4], nb: [u64; 4], op: Op) -> TensorId {
        let source = self.get(a);
        let mut tensor = Tensor::new(source.kind, ne, op);
        tensor.view_of = Some(source.view_of.unwrap_or(a));
        tensor.nb = nb;
        tensor.add_source(a);
        self.push(tensor)
    }

    /// Each element of `b` is used so often that it fills `a`.
    fn repeats(&mut self, a: TensorId, b: TensorId, what: &str) {
        let (left, right) = (self.get(a).ne, self.get(b).ne);
        let fits = left.iter().zip(&right).all(|(&a, &b)| if b == 0 { a == 0 } else { a % b == 0 });
        self.check_of(&[b, a], fits, || format!("{what} of {left:?} and {right:?} numbers"));
    }

    fn binary(&mut self, op: Op, a: TensorId, b: TensorId, what: &str) -> TensorId {
        self.repeats(a, b, what);
        self.like(a, op, &[a, b])
    }

    pub fn add(&mut self, a: TensorId, b: TensorId) -> TensorId {
        self.binary(Op::Add, a, b, "a sum")
    }

    pub fn mul(&mut self, a: TensorId, b: TensorId) -> TensorId {
        self.binary(Op::Mul, a, b, "a product")
    }

    pub fn div(&mut self, a: TensorId, b: TensorId) -> TensorId {
        self.binary(Op::Div, a, b, "a quotient")
    }

    /// A bias chosen by the expert that a row went to.
    pub fn add_id(&mut self, a: TensorId, b: TensorId, ids: TensorId) -> TensorId {
        self.like(a, Op::AddId, &[a, b, ids])
    }

    pub fn scale(&mut self, a: TensorId) -> TensorId {
        self.like(a, Op::Scale, &[a])
    }

    /// Scales where it is: the result looks at the source's memory.
    pub fn scale_in_place(&mut self, a: TensorId) -> TensorId {
        let (ne, nb) = (self.get(a).ne, self.get(a).nb);
        self.look(a, ne, nb, Op::Scale)
    }

    pub fn clamp(&mut self, a: TensorId) -> TensorId {
        self.like(a, Op::Clamp, &[a])
    }

    pub fn fill(&mut self, a: TensorId) -> TensorId {
        self.like(a, Op::Fill, &[a])
    }

    pub fn unary(&mut self, unary: Unary, a: TensorId) -> TensorId {
        self.like(a, Op::Unary(unary), &[a])
    }

    /// A gated unit of two inputs of one shape.
    pub fn glu_split(&mut self, glu: Glu, a: TensorId, b: TensorId) -> TensorId {
        let same = self.get(a).ne == self.get(b).ne;
        let (left, right) = (self.get(a).ne, self.get(b).ne);
        self.check_of(&[a, b], same, || format!("a gated unit of {left:?} and {right:?} numbers"));
        self.like(a, Op::Glu(glu), &[a, b])
    }

    /// A gated unit of one input, whose rows have gate and value side by side.
    pub fn glu(&mut self, glu: Glu, a: TensorId) -> TensorId {
        let (kind, mut ne) = (self.get(a).kind, self.get(a).ne);
        ne[0] /= 2;
        self.made(kind, ne, Op::Glu(glu), &[a])
    }

    pub fn rms_norm(&mut self, a: TensorId) -> TensorId {
        self.like(a, Op::RmsNorm, &[a])
    }

    /// `a` transposed times `b`, in 32-bit numbers.
    pub fn mul_mat(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let (left, right) = (self.get(a).ne, self.get(b).ne);
        let fits = left[0] == right[0]
            && (2..4).all(|at| if left[at] == 0 { right[at] == 0 } else { right[at] % left[at] == 0 });
        self.check_of(&[a, b], fits, || format!("a matrix of {left:?} times one of {right:?} numbers"));
        self.made(TensorType::F32, [left[1], right[1], right[2], right[3]], Op::MulMat, &[a, b])
    }

    /// The same with a matrix chosen for each row.
    pub fn mul_mat_id(&mut self, matrices: TensorId, b: TensorId, ids: TensorId) -> TensorId {
        let (left, right, chosen) = (self.get(matrices).ne, self.get(b).ne, self.get(ids).ne);
        self.check_of(&[matrices, b], left[0] == right[0], || {
            format!("matrices of {left:?} times rows of {right:?} numbers")
        });
        self.made(TensorType::F32, [left[1], chosen[0], right[2], 1], Op::MulMatId, &[matrices, b, ids])
    }

    pub fn rope(&mut self, a: TensorId, positions: TensorId, factors: Option<TensorId>) -> TensorId {
        match factors {
            Some(factors) => self.like(a, Op::Rope, &[a, positions, factors]),
            None => self.like(a, Op::Rope, &[a, positions]),
        }
    }

    pub fn soft_max(&mut self, a: TensorId, others: &[TensorId]) -> TensorId {
        let id = self.like(a, Op::SoftMax, &[a]);
        others.iter().for_each(|&other| self.get_mut(id).add_source(other));
        id
    }

    /// Fused attention over queries, keys and values (and a mask, and sinks).
    pub fn flash_attention(
        &mut self,
        q: TensorId,
        k: TensorId,
        v: TensorId,
        others: &[TensorId],
    ) -> TensorId {
        let (queries, values) = (self.get(q).ne, self.get(v).ne);
        let ne = [values[0], queries[2], queries[1], queries[3]];
        let id = self.made(TensorType::F32, ne, Op::FlashAttention, &[q, k, v]);
        others.iter().for_each(|&other| self.get_mut(id).add_source(other));
        id
    }

    pub fn get_rows(&mut self, a: TensorId, rows: TensorId) -> TensorId {
        let (from, at) = (self.get(a), self.get(rows));
        let kind = if from.kind == TensorType::I32 { TensorType::I32 } else { TensorType::F32 };
        let ne = [from.ne[0], at.ne[0], at.ne[1], at.ne[2]];
        self.made(kind, ne, Op::GetRows, &[a, rows])
    }

    /// Writes rows of `b` into `a` where `rows` says: the result looks at `a`.
    pub fn set_rows(&mut self, a: TensorId, b: TensorId, rows: TensorId) -> TensorId {
        let (into, from) = (self.get(a).ne, self.get(b).ne);
        self.check_of(&[b], into[0] == from[0], || format!("rows of {from:?} into rows of {into:?} numbers"));
        let target = self.get(a);
        let mut tensor = Tensor::new(target.kind, target.ne, Op::SetRows);
        tensor.view_of = Some(target.view_of.unwrap_or(a));
        tensor.nb = target.nb;
        self.push(tensor.with_sources(&[b, rows, a]))
    }

    /// Copies `a` into `b`: the result looks at `b`.
    pub fn copy(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let target = self.get(b);
        let mut tensor = Tensor::new(target.kind, target.ne, Op::Copy);
        tensor.view_of = Some(target.view_of.unwrap_or(b));
        tensor.nb = target.nb;
        self.push(tensor.with_sources(&[a, b]))
    }

    /// A copy of another type.
    pub fn cast(&mut self, a: TensorId, kind: TensorType) -> TensorId {
        let ne = self.get(a).ne;
        let id = self.made(kind, ne, Op::Copy, &[a]);
        // ggml names the result as its own second source.
        self.get_mut(id).add_source(id);
        id
    }

    pub fn cont(&mut self, a: TensorId) -> TensorId {
        self.like(a, Op::Cont, &[a])
    }

    pub fn cont_as(&mut self, a: TensorId, ne: [u64; 4]) -> TensorId {
        let kind = self.get(a).kind;
        self.made(kind, ne, Op::Cont, &[a])
    }

    pub fn concat(&mut self, a: TensorId, b: TensorId, dimension: usize) -> TensorId {
        let (kind, mut ne) = (self.get(a).kind, self.get(a).ne);
        ne[dimension] = ne[dimension].saturating_add(self.get(b).ne[dimension]);
        self.made(kind, ne, Op::Concat, &[a, b])
    }

    pub fn repeat(&mut self, a: TensorId, ne: [u64; 4]) -> TensorId {
        let kind = self.get(a).kind;
        self.made(kind, ne, Op::Repeat, &[a])
    }

    pub fn sum_rows(&mut self, a: TensorId) -> TensorId {
        let (kind, mut ne) = (self.get(a).kind, self.get(a).ne);
        ne[0] = 1;
        self.made(kind, ne, Op::SumRows, &[a])
    }

    /// The places of the largest `k` of each row.
    pub fn top_k(&mut self, a: TensorId, k: u64) -> TensorId {
        let ne = self.get(a).ne;
        self.check_of(&[a], k <= ne[0], || format!("the largest {k} of {} numbers", ne[0]));
        let sorted = self.made(TensorType::I32, ne, Op::ArgSort, &[a]);
        let nb = self.get(sorted).nb;
        self.look(sorted, [k, ne[1], ne[2], ne[3]], nb, Op::View)
    }

    pub fn pad_rows(&mut self, a: TensorId, by: u64) -> TensorId {
        let (kind, mut ne) = (self.get(a).kind, self.get(a).ne);
        ne[0] = ne[0].saturating_add(by);
        self.made(kind, ne, Op::Pad, &[a])
    }

    pub fn view(&mut self, a: TensorId, ne: [u64; 4], nb: [u64; 4]) -> TensorId {
        self.look(a, ne, nb, Op::View)
    }

    /// A view of rows: the strides of the first dimension are the type's, the others are given.
    pub fn view_2d(&mut self, a: TensorId, columns: u64, rows: u64, stride: u64) -> TensorId {
        let first = self.get(a).kind.block_bytes();
        let plane = stride.saturating_mul(rows);
        self.look(a, [columns, rows, 1, 1], [first, stride, plane, plane], Op::View)
    }

    pub fn reshape(&mut self, a: TensorId, ne: [u64; 4]) -> TensorId {
        let (before, whole) = (self.get(a).ne, self.get(a).elements());
        let after = ne.iter().fold(1u64, |product, &n| product.saturating_mul(n));
        self.check_of(&[a], whole == after, || format!("{before:?} numbers in the shape {ne:?}"));
        let nb = Tensor::new(self.get(a).kind, ne, Op::None).nb;
        self.look(a, ne, nb, Op::Reshape)
    }

    /// Dimension i becomes dimension `axes[i]`.
    pub fn permute(&mut self, a: TensorId, axes: [usize; 4]) -> TensorId {
        let source = self.get(a);
        let (mut ne, mut nb) = ([1; 4], [0; 4]);
        for (from, &to) in axes.iter().enumerate() {
            ne[to] = source.ne[from];
            nb[to] = source.nb[from];
        }
        self.look(a, ne, nb, Op::Permute)
    }

    pub fn transpose(&mut self, a: TensorId) -> TensorId {
        let source = self.get(a);
        let (mut ne, mut nb) = (source.ne, source.nb);
        ne.swap(0, 1);
        nb.swap(0, 1);
        self.look(a, ne, nb, Op::Transpose)
    }

    /// A short convolution over the last inputs (state-space models).
    pub fn ssm_conv(&mut self, inputs: TensorId, weights: TensorId) -> TensorId {
        let (from, with) = (self.get(inputs).ne, self.get(weights).ne);
        let fits = from[1] == with[1] && from[0] >= with[0];
        self.check_of(&[weights], fits, || format!("a convolution by {with:?} of {from:?} numbers"));
        let ne = [from[1], from[0].saturating_add(1).saturating_sub(with[0]), from[2], 1];
        self.made(TensorType::F32, ne, Op::SsmConv, &[inputs, weights])
    }

    /// A selective scan: its result holds outputs and states, one behind the other; states as often as there are snapshots.
    pub fn ssm_scan(&mut self, sources: [TensorId; 7], snapshots: u64) -> TensorId {
        let (states, inputs, ids) = (self.get(sources[0]).ne, self.get(sources[1]), self.get(sources[6]).ne);
        let outputs = inputs.elements();
        let (decay, heads) = (self.get(sources[3]).ne, inputs.ne[1]);
        let fits = (decay[0] == states[0] || decay[0] == 1) && decay[1] == heads;
        let state = states[0].saturating_mul(states[1]).saturating_mul(states[2]).saturating_mul(ids[0]);
        let ne = [outputs.saturating_add(state.saturating_mul(snapshots)), 1, 1, 1];
        self.check_of(&[sources[3]], fits, || {
            format!("decays of {decay:?} for {heads} heads with states of {} numbers", states[0])
        });
        self.made(TensorType::F32, ne, Op::SsmScan, &sources)
    }

    /// A gated delta rule: its result holds outputs and states, one behind the other.
    pub fn gated_delta_net(&mut self, sources: [TensorId; 6], ne: [u64; 4]) -> TensorId {
        self.made(TensorType::F32, ne, Op::GatedDeltaNet, &sources)
    }
}
