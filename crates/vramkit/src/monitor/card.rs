//! A card as a source without using it: the management library is asked, no context is made, and nothing of the card is taken.

use super::identity::ProcessIdentity;
use super::snapshot::{DeviceName, ProcessUse, Usage};
use super::source::{MemorySource, own_pools};
use crate::device::{NvmlCard, Origin, Reading};
use crate::pool::give_back_idle;

/// A card that is looked at: what every process together holds, and each of them.
///
/// ```
/// use vramkit::device::NvmlCard;
/// use vramkit::monitor::{CardSource, VramMonitor};
///
/// match NvmlCard::open(0) {
///     Ok(card) => println!("{}", VramMonitor::new(std::sync::Arc::new(CardSource(card))).usage().used_bytes),
///     Err(error) => println!("{error}"), // no driver, no such card, …
/// }
/// ```
#[derive(Debug)]
pub struct CardSource(pub NvmlCard);

impl MemorySource for CardSource {
    fn device(&self) -> DeviceName {
        let uuid = self.0.uuid().map(ToOwned::to_owned);
        DeviceName { id: self.0.id(), name: self.0.name().to_owned(), uuid }
    }

    fn read(&self) -> Usage {
        let memory = self.0.memory();
        let (allocated, reserved) = own_pools(self.0.id().as_str());
        Usage {
            total_bytes: memory.total_bytes,
            free_bytes: memory.free_bytes,
            used_bytes: memory.used_bytes,
            driver_bytes: memory.driver_bytes,
            allocated_bytes: allocated,
            reserved_bytes: reserved,
        }
    }

    fn reclaim(&self) {
        give_back_idle(self.0.id().as_str());
    }

    fn processes(&self) -> Reading<Vec<ProcessUse>> {
        self.0.processes().map(|list| {
            let uses = list.into_iter().map(|process| ProcessUse {
                pid: process.pid,
                name: Reading::unavailable(Origin::Nvml, "not asked for"),
                identity: ProcessIdentity::default(),
                used_bytes: process.used_bytes,
                peak_bytes: Reading::unavailable(Origin::Nvml, "not asked for"),
            });
            uses.collect()
        })
    }
}
