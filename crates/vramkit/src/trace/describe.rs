//! Each event in words.

use super::event::Event;
use crate::pressure::duration;

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
            Self::LimitPassed { limit, passed } => ("limit passed", format!("{limit} limit, {passed}")),
            Self::Recovered { limit, passed_seconds, used_bytes } => (
                "recovered",
                format!("below the {limit} limit with {used_bytes} after {}", duration(*passed_seconds)),
            ),
            Self::CleanedUp { reason, freed_allocated_bytes, freed_reserved_bytes } => {
                let freed = format!("{freed_allocated_bytes} of allocations and {freed_reserved_bytes} held");
                ("cleaned up", format!("{freed} freed ({reason})"))
            }
            Self::CleanupDoesNotHelp { reason } => {
                let words = "nothing was freed, and the next ones wait longer";
                ("cleanup does not help", format!("{words} ({reason})"))
            }
            Self::GenerationsGrew { warning } => ("generations grew", warning.to_string()),
            Self::Retains { leak } => ("retains", leak.to_string()),
            Self::LeakSuspected { leak } => ("leak suspected", leak.to_string()),
            Self::LeakCleared { leak } => ("leak cleared", format!("no longer growing: {leak}")),
            Self::Series(finding) => (finding.kind(), finding.details()),
        };
        (kind.to_owned(), details)
    }
}
