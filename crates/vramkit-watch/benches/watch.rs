//! What a tick costs: 8 cards with 32 processes each, over the stand-in for NVML, with this machine's own memory and a look
//! for published pools. `cargo bench -p vramkit-watch`.

#![allow(clippy::print_stdout, unsafe_code)]

use std::time::{Duration, Instant};

use vramkit_watch::{NvmlSource, PublishedPools, Source, WatchConfig, Watcher, host::HostSource};

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("cards.json");
    let processes: Vec<String> =
        (0..32).map(|i| format!("{{\"pid\": {}, \"used\": 1073741824}}", i + 1)).collect();
    let card = format!(
        "{{\"name\": \"card\", \"uuid\": \"GPU\", \"total\": 85899345920, \"free\": 42949672960, \"used\": 42949672960, \"reserved\": 0, \"processes\": [{}]}}",
        processes.join(",")
    );
    std::fs::write(&script, format!("{{\"once\": true, \"cards\": [{}]}}", vec![card; 8].join(",")))
        .expect("a script");
    // SAFETY: there is one thread.
    unsafe { std::env::set_var("VRAMKIT_STANDIN_NVML", &script) };
    let library = std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.parent()?.join("libvramkit_standin.so")))
        .expect("a program has a folder");
    let sources: Vec<Box<dyn Source>> = vec![
        Box::new(NvmlSource::of(library.as_os_str())),
        Box::new(HostSource::default()),
        Box::new(PublishedPools::of(folder.path().to_owned())),
    ];
    let mut watcher = Watcher::new(sources, WatchConfig::default()).expect("the preset's ladder");
    assert_eq!(
        watcher.tick(Duration::ZERO).devices.len(),
        9,
        "the stand-in is built by cargo beside this program"
    );
    let mut best = f64::INFINITY;
    for round in 0..20u64 {
        let start = Instant::now();
        (1..=50).for_each(|second| drop(watcher.tick(Duration::from_secs(round * 50 + second))));
        best = best.min(start.elapsed().as_secs_f64() / 50.0);
    }
    println!("a tick of 8 cards x 32 processes: {:.0} us (required: < 1,000)", best * 1e6);
}
