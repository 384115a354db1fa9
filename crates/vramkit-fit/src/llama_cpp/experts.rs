//! Feed-forward blocks of which each token passes a few (`llama-graph.cpp`, `build_moe_ffn`).

use crate::ggml::{Glu, TensorId, Unary};
use crate::llama_cpp::builder::Builder;

/// How scores of experts become weights.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gating {
    /// Softmax over all, then a choice.
    SoftMax,
    /// A sigmoid each, then a choice.
    Sigmoid,
    /// A choice, then softmax over the chosen.
    SoftMaxOfChosen,
}

/// What differs between architectures.
#[derive(Clone, Copy)]
pub(crate) struct Experts {
    pub glu: Glu,
    pub gating: Gating,
    /// Weights of the chosen are made to sum to 1.
    pub normalised: bool,
    /// Weights are scaled.
    pub scaled: bool,
}

impl Builder<'_> {
    /// Whether the header scales the weights of the chosen.
    pub fn scales_experts(&self) -> bool {
        let scale = self.parts.keys.float("expert_weights_scale", 0.0);
        scale != 0.0 && scale != 1.0
    }

    /// The experts that most architectures have: SiLU over a gate, chosen by a softmax whose chosen weights sum to 1.
    pub fn usual_experts(&mut self, layer: usize, a: TensorId) -> TensorId {
        let scaled = self.scales_experts();
        let how = Experts { glu: Glu::Swi, gating: Gating::SoftMax, normalised: true, scaled };
        self.experts(layer, a, how)
    }

    /// The experts that every token passes.
    pub fn shared_experts(&mut self, layer: usize, a: TensorId) -> TensorId {
        self.gated_feed_forward(layer, ["ffn_up_shexp", "ffn_gate_shexp", "ffn_down_shexp"], Glu::Swi, a)
    }

    /// The experts of a layer.
    pub fn experts(&mut self, layer: usize, a: TensorId, how: Experts) -> TensorId {
        let hyper = self.parts.hyper;
        let (experts, used, hidden) = (hyper.experts, hyper.experts_used, self.graph.get(a).ne[0]);
        let tokens = self.graph.get(a).ne[1];
        if used == 0 {
            self.graph
                .check(false, || format!("layer {layer} has experts, and `expert_count` is not there or 0"));
            return a;
        }
        let scores = self.mul_bias(layer, "ffn_gate_inp", a);
        let probabilities = match how.gating {
            Gating::SoftMax => self.graph.soft_max(scores, &[]),
            Gating::Sigmoid => self.graph.unary(Unary::Sigmoid, scores),
            Gating::SoftMaxOfChosen => scores,
        };
        let mut choice = probabilities;
        if let Some(bias) = self.weight(layer, "exp_probs_b.bias") {
            choice = self.graph.add(choice, bias);
        }
        if hyper.expert_groups > 1 {
            choice = self.choose_groups(choice, experts, tokens);
        }
        let chosen = self.graph.top_k(choice, used);
        let column = self.graph.reshape(probabilities, [1, experts, tokens, 1]);
        let mut weights = self.graph.get_rows(column, chosen);
        if how.gating == Gating::SoftMaxOfChosen {
            weights = self.graph.reshape(weights, [used, tokens, 1, 1]);
            weights = self.graph.soft_max(weights, &[]);
            weights = self.graph.reshape(weights, [1, used, tokens, 1]);
        }
        if how.normalised {
            weights = self.graph.reshape(weights, [used, tokens, 1, 1]);
            let sum = self.graph.sum_rows(weights);
            let sum = self.graph.clamp(sum);
            weights = self.graph.div(weights, sum);
            weights = self.graph.reshape(weights, [1, used, tokens, 1]);
        }
        if how.scaled {
            weights = self.graph.scale(weights);
        }
        self.graph.expand(weights);
        let rows = self.graph.reshape(a, [hidden, 1, tokens, 1]);
        let gated = self.gate_experts(layer, rows, chosen, how.glu);
        let mut results = self.mul_experts(layer, "ffn_down_exps", gated, chosen);
        if let Some(bias) = self.weight(layer, "ffn_down_exps.bias") {
            results = self.graph.add_id(results, bias, chosen);
        }
        results = self.graph.mul(results, weights);
        self.graph.expand(results);
        self.sum_experts(results, used)
    }

    fn gate_experts(&mut self, layer: usize, rows: TensorId, chosen: TensorId, glu: Glu) -> TensorId {
        if self.weight(layer, "ffn_gate_up_exps.weight").is_some() {
            let both = self.mul_experts(layer, "ffn_gate_up_exps", rows, chosen);
            let (ne, nb) = (self.graph.get(both).ne, self.graph.get(both).nb);
            let half = [ne[0] / 2, ne[1], ne[2], 1];
            let gate = self.graph.view(both, half, nb);
            let up = self.graph.view(both, half, nb);
            return self.graph.glu_split(glu, gate, up);
        }
        let mut up = self.mul_experts(layer, "ffn_up_exps", rows, chosen);
        if let Some(bias) = self.weight(layer, "ffn_up_exps.bias") {
            up = self.graph.add_id(up, bias, chosen);
        }
        let mut gate = self.mul_experts(layer, "ffn_gate_exps", rows, chosen);
        if let Some(bias) = self.weight(layer, "ffn_gate_exps.bias") {
            gate = self.graph.add_id(gate, bias, chosen);
        }
        self.graph.glu_split(glu, gate, up)
    }

    /// Groups of experts whose best two are highest stay in the choice.
    fn choose_groups(&mut self, scores: TensorId, experts: u64, tokens: u64) -> TensorId {
        let (groups, used) = (self.parts.hyper.expert_groups, self.parts.hyper.expert_groups_used);
        let each = experts / groups;
        let grouped = self.graph.reshape(scores, [each, groups, tokens, 1]);
        let best = self.graph.top_k(grouped, 2);
        let single = self.graph.reshape(grouped, [1, each, groups, tokens]);
        let best = self.graph.get_rows(single, best);
        let ne = self.graph.get(best).ne;
        let best = self.graph.reshape(best, [ne[1], ne[2], ne[3], 1]);
        let sums = self.graph.sum_rows(best);
        let ne = self.graph.get(sums).ne;
        let sums = self.graph.reshape(sums, [ne[1], ne[2], 1, 1]);
        let chosen = self.graph.top_k(sums, used);
        let kept = self.graph.get_rows(grouped, chosen);
        let masked = self.graph.fill(grouped);
        let masked = self.graph.set_rows(masked, kept, chosen);
        self.graph.reshape(masked, [experts, tokens, 1, 1])
    }

    /// The experts' results are added one after the other.
    fn sum_experts(&mut self, results: TensorId, used: u64) -> TensorId {
        let (ne, nb) = (self.graph.get(results).ne, self.graph.get(results).nb);
        let mut each = Vec::new();
        for _ in 0..used {
            let view = self.graph.view_2d(results, ne[0], ne[2], nb[2]);
            self.graph.expand(view);
            each.push(view);
        }
        let mut sum = each[0];
        for &other in &each[1..] {
            sum = self.graph.add(sum, other);
            self.graph.expand(sum);
        }
        if used == 1 { self.graph.cont(sum) } else { sum }
    }
}
