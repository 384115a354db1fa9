//! All machines.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use vramkit::monitor::utc;
use vramkit_watch::Tick;

use crate::address::Address;
use crate::host::Host;
use crate::merge;

/// Servers on other machines, each asked on a thread of its own until this is dropped.
///
/// ```no_run
/// use std::time::Duration;
/// use vramkit_remote::Remotes;
///
/// let mut remotes = Remotes::start(&["gpu1".parse()?], Some("the token".into()), Duration::from_secs(1))?;
/// remotes.settle(Duration::from_secs(12));
/// println!("{} devices", remotes.tick().devices.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Remotes {
    hosts: Vec<Host>,
}

impl Remotes {
    /// Starts to ask every machine, so long after its last answer. One that is named twice is asked once.
    ///
    /// # Errors
    /// The system has no thread or no descriptor for one.
    pub fn start(addresses: &[Address], token: Option<String>, interval: Duration) -> io::Result<Self> {
        let mut hosts: Vec<Host> = Vec::new();
        for address in addresses {
            if hosts.iter().all(|host| host.address != *address) {
                hosts.push(Host::start(address.clone(), token.clone(), interval)?);
            }
        }
        Ok(Self { hosts })
    }

    /// Waits until every machine has answered or has failed to, but not for longer than this.
    pub fn settle(&self, patience: Duration) {
        let start = Instant::now();
        while start.elapsed() < patience && !self.hosts.iter().all(Host::is_settled) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What they say now, at once: ids of devices and sources with the machine's address before them. Each machine is also a source
    /// of its own, which says whether it answers, and since when. An event is in one tick.
    pub fn tick(&mut self) -> Tick {
        let mut merged = Tick::new(utc(SystemTime::now()));
        for host in &self.hosts {
            merge::add(&mut merged, &host.address.to_string(), host.standing());
        }
        merged
    }
}
