//! What publishers and readers agree on: the document, the folders, and how long the one waits for the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::pool_use::PoolUse;
use super::host_folder::{HOST_FOLDER, may_publish, of_users};
use super::owner::{is_of, number, user};

/// What a process publishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Published {
    /// `vramkit.published/1`.
    pub schema: String,
    /// The process.
    pub pid: u32,
    /// Its pools.
    pub pools: Vec<PoolUse>,
}

pub(super) const SCHEMA: &str = "vramkit.published/1";
/// How long a peer may take.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// Where this user's processes publish: `/run/vramkit`, where the machine has such a folder for all users and this one may write in
/// it; else `vramkit` in the runtime folder (`XDG_RUNTIME_DIR`), or `/tmp/vramkit-UID`. `VRAMKIT_RUNTIME_DIR` names another one.
pub fn folder() -> PathBuf {
    match std::env::var_os("VRAMKIT_RUNTIME_DIR") {
        Some(named) => named.into(),
        None if may_publish(HOST_FOLDER.as_ref()) => HOST_FOLDER.into(),
        None => user_folder(),
    }
}

/// This user's own folder.
fn user_folder() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(runtime) if !runtime.is_empty() => Path::new(&runtime).join("vramkit"),
        _ => PathBuf::from(format!("/tmp/vramkit-{}", user())),
    }
}

/// Every folder that processes may publish in, as far as this user may read them: its own, that of all users, and those of others
/// for root. Of each user there is one in `/run/user` and one in `/tmp`, with the user's number in its name. What may not be read is
/// [`Unreadable`](super::Unreadable).
pub fn folders() -> Vec<PathBuf> {
    let mut folders = vec![folder()];
    if std::env::var_os("VRAMKIT_RUNTIME_DIR").is_none() {
        // What began before there was the folder for all is in the user's own.
        folders.push(user_folder());
        folders.push(HOST_FOLDER.into());
        let entries = fs::read_dir("/run/user").into_iter().flatten().flatten();
        let of_number =
            |entry: fs::DirEntry| Some((number(&entry.file_name())?, entry.path().join("vramkit")));
        let theirs = |(number, path): (u32, PathBuf)| is_of(&path, number).then_some(path);
        folders.extend(entries.filter_map(of_number).filter_map(theirs));
        folders.extend(of_users("/tmp".as_ref()));
    }
    folders.sort();
    folders.dedup();
    folders
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::process::Command;

    use super::*;

    const INNER: &str = "VRAMKIT_TEST_FOLDER";

    /// In processes of their own, since environments are a process's.
    #[test]
    fn the_folder_is_the_one_that_is_named_or_the_runtimes_or_the_users() {
        if let Some(expected) = std::env::var_os(INNER) {
            assert_eq!(folder(), PathBuf::from(expected));
            assert!(folders().contains(&folder()));
            return;
        }
        let is_so = |named: Option<&str>, runtime: Option<&str>, expected: &str| {
            let mut again = Command::new(std::env::current_exe().expect("this test"));
            again.args(["--exact", "monitor::publish::document::tests::the_folder_is_the_one_that_is_named_or_the_runtimes_or_the_users"]);
            again.env_remove("VRAMKIT_RUNTIME_DIR").env_remove("XDG_RUNTIME_DIR").env(INNER, expected);
            named.map(|folder| again.env("VRAMKIT_RUNTIME_DIR", folder));
            runtime.map(|folder| again.env("XDG_RUNTIME_DIR", folder));
            let done = again.output().expect("it runs");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        };
        let of_user = format!("/tmp/vramkit-{}", user());
        is_so(Some("/named"), Some("/runtime"), "/named");
        // Where a machine has the folder for all, that comes before the user's.
        let own = |folder: &str| {
            if may_publish(HOST_FOLDER.as_ref()) { HOST_FOLDER.to_owned() } else { folder.to_owned() }
        };
        is_so(None, Some("/runtime"), &own("/runtime/vramkit"));
        is_so(None, Some(""), &own(&of_user));
        is_so(None, None, &own(&of_user));
    }
}
