//! What a tick costs over the stand-in for NVML, with this machine's own memory and a look for published pools: 8 cards with 32
//! processes each, and 8 cards with 500 processes each and 100 pools of other programs. `cargo bench -p vramkit-watch`.

#![allow(clippy::print_stdout, unsafe_code)]

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use vramkit::monitor::PoolUse;
use vramkit_watch::{NvmlSource, PublishedPools, Source, WatchConfig, Watcher, host::HostSource};

/// This process's time on processors.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("it is this process");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().expect("a number")).sum();
    ticks / 100.0
}

/// Writes a script of cards that list this machine's processes, as many times as it takes.
fn cards(script: &Path, processes: usize) {
    let pids: Vec<u32> = std::fs::read_dir("/proc")
        .expect("a machine has processes")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    let card = |card: usize| {
        // More than there are: numbers of processes that have ended.
        let pid = |i: usize| {
            pids.get(card * processes + i).copied().unwrap_or(4_000_000 + (card * processes + i) as u32)
        };
        let list: Vec<String> =
            (0..processes).map(|i| format!("{{\"pid\": {}, \"used\": 1073741824}}", pid(i))).collect();
        format!(
            "{{\"name\": \"card\", \"uuid\": \"GPU-{card}\", \"total\": 85899345920, \"free\": 42949672960, \"used\": 42949672960, \"reserved\": 0, \"processes\": [{}]}}",
            list.join(",")
        )
    };
    let cards: Vec<String> = (0..8).map(card).collect();
    std::fs::write(script, format!("{{\"once\": true, \"cards\": [{}]}}", cards.join(",")))
        .expect("a script");
}

/// Publishes pools of a document each, as a hundred programs would.
fn publish(folder: &Path, count: usize) {
    let device = std::sync::Arc::new(vramkit::device::SimulatedDevice::new(vramkit::ByteSize::mib(64)));
    let pool = vramkit::pool::DeviceMemoryPool::new(device, vramkit::ByteSize::mib(64)).expect("a pool");
    let document =
        serde_json::json!({"schema": "vramkit.published/1", "pid": 1, "pools": [PoolUse::of("kv", &pool)]});
    let text = document.to_string();
    let listeners: Vec<UnixListener> = (0..count)
        .map(|number| UnixListener::bind(folder.join(format!("{number}.sock"))).expect("a socket"))
        .collect();
    for listener in listeners {
        let text = text.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.write_all(text.as_bytes());
            }
        });
    }
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("cards.json");
    // SAFETY: there is one thread.
    unsafe { std::env::set_var("VRAMKIT_STANDIN_NVML", &script) };
    let library = std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.parent()?.join("libvramkit_standin.so")))
        .expect("a program has a folder");
    for (processes, pools, required) in [(32, 0, 1_000), (500, 100, 20_000)] {
        cards(&script, processes);
        publish(folder.path(), pools);
        let sources: Vec<Box<dyn Source>> = vec![
            Box::new(NvmlSource::of(library.as_os_str())),
            Box::new(HostSource::default()),
            Box::new(PublishedPools::of(folder.path().to_owned())),
        ];
        let mut watcher = Watcher::new(sources, WatchConfig::default()).expect("the preset's ladder");
        let devices = watcher.tick(Duration::ZERO).devices.len();
        assert!(devices >= 9, "the stand-in is built by cargo beside this program");
        let (mut best, mut least) = (f64::INFINITY, f64::INFINITY);
        for round in 0..20u64 {
            let (start, busy) = (Instant::now(), processor_seconds());
            (1..=50).for_each(|second| drop(watcher.tick(Duration::from_secs(round * 50 + second))));
            best = best.min(start.elapsed().as_secs_f64() / 50.0);
            least = least.min((processor_seconds() - busy) / 50.0);
        }
        println!(
            "a tick of 8 cards x {processes} processes and {pools} pools: {:.0} us, {:.0} us of processors with those who answer (required: < {required})",
            best * 1e6,
            least * 1e6
        );
    }
}
