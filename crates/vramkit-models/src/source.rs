//! The bytes of a file from its start on, none of them believed: every read is held against the file's length first.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::ReadError;
use crate::file::{Identity, LARGEST_POINTER, check_pointer};

/// Bytes that are read at a time.
const BUFFER: usize = 256 << 10;

/// A file that is read in one direction.
pub(crate) struct Source {
    file: File,
    identity: Identity,
    pub name: String,
    pub length: u64,
    /// What has been read of the file, and how far it has been used.
    buffer: Vec<u8>,
    used: usize,
    /// Where the buffer begins in the file.
    start: u64,
}

impl Source {
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let name = path.display().to_string();
        let io = |error| ReadError::Io { path: path.to_owned(), error };
        // Looked at before it is opened: a pipe would wait for its writer.
        if !std::fs::metadata(path).map_err(io)?.is_file() {
            return Err(ReadError::within(&name, "no regular file, and a header is read from nothing else"));
        }
        let file = File::open(path).map_err(io)?;
        let found = file.metadata().map_err(io)?;
        let (length, identity) = (found.len(), Identity::of(&found));
        let mut source = Self { file, identity, name, length, buffer: Vec::new(), used: 0, start: 0 };
        if length <= LARGEST_POINTER {
            source.fill(length as usize)?;
            check_pointer(&source.name, &source.buffer)?;
        }
        Ok(source)
    }

    pub fn wrong(&self, reason: impl Into<String>) -> ReadError {
        ReadError::within(&self.name, reason)
    }

    /// Which file it is.
    pub fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// Where the next byte is.
    pub fn position(&self) -> u64 {
        self.start + self.used as u64
    }

    pub fn remaining(&self) -> u64 {
        self.length.saturating_sub(self.position())
    }

    fn check(&self, bytes: u64, what: &str) -> Result<(), ReadError> {
        if bytes > self.remaining() {
            let (at, left) = (self.position(), self.remaining());
            return Err(self.wrong(format!(
                "{what} at byte {at} takes {bytes} bytes, and the file ends after {left}; it is cut short or damaged"
            )));
        }
        Ok(())
    }

    /// The next so many bytes.
    pub fn take(&mut self, bytes: usize, what: &str) -> Result<&[u8], ReadError> {
        self.check(bytes as u64, what)?;
        if self.buffer.len() - self.used < bytes {
            self.fill(bytes)?;
        }
        let found = &self.buffer[self.used..self.used + bytes];
        self.used += bytes;
        Ok(found)
    }

    /// Reads on until the buffer holds so many unused bytes, which the file was checked to have.
    fn fill(&mut self, bytes: usize) -> Result<(), ReadError> {
        self.start += self.used as u64;
        self.buffer.drain(..self.used);
        self.used = 0;
        let wanted = bytes.max(BUFFER) - self.buffer.len();
        let io = |error| ReadError::Io { path: self.name.clone().into(), error };
        (&self.file).take(wanted as u64).read_to_end(&mut self.buffer).map_err(io)?;
        if self.buffer.len() < bytes {
            return Err(self.wrong("has become shorter while it was read"));
        }
        Ok(())
    }

    /// Passes over so many bytes.
    pub fn skip(&mut self, bytes: u64, what: &str) -> Result<(), ReadError> {
        self.check(bytes, what)?;
        let there = (self.buffer.len() - self.used) as u64;
        if bytes <= there {
            self.used += bytes as usize;
            return Ok(());
        }
        let to = self.position() + bytes;
        let io = |error| ReadError::Io { path: self.name.clone().into(), error };
        self.file.seek(SeekFrom::Start(to)).map_err(io)?;
        (self.start, self.used) = (to, 0);
        self.buffer.clear();
        Ok(())
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], ReadError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N, what)?);
        Ok(bytes)
    }

    pub fn u32(&mut self, what: &str) -> Result<u32, ReadError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub fn u64(&mut self, what: &str) -> Result<u64, ReadError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A text with its length before it, which is at most so many bytes.
    pub fn text(&mut self, most: u64, what: &str) -> Result<String, ReadError> {
        let length = self.u64(what)?;
        if length > most {
            return Err(self.wrong(format!("{what} is a text of {length} bytes; up to {most} are believed")));
        }
        let bytes = self.take(length as usize, what)?.to_vec();
        String::from_utf8(bytes).map_err(|_| self.wrong(format!("{what} is no UTF-8 text")))
    }

    /// Passes over so many texts.
    pub fn skip_texts(&mut self, count: u64, what: &str) -> Result<(), ReadError> {
        for _ in 0..count {
            let length = self.u64(what)?;
            self.skip(length, what)?;
        }
        Ok(())
    }
}
