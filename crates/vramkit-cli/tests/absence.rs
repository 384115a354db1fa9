//! Cards that fall off, drivers that hang, recordings that have a recorder: what `serve` and `top` say of them.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

mod cards;

use cards::Machine;

/// `serve` on a scripted machine.
struct Server {
    machine: Machine,
    child: Child,
    address: String,
}

fn card(number: u64) -> Value {
    json!({"name": "Stand-in", "uuid": format!("GPU-{number}"), "total": 80u64 << 30, "free": 60u64 << 30,
           "used": (10 + number) << 30, "reserved": 0})
}

impl Server {
    fn start(cards: &[Value], arguments: &[&str]) -> Self {
        let machine = Machine::new(&json!({"cards": cards}));
        let log = File::create(machine.path("log")).unwrap();
        let mut command = machine.command(&["serve", "--listen", "127.0.0.1:0", "--interval", "0.1"]);
        let command = command.args(arguments).current_dir(machine.path(""));
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut server = Self { machine, child, address: String::new() };
        server.until(|server| server.log().contains("listening on"));
        let log = server.log();
        let line = log.lines().find_map(|line| line.strip_prefix("listening on http://")).unwrap();
        server.address = line.trim_end_matches('/').to_owned();
        server
    }

    fn becomes(&self, cards: &[Value]) {
        self.machine.becomes(&json!({"cards": cards}));
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.machine.path("log")).unwrap()
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    fn until(&self, ready: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !ready(self) {
            assert!(start.elapsed() < Duration::from_secs(60), "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_card_that_falls_off_is_told_everywhere_and_the_others_keep_their_history() {
    let all = [card(0), card(1), card(2)];
    let server = Server::start(&all, &[]);
    server.until(|server| server.get("/metrics").1.contains("vramkit_devices_present 3.0"));
    server.becomes(&[card(0), card(2)]);
    server.until(|server| server.get("/metrics").1.contains("vramkit_devices_present 2.0"));
    let metrics = server.get("/metrics").1;
    assert!(metrics.contains("vramkit_devices_expected 3.0"), "{metrics}");
    assert!(metrics.contains(
        "vramkit_device_present{hw_id=\"GPU-1\",hw_name=\"Stand-in\",device=\"cuda:1\",class=\"gpu\"} 0.0"
    ));
    assert!(!metrics.contains("hw_gpu_memory_usage_bytes{hw_id=\"GPU-1\""), "{metrics}");
    assert!(
        metrics.contains("vramkit_source_up{source=\"nvml\"} 1.0") && !metrics.contains("source=\"amd\"")
    );
    let (status, words) = server.get("/readyz");
    assert!(status == 200 && words.contains("device cuda:1 (Stand-in, GPU-1): lost since"), "{words}");
    server.until(|server| {
        server.log().contains("cuda:1: Stand-in is lost: the driver does not list it any more")
    });
    let history: Value = serde_json::from_str(&server.get("/api/history").1).unwrap();
    let samples = history["devices"]["cuda:2"].as_array().unwrap();
    assert!(samples.iter().all(|sample| sample["used_bytes"] == json!(12u64 << 30)), "{samples:?}");
    server.becomes(&all);
    server.until(|server| server.get("/metrics").1.contains("vramkit_devices_present 3.0"));
    server.until(|server| server.log().contains("cuda:1: Stand-in is here again"));
}

#[test]
fn memory_that_a_driver_refuses_is_told_in_the_log_and_where_readiness_is_asked_for() {
    let refused = json!({"name": "Stand-in", "uuid": "GPU-1", "memory": 999});
    let server = Server::start(&[card(0), refused], &[]);
    const WORDS: &str = "its memory cannot be read: ";
    server.until(|server| server.log().contains(&format!("WARN cuda:1: {WORDS}")));
    let (status, words) = server.get("/readyz");
    assert!(status == 200 && words.contains(&format!(": cuda:1: {WORDS}")), "{words}");
    let tick: Value = serde_json::from_str(&server.get("/api/snapshot").1).unwrap();
    let absent = tick["unavailable"].as_array().unwrap();
    assert!(absent.iter().any(|absent| absent["source"] == "memory of cuda:1"), "{absent:?}");
    server.becomes(&[card(0), card(1)]);
    server.until(|server| server.log().contains("WARN cuda:1: its memory is read again"));
    // Another card in its place, which was not lost before.
    server.becomes(&[card(0), card(7)]);
    server.until(|server| server.log().contains("WARN cuda:1: Stand-in is here, in the place of GPU-1"));
}

#[test]
fn a_driver_that_hangs_delays_nobody_and_the_end_least_of_all() {
    let mut server = Server::start(&[card(0)], &[]);
    server.until(|server| server.get("/metrics").1.contains("vramkit_devices_present 1.0"));
    // Whoever reads it waits for a writer.
    let (pipe, cards) = (server.machine.path("pipe"), server.machine.path("cards.json"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(pipe, cards).unwrap();
    server.until(|server| server.get("/metrics").1.contains("vramkit_source_up{source=\"nvml\"} 0.0"));
    let metrics = server.get("/metrics").1;
    assert!(
        metrics.contains("vramkit_devices_present 0.0") && !metrics.contains("hw_gpu_memory_usage"),
        "{metrics}"
    );
    assert!(metrics.contains("system_memory_usage_bytes{"), "others are read");
    let (status, words) = server.get("/readyz");
    assert!(status == 200 && words.contains("source nvml: late since"), "{words}");
    assert!(words.contains("device cuda:0 (Stand-in, GPU-0): unread since"), "{words}");
    assert_eq!(server.log().matches("nvml: has not answered within").count(), 1, "told once");
    assert!(Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap().success());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_recording_has_one_recorder_and_a_restart_shows_it() {
    let server = Server::start(&[card(0)], &["--record", "r.jsonl"]);
    server.until(|server| server.get("/metrics").1.contains("vramkit_recorder_up 1.0"));
    let file = server.machine.path("r.jsonl");
    for arguments in [&["top", "--record"] as &[_], &["serve", "--listen", "127.0.0.1:0", "--record"]] {
        let refused = server.machine.command(arguments).arg(&file).output().unwrap();
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{words}");
        assert!(
            words.contains("r.jsonl") && words.contains(&format!("process {}", server.child.id())),
            "{words}"
        );
    }
    let keep = server.machine.path("kept.jsonl");
    std::fs::copy(&file, &keep).unwrap();
    let lines = std::fs::read_to_string(&keep).unwrap().lines().count();
    std::fs::write(&keep, format!("{{}}\n{}", std::fs::read_to_string(&keep).unwrap())).unwrap();
    let replay = ["top", "--json", "--replay"];
    let replayed = server.machine.command(&replay).arg(&keep).output().unwrap();
    let words = String::from_utf8_lossy(&replayed.stderr).into_owned();
    assert_eq!(String::from_utf8_lossy(&replayed.stdout).lines().count(), lines, "{words}");
    assert!(words.contains("1 lines that are no readings") && words.contains("line 1"), "{words}");
    let after = Server::start(&[card(0)], &["--record", keep.to_str().unwrap()]);
    after.until(|server| server.get("/metrics").1.contains("vramkit_devices_present 1.0"));
    let history: Value = serde_json::from_str(&after.get("/api/history").1).unwrap();
    let samples = history["devices"]["cuda:0"].as_array().unwrap();
    assert!(samples.len() > lines && samples[lines]["used_bytes"].is_null(), "a gap: {samples:?}");
    assert!(after.log().contains("WARN"), "{}", after.log());
}

#[test]
fn the_log_has_the_level_that_was_asked_for_and_is_not_part_of_the_answer() {
    let machine = Machine::new(&json!({"cards": [{"handle": 15}]}));
    let top = |level: &str| {
        let done = machine.command(&["top", "--once", "--json"]).env("VRAMKIT_LOG", level).output().unwrap();
        let tick: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(tick["devices"][0]["presence"]["state"], "lost");
        String::from_utf8(done.stderr).unwrap()
    };
    assert!(top("").contains("WARN cuda:0: "));
    assert_eq!(top("off"), "");
    // As a name of what speaks, the second would be of nothing that there is.
    for wrong in ["no=such", "loud", "warn,quiet"] {
        assert!(top(wrong).contains("names no level"), "{wrong}");
    }
    assert!(!top("warn,vramkit_watch=debug").contains("names no level"));
}
