//! PyTorch's CUDA memory snapshots (`torch.cuda.memory._dump_snapshot`): one trace for each card that recorded.
//!
//! An `alloc` entry is an allocation, a `free_completed` its end. What was live before the recording began is seen
//! by its end, or in the segments at the end; it comes first in the trace, in no particular order.

use hashbrown::HashMap;
use vramkit_units::ByteSize;

use crate::fault::ReadFault;
use crate::pickle::{Id, Pickle, PickleValue};
use crate::trace::Trace;

/// The traces of a snapshot.
pub(crate) fn traces(pickle: &Pickle, name: &str) -> Result<Vec<Trace>, ReadFault> {
    let missing =
        |what: &str| ReadFault::at("the snapshot", format!("it has no {what}: not a CUDA memory snapshot"));
    let traces = pickle.list(pickle.root, "device_traces").ok_or_else(|| missing("`device_traces`"))?;
    let segments = pickle.list(pickle.root, "segments").ok_or_else(|| missing("`segments`"))?;
    let mut segments_of: HashMap<i64, Vec<Id>> = HashMap::new();
    for &segment in segments {
        segments_of.entry(pickle.int(segment, "device").unwrap_or(0)).or_default().push(segment);
    }
    let mut cards = Vec::new();
    for (card, &entries) in traces.iter().enumerate() {
        let PickleValue::List(entries) = pickle.get(entries) else {
            return Err(missing("list of entries for each device"));
        };
        if !entries.is_empty() {
            cards.push((card, entries));
        }
    }
    // Every entry and every block is a value of its own. A list that stands in many places would multiply a small file.
    let blocks = segments.iter().map(|&segment| pickle.list(segment, "blocks").map_or(0, <[Id]>::len));
    let items = cards.iter().map(|(_, entries)| entries.len()).chain(blocks).fold(0, usize::saturating_add);
    if items > pickle.len() {
        return Err(ReadFault::at("the snapshot", "it has the same entries in several places"));
    }
    let several = cards.len() > 1;
    cards
        .into_iter()
        .map(|(card, entries)| {
            let name = if several { format!("{name} (device {card})") } else { name.to_owned() };
            let segments = segments_of.get(&(card as i64)).map_or(&[][..], Vec::as_slice);
            let mut trace = trace(pickle, &name, entries, segments)?;
            trace.device = u32::try_from(card).ok();
            Ok(trace)
        })
        .collect()
}

/// An entry that matters.
struct Entry<'a> {
    action: &'a str,
    address: i64,
    size: u64,
    id: Id,
}

fn trace(pickle: &Pickle, name: &str, entries: &[Id], segments: &[Id]) -> Result<Trace, ReadFault> {
    let mut read = Vec::with_capacity(entries.len());
    for (i, &id) in entries.iter().enumerate() {
        let fault = |what: &str| ReadFault::at(format!("entry {i}"), format!("it has no {what}"));
        let action = pickle.text(id, "action").ok_or_else(|| fault("action"))?;
        if !matches!(
            action,
            "alloc" | "free_completed" | "segment_alloc" | "segment_free" | "segment_map" | "segment_unmap"
        ) {
            continue;
        }
        let address = pickle.int(id, "addr").ok_or_else(|| fault("address"))?;
        let size = pickle.int(id, "size").and_then(|size| u64::try_from(size).ok());
        read.push(Entry { action, address, size: size.ok_or_else(|| fault("size"))?, id });
    }
    let mut trace = Trace::new(name);
    let mut lines = Lines { pickle, known: HashMap::new() };
    for (address, size, id) in before(pickle, &read, segments) {
        let owner = id.map_or("", |id| lines.of(id));
        trace
            .allocate(&address.to_string(), size, owner)
            .map_err(|error| ReadFault::at(format!("the block at {address:#x}"), error.to_string()))?;
    }
    for (i, entry) in read.iter().enumerate() {
        let address = entry.address.to_string();
        match entry.action {
            "alloc" => trace.allocate(&address, entry.size, lines.of(entry.id)),
            "free_completed" => trace.free(&address),
            _ => Ok(()),
        }
        .map_err(|error| ReadFault::at(format!("entry {i}"), error.to_string()))?;
    }
    trace.recorded_reserved = peak_reserved(pickle, &read, segments);
    Ok(trace)
}

/// What was live before the first entry: address, size, and where its frames are.
fn before(pickle: &Pickle, entries: &[Entry<'_>], segments: &[Id]) -> Vec<(i64, u64, Option<Id>)> {
    let mut live: HashMap<i64, ()> = HashMap::new();
    let mut before = Vec::new();
    for entry in entries {
        match entry.action {
            "alloc" => drop(live.insert(entry.address, ())),
            "free_completed" if live.remove(&entry.address).is_none() => {
                before.push((entry.address, entry.size, None));
            }
            _ => {}
        }
    }
    for &segment in segments {
        let mut at = pickle.int(segment, "address").unwrap_or(0);
        for &block in pickle.list(segment, "blocks").unwrap_or_default() {
            let size = pickle.int(block, "size").unwrap_or(0);
            let address = pickle.int(block, "address").unwrap_or(at);
            at = address.wrapping_add(size);
            let active = pickle.text(block, "state").is_some_and(|state| state.starts_with("active"));
            let requested = pickle.int(block, "requested_size").filter(|&bytes| bytes > 0).unwrap_or(size);
            if active && requested > 0 && !live.contains_key(&address) {
                before.push((address, requested as u64, Some(block)));
            }
        }
    }
    before
}

/// Most bytes of segments at once: known at the end, and followed backwards.
fn peak_reserved(pickle: &Pickle, entries: &[Entry<'_>], segments: &[Id]) -> Option<ByteSize> {
    let sizes =
        segments.iter().map(|&segment| pickle.int(segment, "total_size").and_then(|n| u64::try_from(n).ok()));
    let mut reserved = sizes.sum::<Option<u64>>()?;
    let mut peak = reserved;
    for entry in entries.iter().rev() {
        match entry.action {
            "segment_alloc" | "segment_map" => reserved = reserved.saturating_sub(entry.size),
            "segment_free" | "segment_unmap" => reserved = reserved.saturating_add(entry.size),
            _ => {}
        }
        peak = peak.max(reserved);
    }
    Some(ByteSize::new(peak))
}

/// Lines of Python, by the frames that they are of: the same stand in many stacks.
struct Lines<'a> {
    pickle: &'a Pickle,
    /// `None` of a frame that is of no line of Python.
    known: HashMap<Id, Option<String>>,
}

impl Lines<'_> {
    /// The innermost Python line that asked for the memory; empty where there is none.
    fn of(&mut self, id: Id) -> &str {
        let (pickle, known) = (self.pickle, &mut self.known);
        let frames = pickle.list(id, "frames").unwrap_or_default();
        let is_line = |frame: &&Id| known.entry(**frame).or_insert_with(|| line(pickle, **frame)).is_some();
        let found = frames.iter().find(is_line);
        found.and_then(|frame| self.known.get(frame)?.as_deref()).unwrap_or_default()
    }
}

/// A frame's file, line and function, where it is Python's.
fn line(pickle: &Pickle, frame: Id) -> Option<String> {
    let file = pickle.text(frame, "filename").filter(|file| file.ends_with(".py"))?;
    let file = file.rsplit('/').next().unwrap_or(file);
    let (line, function) = (pickle.int(frame, "line")?, pickle.text(frame, "name")?);
    Some(format!("{file}:{line} {function}"))
}
