//! Documents of pools that a process publishes, through its socket, to a watcher that judges them.
#![no_main]

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use vramkit_fuzz::folder;
use vramkit_watch::{PublishedPools, WatchConfig, Watcher};

static DOCUMENT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// A process that publishes whatever the document is.
static PUBLISHER: LazyLock<()> = LazyLock::new(|| {
    let listener = UnixListener::bind(folder().join("1.sock")).expect("a socket in /dev/shm");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let document = DOCUMENT.lock().expect("no panic while it is held").clone();
            // A reader may leave before the end.
            let _ = stream.and_then(|mut stream| stream.write_all(&document));
        }
    });
});

fuzz_target!(|content: &[u8]| {
    *PUBLISHER;
    *DOCUMENT.lock().expect("no panic while it is held") = content.to_vec();
    let source = Box::new(PublishedPools::of(folder()));
    let mut watcher = Watcher::new(vec![source], WatchConfig::default()).expect("the ladder makes sense");
    for second in 0..2 {
        let tick = watcher.tick(Duration::from_secs(20 * second));
        watcher.period(&tick, Duration::from_secs(1));
    }
});
