//! `vramkit top` in a pseudo-terminal: keys, signals, terminals that cannot be drawn on, other machines.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};
use serde_json::{Value, json};

mod cards;

use cards::{Machine, program};

fn cards(used_gib: u64) -> Value {
    with_processes(
        used_gib,
        &[
            json!({"pid": std::process::id(), "used": used_gib << 29}),
            json!({"pid": 4_100_000, "used": 1u64 << 30}),
        ],
    )
}

fn with_processes(used_gib: u64, processes: &[Value]) -> Value {
    json!({"cards": [{
        "name": "Stand-in H100", "uuid": "GPU-1", "total": 80u64 << 30, "free": (80 - used_gib) << 30,
        "used": used_gib << 30, "reserved": 1u64 << 30, "accounting": true, "processes": processes
    }]})
}

fn wait_until(ready: impl Fn() -> bool, what: impl Fn() -> String) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never came: {}", what());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program in a pseudo-terminal of 80 × 24.
struct Terminal {
    screen: Arc<Mutex<vt100::Parser>>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn portable_pty::Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    fn run(machine: &Machine, arguments: &[&str]) -> Self {
        Self::run_on(machine, "xterm-256color", program(), arguments)
    }

    fn run_on(machine: &Machine, term: &str, program: PathBuf, arguments: &[&str]) -> Self {
        let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(arguments);
        command.env("TERM", term);
        command.env_remove("NO_COLOR");
        machine.environment().iter().for_each(|(name, value)| command.env(name, value));
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let (mut output, keys) =
            (pair.master.try_clone_reader().unwrap(), pair.master.take_writer().unwrap());
        let screen = Arc::new(Mutex::new(vt100::Parser::new(24, 80, 0)));
        let shown = screen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                shown.lock().unwrap().process(&buffer[..read]);
            }
        });
        Self { screen, keys, child, master: pair.master }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn shows(&self, text: &str) {
        wait_until(|| self.text().contains(text), || format!("no `{text}` in\n{}", self.text()));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn signal(&self, name: &str) {
        signal(self.child.process_id().unwrap(), name);
    }

    /// Nothing of the screen is left: no alternate screen, no mouse, and a cursor.
    fn is_left(&self) -> bool {
        let parser = self.screen.lock().unwrap();
        let screen = parser.screen();
        !screen.alternate_screen()
            && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
            && !screen.hide_cursor()
    }

    /// And the terminal edits and echoes lines.
    fn is_put_back(&self) -> bool {
        let modes = format!("{:?}", self.master.get_termios().unwrap().local_flags);
        self.is_left() && modes.contains("ICANON") && modes.contains("ECHO")
    }

    fn is_drawn(&self) -> bool {
        let parser = self.screen.lock().unwrap();
        parser.screen().alternate_screen()
            && parser.screen().mouse_protocol_mode() != vt100::MouseProtocolMode::None
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

/// The state of a process: `T` where it is stopped.
fn state(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').map_or(String::new(), |(_, rest)| rest.trim_start().chars().take(1).collect())
}

#[test]
fn top_is_a_screen_on_a_terminal_and_puts_the_terminal_back() {
    let machine = Machine::new(&cards(68));
    let mut terminal = Terminal::run(&machine, &["top", "--interval", "0.1"]);
    terminal.shows("cuda:0 high");
    terminal.shows("68 GiB    80 GiB");
    assert!(terminal.is_drawn());
    terminal.press("\t");
    terminal.shows("processes, by bytes");
    terminal.shows("4100000 not available");
    terminal.press("/41");
    terminal.shows("filter: 41");
    terminal.press("\r");
    terminal.shows("filter `41`");
    terminal.press("?");
    terminal.shows("next table: holders, processes, pools, models");
    terminal.press("?d");
    terminal.shows("▶ host");
    terminal.press("p");
    terminal.shows("paused");
    terminal.press("p");
    machine.becomes(&cards(79));
    terminal.shows("high to critical at 100 %");
    terminal.shows("1 critical (cuda:0)");
    terminal.press("q");
    assert!(terminal.child.wait().unwrap().success());
    wait_until(|| terminal.is_put_back(), || "the terminal as it was".into());
}

#[test]
fn whatever_signal_ends_it_the_terminal_is_put_back_first() {
    let machine = Machine::new(&cards(10));
    for (name, number) in [("TERM", 15), ("HUP", 1), ("INT", 2), ("QUIT", 3)] {
        let mut terminal = Terminal::run(&machine, &["top", "--interval", "0.1"]);
        terminal.shows("cuda:0");
        assert!(terminal.is_drawn());
        terminal.signal(name);
        let status = terminal.child.wait().unwrap();
        assert!(!status.success() && status.signal().is_some(), "{name} ({number}): {status:?}");
        wait_until(|| terminal.is_put_back(), || format!("the terminal as it was, after SIG{name}"));
    }
}

#[test]
fn a_terminal_that_is_gone_ends_it() {
    let machine = Machine::new(&cards(10));
    let Terminal { mut child, master, keys, screen } = Terminal::run(&machine, &["top", "--interval", "0.1"]);
    wait_until(|| screen.lock().unwrap().screen().contents().contains("cuda:0"), || "a screen".into());
    // The reader's handle is closed by the hangup itself: whoever has the terminal in hand signals that it is gone.
    drop((keys, master));
    signal(child.process_id().unwrap(), "HUP");
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(60), "it goes on without a terminal");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_recording_on_the_screen_ends_so_too() {
    let machine = Machine::new(&cards(10));
    let done = machine.command(&["top", "--once", "--json"]).output().unwrap();
    let tick: Value = serde_json::from_slice(&done.stdout).unwrap();
    std::fs::write(machine.path("ticks.jsonl"), tick.to_string() + "\n").unwrap();
    let mut terminal =
        Terminal::run(&machine, &["top", "--replay", machine.path("ticks.jsonl").to_str().unwrap()]);
    terminal.shows("recording, 1 of 1");
    terminal.signal("TERM");
    assert!(!terminal.child.wait().unwrap().success());
    wait_until(|| terminal.is_put_back(), || "the terminal as it was".into());
}

#[test]
fn ctrl_z_stops_it_with_the_terminal_put_back_and_it_goes_on_where_it_was() {
    let machine = Machine::new(&cards(10));
    // A shell has it as a job.
    let mut terminal = Terminal::run_on(&machine, "xterm-256color", "/bin/bash".into(), &["--norc", "-i"]);
    terminal.press(&format!("'{}' top --interval 0.1\n", program().display()));
    for by_key in [true, false] {
        wait_until(|| terminal.is_drawn() && terminal.text().contains("cuda:0"), || terminal.text());
        let shell = terminal.child.process_id().unwrap();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        let pid: u32 = children.split_whitespace().next().unwrap().parse().unwrap();
        if by_key {
            terminal.press("\u{1a}")
        } else {
            signal(pid, "TSTP")
        }
        wait_until(|| state(pid) == "T", || format!("stopped, {}", terminal.text()));
        wait_until(|| terminal.is_left(), || "the terminal as it was".into());
        terminal.press("fg\n");
    }
    wait_until(|| terminal.is_drawn() && terminal.text().contains("cuda:0"), || terminal.text());
    terminal.press("q");
    wait_until(|| terminal.is_left(), || "the terminal as it was".into());
    terminal.press("exit\n");
    terminal.child.wait().unwrap();
}

#[test]
fn where_nobody_could_let_it_go_on_it_does_not_stop() {
    let machine = Machine::new(&cards(10));
    let mut terminal = Terminal::run(&machine, &["top", "--interval", "0.1"]);
    terminal.shows("cuda:0");
    terminal.signal("TSTP");
    machine.becomes(&cards(79));
    terminal.shows("critical");
    terminal.press("q");
    assert!(terminal.child.wait().unwrap().success());
}

#[test]
fn a_terminal_that_cannot_be_drawn_on_gets_text() {
    let machine = Machine::new(&cards(40));
    for term in ["dumb", ""] {
        let mut terminal = Terminal::run_on(&machine, term, program(), &["top", "--interval", "0.5"]);
        assert!(terminal.child.wait().unwrap().success(), "{term:?}");
        terminal.shows("40 GiB used of 80 GiB, 40 GiB free");
        assert!(!terminal.screen.lock().unwrap().screen().alternate_screen());
    }
}

#[test]
fn a_process_is_ended_only_once_somebody_has_said_yes() {
    let mut sleeper = Command::new("sleep").arg("600").spawn().unwrap();
    let machine = Machine::new(&with_processes(10, &[json!({"pid": sleeper.id(), "used": 1u64 << 30})]));
    let mut terminal = Terminal::run(&machine, &["top", "--interval", "0.1"]);
    terminal.press("\t");
    terminal.shows(&format!("▶ {}", sleeper.id()));
    terminal.press("K");
    let is_outermost = std::fs::read_link("/proc/self/ns/pid").unwrap().as_os_str() == "pid:[4026531836]";
    if is_outermost {
        terminal.shows(&format!("send SIGTERM to {} of ", sleeper.id()));
        // Anything but yes is no.
        terminal.press("n");
        terminal.shows("q quit");
        assert!(sleeper.try_wait().unwrap().is_none());
        terminal.press("K");
        terminal.shows("y/N");
        terminal.press("y");
        assert_eq!(sleeper.wait().unwrap().signal(), Some(15));
        terminal.shows("SIGTERM sent to");
    } else {
        // Numbers of processes are others' in here.
        terminal.shows("processes cannot be ended from inside a container");
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
    terminal.press("q");
    assert!(terminal.child.wait().unwrap().success());
}

#[test]
fn a_recording_is_stepped_through_on_a_terminal() {
    let machine = Machine::new(&cards(10));
    let file = machine.path("ticks.jsonl");
    let mut lines = String::new();
    for used in [10, 20, 30] {
        machine.becomes(&cards(used));
        let done = machine.command(&["top", "--once", "--json"]).output().unwrap();
        let tick: Value = serde_json::from_slice(&done.stdout).unwrap();
        lines += &(tick.to_string() + "\n");
    }
    std::fs::write(&file, lines).unwrap();
    let mut terminal =
        Terminal::run(&machine, &["top", "--replay", file.to_str().unwrap(), "--interval", "0.1"]);
    terminal.shows("recording, 3 of 3");
    terminal.shows("30 GiB");
    terminal.press(" \u{1b}[D\u{1b}[D");
    terminal.shows("recording, 1 of 3");
    terminal.shows("10 GiB");
    terminal.press("\u{3}");
    assert!(terminal.child.wait().unwrap().success());
}

/// A server that is ended when it is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(machine: &Machine, arguments: &[&str]) -> Self {
        let mut command = machine.command(&["serve", "--listen", "127.0.0.1:0", "--interval", "0.1"]);
        let mut child = command.args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = Vec::new();
        let stderr = child.stderr.as_mut().unwrap();
        while said.last() != Some(&b'\n') {
            let mut byte = [0];
            assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
            said.push(byte[0]);
        }
        let said = String::from_utf8(said).unwrap();
        let address = said.trim().trim_start_matches("listening on http://").trim_end_matches('/').to_owned();
        Self { child, address }
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
fn other_machines_are_watched_in_one_screen() {
    let (one, two) = (Machine::new(&cards(40)), Machine::new(&cards(78)));
    let token = one.path("token");
    std::fs::write(&token, "correct-horse\n").unwrap();
    let token = token.to_str().unwrap();
    let mut first = Server::start(&one, &["--token-file", token]);
    let second = Server::start(&two, &["--token-file", token]);
    let (a, b) = (first.address.clone(), second.address.clone());
    let once = |addresses: &[&str], more: &[&str]| {
        let arguments = [&["top", "--once"], addresses, more].concat();
        one.command(&arguments).output().unwrap()
    };
    let done = once(&[&a, &b], &["--json", "--token-file", token]);
    let tick: Value = serde_json::from_slice(&done.stdout).unwrap();
    let ids: Vec<&str> = tick["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| device["device"]["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [format!("{a} cuda:0"), format!("{a} host"), format!("{b} cuda:0"), format!("{b} host")]);
    assert_eq!(
        (done.status.code(), tick["schema"].as_str()),
        (Some(1), Some("vramkit.top/1")),
        "the second's is critical"
    );
    // One that does not answer is neither a yes nor left out.
    let done = once(&[&a, "127.0.0.1:1"], &["--json", "--token-file", token]);
    let tick: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert!(
        tick["unavailable"].as_array().unwrap().iter().any(|absent| absent["source"] == "127.0.0.1:1"),
        "{tick}"
    );
    assert_eq!(done.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&done.stderr).contains("127.0.0.1:1 cannot be reached"));
    let done = once(&[&a], &[]);
    assert!(String::from_utf8_lossy(&done.stderr).contains("wants a token"), "{done:?}");
    // Nobody here is ended from there, and a machine that falls silent keeps its lines.
    let mut terminal = Terminal::run(&one, &["top", &a, &b, "--interval", "0.1", "--token-file", token]);
    terminal.shows(&format!("{a} cuda:0"));
    terminal.shows(&format!("{b} cuda:0"));
    terminal.press("K");
    terminal.shows("only on the screen of a machine's own processes");
    first.end();
    terminal.shows("not read since");
    terminal.shows("1 critical");
    terminal.press("q");
    assert!(terminal.child.wait().unwrap().success());
}
