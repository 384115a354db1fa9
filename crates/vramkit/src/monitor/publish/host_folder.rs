//! The folder of the whole machine, `/run/vramkit`: programs of all users and containers publish there for one monitor.
//!
//! It is root's, with mode 3777. As in `/tmp`, everybody may make sockets in it and nobody remove another's (sticky). What is
//! made in it has the folder's group (setgid), so that a socket of mode 0660 is for its user and for members of that group:
//! to be one is the only right that a monitor needs. `deploy/` makes the folder; without it everything is as it was, in
//! folders of users.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};

use super::super::text::{WORDS, clean};
use super::owner::{is_of, number};

/// Where it is.
pub(super) const HOST_FOLDER: &str = "/run/vramkit";
const STICKY: u32 = 0o1000;
const SETGID: u32 = 0o2000;
/// Most names in it that are looked at.
const LISTED: usize = 4096;
/// Who has a file whose user has no number in this user namespace (the kernel's `overflowuid`).
const NOBODY: u32 = 65534;

/// Whether a folder is one for many users: a real one, root's, from which nobody can remove another's socket.
pub(super) fn is_shared(folder: &Path) -> bool {
    let found = fs::symlink_metadata(folder);
    found.is_ok_and(|found| {
        found.is_dir() && found.mode() & STICKY != 0 && is_roots(found.uid(), root_is_here)
    })
}

/// In a user namespace without root, as of a container without rights, root's files are nobody's.
fn is_roots(owner: u32, root_is_here: impl Fn() -> bool) -> bool {
    owner == 0 || (owner == NOBODY && !root_is_here())
}

/// Whether all users have numbers here, root too: this is no user namespace.
fn root_is_here() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.is_empty() || map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether this process may publish in a folder for many users.
pub(super) fn may_publish(folder: &Path) -> bool {
    is_shared(folder) && may(folder, Access::WRITE_OK | Access::EXEC_OK)
}

/// The mode of a socket in a folder: for the folder's group too where the folder gives its group.
pub(super) fn socket_mode(folder: &Path) -> u32 {
    let gives_its_group = fs::symlink_metadata(folder).is_ok_and(|found| found.mode() & SETGID != 0);
    if is_shared(folder) && gives_its_group { 0o660 } else { 0o600 }
}

fn may(path: &Path, access: Access) -> bool {
    accessat(CWD, path, access, AtFlags::EACCESS).is_ok()
}

/// Removes sockets of this user that nobody listens on any more, as of programs that were killed: nobody else may.
pub(super) fn sweep(folder: &Path) {
    for socket in sockets(folder).filter(|(_, uid)| *uid == rustix::process::geteuid().as_raw()) {
        if is_dead(&socket.0) {
            let _ = fs::remove_file(socket.0);
        }
    }
}

/// Whether nobody listens there. Elsewhere than on Linux a full queue refuses too.
fn is_dead(path: &Path) -> bool {
    let asked = || {
        let made = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        rustix::io::ioctl_fionbio(&made, true)?;
        connect(&made, &SocketAddrUnix::new(path)?)
    };
    cfg!(target_os = "linux") && asked() == Err(rustix::io::Errno::CONNREFUSED)
}

/// Sockets in a folder, each with its user.
fn sockets(folder: &Path) -> impl Iterator<Item = (PathBuf, u32)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(LISTED);
    entries.filter_map(|entry| {
        let found = entry.metadata().ok().filter(|found| found.file_type().is_socket())?;
        let path = entry.path();
        path.extension().is_some_and(|end| end == "sock").then(|| (path, found.uid()))
    })
}

/// What other users publish and this one may not read, as far as it can be seen from here. Its words say it:
///
/// ```
/// let hidden = vramkit::monitor::publish::Unreadable::now();
/// if !hidden.is_empty() {
///     println!("{hidden}"); // "2 folders of other users cannot be read (/run/user/1001, …): …"
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreadable {
    /// Folders, in which there may be pools.
    pub folders: Vec<PathBuf>,
    /// Sockets in the folder of the whole machine.
    pub sockets: Vec<PathBuf>,
}

impl Unreadable {
    /// Looks where [`folders`](super::folders) does.
    pub fn now() -> Self {
        match std::env::var_os("VRAMKIT_RUNTIME_DIR") {
            Some(named) => Self::within(&[], &[named.into()]),
            None => Self::within(&["/run/user".as_ref()], &of_users("/tmp".as_ref()))
                .with_sockets(HOST_FOLDER.as_ref()),
        }
    }

    /// Of folders with a folder `vramkit` for each user, and of such as are one user's.
    fn within(by_user: &[&Path], own: &[PathBuf]) -> Self {
        let mut folders: Vec<PathBuf> = own.iter().filter(|folder| is_denied(folder)).cloned().collect();
        for by_user in by_user {
            if is_denied(by_user) {
                folders.push((*by_user).to_owned());
            }
            let users = fs::read_dir(by_user).into_iter().flatten().flatten().map(|user| user.path());
            folders.extend(users.filter(|user| is_denied(&user.join("vramkit"))));
        }
        folders.sort();
        Self { folders, sockets: Vec::new() }
    }

    /// With the sockets of a folder that this user may not connect to.
    fn with_sockets(mut self, folder: &Path) -> Self {
        if is_denied(folder) {
            self.folders.push(folder.to_owned());
        }
        self.sockets =
            sockets(folder).map(|(path, _)| path).filter(|path| !may(path, Access::WRITE_OK)).collect();
        self.sockets.sort();
        self
    }

    /// Whether there is nothing of the kind.
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty() && self.sockets.is_empty()
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (found, one) in [(&self.folders, "folder"), (&self.sockets, "socket")] {
            let Some(first) = found.first() else { continue };
            let (plural, more) = if found.len() > 1 { ("s", ", …") } else { ("", "") };
            let first = first.display().to_string();
            let first = clean(&first, WORDS);
            write!(
                f,
                "{between}{} {one}{plural} of other users cannot be read ({first}{more})",
                found.len()
            )?;
            between = ", ";
        }
        write!(
            f,
            ": pools published there are not seen. Members of {HOST_FOLDER}'s group see those of all who publish in it; root sees all"
        )
    }
}

fn is_denied(folder: &Path) -> bool {
    fs::read_dir(folder).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Folders `vramkit-UID` in one where everybody makes folders: real ones, of the user in their name.
pub(super) fn of_users(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let theirs = entries.filter(|entry| {
        let name = entry.file_name();
        let user = name.to_str().and_then(|name| number(name.strip_prefix("vramkit-")?.as_ref()));
        user.is_some_and(|user| is_of(&entry.path(), user))
    });
    theirs.map(|entry| entry.path()).collect()
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn folder(name: &str, mode: u32) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("vramkit-host-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("it is ours");
        folder
    }

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn for_many_is_a_real_folder_of_roots_that_is_sticky() {
        let [sticky, plain] = [("sticky", 0o3777), ("plain", 0o777)].map(|(name, mode)| folder(name, mode));
        let link = plain.join("link");
        std::os::unix::fs::symlink(&sticky, &link).expect("a link");
        assert_eq!(is_shared(&sticky), is_root(), "it is this user's");
        assert_eq!(may_publish(&sticky), is_root());
        assert_eq!(socket_mode(&sticky), if is_root() { 0o660 } else { 0o600 });
        assert!(!is_shared(&plain) && !is_shared(&link) && !is_shared(&plain.join("none")));
        assert_eq!(socket_mode(&plain), 0o600);
        assert!(is_roots(0, || true) && !is_roots(1000, || false));
        assert!(is_roots(NOBODY, || false) && !is_roots(NOBODY, || true), "in a user namespace alone");
        for folder in [sticky, plain] {
            fs::remove_dir_all(folder).expect("it is there");
        }
    }

    #[test]
    fn a_sweep_takes_dead_sockets_alone() {
        let folder = folder("sweep", 0o700);
        let live = UnixListener::bind(folder.join("1.0.sock")).expect("a socket");
        drop(UnixListener::bind(folder.join("2.0.sock")).expect("a socket"));
        drop(UnixListener::bind(folder.join("3.0.begun")).expect("one that has not begun to listen"));
        fs::write(folder.join("4.0.sock"), "a file").expect("a file");
        sweep(&folder);
        let is_there = |name: &str| folder.join(name).exists();
        assert!(is_there("1.0.sock") && is_there("3.0.begun") && is_there("4.0.sock"));
        assert_eq!(is_there("2.0.sock"), !cfg!(target_os = "linux"));
        drop(live);
        fs::remove_dir_all(folder).expect("it is there");
    }

    #[test]
    fn what_may_not_be_read_is_said_with_its_number() {
        let hidden = Unreadable { folders: vec!["/run/user/1".into(), "/tmp/b".into()], sockets: vec![] };
        assert!(
            hidden.to_string().starts_with("2 folders of other users cannot be read (/run/user/1, …): pools")
        );
        let hidden = Unreadable { folders: vec!["/tmp/b".into()], sockets: vec!["/run/v/1.sock".into()] };
        let words = "1 folder of other users cannot be read (/tmp/b), 1 socket of other users cannot be read (/run/v/1.sock): ";
        assert!(hidden.to_string().starts_with(words), "{hidden}");
        assert!(Unreadable::default().is_empty() && !hidden.is_empty());
    }

    #[test]
    fn folders_that_may_be_read_or_are_not_there_are_not_told() {
        let all = folder("all", 0o755);
        for user in ["1001/vramkit", "1002/vramkit", "1003"] {
            fs::create_dir_all(all.join(user)).expect("a folder");
        }
        let open = Unreadable::within(&[&all, &all.join("none")], &[all.join("1001"), all.join("none")]);
        assert_eq!(open, Unreadable::default());
        fs::set_permissions(all.join("1002"), fs::Permissions::from_mode(0o000)).expect("it is ours");
        let closed = Unreadable::within(&[&all], &[]).folders;
        // Root may read everything.
        assert_eq!(closed, if is_root() { vec![] } else { vec![all.join("1002")] });
        fs::set_permissions(all.join("1002"), fs::Permissions::from_mode(0o700)).expect("it is ours");
        fs::remove_dir_all(all).expect("it is there");
    }
}
