//! Keys of an architecture, asked for by name: absent, wrong and beyond belief are told apart.

use crate::error::ReadError;
use crate::gguf::{GgufHeader, GgufValue};

/// The keys of one file's architecture.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    pub file: &'a str,
    pub header: &'a GgufHeader,
}

impl Keys<'_> {
    pub fn wrong(&self, reason: impl Into<String>) -> ReadError {
        ReadError::within(self.file, reason)
    }

    /// A whole number, where it is there.
    pub fn found(&self, key: &str) -> Result<Option<u64>, ReadError> {
        self.header.number(key).map_err(|reason| self.wrong(reason.to_string()))
    }

    /// A whole number, or this where it is not there.
    pub fn number(&self, key: &str, otherwise: u64) -> Result<u64, ReadError> {
        Ok(self.found(key)?.unwrap_or(otherwise))
    }

    /// A whole number that must be there.
    pub fn needed(&self, key: &str) -> Result<u64, ReadError> {
        self.found(key)?.ok_or_else(|| self.wrong(format!("no `{}.{key}` in it", self.header.architecture)))
    }

    /// A number for each layer: the same for all, or one each; `None` where it is not there.
    pub fn each(&self, key: &str, layers: usize) -> Result<Option<Vec<u64>>, ReadError> {
        self.header.numbers(key, layers).map_err(|reason| self.wrong(reason.to_string()))
    }

    /// A truth value for each layer, where the header lists them; a single number is none.
    pub fn flags(&self, key: &str, layers: usize) -> Result<Option<Vec<bool>>, ReadError> {
        let flags: Vec<bool> = match self.header.value(key) {
            Some(GgufValue::Bools(flags)) => flags.clone(),
            Some(GgufValue::Integers(values)) => values.iter().map(|&value| value != 0).collect(),
            Some(GgufValue::Bool(flag)) => vec![*flag; layers],
            Some(GgufValue::Array(_)) => {
                return Err(
                    self.wrong(format!("`{}.{key}` is no list of truth values", self.header.architecture))
                );
            }
            _ => return Ok(None),
        };
        if flags.len() < layers {
            let (architecture, count) = (&self.header.architecture, flags.len());
            return Err(self.wrong(format!("`{architecture}.{key}` has {count} values for {layers} layers")));
        }
        Ok(Some(flags[..layers].to_vec()))
    }
}
