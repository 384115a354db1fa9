//! Recordings of ticks; what is read is drawn, every table in turn.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use vramkit_fuzz::file;
use vramkit_top::{App, Input, draw};
use vramkit_watch::record;

fuzz_target!(|content: &[u8]| {
    let Ok(ticks) = record::read(&file("ticks", content)) else { return };
    let mut app = App::default();
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a screen in memory");
    for tick in ticks {
        app.take(tick);
        app.input(Input::Tab);
        terminal.draw(|frame| draw(&app, frame)).expect("a screen in memory");
    }
});
