//! What keys and the mouse do.

use serde_json::{Value, json};
use vramkit_top::{App, Input};

use super::script::*;

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
