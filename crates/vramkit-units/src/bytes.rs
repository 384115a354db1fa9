//! Numbers of bytes, read from and shown as text with units.
//!
//! Text becomes a size with an explicit unit (`MB` is 10^6, `MiB` is 2^20); nothing here rounds silently.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// A number of bytes.
///
/// Sums and differences behave as those of `u64`: what does not fit panics where overflow checks are on.
///
/// ```
/// use vramkit_units::ByteSize;
///
/// let sizes = [ByteSize::mib(3), ByteSize::new(512)];
/// let sum: ByteSize = sizes.into_iter().sum();
/// assert_eq!(sum.grouped(), "3,146,240");
/// assert_eq!(ByteSize::mib(3).ratio_of(ByteSize::mib(12)), 0.25);
/// assert!("12 apples".parse::<ByteSize>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct ByteSize(u64);

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseSizeError {
    /// The text does not start with a number.
    #[error(
        "`{0}` is not a size: write a number of bytes or a number with a unit, such as 1048576, 700MB or 24GiB"
    )]
    NoNumber(String),
    /// The unit is not known.
    #[error(
        "`{unit}` in `{text}` is not a unit of size: use B, kB, KiB, MB, MiB, GB, GiB, TB, TiB, PB, PiB, EB or EiB"
    )]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The part that is not a unit.
        unit: String,
    },
    /// The size does not fit in 64 bits.
    #[error("`{0}` is more than 2^64 - 1 bytes")]
    TooLarge(String),
}

/// The units that sizes are read in, longest name first where one ends another.
const UNITS: [(&str, u64); 14] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("EiB", 1 << 60),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("EB", 1_000_000_000_000_000_000),
    ("B", 1),
];

impl ByteSize {
    /// No bytes.
    pub const ZERO: Self = Self(0);
    /// The largest size that can be named.
    pub const MAX: Self = Self(u64::MAX);

    /// This many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// `n` × 2^20 bytes. Panics when the product passes 2^64 (in a constant: fails to compile).
    pub const fn mib(n: u64) -> Self {
        Self(n * (1 << 20))
    }

    /// `n` × 10^6 bytes. Panics when the product passes 2^64 (in a constant: fails to compile).
    pub const fn mb(n: u64) -> Self {
        Self(n * 1_000_000)
    }

    /// `n` × 2^30 bytes. Panics when the product passes 2^64 (in a constant: fails to compile).
    pub const fn gib(n: u64) -> Self {
        Self(n * (1 << 30))
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Whether there are none.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether people see it in decimal units (`350 MB`), because it is round in them and in no binary one.
    pub const fn is_round_in_decimal(self) -> bool {
        self.0 != 0 && self.0.is_multiple_of(100_000) && !self.0.is_multiple_of(1 << 20)
    }

    /// The sum, or `None` when it passes 2^64 - 1.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The sum, or the largest size where it passes 2^64 - 1.
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or zero where `other` is larger.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The next multiple of `alignment` (a power of two), or `None` when it passes 2^64 - 1.
    pub const fn checked_align_up(self, alignment: u64) -> Option<Self> {
        debug_assert!(alignment.is_power_of_two());
        match self.0.checked_add(alignment - 1) {
            Some(n) => Some(Self(n & !(alignment - 1))),
            None => None,
        }
    }

    /// This size as a fraction of `whole`; 0 when `whole` is zero.
    pub fn ratio_of(self, whole: Self) -> f64 {
        if whole.0 == 0 { 0.0 } else { self.0 as f64 / whole.0 as f64 }
    }

    /// This size against another, in words: a share of what it is less, or the bytes that it is more.
    ///
    /// ```
    /// use vramkit_units::ByteSize;
    ///
    /// assert_eq!(ByteSize::new(6).against(ByteSize::new(8)), "25.00 % less than 8 B");
    /// assert_eq!(ByteSize::new(8).against(ByteSize::new(8)), "as much as 8 B");
    /// assert_eq!(ByteSize::new(257).against(ByteSize::new(5)), "252 B more than 5 B");
    /// ```
    pub fn against(self, other: Self) -> String {
        match self.cmp(&other) {
            std::cmp::Ordering::Less => {
                format!("{:.2} % less than {other}", 100.0 * (1.0 - self.ratio_of(other)))
            }
            std::cmp::Ordering::Equal => format!("as much as {other}"),
            std::cmp::Ordering::Greater => format!("{} more than {other}", self.saturating_sub(other)),
        }
    }

    /// The exact number with thousands separated: `350,000,000`.
    pub fn grouped(self) -> String {
        grouped(self.0)
    }

    /// For people who are to see how it differs from `other`: rounded, and exact too where both round alike.
    ///
    /// ```
    /// use vramkit_units::ByteSize;
    ///
    /// let (needed, available) = (ByteSize::new(4_718_848), ByteSize::new(4_718_592));
    /// assert_eq!(needed.beside(available), "4.5 MiB (4,718,848 B)");
    /// assert_eq!(needed.beside(ByteSize::mib(4)), "4.5 MiB");
    /// ```
    pub fn beside(self, other: Self) -> String {
        let is_alike = self != other && self.to_string() == other.to_string();
        if is_alike { format!("{self} ({} B)", self.grouped()) } else { self.to_string() }
    }
}

/// A number with thousands separated: `350,000,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

impl fmt::Display for ByteSize {
    /// For people: decimal units for sizes that are round in them (`350 MB`), binary units otherwise
    /// (`9.19 MiB`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, names) = if self.is_round_in_decimal() {
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

impl FromStr for ByteSize {
    type Err = ParseSizeError;

    /// Reads `1048576`, `24GiB`, `1.5 GiB`, `700MB`. A fraction of a byte is rounded to the nearest byte.
    fn from_str(text: &str) -> Result<Self, ParseSizeError> {
        let trimmed = text.trim();
        let split =
            trimmed.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let number = number.replace('_', "");
        let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(ParseSizeError::NoNumber(text.to_owned()));
        }
        let unit = unit.trim();
        let scale = match unit {
            "" => 1,
            _ => UNITS.iter().find(|(name, _)| *name == unit).map(|&(_, scale)| scale).ok_or_else(|| {
                ParseSizeError::UnknownUnit { text: text.to_owned(), unit: unit.to_owned() }
            })?,
        };
        let too_large = || ParseSizeError::TooLarge(text.to_owned());
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_large())? };
        // 18 digits of a fraction say more than 64 bits can hold; the rest cannot change the nearest byte.
        let fraction = &fraction[..fraction.len().min(18)];
        let numerator: u128 =
            if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| too_large())? };
        let denominator = 10u128.pow(fraction.len() as u32);
        let bytes = u128::from(whole) * u128::from(scale)
            + (numerator * u128::from(scale) + denominator / 2) / denominator;
        u64::try_from(bytes).map(Self).map_err(|_| too_large())
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    /// A whole number of bytes, or text with a unit.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ByteSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of bytes or text with a unit, such as \"700MB\"")
            }
            fn visit_u64<E>(self, v: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(v))
            }
            fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<ByteSize, E> {
                u64::try_from(v)
                    .map(ByteSize)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(v), &self))
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<ByteSize, E> {
                v.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Add for ByteSize {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for ByteSize {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl AddAssign for ByteSize {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl SubAssign for ByteSize {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= other.0;
    }
}

impl Sum for ByteSize {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        Self(iter.map(|b| b.0).sum())
    }
}

impl From<u64> for ByteSize {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in [
            ("1048576", 1 << 20),
            ("24GiB", 24 << 30),
            ("700MB", 700_000_000),
            ("1.5 MiB", 3 << 19),
            ("0.1MiB", 104_858),
            ("1_000", 1000),
            (".5kB", 500),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize::new(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused_with_a_reason() {
        for text in
            ["", "MB", "1.2.3MB", "-5", "nan", "5 parsecs", "99999999999999999999", "20000000TiB", "5G"]
        {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<ByteSize>("-1").is_err());
        assert!(serde_json::from_str::<ByteSize>("1.5").is_err());
    }

    #[test]
    fn people_see_the_unit_a_size_is_round_in() {
        assert_eq!(ByteSize::mb(350).to_string(), "350 MB");
        assert_eq!(ByteSize::new(9_633_792).to_string(), "9.19 MiB");
        assert_eq!(ByteSize::gib(24).to_string(), "24 GiB");
        assert_eq!(ByteSize::new(512).to_string(), "512 B");
        assert_eq!(ByteSize::mb(350).grouped(), "350,000,000");
        assert_eq!(ByteSize::new(12).grouped(), "12");
    }

    proptest! {
        #[test]
        fn any_number_of_bytes_survives_printing(bytes: u64) {
            prop_assert_eq!(bytes.to_string().parse(), Ok(ByteSize::new(bytes)));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<ByteSize>();
        }
    }
}
