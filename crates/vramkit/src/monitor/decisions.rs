//! An orchestrator's decisions as a program publishes them: the last few, each small. What another process says is hostile:
//! it is cut to the same bounds when it is read, and holds nothing that a terminal would obey.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Number, Value};

use super::text::clean_in_place;
use super::utc::utc;
use crate::trace::{TraceCollector, TraceEvent};

/// Most decisions of a pool.
pub(super) const MOST: usize = 64;
/// Most characters of a name, and of a text.
const NAME: usize = 64;
const TEXT: usize = 256;
/// Most numbers of a decision.
const NUMBERS: usize = 16;

/// Something that a program's orchestrator decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Decision {
    /// Counted from 0 in its program.
    pub sequence: u64,
    /// When, in UTC.
    pub time: String,
    /// What kind: `evicted`, `rejected`, …; the kinds of `vramkit run --json`.
    pub kind: String,
    /// The model that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its numbers, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<String, Number>,
    /// In words.
    pub text: String,
    /// Whether it was done, or in a dry run only decided.
    pub done: bool,
}

impl Decision {
    /// The last decisions that a collector keeps.
    pub(super) fn last_of(trace: &TraceCollector) -> Vec<Self> {
        trace.last_events(MOST).iter().map(|event| Self::new(event, trace).bounded()).collect()
    }

    fn new(event: &TraceEvent, trace: &TraceCollector) -> Self {
        let (_, text) = event.event.describe();
        let at = Duration::try_from_secs_f64(event.at_seconds).unwrap_or_default();
        let mut decision = Self {
            sequence: event.sequence,
            time: utc(trace.started() + at),
            kind: String::new(),
            model: None,
            numbers: BTreeMap::new(),
            text,
            done: event.done,
        };
        if let Ok(Value::Object(fields)) = serde_json::to_value(&event.event) {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("kind", Value::String(kind)) => decision.kind = kind,
                    ("model", Value::String(model)) => decision.model = Some(model),
                    (_, Value::Number(number)) => drop(decision.numbers.insert(name, number)),
                    _ => {}
                }
            }
        }
        decision
    }

    /// Within the bounds, and without control characters.
    fn bounded(mut self) -> Self {
        for (text, most) in [(&mut self.time, NAME), (&mut self.kind, NAME), (&mut self.text, TEXT)] {
            clean_in_place(text, most);
        }
        if let Some(model) = &mut self.model {
            clean_in_place(model, NAME);
        }
        let numbers = std::mem::take(&mut self.numbers).into_iter().take(NUMBERS);
        self.numbers = numbers
            .map(|(mut name, number)| {
                clean_in_place(&mut name, NAME);
                (name, number)
            })
            .collect();
        self
    }
}

/// A decision as another process says it: of its numbers the first ones are kept while it is read.
#[derive(Deserialize)]
pub(super) struct SaidDecision {
    sequence: u64,
    time: String,
    kind: String,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    numbers: Numbers,
    text: String,
    done: bool,
}

impl From<SaidDecision> for Decision {
    fn from(said: SaidDecision) -> Self {
        let SaidDecision { sequence, time, kind, model, numbers, text, done } = said;
        Self { sequence, time, kind, model, numbers: numbers.0, text, done }.bounded()
    }
}

#[derive(Default)]
struct Numbers(BTreeMap<String, Number>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First;
        impl<'de> Visitor<'de> for First {
            type Value = Numbers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Numbers, A::Error> {
                let mut numbers = BTreeMap::new();
                while numbers.len() < NUMBERS
                    && let Some((name, number)) = map.next_entry()?
                {
                    numbers.insert(name, number);
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Numbers(numbers))
            }
        }
        deserializer.deserialize_map(First)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::trace::Event;
    use crate::units::ByteSize;

    #[test]
    fn decisions_carry_kind_model_numbers_and_words() {
        let trace = TraceCollector::new();
        trace.record(Event::Evicted { model: "llama".into(), freed_bytes: ByteSize::mib(2) });
        let decision = Decision::last_of(&trace).remove(0);
        assert_eq!((decision.kind.as_str(), decision.model.as_deref()), ("evicted", Some("llama")));
        assert_eq!(decision.numbers["freed_bytes"], Number::from(2 << 20));
        assert_eq!((decision.text.as_str(), decision.done), ("llama freed 2 MiB", true));
        assert!(decision.time.ends_with('Z'), "{}", decision.time);
    }

    #[test]
    fn what_is_published_and_what_is_read_is_bounded() {
        let trace = TraceCollector::new();
        (0..1000).for_each(|_| trace.record(Event::Failed { error: "é\u{1b}[2J".repeat(1000) }));
        let decisions = Decision::last_of(&trace);
        assert_eq!((decisions.len(), decisions[0].sequence), (MOST, 1000 - MOST as u64));
        assert_eq!(decisions[0].text.chars().count(), TEXT);
        assert!(!decisions[0].text.contains('\u{1b}'));
        let mut hostile = vec![decisions[0].clone(); 100];
        for decision in &mut hostile {
            decision.kind = "k\n".repeat(500);
            decision.model = Some("m".repeat(500));
            decision.numbers =
                (0..500).map(|n| (format!("{n}{}", "x".repeat(100)), Number::from(n))).collect();
        }
        let text = serde_json::to_string(&hostile).expect("it is data");
        let said: Vec<SaidDecision> = serde_json::from_str(&text).expect("as it was");
        let hostile: Vec<Decision> = said.into_iter().map(Decision::from).collect();
        assert_eq!(hostile[0].numbers.len(), NUMBERS);
        assert!(hostile[0].numbers.keys().all(|name| name.chars().count() <= NAME));
        assert!(hostile[0].kind.chars().count() <= NAME && !hostile[0].kind.contains('\n'));
        assert_eq!(hostile[0].model.as_ref().map(|model| model.chars().count()), Some(NAME));
    }
}
