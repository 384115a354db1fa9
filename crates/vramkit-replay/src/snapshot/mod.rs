//! PyTorch's CUDA memory snapshots (`torch.cuda.memory._dump_snapshot`): a trace for each card.
//!
//! An `alloc` entry is an allocation, a `free_completed` its end, an `oom` a request that failed. What was live before the recording
//! began is seen by its end, or in the segments at the end; it comes first in the trace, in no particular order. A snapshot without a
//! history gives what is held at its end.

mod card;
mod entry;
mod frames;
mod pools;
mod reader;
mod settings;

use hashbrown::HashMap;

use self::card::Card;
use self::reader::Reader;
use self::settings::settings;
use crate::fault::ReadFault;
use crate::pytorch::AllocatorSettings;
use crate::trace::Trace;
use crate::values::{Budget, Key, Kind, Value, Values};

/// The traces of a snapshot: a dictionary of segments and histories, or the list of segments alone.
pub(crate) fn traces(values: &Values, name: &str, budget: &Budget) -> Result<Vec<Trace>, ReadFault> {
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
        reader.read(&card, budget)
    });
    traces.collect()
}
