//! The app on a real terminal: keys and mouse in, frames out, everything put back at the end.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{
    self, DisableMouseCapture, EnableMouseCapture, Event, KeyCode, KeyEventKind, KeyModifiers, MouseButton,
    MouseEventKind,
};
use ratatui::crossterm::execute;
use vramkit_watch::{Tick, Watcher};

use crate::app::{App, Input};
use crate::screen;

/// How long a key may wait.
const RESPONSE: Duration = Duration::from_millis(50);

/// Where ticks come from.
pub enum Feed {
    /// A watcher, asked at most so long after its last tick.
    Live(Box<Watcher>, Duration),
    /// A recording, shown a tick an interval.
    Recorded(Vec<Tick>, Duration),
}

/// Shows the screen until somebody quits.
///
/// # Errors
/// What the terminal says, or that the system has no thread.
pub fn run(feed: Feed) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let outcome = execute!(io::stdout(), EnableMouseCapture).and_then(|()| show(&mut terminal, feed));
    // Both, whatever became of the first.
    let mouse = execute!(io::stdout(), DisableMouseCapture);
    ratatui::try_restore()?;
    outcome.and(mouse)
}

fn show(terminal: &mut DefaultTerminal, feed: Feed) -> io::Result<()> {
    match feed {
        Feed::Live(watcher, interval) => show_live(terminal, *watcher, interval),
        Feed::Recorded(ticks, interval) => show_recorded(terminal, &ticks, interval),
    }
}

fn show_live(terminal: &mut DefaultTerminal, mut watcher: Watcher, interval: Duration) -> io::Result<()> {
    // A driver that hangs must not hang the keys.
    let (sender, ticks): (_, Receiver<Tick>) = sync_channel(1);
    std::thread::Builder::new().name("vramkit-watch".into()).spawn(move || {
        let start = Instant::now();
        loop {
            let tick = watcher.tick(start.elapsed());
            let period = watcher.period(&tick, interval);
            if sender.send(tick).is_err() {
                return;
            }
            std::thread::sleep(period);
        }
    })?;
    let mut app = App::default();
    loop {
        match ticks.recv_timeout(Duration::ZERO) {
            Ok(tick) if !app.is_paused() => app.take(tick),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("the watcher ended")),
        }
        terminal.draw(|frame| screen::draw(&app, frame))?;
        if !keys(&mut app, |_, _| ())? {
            return Ok(());
        }
    }
}

fn show_recorded(terminal: &mut DefaultTerminal, ticks: &[Tick], interval: Duration) -> io::Result<()> {
    let mut app = App::default();
    let (mut next, mut shown) = (0usize, Instant::now());
    loop {
        if next < ticks.len() && (next == 0 || (!app.is_paused() && shown.elapsed() >= interval)) {
            app.take(ticks[next].clone());
            (next, shown) = (next + 1, Instant::now());
        }
        app.at(next, ticks.len());
        terminal.draw(|frame| screen::draw(&app, frame))?;
        let mut wanted = next;
        let goes_on = keys(&mut app, |app, input| match input {
            Input::Left if app.is_paused() => wanted = wanted.saturating_sub(1).max(1),
            Input::Right if app.is_paused() => wanted = (wanted + 1).min(ticks.len()),
            _ => {}
        })?;
        if !goes_on {
            return Ok(());
        }
        if wanted < next {
            app.restart();
            next = 0;
        }
        ticks[next..wanted].iter().for_each(|tick| app.take(tick.clone()));
        next = wanted;
    }
}

/// Takes the keys that have been pressed; `false` ends the program.
fn keys(app: &mut App, mut also: impl FnMut(&App, Input)) -> io::Result<bool> {
    let mut wait = RESPONSE;
    while event::poll(wait)? {
        wait = Duration::ZERO;
        let Some(input) = input(&event::read()?) else { continue };
        also(app, input);
        if !app.input(input) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What an event means to the app, if anything.
fn input(event: &Event) -> Option<Input> {
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Release => None,
        Event::Key(key) if key.modifiers.contains(KeyModifiers::CONTROL) => {
            matches!(key.code, KeyCode::Char('c' | 'd')).then_some(Input::Quit)
        }
        Event::Key(key) => Some(match key.code {
            KeyCode::Char(c) => Input::Char(c),
            KeyCode::Up => Input::Up,
            KeyCode::Down => Input::Down,
            KeyCode::Left => Input::Left,
            KeyCode::Right => Input::Right,
            KeyCode::Tab => Input::Tab,
            KeyCode::Enter => Input::Enter,
            KeyCode::Esc => Input::Escape,
            KeyCode::Backspace => Input::Backspace,
            _ => return None,
        }),
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::ScrollUp => Some(Input::Up),
            MouseEventKind::ScrollDown => Some(Input::Down),
            MouseEventKind::Down(MouseButton::Left) => {
                let line = mouse.row.checked_sub(screen::FIRST_DEVICE)? as usize;
                (line < screen::DEVICES).then_some(Input::Device(line))
            }
            _ => None,
        },
        _ => None,
    }
}
