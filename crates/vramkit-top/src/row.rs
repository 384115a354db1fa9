//! A row of the table of holders.

use std::time::SystemTime;

use vramkit::ByteSize;
use vramkit::monitor::ProcessIdentity;

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) device: String,
    pub(crate) name: String,
    /// What the table says beside it.
    pub(crate) detail: String,
    pub(crate) bytes: Option<ByteSize>,
    /// The process, where it is one's alone.
    pub(crate) pid: Option<u32>,
    /// What that process's program is called, where it is known.
    pub(crate) program: Option<String>,
    pub(crate) identity: ProcessIdentity,
    pub(crate) model: Option<String>,
    /// When it was read.
    pub(crate) read: SystemTime,
    /// A part of the row above it.
    pub(crate) is_part: bool,
}

impl Row {
    /// What makes it the same row in the next reading.
    pub(crate) fn key(&self) -> (&str, &str, Option<u32>) {
        (&self.device, &self.name, self.pid)
    }

    /// The pod, or else the container.
    pub(crate) fn place(&self) -> Option<&str> {
        self.identity.pod.as_deref().or(self.identity.container.as_deref())
    }
}
