//! Sockets in folders that may be anybody's: found within a bound, connected to without waiting, and removed when nobody
//! listens on them any more. Everything goes by descriptors of the folder and of the socket's file, so that a name that comes
//! to mean something else in between leads nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, statat, unlinkat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};

use super::host_folder::is_shared;

/// Most names of a folder that are looked at, and of one user's.
const NAMES: usize = 1 << 16;
const LISTED: usize = 4096;

/// A folder, held open.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    dir: OwnedFd,
    uid: u32,
    is_shared: bool,
}

/// A socket's file in a folder.
#[derive(Debug)]
pub(super) struct SocketFile {
    folder: Arc<Folder>,
    name: Vec<u8>,
    /// Whose file it is.
    pub(super) uid: u32,
    /// Tells one file from another, by whatever name.
    pub(super) file: (u64, u64),
}

/// What came of connecting.
#[derive(Debug)]
pub(super) enum Connected {
    /// Somebody listens; nothing here blocks.
    To(UnixStream),
    /// Somebody listens, and does not come to accept anybody.
    Full,
    /// Nobody listens any more.
    Dead,
    /// Nobody did, and the file has gone.
    Removed,
    /// This process has no descriptor left to connect with.
    NoDescriptor,
    /// It is not there, or not for this user.
    Not,
}

/// Sockets (`*.sock`) of a folder by name, and the users of whom there are more than are looked at: a folder may be many users'.
pub(super) fn sockets_in(path: &Path) -> (Vec<SocketFile>, BTreeSet<u32>) {
    let nothing = (Vec::new(), BTreeSet::new());
    let Ok(folder) = Folder::open(path) else { return nothing };
    let folder = Arc::new(folder);
    let Ok(entries) = Dir::read_from(&folder.dir) else { return nothing };
    let (mut found, mut more) = nothing;
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for entry in entries.map_while(Result::ok).take(NAMES) {
        let name = entry.file_name().to_bytes();
        if !name.ends_with(b".sock") || !matches!(entry.file_type(), FileType::Socket | FileType::Unknown) {
            continue;
        }
        let Ok(stat) = statat(&folder.dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
            continue;
        }
        let count = counts.entry(stat.st_uid).or_default();
        if *count == LISTED {
            more.insert(stat.st_uid);
            continue;
        }
        *count += 1;
        let file = (stat.st_dev, stat.st_ino);
        found.push(SocketFile { folder: folder.clone(), name: name.to_vec(), uid: stat.st_uid, file });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    (found, more)
}

impl Folder {
    /// Not by a link, which anybody may have put there, but for the folder that this user named.
    fn open(path: &Path) -> io::Result<Self> {
        let named = std::env::var_os("VRAMKIT_RUNTIME_DIR").is_some_and(|named| named == path.as_os_str());
        let link = if named { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | link;
        let dir = rustix::fs::open(path, flags, Mode::empty())?;
        let uid = rustix::fs::fstat(&dir)?.st_uid;
        Ok(Self { path: path.to_owned(), dir, uid, is_shared: is_shared(path) })
    }
}

impl SocketFile {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path.join(OsStr::from_bytes(&self.name))
    }

    /// Connects without waiting. A file that nobody listens on is removed where that is this user's to do.
    pub(super) fn connect(&self) -> Connected {
        match self.try_connect() {
            Ok(stream) => Connected::To(stream),
            Err(Errno::AGAIN) => Connected::Full,
            Err(Errno::CONNREFUSED) => {
                if self.remove() {
                    Connected::Removed
                } else {
                    Connected::Dead
                }
            }
            Err(Errno::MFILE | Errno::NFILE) => Connected::NoDescriptor,
            Err(_) => Connected::Not,
        }
    }

    fn try_connect(&self) -> rustix::io::Result<UnixStream> {
        let made = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        rustix::io::fcntl_setfd(&made, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&made, true)?;
        match self.address()? {
            // Without /proc only the name is left.
            Some((_held, by_descriptor)) => match connect(&made, &by_descriptor) {
                Err(Errno::NOENT | Errno::NOTDIR) => connect(&made, &SocketAddrUnix::new(self.path())?)?,
                connected => connected?,
            },
            None => connect(&made, &SocketAddrUnix::new(self.path())?)?,
        }
        Ok(made.into())
    }

    /// The file's address by a descriptor of it: of any length, and this file whatever its name means by now.
    #[cfg(target_os = "linux")]
    fn address(&self) -> rustix::io::Result<Option<(OwnedFd, SocketAddrUnix)>> {
        use std::os::fd::AsRawFd;

        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = rustix::fs::openat(&self.folder.dir, self.name.as_slice(), flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&held)?;
        if (stat.st_dev, stat.st_ino) != self.file {
            return Err(Errno::NOENT);
        }
        let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", held.as_raw_fd()))?;
        Ok(Some((held, address)))
    }

    #[cfg(not(target_os = "linux"))]
    fn address(&self) -> rustix::io::Result<Option<(OwnedFd, SocketAddrUnix)>> {
        Ok(None)
    }

    /// Removes a file that nobody listens on: this user's own, and for root another's in that one's own folder. Elsewhere than
    /// on Linux a full queue refuses too, and the file stays.
    fn remove(&self) -> bool {
        let user = super::owner::user();
        // In a folder of root's for many users nobody but root and the socket's user may; whatever its user puts in its place
        // meanwhile is that user's as well.
        let is_its_place = self.uid == self.folder.uid || self.folder.is_shared;
        let is_ours = is_its_place && (user == 0 || user == self.uid);
        if !cfg!(target_os = "linux") || !is_ours {
            return false;
        }
        let still = statat(&self.folder.dir, self.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW);
        still.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.file)
            && unlinkat(&self.folder.dir, self.name.as_slice(), AtFlags::empty()).is_ok()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("vramkit-sockets-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    #[test]
    fn sockets_are_found_by_name_and_nothing_else_is() {
        let folder = folder("found");
        let _listens = ["b.sock", "a.sock", "other"]
            .map(|name| UnixListener::bind(folder.join(name)).expect("a socket"));
        fs::write(folder.join("c.sock"), "a file").expect("a file");
        std::os::unix::fs::symlink(folder.join("a.sock"), folder.join("d.sock")).expect("a link");
        let (found, more) = sockets_in(&folder);
        let names: Vec<_> = found.iter().map(|socket| socket.name.as_slice()).collect();
        assert_eq!((names, more), (vec![b"a.sock".as_slice(), b"b.sock"], BTreeSet::new()));
        assert!(matches!(found[0].connect(), Connected::To(_)));
        // Not through a link to the folder.
        let link = folder.join("link");
        std::os::unix::fs::symlink(&folder, &link).expect("a link");
        assert!(sockets_in(&link).0.is_empty());
        assert!(sockets_in(&folder.join("none")).0.is_empty());
        fs::remove_dir_all(folder).expect("the folder is there");
    }

    #[test]
    fn what_nobody_listens_on_goes_and_what_took_its_name_stays() {
        let folder = folder("dead");
        let path = folder.join("1.sock");
        drop(UnixListener::bind(&path).expect("a socket"));
        let dead = sockets_in(&folder).0.remove(0);
        assert!(matches!(dead.connect(), Connected::Removed) && !path.exists());
        drop(UnixListener::bind(&path).expect("a socket"));
        let dead = sockets_in(&folder).0.remove(0);
        // The name means another file by now: it is neither asked nor removed.
        let _kept = fs::rename(&path, folder.join("2.sock"));
        fs::write(&path, "important").expect("a file");
        assert!(!matches!(dead.connect(), Connected::To(_)) && path.exists());
        fs::remove_dir_all(folder).expect("the folder is there");
    }

    #[test]
    fn a_socket_with_a_long_path_is_reached() {
        let deep = folder("deep").join("x".repeat(150));
        fs::create_dir_all(&deep).expect("a folder");
        let short = folder("short").join("1.sock");
        let _listens = UnixListener::bind(&short).expect("a socket");
        fs::rename(&short, deep.join("1.sock")).expect("it moves");
        let found = sockets_in(&deep).0.remove(0);
        assert_eq!(matches!(found.connect(), Connected::To(_)), cfg!(target_os = "linux"));
        fs::remove_dir_all(deep.parent().expect("it has one")).expect("the folder is there");
    }
}
