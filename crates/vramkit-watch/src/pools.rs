//! Pools that processes of this machine publish.

use std::path::PathBuf;

use vramkit::monitor::publish::{PublishedReader, folders};

use crate::source::{Readings, Source};

/// Asks every publishing process at every read.
#[derive(Clone, Debug, Default)]
pub struct PublishedPools {
    only: Option<PathBuf>,
    reader: PublishedReader,
}

impl PublishedPools {
    /// Of one folder, instead of all that this user may read.
    pub fn of(folder: PathBuf) -> Self {
        Self { only: Some(folder), ..Self::default() }
    }
}

impl Source for PublishedPools {
    fn read(&mut self) -> Readings {
        let folders = self.only.clone().map_or_else(folders, |only| vec![only]);
        let pools = folders.iter().flat_map(|folder| self.reader.read(folder)).flat_map(|found| {
            // The document says whose pools they are; a pool does not say otherwise.
            found.pools.into_iter().map(move |mut pool| {
                pool.pid = found.pid;
                pool
            })
        });
        Readings { pools: pools.collect(), ..Readings::default() }
    }
}
