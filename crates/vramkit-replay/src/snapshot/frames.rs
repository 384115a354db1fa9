//! Stacks of a snapshot: lists of frames, of which the same stand in many entries.

use hashbrown::HashMap;

use crate::stacks::{Frame, Stacks};
use crate::values::{Key, Kind, Value, Values};

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

/// Reads stacks into those of a trace.
pub(super) struct StackReader<'a> {
    values: &'a Values,
    /// Stacks by where the lists are, and frames by the dictionaries, that they are of.
    stacks: Known,
    frames: Known,
    /// A stack that is being read.
    current: Vec<u32>,
}

impl<'a> StackReader<'a> {
    /// `alone`: whether it is the file's only one, and may take a word for each item of lists and for each dictionary of it.
    pub(super) fn new(values: &'a Values, alone: bool) -> Self {
        Self {
            values,
            stacks: Known::new(if alone { values.places() } else { 0 }),
            frames: Known::new(if alone { values.dicts() } else { 0 }),
            current: Vec::new(),
        }
    }

    /// The stack that is under `frames`.
    pub(super) fn stack(&mut self, value: Value, into: &mut Stacks) -> u32 {
        let Some(Kind::List(list)) = self.values.field(value, Key::Frames) else { return 0 };
        let place = self.values.place_of(list);
        if let Some(known) = place.and_then(|place| self.stacks.get(place)) {
            return known;
        }
        let mut frames = std::mem::take(&mut self.current);
        frames.clear();
        frames.extend(self.values.items(list).iter().filter_map(|&frame| self.frame(frame, into)));
        let stack = into.stack(&frames);
        self.current = frames;
        if let Some(place) = place {
            self.stacks.set(place, stack);
        }
        stack
    }

    #[inline]
    fn frame(&mut self, value: Value, into: &mut Stacks) -> Option<u32> {
        let Kind::Dict(dict) = self.values.kind(value) else { return None };
        self.frames.get(dict).or_else(|| Some(self.new_frame(dict, into)))
    }

    #[cold]
    fn new_frame(&mut self, dict: u32, into: &mut Stacks) -> u32 {
        let value = Value::dict(dict);
        let text = |key| self.values.text_of(value, key).unwrap_or_default().to_owned();
        let line = self.values.int_of(value, Key::Line).and_then(|line| line.try_into().ok()).unwrap_or(0);
        let frame = into.frame(Frame { file: text(Key::Filename), line, function: text(Key::Name) });
        self.frames.set(dict, frame);
        frame
    }
}
