//! States that are carried from step to step (`llama-graph.cpp`, `build_rs`; `models/mamba-base.cpp`).

use vramkit_models::gguf::TensorType;

use crate::ggml::{TensorId, Unary};
use crate::llama_cpp::builder::{Build, Builder};

/// Which state belongs to which sequence of the step.
#[derive(Clone, Copy)]
pub(crate) struct StateInputs {
    /// Of all sequences.
    pub all: TensorId,
    /// Of the sequences in the step.
    pub main: TensorId,
    /// Of those that are not in it; in newer builds of all but the first.
    pub others: TensorId,
}

/// Reads states where they are kept: given all of them, and which are wanted.
pub(crate) type ReadStates<'a> = dyn FnMut(&mut Builder<'_>, TensorId, TensorId) -> TensorId + 'a;

impl Builder<'_> {
    pub fn sequences(&self) -> u64 {
        self.parts.context.sequences
    }

    /// Tokens of the step for each sequence.
    pub fn tokens_each(&self) -> u64 {
        self.tokens / self.sequences().max(1)
    }

    pub fn state_inputs(&mut self) -> StateInputs {
        let sequences = self.sequences();
        let all = self.graph.input(TensorType::I32, [sequences, 1, 1, 1]);
        let row = sequences.saturating_mul(4);
        let others = if self.parts.build == Build::B11549 { sequences - 1 } else { 0 };
        StateInputs {
            all,
            main: self.graph.view(all, [sequences, 1, 1, 1], [4, row, row, row]),
            others: self.graph.view(all, [others, 1, 1, 1], [4, others * 4, others * 4, others * 4]),
        }
    }

    /// A layer's states of short convolutions.
    pub fn convolution_states(&mut self, layer: usize) -> TensorId {
        let (numbers, states) = (self.parts.caches.layers[layer].convolution, self.parts.caches.states);
        self.cache(layer, "r", TensorType::F32, [numbers, states, 1, 1])
    }

    /// A layer's recurrent states.
    pub fn recurrent_states(&mut self, layer: usize) -> TensorId {
        let (numbers, states) = (self.parts.caches.layers[layer].recurrent, self.parts.caches.states);
        self.cache(layer, "s", TensorType::F32, [numbers, states, 1, 1])
    }

    /// The states of the step's sequences: one is cleared for those that begin, those not in the step keep theirs. `read` reads
    /// them where they are kept; without it they are copied.
    pub fn carried(
        &mut self,
        inputs: &StateInputs,
        states: TensorId,
        read: Option<&mut ReadStates<'_>>,
    ) -> TensorId {
        let ne = self.graph.get(states).ne;
        let row = ne[0].saturating_mul(4);
        let sequences = self.sequences();
        let flat = self.graph.reshape(states, [ne[0], ne[1], 1, 1]);
        let cleared = self.graph.view(flat, [ne[0], 1, 1, 1], [4, row, row, row]);
        let cleared = self.graph.scale_in_place(cleared);
        self.graph.expand(cleared);
        let (mine, others) = match self.parts.build {
            Build::V0_5_0 => {
                let mine = match read {
                    Some(read) => read(self, flat, inputs.main),
                    None => self.graph.get_rows(flat, inputs.main),
                };
                self.graph.expand(mine);
                (mine, self.graph.get_rows(flat, inputs.others))
            }
            Build::B11549 => {
                // One copy of all, of which the others' are looked at.
                let which = if read.is_some() { inputs.others } else { inputs.all };
                let copied = self.graph.get_rows(flat, which);
                let mine = match read {
                    Some(read) => read(self, flat, inputs.main),
                    None => self.graph.view_2d(copied, ne[0], sequences, row),
                };
                self.graph.expand(mine);
                (mine, self.graph.view_2d(copied, ne[0], 0, row))
            }
        };
        let target = self.graph.view(states, [ne[0], 0, 1, 1], [4, row, 0, 0]);
        let kept = self.graph.copy(others, target);
        self.graph.expand(kept);
        mine
    }

    /// The last inputs of a short convolution in front of the step's, of which the last are stored again, once for each token
    /// that may be taken back.
    pub fn convolution_inputs(
        &mut self,
        layer: usize,
        inputs: &StateInputs,
        new: TensorId,
        kept: u64,
    ) -> TensorId {
        let (sequences, kernel) = (self.sequences(), self.parts.hyper.state_space.convolution);
        let states = self.convolution_states(layer);
        let numbers = self.graph.get(states).ne[0];
        let before = kernel.saturating_sub(1);
        let channels = numbers / before.max(1);
        let old = self.carried(inputs, states, None);
        let old = self.graph.reshape(old, [before, channels, sequences, 1]);
        let turned = self.graph.transpose(new);
        let joined = self.graph.concat(old, turned, 0);
        for _ in 0..kept {
            let nb = self.graph.get(joined).nb;
            let last = self.graph.view(joined, [before, channels, sequences, 1], nb);
            let row = numbers.saturating_mul(4);
            let target = self.graph.view_2d(states, numbers, sequences, row);
            let stored = self.graph.copy(last, target);
            self.graph.expand(stored);
        }
        joined
    }

    /// A short convolution with its bias and activation.
    pub fn convolve(&mut self, layer: usize, inputs: TensorId) -> TensorId {
        let kernel = self.needed(layer, "ssm_conv1d.weight");
        let (said, stored) = (self.parts.hyper.state_space.convolution, self.graph.get(kernel).ne[0]);
        self.graph.check_of(&[kernel], said == stored, || {
            format!("a convolution over {stored} tokens, and `ssm.conv_kernel` is {said}")
        });
        let mut result = self.graph.ssm_conv(inputs, kernel);
        if let Some(bias) = self.weight(layer, "ssm_conv1d.bias") {
            result = self.graph.add(result, bias);
        }
        self.graph.unary(Unary::Silu, result)
    }
}
