//! A file: keys and tensors become bytes of GGUF, version 3.

use std::io::{self, Write};
use std::path::Path;

const ALIGNMENT: u64 = 32;

/// What a key says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// An unsigned number of 32 bits.
    U32(u32),
    /// An unsigned number of 64 bits.
    U64(u64),
    /// A 32-bit floating-point number.
    F32(f32),
    /// Yes or no.
    Bool(bool),
    /// Text.
    Text(String),
    /// Signed numbers of 32 bits.
    I32s(Vec<i32>),
    /// 32-bit floating-point numbers.
    F32s(Vec<f32>),
    /// Texts.
    Texts(Vec<String>),
}

/// A tensor that a file lists.
///
/// ```
/// use vramkit_testing::gguf::{SparseModel, SparseTensor};
///
/// let mut file = SparseModel::phi_3_mini("f16").file();
/// file.tensors.push(SparseTensor::new("blk.0.attn_sinks.weight", "f32", &[32]));
/// assert_eq!(file.tensors.last().map(SparseTensor::bytes), Some(128));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SparseTensor {
    /// Its name.
    pub name: String,
    /// Its type, by ggml's name.
    pub kind: &'static str,
    /// Its sizes, the innermost first.
    pub sizes: Vec<u64>,
}

impl SparseTensor {
    /// A tensor of a type by ggml's name.
    ///
    /// ```
    /// use vramkit_testing::gguf::SparseTensor;
    ///
    /// assert_eq!(SparseTensor::new("output.weight", "q8_0", &[64, 2]).bytes(), 4 * 34);
    /// ```
    ///
    /// # Panics
    /// Of types that are not in the table of this crate.
    pub fn new(name: impl Into<String>, kind: &str, sizes: &[u64]) -> Self {
        let (kind, ..) = layout(kind);
        Self { name: name.into(), kind, sizes: sizes.to_vec() }
    }

    /// Bytes of it in the file; as many as fit into 64 bits of what is larger.
    pub fn bytes(&self) -> u64 {
        let (_, _, numbers, bytes) = layout(self.kind);
        let blocks = self.sizes.first().map_or(1, |row| row / numbers);
        self.sizes
            .iter()
            .skip(1)
            .fold(blocks.saturating_mul(bytes), |product, &size| product.saturating_mul(size))
    }
}

/// ggml's types: name, number in a file, numbers in a block, bytes of a block.
type Layout = (&'static str, u32, u64, u64);

const TYPES: [Layout; 16] = [
    ("f32", 0, 1, 4),
    ("f16", 1, 1, 2),
    ("q4_0", 2, 32, 18),
    ("q4_1", 3, 32, 20),
    ("q5_0", 6, 32, 22),
    ("q5_1", 7, 32, 24),
    ("q8_0", 8, 32, 34),
    ("q2_K", 10, 256, 84),
    ("q3_K", 11, 256, 110),
    ("q4_K", 12, 256, 144),
    ("q5_K", 13, 256, 176),
    ("q6_K", 14, 256, 210),
    ("iq4_nl", 20, 32, 18),
    ("iq4_xs", 23, 256, 136),
    ("bf16", 30, 1, 2),
    ("mxfp4", 39, 32, 17),
];

fn layout(kind: &str) -> Layout {
    match TYPES.iter().find(|known| known.0 == kind) {
        Some(&known) => known,
        None => panic!("`{kind}` is no type of this table"),
    }
}

/// The type that llama.cpp's quantiser takes for a matrix whose rows are no multiple of a block.
pub(super) fn fitting(kind: &'static str, row: u64) -> &'static str {
    let fits = |kind: &str| row.is_multiple_of(layout(kind).2);
    let smaller = match kind {
        "q2_K" | "q3_K" | "iq4_xs" => "iq4_nl",
        "q4_K" => "q5_0",
        "q5_K" => "q5_1",
        "q6_K" => "q8_0",
        other => other,
    };
    [kind, smaller].into_iter().find(|kind| fits(kind)).unwrap_or("f16")
}

pub(super) fn known(kind: &str) -> &'static str {
    layout(kind).0
}

/// The keys and tensors of a file whose data is a hole.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SparseFile {
    /// Keys with what they say, in the file's order.
    pub keys: Vec<(String, Value)>,
    /// Tensors, in the file's order.
    pub tensors: Vec<SparseTensor>,
}

impl SparseFile {
    /// Says something else of a key, or of a new one.
    pub fn set(&mut self, key: &str, value: Value) {
        match self.keys.iter_mut().find(|(name, _)| name == key) {
            Some(known) => known.1 = value,
            None => self.keys.push((key.to_owned(), value)),
        }
    }

    /// Bytes of all tensors, without what aligns them.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.iter().fold(0, |sum, tensor| sum.saturating_add(tensor.bytes()))
    }

    /// The header alone, up to where the first tensor begins.
    pub fn header(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            text(&mut bytes, key);
            put(&mut bytes, value);
        }
        let mut offset = 0u64;
        for tensor in &self.tensors {
            text(&mut bytes, &tensor.name);
            bytes.extend((tensor.sizes.len() as u32).to_le_bytes());
            tensor.sizes.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
            bytes.extend(layout(tensor.kind).1.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
            offset = aligned(offset.saturating_add(tensor.bytes()));
        }
        bytes.resize(aligned(bytes.len() as u64) as usize, 0);
        bytes
    }

    /// Writes the header, and a hole as large as the tensors, which takes no room on file systems that know holes.
    ///
    /// # Errors
    /// What the system says, of files that are larger than its file system keeps too.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let header = self.header();
        let data = self.tensors.iter().fold(0u64, |end, tensor| aligned(end.saturating_add(tensor.bytes())));
        let mut file = std::fs::File::create(path)?;
        file.write_all(&header)?;
        file.set_len((header.len() as u64).saturating_add(data))
    }
}

pub(super) fn aligned(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(ALIGNMENT).unwrap_or(u64::MAX / ALIGNMENT * ALIGNMENT)
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn put(bytes: &mut Vec<u8>, value: &Value) {
    let kind: u32 = match value {
        Value::U32(_) => 4,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::Text(_) => 8,
        Value::I32s(_) | Value::F32s(_) | Value::Texts(_) => 9,
        Value::U64(_) => 10,
    };
    bytes.extend(kind.to_le_bytes());
    match value {
        Value::U32(number) => bytes.extend(number.to_le_bytes()),
        Value::U64(number) => bytes.extend(number.to_le_bytes()),
        Value::F32(number) => bytes.extend(number.to_le_bytes()),
        Value::Bool(yes) => bytes.push(u8::from(*yes)),
        Value::Text(said) => text(bytes, said),
        Value::I32s(numbers) => {
            bytes.extend(5u32.to_le_bytes());
            bytes.extend((numbers.len() as u64).to_le_bytes());
            numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        }
        Value::F32s(numbers) => {
            bytes.extend(6u32.to_le_bytes());
            bytes.extend((numbers.len() as u64).to_le_bytes());
            numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        }
        Value::Texts(texts) => {
            bytes.extend(8u32.to_le_bytes());
            bytes.extend((texts.len() as u64).to_le_bytes());
            texts.iter().for_each(|said| text(bytes, said));
        }
    }
}
