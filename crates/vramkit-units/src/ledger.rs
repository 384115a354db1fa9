//! Who holds what, since when: the words that a pool, which keeps a ledger, and those who judge one have in common.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ByteSize;

/// What memory is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Parameters of a model.
    Weights,
    /// Keys and values of past tokens.
    Kv,
    /// Tensors that live for part of a run.
    Activation,
    /// Scratch memory of a kernel.
    Workspace,
    /// Anything else, also what a newer program says.
    #[default]
    #[serde(other)]
    Other,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Weights => "weights",
            Self::Kv => "kv",
            Self::Activation => "activation",
            Self::Workspace => "workspace",
            Self::Other => "other",
        })
    }
}

/// For whom memory is held. `null` and a string in data, one word for each on screens.
///
/// ```
/// use vramkit_units::Holder;
///
/// assert_eq!(Holder::from("resnet50").model(), Some("resnet50"));
/// assert_eq!(Holder::from(""), Holder::Nobody);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(from = "Option<String>", into = "Option<String>")]
#[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
pub enum Holder {
    /// Nobody in particular.
    #[default]
    Nobody,
    /// A model of this name, which is not empty.
    Model(Arc<str>),
}

impl Holder {
    /// As screens show it: the model's name, or `nobody`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Nobody => "nobody",
            Self::Model(name) => name,
        }
    }

    /// The model's name.
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Nobody => None,
            Self::Model(name) => Some(name),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<&str> for Holder {
    fn from(model: &str) -> Self {
        if model.is_empty() { Self::Nobody } else { Self::Model(model.into()) }
    }
}

impl From<Option<String>> for Holder {
    fn from(model: Option<String>) -> Self {
        model.map_or(Self::Nobody, |model| model.as_str().into())
    }
}

impl From<Holder> for Option<String> {
    fn from(holder: Holder) -> Self {
        holder.model().map(str::to_owned)
    }
}

impl PartialEq<&str> for Holder {
    fn eq(&self, other: &&str) -> bool {
        self.model() == Some(*other)
    }
}

/// How many classes of age a [`LedgerEntry`] tells apart.
pub const AGE_CLASSES: usize = 20;

/// What is live of one owner and tag, and what of it has been released.
///
/// ```
/// use std::time::Duration;
/// use vramkit_units::{AGE_CLASSES, ByteSize, Holder, LedgerEntry, Purpose, age_class};
///
/// let mut by_age_bytes = [ByteSize::ZERO; AGE_CLASSES];
/// by_age_bytes[age_class(Duration::from_secs(100))] = ByteSize::mib(1);
/// let entry = LedgerEntry {
///     model: Holder::from("net"),
///     purpose: Purpose::Activation,
///     tag: String::new(),
///     allocations: 1,
///     granted_bytes: ByteSize::mib(1),
///     by_age_bytes,
///     ..LedgerEntry::default()
/// };
/// assert_eq!(entry.older_than(Duration::from_secs(60)), ByteSize::mib(1));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LedgerEntry {
    /// For whom.
    pub model: Holder,
    /// What for.
    pub purpose: Purpose,
    /// The tag; empty when there is none.
    pub tag: String,
    /// Allocations.
    pub allocations: u64,
    /// Bytes granted.
    pub granted_bytes: ByteSize,
    /// Of them, by age: below one second, then from 2^(i-1) seconds to below 2^i, the last without an end. All in the
    /// first class when the pool keeps no ages.
    pub by_age_bytes: [ByteSize; AGE_CLASSES],
    /// Bytes released ever, by their age at release, in the same classes: how long what is gone has lived. It only rises,
    /// for as long as the pool knows the owner; zeros from a program that does not count it.
    #[serde(default)]
    pub released_by_age_bytes: [ByteSize; AGE_CLASSES],
}

impl LedgerEntry {
    /// Bytes at least so old, as far as the classes tell: those of the classes that begin there or later.
    pub fn older_than(&self, age: Duration) -> ByteSize {
        // A class `i` begins at 2^(i-1) seconds.
        let class = if age.is_zero() { 0 } else { (age.as_secs_f64().log2().ceil().max(0.0) as usize) + 1 };
        self.by_age_bytes.iter().skip(class).copied().fold(ByteSize::ZERO, ByteSize::saturating_add)
    }
}

/// The [class](LedgerEntry::by_age_bytes) of an age.
#[inline]
pub fn age_class(age: Duration) -> usize {
    let seconds = age.as_secs();
    if seconds == 0 { 0 } else { (seconds.ilog2() as usize + 1).min(AGE_CLASSES - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_age_begin_at_powers_of_two() {
        for (seconds, expected) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (63, 6), (64, 7), (1 << 40, 19)] {
            assert_eq!(age_class(Duration::from_secs(seconds)), expected, "{seconds}");
        }
    }
}
