//! One card's history and segments, read into a trace.

use hashbrown::HashSet;
use vramkit_units::ByteSize;

use super::card::Card;
use super::entry::{Action, Entry};
use super::frames::StackReader;
use super::pools::Pools;
use crate::fault::ReadFault;
use crate::odd::Odd;
use crate::operation::Mark;
use crate::trace::{Key as Id, Origin, Trace, TraceError};
use crate::values::{Budget, Key, Value, Values};

pub(super) struct Reader<'a> {
    values: &'a Values,
    pub(super) trace: Trace,
    stacks: StackReader<'a>,
    pools: Pools<'a>,
    odd: Odd,
    /// Frees that the recording does not have.
    lost: u64,
    /// How often memory went back to the device just before more was taken: for want of it, as far as can be told.
    under_pressure: u64,
}

/// Memory that went back to the device since the last entry that tells why.
#[derive(Clone, Copy, Default)]
struct GaveBack {
    /// Bytes of the largest segment.
    largest: u64,
    any: bool,
}

impl<'a> Reader<'a> {
    /// `alone`: whether it is the file's only card.
    pub(super) fn new(values: &'a Values, card: &Card<'_>, name: String, alone: bool) -> Self {
        Self {
            values,
            trace: Trace::new(name),
            stacks: StackReader::new(values, alone),
            pools: Pools::new(values, card),
            odd: Odd::default(),
            lost: 0,
            under_pressure: 0,
        }
    }

    /// Entries of some actions that can be used.
    fn entries<'b>(
        &self,
        card: &'b Card<'_>,
        asked: fn(Action) -> bool,
    ) -> impl DoubleEndedIterator<Item = Entry> + use<'a, 'b> {
        let values = self.values;
        card.entries.iter().filter_map(move |&value| Entry::of_kind(values, value, asked))
    }

    pub(super) fn read(mut self, card: &Card<'_>, budget: &Budget) -> Result<Trace, ReadFault> {
        self.trace.has_history = self.entries(card, Action::is_history).next().is_some();
        // Some recordings leave the second half of a free out. Where blocks still wait for it at the end, it is not that.
        let waits = |&block: &Value| {
            let state = self.values.text_of(block, Key::State).unwrap_or_default();
            state.starts_with("active_pending") || state.starts_with("active_awaiting")
        };
        let blocks = |&segment: &Value| self.values.list_of(segment, Key::Blocks).unwrap_or_default();
        let completed = self.entries(card, |action| action == Action::FreeCompleted).next().is_some()
            || card.segments.iter().flat_map(blocks).any(waits);
        self.before(card, completed);
        self.history(card, completed, budget)?;
        self.trace.recorded_reserved = self.peak_reserved(card);
        self.notes();
        Ok(self.trace)
    }

    fn notes(&mut self) {
        let notes = &mut self.trace.notes;
        if !self.trace.has_history {
            notes.push(
                "it has no history (torch.cuda.memory._record_memory_history records one): what is held at its end is told, and nothing \
                 compared"
                    .to_owned(),
            );
        }
        notes.extend(self.odd.note(["entry", "entries"]));
        if self.lost > 0 {
            notes.push(format!(
                "frees that are not in the history, of memory that was given again: {}",
                self.lost
            ));
        }
        if self.pools.guessed {
            notes.push("private pools are known by the segments that they have at the end alone".to_owned());
        }
        if self.under_pressure > 0 {
            notes.push(format!(
                "times that memory went back to the device just before more was taken: {}; for want of it, as far as can be told",
                self.under_pressure
            ));
        }
        if let Some(name) = &self.values.called {
            notes.push(format!(
                "it asks for {name} to be called, which is never done: what that would make is left out"
            ));
        }
        if self.values.trailing {
            notes.push("something lies behind the snapshot in its file, and was left".to_owned());
        }
    }

    /// Everything that was live before the first entry.
    fn before(&mut self, card: &Card<'_>, completed: bool) {
        let mut live: HashSet<i64> = HashSet::new();
        let mut before: Vec<(i64, u64, Value, bool)> = Vec::new();
        for &value in card.entries {
            let Ok(entry) = Entry::of(self.values, value) else { continue };
            let frees = match entry.action {
                Action::Alloc => {
                    live.insert(entry.address);
                    false
                }
                Action::FreeCompleted => true,
                Action::FreeRequested => !completed,
                _ => false,
            };
            if frees && !live.remove(&entry.address) {
                // The stack of a free is not that of who has asked.
                before.push((entry.address, entry.size, value, false));
            }
        }
        for &segment in &card.segments {
            let mut at = self.values.int_of(segment, Key::Address).unwrap_or(0);
            for &block in self.values.list_of(segment, Key::Blocks).unwrap_or_default() {
                let size = self.values.int_of(block, Key::Size).unwrap_or(0);
                let address = self.values.int_of(block, Key::Address).unwrap_or(at);
                at = address.wrapping_add(size);
                let active =
                    self.values.text_of(block, Key::State).is_some_and(|state| state.starts_with("active"));
                if !active || live.contains(&address) {
                    continue;
                }
                let history =
                    self.values.list_of(block, Key::History).and_then(|history| history.first()).copied();
                let requested = self.values.int_of(block, Key::RequestedSize);
                let requested = requested
                    .or_else(|| self.values.int_of(history?, Key::RealSize))
                    .filter(|&bytes| bytes > 0);
                let has_stack = self.values.field(block, Key::Frames).is_some();
                let from = if has_stack { block } else { history.unwrap_or(block) };
                before.push((address, requested.unwrap_or(size).try_into().unwrap_or(0), from, true));
            }
        }
        for (address, size, from, has_stack) in before {
            let origin = self.origin(from, address, if has_stack { usize::MAX } else { 0 });
            let stack = if has_stack { self.stacks.stack(from, &mut self.trace.stacks) } else { 0 };
            let origin = Origin { stack, ..origin };
            if let Err(error) = self.trace.allocate_from(Id::Number(address as u64), size, origin) {
                self.odd.add(format_args!("the block at {address:#x}"), error);
            }
        }
    }

    fn history(&mut self, card: &Card<'_>, completed: bool, budget: &Budget) -> Result<(), ReadFault> {
        // A free that was asked for and may wait for other streams.
        let mut requested: Option<i64> = None;
        let mut gave_back = GaveBack::default();
        for (at, &value) in card.entries.iter().enumerate() {
            if at.is_multiple_of(1 << 16) {
                budget.check(self.trace.bytes())?;
            }
            let entry = match Entry::of(self.values, value) {
                Ok(entry) => entry,
                Err(reason) => {
                    self.odd.add(format_args!("entry {at}"), reason);
                    continue;
                }
            };
            if entry.action == Action::Other {
                continue;
            }
            let id = Id::Number(entry.address as u64);
            let waiting = requested.take();
            if let Some(waiting) =
                waiting.filter(|&waiting| entry.action != Action::FreeCompleted || waiting != entry.address)
                && let Some((number, _)) = self.trace.live(&Id::Number(waiting as u64))
            {
                self.trace.mark(Mark::Pending { number });
            }
            self.went_back(&mut gave_back, entry, value, at);
            let done: Result<(), TraceError> = match entry.action {
                Action::Alloc => {
                    let origin = self.asked(value, entry.address, at);
                    match self.trace.allocate_from(id.clone(), entry.size, origin) {
                        Err(TraceError::StillLive(_)) => {
                            self.lost += 1;
                            let _ = self.trace.free_key(&id);
                            self.trace.allocate_from(id, entry.size, origin)
                        }
                        done => done,
                    }
                }
                Action::OutOfMemory => {
                    let origin = self.asked(value, 0, at);
                    self.trace.attempt_from(entry.size, origin)
                }
                Action::FreeCompleted => self.trace.free_key(&id),
                Action::FreeRequested if completed => {
                    requested = Some(entry.address);
                    Ok(())
                }
                Action::FreeRequested => self.trace.free_key(&id),
                Action::Annotate => {
                    let text = self.values.text_of(value, Key::UserMetadata).unwrap_or_default();
                    self.trace.annotate(&id, text);
                    Ok(())
                }
                Action::Reserve | Action::GiveBack | Action::Other => Ok(()),
            };
            if let Err(error) = done {
                self.odd.add(format_args!("entry {at}"), error);
            }
        }
        Ok(())
    }

    /// Keeps account of memory that goes back to the device: because the program wanted that, or because more was needed.
    fn went_back(&mut self, gave_back: &mut GaveBack, entry: Entry, value: Value, at: usize) {
        match entry.action {
            Action::GiveBack => {
                let pool = self.pools.of_entry(value, entry.address, at);
                if pool > 0 {
                    // PyTorch gives a private pool's segments back once its graph is gone, and not before.
                    self.trace.mark(Mark::EndPool { pool });
                } else {
                    gave_back.any = true;
                    gave_back.largest = gave_back.largest.max(entry.size);
                }
            }
            Action::Annotate => {}
            _ => {
                let GaveBack { any, largest } = std::mem::take(gave_back);
                // What would have served is not given up for want of memory, unless nothing may be cut from it.
                let made_room = match entry.action {
                    Action::Reserve => {
                        largest < entry.size || self.trace.recorded_settings.contains("max_split_size")
                    }
                    Action::OutOfMemory => true,
                    _ => false,
                };
                if any && made_room {
                    self.under_pressure += 1;
                } else if any {
                    self.trace.mark(Mark::Trim);
                }
            }
        }
    }

    /// Where a request comes from, its stack with it.
    fn asked(&mut self, value: Value, address: i64, at: usize) -> Origin {
        let stack = self.stacks.stack(value, &mut self.trace.stacks);
        Origin { stack, ..self.origin(value, address, at) }
    }

    fn origin(&mut self, value: Value, address: i64, at: usize) -> Origin {
        let stream = self.values.int_of(value, Key::Stream).unwrap_or(0) as u64;
        let pool = self.pools.of_entry(value, address, at);
        let annotation = self.values.text_of(value, Key::UserMetadata).unwrap_or_default();
        Origin { stack: 0, annotation: self.trace.annotation(annotation), stream, pool }
    }

    /// Most bytes of segments at once: known at the end, and followed backwards. `None` where the recording has less than was live.
    fn peak_reserved(&mut self, card: &Card<'_>) -> Option<ByteSize> {
        let sizes = card
            .segments
            .iter()
            .map(|&segment| u64::try_from(self.values.int_of(segment, Key::TotalSize)?).ok());
        let mut reserved = sizes.sum::<Option<u64>>()?;
        let mut peak = reserved;
        let mut followed = false;
        for entry in self.entries(card, Action::is_of_segments).rev() {
            match entry.action {
                Action::Reserve => reserved = reserved.saturating_sub(entry.size),
                Action::GiveBack => reserved = reserved.saturating_add(entry.size),
                _ => continue,
            }
            followed = true;
            peak = peak.max(reserved);
        }
        if peak < self.trace.most_granted() {
            return None;
        }
        if self.trace.has_history && !followed {
            self.trace.notes.push(
                "no segment comes or goes in its history: what the program held is what it held at the end"
                    .to_owned(),
            );
        }
        Some(ByteSize::new(peak))
    }
}
