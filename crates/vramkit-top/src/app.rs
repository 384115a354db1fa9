//! What the screen shows, and how keys and the mouse change it.

use std::collections::{BTreeMap, VecDeque};

use ratatui::layout::{Position, Rect};
use vramkit_watch::{DeviceTick, Tick, WatchEvent};

use crate::entries::{Entry, entries};
use crate::filter::Filter;
use crate::help;
use crate::input::Input;
use crate::kill::{End, Victim};
use crate::layout::Places;
use crate::list::List;
use crate::over::{Over, Question, Wish};
use crate::row::Row;
use crate::rows::{Sort, View, rows};
use crate::trail::Trail;

/// Events that are kept, and letters of a filter.
const EVENTS: usize = 200;
const FILTER: usize = 64;
/// Rows that a turn of the wheel moves.
const WHEEL: isize = 3;

/// Everything that the screen shows.
///
/// ```
/// use ratatui::Terminal;
/// use ratatui::backend::TestBackend;
/// use vramkit_top::{App, Input, draw};
///
/// let mut app = App::default();
/// assert!(app.input(Input::Char('p')), "a key that does not end it");
/// let mut terminal = Terminal::new(TestBackend::new(80, 24))?;
/// terminal.draw(|frame| draw(&app, frame))?;
/// assert!(terminal.backend().to_string().contains("reading"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct App {
    /// The tick that is shown.
    pub(crate) tick: Option<Tick>,
    /// The last one that came while paused, and how many did.
    waiting: Option<(Tick, usize)>,
    pub(crate) trails: BTreeMap<String, Trail>,
    pub(crate) events: VecDeque<WatchEvent>,
    size: Rect,
    pub(crate) devices: List,
    pub(crate) table: List,
    /// Whether a device is open where there is no room for all and one.
    pub(crate) is_opened: bool,
    /// Whether the table is of all devices.
    pub(crate) is_of_all: bool,
    pub(crate) view: View,
    pub(crate) sort: Sort,
    pub(crate) filter: String,
    pub(crate) is_typing: bool,
    pub(crate) is_paused: bool,
    pub(crate) over: Over,
    /// The table's rows as they are now, so that one is made once for each change.
    rows: Vec<Row>,
    /// What a key did not do, and why.
    pub(crate) message: Option<String>,
    wish: Option<Wish>,
    /// Why no process can be ended from here; `None` where it can.
    pub(crate) no_ending: Option<&'static str>,
    /// How far a recording is, as `3 of 90`.
    pub(crate) position: Option<(usize, usize)>,
}

impl Default for App {
    fn default() -> Self {
        Self {
            tick: None,
            waiting: None,
            trails: BTreeMap::new(),
            events: VecDeque::new(),
            size: Rect::new(0, 0, 80, 24),
            devices: List::default(),
            table: List::default(),
            is_opened: false,
            is_of_all: false,
            view: View::default(),
            sort: Sort::default(),
            filter: String::new(),
            is_typing: false,
            is_paused: false,
            over: Over::Nothing,
            rows: Vec::new(),
            message: None,
            wish: None,
            no_ending: Some("only on the screen of a machine's own processes can one be ended"),
            position: None,
        }
    }
}

impl App {
    /// Takes a tick in. While paused, what is shown stays; events and graphs go on.
    pub fn take(&mut self, tick: Tick) {
        self.note(&tick);
        if self.is_paused && self.tick.is_some() {
            let before = self.waiting.take().map_or(0, |(_, ticks)| ticks);
            self.waiting = Some((tick, before + 1));
        } else {
            self.show(tick);
        }
    }

    /// Remembers what events and graphs need of a tick.
    fn note(&mut self, tick: &Tick) {
        for device in &tick.devices {
            self.trails.entry(device.snapshot.device.id.clone()).or_default().take(device);
        }
        self.events.extend(tick.events.iter().cloned());
        while self.events.len() > EVENTS {
            self.events.pop_front();
        }
    }

    /// Shows a tick; the cursors stay on what they are on.
    fn show(&mut self, tick: Tick) {
        let present = |id: &String| tick.devices.iter().any(|device| device.snapshot.device.id == *id);
        self.trails.retain(|id, _| present(id));
        let chosen = self.chosen_entry().map(|entry| entry.name().to_owned());
        self.tick = Some(tick);
        if let Some(name) = chosen
            && let Some(at) = self.entries().iter().position(|entry| entry.name() == name)
        {
            self.devices.follow(at);
        }
        self.remake_rows();
    }

    /// The rows anew, with the cursor on the one that it was on, if that is still there.
    fn remake_rows(&mut self) {
        let filter = Filter::parse(&self.filter);
        let new = match &self.tick {
            Some(tick) if self.is_of_all => rows(&tick.devices, self.view, self.sort, &filter),
            _ => rows(self.chosen(), self.view, self.sort, &filter),
        };
        if let Some(row) = self.row()
            && let Some(at) = new.iter().position(|new| new.key() == row.key())
        {
            self.table.follow(at);
        }
        self.rows = new;
    }

    /// Says how large the screen is.
    pub fn resize(&mut self, width: u16, height: u16) {
        self.size = Rect::new(0, 0, width, height);
    }

    /// Forgets what was shown, for going back in a recording.
    pub(crate) fn restart(&mut self) {
        self.trails.clear();
        self.events.clear();
    }

    /// Goes on in a recording by these ticks, paused or not.
    pub(crate) fn step(&mut self, ticks: &[Tick]) {
        ticks.iter().for_each(|tick| self.note(tick));
        if let Some(last) = ticks.last() {
            self.show(last.clone());
        }
    }

    /// Says how far a recording is.
    pub fn at(&mut self, position: usize, of: usize) {
        self.position = Some((position, of));
    }

    /// Whether what is shown stays for now.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Readings that came since it was paused.
    pub(crate) fn missed(&self) -> usize {
        self.waiting.as_ref().map_or(0, |(_, ticks)| *ticks)
    }

    /// What the app wants done, once.
    pub(crate) fn take_wish(&mut self) -> Option<Wish> {
        self.wish.take()
    }

    /// Says something at the foot until the next key.
    pub(crate) fn say(&mut self, message: String) {
        self.message = Some(message);
    }

    /// Asks whether a process that was found is to end.
    pub(crate) fn ask(&mut self, process: String) {
        self.over = Over::Question(Question { process, end: End::Terminate });
    }

    /// Reacts to a key; `false` ends the program.
    pub fn input(&mut self, input: Input) -> bool {
        if input == Input::Quit {
            return false;
        }
        self.message = None;
        match (&mut self.over, input) {
            (Over::Question(question), input) => {
                match input {
                    Input::Char('y' | 'Y') => self.wish = Some(Wish::End(question.end)),
                    Input::Char('9') => {
                        question.end = End::Kill;
                        return true;
                    }
                    _ => {}
                }
                self.over = Over::Nothing;
            }
            (Over::Help(line), Input::Down | Input::Char('j') | Input::Wheel { down: true, .. }) => {
                *line = (*line + 1).min(help::last(self.size.height));
            }
            (Over::Help(line), Input::PageDown | Input::End) => *line = help::last(self.size.height),
            (Over::Help(line), Input::Up | Input::Char('k') | Input::Wheel { .. }) => {
                *line = line.saturating_sub(1);
            }
            (Over::Help(line), Input::PageUp | Input::Home) => *line = 0,
            (Over::Help(_), Input::Char('q')) | (Over::Row, Input::Char('q')) => return false,
            (Over::Help(_), _) => self.over = Over::Nothing,
            (Over::Row, Input::Up | Input::Down | Input::Char('j' | 'k')) => self.move_by_key(input),
            (Over::Row, Input::Char('K') | Input::Delete) => self.wish_for_end(),
            (Over::Row, _) => self.over = Over::Nothing,
            (Over::Nothing, _) if self.is_typing => self.typed(input),
            (Over::Nothing, input) => return self.pressed(input),
        }
        true
    }

    fn typed(&mut self, input: Input) {
        match input {
            Input::Char(c) if !c.is_control() && self.filter.len() < FILTER => self.filter.push(c),
            Input::Backspace => drop(self.filter.pop()),
            Input::Enter => self.is_typing = false,
            Input::Escape => {
                self.filter.clear();
                self.is_typing = false;
            }
            _ => return,
        }
        self.remake_rows();
    }

    fn pressed(&mut self, input: Input) -> bool {
        match input {
            Input::Char('q') => return false,
            Input::Char('?' | 'h') => self.over = Over::Help(0),
            Input::Char(' ' | 'p') => {
                self.is_paused = !self.is_paused;
                if let Some((tick, _)) = self.waiting.take() {
                    self.show(tick);
                }
            }
            Input::Char('/') => {
                // Where no table is seen, it is for all that one looks.
                if !self.shows_table() {
                    (self.is_opened, self.is_of_all) = (true, true);
                }
                self.is_typing = true;
            }
            Input::Char('s') => self.sort = self.sort.next(),
            Input::Char('m') => self.turn_to(View::Models),
            Input::Char('a') => {
                self.is_of_all = !self.is_of_all;
                self.is_opened = true;
                self.table = List::default();
            }
            Input::Tab if !self.shows_table() => self.is_opened = true,
            Input::Tab => self.turn_to(match self.view {
                View::Holders => View::Processes,
                View::Processes => View::Pools,
                View::Pools => View::Models,
                View::Models => View::Holders,
            }),
            Input::Char('d') => self.next_device(1),
            Input::Char('D') => self.next_device(-1),
            Input::Enter if !self.shows_table() => self.is_opened = true,
            Input::Enter if self.row().is_some() => self.over = Over::Row,
            Input::Escape if !self.filter.is_empty() => self.filter.clear(),
            Input::Escape => (self.is_opened, self.is_of_all) = (false, false),
            Input::Char('K') | Input::Delete => self.wish_for_end(),
            Input::Click { column, row } => self.clicked(Position::new(column, row)),
            Input::Wheel { column, row, down } => {
                self.turned(Position::new(column, row), if down { WHEEL } else { -WHEEL });
            }
            other => self.move_by_key(other),
        }
        self.remake_rows();
        true
    }

    fn turn_to(&mut self, view: View) {
        (self.view, self.is_opened, self.table) = (view, true, List::default());
    }

    /// Moves the cursor: of the table where one is seen, of the devices otherwise.
    fn move_by_key(&mut self, input: Input) {
        let places = self.places();
        let (list, len, height) = if self.shows_table() {
            (&mut self.table, self.rows.len(), places.table_rows())
        } else {
            let lines = self.tick.as_ref().map_or(0, |tick| entries(tick).len());
            (&mut self.devices, lines, places.overview_rows(lines))
        };
        let page = isize::try_from(height.max(2) - 1).unwrap_or(1);
        match input {
            Input::Up | Input::Char('k') => list.step(-1, len, height),
            Input::Down | Input::Char('j') => list.step(1, len, height),
            Input::PageUp => list.step(-page, len, height),
            Input::PageDown => list.step(page, len, height),
            Input::Home | Input::Char('g') => list.go(0, len, height),
            Input::End | Input::Char('G') => list.go(usize::MAX, len, height),
            _ => {}
        }
    }

    /// Chooses the next line that is a device.
    fn next_device(&mut self, by: isize) {
        let lines = self.tick.as_ref().map_or(0, |tick| tick.devices.len());
        if lines > 0 {
            let at = self.devices.cursor(usize::MAX).min(lines - 1);
            let next = (at as isize + by).rem_euclid(lines as isize) as usize;
            self.choose(next);
        }
    }

    fn choose(&mut self, at: usize) {
        let lines = self.entries().len();
        let height = self.places().overview_rows(lines);
        self.devices.go(at, lines, height);
        (self.table, self.is_of_all) = (List::default(), false);
    }

    fn clicked(&mut self, at: Position) {
        let places = self.places();
        if let Some(row) = places.table_row(at) {
            let seen = self.table.seen(self.rows.len(), places.table_rows());
            if let Some(clicked) = seen.clone().nth(row) {
                let is_chosen = clicked == self.table.cursor(self.rows.len());
                self.table.go(clicked, self.rows.len(), places.table_rows());
                if is_chosen {
                    self.over = Over::Row;
                }
            }
        }
        let lines = self.entries().len();
        if let Some(row) = places.overview_row(at)
            && let Some(clicked) = self.devices.seen(lines, places.overview_rows(lines)).nth(row)
        {
            self.choose(clicked);
            self.is_opened = true;
        }
    }

    fn turned(&mut self, at: Position, by: isize) {
        let places = self.places();
        let lines = self.entries().len();
        if places.overview.contains(at) && (places.is_split || !self.is_opened) {
            self.devices.scroll(by, lines, places.overview_rows(lines));
        } else if self.shows_table() {
            self.table.scroll(by, self.rows.len(), places.table_rows());
        }
    }

    fn wish_for_end(&mut self) {
        self.over = Over::Nothing;
        if let Some(why) = self.no_ending {
            return self.say(why.to_owned());
        }
        let Some(row) = self.row().filter(|_| self.shows_table()) else {
            return self.say("no row is chosen: choose a process first".to_owned());
        };
        match row.pid {
            Some(pid) => {
                let victim = Victim {
                    pid,
                    program: row.program.clone(),
                    command: row.identity.command.clone(),
                    user: row.identity.user.clone(),
                    read: row.read,
                };
                self.wish = Some(Wish::Find(victim));
            }
            None => {
                let name = row.name.clone();
                self.say(format!("`{name}` is not one process's: choose it in the table of processes (tab)"));
            }
        }
    }

    /// Where what is.
    fn places(&self) -> Places {
        Places::of(self.size, self.entries().len(), self.is_opened)
    }

    fn shows_table(&self) -> bool {
        self.is_opened || self.places().is_split
    }

    pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
        self.tick.as_ref().map_or_else(Vec::new, entries)
    }

    /// The line that the cursor is on.
    pub(crate) fn chosen_entry(&self) -> Option<Entry<'_>> {
        let entries = self.entries();
        entries.get(self.devices.cursor(entries.len())).copied()
    }

    /// The device whose details are shown.
    pub(crate) fn chosen(&self) -> Option<&DeviceTick> {
        self.chosen_entry()?.device()
    }

    /// The table's rows, sorted and filtered.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row that the cursor is on.
    pub(crate) fn row(&self) -> Option<&Row> {
        self.rows.get(self.table.cursor(self.rows.len()))
    }
}
