//! Numbers that may be missing, with where they come from.

use std::fmt;

use serde::{Deserialize, Serialize};

use vramkit_units::ByteSize;

/// Where a number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// The operating system of this machine.
    System,
    /// The card's driver.
    Driver,
    /// A limit that the user set.
    Configured,
    /// The simulation's own book-keeping.
    Simulation,
    /// A pool's own counts.
    Pool,
    /// A framework of the program, such as PyTorch.
    Framework,
    /// NVIDIA's management library.
    Nvml,
    /// The kernel's files of a card.
    Sysfs,
    /// The control group that this process is in.
    Cgroup,
    /// The sum over processes.
    Processes,
    /// What this version has no word for: in documents of another one.
    #[serde(other)]
    Unknown,
}

/// A number that may be missing, with its origin; a missing one says why and is never shown as zero.
///
/// ```
/// use vramkit_pool::device::{Origin, Reading};
///
/// let free = Reading::known(42, Origin::Driver);
/// let hidden: Reading<u32> = Reading::unavailable(Origin::Nvml, "not supported on this card");
/// assert_eq!((free.to_string(), hidden.to_string()), ("42".to_owned(), "not available".to_owned()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reading<T> {
    /// The number; `None` when the source does not give it.
    pub value: Option<T>,
    /// Who was asked.
    pub source: Origin,
    /// Why there is no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
}

impl<T> Reading<T> {
    /// A number that `source` gave.
    pub fn known(value: T, source: Origin) -> Self {
        Self { value: Some(value), source, unavailable: None }
    }

    /// No number, because of `reason`.
    pub fn unavailable(source: Origin, reason: impl Into<String>) -> Self {
        Self { value: None, source, unavailable: Some(reason.into()) }
    }

    /// The same reading in another form.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Reading<U> {
        Reading { value: self.value.map(form), source: self.source, unavailable: self.unavailable }
    }
}

/// A size as NVIDIA's management library says it, unless it is a sentinel: 2^64 - 1 is its "not available", and nothing has more than an
/// exbibyte.
pub fn nvml_size(bytes: u64) -> Reading<ByteSize> {
    if bytes >= 1 << 60 {
        Reading::unavailable(Origin::Nvml, "the driver gives no number")
    } else {
        Reading::known(ByteSize::new(bytes), Origin::Nvml)
    }
}

impl<T: fmt::Display> fmt::Display for Reading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => value.fmt(f),
            None => f.pad("not available"),
        }
    }
}
