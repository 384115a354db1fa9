//! The header of one safetensors file.
//!
//! In: a file. Out: the tensors that it stores, in the order of their data. The format's own crate reads a header from the whole file
//! in memory alone; here the header is read, and the data's length is held against the file's. Never here: other files.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use vramkit_units::ByteSize;

use crate::error::ReadError;
use crate::source::Source;
use crate::stored::StoredTensor;

/// Longest header, bytes (the format's limit).
const HEADER: u64 = 100_000_000;

/// Types of numbers, and bits of one.
const TYPES: &[(&str, u64)] = &[
    ("BOOL", 8),
    ("F4", 4),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("U8", 8),
    ("I8", 8),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("I16", 16),
    ("U16", 16),
    ("F16", 16),
    ("BF16", 16),
    ("I32", 32),
    ("U32", 32),
    ("F32", 32),
    ("C64", 64),
    ("F64", 64),
    ("I64", 64),
    ("U64", 64),
];

/// A tensor's entry.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The entries in the file's order, of which a map would lose those that are there twice.
struct Entries<'a>(Vec<(String, Entry<'a>)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Entries<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        entries.push((name, map.next_value()?));
                    }
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// The tensors of one file, in the order of their data.
///
/// # Errors
/// What is wrong with the header, by the tensor's name: a type that is not known, bytes that do not match the shape, an
/// overlap, a hole, data that the file does not hold.
pub(crate) fn file(path: &Path) -> Result<Vec<StoredTensor>, ReadError> {
    let mut source = Source::open(path)?;
    let length = source.u64("the header's length")?;
    if length > HEADER {
        return Err(source.wrong(format!(
            "says that its header is of {length} bytes; up to {HEADER} are allowed, so it is no safetensors file"
        )));
    }
    let header = source.take(length as usize, "the header")?.to_vec();
    let data = source.remaining();
    let Entries(mut entries) = serde_json::from_slice(&header)
        .map_err(|error| source.wrong(format!("its header is no header of safetensors: {error}")))?;
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut names = HashSet::with_capacity(entries.len());
    if let Some((twice, _)) = entries.iter().find(|(name, _)| !names.insert(name.as_str())) {
        return Err(source.wrong(format!("tensor `{twice}`: it is there twice")));
    }
    let mut end = 0;
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, Entry { dtype, shape, data_offsets: (from, to) }) in entries {
        let wrong = |reason: String| source.wrong(format!("tensor `{name}`: {reason}"));
        let Some(&(kind, bits)) = TYPES.iter().find(|known| known.0 == dtype) else {
            let known: Vec<_> = TYPES.iter().map(|known| known.0).collect();
            return Err(wrong(format!("its type `{dtype}` is not known; known are {}", known.join(", "))));
        };
        let bits = shape.iter().try_fold(bits, |product, &length| product.checked_mul(length));
        let size = to.checked_sub(from);
        if bits.is_none_or(|bits| !bits.is_multiple_of(8) || Some(bits / 8) != size) {
            let shape: Vec<_> = shape.iter().map(u64::to_string).collect();
            return Err(wrong(format!(
                "its data is from byte {from} to {to}, which is not what {} numbers of {kind} take",
                shape.join(" × ")
            )));
        }
        if from != end {
            let what = if from < end { "overlaps what is before it" } else { "leaves a hole before it" };
            return Err(wrong(format!("its data begins at byte {from} and {what}, which ends at {end}")));
        }
        if to > data {
            return Err(wrong(format!(
                "its data ends at byte {to}, and the file has {data} bytes of data; it is cut short or damaged"
            )));
        }
        end = to;
        tensors.push(StoredTensor::new(name, shape, kind, ByteSize::new(to - from)));
    }
    if end != data {
        return Err(source.wrong(format!("has {data} bytes of data, of which its header names {end}")));
    }
    Ok(tensors)
}
