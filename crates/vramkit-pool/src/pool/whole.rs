//! The whole pool at once: what is live, and what can go back to the device.

use std::time::Instant;

use super::clock;
use super::core::Inner;
use super::stats::{Leak, LeakReport, TrimReport};
use crate::device::DeviceError;
use vramkit_units::ByteSize;

impl Inner {
    pub(super) fn trim(&self) -> Result<TrimReport, DeviceError> {
        let start = Instant::now();
        self.free_finished();
        let mut trim = self.granules.begin_trim();
        {
            let book = self.recalled();
            let table = self.table();
            for (offset, size) in book.fit.free_at_least(1) {
                trim.give_up(self.bytes(offset), self.bytes(size));
            }
            // The free end takes the rest of its last granule along.
            let end = self.bytes(book.fit.end(table));
            let free_from = end - self.bytes(book.fit.free_at_end(table));
            let granularity = self.granules.granularity();
            trim.give_up(free_from, end.next_multiple_of(granularity) - free_from);
        }
        let (freed_bytes, device_calls) = trim.finish(&*self.memory)?;
        Ok(TrimReport { freed_bytes, device_calls, elapsed: start.elapsed() })
    }

    pub(super) fn live(&self) -> LeakReport {
        let now = clock::now();
        let book = self.recalled();
        let live = book.fit.iter(self.table()).filter_map(|(_, block)| block.look());
        let leaks = live.map(|seen| {
            let label = seen.label;
            let (model, purpose) = book.owners.name(label.owner);
            Leak {
                tag: book.tags.name(label.tag).to_owned(),
                model,
                purpose,
                requested_bytes: ByteSize::new(self.requested_of(&seen)),
                age: self.config.ages.then(|| clock::between(label.born, now)),
            }
        });
        LeakReport { leaks: leaks.collect() }
    }
}
