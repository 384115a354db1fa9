//! The screen on a back end without a terminal, from ticks as JSON.
#![allow(clippy::unwrap_used)]

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};
use vramkit_top::{App, Input, draw};
use vramkit_watch::Tick;

fn known(gib: u64) -> Value {
    json!({"value": gib << 30, "source": "nvml"})
}

fn unknown() -> Value {
    json!({"value": null, "source": "nvml", "unavailable": "not here"})
}

fn time(second: u64) -> String {
    format!("2026-01-01T10:{:02}:{:02}.000Z", second / 60, second % 60)
}

/// A card of 80 GiB with nothing else known.
fn card(id: &str, second: u64, used_gib: u64, level: &str) -> Value {
    json!({
        "time": time(second), "device": {"id": id, "name": "NVIDIA H100 80GB HBM3"}, "class": "gpu",
        "total_bytes": known(80), "free_bytes": known(80 - used_gib), "used_bytes": known(used_gib),
        "driver_bytes": unknown(), "allocated_bytes": unknown(), "reserved_bytes": unknown(), "processes": unknown(),
        "level": level, "level_readings": [1, 0, 0, 0], "level_changes": 0, "holders": []
    })
}

fn tick(second: u64, devices: &[Value]) -> Tick {
    let tick = json!({"schema": "vramkit.top/1", "time": time(second), "unavailable": [], "events": [], "devices": devices});
    serde_json::from_value(tick).unwrap()
}

fn with(mut value: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    value.as_object_mut().unwrap().extend(more);
    value
}

/// One card with pools, and one without numbers.
fn small(second: u64, used_gib: u64) -> Tick {
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

fn second_of(device: &Value) -> u64 {
    let time = device["time"].as_str().unwrap();
    time[14..16].parse::<u64>().unwrap() * 60 + time[17..19].parse::<u64>().unwrap()
}

/// Eight cards, one of them lost and one in four parts, at work and idle: twelve devices, and main memory.
fn large(second: u64) -> Tick {
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

fn screen(app: &App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(app, frame)).unwrap();
    terminal.backend().to_string()
}

fn line_of<'a>(screen: &'a str, text: &str) -> &'a str {
    screen.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no `{text}` in\n{screen}"))
}

fn press(app: &mut App, keys: &str) {
    keys.chars().for_each(|key| assert!(app.input(Input::Char(key)), "{key}"));
}

fn small_app() -> App {
    let mut app = App::default();
    for second in 0..30 {
        app.take(small(second, 20 + second));
    }
    let mut last = serde_json::to_value(small(30, 50)).unwrap();
    last["events"] = json!([{"time": time(30), "device": "cuda:0", "kind": "level_changed", "text": "normal to elevated at 62 %"}]);
    app.take(serde_json::from_value(last).unwrap());
    app
}

fn large_app(width: u16, height: u16) -> App {
    let mut app = App::default();
    app.resize(width, height);
    (0..200).for_each(|second| app.take(large(second)));
    app
}

#[test]
fn eighty_by_twenty_four_shows_everything() {
    insta::assert_snapshot!(screen(&small_app(), 80, 24));
}

#[test]
fn twelve_devices_are_all_seen_on_a_small_terminal() {
    let app = large_app(80, 24);
    insta::assert_snapshot!(screen(&app, 80, 24));
}

#[test]
fn a_tall_terminal_has_room_for_all_and_for_one() {
    let app = large_app(200, 50);
    insta::assert_snapshot!(screen(&app, 200, 50));
}

#[test]
fn parts_of_a_card_are_told_apart_at_any_width() {
    let app = large_app(60, 24);
    for width in [44, 60, 80, 120, 200] {
        let shown = screen(&app, width, 24);
        (0..4).for_each(|part| assert!(shown.contains(&format!("cuda:7/mig:{part} ")), "{width}\n{shown}"));
    }
}

#[test]
fn what_is_out_of_sight_is_said_with_what_is_worst_of_it() {
    let mut app = large_app(80, 10);
    let shown = screen(&app, 80, 10);
    assert!(shown.contains("6 more below: 1 critical"), "{shown}");
    assert!(shown.contains("1 critical (cuda:7/mig:3)"), "{shown}");
    app.input(Input::End);
    let shown = screen(&app, 80, 10);
    assert!(
        shown.contains("6 more above: 1 lost, 1 not read, 1 high, 1 elevated") && shown.contains("▶ host"),
        "{shown}"
    );
    // With one device opened, too.
    app.input(Input::Enter);
    let shown = screen(&app, 80, 10);
    assert!(shown.contains("1 critical (cuda:7/mig:3)") && shown.contains("esc all devices"), "{shown}");
    // And where there is hardly room for a word.
    assert!(screen(&app, 40, 10).contains("1 critical"), "{}", screen(&app, 40, 10));
}

#[test]
fn a_device_that_is_not_there_has_a_line_that_says_why() {
    let app = large_app(80, 24);
    let shown = screen(&app, 80, 24);
    assert!(line_of(&shown, "cuda:3").contains("lost since 10:00:02: it has fallen off the bus"), "{shown}");
    assert!(
        line_of(&shown, "cuda:5").contains("not read since 10:00:03: nvml has not answered for 5 s"),
        "{shown}"
    );
}

#[test]
fn what_does_not_answer_has_a_line_and_what_nobody_misses_has_none() {
    let mut value = serde_json::to_value(tick(1, &[card("cuda:0", 1, 4, "normal")])).unwrap();
    value["sources"] = json!([
        {"source": "nvml", "health": "failing", "since": "2025-12-31T23:00:00.000Z", "reason": "driver reloaded"},
        {"source": "amd", "health": "absent", "since": "2026-01-01T10:00:00.000Z", "reason": "no cards"},
        {"source": "host", "health": "up", "since": "2026-01-01T10:00:00.000Z"}]);
    value["unavailable"] = json!([
        {"source": "amd", "reason": "no cards"}, {"source": "cuda:3", "reason": "GPU is lost"}, {"source": "nvml", "reason": "driver reloaded"}]);
    let mut app = App::default();
    app.take(serde_json::from_value(value).unwrap());
    let shown = screen(&app, 80, 24);
    assert!(
        line_of(&shown, "  nvml").contains("does not answer since 2025-12-31 23:00:00: driver reloaded"),
        "{shown}"
    );
    assert!(line_of(&shown, "cuda:3").contains("GPU is lost") && !shown.contains("no cards"), "{shown}");
    assert_eq!(shown.matches("driver reloaded").count(), 1, "{shown}");
}

#[test]
fn what_is_noted_of_a_device_is_seen_with_its_numbers() {
    let noted = with(
        card("cuda:0", 0, 20, "normal"),
        json!({"notes": ["shares the machine's memory", "200 GiB in use is said of 80 GiB in all: one of them is wrong"],
            "shared_bytes": {"value": 3u64 << 30, "source": "system"}}),
    );
    let mut app = App::default();
    app.resize(120, 40);
    app.take(tick(0, &[noted]));
    let seen = screen(&app, 120, 40);
    for words in ["200 GiB in use is said of 80 GiB", "shares the machine's memory", "(GTT): 3 GiB"] {
        assert!(seen.contains(words), "{words}: {seen}");
    }
    // Where there is room for the overview alone, it begins there.
    assert!(line_of(&screen(&app, 120, 8), "cuda:0").contains("200 GiB in use"), "{}", screen(&app, 120, 8));
}

#[test]
fn memory_that_is_held_by_a_card_that_does_nothing_is_noted_after_a_while() {
    let mut app = App::default();
    (0..30).for_each(|second| app.take(large(second)));
    assert!(!line_of(&screen(&app, 80, 24), "cuda:1 ").contains("idle"));
    (30..200).for_each(|second| app.take(large(second)));
    let shown = screen(&app, 80, 24);
    assert!(line_of(&shown, "cuda:1 ").contains("0 %  31°C   71 W idle 3 min"), "{shown}");
    assert!(
        !line_of(&shown, "cuda:2 ").contains("idle") && !line_of(&shown, "host").contains("idle"),
        "{shown}"
    );
}

/// A card with so many holders.
fn crowd(holders: usize) -> App {
    let holders: Vec<Value> = (0..holders)
        .map(|at| json!({"name": format!("holder-{at:02}"), "bytes": (1000 - at) << 20}))
        .collect();
    let mut app = App::default();
    app.resize(80, 24);
    app.take(tick(
        1,
        &[with(card("cuda:0", 1, 40, "normal"), json!({"holders": holders})), card("host", 1, 4, "normal")],
    ));
    app
}

#[test]
fn scrolling_ends_at_the_end_and_the_first_step_back_moves() {
    let mut app = crowd(31);
    (0..60).for_each(|_| assert!(app.input(Input::Down)));
    let shown = screen(&app, 80, 24);
    assert!(shown.contains("▶ holder-30") && shown.contains("–31 of 31"), "{shown}");
    app.input(Input::Up);
    assert!(screen(&app, 80, 24).contains("▶ holder-29"));
    for (key, chosen) in [
        (Input::Home, "00"),
        (Input::PageDown, "05"),
        (Input::Char('j'), "06"),
        (Input::Char('k'), "05"),
        (Input::PageUp, "00"),
        (Input::Char('G'), "30"),
        (Input::Char('g'), "00"),
        (Input::End, "30"),
    ] {
        app.input(key);
        let shown = screen(&app, 80, 24);
        assert!(shown.contains(&format!("▶ holder-{chosen}")), "{key:?}\n{shown}");
    }
}

#[test]
fn the_mouse_picks_what_it_points_at_in_a_scrolled_list_too() {
    let mut app = large_app(80, 10);
    (0..9).for_each(|_| assert!(app.input(Input::Down)));
    let first = screen(&app, 80, 10)
        .lines()
        .nth(2)
        .unwrap()
        .trim_start_matches(['"', ' ', '▶'])
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    assert_ne!(first, "cuda:0");
    app.input(Input::Click { column: 10, row: 2 });
    let shown = screen(&app, 80, 10);
    assert!(shown.contains(&format!("▶ {first} ")) && shown.contains("holders"), "{shown}");
    // The table's rows, the title and the foot.
    let mut app = crowd(31);
    (0..60).for_each(|_| assert!(app.input(Input::Down)));
    let shown = screen(&app, 80, 24);
    let (row, _) = shown.lines().enumerate().find(|(_, line)| line.contains("holder-27")).unwrap();
    app.input(Input::Click { column: 3, row: row as u16 });
    assert!(screen(&app, 80, 24).contains("▶ holder-27"));
    for row in [0, 1, 23, 24, 5000] {
        app.input(Input::Click { column: 3, row });
        assert!(screen(&app, 80, 24).contains("▶ holder-27"), "{row}");
    }
    // The wheel is for what is under it.
    app.input(Input::Wheel { column: 3, row: row as u16, down: false });
    let shown = screen(&app, 80, 24);
    assert!(shown.contains("23–28 of 31") || !shown.contains("–31 of 31"), "{shown}");
    let mut app = large_app(80, 10);
    app.input(Input::Wheel { column: 3, row: 4, down: true });
    assert!(screen(&app, 80, 10).contains("3 more above"), "{}", screen(&app, 80, 10));
}

#[test]
fn the_cursor_stays_on_its_row_when_the_order_changes() {
    let mut app = App::default();
    let device = |a: u64, b: u64| {
        tick(
            1,
            &[with(
                card("cuda:0", 1, 40, "normal"),
                json!({"holders": [{"name": "ann", "bytes": a << 30}, {"name": "bob", "bytes": b << 30}]}),
            )],
        )
    };
    app.take(device(2, 1));
    app.input(Input::Down);
    app.take(device(1, 2));
    assert!(screen(&app, 80, 24).contains("▶ bob"), "{}", screen(&app, 80, 24));
    // A device before it is lost from the list: the chosen one stays chosen.
    let mut app = large_app(80, 24);
    (0..4).for_each(|_| assert!(app.input(Input::Down)));
    let mut fewer = serde_json::to_value(large(201)).unwrap();
    fewer["devices"].as_array_mut().unwrap().remove(0);
    app.take(serde_json::from_value(fewer).unwrap());
    assert!(screen(&app, 80, 24).contains("▶ cuda:4"), "{}", screen(&app, 80, 24));
}

#[test]
fn tables_are_chosen_sorted_and_filtered() {
    let mut app = small_app();
    press(&mut app, "m");
    let shown = screen(&app, 80, 24);
    let (llama, qwen) = (shown.find("llama ").unwrap(), shown.find("qwen ").unwrap());
    assert!(llama < qwen && shown.contains("weights 14 GiB, kv 4 GiB"), "{shown}");
    press(&mut app, "/QWEN");
    app.input(Input::Enter);
    let shown = screen(&app, 80, 24);
    assert!(shown.contains("filter `QWEN`") && !shown.contains("llama "), "{shown}");
    press(&mut app, "/x");
    app.input(Input::Enter);
    assert!(screen(&app, 80, 24).contains("nothing matches `QWENx`"));
    app.input(Input::Escape);
    press(&mut app, "d");
    app.input(Input::Tab);
    app.input(Input::Tab);
    assert!(screen(&app, 80, 24).contains("not available: not here"), "{}", screen(&app, 80, 24));
    assert!(!app.input(Input::Char('q')));
}

#[test]
fn rows_are_found_by_whose_they_are() {
    for (filter, found, others) in [
        ("user:ann", "llama weights", ["python3 72", "others"]),
        ("USER:Bob", "python3 72", ["llama weights", "others"]),
        ("model:llama", "llama weights", ["python3 72", "others"]),
        ("pod:prod/", "llama weights", ["python3 72", "others"]),
        ("job:slurm:9", "python3 72", ["llama weights", "others"]),
        ("pid:72", "python3 72", ["llama weights", "others"]),
        ("command:train.py bob", "python3 72", ["llama weights", "others"]),
        ("epochs", "python3 72", ["llama weights", "others"]),
    ] {
        let mut app = small_app();
        press(&mut app, &format!("/{filter}"));
        app.input(Input::Enter);
        let shown = screen(&app, 120, 24);
        assert!(
            shown.contains(found) && others.iter().all(|other| !shown.contains(other)),
            "{filter}\n{shown}"
        );
    }
    let mut app = small_app();
    for by in ["name", "user", "model", "pod", "bytes"] {
        press(&mut app, "s");
        let shown = screen(&app, 80, 24);
        assert!(shown.contains(&format!("by {by}")), "{shown}");
        // What has no such thing comes last.
        let at = |name: &str| shown.find(name).unwrap();
        assert!(at("others ") > at("llama weights"), "{shown}");
    }
}

#[test]
fn who_holds_any_of_all_devices_is_one_table() {
    let mut app = large_app(80, 24);
    press(&mut app, "/");
    assert!(screen(&app, 80, 24).contains("holders of all devices"), "{}", screen(&app, 80, 24));
    let mut app = small_app();
    press(&mut app, "a");
    let shown = screen(&app, 120, 24);
    assert!(shown.contains("device") && line_of(&shown, "llama weights").contains("cuda:0"), "{shown}");
}

#[test]
fn all_that_is_known_of_a_holder_is_shown() {
    let mut app = small_app();
    app.input(Input::Down);
    app.input(Input::Enter);
    let shown = screen(&app, 80, 24);
    for fact in
        ["python3 72", "5 GiB, 6.2 %", "72", "bob", "slurm:9", "python3 train.py --epochs 3", "not known"]
    {
        assert!(shown.contains(fact), "{fact}\n{shown}");
    }
    app.input(Input::Escape);
    assert!(!screen(&app, 80, 24).contains("not known"));
}

#[test]
fn no_process_is_ended_in_a_recording_or_from_afar() {
    let mut app = small_app();
    press(&mut app, "K");
    let shown = screen(&app, 80, 24);
    assert!(shown.contains("only on the screen of a machine's own processes"), "{shown}");
    press(&mut app, "y");
    assert!(!screen(&app, 80, 24).contains("SIGTERM"));
}

#[test]
fn while_paused_what_is_shown_stays_and_nothing_is_missed() {
    let mut app = small_app();
    press(&mut app, "p");
    (31..34).for_each(|second| app.take(small(second, 77)));
    let shown = screen(&app, 80, 24);
    assert!(
        shown.contains("paused, 3 readings since") && line_of(&shown, "cuda:0 ").contains("50 GiB"),
        "{shown}"
    );
    press(&mut app, "p");
    assert!(line_of(&screen(&app, 80, 24), "cuda:0 ").contains("77 GiB"));
}

#[test]
fn the_help_is_whole_on_a_small_terminal() {
    let mut app = small_app();
    app.resize(80, 24);
    press(&mut app, "?");
    let first = screen(&app, 80, 24);
    assert!(first.contains("more lines"), "{first}");
    (0..300).for_each(|_| assert!(app.input(Input::Down)));
    let last = screen(&app, 80, 24);
    assert!(
        last.contains("not available: nobody gives that number") && !last.contains("more lines"),
        "{last}"
    );
    app.input(Input::Up);
    assert!(screen(&app, 80, 24).contains("1 more lines"));
    press(&mut app, "x");
    assert!(!screen(&app, 80, 24).contains("help, any key"));
}

#[test]
fn any_size_of_terminal_and_any_key_is_borne() {
    let keys = [
        Input::Up,
        Input::Down,
        Input::Left,
        Input::Right,
        Input::PageUp,
        Input::PageDown,
        Input::Home,
        Input::End,
        Input::Backspace,
        Input::Enter,
        Input::Tab,
        Input::Delete,
        Input::Escape,
        Input::Char('\u{0}'),
        Input::Char('a'),
        Input::Char('?'),
        Input::Click { column: 5, row: 3 },
        Input::Wheel { column: 5, row: 8, down: true },
    ];
    for mut app in [small_app(), large_app(80, 24), App::default(), crowd(0)] {
        for (width, height) in [(1, 1), (0, 0), (5, 3), (20, 8), (80, 10), (300, 100)] {
            app.resize(width, height);
            for key in keys {
                (0..7).for_each(|_| assert!(app.input(key)));
                screen(&app, width.max(1), height.max(1));
            }
        }
    }
}
