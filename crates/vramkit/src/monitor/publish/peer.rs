//! Who is at the other end of a socket, as the kernel says: never what it says of itself.
//!
//! The kernel keeps the number of the process that began to listen, alive or not: a child may go on listening after it has ended,
//! and the number be given to a process of somebody else. So the process itself is looked at (`SO_PEERPIDFD`, since Linux 6.5);
//! where that cannot be, a process of other users is not the one.

use std::io;
use std::os::fd::AsFd;

/// A process at the other end of a socket: the one that listens there.
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use vramkit::monitor::publish::Peer;
///
/// let (one, _other) = UnixStream::pair()?;
/// if let Ok(peer) = Peer::of(&one) {
///     assert_eq!(peer.pid, Some(std::process::id()));
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its number in this process's own PID namespace; none where it cannot be seen from here, or has ended.
    pub pid: Option<u32>,
    /// The user that it ran as when it began to listen.
    pub uid: u32,
}

impl Peer {
    /// The peer of a connected socket.
    ///
    /// # Errors
    /// What the system says; that it does not tell, on systems other than Linux.
    #[cfg(target_os = "linux")]
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        // Of rustix, a process's number is never 0, which here stands for one of another namespace.
        let found = nix::sys::socket::getsockopt(socket, nix::sys::socket::sockopt::PeerCredentials)?;
        let uid = found.uid();
        let is_it =
            |pid: &u32| *pid != 0 && has_ended(socket).map_or_else(|| !is_others(*pid, uid), |ended| !ended);
        let pid = u32::try_from(found.pid()).ok().filter(is_it);
        Ok(Self { pid, uid })
    }

    /// The peer of a connected socket.
    ///
    /// # Errors
    /// Always: this system does not tell.
    #[cfg(not(target_os = "linux"))]
    pub fn of(_socket: &impl AsFd) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Whether the process that began to listen has ended; nothing where this kernel cannot say.
#[cfg(target_os = "linux")]
fn has_ended(socket: &impl AsFd) -> Option<bool> {
    use nix::errno::Errno;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let process = match nix::sys::socket::getsockopt(socket, nix::sys::socket::sockopt::PeerPidfd) {
        Ok(process) => process,
        // Up to 6.15 there is no descriptor of what has ended.
        Err(Errno::EINVAL | Errno::ESRCH) => return Some(true),
        Err(_) => return None,
    };
    let mut asked = [PollFd::new(&process, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).ok().map(|ended| ended > 0)
}

/// Whether a process of this number is none of the user's: neither acts as that user nor may come back to it.
#[cfg(target_os = "linux")]
fn is_others(pid: u32, uid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    users.is_some_and(|users| !users.split_whitespace().any(|user| user.parse() == Ok(uid)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::{Command, Stdio};

    use super::*;

    const VARIABLE: &str = "VRAMKIT_TEST_LISTENS_AT";

    /// Run by the test below as a process of its own: it begins to listen, leaves that to a child, and ends.
    #[test]
    #[expect(clippy::zombie_processes, reason = "this process ends before its child")]
    fn listens_and_ends() {
        let Ok(path) = std::env::var(VARIABLE) else { return };
        let listener = UnixListener::bind(&path).unwrap();
        let mut child = Command::new("sleep");
        child.arg("60").stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)));
        let child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::fs::write(format!("{path}.child"), child.id().to_string()).unwrap();
    }

    #[test]
    fn who_began_to_listen_and_has_ended_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let living = UnixListener::bind(folder.path().join("living")).unwrap();
        let to_living = UnixStream::connect(folder.path().join("living")).unwrap();
        assert_eq!(Peer::of(&to_living).unwrap().pid, Some(std::process::id()));
        drop(living);
        let this = std::env::current_exe().unwrap();
        let arguments = ["monitor::publish::peer::tests::listens_and_ends", "--exact"];
        let done = Command::new(this).args(arguments).env(VARIABLE, &path).output().unwrap();
        assert!(done.status.success());
        let child = std::fs::read_to_string(folder.path().join("s.child")).unwrap();
        let peer = Peer::of(&UnixStream::connect(&path).unwrap()).unwrap();
        Command::new("kill").arg(child).status().unwrap();
        assert_eq!((peer.pid, peer.uid), (None, rustix::process::getuid().as_raw()));
    }

    #[test]
    fn a_process_of_another_user_is_not_the_one() {
        let uid = rustix::process::getuid().as_raw();
        assert!(!is_others(std::process::id(), uid));
        assert!(is_others(std::process::id(), uid + 4242));
        assert!(!is_others(u32::MAX, uid), "what cannot be looked at is not contradicted");
    }
}
