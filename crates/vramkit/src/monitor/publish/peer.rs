//! Who is at the other end of a socket, as the kernel says: never what it says of itself.

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
    /// Its number in this process's own PID namespace; none where it cannot be seen from here.
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
        let pid = u32::try_from(found.pid()).ok().filter(|pid| *pid != 0);
        Ok(Self { pid, uid: found.uid() })
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
