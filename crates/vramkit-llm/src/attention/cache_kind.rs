//! The types that a cache's elements can have.

use std::fmt;

/// Elements of a token's head that share a scale in q8_0.
pub(super) const GROUP: usize = 32;

/// The type of the cache's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheKind {
    /// 32-bit floats, 4 bytes an element.
    F32,
    /// Half precision, 2 bytes an element.
    F16,
    /// 8-bit integers with a half-precision scale per 32 elements of a token's head: 34 bytes per 32 elements.
    Q8_0,
}

impl fmt::Display for CacheKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        })
    }
}

impl CacheKind {
    /// What a head's dimension has to be a multiple of.
    pub fn multiple(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 8,
            Self::Q8_0 => GROUP,
        }
    }

    /// Bytes of `elements` elements, a multiple of [`CacheKind::multiple`].
    pub(super) fn bytes(self, elements: usize) -> Option<usize> {
        match self {
            Self::F32 => elements.checked_mul(4),
            Self::F16 => elements.checked_mul(2),
            Self::Q8_0 => (elements / GROUP).checked_mul(GROUP + 2),
        }
    }
}
