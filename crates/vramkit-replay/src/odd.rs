//! Lines and entries of a recording that cannot be used: each is lost alone, counted, and the first is told.

use std::fmt::Display;

use crate::stacks::plain;

#[derive(Debug, Default)]
pub(crate) struct Odd {
    count: u64,
    first: Option<String>,
}

impl Odd {
    /// One that is left out, and why.
    pub(crate) fn add(&mut self, place: impl Display, reason: impl Display) {
        self.count += 1;
        self.first.get_or_insert_with(|| plain(&format!("{place}: {reason}")).into_owned());
    }

    /// The first.
    pub(crate) fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// What is said of them: `what` is one of them, and several.
    pub(crate) fn note(&self, [one, several]: [&str; 2]) -> Option<String> {
        let first = self.first.as_deref()?;
        let (count, what) = (self.count, if self.count == 1 { one } else { several });
        Some(format!("{count} {what} left out, the first: {first}"))
    }
}
