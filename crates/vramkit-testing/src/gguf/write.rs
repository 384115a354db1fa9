//! From a model's sizes to its file.

use std::io;
use std::path::Path;

use super::file::SparseFile;
use super::model::SparseModel;
use super::{keys, tensors};

impl SparseModel {
    /// Its keys and tensors.
    ///
    /// # Panics
    /// Of architectures that are not in the list.
    pub fn file(&self) -> SparseFile {
        SparseFile { keys: keys::of(self), tensors: tensors::of(self) }
    }

    /// Writes its file: see [`SparseFile::write`].
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        self.file().write(path)
    }
}
