//! Lets other processes see this one's pools: a socket in the user's runtime folder, which answers every connection with
//! one JSON document and hangs up. Nothing happens while nobody asks; when the process ends, nobody answers.
//!
//! Opt-in: a program makes a [`Publisher`] and keeps it. `vramkit top` and `vramkit serve` read all that they may.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use vramkit::ByteSize;
//! use vramkit::device::HostDevice;
//! use vramkit::monitor::publish::{PublishedReader, Publisher, folder};
//! use vramkit::pool::DeviceMemoryPool;
//!
//! let capacity = ByteSize::mib(64);
//! let pool = Arc::new(DeviceMemoryPool::new(Arc::new(HostDevice::new(capacity)), capacity)?);
//! let _publisher = Publisher::new(&[("main", &pool)])?;
//! // In another process:
//! for process in PublishedReader::default().read(&folder()) {
//!     println!("{}: {} pools", process.pid, process.pools.len());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A forked child has its parent's publisher, but neither its thread nor the right to its socket: there it does nothing.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::decisions::Decision;
use super::pool_use::PoolUse;
use super::vram_monitor::{VramMonitor, WeakMonitor};
use crate::own_thread::OwnThread;
use crate::pool::DeviceMemoryPool;
use crate::sync::lock_std;
use crate::trace::TraceCollector;

/// Whether a folder is a real one of this user's.
fn is_own(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir() && found.uid() == user())
}

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

const SCHEMA: &str = "vramkit.published/1";
/// How long a peer may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long one that took longer is left alone.
const REST: Duration = Duration::from_secs(30);
/// Most bytes of a document, and most sockets that are asked.
const LARGEST: u64 = 8 << 20;
const MOST: usize = 256;

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
    shown: Arc<Mutex<Vec<Shown>>>,
    ended: Arc<AtomicBool>,
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
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        prepare(folder)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{}.{number}.sock", std::process::id()));
        // Left over from a process of the same number.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
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
        let ended = Arc::new(AtomicBool::new(false));
        let (flag, pools) = (ended.clone(), shown.clone());
        let thread = OwnThread::spawn("vramkit-publish", move || answer(&listener, &pools, &flag))?;
        Ok(Self { path, shown, ended, thread })
    }

    /// Shows the last decisions of a pool's orchestrator
    /// (its `trace`) beside the pool of that name. False
    /// when there is none of that name.
    pub fn show_decisions(&self, pool: &str, trace: &Arc<TraceCollector>) -> bool {
        let mut shown = lock_std(&self.shown);
        let Some(found) = shown.iter_mut().find(|shown| shown.name == pool) else {
            return false;
        };
        found.trace = Arc::downgrade(trace);
        true
    }
}

impl Publisher {
    /// Shows the counts of a monitor (limits passed, cleanups, generations) beside the pool of that name, while
    /// there is one. False when there is none of that name.
    pub fn show_monitor(&self, pool: &str, monitor: &VramMonitor) -> bool {
        let mut shown = lock_std(&self.shown);
        let Some(found) = shown.iter_mut().find(|shown| shown.name == pool) else {
            return false;
        };
        found.monitor = monitor.downgrade();
        true
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if !self.thread.is_here() {
            // A forked child: the socket is its parent's.
            return;
        }
        self.ended.store(true, Ordering::Release);
        // Wakes the thread.
        let _ = UnixStream::connect(&self.path);
        self.thread.join();
        let _ = fs::remove_file(&self.path);
    }
}

fn answer(listener: &UnixListener, shown: &Mutex<Vec<Shown>>, ended: &AtomicBool) {
    for stream in listener.incoming() {
        if ended.load(Ordering::Acquire) {
            return;
        }
        let Ok(mut stream) = stream else {
            // Out of descriptors, most likely: not to be asked again at once.
            std::thread::sleep(PATIENCE);
            continue;
        };
        let shown = lock_std(shown).clone();
        let pools = shown.iter().filter_map(Shown::read);
        let document = Published { schema: SCHEMA.into(), pid: std::process::id(), pools: pools.collect() };
        let sent = stream.set_write_timeout(Some(PATIENCE)).and_then(|()| {
            let text = serde_json::to_vec(&document)?;
            stream.write_all(&text)
        });
        if let Err(error) = sent {
            tracing::debug!(%error, "a reader of published pools went away");
        }
    }
}

/// Where this user's processes publish: `vramkit` in the runtime folder (`XDG_RUNTIME_DIR`), or `/tmp/vramkit-UID`.
/// `VRAMKIT_RUNTIME_DIR` names another one.
pub fn folder() -> PathBuf {
    if let Some(named) = std::env::var_os("VRAMKIT_RUNTIME_DIR") {
        return named.into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(runtime) if !runtime.is_empty() => Path::new(&runtime).join("vramkit"),
        _ => PathBuf::from(format!("/tmp/vramkit-{}", user())),
    }
}

/// Every folder that processes may publish in, as far as this user may read them: its own, and those of others for root.
pub fn folders() -> Vec<PathBuf> {
    let mut folders = vec![folder()];
    if std::env::var_os("VRAMKIT_RUNTIME_DIR").is_none() {
        let others =
            fs::read_dir("/run/user").into_iter().flatten().flatten().map(|user| user.path().join("vramkit"));
        let temporary = fs::read_dir("/tmp").into_iter().flatten().flatten().map(|entry| entry.path());
        let named = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vramkit-"))
        };
        // Not what only points to a folder: those may be anybody's.
        let is_real = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
        folders.extend(others.chain(temporary.filter(named)).filter(is_real));
    }
    folders.sort();
    folders.dedup();
    folders
}

fn user() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Makes the folder for this user alone, or refuses one that somebody else owns.
fn prepare(folder: &Path) -> io::Result<()> {
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

/// Asks processes what they publish. One that did not answer in time is left alone for a while, so that a stopped process
/// costs its reader no second patience at every look.
#[derive(Clone, Debug, Default)]
pub struct PublishedReader {
    slow: HashMap<PathBuf, Instant>,
}

/// What came of asking.
enum Answer {
    Document(Box<Published>),
    /// It took too long.
    Slow,
    /// Nobody, or nothing that is such a document.
    None,
}

impl PublishedReader {
    /// What every process in a folder publishes. Whoever does not answer in time, or not with such a document, is left
    /// out; in this user's own folder, sockets that nobody listens on are removed.
    pub fn read(&mut self, folder: &Path) -> Vec<Published> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_socket = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "sock");
        let mut sockets: Vec<PathBuf> = entries.filter(is_socket).take(MOST).collect();
        sockets.sort();
        self.slow.retain(|_, since| since.elapsed() < REST);
        let own = is_own(folder);
        let mut found = Vec::new();
        for path in sockets {
            if self.slow.contains_key(&path) {
                continue;
            }
            match ask(&path, own) {
                Answer::Document(document) => found.push(*document),
                Answer::Slow => drop(self.slow.insert(path, Instant::now())),
                Answer::None => {}
            }
        }
        found
    }
}

fn ask(path: &Path, may_remove: bool) -> Answer {
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) => {
            if error.kind() == io::ErrorKind::ConnectionRefused && may_remove {
                let _ = fs::remove_file(path);
            }
            return Answer::None;
        }
    };
    if stream.set_read_timeout(Some(PATIENCE)).is_err() {
        return Answer::None;
    }
    let started = Instant::now();
    let (mut text, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => text.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Answer::Slow,
        }
        // One that sends a byte at a time does not hold its reader up for long either.
        if text.len() as u64 > LARGEST || started.elapsed() > PATIENCE * 2 {
            return Answer::Slow;
        }
    }
    match serde_json::from_slice::<Published>(&text) {
        Ok(mut found) if found.schema == SCHEMA => {
            found.pools.iter_mut().for_each(|pool| Decision::bound_all(&mut pool.decisions));
            Answer::Document(Box::new(found))
        }
        _ => Answer::None,
    }
}
