//! Where a file is read: its name in errors, its folder for relative paths, and what the reader was told.

use std::path::PathBuf;

use crate::command::Found;
use crate::error::SetsError;
use crate::file::Entry;
use crate::reading::Reading;

/// Models that a file may have.
const MOST_ENTRIES: usize = 1_000;

/// A file that is being read.
pub(crate) struct Place<'a> {
    /// Its name.
    pub file: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What the reader was told.
    pub reading: Reading<'a>,
}

impl Place<'_> {
    /// An error of this file.
    pub fn invalid(&self, line: usize, reason: impl Into<String>) -> SetsError {
        SetsError::Invalid { file: self.file.clone(), line, reason: reason.into() }
    }

    /// An error when a file has more models than anybody runs.
    pub fn count(&self, entries: usize, line: usize) -> Result<(), SetsError> {
        if entries > MOST_ENTRIES {
            return Err(self.invalid(line, format!("more than {MOST_ENTRIES} models")));
        }
        Ok(())
    }

    /// A model of the file, looked for.
    pub fn entry(&self, name: &str, line: usize, mut found: Found) -> Entry {
        let written = found.model.take();
        let mut model = None;
        if let (Some(written), None) = (&written, &found.missing) {
            match self.find(written, found.remote) {
                Ok(path) => model = Some(path),
                Err(reason) => found.refused(reason),
            }
        }
        Entry {
            name: name.to_owned(),
            line,
            model,
            written,
            options: found.options,
            missing: found.missing,
            notes: found.notes,
            ttl_seconds: None,
            aliases: Vec::new(),
        }
    }

    fn find(&self, written: &str, remote: bool) -> Result<PathBuf, String> {
        if let Some(path) = (self.reading.locate)(written).filter(|path| path.exists()) {
            return Ok(path);
        }
        let local = written.strip_prefix("~/").and_then(|rest| {
            let home = (self.reading.variable)("HOME")?;
            Some(PathBuf::from(home).join(rest))
        });
        let path = self.folder.join(local.unwrap_or_else(|| PathBuf::from(written)));
        if !remote && path.exists() {
            return Ok(path);
        }
        let parts: Vec<&str> = written.split('/').collect();
        let hub = remote
            || (parts.len() == 2
                && !parts[0].is_empty()
                && !parts[0].starts_with(['.', '~'])
                && !written.ends_with(".gguf"));
        Err(if hub {
            format!("`{written}` is a name on a hub, and its files are not here")
        } else {
            format!("`{}` is not here", path.display())
        })
    }
}
