//! Bytes as the documents have them, and as people read them.
//!
//! In: whole numbers of bytes. Out: text with a unit, exact text, ratios. The same words as every other vramkit crate has,
//! said here again so that pictures need nothing but the documents.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Bytes(pub(crate) u64);

impl Bytes {
    pub(crate) fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// As a fraction of `whole`; 0 of nothing.
    pub(crate) fn ratio_of(self, whole: Self) -> f64 {
        if whole.0 == 0 { 0.0 } else { self.0 as f64 / whole.0 as f64 }
    }

    /// Whether it is shown in decimal units, because it is round in them.
    pub(crate) fn is_decimal(self) -> bool {
        self.0.is_multiple_of(100_000) && !self.0.is_multiple_of(1 << 20)
    }

    /// The exact number with thousands separated: `350,000,000`.
    pub(crate) fn grouped(self) -> String {
        let digits = self.0.to_string();
        let mut out = String::with_capacity(digits.len() + digits.len() / 3);
        for (i, c) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                out.push(',');
            }
            out.push(c);
        }
        out
    }
}

impl fmt::Display for Bytes {
    /// `350 MB` where that is exact, binary units otherwise (`9.19 MiB`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, names) = if self.0 != 0 && self.is_decimal() {
            (1000.0, ["B", "kB", "MB", "GB", "TB", "PB", "EB"])
        } else {
            (1024.0, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
        };
        let (mut value, mut unit) = (self.0 as f64, 0);
        while value >= base && unit + 1 < names.len() {
            value /= base;
            unit += 1;
        }
        let mut text =
            if unit == 0 || value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") };
        if text.contains('.') {
            text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
        }
        f.pad(&format!("{text} {}", names[unit]))
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        Self(iter.map(|bytes| bytes.0).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_the_unit_a_size_is_round_in() {
        assert_eq!(Bytes(350_000_000).to_string(), "350 MB");
        assert_eq!(Bytes(9_633_792).to_string(), "9.19 MiB");
        assert_eq!(Bytes(24 << 30).to_string(), "24 GiB");
        assert_eq!((Bytes(512).to_string(), Bytes(0).to_string()), ("512 B".into(), "0 B".into()));
        assert_eq!(Bytes(350_000_000).grouped(), "350,000,000");
    }
}
