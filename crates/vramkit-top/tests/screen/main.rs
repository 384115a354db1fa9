//! The screen on a back end without a terminal, from ticks as JSON: what is drawn, and in [`keys`] what keys and mouse do.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use vramkit_top::{App, Input};

use script::*;

mod keys;
mod script;

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
