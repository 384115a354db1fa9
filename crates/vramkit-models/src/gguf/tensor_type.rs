//! Types of stored numbers, by their numbers in ggml.

/// A type of stored numbers: a block of so many numbers takes so many bytes.
///
/// ```
/// use vramkit_models::gguf::TensorType;
///
/// let q4_0 = TensorType::named("q4_0").expect("a type of ggml's");
/// assert_eq!(q4_0.row_bytes(64), Some(36));
/// assert_eq!(q4_0.row_bytes(33), None); // no whole number of blocks
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    number: u32,
    name: &'static str,
    block_elements: u64,
    block_bytes: u64,
}

/// Every type of ggml's (`ggml.h`, `ggml-common.h`): number, name, numbers of a block, bytes of a block.
const KNOWN: &[(u32, &str, u64, u64)] = &[
    (0, "f32", 1, 4),
    (1, "f16", 1, 2),
    (2, "q4_0", 32, 18),
    (3, "q4_1", 32, 20),
    (6, "q5_0", 32, 22),
    (7, "q5_1", 32, 24),
    (8, "q8_0", 32, 34),
    (9, "q8_1", 32, 36),
    (10, "q2_K", 256, 84),
    (11, "q3_K", 256, 110),
    (12, "q4_K", 256, 144),
    (13, "q5_K", 256, 176),
    (14, "q6_K", 256, 210),
    (15, "q8_K", 256, 292),
    (16, "iq2_xxs", 256, 66),
    (17, "iq2_xs", 256, 74),
    (18, "iq3_xxs", 256, 98),
    (19, "iq1_s", 256, 50),
    (20, "iq4_nl", 32, 18),
    (21, "iq3_s", 256, 110),
    (22, "iq2_s", 256, 82),
    (23, "iq4_xs", 256, 136),
    (24, "i8", 1, 1),
    (25, "i16", 1, 2),
    (26, "i32", 1, 4),
    (27, "i64", 1, 8),
    (28, "f64", 1, 8),
    (29, "iq1_m", 256, 56),
    (30, "bf16", 1, 2),
    (34, "tq1_0", 256, 54),
    (35, "tq2_0", 256, 66),
    (39, "mxfp4", 32, 17),
    (40, "nvfp4", 64, 36),
    (41, "q1_0", 128, 18),
    (42, "q2_0", 64, 18),
];

impl TensorType {
    /// 32-bit floating-point numbers.
    pub const F32: Self = Self { number: 0, name: "f32", block_elements: 1, block_bytes: 4 };
    /// 16-bit floating-point numbers.
    pub const F16: Self = Self { number: 1, name: "f16", block_elements: 1, block_bytes: 2 };
    /// 16-bit floating-point numbers with an exponent of 8 bits.
    pub const BF16: Self = Self { number: 30, name: "bf16", block_elements: 1, block_bytes: 2 };
    /// 32-bit integers.
    pub const I32: Self = Self { number: 26, name: "i32", block_elements: 1, block_bytes: 4 };
    /// 64-bit integers.
    pub const I64: Self = Self { number: 27, name: "i64", block_elements: 1, block_bytes: 8 };

    /// The type of this number in a GGUF file.
    pub fn numbered(number: u32) -> Option<Self> {
        KNOWN.iter().find(|known| known.0 == number).copied().map(Self::of)
    }

    /// The type of this name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        KNOWN.iter().find(|known| known.1.eq_ignore_ascii_case(name)).copied().map(Self::of)
    }

    /// Every type, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        KNOWN.iter().copied().map(Self::of)
    }

    fn of((number, name, block_elements, block_bytes): (u32, &'static str, u64, u64)) -> Self {
        Self { number, name, block_elements, block_bytes }
    }

    /// Its number in a GGUF file.
    pub fn number(self) -> u32 {
        self.number
    }

    /// Its name, as ggml writes it.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Numbers of a block.
    pub fn block_elements(self) -> u64 {
        self.block_elements
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> u64 {
        self.block_bytes
    }

    /// Bytes of a row of so many numbers; `None` when they are no whole number of blocks, or over 2^64 bytes.
    pub fn row_bytes(self, elements: u64) -> Option<u64> {
        elements
            .is_multiple_of(self.block_elements)
            .then(|| (elements / self.block_elements).checked_mul(self.block_bytes))
            .flatten()
    }
}
