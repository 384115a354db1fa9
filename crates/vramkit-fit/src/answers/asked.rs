//! Footprints that were worked out already.

use std::cell::RefCell;

use crate::answers::need::Need;
use crate::answers::room::{Room, Verdict};
use crate::error::FitError;
use crate::footprint::Footprint;
use crate::options::FitOptions;

/// What is known of processes under some options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// What they need together.
    pub(crate) need: Need,
    /// Whether it fits, where memory was given.
    pub(crate) verdict: Option<Verdict>,
}

/// Asks for footprints, once for the same options.
pub(crate) struct Asked<'a> {
    footprints: &'a dyn Fn(&FitOptions) -> Result<Vec<Footprint>, FitError>,
    room: Option<&'a Room>,
    /// Some dozens, so a list does.
    known: RefCell<Vec<(FitOptions, Option<Outcome>)>>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(
        footprints: &'a dyn Fn(&FitOptions) -> Result<Vec<Footprint>, FitError>,
        room: Option<&'a Room>,
    ) -> Self {
        Self { footprints, room, known: RefCell::new(Vec::new()) }
    }

    /// The memory there is, where it was given.
    pub(crate) fn room(&self) -> Option<&Room> {
        self.room
    }

    /// What is known under these options; `None` where the engine refuses them.
    pub(crate) fn outcome(&self, options: &FitOptions) -> Option<Outcome> {
        if let Some((_, known)) = self.known.borrow().iter().find(|(known, _)| known == options) {
            return *known;
        }
        let outcome = (self.footprints)(options).ok().map(|footprints| Outcome {
            need: Need::of_all(&footprints),
            verdict: self.room.map(|room| room.verdict(&footprints, options.gpu_memory_utilization)),
        });
        self.known.borrow_mut().push((options.clone(), outcome));
        outcome
    }

    /// Bytes that are left under these options; `None` where that is not known.
    pub(crate) fn headroom(&self, options: &FitOptions) -> Option<i128> {
        self.outcome(options)?.verdict?.headroom
    }
}
