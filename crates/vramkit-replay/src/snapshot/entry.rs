//! One entry of a history: what happened, where, how large.

use crate::values::{ACTIONS, Key, Value, Values};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Alloc,
    FreeRequested,
    FreeCompleted,
    OutOfMemory,
    Annotate,
    /// A segment or a page more.
    Reserve,
    /// One less.
    GiveBack,
    /// Something that has no bearing on memory.
    Other,
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
        Self::Other,
        Self::Other,
        Self::Other,
    ];

    /// What an entry tells, or what is wrong with it.
    #[inline]
    fn of(values: &Values, entry: Value) -> Result<Self, &'static str> {
        let action = values.action_of(entry).ok_or("it has no action")?.ok_or("its action is not known")?;
        Ok(Self::ALL[action])
    }

    /// Whether it is of a segment or a page.
    pub(super) fn is_of_segments(self) -> bool {
        matches!(self, Self::Reserve | Self::GiveBack)
    }

    /// Whether it is one that memory is asked for or given back in.
    pub(super) fn is_history(self) -> bool {
        matches!(self, Self::Alloc | Self::FreeRequested | Self::FreeCompleted | Self::OutOfMemory)
    }
}

/// An entry that matters.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) action: Action,
    pub(super) address: i64,
    pub(super) size: u64,
}

impl Entry {
    /// `None` of one that is not asked for or cannot be used.
    #[inline]
    pub(super) fn of_kind(values: &Values, value: Value, asked: impl Fn(Action) -> bool) -> Option<Self> {
        Action::of(values, value).ok().filter(|&action| asked(action))?;
        Self::of(values, value).ok()
    }

    /// What is wrong, where it cannot be used.
    pub(super) fn of(values: &Values, value: Value) -> Result<Self, &'static str> {
        let action = Action::of(values, value)?;
        if action == Action::Other {
            return Ok(Self { action, address: 0, size: 0 });
        }
        let size = values
            .int_of(value, Key::Size)
            .and_then(|size| u64::try_from(size).ok())
            .ok_or("it has no size")?;
        let address = match values.int_of(value, Key::Addr) {
            Some(address) if address < 0 => return Err("its address is below 0"),
            Some(address) => address,
            // A request that failed has none; what it carries in its place is what the device had left.
            None if action == Action::OutOfMemory => 0,
            None => return Err("it has no address of up to 63 bits"),
        };
        Ok(Self { action, address, size })
    }
}
