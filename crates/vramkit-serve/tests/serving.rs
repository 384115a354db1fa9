//! A server as its clients meet it: a scripted source, real sockets.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use vramkit::ByteSize;
use vramkit::device::{Origin, Reading};
use vramkit::monitor::{DeviceName, Usage};
use vramkit_serve::{ServeConfig, serve};
use vramkit_watch::{DeviceClass, DeviceReading, Readings, Source, WatchConfig, Watcher};

/// A card that holds more with each reading, and whose driver hangs when it is told to.
#[derive(Clone, Default)]
struct Card {
    readings: Arc<AtomicU64>,
    hangs: Arc<AtomicBool>,
    hung: Arc<AtomicBool>,
}

impl Source for Card {
    fn name(&self) -> &str {
        "card"
    }

    fn read(&mut self) -> Readings {
        while self.hangs.load(Ordering::SeqCst) {
            self.hung.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(10));
        }
        let used = ByteSize::mib(self.readings.fetch_add(1, Ordering::SeqCst) + 1);
        let none = || Reading::unavailable(Origin::Nvml, "none");
        let usage = Usage {
            total_bytes: Reading::known(ByteSize::mib(1 << 20), Origin::Nvml),
            used_bytes: Reading::known(used, Origin::Nvml),
            free_bytes: none(),
            driver_bytes: none(),
            allocated_bytes: none(),
            reserved_bytes: none(),
        };
        let device = DeviceReading {
            device: DeviceName { id: "cuda:0".into(), name: "a card".into(), uuid: None },
            class: DeviceClass::Gpu,
            activity: None,
            usage,
            processes: Reading::unavailable(Origin::Nvml, "none"),
            stall: None,
            shared_bytes: None,
            notes: Vec::new(),
        };
        Readings { devices: vec![device], ..Readings::default() }
    }
}

/// A server that ends when it is dropped.
struct Server {
    card: Card,
    address: SocketAddr,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start(card: Card, interval: Duration, token: Option<&str>) -> Self {
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let (ready, address) = mpsc::channel();
        let config = ServeConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            token: token.map(Into::into),
            interval,
            record: None,
        };
        let watched = card.clone();
        let thread = std::thread::spawn(move || {
            let watcher = Watcher::new(vec![Box::new(watched)], WatchConfig::default()).unwrap();
            let ended = async { _ = ended.await };
            serve(&config, watcher, |address| ready.send(address).unwrap(), ended).unwrap();
        });
        let address = address.recv().unwrap();
        Self { card, address, end: Some(end), thread: Some(thread) }
    }

    fn open(&self, sent: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        stream
    }

    /// The whole answer.
    fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let host = if headers.contains("Host:") { "" } else { "Host: localhost\r\n" };
        let mut stream =
            self.open(&format!("{method} {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n"));
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        Answer { status: head[9..12].parse().unwrap(), head: head.to_lowercase(), body: body.to_owned() }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    fn is_ready(&self) {
        let start = Instant::now();
        while self.card.readings.load(Ordering::SeqCst) == 0 || self.get("/readyz").status != 200 {
            assert!(start.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn hangs(&self) {
        self.card.hangs.store(true, Ordering::SeqCst);
        while !self.card.hung.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.end.take().unwrap().send(());
        let ended = self.thread.take().unwrap().join();
        // The thread that asks the driver goes on until it answers.
        self.card.hangs.store(false, Ordering::SeqCst);
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

const OFTEN: Duration = Duration::from_millis(50);
const SELDOM: Duration = Duration::from_secs(3600);

#[test]
fn scrapes_get_the_last_reading_and_make_none() {
    let server = Server::start(Card::default(), SELDOM, None);
    server.is_ready();
    for _ in 0..20 {
        let scraped = server.get("/metrics");
        assert!(
            scraped.body.contains(" 1048576.0\n") && scraped.head.contains("\r\nage: "),
            "{}",
            scraped.body
        );
        let snapshot = server.get("/api/snapshot");
        assert!(snapshot.body.contains("\"value\":1048576"));
        // By both it is known whether the reading is of now.
        assert!(
            snapshot.head.contains("\r\nage: ") && snapshot.head.contains("\r\nvramkit-interval: 3600\r\n")
        );
    }
    assert_eq!(server.card.readings.load(Ordering::SeqCst), 1);
    assert_eq!(server.get("/api/history").body.matches("unix_seconds").count(), 1);
}

#[test]
fn a_driver_that_hangs_holds_up_neither_answers_nor_the_end() {
    let server = Server::start(Card::default(), OFTEN, None);
    server.is_ready();
    server.hangs();
    let patient: Vec<TcpStream> = (0..70)
        .map(|_| server.open("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .chain((0..5).map(|_| server.open("GET /api/history HTTP/1.1\r\nHost: localhost\r\n\r\n")))
        .collect();
    let start = Instant::now();
    assert_eq!(server.get("/healthz").body, "ok\n");
    assert!(server.get("/metrics").body.contains("cuda:0"));
    assert!(server.get("/readyz").body.contains("source card: "));
    assert_eq!(server.get("/api/history").status, 200);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // The one source there is: then there is nothing to be ready for.
    while !server.get("/metrics").body.contains("vramkit_source_up{source=\"card\"} 0") {
        assert!(start.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(50));
    }
    let ready = server.get("/readyz");
    assert!(ready.status == 503 && ready.body.contains("source card: late"), "{}", ready.body);
    let start = Instant::now();
    drop(server);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    drop(patient);
}

#[test]
fn before_the_first_reading_an_answer_says_so() {
    let card = Card::default();
    card.hangs.store(true, Ordering::SeqCst);
    let server = Server::start(card, OFTEN, None);
    for path in ["/metrics", "/api/snapshot", "/readyz"] {
        let answer = server.get(path);
        assert!(answer.status == 503 && answer.body.ends_with("nothing has been read yet\n"), "{path}");
    }
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/").status, 200);
}

/// Each of these once locked everybody out.
#[test]
fn whoever_asks_is_answered_however_many_hold_connections() {
    let server = Server::start(Card::default(), OFTEN, None);
    server.is_ready();
    let pipelined = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(50);
    for (kind, sent) in [
        ("silent", ""),
        ("half a header", "GET / HTTP/1.1\r\nHost: localhost\r\nX: "),
        ("half a body", "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx"),
        ("readers that do not read", "GET /api/history HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("readers of events that do not read", "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("many requests at once", &pipelined),
    ] {
        let held: Vec<TcpStream> = (0..400).map(|_| server.open(sent)).collect();
        for _ in 0..5 {
            let start = Instant::now();
            assert_eq!(server.get("/healthz").body, "ok\n", "{kind}");
            assert_eq!(server.get("/metrics").status, 200, "{kind}");
            assert!(start.elapsed() < Duration::from_secs(5), "{kind}: {:?}", start.elapsed());
        }
        drop(held);
    }
}

#[test]
fn readers_of_events_have_places_of_their_own() {
    let server = Server::start(Card::default(), OFTEN, None);
    server.is_ready();
    let mut statuses = Vec::new();
    let followers: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = server.open("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            statuses.push(String::from_utf8_lossy(&status[9..]).into_owned());
            stream
        })
        .collect();
    assert_eq!(statuses.iter().filter(|status| *status == "200").count(), 32, "{statuses:?}");
    assert!(statuses[32..].iter().all(|status| status == "503"), "{statuses:?}");
    drop(followers);
}

#[test]
fn events_are_numbered_and_come_without_gaps() {
    let server = Server::start(Card::default(), OFTEN, None);
    let mut stream = server.open("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while text.matches("event: tick").count() < 6 {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "{text}");
        text += &String::from_utf8_lossy(&buffer[..read]);
    }
    let numbers: Vec<u64> =
        text.lines().filter_map(|line| line.strip_prefix("id: ")?.trim().parse().ok()).collect();
    assert!(numbers.len() >= 5 && numbers.is_sorted(), "{numbers:?}");
    assert!(text.contains("content-type: text/event-stream"), "{text}");
}

#[test]
fn the_older_text_is_for_those_who_ask_for_it() {
    let server = Server::start(Card::default(), SELDOM, None);
    server.is_ready();
    let text = server.ask("GET", "/metrics", "Accept: text/plain\r\n");
    assert!(text.head.contains("content-type: text/plain; version=0.0.4"), "{}", text.head);
    assert!(!text.body.contains("# EOF") && !text.body.contains("# UNIT"), "{}", text.body);
    assert!(text.body.contains("# TYPE vramkit_memory_pressure_changes_total counter\n"), "{}", text.body);
    for headers in ["", "Accept: */*\r\n"] {
        let text = server.ask("GET", "/metrics", headers);
        assert!(text.head.contains("content-type: application/openmetrics-text"), "{}", text.head);
        assert!(text.body.ends_with("# EOF\n"));
    }
}

#[test]
fn only_reading_is_allowed() {
    let server = Server::start(Card::default(), SELDOM, None);
    server.is_ready();
    for path in ["/", "/metrics", "/api/snapshot", "/api/history", "/events", "/healthz", "/readyz"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let answer = server.ask(method, path, "Content-Length: 0\r\n");
            assert!(
                answer.status == 405 && answer.head.contains("\r\nallow: get,head"),
                "{method} {path}: {}",
                answer.head
            );
        }
        let answer = server.ask("HEAD", path, "");
        assert!(answer.status == 200 && answer.body.is_empty(), "{path}: {}", answer.head);
    }
    assert_eq!(server.get("/nothing").status, 404);
}

#[test]
fn a_host_is_compared_whole() {
    let server = Server::start(Card::default(), SELDOM, None);
    server.is_ready();
    for path in ["/", "/metrics"] {
        for host in [
            "localhost.evil.com",
            "127.0.0.1.nip.io",
            "[::1]evil",
            "[::1]:9835x",
            "localhost:abc",
            "localhost:",
            "user@localhost",
            "localhost.",
        ] {
            assert_eq!(server.ask("GET", path, &format!("Host: {host}\r\n")).status, 403, "{host}");
        }
        for host in ["LOCALHOST", "127.0.0.1:1", "[::1]:9835"] {
            assert_eq!(server.ask("GET", path, &format!("Host: {host}\r\n")).status, 200, "{host}");
        }
    }
    assert_eq!(server.ask("GET", "http://evil.com/metrics", "Host: localhost\r\n").status, 403);
    assert_eq!(server.ask("GET", "http://localhost/metrics", "Host: localhost\r\n").status, 200);
    assert_eq!(server.ask("GET", "/metrics", "Host: localhost\r\nHost: localhost\r\n").status / 100, 4);
}

#[test]
fn a_token_opens_everything_but_the_page_and_health() {
    let server = Server::start(Card::default(), SELDOM, Some("ab+/cd==EF12"));
    let bearer = "Authorization: Bearer ab+/cd==EF12\r\n";
    while server.ask("GET", "/readyz", bearer).status != 200 {
        std::thread::sleep(Duration::from_millis(10));
    }
    for path in ["/metrics", "/api/snapshot", "/api/history", "/events", "/readyz", "/nothing"] {
        let answer = server.get(path);
        assert!(
            answer.status == 401 && answer.head.contains("www-authenticate: bearer"),
            "{path}: {}",
            answer.head
        );
    }
    for path in ["/", "/healthz"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert_eq!(server.get("/api/history?token=ab%2B%2Fcd%3D%3DEF12").status, 200);
    assert_eq!(server.get("/api/history?token=ab%2B%2Fcd%3D%3DEF1").status, 401);
    // What is read is in no part of the page.
    assert!(!server.get("/").body.contains("a card"));
}
