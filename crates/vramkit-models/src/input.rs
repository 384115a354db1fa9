//! Text and bytes from a file or from standard input, unpacked where they are gzip.
//!
//! ```text
//! path or `-` ──► Input ──► its first bytes (peek) ──► who reads it
//!            └ gzip ──► Bounded ──┘
//! ```
//!
//! Nothing seeks, so that a pipe is as good as a file. Memory is a buffer, whatever the input; what gzip unpacks to is bounded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::ReadError;

/// Deflate reaches some 1,032 to 1; text of a log is far below.
const MOST_RATIO: u64 = 250;
/// What may be unpacked whatever the ratio: a log may be one line over and over.
const ALWAYS_ALLOWED: u64 = 64 << 20;
const MOST_UNPACKED: u64 = 4 << 30;

/// How standard input is named in messages.
const STANDARD_INPUT: &str = "standard input";

/// A file, or standard input, or what either unpacks to.
pub(crate) struct Input {
    /// Bytes that were looked at, or given back.
    front: Vec<u8>,
    at: usize,
    rest: Box<dyn BufRead>,
    name: String,
    is_gzip: bool,
}

impl Input {
    /// Opens a file, or standard input where the path is `-`; unpacks gzip.
    pub(crate) fn open(path: &Path) -> Result<Self, ReadError> {
        let rest: Box<dyn BufRead> = if is_standard_input(path) {
            Box::new(BufReader::new(io::stdin()))
        } else {
            let file = File::open(path).map_err(|error| ReadError::Io { path: path.to_owned(), error })?;
            if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
                return Err(ReadError::within(&path.display().to_string(), "a folder, not a file"));
            }
            Box::new(BufReader::with_capacity(1 << 16, file))
        };
        Self::new(name_of(path), rest).unpacked()
    }

    pub(crate) fn new(name: String, rest: Box<dyn BufRead>) -> Self {
        Self { front: Vec::new(), at: 0, rest, name, is_gzip: false }
    }

    pub(crate) fn unpacked(mut self) -> Result<Self, ReadError> {
        if !self.peek(2)?.starts_with(&[0x1f, 0x8b]) {
            return Ok(self);
        }
        let name = self.name.clone();
        let decoder = MultiGzDecoder::new(Counted { inner: self, bytes: 0 });
        let bounded = BufReader::with_capacity(1 << 16, Bounded { decoder, unpacked: 0 });
        let mut unpacked = Self::new(name, Box::new(bounded));
        unpacked.is_gzip = true;
        if unpacked.peek(2)?.starts_with(&[0x1f, 0x8b]) {
            return Err(ReadError::within(&unpacked.name, "gzip within gzip; unpack it first"));
        }
        Ok(unpacked)
    }

    /// How messages call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it was packed.
    pub(crate) fn is_gzip(&self) -> bool {
        self.is_gzip
    }

    /// The next bytes without taking them, fewer where fewer are left.
    pub(crate) fn peek(&mut self, bytes: usize) -> Result<&[u8], ReadError> {
        while self.front.len() - self.at < bytes {
            let more = match self.rest.fill_buf() {
                Ok(more) => more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(cannot_read(&self.name, error)),
            };
            if more.is_empty() {
                break;
            }
            let taken = more.len();
            self.front.extend_from_slice(more);
            self.rest.consume(taken);
        }
        let left = &self.front[self.at..];
        Ok(&left[..left.len().min(bytes)])
    }

    /// Gives bytes back that were taken: they come next.
    pub(crate) fn unread(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        // They are still there, unless they were the last of what was looked at.
        if let Some(before) = self.at.checked_sub(bytes.len())
            && self.front[before..self.at] == *bytes
        {
            self.at = before;
            return;
        }
        self.front.splice(..self.at, bytes.iter().copied());
        self.at = 0;
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let taken = available.len().min(into.len());
        into[..taken].copy_from_slice(&available[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at < self.front.len() {
            return Ok(&self.front[self.at..]);
        }
        self.rest.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        if self.at < self.front.len() {
            self.at += bytes;
            if self.at >= self.front.len() {
                self.front.clear();
                self.at = 0;
            }
        } else {
            self.rest.consume(bytes);
        }
    }
}

pub(crate) fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

pub(crate) fn name_of(path: &Path) -> String {
    if is_standard_input(path) { STANDARD_INPUT.to_owned() } else { path.display().to_string() }
}

/// What an error of reading says of this input.
pub(crate) fn cannot_read(name: &str, error: io::Error) -> ReadError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<TooFar>()) {
        Some(&TooFar { packed, unpacked }) => {
            ReadError::ExpandsTooFar { file: name.to_owned(), packed, unpacked }
        }
        None => ReadError::within(name, format!("cannot be read: {error}")),
    }
}

/// Travels through readers that only know [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{packed} compressed bytes unpack to more than {unpacked}")]
struct TooFar {
    packed: u64,
    unpacked: u64,
}

struct Counted {
    inner: Input,
    bytes: u64,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let taken = self.inner.read(into)?;
        self.bytes += taken as u64;
        Ok(taken)
    }
}

/// Unpacks no further than a log would.
struct Bounded {
    decoder: MultiGzDecoder<Counted>,
    unpacked: u64,
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let taken = self.decoder.read(into)?;
        self.unpacked += taken as u64;
        let packed = self.decoder.get_ref().bytes;
        let allowed = packed.saturating_mul(MOST_RATIO).saturating_add(ALWAYS_ALLOWED).min(MOST_UNPACKED);
        if self.unpacked > allowed {
            return Err(io::Error::other(TooFar { packed, unpacked: allowed }));
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn input(bytes: &[u8]) -> Result<Input, ReadError> {
        Input::new("x".to_owned(), Box::new(io::Cursor::new(bytes.to_vec()))).unpacked()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn bytes_that_are_given_back_come_next() {
        let mut input = input(b"abcdef").unwrap();
        assert_eq!(input.peek(2).unwrap(), b"ab");
        let mut two = [0; 2];
        input.read_exact(&mut two).unwrap();
        input.unread(b"12");
        let mut all = String::new();
        input.read_to_string(&mut all).unwrap();
        assert_eq!((all.as_str(), input.peek(9).unwrap().len()), ("12cdef", 0));
    }

    #[test]
    fn gzip_is_unpacked_and_a_bomb_is_not() {
        let mut text = String::new();
        let mut members = gzip(b"one ");
        members.extend(gzip(b"two"));
        input(&members).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
        let bomb = gzip(&vec![b'x'; 16 << 20]).repeat(8);
        let mut input = input(&bomb).unwrap();
        let error = io::copy(&mut input, &mut io::sink()).unwrap_err();
        assert!(matches!(cannot_read("x", error), ReadError::ExpandsTooFar { .. }));
        assert!(super::tests::input(&gzip(&gzip(b"a"))).is_err());
        assert!(super::tests::input(&members[..5]).is_err());
    }
}
