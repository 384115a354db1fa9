//! A decision of a run's trace, in words.
//!
//! In: a line of a trace, as it stands in `vramkit.run/1`. Out: its kind and its numbers as text, in the words that the
//! program has for them. A kind that is not known here is said by its name alone.

use serde::Deserialize;

use crate::bytes::Bytes;

/// One decision.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Decision {
    pub(crate) at_seconds: f64,
    pub(crate) done: bool,
    kind: String,
    #[serde(flatten)]
    fields: serde_json::Map<String, serde_json::Value>,
}

/// What was decided, with its numbers.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Event {
    PlanGenerated {
        schedule: String,
        models: usize,
        tensors: usize,
        arena_bytes: Bytes,
        lower_bound_bytes: Bytes,
        proven_optimal: bool,
    },
    Bound {
        model: String,
        granted_bytes: Bytes,
        used_bytes: Bytes,
    },
    Rejected {
        model: String,
        needed_bytes: Bytes,
        reason: String,
    },
    Released {
        model: String,
        freed_bytes: Bytes,
        used_bytes: Bytes,
    },
    PressureChanged {
        from: String,
        to: String,
        used_bytes: Bytes,
        used_ratio: f64,
    },
    PolicyApplied {
        policy: String,
        level: String,
        wanted_bytes: Bytes,
        freed_bytes: Bytes,
        outcome: String,
        dry_run: bool,
    },
    Escalated {
        level: String,
        from: String,
        to: String,
    },
    Evicted {
        model: String,
        freed_bytes: Bytes,
    },
    Compacted {
        models: Vec<String>,
        before_bytes: Bytes,
        after_bytes: Bytes,
    },
    Degraded {
        model: String,
        before_bytes: Bytes,
        after_bytes: Bytes,
    },
    Trimmed {
        freed_bytes: Bytes,
        committed_bytes: Bytes,
    },
    Stalled {
        model: String,
        waited_seconds: f64,
        recovered: bool,
    },
    AliasingViolation {
        model: String,
        tensor: String,
        step: u64,
        at_bytes: Bytes,
    },
    Loaded {
        model: String,
        loaded_bytes: Bytes,
        elapsed_seconds: f64,
    },
    TraceDropped {
        events: u64,
        spans: u64,
        samples: u64,
    },
    Leak {
        model: String,
        tag: String,
        requested_bytes: Bytes,
    },
    Failed {
        error: String,
    },
}

impl Decision {
    /// The kind in words: `plan generated`.
    pub(crate) fn kind(&self) -> String {
        self.kind.replace('_', " ")
    }

    /// The numbers in words; nothing for a kind that is not known.
    pub(crate) fn details(&self) -> String {
        let mut fields = self.fields.clone();
        fields.insert("kind".to_owned(), self.kind.clone().into());
        Event::deserialize(serde_json::Value::Object(fields)).map_or_else(|_| String::new(), Event::details)
    }
}

impl Event {
    fn details(self) -> String {
        match self {
            Self::PlanGenerated {
                schedule,
                models,
                tensors,
                arena_bytes,
                lower_bound_bytes,
                proven_optimal,
            } => {
                let verdict = if proven_optimal { "proven optimal" } else { "not proven optimal" };
                let of = format!("{tensors} tensors of {models} models, {schedule} schedule");
                format!("{of}: arena {arena_bytes}, bound {lower_bound_bytes}, {verdict}")
            }
            Self::Bound { model, granted_bytes, used_bytes } if granted_bytes.is_zero() => {
                format!("{model} shares what is there; {used_bytes} in use")
            }
            Self::Bound { model, granted_bytes, used_bytes } => {
                format!("{model} took {granted_bytes}; {used_bytes} in use")
            }
            Self::Rejected { model, needed_bytes, reason } => {
                format!("{model} needs {needed_bytes}: {reason}")
            }
            Self::Released { model, freed_bytes, used_bytes } => {
                format!("{model} freed {freed_bytes}; {used_bytes} in use")
            }
            Self::PressureChanged { from, to, used_bytes, used_ratio } => {
                format!("{from} to {to} at {used_bytes}, {:.1} %", used_ratio * 100.0)
            }
            Self::PolicyApplied { policy, level, wanted_bytes, freed_bytes, outcome, dry_run } => {
                let dry = if dry_run { " (dry run)" } else { "" };
                format!("{policy} at {level}{dry}: {outcome}; wanted {wanted_bytes}, freed {freed_bytes}")
            }
            Self::Escalated { level, from, to } => format!("{from} gives way to {to} at {level}"),
            Self::Evicted { model, freed_bytes } => format!("{model} freed {freed_bytes}"),
            Self::Compacted { models, before_bytes, after_bytes } => {
                format!("arena of {}: {before_bytes} to {after_bytes}", models.join(", "))
            }
            Self::Degraded { model, before_bytes, after_bytes } => {
                format!("{model}: arena {before_bytes} to {after_bytes}")
            }
            Self::Trimmed { freed_bytes, committed_bytes } => {
                format!("{freed_bytes} given back, {committed_bytes} held")
            }
            Self::Stalled { model, waited_seconds, recovered } => {
                let end = if recovered { "got memory" } else { "gave up" };
                format!("{model} waited {waited_seconds:.3} s and {end}")
            }
            Self::AliasingViolation { model, tensor, step, at_bytes } => {
                format!("{tensor} of {model} at step {step}, byte {}", at_bytes.grouped())
            }
            Self::Loaded { model, loaded_bytes, elapsed_seconds } => {
                format!("{loaded_bytes} of weights of {model} in {elapsed_seconds:.3} s")
            }
            Self::TraceDropped { events, spans, samples } => {
                format!("{events} older events, {spans} steps and {samples} samples are not here")
            }
            Self::Leak { model, tag, requested_bytes } => format!("{requested_bytes} of {model} ({tag})"),
            Self::Failed { error } => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_said_in_full_and_what_is_not_by_its_name() {
        let say = |json: serde_json::Value| {
            let decision: Decision = serde_json::from_value(json).unwrap();
            (decision.kind(), decision.details())
        };
        let evicted = serde_json::json!({"sequence": 1, "at_seconds": 0.5, "done": true, "kind": "evicted", "model": "a", "freed_bytes": 5_000_000});
        assert_eq!(say(evicted), ("evicted".to_owned(), "a freed 5 MB".to_owned()));
        let unknown = serde_json::json!({"sequence": 1, "at_seconds": 0.5, "done": true, "kind": "moved_away", "where": 3});
        assert_eq!(say(unknown), ("moved away".to_owned(), String::new()));
    }
}
