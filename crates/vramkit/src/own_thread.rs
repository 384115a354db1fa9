//! A thread that its owner ends, in the process that began it. A forked child has its parent's values and none of its threads.

use std::io;
use std::thread::JoinHandle;

/// A thread, and the process that it is in.
#[derive(Debug)]
pub(crate) struct OwnThread {
    handle: Option<JoinHandle<()>>,
    pid: u32,
}

impl OwnThread {
    pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { handle: Some(handle), pid: std::process::id() })
    }

    /// Whether it is in this process.
    pub(crate) fn is_here(&self) -> bool {
        std::process::id() == self.pid
    }

    /// Waits for its end, where it is here; not for that of the thread which calls.
    pub(crate) fn join(&mut self) {
        if self.is_here()
            && let Some(handle) =
                self.handle.take_if(|handle| handle.thread().id() != std::thread::current().id())
        {
            let _ = handle.join();
        }
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        if !self.is_here() {
            // Joining or detaching a thread that is not here is undefined.
            std::mem::forget(self.handle.take());
        }
    }
}
