//! A file's bytes from front to back through a window, every length checked against what is really there.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use crate::fault::ReadFault;

/// What is wrong, and where.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ValueError {
    #[error("byte {at}: {what}")]
    Content { at: u64, what: String },
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// How much memory a file's values may take: in proportion to what was read, and to the file as it lies there, undone or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget {
    /// Bytes read of the file as it is.
    raw: Rc<Cell<u64>>,
}

impl Budget {
    /// With the count of what is read of the file.
    pub(crate) fn new(raw: Rc<Cell<u64>>) -> Self {
        Self { raw }
    }

    /// Whether a trace of so many bytes is still in proportion.
    pub(crate) fn check(&self, trace: u64) -> Result<(), ReadFault> {
        let most = self.most_of_trace();
        if trace <= most { Ok(()) } else { Err(ReadFault::too_large(most)) }
    }

    /// The most that a trace may take that is read line by line, or entry by entry: a plain text takes under a twelfth of this.
    fn most_of_trace(&self) -> u64 {
        (64 << 20).max(48 * self.raw.get())
    }

    /// The most, once so many bytes of what is in the file were read.
    pub(crate) fn most(&self, read: u64) -> u64 {
        // A snapshot takes under twice its bytes; packed it is rarely below a twentieth.
        let by_content = (16 << 20) + 3 * read;
        let by_file = (256 << 20).max(64 * self.raw.get());
        by_content.min(by_file)
    }
}

/// How much is seen at once; nothing that is looked at in one piece is longer.
const WINDOW: usize = 256 << 10;

pub(crate) struct Source<R> {
    inner: R,
    window: Vec<u8>,
    at: usize,
    end: usize,
    /// Bytes before the window.
    passed: u64,
}

impl<R: Read> Source<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, window: vec![0; WINDOW], at: 0, end: 0, passed: 0 }
    }

    /// How many bytes have been read.
    pub(crate) fn position(&self) -> u64 {
        self.passed + self.at as u64
    }

    pub(crate) fn error<T>(&self, what: impl Into<String>) -> Result<T, ValueError> {
        Err(ValueError::Content { at: self.position(), what: what.into() })
    }

    /// Sees to it that so many bytes are in the window.
    #[cold]
    fn fill(&mut self, count: usize) -> Result<(), ValueError> {
        self.window.copy_within(self.at..self.end, 0);
        self.passed += self.at as u64;
        (self.at, self.end) = (0, self.end - self.at);
        while self.end < count {
            match self.inner.read(&mut self.window[self.end..]) {
                Ok(0) => return self.error(format!("{count} bytes are announced, {} are left", self.end)),
                Ok(more) => self.end += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The next bytes, at most as many as the window has.
    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&[u8], ValueError> {
        if self.end - self.at < count {
            self.fill(count)?;
        }
        self.at += count;
        Ok(&self.window[self.at - count..self.at])
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, ValueError> {
        if self.at == self.end {
            self.fill(1)?;
        }
        self.at += 1;
        Ok(self.window[self.at - 1])
    }

    /// What is in the window and not yet read.
    #[inline]
    pub(crate) fn seen(&self) -> &[u8] {
        &self.window[self.at..self.end]
    }

    /// Passes over bytes of it.
    #[inline]
    pub(crate) fn pass(&mut self, count: usize) {
        self.at = (self.at + count).min(self.end);
    }

    /// A number of so many bytes, at most 8, the lowest first.
    #[inline]
    pub(crate) fn number(&mut self, bytes: usize) -> Result<u64, ValueError> {
        let mut word = [0; 8];
        word[..bytes].copy_from_slice(self.take(bytes)?);
        Ok(u64::from_le_bytes(word))
    }

    /// The same of four bytes, in one piece.
    #[inline]
    pub(crate) fn word(&mut self) -> Result<u32, ValueError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Passes over bytes.
    pub(crate) fn skip(&mut self, mut count: u64) -> Result<(), ValueError> {
        while count > 0 {
            let piece = count.min(WINDOW as u64 / 2) as usize;
            self.take(piece)?;
            count -= piece as u64;
        }
        Ok(())
    }

    /// Bytes up to the end of the line, which is dropped.
    pub(crate) fn line(&mut self) -> Result<&[u8], ValueError> {
        let mut length = 0;
        loop {
            if self.end - self.at == length {
                if length == WINDOW {
                    return self.error("a line has no end");
                }
                self.fill(length + 1)?;
            }
            if self.window[self.at + length] == b'\n' {
                break;
            }
            length += 1;
        }
        self.at += length + 1;
        Ok(&self.window[self.at - length - 1..self.at - 1])
    }

    /// Whether nothing is left.
    pub(crate) fn is_at_end(&mut self) -> Result<bool, ValueError> {
        if self.at < self.end {
            return Ok(false);
        }
        match self.fill(1) {
            Ok(()) => Ok(false),
            Err(ValueError::Content { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// Counts what is read through it.
pub(crate) struct Counted<R> {
    inner: R,
    read: Rc<Cell<u64>>,
}

impl<R> Counted<R> {
    /// With the count.
    pub(crate) fn new(inner: R) -> (Self, Rc<Cell<u64>>) {
        let read = Rc::new(Cell::new(0));
        (Self { inner, read: read.clone() }, read)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}
