//! Which pods a Kubernetes node's cards are assigned to, as its kubelet says.
//!
//! ```text
//! kubelet.sock ──call (gRPC, deadline, bound)──► messages ──► assigned: card ──► pod, container ──► the watcher's devices
//! ```
//!
//! In: the kubelet's socket. Out: readings without devices of their own, which say to whom the devices of other sources are
//! assigned. Never here: anything that asks the cluster.
//!
//! ```
//! use vramkit_kubelet::KubeletSource;
//!
//! use vramkit_watch::{Health, Source};
//!
//! match KubeletSource::of_this_machine().read().health {
//!     Health::Absent => println!("no kubelet is here, or it is not this user's to ask"),
//!     _ => println!("this is a node of Kubernetes"),
//! }
//! ```

mod assigned;
mod call;
mod messages;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use prost::Message;
use tokio::runtime::{Builder, Runtime};
use vramkit::monitor::text::{WORDS, clean};
use vramkit_watch::{Health, Readings, Source, Unavailable, system_root};

use crate::call::{CallError, call};
use crate::messages::{LIST, PodList};

/// Where a kubelet listens.
const SOCKET: &str = "var/lib/kubelet/pod-resources/kubelet.sock";
/// Pods change seldom, and the kubelet has other work.
const FRESH: Duration = Duration::from_secs(2);
/// For how long what it said stands when it is slow.
const HOLDS: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_secs(5);

/// See the module's first lines.
///
/// ```
/// use vramkit_kubelet::KubeletSource;
/// use vramkit_watch::{Health, Source};
///
/// let mut source = KubeletSource::at("/nowhere/kubelet.sock".as_ref());
/// assert_eq!(source.read().health, Health::Absent);
/// ```
#[derive(Debug)]
pub struct KubeletSource {
    socket: PathBuf,
    runtime: Option<Runtime>,
    /// What it said last, and when.
    last: Option<(Instant, Readings)>,
}

impl KubeletSource {
    /// At this machine's kubelet, whether or not there is one: a node may join a cluster later.
    pub fn of_this_machine() -> Self {
        Self::at(&system_root().join(SOCKET))
    }

    /// Asks at a socket.
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), runtime: None, last: None }
    }

    fn ask(&mut self) -> Result<Readings, CallError> {
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => Builder::new_current_thread().enable_all().build().map_err(CallError::Connect)?,
        };
        let runtime = self.runtime.insert(runtime);
        let bytes = runtime.block_on(call(&self.socket, LIST, DEADLINE))?;
        let list =
            PodList::decode(bytes).map_err(|_| CallError::Nonsense("it is no list of pods' resources"))?;
        let (assigned, unknown) = assigned::of(list);
        let unavailable = unknown.into_iter().map(|reason| self.unavailable(reason)).collect();
        Ok(Readings { assigned, unavailable, ..Readings::default() })
    }

    fn unavailable(&self, reason: String) -> Unavailable {
        Unavailable { source: self.name().to_owned(), reason }
    }
}

impl Source for KubeletSource {
    fn name(&self) -> &'static str {
        "kubelet"
    }

    fn read(&mut self) -> Readings {
        if let Some((_, readings)) = self.last.as_ref().filter(|(when, _)| when.elapsed() < FRESH) {
            return readings.clone();
        }
        let readings = self.ask().unwrap_or_else(|error| {
            let socket = self.socket.display();
            // A user who may not ask, or a node whose kubelet does not offer it, is no fault of the kubelet's.
            let (health, reason) = match &error {
                CallError::Connect(cause) if cause.kind() == io::ErrorKind::PermissionDenied => (
                    Health::Absent,
                    format!("{socket} is root's alone: which pods cards are assigned to is not known"),
                ),
                // What nobody has is nothing to say.
                CallError::Connect(cause)
                    if cause.kind() == io::ErrorKind::NotFound
                        && !self.socket.parent().is_some_and(Path::is_dir) =>
                {
                    return Readings { health: Health::Absent, ..Readings::default() };
                }
                CallError::Connect(cause) if cause.kind() == io::ErrorKind::NotFound => {
                    (Health::Absent, format!("no kubelet listens at {socket}"))
                }
                error => (Health::Failing, format!("{socket} {error}")),
            };
            let unavailable = vec![self.unavailable(clean(&reason, WORDS).into_owned())];
            Readings { health, unavailable, ..Readings::default() }
        });
        self.last = Some((Instant::now(), readings.clone()));
        readings
    }

    fn holds(&self) -> Duration {
        HOLDS
    }
}

#[cfg(test)]
mod tests;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
