//! How a cache stores its numbers, by the names that current engines have.

use std::str::FromStr;

use crate::error::nearest;

/// How the cache's numbers are stored: bytes for each so many.
///
/// ```
/// use vramkit_models::CacheType;
///
/// let quantised: CacheType = "q8_0".parse()?;
/// assert_eq!(quantised.bytes_of(1024), 1088);
/// assert!("q9".parse::<CacheType>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheType {
    name: &'static str,
    bytes: u64,
    elements: u64,
}

/// The types that current engines have; GGML's blocks are 32 numbers with their scale.
const CACHE_TYPES: [CacheType; 9] = [
    CacheType { name: "f32", bytes: 4, elements: 1 },
    CacheType { name: "f16", bytes: 2, elements: 1 },
    CacheType { name: "bf16", bytes: 2, elements: 1 },
    CacheType { name: "fp8", bytes: 1, elements: 1 },
    CacheType { name: "q8_0", bytes: 34, elements: 32 },
    CacheType { name: "q5_1", bytes: 24, elements: 32 },
    CacheType { name: "q5_0", bytes: 22, elements: 32 },
    CacheType { name: "q4_1", bytes: 20, elements: 32 },
    CacheType { name: "q4_0", bytes: 18, elements: 32 },
];

impl FromStr for CacheType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_lowercase();
        CACHE_TYPES.into_iter().find(|known| known.name == lower).ok_or_else(|| {
            let names = CACHE_TYPES.map(|known| known.name);
            format!("no such cache type: {}{}", names.join(", "), nearest(&lower, names.into_iter()))
        })
    }
}

impl CacheType {
    /// Numbers of 16 bits: what engines take when nothing is said.
    pub const F16: Self = CACHE_TYPES[1];

    /// Its name.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Bytes of so many numbers; as many as there can be where that is over it.
    pub fn bytes_of(self, elements: u64) -> u64 {
        elements.checked_mul(self.bytes).map_or(u64::MAX, |bytes| bytes.div_ceil(self.elements))
    }
}

#[cfg(test)]
mod tests {
    use super::CacheType;

    #[test]
    fn blocks_are_whole() {
        let bytes = |name: &str, elements| name.parse::<CacheType>().unwrap().bytes_of(elements);
        assert_eq!((bytes("F16", 3), bytes("fp8", 3), bytes("q4_0", 64)), (6, 3, 36));
        assert_eq!((bytes("q8_0", 1), bytes("f32", u64::MAX)), (2, u64::MAX));
        assert!("q9".parse::<CacheType>().unwrap_err().contains("q8_0"));
    }
}
