//! What can be decided or found, with its numbers, and each in words.

use serde::Serialize;

use crate::plan::Schedule;
use crate::pressure::{PressureLevel, PressurePolicy};
use crate::units::{ByteSize, Step};

/// What can be decided or found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Models were planned into one arena.
    PlanGenerated {
        /// What the plan is sound under.
        schedule: Schedule,
        /// How many models.
        models: usize,
        /// How many tensors.
        tensors: usize,
        /// The arena.
        arena_bytes: ByteSize,
        /// No arena is smaller.
        lower_bound_bytes: ByteSize,
        /// Whether the arena is known to be minimal.
        proven_optimal: bool,
        /// How long planning took.
        elapsed_seconds: f64,
    },
    /// A model got its memory.
    Bound {
        /// The model.
        model: String,
        /// What its binding took from the pool; 0 for a share of an arena that was there.
        granted_bytes: ByteSize,
        /// Granted in the pool afterwards.
        used_bytes: ByteSize,
    },
    /// A model did not get its memory.
    Rejected {
        /// The model.
        model: String,
        /// What its binding would take.
        needed_bytes: ByteSize,
        /// Granted in the pool.
        used_bytes: ByteSize,
        /// Most that the pool grants.
        capacity_bytes: ByteSize,
        /// Why.
        reason: String,
    },
    /// A model gave its memory back.
    Released {
        /// The model.
        model: String,
        /// What went back to the pool; 0 while others hold the arena.
        freed_bytes: ByteSize,
        /// Granted in the pool afterwards.
        used_bytes: ByteSize,
    },
    /// The level of pressure changed.
    PressureChanged {
        /// Before.
        from: PressureLevel,
        /// After.
        to: PressureLevel,
        /// Granted in the pool.
        used_bytes: ByteSize,
        /// The fraction of the capacity that is granted.
        used_ratio: f64,
    },
    /// A policy acted, or would have.
    PolicyApplied {
        /// The policy.
        policy: PressurePolicy,
        /// The level that it acted at.
        level: PressureLevel,
        /// What was wanted.
        wanted_bytes: ByteSize,
        /// What it freed (in a dry run: would have).
        freed_bytes: ByteSize,
        /// What it did, in words.
        outcome: String,
        /// Whether nothing was done.
        dry_run: bool,
    },
    /// A policy that frees too little gave way to the next of its rung.
    Escalated {
        /// The level.
        level: PressureLevel,
        /// The policy that gave way.
        from: PressurePolicy,
        /// The policy that follows.
        to: PressurePolicy,
    },
    /// A binding was released to make room.
    Evicted {
        /// The model.
        model: String,
        /// What it freed.
        freed_bytes: ByteSize,
    },
    /// What is bound was planned again and moved.
    Compacted {
        /// The models that share the arena.
        models: Vec<String>,
        /// The arena before.
        before_bytes: ByteSize,
        /// The arena after.
        after_bytes: ByteSize,
    },
    /// A model made do with less.
    Degraded {
        /// The model.
        model: String,
        /// The arena that it is in, before.
        before_bytes: ByteSize,
        /// The arena that it is in, after.
        after_bytes: ByteSize,
    },
    /// Free granules went back to the device.
    Trimmed {
        /// Bytes decommitted.
        freed_bytes: ByteSize,
        /// Held from the device afterwards.
        committed_bytes: ByteSize,
    },
    /// A model waited for memory.
    Stalled {
        /// The model.
        model: String,
        /// How long.
        waited_seconds: f64,
        /// Whether it got memory in the end.
        recovered: bool,
    },
    /// A tensor was not intact when it was read.
    AliasingViolation {
        /// The model.
        model: String,
        /// The tensor.
        tensor: String,
        /// The step that read it.
        step: Step,
        /// The first byte of it that was wrong.
        at_bytes: ByteSize,
    },
    /// A model's weights were brought by its loader, before it was bound.
    Loaded {
        /// The model.
        model: String,
        /// Its weights.
        loaded_bytes: ByteSize,
        /// How long the loader took.
        elapsed_seconds: f64,
    },
    /// Older records went to make room, and are not here.
    TraceDropped {
        /// How many events.
        events: u64,
        /// How many stretches of execution.
        spans: u64,
        /// How many samples of memory.
        samples: u64,
    },
    /// Something was live when everything should have been released.
    Leak {
        /// The model that it was granted to.
        model: String,
        /// Its tag.
        tag: String,
        /// Bytes asked for.
        requested_bytes: ByteSize,
    },
    /// A run ended early.
    Failed {
        /// Why.
        error: String,
    },
}

impl Event {
    /// The kind of event and its numbers, in words.
    pub fn describe(&self) -> (String, String) {
        let dry = |dry_run: &bool| if *dry_run { " (dry run)" } else { "" };
        let (kind, details) = match self {
            Self::PlanGenerated {
                schedule,
                models,
                tensors,
                arena_bytes,
                lower_bound_bytes,
                proven_optimal,
                ..
            } => {
                let verdict = if *proven_optimal { "proven optimal" } else { "not proven optimal" };
                let of = format!("{tensors} tensors of {models} models, {schedule} schedule");
                ("plan generated", format!("{of}: arena {arena_bytes}, bound {lower_bound_bytes}, {verdict}"))
            }
            Self::Bound { model, granted_bytes, used_bytes } if granted_bytes.is_zero() => {
                ("bound", format!("{model} shares what is there; {used_bytes} in use"))
            }
            Self::Bound { model, granted_bytes, used_bytes } => {
                ("bound", format!("{model} took {granted_bytes}; {used_bytes} in use"))
            }
            Self::Rejected { model, needed_bytes, reason, .. } => {
                ("rejected", format!("{model} needs {needed_bytes}: {reason}"))
            }
            Self::Released { model, freed_bytes, used_bytes } => {
                ("released", format!("{model} freed {freed_bytes}; {used_bytes} in use"))
            }
            Self::PressureChanged { from, to, used_bytes, used_ratio } => {
                ("pressure changed", format!("{from} to {to} at {used_bytes}, {:.1} %", used_ratio * 100.0))
            }
            Self::PolicyApplied { policy, level, wanted_bytes, freed_bytes, outcome, dry_run } => {
                let numbers = format!("wanted {wanted_bytes}, freed {freed_bytes}");
                ("policy applied", format!("{policy} at {level}{}: {outcome}; {numbers}", dry(dry_run)))
            }
            Self::Escalated { level, from, to } => {
                ("escalated", format!("{from} gives way to {to} at {level}"))
            }
            Self::Evicted { model, freed_bytes } => ("evicted", format!("{model} freed {freed_bytes}")),
            Self::Compacted { models, before_bytes, after_bytes } => {
                ("compacted", format!("arena of {}: {before_bytes} to {after_bytes}", models.join(", ")))
            }
            Self::Degraded { model, before_bytes, after_bytes } => {
                ("degraded", format!("{model}: arena {before_bytes} to {after_bytes}"))
            }
            Self::Trimmed { freed_bytes, committed_bytes } => {
                ("trimmed", format!("{freed_bytes} given back, {committed_bytes} held"))
            }
            Self::Stalled { model, waited_seconds, recovered } => {
                let end = if *recovered { "got memory" } else { "gave up" };
                ("stalled", format!("{model} waited {waited_seconds:.3} s and {end}"))
            }
            Self::AliasingViolation { model, tensor, step, at_bytes } => {
                ("aliasing violation", format!("{tensor} of {model} at {step}, byte {}", at_bytes.grouped()))
            }
            Self::Loaded { model, loaded_bytes, elapsed_seconds } => {
                ("loaded", format!("{loaded_bytes} of weights of {model} in {elapsed_seconds:.3} s"))
            }
            Self::TraceDropped { events, spans, samples } => (
                "trace dropped",
                format!("{events} older events, {spans} steps and {samples} samples are not here"),
            ),
            Self::Leak { model, tag, requested_bytes } => {
                ("leak", format!("{requested_bytes} of {model} ({tag})"))
            }
            Self::Failed { error } => ("failed", error.clone()),
        };
        (kind.to_owned(), details)
    }
}
