//! Ticks as JSON, apps that have taken them, and what an app draws.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};
use vramkit_top::{App, Input, draw};
use vramkit_watch::Tick;

pub(crate) fn known(gib: u64) -> Value {
    json!({"value": gib << 30, "source": "nvml"})
}

pub(crate) fn unknown() -> Value {
    json!({"value": null, "source": "nvml", "unavailable": "not here"})
}

pub(crate) fn time(second: u64) -> String {
    format!("2026-01-01T10:{:02}:{:02}.000Z", second / 60, second % 60)
}

/// A card of 80 GiB with nothing else known.
pub(crate) fn card(id: &str, second: u64, used_gib: u64, level: &str) -> Value {
    json!({
        "time": time(second), "device": {"id": id, "name": "NVIDIA H100 80GB HBM3"}, "class": "gpu",
        "total_bytes": known(80), "free_bytes": known(80 - used_gib), "used_bytes": known(used_gib),
        "driver_bytes": unknown(), "allocated_bytes": unknown(), "reserved_bytes": unknown(), "processes": unknown(),
        "level": level, "level_readings": [1, 0, 0, 0], "level_changes": 0, "holders": []
    })
}

pub(crate) fn tick(second: u64, devices: &[Value]) -> Tick {
    let tick = json!({"schema": "vramkit.top/1", "time": time(second), "unavailable": [], "events": [], "devices": devices});
    serde_json::from_value(tick).unwrap()
}

pub(crate) fn with(mut value: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    value.as_object_mut().unwrap().extend(more);
    value
}

/// One card with pools, and one without numbers.
pub(crate) fn small(second: u64, used_gib: u64) -> Tick {
    let stats = json!({"capacity_bytes": 42949672960u64, "committed_bytes": 32212254720u64, "peak_committed_bytes": 32212254720u64,
        "used_bytes": 21474836480u64, "peak_used_bytes": 21474836480u64, "pending_bytes": 0, "requested_bytes": 21474836480u64,
        "peak_requested_bytes": 21474836480u64, "arena_bytes": 21474836480u64, "live": 3, "granted": 9, "hits": 8, "misses": 1,
        "failures": 2, "largest_free_bytes": 10737418240u64, "book_bytes": 1});
    let owner = |model: &str, purpose: &str, gib: u64| json!({"model": model, "purpose": purpose, "granted_bytes": gib << 30, "peak_bytes": 1, "allocations": 1, "priority": 0});
    let first = with(
        card("cuda:0", second, used_gib, "elevated"),
        json!({
            "processes": {"value": [
                {"pid": 71, "name": {"value": "vllm", "source": "system"}, "user": "ann", "container": "docker:0123456789ab",
                 "pod": "prod/vllm-0", "command": "vllm serve llama", "used_bytes": known(30), "peak_bytes": known(33)},
                {"pid": 72, "name": {"value": "python3", "source": "system"}, "user": "bob", "job": "slurm:9",
                 "command": "python3 train.py --epochs 3", "used_bytes": known(5), "peak_bytes": unknown()}], "source": "nvml"},
            "pools": [{"name": "main", "pid": 71, "device": "cuda:0", "stats": stats, "ledger": [], "process": {"user": "ann", "pod": "prod/vllm-0"},
                "owners": [owner("llama", "weights", 14), owner("llama", "kv", 4), owner("qwen", "kv", 2)]}],
            "holders": [
                {"name": "llama weights", "bytes": 14u64 << 30, "pid": 71, "user": "ann", "pod": "prod/vllm-0"},
                {"name": "python3 72", "bytes": 5u64 << 30, "pid": 72, "user": "bob", "command": "python3 train.py --epochs 3", "job": "slurm:9"},
                {"name": "others", "bytes": 1u64 << 30}]
        }),
    );
    let second = with(
        card("cuda:1", second, 0, "normal"),
        json!({"total_bytes": unknown(), "free_bytes": unknown(), "used_bytes": unknown(), "level": null}),
    );
    tick(second_of(&first), &[first, second])
}

pub(crate) fn second_of(device: &Value) -> u64 {
    let time = device["time"].as_str().unwrap();
    time[14..16].parse::<u64>().unwrap() * 60 + time[17..19].parse::<u64>().unwrap()
}

/// Eight cards, one of them lost and one in four parts, at work and idle: twelve devices, and main memory.
pub(crate) fn large(second: u64) -> Tick {
    let busy = json!({"activity": {"utilization_ratio": 0.97, "temperature_celsius": 71.0, "power_watts": 655.0, "power_limit_watts": 700.0}});
    let idle = json!({"activity": {"utilization_ratio": 0.0, "temperature_celsius": 31.0, "power_watts": 71.0, "power_limit_watts": 700.0}});
    let mut devices: Vec<Value> = (0..7)
        .map(|card_of| {
            let level = ["normal", "normal", "elevated", "normal", "high", "normal", "normal"][card_of];
            let device = card(&format!("cuda:{card_of}"), second, 20 + 8 * card_of as u64, level);
            with(device, if card_of == 1 { idle.clone() } else { busy.clone() })
        })
        .collect();
    let lost = json!({"level": null, "presence": {"state": "lost", "since": time(2), "reason": "it has fallen off the bus"}});
    devices[3] = with(devices[3].clone(), lost);
    let unread = json!({"level": null, "presence": {"state": "unread", "since": time(3), "reason": "nvml has not answered for 5 s"}});
    devices[5] = with(devices[5].clone(), unread);
    devices.extend((0..4).map(|part| {
        let level = if part == 3 { "critical" } else { "normal" };
        with(
            card(&format!("cuda:7/mig:{part}"), second, if part == 3 { 79 } else { 10 }, level),
            json!({"class": "gpu_part"}),
        )
    }));
    devices.push(with(
        card("host", second, 30, "normal"),
        json!({"class": "machine", "device": {"id": "host", "name": "main memory"}}),
    ));
    tick(second, &devices)
}

pub(crate) fn screen(app: &App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(app, frame)).unwrap();
    terminal.backend().to_string()
}

pub(crate) fn line_of<'a>(screen: &'a str, text: &str) -> &'a str {
    screen.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no `{text}` in\n{screen}"))
}

pub(crate) fn press(app: &mut App, keys: &str) {
    keys.chars().for_each(|key| assert!(app.input(Input::Char(key)), "{key}"));
}

pub(crate) fn small_app() -> App {
    let mut app = App::default();
    for second in 0..30 {
        app.take(small(second, 20 + second));
    }
    let mut last = serde_json::to_value(small(30, 50)).unwrap();
    last["events"] = json!([{"time": time(30), "device": "cuda:0", "kind": "level_changed", "text": "normal to elevated at 62 %"}]);
    app.take(serde_json::from_value(last).unwrap());
    app
}

pub(crate) fn large_app(width: u16, height: u16) -> App {
    let mut app = App::default();
    app.resize(width, height);
    (0..200).for_each(|second| app.take(large(second)));
    app
}
