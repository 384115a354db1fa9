//! Who holds what at a moment of a trace, and what one trace holds more than another.

use std::fmt;
use std::str::FromStr;

use hashbrown::HashMap;
use serde::Serialize;
use vramkit_units::ByteSize;

use crate::operation::Operation;
use crate::trace::Trace;

/// What an owner is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum OwnedBy {
    /// One's own line of code: the innermost that belongs to neither Python nor a package. The bare name where the recording has
    /// names.
    #[default]
    Line,
    /// The whole stack of code.
    Stack,
    /// The text that the program has given what it asked for.
    Annotation,
}

impl OwnedBy {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Line, Self::Stack, Self::Annotation];

    /// As the command line names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Stack => "stack",
            Self::Annotation => "annotation",
        }
    }
}

impl fmt::Display for OwnedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for OwnedBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|by| by.as_str() == text);
        found
            .copied()
            .ok_or_else(|| format!("`{text}` is nothing to know owners by: use line, stack or annotation"))
    }
}

/// What one owner holds at a step of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Held {
    /// The owner; empty for what the recording says nothing of. A stack has its frames here, outermost first, with `;` between
    /// them, without those of the interpreter.
    pub owner: String,
    /// Bytes asked for, and not given back.
    pub bytes: ByteSize,
    /// Allocations.
    pub allocations: u64,
}

/// What one owner holds in two traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Grown {
    /// The owner, as in [`Held`].
    pub owner: String,
    /// Bytes that it holds in the first.
    pub before_bytes: ByteSize,
    /// Bytes that it holds in the second.
    pub after_bytes: ByteSize,
    /// How many more; less than 0 for fewer.
    pub grown_bytes: i64,
    /// Allocations that it has more; less than 0 for fewer.
    pub grown_allocations: i64,
}

impl Trace {
    /// Who holds what when most is live, most first; what was asked for in vain then is with it.
    ///
    /// ```
    /// use vramkit_replay::{OwnedBy, Trace};
    ///
    /// let mut trace = Trace::new("by hand");
    /// trace.allocate("a", 4096, "weights")?;
    /// trace.allocate("b", 1024, "activations")?;
    /// trace.free("b")?;
    /// let peak = trace.held_at_peak(OwnedBy::Line);
    /// assert_eq!((peak[0].owner.as_str(), peak[1].bytes.bytes()), ("weights", 1024));
    /// assert_eq!(trace.held_after(usize::MAX, OwnedBy::Line).len(), 1);
    /// # Ok::<(), vramkit_replay::TraceError>(())
    /// ```
    pub fn held_at_peak(&self, by: OwnedBy) -> Vec<Held> {
        self.held(self.peak_at(), by, true)
    }

    /// Who holds what after a step, most first; behind the last one, what is never given back.
    pub fn held_after(&self, step: usize, by: OwnedBy) -> Vec<Held> {
        self.held(step, by, false)
    }

    fn held(&self, step: usize, by: OwnedBy, in_vain: bool) -> Vec<Held> {
        let mut sizes = vec![0_u64; self.allocations()];
        for (at, operation) in self.operations.iter().enumerate().take(step.saturating_add(1)) {
            match *operation {
                Operation::Allocate { number, size } => sizes[number as usize] = size,
                Operation::Free { number } => sizes[number as usize] = 0,
                Operation::Attempt { number, size } if in_vain && at == step => sizes[number as usize] = size,
                Operation::Attempt { .. } => {}
            }
        }
        let owners = self.owners(by);
        let mut held: HashMap<&str, (u64, u64)> = HashMap::new();
        for (number, &size) in sizes.iter().enumerate().filter(|(_, size)| **size > 0) {
            let (bytes, allocations) = held.entry(owners.of(self, number as u32)).or_default();
            *bytes += size;
            *allocations += 1;
        }
        let mut held: Vec<Held> = held
            .into_iter()
            .map(|(owner, (bytes, allocations))| Held {
                owner: owner.to_owned(),
                bytes: ByteSize::new(bytes),
                allocations,
            })
            .collect();
        held.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.owner.cmp(&b.owner)));
        held
    }

    /// The owners of all allocations.
    pub fn owners(&self, by: OwnedBy) -> Owners {
        let names = match by {
            OwnedBy::Line => self.stacks.lines(),
            OwnedBy::Stack => (0..self.stacks.len() as u32).map(|stack| self.folded(stack)).collect(),
            OwnedBy::Annotation => Vec::new(),
        };
        Owners { by, names }
    }

    /// A stack, outermost frame first, without the frames of the interpreter. A frame's own `;` would read as two.
    fn folded(&self, stack: u32) -> String {
        let frames = self.stacks.frames(stack).filter(|frame| !frame.is_machinery());
        let frames: Vec<String> = frames.map(|frame| frame.to_string().replace(';', ":")).collect();
        frames.into_iter().rev().collect::<Vec<_>>().join(";")
    }
}

/// The owners of a trace's allocations.
#[derive(Clone, Debug)]
pub struct Owners {
    by: OwnedBy,
    /// By stack; for annotations the trace has them.
    names: Vec<String>,
}

impl Owners {
    /// The owner of an allocation of the trace that this was made from.
    pub fn of<'a>(&'a self, trace: &'a Trace, number: u32) -> &'a str {
        let origin = trace.origin(number);
        match self.by {
            OwnedBy::Annotation => trace.annotation_text(origin.annotation),
            _ => &self.names[origin.stack as usize],
        }
    }
}

/// What each owner holds more or less in the second than in the first, most grown first; whoever holds the same is left out.
pub fn grown(before: &[Held], after: &[Held]) -> Vec<Grown> {
    let mut all: HashMap<&str, [(u64, u64); 2]> = HashMap::new();
    for (side, held) in [before, after].into_iter().enumerate() {
        for owner in held {
            let entry = &mut all.entry(&owner.owner).or_default()[side];
            *entry = (entry.0 + owner.bytes.bytes(), entry.1 + owner.allocations);
        }
    }
    let mut grown: Vec<Grown> = all
        .into_iter()
        .filter(|(_, [before, after])| before != after)
        .map(|(owner, [(before, fewer), (after, more)])| Grown {
            owner: owner.to_owned(),
            before_bytes: ByteSize::new(before),
            after_bytes: ByteSize::new(after),
            // Both are at most 2^46.
            grown_bytes: after as i64 - before as i64,
            grown_allocations: more as i64 - fewer as i64,
        })
        .collect();
    grown.sort_by(|a, b| b.grown_bytes.cmp(&a.grown_bytes).then_with(|| a.owner.cmp(&b.owner)));
    grown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stacks::Frame;
    use crate::trace::{Key, Origin};

    #[test]
    fn what_grew_comes_first_and_what_did_not_is_left_out() {
        let held = |list: &[(&str, u64)]| -> Vec<Held> {
            let held = |&(owner, bytes): &(&str, u64)| Held {
                owner: owner.into(),
                bytes: ByteSize::new(bytes),
                allocations: 1,
            };
            list.iter().map(held).collect()
        };
        let grown = grown(&held(&[("a", 10), ("b", 10), ("c", 5)]), &held(&[("a", 10), ("b", 4), ("d", 7)]));
        let told: Vec<(&str, i64, i64)> = grown
            .iter()
            .map(|each| (each.owner.as_str(), each.grown_bytes, each.grown_allocations))
            .collect();
        assert_eq!(told, [("d", 7, 1), ("c", -5, -1), ("b", -6, 0)]);
    }

    #[test]
    fn stacks_have_no_frames_of_the_interpreter() {
        let mut trace = Trace::new("t");
        let frame =
            |file: &str, function: &str| Frame { file: file.into(), line: 1, function: function.into() };
        let frames = [
            frame("a.cpp", "at::bmm(long; long)"),
            frame("ceval.c", "_PyEval_EvalFrameDefault"),
            frame("a.py", "f"),
        ];
        let frames: Vec<u32> = frames.map(|frame| trace.stacks.frame(frame)).to_vec();
        let stack = trace.stacks.stack(&frames);
        trace.allocate_from(Key::Number(1), 5, Origin { stack, ..Origin::default() }).unwrap();
        assert_eq!(trace.held_at_peak(OwnedBy::Stack)[0].owner, "a.py:1 f;a.cpp:1 at::bmm(long: long)");
        assert_eq!(trace.frames(0).count(), 3);
    }

    #[test]
    fn an_attempt_is_held_while_it_is_asked_for() {
        let mut trace = Trace::new("t");
        trace.allocate("a", 100, "a").unwrap();
        trace.attempt(50, "b").unwrap();
        assert_eq!(trace.held_at_peak(OwnedBy::Line).len(), 2);
        assert_eq!(trace.held_after(1, OwnedBy::Line).len(), 1);
    }
}
