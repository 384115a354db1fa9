//! One step's activations: how long each lives, so that the planner can place them, and where each was placed.
//!
//! In: a model's widths and the most that a step computes. Out: lifetimes over the stages of a step, to be planned and bound once;
//! then [`Buffers`], parts of the arena by activation. The layers pass the same stages one after another, so one layer's lifetimes
//! are those of all.

use std::ops::Range;

use vramkit::ByteSize;
use vramkit::plan::TensorLifetime;

use crate::kernels::activation_bytes;
use crate::model::hyper::Hyper;
use crate::model::rotations::Rotations;
use crate::model::tensors::ALIGNMENT;

/// The most that one step computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StepShape {
    /// Tokens of all sequences.
    pub tokens: usize,
    /// Tokens whose successors are chosen: one a sequence at most.
    pub outputs: usize,
    /// Numbers that attention needs beside its results.
    pub attention: usize,
}

/// What a step keeps for a while. Those called quantised are what matrices are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Activation {
    Residual,
    Angles,
    Normed,
    NormedQuantised,
    Query,
    Key,
    Value,
    Attended,
    AttendedQuantised,
    Partials,
    Projected,
    MiddleNormed,
    MiddleQuantised,
    Gate,
    Up,
    GatedQuantised,
    Down,
    LastNormed,
    LastQuantised,
    Logits,
}

use Activation::*;

/// Every activation with its name, and the stages that it lives in, the last one not included. A stage reads what earlier ones
/// made: 0 embed, 1 norm, 2 queries, keys, values, 3 rotate and keep, 4 attend, 5 quantise, 6 project, 7 add and norm, 8 gate and
/// up, 9 activate, 10 down, 11 add, 12 last norm, 13 head, 14 choose. What float weights are multiplied with is the number itself,
/// so it lives as long as its quantised form.
const LIVES: [(Activation, &str, Range<u64>); 20] = [
    (Residual, "residual", 0..13),
    (Angles, "angles", 0..12),
    (Normed, "normed", 1..3),
    (NormedQuantised, "normed, quantised", 1..3),
    (Query, "query", 2..5),
    (Key, "key", 2..4),
    (Value, "value", 2..4),
    (Attended, "attended", 4..7),
    (AttendedQuantised, "attended, quantised", 5..7),
    (Partials, "parts of attention", 4..5),
    (Projected, "projected", 6..8),
    (MiddleNormed, "normed again", 7..9),
    (MiddleQuantised, "normed again, quantised", 7..9),
    (Gate, "gate", 8..11),
    (Up, "up", 8..10),
    (GatedQuantised, "gated, quantised", 9..11),
    (Down, "down", 10..12),
    (LastNormed, "last normed", 12..14),
    (LastQuantised, "last normed, quantised", 12..14),
    (Logits, "logits", 13..15),
];

impl StepShape {
    /// Bytes of an activation.
    fn bytes(&self, hyper: &Hyper, of: Activation) -> usize {
        let floats = |rows: usize, width: usize| rows.saturating_mul(width).saturating_mul(4);
        let (tokens, outputs) = (self.tokens, self.outputs);
        match of {
            Residual | Normed | Projected | MiddleNormed | Down => floats(tokens, hyper.hidden),
            NormedQuantised | MiddleQuantised => activation_bytes(tokens, hyper.hidden),
            // Matrices that make several at once write them side by side, from the first one's place on.
            Query => {
                floats(tokens, hyper.heads * hyper.key + if hyper.fused.qkv { hyper.kv_width() } else { 0 })
            }
            Key => floats(tokens, if hyper.fused.qkv { 0 } else { hyper.kv_heads * hyper.key }),
            Value => floats(tokens, if hyper.fused.qkv { 0 } else { hyper.kv_heads * hyper.value }),
            Attended => floats(tokens, hyper.heads * hyper.value),
            AttendedQuantised => activation_bytes(tokens, hyper.heads * hyper.value),
            Angles => floats(tokens, Rotations::angles_len(hyper)),
            Partials => floats(self.attention, 1),
            Gate => floats(tokens, hyper.feed_forward * if hyper.fused.gate_up { 2 } else { 1 }),
            Up => floats(tokens, if hyper.fused.gate_up { 0 } else { hyper.feed_forward }),
            GatedQuantised => activation_bytes(tokens, hyper.feed_forward),
            LastNormed => floats(outputs, hyper.hidden),
            LastQuantised => activation_bytes(outputs, hyper.hidden),
            Logits => floats(outputs, hyper.vocabulary),
        }
    }

    /// The tokens and outputs that these lifetimes were made for; `None` when they are not of a step of this model.
    pub fn of(tensors: &[TensorLifetime], hyper: &Hyper) -> Option<Self> {
        let bytes = |of: Activation| {
            let name = LIVES[of as usize].1;
            tensors.iter().find(|tensor| &*tensor.id == name).map(|tensor| tensor.size.bytes() as usize)
        };
        Some(Self {
            tokens: bytes(Residual)? / (4 * hyper.hidden),
            outputs: bytes(Logits)? / (4 * hyper.vocabulary),
            attention: bytes(Partials)? / 4,
        })
    }

    /// The lifetimes of a step, for the planner.
    pub fn lifetimes(&self, hyper: &Hyper, model: &str) -> Vec<TensorLifetime> {
        let lives = LIVES.iter().map(|(of, name, stages)| {
            let size = ByteSize::new(self.bytes(hyper, *of) as u64);
            TensorLifetime::new(model, name, stages.start, stages.end, size)
        });
        lives.filter(|lifetime| !lifetime.size.is_zero()).collect()
    }
}

/// Where the planner has placed each activation: bytes of the arena.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers {
    places: [Range<usize>; LIVES.len()],
}

impl Buffers {
    /// Of a binding's tensors, with their offsets in the arena.
    pub fn of<'a>(placed: impl Iterator<Item = (&'a TensorLifetime, ByteSize)>) -> Self {
        let mut buffers = Self::default();
        for (lifetime, offset) in placed {
            let Some(at) = LIVES.iter().position(|(_, name, _)| *name == &*lifetime.id) else { continue };
            let start = offset.bytes() as usize;
            buffers.places[at] = start..start + lifetime.size.bytes() as usize;
        }
        buffers
    }

    /// The most tokens that a step may have here.
    pub fn tokens(&self, hyper: &Hyper) -> usize {
        self.places[Residual as usize].len() / (4 * hyper.hidden)
    }

    pub fn place(&self, of: Activation) -> Range<usize> {
        self.places[of as usize].clone()
    }

    /// Whether activations that live at the same time lie apart, at places that kernels take: what the slices of a step rest on.
    pub fn are_sound(&self, arena: usize) -> bool {
        let apart = |a: &Range<usize>, b: &Range<usize>| a.end <= b.start || b.end <= a.start;
        let each = |(at, place): (usize, &Range<usize>)| {
            let stages = &LIVES[at].2;
            let is_inside = place.end <= arena && place.start.is_multiple_of(ALIGNMENT);
            let others = self.places[..at].iter().zip(&LIVES[..at]);
            is_inside
                && others.into_iter().all(|(other, (_, _, when))| {
                    let meet = stages.start < when.end && when.start < stages.end;
                    !meet || place.is_empty() || other.is_empty() || apart(place, other)
                })
        };
        self.places.iter().enumerate().all(each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_are_listed_in_their_order() {
        for (at, (of, ..)) in LIVES.iter().enumerate() {
            assert_eq!(*of as usize, at);
        }
    }
}
