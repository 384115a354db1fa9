//! `top` and `serve` as programs: over the stand-in for NVML, and over sockets.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

mod cards;

use cards::Machine;

impl Machine {
    fn json(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let done = self.command(arguments).output().unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        let value = serde_json::from_str(&text);
        (
            value.unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&done.stderr))),
            done.status.code(),
        )
    }
}

fn cards(used_gib: u64) -> Value {
    json!({"cards": [{
        "name": "Stand-in H100", "uuid": "GPU-1", "total": 80u64 << 30, "free": (80 - used_gib) << 30,
        "used": used_gib << 30, "reserved": 1u64 << 30, "accounting": true,
        "processes": [{"pid": std::process::id(), "used": used_gib << 29, "peak": 70u64 << 30}, {"pid": 4_100_000, "used": 1u64 << 30}]
    }]})
}

#[test]
fn top_once_says_what_the_driver_says_and_its_exit_status_is_the_answer() {
    let machine = Machine::new(&cards(40));
    let (tick, status) = machine.json(&["top", "--once", "--json"]);
    assert_eq!((tick["schema"].as_str(), status), (Some("vramkit.top/1"), Some(0)));
    let card = &tick["devices"][0];
    assert_eq!((card["device"]["id"].as_str(), card["level"].as_str()), (Some("cuda:0"), Some("normal")));
    assert_eq!(
        (card["used_bytes"]["value"].as_u64(), card["used_bytes"]["source"].as_str()),
        (Some(40 << 30), Some("nvml"))
    );
    assert_eq!(card["processes"]["value"][0]["peak_bytes"]["value"].as_u64(), Some(70 << 30));
    assert_eq!(tick["devices"][1]["device"]["id"], "host");
    machine.becomes(&cards(76));
    let (tick, status) = machine.json(&["top", "--once", "--json"]);
    assert_eq!((tick["devices"][0]["level"].as_str(), status), (Some("critical"), Some(1)));
    let (tick, status) = machine.json(&["top", "--once", "--json", "--levels", "0.96,0.97,0.98"]);
    assert_eq!((tick["devices"][0]["level"].as_str(), status), (Some("normal"), Some(0)));
    let text = machine.command(&["top", "--once"]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("cuda:0  Stand-in H100  critical, 95.0 % used") && text.contains("process 4100000"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "no colours when piped");
}

#[test]
fn a_machine_without_cards_still_has_its_own_memory_and_says_why() {
    let machine = Machine::new(&json!({"init": 9}));
    let (tick, status) = machine.json(&["top", "--once", "--json"]);
    assert_eq!((tick["devices"].as_array().unwrap().len(), status), (1, Some(0)));
    assert_eq!(tick["unavailable"][0]["source"], "nvml");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let machine = Machine::new(&json!({}));
    for (arguments, says) in [
        (vec!["top", "--levels", "0.9,0.8,0.7"], "above the rung before it"),
        (vec!["top", "--levels", "0.5,nan,0.9"], "enter"),
        (vec!["top", "--levels", "0.5,0.6"], "three fractions"),
        (vec!["top", "--interval", "0"], "between 0.05 and 3600"),
        (vec!["top", "--replay", "/nowhere/x.jsonl"], "cannot read"),
        (vec!["serve", "--listen", "0.0.0.0:0"], "--token-file"),
        (vec!["serve", "--listen", "nowhere"], "invalid"),
        (vec!["serve", "--token-file", "/nowhere/token"], "cannot read"),
        (vec!["serve", "--record", "/nowhere/x.jsonl"], "cannot write"),
    ] {
        let done = machine.command(&arguments).output().unwrap();
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
}

#[test]
fn what_is_recorded_can_be_replayed_after_a_kill() {
    let machine = Machine::new(&cards(40));
    let file = machine.path("ticks.jsonl");
    let record = ["top", "--record", file.to_str().unwrap(), "--interval", "0.05"];
    let mut child = machine.command(&record).spawn().unwrap();
    wait_until(|| std::fs::read_to_string(&file).is_ok_and(|text| text.lines().count() >= 4));
    child.kill().unwrap();
    child.wait().unwrap();
    let done = machine.command(&["top", "--replay", file.to_str().unwrap(), "--json"]).output().unwrap();
    let lines: Vec<Value> = String::from_utf8(done.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.len() >= 3 && done.status.success());
    assert_eq!(lines[0]["devices"][0]["used_bytes"]["value"].as_u64(), Some(40 << 30));
}

fn wait_until(ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < Duration::from_secs(30), "it never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A server that is ended when it is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(machine: &Machine, arguments: &[&str]) -> Self {
        let mut all = vec!["serve"];
        all.extend(arguments);
        if !arguments.contains(&"--interval") {
            all.extend(["--interval", "0.1"]);
        }
        if !arguments.contains(&"--listen") {
            all.extend(["--listen", "127.0.0.1:0"]);
        }
        let mut child = machine.command(&all).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = Vec::new();
        let stderr = child.stderr.as_mut().unwrap();
        while said.last() != Some(&b'\n') {
            let mut byte = [0];
            assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
            said.push(byte[0]);
        }
        let said = String::from_utf8(said).unwrap();
        let address =
            said.trim().strip_prefix("listening on http://").unwrap().trim_end_matches('/').to_owned();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// The whole answer to a request as it is.
    fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // It may have been refused before it was all sent.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str, headers: &str) -> (u16, String) {
        let host =
            if headers.contains("Host:") { String::new() } else { format!("Host: {}\r\n", self.address) };
        let answer =
            self.raw(format!("GET {path} HTTP/1.0\r\n{host}{headers}Connection: close\r\n\r\n").as_bytes());
        let status =
            answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"));
        (status, answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn serve_answers_on_every_path_and_ends_on_sigterm() {
    let machine = Machine::new(&cards(72));
    let mut server = Server::start(&machine, &[]);
    wait_until(|| server.get("/readyz", "").0 == 200);
    assert_eq!(server.get("/healthz", ""), (200, "ok\n".into()));
    let (status, metrics) = server.get("/metrics", "");
    assert_eq!(status, 200);
    for line in [
        "hw_gpu_memory_usage_bytes{hw_id=\"GPU-1\",hw_name=\"Stand-in H100\",device=\"cuda:0\",class=\"gpu\"} 77309411328.0",
        "vramkit_memory_pressure_level{hw_id=\"GPU-1\",hw_name=\"Stand-in H100\",device=\"cuda:0\",class=\"gpu\"} 3.0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    assert!(metrics.contains("system_memory_usage_bytes{") && metrics.ends_with("# EOF\n"));
    assert!(metrics.contains("pid=\"4100000\"") && !metrics.contains(&u64::MAX.to_string()), "{metrics}");
    let (_, snapshot) = server.get("/api/snapshot", "");
    assert_eq!(serde_json::from_str::<Value>(&snapshot).unwrap()["schema"], "vramkit.top/1");
    let (_, history) = server.get("/api/history", "");
    let history: Value = serde_json::from_str(&history).unwrap();
    assert!(!history["devices"]["cuda:0"].as_array().unwrap().is_empty(), "{history}");
    assert!(server.get("/", "").1.contains("<title>vramkit</title>"));
    assert_eq!(server.get("/nothing", "").0, 404);
    // A process that ends has no sample any more, and a card that is unknown none either.
    let mut gone = cards(10);
    gone["cards"][0]["processes"] = json!([]);
    machine.becomes(&gone);
    wait_until(|| !server.get("/metrics", "").1.contains("vramkit_process_memory"));
    machine.becomes(&json!({"count": 9}));
    wait_until(|| !server.get("/metrics", "").1.contains("hw_gpu_memory"));
    let term = Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
    assert!(term.success());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn events_stream_ticks_and_changes() {
    let machine = Machine::new(&cards(10));
    let server = Server::start(&machine, &[]);
    wait_until(|| server.get("/readyz", "").0 == 200);
    let mut stream = server.connect();
    write!(stream, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    machine.becomes(&cards(78));
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    let start = Instant::now();
    while !text.contains("normal to critical at 99 %") {
        assert!(start.elapsed() < Duration::from_secs(30), "{text}");
        let read = stream.read(&mut buffer).unwrap();
        text += &String::from_utf8_lossy(&buffer[..read]);
    }
    assert!(text.contains("content-type: text/event-stream") && text.contains("event: tick"));
}

#[test]
fn only_those_who_may_are_answered() {
    let machine = Machine::new(&cards(10));
    let server = Server::start(&machine, &[]);
    for host in ["evil.example", "localhost.evil.example", "10.1.2.3:80"] {
        let (status, body) = server.get("/api/snapshot", &format!("Host: {host}\r\n"));
        assert_eq!(status, 403, "{body}");
    }
    assert_eq!(server.get("/api/snapshot", "Host: localhost:1\r\n").0, 200);
    assert_eq!(server.get("/api/snapshot", "Host: localhost\r\nHost: evil.example\r\n").0 / 100, 4);
    let token = machine.path("token");
    std::fs::write(&token, "correct-horse\n").unwrap();
    let arguments = ["--listen", "0.0.0.0:0", "--token-file", token.to_str().unwrap()];
    let mut server = Server::start(&machine, &arguments);
    server.address = server.address.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(server.get("/metrics", "").0, 401);
    assert_eq!(server.get("/metrics", "Authorization: Bearer wrong-horse00\r\n").0, 401);
    assert_eq!(server.get("/metrics", "Host: gpu7\r\nAuthorization: Bearer correct-horse\r\n").0, 200);
    assert_eq!(server.get("/?token=correct-horse", "").0, 200);
    assert_eq!(server.get("/healthz", "").0, 200);
}

#[test]
fn hostile_clients_are_refused_or_dropped_and_others_served() {
    let machine = Machine::new(&cards(10));
    let server = Server::start(&machine, &[]);
    let oversized = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    assert!(
        server.raw(oversized.as_bytes()).starts_with("HTTP/1.1 431")
            || server.raw(oversized.as_bytes()).is_empty()
    );
    for malformed in [
        &b"\x00\x01\x02\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
    ] {
        let answer = server.raw(malformed);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5"),
            "{answer}"
        );
    }
    assert!(server.raw(b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 405"));
    // Many that say nothing: they take places, and are dropped in the end; nobody's place is taken for good.
    let idle: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    drop(idle);
    wait_until(|| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.get("/healthz", "").0 == 200))
            .unwrap_or(false)
    });
    // Slow: no headers for longer than the server's patience.
    let mut slow = server.connect();
    write!(slow, "GET / HT").unwrap();
    let start = Instant::now();
    let mut answer = Vec::new();
    let _ = slow.read_to_end(&mut answer);
    assert!(start.elapsed() < Duration::from_secs(20), "dropped after ten seconds");
    assert_eq!(server.get("/healthz", "").0, 200);
}

#[test]
fn a_reader_of_events_that_does_not_read_is_dropped() {
    let mut many = cards(10);
    let processes: Vec<Value> = (1..200).map(|pid| json!({"pid": pid, "used": 1})).collect();
    many["cards"][0]["processes"] = json!(processes);
    many["cards"] = json!(vec![many["cards"][0].clone(); 8]);
    let machine = Machine::new(&many);
    let server = Server::start(&machine, &["--interval", "0.05"]);
    let mut stream = server.connect();
    write!(stream, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    // Its buffers fill within a second or two; then the server waits ten seconds for it.
    std::thread::sleep(Duration::from_secs(16));
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (start, mut buffer) = (Instant::now(), vec![0; 1 << 20]);
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
        assert!(start.elapsed() < Duration::from_secs(20), "still served after not reading for long");
    }
    assert_eq!(server.get("/healthz", "").0, 200);
}

#[test]
fn a_port_in_use_is_an_error_with_a_way_out() {
    let machine = Machine::new(&cards(10));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let done = machine.command(&["serve", "--listen", &address]).output().unwrap();
    let error = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2));
    assert!(error.contains(&address) && error.contains("127.0.0.1:0"), "{error}");
}
