//! What happens when no block with memory behind it is at hand: memory is committed, room is made in every way there is,
//! and at last the error says why not and what would help.

use super::book::Excess;
use super::core::{Inner, Placed, Refusal};
use super::request::Request;
use super::{OutOfMemory, OverBudget, PoolError, ReclaimRequest, Reclaimer};
use crate::device::DeviceError;
use crate::sync::{Ordering, lock};
use crate::units::ByteSize;

/// How many owners an out-of-memory error names.
const OWNERS_IN_ERRORS: usize = 5;

impl Inner {
    /// A block without memory behind it, or none yet: the last tries are with what fronts keep, which may be
    /// all that is missing, and with what can be reclaimed.
    #[cold]
    #[inline(never)]
    pub(super) fn allocate_slowly(
        &self,
        request: Request,
        placed: Result<Placed, Refusal>,
    ) -> Result<Placed, PoolError> {
        let mut refusal = match self.commit(placed)? {
            Ok(placed) => return Ok(placed),
            Err(refusal) => refusal,
        };
        if self.fronts.units() > 0 {
            drop(self.recalled());
            match self.commit(self.place(request))? {
                Ok(placed) => return Ok(placed),
                Err(again) => refusal = again,
            }
        }
        if self.wait_for_line()? {
            match self.commit(self.place(request))? {
                Ok(placed) => return Ok(placed),
                Err(again) => refusal = again,
            }
        }
        if matches!(refusal, Refusal::NoRoom) && self.could_compact(request) {
            let enough = self.granted(request.size.bytes()).map_or(u32::MAX, |(_, units)| units);
            if let Err(error) = self.compact(enough) {
                tracing::warn!(%error, "compacting for a request failed");
            }
            match self.commit(self.place(request))? {
                Ok(placed) => return Ok(placed),
                Err(again) => refusal = again,
            }
        }
        if !matches!(refusal, Refusal::Budget(_)) {
            self.reclaim(request);
            match self.commit(self.place(request))? {
                Ok(placed) => return Ok(placed),
                Err(again) => refusal = again,
            }
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        Err(match refusal {
            Refusal::NoRoom => self.out_of_memory(request, None),
            Refusal::NoMemory(error) => self.out_of_memory(request, Some(*error)),
            Refusal::Budget(over) => self.over_budget(request, &over),
        })
    }

    /// Whether moving what is movable would make a block for a request.
    fn could_compact(&self, request: Request) -> bool {
        let units = self.granted(request.size.bytes()).map(|(_, units)| units);
        units.is_some_and(|units| lock(&self.book).fit.largest_after_compacting(&self.blocks) >= units)
    }

    /// Puts memory behind a block, if there is one. When the device has none or fails otherwise (the outer error),
    /// the block is given back.
    #[cold]
    fn commit(&self, placed: Result<Placed, Refusal>) -> Result<Result<Placed, Refusal>, PoolError> {
        let placed = match placed {
            Ok(placed) if !self.granules.has(placed.offset, placed.granted) => placed,
            settled => return Ok(settled),
        };
        let outcome = self.granules.commit(&*self.device, placed.offset, placed.granted);
        let mut book = lock(&self.book);
        let Err(error) = outcome else {
            book.misses += 1;
            return Ok(Ok(placed));
        };
        book.take_back(&self.blocks, placed.id.0.index);
        // It was never anybody's.
        book.granted -= 1;
        book.ended -= 1;
        self.publish(&book);
        drop(book);
        if matches!(error, DeviceError::OutOfMemory { .. }) {
            return Ok(Err(Refusal::NoMemory(Box::new(error))));
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        Err(error.into())
    }

    /// Makes room: free granules go back to the device, then callbacks may release more.
    fn reclaim(&self, request: Request) {
        if let Err(error) = self.trim() {
            tracing::warn!(%error, "trimming for a request failed");
        }
        let callbacks: Vec<Reclaimer> =
            lock(&self.reclaimers).iter().map(|(_, callback)| callback.clone()).collect();
        let free = ByteSize::new(self.capacity.bytes() - self.used());
        for callback in callbacks {
            callback(&ReclaimRequest { requested: request.size, free });
        }
    }

    fn out_of_memory(&self, request: Request, device_error: Option<DeviceError>) -> PoolError {
        let book = self.recalled();
        PoolError::OutOfMemory(Box::new(OutOfMemory {
            device: self.device.info().id,
            requested: request.size,
            alignment: request.alignment,
            largest_free: ByteSize::new(u64::from(book.fit.largest_free()) << self.shift),
            free: ByteSize::new(self.capacity.bytes() - book.used),
            capacity: self.capacity,
            trim_frees: ByteSize::new(self.granules.committed().bytes().saturating_sub(book.used)),
            largest_after_compacting: ByteSize::new(
                u64::from(book.fit.largest_after_compacting(&self.blocks)) << self.shift,
            ),
            evict: book.least_to_evict(request.size.bytes()),
            owners: book.owners(OWNERS_IN_ERRORS),
            device_error,
        }))
    }

    fn over_budget(&self, request: Request, over: &Excess) -> PoolError {
        let book = lock(&self.book);
        let owner = &book.owners[usize::from(book.known(request.owner).0)];
        PoolError::OverBudget(Box::new(OverBudget {
            model: owner.model.to_string(),
            purpose: (!over.whole_model).then_some(owner.purpose),
            requested: request.size,
            held: ByteSize::new(over.held),
            budget: ByteSize::new(over.budget),
        }))
    }
}
