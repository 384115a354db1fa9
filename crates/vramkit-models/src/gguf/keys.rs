//! Keys of an architecture, asked for by name: absent, wrong and beyond belief are told apart.

use crate::error::ReadError;
use crate::gguf::{GgufHeader, GgufValue};

/// Largest number of anything that is believed: far above every model, far below where products of a few overflow.
const LARGEST: u64 = 1 << 32;

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

    fn value(&self, key: &str) -> Option<&GgufValue> {
        self.header.metadata.get(&format!("{}.{key}", self.header.architecture))
    }

    fn believed(&self, key: &str, value: i128) -> Result<u64, ReadError> {
        u64::try_from(value).ok().filter(|&value| value <= LARGEST).ok_or_else(|| {
            self.wrong(format!("`{}.{key}` is {value}, which no model has", self.header.architecture))
        })
    }

    /// A whole number, where it is there.
    pub fn found(&self, key: &str) -> Result<Option<u64>, ReadError> {
        match self.value(key) {
            None => Ok(None),
            Some(GgufValue::Integer(value)) => self.believed(key, *value).map(Some),
            Some(_) => Err(self.wrong(format!("`{}.{key}` is no whole number", self.header.architecture))),
        }
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
        match self.value(key) {
            Some(GgufValue::Integers(values)) if values.len() >= layers => values
                .iter()
                .take(layers)
                .map(|&value| self.believed(key, value))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(GgufValue::Integers(values)) => {
                let architecture = &self.header.architecture;
                let count = values.len();
                Err(self.wrong(format!("`{architecture}.{key}` has {count} values for {layers} layers")))
            }
            _ => Ok(self.found(key)?.map(|value| vec![value; layers])),
        }
    }

    /// A truth value for each layer, where the header lists them; a single number is none.
    pub fn flags(&self, key: &str, layers: usize) -> Result<Option<Vec<bool>>, ReadError> {
        let flags: Vec<bool> = match self.value(key) {
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
