//! The screen on a back end without a terminal, from a tick as JSON.
#![allow(clippy::unwrap_used)]

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use vramkit_top::{App, Input, draw};
use vramkit_watch::Tick;

fn tick(second: u32, used_gib: u64, events: &str) -> Tick {
    let known = |gib: u64| format!(r#"{{"value": {}, "source": "nvml"}}"#, gib << 30);
    let none = r#"{"value": null, "source": "nvml", "unavailable": "not here"}"#;
    let stats = r#"{"capacity_bytes": 42949672960, "committed_bytes": 32212254720, "peak_committed_bytes": 32212254720,
        "used_bytes": 21474836480, "peak_used_bytes": 21474836480, "pending_bytes": 0, "requested_bytes": 21474836480,
        "peak_requested_bytes": 21474836480, "arena_bytes": 21474836480, "live": 3, "granted": 9, "hits": 8, "misses": 1,
        "failures": 2, "largest_free_bytes": 10737418240, "book_bytes": 1}"#;
    let owner = |model: &str, purpose: &str, gib: u64| {
        format!(
            r#"{{"model": "{model}", "purpose": "{purpose}", "granted_bytes": {}, "peak_bytes": 1, "allocations": 1, "priority": 0}}"#,
            gib << 30
        )
    };
    let time = format!("2026-01-01T10:00:{second:02}.000Z");
    let text = format!(
        r#"{{"schema": "vramkit.top/1", "time": "{time}", "unavailable": [], "events": [{events}], "devices": [
        {{"time": "{time}", "device": {{"id": "cuda:0", "name": "A card"}}, "total_bytes": {}, "free_bytes": {}, "used_bytes": {},
          "driver_bytes": {none}, "allocated_bytes": {none}, "reserved_bytes": {none},
          "processes": {{"value": [{{"pid": 71, "name": {{"value": "vllm", "source": "system"}}, "container": "docker:0123456789ab",
            "used_bytes": {}, "peak_bytes": {}}}], "source": "nvml"}},
          "pools": [{{"name": "main", "pid": 71, "device": "cuda:0", "stats": {stats}, "ledger": [],
            "owners": [{}, {}, {}]}}],
          "level": "elevated", "level_readings": [1, 2, 0, 0], "level_changes": 1,
          "holders": [{{"name": "llama weights", "bytes": {}}}, {{"name": "others", "bytes": 5368709120}}]}},
        {{"time": "{time}", "device": {{"id": "cuda:1", "name": "Without numbers"}}, "total_bytes": {none}, "free_bytes": {none},
          "used_bytes": {none}, "driver_bytes": {none}, "allocated_bytes": {none}, "reserved_bytes": {none}, "processes": {none},
          "level": null, "level_readings": [0, 0, 0, 0], "level_changes": 0, "holders": []}}]}}"#,
        known(80),
        known(80 - used_gib),
        known(used_gib),
        known(30),
        known(33),
        owner("llama", "weights", 14),
        owner("llama", "kv", 4),
        owner("qwen", "kv", 2),
        14u64 << 30,
    );
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn screen(app: &App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(app, frame)).unwrap();
    terminal.backend().to_string()
}

fn app() -> App {
    let mut app = App::default();
    for second in 0..30 {
        app.take(tick(second, 20 + u64::from(second), ""));
    }
    let event = r#"{"time": "2026-01-01T10:00:30.000Z", "device": "cuda:0", "kind": "level_changed", "text": "normal to elevated at 62 %"}"#;
    app.take(tick(30, 50, event));
    app
}

#[test]
fn eighty_by_twenty_four_shows_everything() {
    insta::assert_snapshot!(screen(&app(), 80, 24));
}

#[test]
fn tables_are_chosen_sorted_and_filtered() {
    let mut app = app();
    assert!(app.input(Input::Char('m')));
    let shown = screen(&app, 80, 24);
    let (llama, qwen) = (shown.find("llama ").unwrap(), shown.find("qwen ").unwrap());
    assert!(llama < qwen && shown.contains("18 GiB  weights 14 GiB, kv 4 GiB"), "{shown}");
    "/QWEN".chars().for_each(|c| assert!(app.input(Input::Char(c))));
    app.input(Input::Enter);
    let shown = screen(&app, 80, 24);
    assert!(shown.contains("filter `QWEN`") && !shown.contains("llama "), "{shown}");
    app.input(Input::Char('/'));
    app.input(Input::Char('x'));
    app.input(Input::Enter);
    assert!(screen(&app, 80, 24).contains("nothing matches `QWENx`"));
    app.input(Input::Escape);
    app.input(Input::Device(1));
    app.input(Input::Tab);
    app.input(Input::Tab);
    assert!(screen(&app, 80, 24).contains("not available: not here"), "{}", screen(&app, 80, 24));
    app.input(Input::Device(7));
    assert!(!app.input(Input::Char('q')));
}

#[test]
fn any_size_of_terminal_and_any_key_is_borne() {
    let mut app = app();
    for (width, height) in [(1, 1), (5, 3), (20, 8), (80, 10), (300, 100)] {
        screen(&app, width, height);
        app.input(Input::Char('?'));
        screen(&app, width, height);
        app.input(Input::Escape);
    }
    for input in [
        Input::Up,
        Input::Down,
        Input::Left,
        Input::Right,
        Input::Backspace,
        Input::Enter,
        Input::Char('\u{0}'),
    ] {
        (0..50).for_each(|_| assert!(app.input(input)));
        screen(&app, 80, 24);
    }
    screen(&App::default(), 80, 24);
}
