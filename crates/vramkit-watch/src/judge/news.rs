//! What a judge has found, before it has a time.

use crate::tick::EventKind;

#[derive(Debug)]
pub(crate) struct News {
    pub(crate) device: String,
    pub(crate) kind: EventKind,
    pub(crate) text: String,
}

impl News {
    pub(crate) fn new(device: &str, kind: EventKind, text: impl Into<String>) -> Self {
        Self { device: device.to_owned(), kind, text: text.into() }
    }
}
