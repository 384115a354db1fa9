//! Machines that answer, do not, or mean no good: each a listener of this test.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vramkit_remote::{Address, Remotes};
use vramkit_watch::{EventKind, Health, Presence, Tick};

/// A server that answers each request with what a function writes.
struct Machine {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Machine {
    fn new(answer: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = requests.clone();
        let (answer, count) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, count, kept) = (answer.clone(), count.clone(), kept.clone());
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut request = Vec::new();
                    let mut byte = [0];
                    while !request.ends_with(b"\r\n\r\n")
                        && stream.read(&mut byte).is_ok_and(|read| read == 1)
                    {
                        request.push(byte[0]);
                    }
                    kept.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
                    answer(count.fetch_add(1, Ordering::SeqCst), &mut stream);
                });
            }
        });
        Self { address, requests }
    }

    /// One that says this.
    fn saying(body: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        Self::new(move |count, stream| ok(stream, &body(count)))
    }

    fn address(&self) -> Address {
        self.address.parse().unwrap()
    }
}

fn ok(stream: &mut TcpStream, body: &str) {
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}

fn document(count: usize, name: &str, changes: u64) -> Value {
    let known = |gib: u64| json!({"value": gib << 30, "source": "nvml"});
    let unknown = json!({"value": null, "source": "nvml", "unavailable": "not here"});
    let time = format!("2026-01-01T10:00:{:02}.000Z", count % 60);
    json!({"schema": "vramkit.top/1", "time": time,
        "unavailable": [{"source": "amd", "reason": "no cards"}],
        "sources": [{"source": "nvml", "health": "up", "since": time}],
        "events": [{"time": time, "device": "cuda:0", "kind": "leak_suspected", "text": format!("number {count}")}],
        "devices": [{"time": time, "device": {"id": "cuda:0", "name": name}, "class": "gpu", "total_bytes": known(80),
            "free_bytes": known(40), "used_bytes": known(40), "driver_bytes": unknown, "allocated_bytes": unknown, "reserved_bytes": unknown,
            "processes": unknown, "level": "critical", "level_readings": [0, 0, 0, 1], "level_changes": changes,
            "holders": [{"name": "vllm 7", "bytes": 1}]}]})
}

fn start(machines: &[&Machine], token: Option<&str>) -> Remotes {
    let addresses: Vec<Address> = machines.iter().map(|machine| machine.address()).collect();
    Remotes::start(&addresses, token.map(str::to_owned), Duration::from_millis(50)).unwrap()
}

/// The first tick of which this is so.
fn tick_with(remotes: &mut Remotes, is_so: impl Fn(&Tick) -> bool) -> Tick {
    let start = Instant::now();
    loop {
        let tick = remotes.tick();
        if is_so(&tick) {
            return tick;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "it never came: {tick:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn machines_are_one_tick_in_which_each_id_says_whose_it_is() {
    let (one, two) = (
        Machine::saying(|count| document(count, "A card", 0).to_string()),
        Machine::saying(|count| document(count, "Another", 0).to_string()),
    );
    let mut remotes = start(&[&one, &two, &one], Some("a-token-of-mine"));
    remotes.settle(Duration::from_secs(60));
    let tick = remotes.tick();
    let ids: Vec<&str> = tick.devices.iter().map(|device| device.snapshot.device.id.as_str()).collect();
    assert_eq!(ids, [format!("{} cuda:0", one.address), format!("{} cuda:0", two.address)]);
    let sources: Vec<&str> = tick.sources.iter().map(|source| source.source.as_str()).collect();
    let expected = [
        one.address.clone(),
        format!("{} nvml", one.address),
        two.address.clone(),
        format!("{} nvml", two.address),
    ];
    assert_eq!(sources, expected);
    assert!(tick.sources.iter().all(|source| source.health == Health::Up));
    assert!(tick.unavailable.iter().any(|absent| absent.source == format!("{} amd", one.address)));
    assert_eq!((tick.schema.as_str(), tick.devices[0].holders.len()), ("vramkit.top/1", 1));
    let request = one.requests.lock().unwrap()[0].to_lowercase();
    assert!(request.starts_with("get /api/snapshot http/1.1\r\n"), "{request}");
    assert!(
        request.contains("authorization: bearer a-token-of-mine\r\n")
            && request.contains(&format!("host: {}\r\n", one.address)),
        "{request}"
    );
}

#[test]
fn every_event_comes_once_and_changes_that_nobody_fetched_are_told() {
    // The same reading three times, then the next: meanwhile the level changed twice.
    let machine = Machine::saying(|count| {
        let reading = count / 3;
        document(reading, "A card", if reading == 0 { 1 } else { 3 }).to_string()
    });
    let mut remotes = start(&[&machine], None);
    let mut events = Vec::new();
    tick_with(&mut remotes, |tick| tick.devices.first().is_some_and(|device| device.level_changes == 1));
    let begin = Instant::now();
    while !events.iter().any(|event: &vramkit_watch::WatchEvent| event.text == "number 2") {
        assert!(begin.elapsed() < Duration::from_secs(60), "{events:?}");
        events.extend(remotes.tick().events);
        std::thread::sleep(Duration::from_millis(10));
    }
    let told = |text: &str| events.iter().filter(|event| event.text == text).count();
    assert_eq!((told("number 1"), told("number 2")), (1, 1), "{events:?}");
    let missed: Vec<_> = events.iter().filter(|event| event.kind == EventKind::LevelChanged).collect();
    assert_eq!(missed.len(), 1, "{events:?}");
    assert_eq!(missed[0].text, "2 changes of level in readings that were not fetched; critical now");
    assert_eq!(missed[0].device, format!("{} cuda:0", machine.address));
}

#[test]
fn a_machine_that_falls_silent_is_not_shown_as_it_was_and_delays_nobody() {
    // The first machine answers once, and then refuses; the second never says a word.
    let falls = Machine::new(|count, stream| {
        if count == 0 {
            ok(stream, &document(count, "A card", 0).to_string())
        } else {
            drop(stream.write_all(b"HTTP/1.1 503 No\r\n\r\n"))
        }
    });
    let silent = Machine::new(|_, _| std::thread::sleep(Duration::from_secs(600)));
    let well = Machine::saying(|count| document(count, "A card", 0).to_string());
    let mut remotes = start(&[&falls, &silent, &well], None);
    let tick = tick_with(&mut remotes, |tick| {
        tick.sources[0].health == Health::Failing
            && tick.devices.iter().any(|device| device.presence == Presence::Present)
    });
    let fallen = tick.devices.iter().find(|device| device.snapshot.device.id.starts_with(&falls.address));
    if let Some(fallen) = fallen {
        let Presence::Unread { reason, since } = &fallen.presence else { panic!("{fallen:?}") };
        assert!(reason.contains("503") && since.starts_with("20"), "{reason} {since}");
        assert_eq!(
            (fallen.snapshot.level, fallen.snapshot.usage.used_bytes.value, fallen.holders.len()),
            (None, None, 0)
        );
    }
    assert!(tick.unavailable.iter().any(|absent| absent.source == falls.address));
    let health = |machine: &Machine, tick: &Tick| {
        tick.sources.iter().find(|source| source.source == machine.address).unwrap().health
    };
    assert_eq!((health(&silent, &tick), health(&well, &tick)), (Health::Late, Health::Up));
    let begin = Instant::now();
    (0..100).for_each(|_| drop(remotes.tick()));
    assert!(begin.elapsed() < Duration::from_secs(5), "a tick waits for nobody");
    let tick = tick_with(&mut remotes, |tick| health(&silent, tick) == Health::Failing);
    let said = tick.sources.iter().find(|source| source.source == silent.address).unwrap();
    assert!(
        said.reason.as_ref().unwrap().contains("no answer within 10 s") && said.answered.is_none(),
        "{said:?}"
    );
}

#[test]
fn what_means_no_good_is_refused_in_words() {
    let chunk = "x".repeat(1 << 20);
    let endless = move |_: usize, stream: &mut TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while write!(stream, "{:x}\r\n{chunk}\r\n", chunk.len()).is_ok() {}
    };
    let status = |line: &'static str| {
        Machine::new(move |_, stream| drop(write!(stream, "HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n")))
    };
    for (machine, says) in [
        (status("401 Unauthorized"), "wants a token"),
        (status("403 Forbidden"), "refuses to be asked by this name"),
        (status("302 Found"), "302"),
        (Machine::saying(|_| "<html>".into()), "no document of vramkit.top/1"),
        (Machine::saying(|_| "[".repeat(100_000)), "no document of vramkit.top/1"),
        (
            Machine::saying(|_| {
                json!({"schema": "other/9", "time": "", "devices": [], "unavailable": [], "events": []})
                    .to_string()
            }),
            "`other/9`",
        ),
        (Machine::new(|_, stream| drop(stream.write_all(b"SSH-2.0-OpenSSH_9\r\n"))), "does not speak HTTP"),
        (Machine::new(|_, _| {}), "does not speak HTTP"),
        (Machine::new(endless), "more than 16 MiB"),
    ] {
        let mut remotes = start(&[&machine], None);
        remotes.settle(Duration::from_secs(60));
        let tick = remotes.tick();
        let reason = tick.sources[0].reason.clone().unwrap();
        assert!(reason.contains(says) || reason.contains("no answer within"), "{says}: {reason}");
        assert_eq!(tick.sources[0].health, Health::Failing);
    }
}

#[test]
fn names_of_a_stranger_cannot_steer_a_terminal() {
    let machine = Machine::saying(|count| document(count, "A\u{1b}[2J\u{202e}card\n", 0).to_string());
    let mut remotes = start(&[&machine], None);
    remotes.settle(Duration::from_secs(60));
    assert_eq!(remotes.tick().devices[0].snapshot.device.name, "A[2Jcard");
}

/// A tick of a machine that says this.
fn tick_of(document: Value) -> Tick {
    let text = document.to_string();
    let machine = Machine::saying(move |_| text.clone());
    let mut remotes = start(&[&machine], None);
    remotes.settle(Duration::from_secs(60));
    remotes.tick()
}

fn says(tick: &Tick, words: &str) -> bool {
    tick.unavailable.iter().any(|absent| absent.reason.contains(words))
}

#[test]
fn more_than_any_machine_has_is_bounded_and_it_is_said() {
    let mut all = document(0, "A card", 0);
    let mut device = all["devices"][0].clone();
    device["holders"] = (0..4000).map(|_| json!({"name": "a", "bytes": 1})).collect();
    all["devices"] = (0..300)
        .map(|number| {
            device["device"]["id"] = format!("cuda:{number}").into();
            if number > 0 {
                device["holders"] = json!([]);
            }
            device.clone()
        })
        .collect();
    let tick = tick_of(all);
    assert_eq!((tick.devices.len(), tick.devices[0].holders.len()), (256, 512));
    assert!(says(&tick, "only 256 of its 300 devices are taken"), "{:?}", tick.unavailable);
    assert!(says(&tick, "only 512 of its 4000 holders are taken"), "{:?}", tick.unavailable);
}

#[test]
fn a_reading_that_is_old_is_told_since_when_and_not_shown() {
    let text = document(7, "A card", 0).to_string();
    let body = text.clone();
    let cached = Machine::new(move |_, stream| {
        let head = format!("HTTP/1.1 200 OK\r\nAge: 7200\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all((head + &body).as_bytes());
    });
    // Its time stands still, and it says nothing of that.
    let stuck = Machine::saying(move |_| text.clone());
    let goes_on = Machine::saying(|count| document(count, "A card", 0).to_string());
    let mut remotes = start(&[&cached, &stuck, &goes_on], None);
    remotes.settle(Duration::from_secs(60));
    let tick = remotes.tick();
    assert_eq!(tick.sources[0].health, Health::Late);
    let Presence::Unread { since, reason } = &tick.devices[0].presence else { panic!("{tick:?}") };
    assert!(reason.contains("7200 s old, of 2026-01-01T10:00:07"), "{reason}");
    let (since, now) = (vramkit_watch::unix_seconds(since), vramkit_watch::unix_seconds(&tick.time));
    assert!(since.zip(now).is_some_and(|(since, now)| (7199.0..7300.0).contains(&(now - since))));
    assert_eq!((tick.devices[0].snapshot.level, tick.devices[0].holders.len()), (None, 0));
    let is_of = |device: &vramkit_watch::DeviceTick, machine: &Machine| {
        device.snapshot.device.id.starts_with(&machine.address)
    };
    let tick = tick_with(&mut remotes, |tick| {
        tick.devices
            .iter()
            .any(|device| is_of(device, &stuck) && matches!(device.presence, Presence::Unread { .. }))
    });
    let well = tick.devices.iter().find(|device| is_of(device, &goes_on)).unwrap();
    assert_eq!(well.presence, Presence::Present);
    // Of one answer alone it is not known: it is said that the clocks differ.
    assert!(well.notes.iter().any(|note| note.contains("behind this machine's clock")), "{:?}", well.notes);
    assert!(says(&tick, "behind this machine's clock"), "{:?}", tick.unavailable);
}

#[test]
fn what_cannot_be_is_left_out_and_said() {
    let mut all = document(0, "A card", 0);
    let device = &mut all["devices"][0];
    device["used_bytes"]["value"] = u64::MAX.into();
    device["activity"] =
        json!({"utilization_ratio": -1e308, "temperature_celsius": 60.0, "power_watts": 1e300});
    device["forecast"] = json!({"bytes_per_second": 1e308, "bytes_per_second_low": 0.0, "bytes_per_second_high": 0.0,
        "full_in_seconds": null, "full_in_seconds_soonest": null, "full_in_seconds_latest": null});
    device["holders"][0]["bytes"] = u64::MAX.into();
    let mut second = device.clone();
    second["used_bytes"]["value"] = (80u64 << 30).into();
    second["total_bytes"]["value"] = 1.into();
    all["devices"] = json!([device.clone(), second]);
    all["sources"][0]["source"] = "gpu2:9835".into();
    let tick = tick_of(all);
    let device = &tick.devices[0];
    let activity = device.activity.as_ref().unwrap();
    assert_eq!((activity.utilization_ratio, activity.power_watts), (None, None));
    assert_eq!(activity.temperature_celsius, Some(60.0));
    assert_eq!(
        (device.snapshot.usage.used_bytes.value, &device.forecast, device.holders.len()),
        (None, &None, 0)
    );
    assert_eq!(tick.devices[1].snapshot.usage.total_bytes.value, None);
    assert_eq!(tick.devices.iter().filter_map(|device| device.snapshot.level).count(), 0, "of no number");
    assert!(
        says(&tick, "used bytes, who holds it, load, power, when it will be full"),
        "{:?}",
        tick.unavailable
    );
    // The same id twice, and a source that looks like another machine.
    assert!(
        tick.devices[1].snapshot.device.id.ends_with("cuda:0 #2") && says(&tick, "called as another one")
    );
    assert!(tick.sources[1].source.ends_with(" `gpu2:9835`"), "{:?}", tick.sources);
}
