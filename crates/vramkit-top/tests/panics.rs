//! A panic on the screen: this test program is started once more in a pseudo-terminal, where what makes its ticks panics.
#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use vramkit_top::{Feed, run};
use vramkit_watch::Tick;

#[test]
#[ignore = "panics: started by the other test"]
fn panics_on_the_screen() {
    let mut ticks = 0;
    let ask = move || {
        ticks += 1;
        assert!(ticks < 4, "a reading that fails like this");
        Tick::new("2026-01-01T00:00:00.000Z".into())
    };
    // Its error says so once more; a second panic would put the cursor over the words of the first.
    drop(run(Feed::Asked(Box::new(ask), Duration::from_millis(50))));
}

#[test]
fn a_panic_puts_the_terminal_back() {
    let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).unwrap();
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "panics_on_the_screen"]);
    command.env("TERM", "xterm-256color");
    command.env("RUST_BACKTRACE", "0");
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let mut output = pair.master.try_clone_reader().unwrap();
    let reader = std::thread::spawn(move || {
        let mut parser = vt100::Parser::new(24, 80, 0);
        let (mut buffer, mut was_drawn) = ([0; 4096], false);
        while let Ok(read @ 1..) = output.read(&mut buffer) {
            // One by one: all of it may come at once.
            for byte in &buffer[..read] {
                parser.process(std::slice::from_ref(byte));
                was_drawn |= parser.screen().alternate_screen();
            }
        }
        (parser, was_drawn)
    });
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    let modes = format!("{:?}", pair.master.get_termios().unwrap().local_flags);
    drop(pair.master);
    let (parser, was_drawn) = reader.join().unwrap();
    let screen = parser.screen();
    assert!(was_drawn, "{}", screen.contents());
    assert!(!screen.alternate_screen() && !screen.hide_cursor());
    assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
    assert!(modes.contains("ICANON") && modes.contains("ECHO"), "{modes}");
    assert!(screen.contents().contains("a reading that fails like this"), "{}", screen.contents());
}
