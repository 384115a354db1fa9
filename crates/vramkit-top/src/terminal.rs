//! The app on a real terminal: keys and mouse in, frames out, everything put back at the end, whatever the end is.

use std::io;
use std::sync::Once;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{
    self, DisableMouseCapture, EnableMouseCapture, Event, KeyCode, KeyEventKind, KeyModifiers, MouseButton,
    MouseEventKind,
};
use ratatui::crossterm::execute;
use vramkit_watch::Tick;

use crate::app::App;
use crate::feed::{Feed, Ticks};
use crate::input::Input;
use crate::kill::Target;
use crate::over::Wish;
use crate::screen;
use crate::signals::Signals;

/// How long a key or a signal may wait.
const RESPONSE: Duration = Duration::from_millis(50);

/// Shows the screen until somebody quits.
///
/// SIGTERM, SIGINT, SIGHUP and SIGQUIT end it: the terminal is put back, and then the signal ends the process as it does by
/// default, so that this does not return. SIGTSTP stops it, with the terminal put back until it goes on.
///
/// # Errors
/// What the terminal says, or that the system has no thread.
pub fn run(feed: Feed) -> io::Result<()> {
    let signals = Signals::watch()?;
    let outcome = Screen::enter().and_then(|mut screen| {
        let outcome = show(&mut screen, feed, signals);
        // Both, whatever became of the first.
        let left = screen.leave();
        outcome.and(left)
    });
    signals.release();
    // Whatever else went wrong: with the terminal gone, much does.
    if let Some(signal) = signals.ended() {
        signals.end(signal)?;
    }
    outcome
}

/// A terminal that is drawn on. When it is dropped, it is as it was before.
struct Screen {
    terminal: DefaultTerminal,
    is_entered: bool,
}

impl Screen {
    fn enter() -> io::Result<Self> {
        put_back_on_panic();
        PUT_BACK.store(false, SeqCst);
        let terminal = ratatui::try_init()?;
        let screen = Self { terminal, is_entered: true };
        execute!(io::stdout(), EnableMouseCapture)?;
        Ok(screen)
    }

    /// After somebody else had the terminal.
    fn enter_again(&mut self) -> io::Result<()> {
        // What is believed of the terminal's mode may not be so any more: out, and in.
        self.leave()?;
        self.terminal = ratatui::try_init()?;
        self.is_entered = true;
        execute!(io::stdout(), EnableMouseCapture)
    }

    /// All of it, whatever becomes of a part.
    fn leave(&mut self) -> io::Result<()> {
        if !self.is_entered {
            return Ok(());
        }
        self.is_entered = false;
        // Once more would put the cursor where it was before, over what the panic has said.
        if PUT_BACK.swap(false, SeqCst) {
            return execute!(io::stdout(), DisableMouseCapture, Show);
        }
        let mouse = execute!(io::stdout(), DisableMouseCapture);
        let screen = ratatui::try_restore();
        mouse.and(screen).and(execute!(io::stdout(), Show))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.leave();
    }
}

/// Whether a panic, of any thread, has put the terminal back.
static PUT_BACK: AtomicBool = AtomicBool::new(false);

/// ratatui puts back what it changes when anything panics; the mouse is ours.
fn put_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let _ = execute!(io::stdout(), DisableMouseCapture, Show);
            PUT_BACK.store(true, SeqCst);
            before(panic);
        }));
    });
}

fn show(screen: &mut Screen, feed: Feed, signals: &Signals) -> io::Result<()> {
    let mut app = App::default();
    let size = screen.terminal.size()?;
    app.resize(size.width, size.height);
    match feed {
        Feed::Live(watcher, interval) => {
            app.no_ending = None;
            show_ticks(screen, app, &Ticks::of_watcher(*watcher, interval)?, signals)
        }
        Feed::Asked(ask, interval) => show_ticks(screen, app, &Ticks::asked(ask, interval)?, signals),
        Feed::Recorded(ticks, interval) => show_recorded(screen, app, &ticks, interval, signals),
    }
}

fn show_ticks(screen: &mut Screen, mut app: App, ticks: &Ticks, signals: &Signals) -> io::Result<()> {
    let mut target = None;
    let mut is_changed = true;
    loop {
        if let Some(tick) = ticks.next()? {
            app.take(tick);
            is_changed = true;
        }
        match turn(screen, &mut app, is_changed, signals, |_, _| ())? {
            Turn::End => return Ok(()),
            Turn::Same => is_changed = false,
            Turn::Changed => is_changed = true,
        }
        if let Some(wish) = app.take_wish() {
            grant(&mut app, wish, &mut target);
        }
    }
}

fn show_recorded(
    screen: &mut Screen,
    mut app: App,
    ticks: &[Tick],
    interval: Duration,
    signals: &Signals,
) -> io::Result<()> {
    let (mut next, mut shown) = (0usize, Instant::now());
    let mut is_changed = true;
    loop {
        if next < ticks.len() && (next == 0 || (!app.is_paused() && shown.elapsed() >= interval)) {
            app.step(&ticks[next..=next]);
            (next, shown, is_changed) = (next + 1, Instant::now(), true);
        }
        app.at(next, ticks.len());
        let mut wanted = next;
        let turn = turn(screen, &mut app, is_changed, signals, |app, input| match input {
            Input::Left if app.is_paused() => wanted = wanted.saturating_sub(1).max(1),
            Input::Right if app.is_paused() => wanted = (wanted + 1).min(ticks.len()),
            _ => {}
        })?;
        match turn {
            Turn::End => return Ok(()),
            Turn::Same => is_changed = false,
            Turn::Changed => is_changed = true,
        }
        if wanted < next {
            app.restart();
            next = 0;
        }
        app.step(&ticks[next..wanted]);
        next = wanted;
    }
}

/// What became of a look at keys and signals.
enum Turn {
    Same,
    Changed,
    End,
}

/// Draws what has changed, then takes the signals and keys that have come.
fn turn(
    screen: &mut Screen,
    app: &mut App,
    is_changed: bool,
    signals: &Signals,
    mut also: impl FnMut(&App, Input),
) -> io::Result<Turn> {
    if signals.ended().is_some() {
        return Ok(Turn::End);
    }
    if PUT_BACK.load(SeqCst) {
        return Err(io::Error::other("what makes readings has panicked"));
    }
    if signals.stopped() {
        screen.leave()?;
        signals.stop()?;
        screen.enter_again()?;
        return Ok(Turn::Changed);
    }
    if signals.continued() {
        screen.enter_again()?;
        return Ok(Turn::Changed);
    }
    if is_changed {
        screen.terminal.draw(|frame| screen::draw(app, frame))?;
    }
    let mut turn = Turn::Same;
    let mut wait = RESPONSE;
    while event::poll(wait)? {
        wait = Duration::ZERO;
        let event = event::read()?;
        if let Event::Resize(width, height) = event {
            app.resize(width, height);
            turn = Turn::Changed;
        }
        if is_stop(&event) {
            signals.stop_job();
            break;
        }
        let Some(input) = input(&event) else { continue };
        also(app, input);
        if !app.input(input) {
            return Ok(Turn::End);
        }
        turn = Turn::Changed;
    }
    Ok(turn)
}

/// Does what the app cannot: finds the process that is asked about, or ends it.
fn grant(app: &mut App, wish: Wish, target: &mut Option<Target>) {
    match wish {
        Wish::Find(victim) => match Target::find(&victim) {
            Ok(found) => {
                app.ask(found.words.clone());
                *target = Some(found);
            }
            Err(error) => app.say(error.to_string()),
        },
        Wish::End(end) => {
            let Some(target) = target.take() else { return };
            match target.end(end) {
                Ok(()) => app.say(format!("{} sent to {}", end.name(), target.words)),
                Err(error) => app.say(error.to_string()),
            }
        }
    }
}

/// Ctrl-Z, which in this mode of the terminal is a key like others.
fn is_stop(event: &Event) -> bool {
    matches!(event, Event::Key(key) if key.kind != KeyEventKind::Release
        && key.modifiers.contains(KeyModifiers::CONTROL)
        && key.code == KeyCode::Char('z'))
}

/// What an event means to the app, if anything.
fn input(event: &Event) -> Option<Input> {
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Release => None,
        Event::Key(key) if key.modifiers.contains(KeyModifiers::CONTROL) => {
            matches!(key.code, KeyCode::Char('c' | 'd' | '\\')).then_some(Input::Quit)
        }
        Event::Key(key) => Some(match key.code {
            KeyCode::Char(c) => Input::Char(c),
            KeyCode::Up => Input::Up,
            KeyCode::Down => Input::Down,
            KeyCode::Left => Input::Left,
            KeyCode::Right => Input::Right,
            KeyCode::PageUp => Input::PageUp,
            KeyCode::PageDown => Input::PageDown,
            KeyCode::Home => Input::Home,
            KeyCode::End => Input::End,
            KeyCode::Tab => Input::Tab,
            KeyCode::Enter => Input::Enter,
            KeyCode::Esc => Input::Escape,
            KeyCode::Backspace => Input::Backspace,
            KeyCode::Delete => Input::Delete,
            _ => return None,
        }),
        Event::Mouse(mouse) => {
            let (column, row) = (mouse.column, mouse.row);
            match mouse.kind {
                MouseEventKind::ScrollUp => Some(Input::Wheel { column, row, down: false }),
                MouseEventKind::ScrollDown => Some(Input::Wheel { column, row, down: true }),
                MouseEventKind::Down(MouseButton::Left) => Some(Input::Click { column, row }),
                _ => None,
            }
        }
        _ => None,
    }
}
