//! The whole pool at once: what is live, and what can go back to the device.

use std::time::Instant;

use super::clock;
use super::core::Inner;
use super::{Leak, LeakReport, TrimReport};
use crate::device::DeviceError;
use crate::units::ByteSize;

impl Inner {
    pub(super) fn trim(&self) -> Result<TrimReport, DeviceError> {
        let start = Instant::now();
        self.free_finished();
        let mut trim = self.granules.begin_trim();
        {
            let book = self.recalled();
            let end = self.range.size.bytes();
            let mut last_free_from = 0;
            for block in book.fit.iter(self.table()) {
                let (offset, size) = (self.bytes(block.offset()), self.bytes(block.size()));
                if !block.is_free() {
                    last_free_from = offset + size;
                } else if offset + size < self.capacity.bytes() {
                    trim.give_up(offset, size);
                }
            }
            // The free end of the pool takes the rest of its last granule along.
            trim.give_up(last_free_from, end - last_free_from);
        }
        let (freed_bytes, device_calls) = trim.finish(&*self.memory)?;
        Ok(TrimReport { freed_bytes, device_calls, elapsed: start.elapsed() })
    }

    pub(super) fn live(&self) -> LeakReport {
        let now = clock::now();
        let book = self.recalled();
        let leaks = book.fit.iter(self.table()).filter(|block| block.is_live()).map(|block| {
            let label = block.label();
            let owner = &book.owners[usize::from(label.owner.0)];
            let granted = self.bytes(block.size());
            Leak {
                tag: book.tag_name(label.tag).to_owned(),
                model: owner.model.to_string(),
                purpose: owner.purpose,
                requested_bytes: ByteSize::new(granted - u64::from(label.slack)),
                age: self.ages.then(|| clock::between(label.born, now)),
            }
        });
        LeakReport { leaks: leaks.collect() }
    }
}
