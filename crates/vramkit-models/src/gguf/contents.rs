//! What a GGUF file holds beside its header: vocabularies and weights, read when asked for.
//!
//! In: a path. Out: [`GgufFile`], which copies any array of the metadata and any part of any tensor out of the files. Never here:
//! the whole of the weights in memory, or another type than the file's.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::read::ArrayPlace;
use super::split::{Whole, whole};
use super::{GgufHeader, GgufValue, shape_of};
use crate::error::ReadError;
use crate::file::Identity;
use crate::shape::ModelShape;

/// Numbers of the types of values: unsigned and signed 32 bits, 32-bit floating point, text.
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const TEXT: u32 = 8;
/// Most bytes of one array that are read.
const ARRAY: u64 = 1 << 30;

/// A GGUF model's files, open for reading.
///
/// ```no_run
/// use vramkit_models::gguf::GgufFile;
///
/// let file = GgufFile::open("Phi-3-mini-4k-instruct-q4.gguf".as_ref())?;
/// let tokens = file.texts("tokenizer.ggml.tokens")?.unwrap_or_default();
/// let mut first = vec![0; 1024];
/// file.read_tensor(0, 0, &mut first)?;
/// println!("{} tokens; {} begins with {first:?}", tokens.len(), file.header().tensors[0].name);
/// # Ok::<(), vramkit_models::ReadError>(())
/// ```
#[derive(Debug)]
pub struct GgufFile {
    header: GgufHeader,
    files: Vec<OpenFile>,
    starts: Vec<(usize, u64)>,
    arrays: BTreeMap<String, ArrayPlace>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    identity: Identity,
    file: File,
}

impl OpenFile {
    fn failed(&self, error: std::io::Error) -> ReadError {
        ReadError::Io { path: self.path.clone(), error }
    }

    #[cfg(unix)]
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), ReadError> {
        use std::os::unix::fs::FileExt;
        self.file.read_exact_at(into, offset).map_err(|error| self.failed(error))
    }

    #[cfg(not(unix))]
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), ReadError> {
        use std::io::{Read, Seek, SeekFrom};
        // A handle of its own has a place of its own.
        let mut file = self.identity.open(&self.path).map_err(|error| self.failed(error))?;
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(into))
            .map_err(|error| self.failed(error))
    }

    fn check(&self) -> Result<(), ReadError> {
        let now = self.file.metadata().map_err(|error| self.failed(error))?;
        if Identity::of(&now) == self.identity {
            return Ok(());
        }
        Err(ReadError::within(&self.path.display().to_string(), "has changed since its header was read"))
    }
}

/// Texts of an array, one behind another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    all: String,
    ends: Vec<usize>,
}

impl Texts {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text at this place.
    pub fn get(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)?;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        self.all.get(start..end)
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|at| self.get(at))
    }
}

impl<T: AsRef<str>> FromIterator<T> for Texts {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let mut found = Self::default();
        for text in texts {
            found.all.push_str(text.as_ref());
            found.ends.push(found.all.len());
        }
        found
    }
}

impl GgufFile {
    /// Opens a model's only file, or the first of several and the others beside it.
    ///
    /// # Errors
    /// As [`GgufHeader::read`].
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let Whole { header, files, starts, arrays } = whole(path)?;
        let open = |(path, identity): (PathBuf, Identity)| match identity.open(&path) {
            Ok(file) => Ok(OpenFile { path, identity, file }),
            Err(error) => Err(ReadError::Io { path, error }),
        };
        let files = files.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { header, files, starts, arrays })
    }

    /// What the files say of themselves.
    pub fn header(&self) -> &GgufHeader {
        &self.header
    }

    /// What the model keeps of a sequence, layer by layer, and how wide it is.
    ///
    /// # Errors
    /// An architecture that is not known, a key that is missing or contradicts another: each named.
    pub fn shape(&self) -> Result<ModelShape, ReadError> {
        shape_of(&self.path().display().to_string(), &self.header)
    }

    /// The first file.
    pub fn path(&self) -> &Path {
        &self.files[0].path
    }

    /// Copies bytes of a tensor, an index into the header's, from its byte `offset` on until `into` is full.
    ///
    /// # Errors
    /// A tensor that is not there, a range that passes its end, a file that cannot be read. `into` then holds anything.
    pub fn read_tensor(&self, tensor: usize, offset: u64, into: &mut [u8]) -> Result<(), ReadError> {
        let wrong = |reason: String| ReadError::within(&self.path().display().to_string(), reason);
        let (Some(listed), Some(&(file, start))) = (self.header.tensors.get(tensor), self.starts.get(tensor))
        else {
            let count = self.header.tensors.len();
            return Err(wrong(format!("no tensor number {tensor}; there are {count}")));
        };
        let end = offset.checked_add(into.len() as u64);
        if end.is_none_or(|end| end > listed.bytes) {
            let (name, bytes, length) = (&listed.name, listed.bytes, into.len());
            return Err(wrong(format!(
                "tensor `{name}` has {bytes} bytes; {length} from {offset} on are wanted"
            )));
        }
        self.files[file].read(start + offset, into)
    }

    /// Fails when a file is no longer what it was when it was opened: what was read of it since is of two files.
    ///
    /// # Errors
    /// The file that has changed.
    pub fn check_unchanged(&self) -> Result<(), ReadError> {
        self.files.iter().try_for_each(OpenFile::check)
    }

    /// An array of texts; `None` when there is no such key.
    ///
    /// # Errors
    /// The key has another type, or a text is no UTF-8.
    pub fn texts(&self, key: &str) -> Result<Option<Texts>, ReadError> {
        let Some((place, bytes)) = self.array(key, "texts", |kind| kind == TEXT)? else {
            return Ok(None);
        };
        let wrong = |reason: &str| {
            ReadError::within(&self.path().display().to_string(), format!("`{key}`: {reason}"))
        };
        let changed = || wrong("has changed since the header was read");
        let (mut all, mut ends) = (Vec::with_capacity(bytes.len()), Vec::with_capacity(place.count as usize));
        let mut rest = bytes.as_slice();
        for _ in 0..place.count {
            let (length, behind) = rest.split_first_chunk::<8>().ok_or_else(changed)?;
            let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| changed())?;
            let (text, behind) = behind.split_at_checked(length).ok_or_else(changed)?;
            all.extend_from_slice(text);
            ends.push(all.len());
            rest = behind;
        }
        let all = String::from_utf8(all).map_err(|_| wrong("a text of it is no UTF-8"))?;
        if ends.iter().any(|&end| !all.is_char_boundary(end)) {
            return Err(wrong("a text of it is no UTF-8"));
        }
        Ok(Some(Texts { all, ends }))
    }

    /// An array of 32-bit floating-point numbers; `None` when there is no such key.
    ///
    /// # Errors
    /// The key has another type.
    pub fn floats(&self, key: &str) -> Result<Option<Vec<f32>>, ReadError> {
        let found = self.array(key, "32-bit floating-point numbers", |kind| kind == F32)?;
        Ok(found.map(|(_, bytes)| words(&bytes).map(f32::from_bits).collect()))
    }

    /// An array of 32-bit whole numbers; `None` when there is no such key.
    ///
    /// # Errors
    /// The key has another type, or a number is of more than 31 bits.
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i32>>, ReadError> {
        let wrong = |reason: String| ReadError::within(&self.path().display().to_string(), reason);
        if let Some(GgufValue::Integers(values)) = self.header.metadata.get(key) {
            let each = values.iter().map(|&value| {
                i32::try_from(value).map_err(|_| wrong(format!("`{key}`: {value} is out of range")))
            });
            return each.collect::<Result<_, _>>().map(Some);
        }
        let Some((place, bytes)) =
            self.array(key, "32-bit whole numbers", |kind| matches!(kind, U32 | I32))?
        else {
            return Ok(None);
        };
        let found: Vec<i32> = words(&bytes).map(u32::cast_signed).collect();
        if place.kind == U32 && found.iter().any(|&value| value < 0) {
            return Err(wrong(format!("`{key}`: a number of it is out of range")));
        }
        Ok(Some(found))
    }

    /// The bytes of an array's values.
    fn array(
        &self,
        key: &str,
        what: &str,
        is_meant: impl Fn(u32) -> bool,
    ) -> Result<Option<(ArrayPlace, Vec<u8>)>, ReadError> {
        let wrong = |reason: String| ReadError::within(&self.path().display().to_string(), reason);
        let Some(place) = self.arrays.get(key) else {
            return match self.header.metadata.contains_key(key) {
                true => Err(wrong(format!("`{key}` is no array of {what}"))),
                false => Ok(None),
            };
        };
        if !is_meant(place.kind) {
            return Err(wrong(format!("`{key}` is no array of {what}")));
        }
        let length = place.end - place.start;
        if length > ARRAY {
            return Err(wrong(format!("`{key}` takes {length} bytes; up to {ARRAY} are read")));
        }
        let mut bytes = vec![0; length as usize];
        self.files[0].read(place.start, &mut bytes)?;
        Ok(Some((*place, bytes)))
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word))
}
