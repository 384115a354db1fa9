//! Publishes pools: a thread that waits at a socket, and answers whoever connects.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::super::decisions::Decision;
use super::super::pool_use::PoolUse;
use super::super::vram_monitor::{VramMonitor, WeakMonitor};
use super::document::{PATIENCE, Published, SCHEMA, folder};
use super::host_folder::{is_shared, socket_mode, sweep};
use super::owner::is_own;
use crate::own_thread::OwnThread;
use crate::pool::DeviceMemoryPool;
use crate::sync::lock_std;
use crate::trace::TraceCollector;

/// Names that are tried, and most publishers that a process makes where names are taken.
const MOST_NAMES: u64 = 1 << 16;

/// Answers for some pools until it is dropped. Pools that are gone are left out.
///
/// ```
/// # use std::sync::Arc;
/// # use vramkit::{ByteSize, device::SimulatedDevice, pool::DeviceMemoryPool};
/// use vramkit::monitor::publish::Publisher;
///
/// let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
/// let pool = Arc::new(DeviceMemoryPool::new(device, ByteSize::mib(64))?);
/// # let folder = std::env::temp_dir().join(format!("vramkit-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let shown = Publisher::within(&folder, &[("kv", &pool)])?; // `new` for the folder that `vramkit top` reads
/// drop(shown); // and it is gone
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Publisher {
    path: PathBuf,
    /// Of the socket: what has its name may be another's by now.
    inode: u64,
    shown: Arc<Mutex<Vec<Shown>>>,
    /// A byte written here ends the thread: it must end though its socket's file is gone, or its queue full.
    end: UnixStream,
    thread: OwnThread,
}

/// A pool to publish, its name, and who decides about it.
#[derive(Clone, Debug)]
struct Shown {
    name: String,
    pool: Weak<DeviceMemoryPool>,
    trace: Weak<TraceCollector>,
    monitor: WeakMonitor,
}

impl Shown {
    fn read(&self) -> Option<PoolUse> {
        let mut read = PoolUse::of(&self.name, &*self.pool.upgrade()?);
        read.decisions = self.trace.upgrade().map_or_else(Vec::new, |trace| Decision::last_of(&trace));
        read.monitor = self.monitor.upgrade().map(|monitor| monitor.stats());
        Some(read)
    }
}

impl Publisher {
    /// Publishes pools under their names, in [`folder`].
    ///
    /// # Errors
    ///
    /// When the folder is another user's, or the socket or its thread cannot be made.
    pub fn new(pools: &[(&str, &Arc<DeviceMemoryPool>)]) -> io::Result<Self> {
        Self::within(&folder(), pools)
    }

    /// As [`new`](Self::new), in a folder of the caller's.
    pub fn within(folder: &Path, pools: &[(&str, &Arc<DeviceMemoryPool>)]) -> io::Result<Self> {
        prepare(folder)?;
        let (listener, path) = listen(folder)?;
        let inode = fs::metadata(&path)?.ino();
        let shown: Vec<Shown> = pools
            .iter()
            .map(|(name, pool)| Shown {
                name: (*name).to_owned(),
                pool: Arc::downgrade(pool),
                trace: Weak::new(),
                monitor: WeakMonitor::default(),
            })
            .collect();
        let shown = Arc::new(Mutex::new(shown));
        let (end, ended) = UnixStream::pair()?;
        let pools = shown.clone();
        let thread = OwnThread::spawn("vramkit-publish", move || answer_until(&ended, &listener, &pools))?;
        Ok(Self { path, inode, shown, end, thread })
    }

    /// Shows the last decisions of a pool's orchestrator (its `trace`) beside the pool of that name. False when there is none
    /// of that name.
    pub fn show_decisions(&self, pool: &str, trace: &Arc<TraceCollector>) -> bool {
        self.show(pool, |shown| shown.trace = Arc::downgrade(trace))
    }

    /// Shows the counts of a monitor (limits passed, cleanups, generations) beside the pool of that name, while
    /// there is one. False when there is none of that name.
    pub fn show_monitor(&self, pool: &str, monitor: &VramMonitor) -> bool {
        self.show(pool, |shown| shown.monitor = monitor.downgrade())
    }

    fn show(&self, pool: &str, set: impl FnOnce(&mut Shown)) -> bool {
        lock_std(&self.shown).iter_mut().find(|shown| shown.name == pool).map(set).is_some()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if !self.thread.is_here() {
            // A forked child: the socket is its parent's.
            return;
        }
        // One byte always has room.
        let _ = (&self.end).write_all(&[0]);
        self.thread.join();
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at a name of its own. Processes of several containers may have one number, and one folder.
fn listen(folder: &Path) -> io::Result<(UnixListener, PathBuf)> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let named = |ending| folder.join(format!("{}.{number}.{ending}", std::process::id()));
        let (path, begun) = (named("sock"), named("begun"));
        let listener = match UnixListener::bind(&begun) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && number < MOST_NAMES => continue,
            bound => bound?,
        };
        // Readers remove what nobody listens on: it gets the name that they look for when it listens, and nobody else's.
        let linked = listener
            .set_nonblocking(true)
            .and_then(|()| fs::set_permissions(&begun, fs::Permissions::from_mode(socket_mode(folder))))
            .and_then(|()| fs::hard_link(&begun, &path));
        let _ = fs::remove_file(&begun);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MOST_NAMES => {}
            linked => return linked.map(|()| (listener, path)),
        }
    }
}

fn answer_until(ended: &UnixStream, listener: &UnixListener, shown: &Mutex<Vec<Shown>>) {
    loop {
        let mut waits = [PollFd::new(ended, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
        let waited = poll(&mut waits, None);
        if !waits[0].revents().is_empty() {
            return;
        }
        match waited.map_err(io::Error::from).and_then(|_| listener.accept()) {
            Ok((stream, _)) => answer(stream, shown),
            // Interrupted, or who asked has gone again.
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            // Out of descriptors, most likely: not to be asked again at once.
            Err(_) => std::thread::sleep(PATIENCE),
        }
    }
}

fn answer(mut stream: UnixStream, shown: &Mutex<Vec<Shown>>) {
    let started = Instant::now();
    let shown = lock_std(shown).clone();
    let pools = shown.iter().filter_map(Shown::read);
    let document = Published { schema: SCHEMA.into(), pid: std::process::id(), pools: pools.collect() };
    let send = || {
        stream.set_nonblocking(false)?;
        let text = serde_json::to_vec(&document)?;
        let mut left = text.as_slice();
        // One that takes a byte at a time does not keep others waiting.
        while !left.is_empty() {
            let patience = PATIENCE.saturating_sub(started.elapsed()).max(Duration::from_millis(1));
            stream.set_write_timeout(Some(patience))?;
            match stream.write(left) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => left = &left[written?..],
            }
            if started.elapsed() >= PATIENCE && !left.is_empty() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    };
    let sent: io::Result<()> = { send }();
    if let Err(error) = sent {
        tracing::debug!(%error, "a reader of published pools went away");
    }
}

/// Makes the folder for this user alone, or refuses one that somebody else owns, but for one that is for all.
fn prepare(folder: &Path) -> io::Result<()> {
    if is_shared(folder) {
        sweep(folder);
        return Ok(());
    }
    if let Err(error) = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    if !is_own(folder) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("`{}` is not this user's folder", folder.display()),
        ));
    }
    Ok(())
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::device::SimulatedDevice;
    use crate::pool::Request;
    use crate::units::ByteSize;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("vramkit-publisher-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn socket_in(folder: &Path) -> PathBuf {
        let mut entries =
            fs::read_dir(folder).expect("the folder is there").flatten().map(|entry| entry.path());
        entries.find(|path| path.extension().is_some_and(|ending| ending == "sock")).expect("a socket")
    }

    #[test]
    fn a_folder_whose_name_no_socket_can_have_is_refused() {
        let long = folder("long").join("x".repeat(120));
        assert!(Publisher::within(&long, &[]).is_err());
        fs::remove_dir_all(long.parent().expect("it has one")).expect("the folder is there");
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_refused() {
        let path = folder("file").join("file");
        fs::write(&path, "").expect("a file");
        let error = Publisher::within(&path, &[]).expect_err("it is no folder");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        fs::remove_dir_all(path.parent().expect("it has one")).expect("the folder is there");
    }

    #[test]
    fn a_reader_that_takes_its_time_gets_all_of_a_large_document() {
        let folder = folder("slow");
        let device = Arc::new(SimulatedDevice::new(ByteSize::gib(1)));
        let pool = Arc::new(DeviceMemoryPool::new(device, ByteSize::gib(1)).expect("a pool"));
        let held: Vec<_> = (0..8000)
            .map(|number| {
                let tag = pool.tag(&format!("a tag that takes its room {number:>40}"));
                let request = Request::new(ByteSize::new(4096)).tag(tag);
                pool.allocate(request).expect("there is room")
            })
            .collect();
        let shown = Publisher::within(&folder, &[("kv", &pool)]).expect("it is published");
        let read = |pause: Duration| {
            let mut stream = UnixStream::connect(socket_in(&folder)).expect("it listens");
            let (mut text, mut piece) = (Vec::new(), vec![0; 1 << 18]);
            std::thread::sleep(pause);
            while let Ok(count) = stream.read(&mut piece) {
                if count == 0 {
                    break;
                }
                text.extend_from_slice(&piece[..count]);
                std::thread::sleep(pause);
            }
            text
        };
        let whole = read(Duration::from_millis(5));
        assert!(whole.len() > 1 << 19, "it is more than a socket holds: {}", whole.len());
        let document: Published = serde_json::from_slice(&whole).expect("the whole of it");
        assert_eq!(document.pools.len(), 1);
        // One that takes too long gets a part, and the next all.
        let begun = Instant::now();
        let part = read(PATIENCE * 3);
        assert!(serde_json::from_slice::<Published>(&part).is_err(), "{} bytes", part.len());
        assert!(begun.elapsed() >= PATIENCE * 3);
        assert!(serde_json::from_slice::<Published>(&read(Duration::ZERO)).is_ok());
        drop(held);
        drop(shown);
        fs::remove_dir_all(folder).expect("the folder is there");
    }
}
