//! Streams and events: an event recorded on a held stream is done when the streams are let go.

use crate::code::{Code, INVALID_HANDLE, NOT_READY};
use crate::state::State;

impl State {
    fn new_handle(&mut self) -> usize {
        self.next += 1;
        self.next as usize
    }

    pub fn new_stream(&mut self) -> usize {
        let handle = self.old_streams.pop().unwrap_or_else(|| self.new_handle());
        self.streams.push(handle);
        handle
    }

    pub fn end_stream(&mut self, stream: usize) -> Result<(), Code> {
        let at = self.streams.iter().position(|&known| known == stream).ok_or(INVALID_HANDLE)?;
        self.old_streams.push(self.streams.swap_remove(at));
        Ok(())
    }

    pub fn new_event(&mut self) -> usize {
        let handle = self.old_events.pop().unwrap_or_else(|| self.new_handle());
        self.events.insert(handle, true);
        handle
    }

    pub fn end_event(&mut self, event: usize) -> Result<(), Code> {
        self.events.remove(&event).ok_or(INVALID_HANDLE)?;
        self.old_events.push(event);
        Ok(())
    }

    pub fn record(&mut self, event: usize, stream: usize) -> Result<(), Code> {
        if stream != 0 && !self.streams.contains(&stream) {
            return Err(INVALID_HANDLE);
        }
        let done = !self.held;
        self.events.get_mut(&event).map(|event| *event = done).ok_or(INVALID_HANDLE)
    }

    pub fn query(&self, event: usize) -> Result<(), Code> {
        match self.events.get(&event) {
            Some(true) => Ok(()),
            Some(false) => Err(NOT_READY),
            None => Err(INVALID_HANDLE),
        }
    }

    /// Holds all streams, or lets them go.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
        self.events.values_mut().for_each(|done| *done |= !held);
    }
}
