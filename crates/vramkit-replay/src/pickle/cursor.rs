//! A file's bytes from front to back, every length checked against what is left of them.

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {what}")]
pub(crate) struct PickleError {
    at: usize,
    what: String,
}

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// What is wrong, and where.
    pub(super) fn error<T>(&self, what: impl Into<String>) -> Result<T, PickleError> {
        Err(PickleError { at: self.at, what: what.into() })
    }

    /// What is wrong with the byte before.
    pub(super) fn error_before<T>(&self, what: impl Into<String>) -> Result<T, PickleError> {
        Err(PickleError { at: self.at.saturating_sub(1), what: what.into() })
    }

    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], PickleError> {
        let rest = &self.bytes[self.at..];
        if count > rest.len() as u64 {
            return self.error(format!("{count} bytes are announced, {} are left", rest.len()));
        }
        self.at += count as usize;
        Ok(&rest[..count as usize])
    }

    /// The next byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, PickleError> {
        match self.bytes.get(self.at) {
            Some(&byte) => {
                self.at += 1;
                Ok(byte)
            }
            None => self.error("1 bytes are announced, 0 are left"),
        }
    }

    /// Four bytes, the lowest first.
    #[inline]
    pub(super) fn word(&mut self) -> Result<u32, PickleError> {
        match self.bytes[self.at..].first_chunk() {
            Some(bytes) => {
                self.at += 4;
                Ok(u32::from_le_bytes(*bytes))
            }
            None => self.error(format!("4 bytes are announced, {} are left", self.bytes.len() - self.at)),
        }
    }

    /// A number of so many bytes, at most 8, the lowest first.
    pub(super) fn number(&mut self, bytes: u64) -> Result<u64, PickleError> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Bytes up to the end of the line, which is dropped.
    pub(super) fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            return self.error("a line has no end");
        };
        self.at += end + 1;
        Ok(&rest[..end])
    }

    pub(super) fn line_of<T: std::str::FromStr>(&mut self) -> Result<T, PickleError> {
        let line = self.line()?;
        match std::str::from_utf8(line).ok().and_then(|text| text.trim_end_matches('L').parse().ok()) {
            Some(value) => Ok(value),
            None => self.error("a line that is not a number"),
        }
    }

    /// The bytes whose length stands before them, in so many bytes.
    pub(super) fn counted(&mut self, width: u64) -> Result<&'a [u8], PickleError> {
        let length = self.number(width)?;
        self.take(length)
    }
}
