//! PyTorch's CUDA memory snapshots (`torch.cuda.memory._dump_snapshot`): a trace for each card.
//!
//! An `alloc` entry is an allocation, a `free_completed` its end, an `oom` a request that failed. What was live before the recording
//! began is seen by its end, or in the segments at the end; it comes first in the trace, in no particular order. A snapshot without a
//! history gives what is held at its end.

use hashbrown::{HashMap, HashSet};
use vramkit_units::ByteSize;

use crate::fault::ReadFault;
use crate::odd::Odd;
use crate::operation::Mark;
use crate::pytorch::AllocatorSettings;
use crate::stacks::Frame;
use crate::trace::{Key as Id, Origin, Trace, TraceError};
use crate::values::{ACTIONS, DIVISIONS, Key, Kind, Value, Values};

/// The traces of a snapshot: a dictionary of segments and histories, or the list of segments alone.
pub(crate) fn traces(values: &Values, name: &str) -> Result<Vec<Trace>, ReadFault> {
    let missing = |what: &str| {
        let called = values
            .called
            .as_ref()
            .map(|name| format!(" (it asks for {name} to be called, which is never done)"));
        ReadFault::at(
            "the snapshot",
            format!("it has {what}: not a CUDA memory snapshot{}", called.unwrap_or_default()),
        )
    };
    let root = values.root.unwrap_or(Value::NONE);
    let segments = match values.kind(root) {
        Kind::List(list) => values.items(list),
        _ => values.list_of(root, Key::Segments).unwrap_or_default(),
    };
    let histories = values.list_of(root, Key::DeviceTraces);
    if histories.is_none() && !segments.iter().any(|&segment| values.list_of(segment, Key::Blocks).is_some())
    {
        return Err(missing("neither `segments` nor `device_traces`"));
    }
    let mut cards: Vec<Card<'_>> = Vec::new();
    for (device, &entries) in histories.unwrap_or_default().iter().enumerate() {
        let Kind::List(entries) = values.kind(entries) else {
            return Err(missing("a history that is no list"));
        };
        cards.push(Card { device: device as i64, entries: values.items(entries), segments: Vec::new() });
    }
    let mut at: HashMap<i64, usize> = cards.iter().enumerate().map(|(at, card)| (card.device, at)).collect();
    for &segment in segments {
        let device = values.int_of(segment, Key::Device).unwrap_or(0);
        let at = *at.entry(device).or_insert_with(|| {
            cards.push(Card { device, entries: &[], segments: Vec::new() });
            cards.len() - 1
        });
        cards[at].segments.push(segment);
    }
    cards.retain(|card| !card.entries.is_empty() || !card.segments.is_empty());
    // Every entry and every block is a value of its own. A list that stands in many places would multiply a small file.
    let blocks =
        segments.iter().map(|&segment| values.list_of(segment, Key::Blocks).map_or(0, <[Value]>::len));
    let items = cards.iter().map(|card| card.entries.len()).chain(blocks).fold(0, usize::saturating_add);
    if items > values.count() {
        return Err(ReadFault::at("the snapshot", "it has the same entries in several places"));
    }
    let settings = settings(values, root);
    let several = cards.len() > 1;
    let traces = cards.into_iter().map(|card| {
        let name = if several { format!("{name} (device {})", card.device) } else { name.to_owned() };
        let mut reader = Reader::new(values, &card, name, !several);
        reader.trace.device = u32::try_from(card.device).ok();
        match settings.parse::<AllocatorSettings>() {
            Ok(_) => reader.trace.recorded_settings.clone_from(&settings),
            Err(error) => {
                reader.trace.notes.push(format!(
                    "its settings `{settings}` are left out ({error}): PyTorch's defaults hold"
                ));
            }
        }
        reader.read(&card)
    });
    traces.collect()
}

/// One card's part of a snapshot.
struct Card<'a> {
    device: i64,
    entries: &'a [Value],
    segments: Vec<Value>,
}

/// The settings of the recorded program, as its environment variable had them.
fn settings(values: &Values, root: Value) -> String {
    let Some(Kind::Dict(dict)) = values.field(root, Key::AllocatorSettings) else { return String::new() };
    let dict = Value::dict(dict);
    let written = [Key::AllocConf, Key::NewAllocConf].into_iter().filter_map(|key| values.text_of(dict, key));
    let written = written.map(str::trim).find(|text| !text.is_empty()).unwrap_or_default();
    let mut parts: Vec<String> = Vec::new();
    if !written.is_empty() {
        parts.push(written.to_owned());
    }
    // They may have been set while the program ran.
    if values.field(dict, Key::ExpandableSegments) == Some(Kind::Bool(true))
        && !written.contains("expandable_segments")
    {
        parts.push("expandable_segments:True".to_owned());
    }
    match values.int_of(dict, Key::MaxSplitSize) {
        Some(bytes) if bytes >= 20 << 20 && !written.contains("max_split_size_mb") => {
            parts.push(format!("max_split_size_mb:{}", bytes >> 20));
        }
        _ => {}
    }
    match values.field(dict, Key::GarbageCollectionThreshold) {
        Some(Kind::Float(share)) if share > 0.0 && !written.contains("garbage_collection_threshold") => {
            parts.push(format!("garbage_collection_threshold:{share}"));
        }
        _ => {}
    }
    if let Some(Kind::Dict(divisions)) = values.field(dict, Key::Divisions)
        && !written.contains("roundup_power2_divisions")
    {
        let number = |key| values.int_of(Value::dict(divisions), key).unwrap_or(0);
        let list: Vec<String> =
            DIVISIONS.iter().enumerate().map(|(at, &key)| format!("{}:{}", 1 << at, number(key))).collect();
        if DIVISIONS.iter().any(|&key| number(key) > 0) {
            parts.push(format!("roundup_power2_divisions:[{}]", list.join(",")));
        }
    }
    parts.join(",")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Alloc,
    FreeRequested,
    FreeCompleted,
    OutOfMemory,
    Annotate,
    /// A segment or a page more.
    Reserve,
    /// One less.
    GiveBack,
}

impl Action {
    /// In the order of [`ACTIONS`].
    const ALL: [Self; ACTIONS.len()] = [
        Self::Alloc,
        Self::FreeRequested,
        Self::FreeCompleted,
        Self::OutOfMemory,
        Self::Annotate,
        Self::Reserve,
        Self::Reserve,
        Self::GiveBack,
        Self::GiveBack,
    ];
}

/// An entry that matters.
struct Entry {
    action: Action,
    address: i64,
    size: u64,
}

/// What numbers of values were found to be.
struct Known {
    /// Of numbers below its length; [`Self::UNKNOWN`] what is not known.
    dense: Vec<u32>,
    others: HashMap<u32, u32>,
}

impl Known {
    const UNKNOWN: u32 = u32::MAX;

    fn new(dense: usize) -> Self {
        Self { dense: vec![Self::UNKNOWN; dense], others: HashMap::new() }
    }

    #[inline]
    fn get(&self, number: u32) -> Option<u32> {
        match self.dense.get(number as usize) {
            Some(&known) => (known != Self::UNKNOWN).then_some(known),
            None => self.others.get(&number).copied(),
        }
    }

    fn set(&mut self, number: u32, known: u32) {
        match self.dense.get_mut(number as usize) {
            Some(place) => *place = known,
            None => drop(self.others.insert(number, known)),
        }
    }
}

struct Reader<'a> {
    values: &'a Values,
    trace: Trace,
    /// Stacks by the lists, and frames by the dictionaries, that they are of: the same stand in many entries.
    stacks: Known,
    frames: Known,
    /// A stack that is being read.
    frames_of_stack: Vec<u32>,
    /// Private pools by their ids, from 1 on.
    pools: HashMap<(i64, i64), u32>,
    /// Where segments of private pools lie: from, to, whose.
    private: Vec<(i64, i64, u32)>,
    odd: Odd,
    /// Frees that the recording does not have.
    lost: u64,
}

impl<'a> Reader<'a> {
    /// `alone`: whether it is the only card, and may take a word for each list and dictionary of the file.
    fn new(values: &'a Values, card: &Card<'_>, name: String, alone: bool) -> Self {
        let mut reader = Self {
            values,
            trace: Trace::new(name),
            stacks: Known::new(if alone { values.lists() } else { 0 }),
            frames: Known::new(if alone { values.dicts() } else { 0 }),
            frames_of_stack: Vec::new(),
            pools: HashMap::new(),
            private: Vec::new(),
            odd: Odd::default(),
            lost: 0,
        };
        for &segment in &card.segments {
            let pool = reader.pool(values.field(segment, Key::SegmentPoolId));
            let from = values.int_of(segment, Key::Address);
            if let Some((from, pool)) = from.zip(pool).filter(|(_, pool)| *pool > 0) {
                let size = values.int_of(segment, Key::TotalSize).unwrap_or(0);
                reader.private.push((from, from.saturating_add(size), pool));
            }
        }
        reader.private.sort_unstable();
        reader
    }

    /// The number of a private pool; 0 of the default one, `None` where none is named.
    fn pool(&mut self, id: Option<Kind>) -> Option<u32> {
        let Some(Kind::List(list)) = id else { return None };
        let &[first, second] = self.values.items(list) else { return None };
        match (self.values.kind(first), self.values.kind(second)) {
            (Kind::Int(0), Kind::Int(0)) => Some(0),
            (Kind::Int(first), Kind::Int(second)) => {
                let next = self.pools.len() as u32 + 1;
                Some(*self.pools.entry((first, second)).or_insert(next))
            }
            _ => None,
        }
    }

    /// The private pool that an address lies in at the end.
    fn pool_at(&self, address: i64) -> u32 {
        let after = self.private.partition_point(|&(from, ..)| from <= address);
        let segment = after.checked_sub(1).map(|at| self.private[at]);
        segment.filter(|&(_, to, _)| address < to).map_or(0, |(.., pool)| pool)
    }

    /// An entry, where it is one that matters; what is missing, where it is not whole.
    fn entry(&self, value: Value) -> Result<Option<Entry>, &'static str> {
        let Some(action) = self.values.action_of(value).ok_or("it has no action")? else { return Ok(None) };
        let action = Action::ALL[action];
        let size = self
            .values
            .int_of(value, Key::Size)
            .and_then(|size| u64::try_from(size).ok())
            .ok_or("it has no size");
        let address = match self.values.int_of(value, Key::Addr) {
            Some(address) => address,
            // A request that failed has none; what it carries in its place is what the device had left.
            None if action == Action::OutOfMemory => 0,
            None => return Err("it has no address"),
        };
        Ok(Some(Entry { action, address, size: size? }))
    }

    fn read(mut self, card: &Card<'_>) -> Result<Trace, ReadFault> {
        let mut actions = card.entries.iter().filter_map(|&entry| self.entry(entry).ok().flatten());
        let is_history = |entry: Entry| {
            matches!(
                entry.action,
                Action::Alloc | Action::FreeRequested | Action::FreeCompleted | Action::OutOfMemory
            )
        };
        self.trace.has_history = actions.any(is_history);
        // Some recordings leave the second half of a free out.
        let mut actions = card.entries.iter().filter_map(|&entry| self.entry(entry).ok().flatten());
        let completed = actions.any(|entry| entry.action == Action::FreeCompleted);
        self.before(card, completed);
        self.history(card, completed);
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
            let Ok(Some(entry)) = self.entry(value) else { continue };
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
            let stack = if has_stack { self.stack(from) } else { 0 };
            let origin = Origin { stack, ..self.origin(from, address) };
            if let Err(error) = self.trace.allocate_from(Id::Number(address as u64), size, origin) {
                self.odd.add(format_args!("the block at {address:#x}"), error);
            }
        }
    }

    fn history(&mut self, card: &Card<'_>, completed: bool) {
        // A free that was asked for and may wait for other streams.
        let mut requested: Option<i64> = None;
        // Whether memory went back to the device since the last entry: in vain for a request, or because the program wanted it.
        let mut gave_back = false;
        for (at, &value) in card.entries.iter().enumerate() {
            let entry = match self.entry(value) {
                Ok(Some(entry)) => entry,
                Ok(None) => continue,
                Err(reason) => {
                    self.odd.add(format_args!("entry {at}"), reason);
                    continue;
                }
            };
            let id = Id::Number(entry.address as u64);
            if let Some(waiting) = requested
                .take()
                .filter(|&waiting| entry.action != Action::FreeCompleted || waiting != entry.address)
                && let Some((number, _)) = self.trace.live(&Id::Number(waiting as u64))
            {
                self.trace.mark(Mark::Pending { number });
            }
            match entry.action {
                Action::GiveBack => gave_back = true,
                // It made room for this.
                Action::Reserve | Action::OutOfMemory => gave_back = false,
                Action::Annotate => {}
                _ if std::mem::take(&mut gave_back) => self.trace.mark(Mark::Trim),
                _ => {}
            }
            let done: Result<(), TraceError> = match entry.action {
                Action::Alloc => {
                    if self.trace.live(&id).is_some() {
                        self.lost += 1;
                        let _ = self.trace.free_key(&id);
                    }
                    let origin = self.asked(value, entry.address);
                    self.trace.allocate_from(id, entry.size, origin)
                }
                Action::OutOfMemory => {
                    let origin = self.asked(value, 0);
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
                Action::Reserve | Action::GiveBack => Ok(()),
            };
            if let Err(error) = done {
                self.odd.add(format_args!("entry {at}"), error);
            }
        }
    }

    /// Where a request comes from, its stack with it.
    fn asked(&mut self, value: Value, address: i64) -> Origin {
        let stack = self.stack(value);
        Origin { stack, ..self.origin(value, address) }
    }

    fn origin(&mut self, value: Value, address: i64) -> Origin {
        let stream = self.values.int_of(value, Key::Stream).unwrap_or(0) as u64;
        let pool = self.pool(self.values.field(value, Key::PoolId)).unwrap_or_else(|| self.pool_at(address));
        let annotation = self.values.text_of(value, Key::UserMetadata).unwrap_or_default();
        Origin { stack: 0, annotation: self.trace.annotation(annotation), stream, pool }
    }

    /// The stack that is under `frames`.
    fn stack(&mut self, value: Value) -> u32 {
        let Some(Kind::List(list)) = self.values.field(value, Key::Frames) else { return 0 };
        if let Some(known) = self.stacks.get(list) {
            return known;
        }
        let mut frames = std::mem::take(&mut self.frames_of_stack);
        frames.clear();
        frames.extend(self.values.items(list).iter().filter_map(|&frame| self.frame(frame)));
        let stack = self.trace.stacks.stack(&frames);
        self.frames_of_stack = frames;
        self.stacks.set(list, stack);
        stack
    }

    #[inline]
    fn frame(&mut self, value: Value) -> Option<u32> {
        let Kind::Dict(dict) = self.values.kind(value) else { return None };
        self.frames.get(dict).or_else(|| Some(self.new_frame(dict)))
    }

    #[cold]
    fn new_frame(&mut self, dict: u32) -> u32 {
        let value = Value::dict(dict);
        let text = |key| self.values.text_of(value, key).unwrap_or_default().to_owned();
        let line = self.values.int_of(value, Key::Line).and_then(|line| line.try_into().ok()).unwrap_or(0);
        let frame =
            self.trace.stacks.frame(Frame { file: text(Key::Filename), line, function: text(Key::Name) });
        self.frames.set(dict, frame);
        frame
    }

    /// Most bytes of segments at once: known at the end, and followed backwards.
    fn peak_reserved(&self, card: &Card<'_>) -> Option<ByteSize> {
        let sizes = card
            .segments
            .iter()
            .map(|&segment| u64::try_from(self.values.int_of(segment, Key::TotalSize)?).ok());
        let mut reserved = sizes.sum::<Option<u64>>()?;
        let mut peak = reserved;
        for entry in card.entries.iter().rev().filter_map(|&entry| self.entry(entry).ok().flatten()) {
            match entry.action {
                Action::Reserve => reserved = reserved.saturating_sub(entry.size),
                Action::GiveBack => reserved = reserved.saturating_add(entry.size),
                _ => {}
            }
            peak = peak.max(reserved);
        }
        Some(ByteSize::new(peak))
    }
}
