//! What can be decided or found, with its numbers.

use serde::Serialize;

use crate::plan::Schedule;
use crate::pressure::leak::{MemoryLeakWarning, TagLeak};
use crate::pressure::{CleanupReason, Finding, LimitKind, Passed, PressureLevel, PressurePolicy};
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
    /// More is held than a limit allows. Told once, until it has been recovered from.
    LimitPassed {
        /// Which limit.
        limit: LimitKind,
        /// The numbers, and what the program was at.
        #[serde(flatten)]
        passed: Passed,
    },
    /// Less is held than a limit allows, and has been for a while.
    Recovered {
        /// Which limit.
        limit: LimitKind,
        /// For how long it was passed.
        passed_seconds: f64,
        /// What is held.
        used_bytes: ByteSize,
    },
    /// Memory was freed on purpose.
    CleanedUp {
        /// Why.
        reason: CleanupReason,
        /// Less in allocations than before.
        freed_allocated_bytes: ByteSize,
        /// Less held from the device than before.
        freed_reserved_bytes: ByteSize,
    },
    /// A cleanup freed nothing, and the next ones wait longer. Told once, until one frees something.
    CleanupDoesNotHelp {
        /// Why memory was to be freed.
        reason: CleanupReason,
    },
    /// Generations of work leave memory behind.
    GenerationsGrew {
        /// The numbers.
        #[serde(flatten)]
        warning: MemoryLeakWarning,
    },
    /// A tag's or an owner's old bytes grow, and nothing is known of how long such bytes live.
    Retains {
        /// Who, and how much.
        #[serde(flatten)]
        leak: TagLeak,
    },
    /// A tag's or an owner's old bytes grow, and outlive what is known of their kind.
    LeakSuspected {
        /// Who, and how much.
        #[serde(flatten)]
        leak: TagLeak,
    },
    /// What was said to retain or suspected no longer grows.
    LeakCleared {
        /// As it was suspected.
        #[serde(flatten)]
        leak: TagLeak,
    },
    /// Found in the series of used bytes: growth, or that it is full soon.
    #[serde(untagged)]
    Series(Finding),
}
