//! Names for numbers: of users, from `/etc/passwd`, and of Kubernetes pods, from the names of the folders that their logs are
//! in. Read again now and then; a number that has no name stays a number.
//!
//! Users of a directory service are in no file, and stay numbers.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use vramkit::monitor::text::{NAME, WORDS, clean};

/// Ticks after which what was read may be read again.
const STALE: u64 = 64;
/// Most bytes of the file of users, and most folders of logs.
const FILE: u64 = 4 << 20;
const FOLDERS: usize = 4096;

/// Names of users.
#[derive(Debug)]
pub(crate) struct UserNames {
    path: PathBuf,
    names: HashMap<u32, String>,
    read: Option<u64>,
    tick: u64,
}

impl UserNames {
    pub(crate) fn at(root: &Path) -> Self {
        Self { path: root.join("etc/passwd"), names: HashMap::new(), read: None, tick: 0 }
    }

    pub(crate) fn begin(&mut self) {
        self.tick += 1;
    }

    pub(crate) fn name(&mut self, uid: u32) -> String {
        if self.read.is_none_or(|read| self.tick - read >= STALE) {
            self.read = Some(self.tick);
            let mut text = Vec::new();
            let read = fs::File::open(&self.path).and_then(|file| file.take(FILE).read_to_end(&mut text));
            if read.is_ok() {
                self.names = users(&String::from_utf8_lossy(&text));
            }
        }
        self.names.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }
}

/// The first name of each number.
fn users(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(uid)) = (fields.next(), fields.nth(1).and_then(|uid| uid.parse().ok())) {
            names.entry(uid).or_insert_with(|| clean(name, NAME).into_owned());
        }
    }
    names
}

/// Names of pods: the kubelet keeps logs in `/var/log/pods/NAMESPACE_NAME_UID`.
#[derive(Debug)]
pub(crate) struct PodNames {
    path: PathBuf,
    names: HashMap<String, String>,
    read: Option<u64>,
    tick: u64,
}

impl PodNames {
    pub(crate) fn at(root: &Path) -> Self {
        Self { path: root.join("var/log/pods"), names: HashMap::new(), read: None, tick: 0 }
    }

    pub(crate) fn begin(&mut self) {
        self.tick += 1;
    }

    /// `namespace/name`, or the UID where the folder is not there.
    pub(crate) fn name(&mut self, uid: &str) -> String {
        // A pod that is not known may be new: but not more often than every tick.
        if !self.names.contains_key(uid) && self.read.is_none_or(|read| self.tick > read) {
            self.read = Some(self.tick);
            let entries = fs::read_dir(&self.path).into_iter().flatten().flatten().take(FOLDERS);
            self.names = entries.filter_map(|entry| pod(entry.file_name().to_str()?)).collect();
        }
        self.names.get(uid).cloned().unwrap_or_else(|| uid.to_owned())
    }
}

/// A pod's UID, and its namespace and name, neither of which may have an underscore.
fn pod(folder: &str) -> Option<(String, String)> {
    let mut parts = folder.split('_');
    let (namespace, name, uid) = (parts.next()?, parts.next()?, parts.next()?);
    parts
        .next()
        .is_none()
        .then(|| (uid.to_owned(), clean(&format!("{namespace}/{name}"), WORDS).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_names_where_there_are_any() {
        let root = tempfile::tempdir().unwrap();
        let mut users = UserNames::at(root.path());
        assert_eq!(users.name(0), "0");
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/passwd"), "root:x:0:0:::\ntoor:x:0:0:::\nbad\nx:y:z\nann:x:7:7:::")
            .unwrap();
        assert_eq!(users.name(0), "0", "it was read a moment ago");
        (0..STALE).for_each(|_| users.begin());
        assert_eq!((users.name(0), users.name(7), users.name(8)), ("root".into(), "ann".into(), "8".into()));
        let mut pods = PodNames::at(root.path());
        assert_eq!(pods.name("u-1"), "u-1");
        fs::create_dir_all(root.path().join("var/log/pods/ns_a-0_u-1")).unwrap();
        fs::create_dir_all(root.path().join("var/log/pods/strange")).unwrap();
        pods.begin();
        assert_eq!((pods.name("u-1"), pods.name("strange")), ("ns/a-0".into(), "strange".into()));
    }
}
