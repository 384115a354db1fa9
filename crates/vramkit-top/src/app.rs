//! What the screen shows, and how keys change it.

use std::collections::{BTreeMap, VecDeque};

use vramkit::ByteSize;
use vramkit_watch::{DeviceTick, Tick, WatchEvent};

/// Samples of a device's graph, and events.
const SAMPLES: usize = 600;
const EVENTS: usize = 200;

/// Which table is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Who holds it, whatever they are.
    Holders,
    /// Processes.
    Processes,
    /// Pools with their owners.
    Pools,
    /// Owners of all pools, by model.
    Models,
}

/// By what the table is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Most bytes first.
    Bytes,
    /// By name.
    Name,
}

/// A key, or a click on a line of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A character.
    Char(char),
    /// An arrow.
    Up,
    /// An arrow.
    Down,
    /// An arrow: a recording's tick before.
    Left,
    /// An arrow: a recording's next tick.
    Right,
    /// To the next table.
    Tab,
    /// Ends what is being typed.
    Enter,
    /// Takes back what is being typed.
    Escape,
    /// Takes back a character.
    Backspace,
    /// On the device of this number.
    Device(usize),
    /// Ends the program, whatever is being typed.
    Quit,
}

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
    /// The last tick that was let in.
    pub(crate) tick: Option<Tick>,
    pub(crate) samples: BTreeMap<String, VecDeque<Option<f64>>>,
    pub(crate) events: VecDeque<WatchEvent>,
    pub(crate) device: usize,
    pub(crate) scroll: usize,
    pub(crate) view: View,
    pub(crate) sort: Sort,
    pub(crate) filter: String,
    pub(crate) typing: bool,
    pub(crate) paused: bool,
    pub(crate) help: bool,
    /// How far a recording is, as `3 of 90`.
    pub(crate) position: Option<(usize, usize)>,
}

impl Default for App {
    fn default() -> Self {
        Self {
            tick: None,
            samples: BTreeMap::new(),
            events: VecDeque::new(),
            device: 0,
            scroll: 0,
            view: View::Holders,
            sort: Sort::Bytes,
            filter: String::new(),
            typing: false,
            paused: false,
            help: false,
            position: None,
        }
    }
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) detail: String,
    pub(crate) bytes: Option<ByteSize>,
}

impl App {
    /// Takes a tick in.
    pub fn take(&mut self, tick: Tick) {
        for device in &tick.devices {
            let samples = self.samples.entry(device.snapshot.device.id.clone()).or_default();
            samples.push_back(device.snapshot.usage.used_ratio());
            if samples.len() > SAMPLES {
                samples.pop_front();
            }
        }
        let present = |id: &String| tick.devices.iter().any(|device| device.snapshot.device.id == *id);
        self.samples.retain(|id, _| present(id));
        self.events.extend(tick.events.iter().cloned());
        while self.events.len() > EVENTS {
            self.events.pop_front();
        }
        self.device = self.device.min(tick.devices.len().saturating_sub(1));
        self.tick = Some(tick);
    }

    /// Forgets what was shown, for going back in a recording.
    pub(crate) fn restart(&mut self) {
        self.samples.clear();
        self.events.clear();
    }

    /// Says how far a recording is.
    pub fn at(&mut self, position: usize, of: usize) {
        self.position = Some((position, of));
    }

    /// Whether ticks are to be left out for now.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Reacts to a key; `false` ends the program.
    pub fn input(&mut self, input: Input) -> bool {
        if input == Input::Quit {
            return false;
        }
        if self.typing {
            match input {
                Input::Char(c) if !c.is_control() && self.filter.len() < 64 => self.filter.push(c),
                Input::Backspace => drop(self.filter.pop()),
                Input::Enter => self.typing = false,
                Input::Escape => {
                    self.filter.clear();
                    self.typing = false;
                }
                _ => {}
            }
            self.scroll = 0;
            return true;
        }
        if self.help && !matches!(input, Input::Char('q')) {
            self.help = false;
            return true;
        }
        let devices = self.tick.as_ref().map_or(0, |tick| tick.devices.len());
        match input {
            Input::Char('q') => return false,
            Input::Char('?' | 'h') => self.help = true,
            Input::Char(' ' | 'p') => self.paused = !self.paused,
            Input::Char('/') => self.typing = true,
            Input::Char('s') => {
                self.sort = if self.sort == Sort::Bytes { Sort::Name } else { Sort::Bytes };
            }
            Input::Char('m') => self.show(View::Models),
            Input::Tab => self.show(match self.view {
                View::Holders => View::Processes,
                View::Processes => View::Pools,
                View::Pools => View::Models,
                View::Models => View::Holders,
            }),
            Input::Char('d') => self.choose((self.device + 1) % devices.max(1)),
            Input::Device(device) if device < devices => self.choose(device),
            Input::Down => self.scroll = self.scroll.saturating_add(1),
            Input::Up => self.scroll = self.scroll.saturating_sub(1),
            Input::Escape => self.filter.clear(),
            _ => {}
        }
        true
    }

    fn show(&mut self, view: View) {
        (self.view, self.scroll) = (view, 0);
    }

    fn choose(&mut self, device: usize) {
        (self.device, self.scroll) = (device, 0);
    }

    /// The device whose details are shown.
    pub(crate) fn chosen(&self) -> Option<&DeviceTick> {
        self.tick.as_ref()?.devices.get(self.device)
    }

    /// The table's rows, sorted and filtered.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let Some(device) = self.chosen() else { return Vec::new() };
        let snapshot = &device.snapshot;
        let mut rows: Vec<Row> = match self.view {
            View::Holders => {
                let total = snapshot.usage.total_bytes.value;
                let holders = device.holders.iter().map(|holder| Row {
                    name: holder.name.clone(),
                    detail: total.map_or(String::new(), |total| {
                        format!("{:.1} %", 100.0 * holder.bytes.ratio_of(total))
                    }),
                    bytes: Some(holder.bytes),
                });
                holders.collect()
            }
            View::Processes => {
                let processes = snapshot.processes.value.iter().flatten().map(|process| Row {
                    name: format!("{} {}", process.pid, process.name),
                    detail: [
                        process.identity.container.clone(),
                        process.peak_bytes.value.map(|peak| format!("peak {peak}")),
                    ]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(", "),
                    bytes: process.used_bytes.value,
                });
                processes.collect()
            }
            View::Pools => {
                let pools = snapshot.pools.iter().flat_map(|pool| {
                    let stats = &pool.stats;
                    let of_pool = Row {
                        name: format!("{} (pid {})", pool.name, pool.pid),
                        detail: format!(
                            "of {}, {} held, {:.0} % fragmented, {} refused",
                            stats.capacity_bytes,
                            stats.committed_bytes,
                            100.0 * stats.external_fragmentation_ratio(),
                            stats.failures
                        ),
                        bytes: Some(stats.used_bytes),
                    };
                    std::iter::once(of_pool).chain(pool.ledger.iter().map(|entry| Row {
                        name: format!("  {} {} {}", entry.model, entry.purpose, entry.tag),
                        detail: format!("{} allocations", entry.allocations),
                        bytes: Some(entry.granted_bytes),
                    }))
                });
                // In the pools' own order: owners stay below their pool.
                return self.filtered(pools.collect());
            }
            View::Models => {
                let mut models: BTreeMap<&str, (ByteSize, Vec<String>)> = BTreeMap::new();
                for owner in snapshot.pools.iter().flat_map(|pool| &pool.owners) {
                    let model = models.entry(owner.model.as_str()).or_default();
                    model.0 = ByteSize::new(model.0.bytes().saturating_add(owner.granted_bytes.bytes()));
                    model.1.push(format!("{} {}", owner.purpose, owner.granted_bytes));
                }
                let rows = models.into_iter().map(|(name, (bytes, parts))| Row {
                    name: name.to_owned(),
                    detail: parts.join(", "),
                    bytes: Some(bytes),
                });
                rows.collect()
            }
        };
        match self.sort {
            Sort::Bytes => rows.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name))),
            Sort::Name => rows.sort_by(|a, b| a.name.cmp(&b.name)),
        }
        self.filtered(rows)
    }

    fn filtered(&self, rows: Vec<Row>) -> Vec<Row> {
        let wanted = self.filter.to_lowercase();
        rows.into_iter()
            .filter(|row| {
                row.name.to_lowercase().contains(&wanted) || row.detail.to_lowercase().contains(&wanted)
            })
            .collect()
    }
}
