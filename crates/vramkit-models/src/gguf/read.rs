//! One GGUF file's header (`docs/gguf.md` of ggml): magic, version, counts, keys with their values, tensors.
//!
//! In: a file. Out: [`FilePart`]: keys in order, tensors with their bytes, each inside the file and none over another. Nothing
//! is allocated by a count that the file states; what is kept was read.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use crate::error::ReadError;
use crate::file::Identity;
use crate::gguf::{GgufTensor, GgufValue, TensorType};
use crate::source::Source;

/// Longest key, bytes (the format's limit).
const KEY: u64 = u16::MAX as u64;
/// Longest name of a tensor, bytes: ggml keeps 64 with the end.
const NAME: u64 = 63;
/// Longest text that is a value, bytes. Chat templates are some ten thousand.
const TEXT: u64 = 16 << 20;
/// Most values of an array that are kept.
const KEPT: u64 = 4096;
/// Most texts of an array: the largest vocabulary is far below.
const TEXTS: u64 = 1 << 24;
/// The fewest bytes of a key with its value, and of a tensor's entry.
const LEAST_KEY: u64 = 8 + 1 + 4 + 1;
const LEAST_TENSOR: u64 = 8 + 1 + 4 + 8 + 4 + 8;
/// Alignment of tensors where no key says another.
const ALIGNMENT: u64 = 32;

/// What one file says.
pub(super) struct FilePart {
    pub metadata: BTreeMap<String, GgufValue>,
    pub tensors: Vec<GgufTensor>,
    /// Where each tensor begins in the file.
    pub starts: Vec<u64>,
    /// Where the arrays are whose values are not in `metadata`.
    pub arrays: BTreeMap<String, ArrayPlace>,
    pub identity: Identity,
}

/// An array that stays in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ArrayPlace {
    /// The type of its values, by its number.
    pub kind: u32,
    pub count: u64,
    /// Where its values begin and end in the file.
    pub start: u64,
    pub end: u64,
}

/// Reads a file's header.
pub(super) fn read(path: &Path) -> Result<FilePart, ReadError> {
    let mut source = Source::open(path)?;
    let (tensor_count, key_count) = counts(&mut source)?;
    let mut metadata = BTreeMap::new();
    let mut arrays = BTreeMap::new();
    for at in 0..key_count {
        let key = source.text(KEY, &format!("key {at} of {key_count}"))?;
        if key.is_empty() {
            return Err(source.wrong(format!("key {at} of {key_count} has no name")));
        }
        let value = value(&mut source, &key, &mut arrays)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(source.wrong(format!("key `{key}` is there twice")));
        }
    }
    let alignment = alignment(&source, &metadata)?;
    let mut tensors = Vec::new();
    let mut offsets = Vec::new();
    let mut names = HashSet::new();
    for at in 0..tensor_count {
        let (tensor, offset) = tensor(&mut source, at, tensor_count)?;
        if !names.insert(tensor.name.clone()) {
            return Err(source.wrong(format!("tensor `{}` is there twice", tensor.name)));
        }
        if !offset.is_multiple_of(alignment) {
            let name = &tensor.name;
            return Err(source.wrong(format!(
                "tensor `{name}` is at offset {offset}, which is no multiple of the alignment of {alignment}"
            )));
        }
        tensors.push(tensor);
        offsets.push(offset);
    }
    let data = source.position().next_multiple_of(alignment);
    places(&source, &tensors, &offsets, data)?;
    let starts = offsets.iter().map(|offset| data + offset).collect();
    Ok(FilePart { metadata, tensors, starts, arrays, identity: source.identity() })
}

/// Magic, version, and how many tensors and keys there are.
fn counts(source: &mut Source) -> Result<(u64, u64), ReadError> {
    let magic = source.take(4, "the magic number")?;
    if magic != b"GGUF" {
        return Err(source.wrong("does not begin with `GGUF`, so it is no GGUF file"));
    }
    let version = source.u32("the version")?;
    match version {
        2 | 3 => {}
        1 => {
            return Err(source.wrong("is GGUF of version 1, which engines no longer read; convert it again"));
        }
        _ if matches!(version.swap_bytes(), 1..=3) => {
            return Err(source.wrong("is big-endian GGUF; little-endian files are read"));
        }
        _ => return Err(source.wrong(format!("is GGUF of version {version}; 2 and 3 are read"))),
    }
    let tensors = source.u64("the number of tensors")?;
    let keys = source.u64("the number of keys")?;
    for (what, count, least) in [("keys", keys, LEAST_KEY), ("tensors", tensors, LEAST_TENSOR)] {
        if count > source.remaining() / least {
            let left = source.remaining();
            return Err(
                source.wrong(format!("says that it has {count} {what}, which {left} bytes cannot hold"))
            );
        }
    }
    Ok((tensors, keys))
}

/// Types of values, by their numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unsigned(u8),
    Signed(u8),
    Float(u8),
    Bool,
    Text,
    Array,
}

impl Kind {
    fn numbered(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Unsigned(1),
            1 => Self::Signed(1),
            2 => Self::Unsigned(2),
            3 => Self::Signed(2),
            4 => Self::Unsigned(4),
            5 => Self::Signed(4),
            6 => Self::Float(4),
            7 => Self::Bool,
            8 => Self::Text,
            9 => Self::Array,
            10 => Self::Unsigned(8),
            11 => Self::Signed(8),
            12 => Self::Float(8),
            _ => return None,
        })
    }

    /// The next type, with its number.
    fn read(source: &mut Source, key: &str) -> Result<(u32, Self), ReadError> {
        let number = source.u32(key)?;
        let kind = Self::numbered(number).ok_or_else(|| {
            source.wrong(format!("the value of `{key}` has type {number}; types 0 to 12 are known"))
        })?;
        Ok((number, kind))
    }

    /// Bytes of a value of a fixed size.
    fn bytes(self) -> u8 {
        match self {
            Self::Unsigned(bytes) | Self::Signed(bytes) | Self::Float(bytes) => bytes,
            Self::Bool => 1,
            Self::Text | Self::Array => 0,
        }
    }
}

type Arrays = BTreeMap<String, ArrayPlace>;

fn value(source: &mut Source, key: &str, arrays: &mut Arrays) -> Result<GgufValue, ReadError> {
    match Kind::read(source, key)?.1 {
        Kind::Text => Ok(GgufValue::Text(source.text(TEXT, key)?)),
        Kind::Array => array(source, key, arrays),
        kind => fixed(source, key, kind),
    }
}

/// A number or a truth value.
fn fixed(source: &mut Source, key: &str, kind: Kind) -> Result<GgufValue, ReadError> {
    let mut bytes = [0; 8];
    let count = usize::from(kind.bytes());
    bytes[..count].copy_from_slice(source.take(count, key)?);
    let raw = u64::from_le_bytes(bytes);
    Ok(match kind {
        Kind::Signed(count) => {
            let unused = 64 - 8 * u32::from(count);
            GgufValue::Integer((((raw << unused) as i64) >> unused).into())
        }
        Kind::Float(4) => GgufValue::Float(f32::from_bits(raw as u32).into()),
        Kind::Float(_) => GgufValue::Float(f64::from_bits(raw)),
        Kind::Bool => GgufValue::Bool(raw != 0),
        _ => GgufValue::Integer(raw.into()),
    })
}

fn array(source: &mut Source, key: &str, arrays: &mut Arrays) -> Result<GgufValue, ReadError> {
    let (number, kind) = Kind::read(source, key)?;
    let count = source.u64(key)?;
    let start = source.position();
    let value = values(source, key, kind, count)?;
    if matches!(value, GgufValue::Array(_)) {
        let place = ArrayPlace { kind: number, count, start, end: source.position() };
        arrays.insert(key.to_owned(), place);
    }
    Ok(value)
}

fn values(source: &mut Source, key: &str, kind: Kind, count: u64) -> Result<GgufValue, ReadError> {
    match kind {
        Kind::Array => Err(source.wrong(format!("`{key}` is an array of arrays, which ggml does not read"))),
        Kind::Text => {
            if count > TEXTS {
                return Err(
                    source.wrong(format!("`{key}` is an array of {count} texts; up to {TEXTS} are believed"))
                );
            }
            source.skip_texts(count, key)?;
            Ok(GgufValue::Array(count))
        }
        Kind::Float(_) => skipped(source, key, kind, count),
        _ if count > KEPT => skipped(source, key, kind, count),
        Kind::Bool => {
            let bytes = source.take(count as usize, key)?;
            Ok(GgufValue::Bools(bytes.iter().map(|&byte| byte != 0).collect()))
        }
        _ => {
            let mut values = Vec::new();
            for _ in 0..count {
                if let GgufValue::Integer(value) = fixed(source, key, kind)? {
                    values.push(value);
                }
            }
            Ok(GgufValue::Integers(values))
        }
    }
}

fn skipped(source: &mut Source, key: &str, kind: Kind, count: u64) -> Result<GgufValue, ReadError> {
    source.skip(count.saturating_mul(kind.bytes().into()), key)?;
    Ok(GgufValue::Array(count))
}

fn alignment(source: &Source, metadata: &BTreeMap<String, GgufValue>) -> Result<u64, ReadError> {
    match metadata.get("general.alignment") {
        None => Ok(ALIGNMENT),
        Some(GgufValue::Integer(value)) if (1..=1 << 30).contains(value) && value.count_ones() == 1 => {
            Ok(*value as u64)
        }
        Some(_) => Err(source.wrong("`general.alignment` is no power of two")),
    }
}

fn tensor(source: &mut Source, at: u64, count: u64) -> Result<(GgufTensor, u64), ReadError> {
    let what = format!("tensor {at} of {count}");
    let name = source.text(NAME, &format!("the name of {what}"))?;
    let what = format!("tensor `{name}`");
    let dimensions = source.u32(&what)?;
    if dimensions > 4 {
        return Err(source.wrong(format!("{what} has {dimensions} dimensions; up to 4 are known")));
    }
    let mut dims = [1; 4];
    for length in dims.iter_mut().take(dimensions as usize) {
        *length = source.u64(&what)?;
    }
    let number = source.u32(&what)?;
    let kind = TensorType::numbered(number).ok_or_else(|| {
        let known: Vec<_> =
            TensorType::all().map(|kind| format!("{} ({})", kind.number(), kind.name())).collect();
        source.wrong(format!("{what} has type {number}, which is not known; known are {}", known.join(", ")))
    })?;
    let shape = || dims.map(|length| length.to_string()).join(" × ");
    let elements = dims.iter().try_fold(1u64, |product, &length| product.checked_mul(length));
    if elements.is_none_or(|elements| elements == 0 || i64::try_from(elements).is_err()) {
        return Err(source.wrong(format!("{what} is of {} numbers, which is no tensor", shape())));
    }
    let bytes = kind
        .row_bytes(dims[0])
        .and_then(|row| dims[1..].iter().try_fold(row, |product, &length| product.checked_mul(length)));
    let bytes = bytes.ok_or_else(|| {
        let (name, block) = (kind.name(), kind.block_elements());
        source.wrong(format!("{what} is of {} numbers in {name}, whose rows are blocks of {block}", shape()))
    })?;
    let offset = source.u64(&what)?;
    Ok((GgufTensor { name, dims, kind, bytes }, offset))
}

/// Every tensor is inside the file, and none over another.
fn places(source: &Source, tensors: &[GgufTensor], offsets: &[u64], data: u64) -> Result<(), ReadError> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|&at| offsets[at]);
    let mut before: Option<usize> = None;
    for at in order {
        let (tensor, offset) = (&tensors[at], offsets[at]);
        let end = data.checked_add(offset).and_then(|start| start.checked_add(tensor.bytes));
        if end.is_none_or(|end| end > source.length) {
            return Err(source.wrong(format!(
                "tensor `{}` of {} bytes is at offset {offset} of the data, which begins at byte {data}; the file ends at {}: \
                 it is cut short or damaged",
                tensor.name, tensor.bytes, source.length
            )));
        }
        if let Some(earlier) = before.filter(|&earlier| offsets[earlier] + tensors[earlier].bytes > offset) {
            return Err(source.wrong(format!(
                "tensors `{}` and `{}` overlap: the first ends at offset {}, the second begins at {offset}",
                tensors[earlier].name,
                tensor.name,
                offsets[earlier] + tensors[earlier].bytes
            )));
        }
        before = Some(at);
    }
    Ok(())
}
