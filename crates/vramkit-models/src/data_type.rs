//! Types of a tensor's elements, by their numbers in ONNX's standard.

use std::fmt;

/// An element type, by its number in the standard (`TensorProto.DataType`).
///
/// ```
/// use vramkit_models::DataType;
///
/// assert_eq!((DataType::FLOAT16.number(), DataType::FLOAT16.bits()), (10, Some(16)));
/// assert_eq!(DataType::FLOAT16.to_string(), "float16");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DataType(i32);

/// Every type of which a size is known: number, name, bits of an element.
const KNOWN: [(i32, &str, u64); 25] = [
    (1, "float32", 32),
    (2, "uint8", 8),
    (3, "int8", 8),
    (4, "uint16", 16),
    (5, "int16", 16),
    (6, "int32", 32),
    (7, "int64", 64),
    (9, "bool", 8),
    (10, "float16", 16),
    (11, "float64", 64),
    (12, "uint32", 32),
    (13, "uint64", 64),
    (14, "complex64", 64),
    (15, "complex128", 128),
    (16, "bfloat16", 16),
    (17, "float8e4m3fn", 8),
    (18, "float8e4m3fnuz", 8),
    (19, "float8e5m2", 8),
    (20, "float8e5m2fnuz", 8),
    (21, "uint4", 4),
    (22, "int4", 4),
    (23, "float4e2m1", 4),
    (24, "float8e8m0", 8),
    (25, "uint2", 2),
    (26, "int2", 2),
];

impl DataType {
    /// Floating-point numbers of 32 bits.
    pub const FLOAT: Self = Self(1);
    /// Numbers of 8 bits without sign.
    pub const UINT8: Self = Self(2);
    /// Integers of 32 bits.
    pub const INT32: Self = Self(6);
    /// Integers of 64 bits.
    pub const INT64: Self = Self(7);
    /// Text, of no fixed size.
    pub const STRING: Self = Self(8);
    /// Truth values, a byte each.
    pub const BOOL: Self = Self(9);
    /// Floating-point numbers of 16 bits.
    pub const FLOAT16: Self = Self(10);
    /// Integers of 8 bits.
    pub(crate) const INT8: Self = Self(3);
    /// Numbers of 32 bits without sign.
    pub(crate) const UINT32: Self = Self(12);
    /// Floating-point numbers of 16 bits with the exponents of those of 32.
    pub(crate) const BFLOAT16: Self = Self(16);

    /// The type of this number, which need not be one of the standard's.
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// The type that the standard calls so, as `FLOAT16` or `INT64`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "FLOAT" => Some(Self::FLOAT),
            "DOUBLE" => Some(Self(11)),
            "STRING" => Some(Self::STRING),
            other => {
                KNOWN.iter().find(|known| known.1.eq_ignore_ascii_case(other)).map(|known| Self(known.0))
            }
        }
    }

    /// Its number in the standard.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// Bits of an element; `None` for text, which has no fixed size, and for numbers that the standard does not know.
    pub fn bits(self) -> Option<u64> {
        KNOWN.iter().find(|known| known.0 == self.0).map(|known| known.2)
    }

    /// Bytes of a tensor of this many elements, the last byte filled up.
    pub(crate) fn bytes(self, elements: u64) -> Result<u64, String> {
        let bits = self.bits().ok_or_else(|| match self.0 {
            8 => "text has no size that can be planned".to_owned(),
            other => format!("element type {other} is not one of the standard's"),
        })?;
        let too_large = || "it has 2^64 bits or more".to_owned();
        Ok(elements.checked_mul(bits).ok_or_else(too_large)?.div_ceil(8))
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match KNOWN.iter().find(|known| known.0 == self.0) {
            Some((_, name, _)) => f.pad(name),
            None => f.pad(&format!("type {}", self.0)),
        }
    }
}
