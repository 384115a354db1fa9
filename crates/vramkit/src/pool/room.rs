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
    /// A block without memory behind it, or none yet. Each remedy that changes something is followed by a try.
    #[cold]
    #[inline(never)]
    pub(super) fn allocate_slowly(
        &self,
        request: &Request,
        placed: Result<Placed, Refusal>,
    ) -> Result<Placed, PoolError> {
        let _waiting = self.stall.wait();
        let mut refusal = match self.commit(placed)? {
            Ok(placed) => return Ok(placed),
            Err(refusal) => refusal,
        };
        for remedy in [Self::recall, Self::wait_for_streams, Self::compact_for, Self::reclaim] {
            if remedy(self, request, &refusal)? {
                match self.commit(self.place(request))? {
                    Ok(placed) => return Ok(placed),
                    Err(again) => refusal = again,
                }
            }
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        Err(match refusal {
            Refusal::NoRoom => self.out_of_memory(request, None),
            Refusal::NoMemory(error) => self.out_of_memory(request, Some(*error)),
            Refusal::Budget(over) => self.over_budget(request, &over),
        })
    }

    /// What fronts keep may be all that is missing.
    fn recall(&self, _: &Request, _: &Refusal) -> Result<bool, PoolError> {
        let kept = self.fronts.units() > 0;
        if kept {
            drop(self.recalled());
        }
        Ok(kept)
    }

    fn wait_for_streams(&self, _: &Request, _: &Refusal) -> Result<bool, PoolError> {
        self.wait_for_line()
    }

    /// Moves what is movable, when that would make a block for the request.
    fn compact_for(&self, request: &Request, refusal: &Refusal) -> Result<bool, PoolError> {
        let Some((_, units)) = self.granted(request.size.bytes()) else { return Ok(false) };
        let would_help = || self.book.lock().fit.largest_after_compacting(self.table()) >= units;
        if !matches!(refusal, Refusal::NoRoom) || !would_help() {
            return Ok(false);
        }
        if let Err(error) = self.compact(units) {
            tracing::warn!(%error, "compacting for a request failed");
        }
        Ok(true)
    }

    /// Puts memory behind a block, if there is one. When the device has none or fails otherwise (the outer error),
    /// the block is given back.
    #[cold]
    fn commit(&self, placed: Result<Placed, Refusal>) -> Result<Result<Placed, Refusal>, PoolError> {
        let placed = match placed {
            Ok(placed) if !self.granules.has(placed.offset, placed.granted) => placed,
            settled => return Ok(settled),
        };
        let outcome = self.granules.commit(&*self.memory, placed.offset, placed.granted);
        let mut book = self.book.lock();
        let Err(error) = outcome else {
            book.misses += 1;
            return Ok(Ok(placed));
        };
        self.take_back(&mut book, placed.id.0.index);
        // It was never anybody's.
        book.granted -= 1;
        drop(book);
        if matches!(error, DeviceError::OutOfMemory { .. }) {
            return Ok(Err(Refusal::NoMemory(Box::new(error))));
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        Err(error.into())
    }

    /// Makes room: free granules go back to the device, then callbacks may release more.
    fn reclaim(&self, request: &Request, refusal: &Refusal) -> Result<bool, PoolError> {
        if matches!(refusal, Refusal::Budget(_)) {
            return Ok(false);
        }
        if let Err(error) = self.trim() {
            tracing::warn!(%error, "trimming for a request failed");
        }
        let callbacks: Vec<Reclaimer> =
            lock(&self.reclaimers).iter().map(|(_, callback)| callback.clone()).collect();
        let free = ByteSize::new(self.capacity.bytes() - self.used());
        for callback in callbacks {
            callback(&ReclaimRequest { requested: request.size, free });
        }
        Ok(true)
    }

    fn out_of_memory(&self, request: &Request, device_error: Option<DeviceError>) -> PoolError {
        let book = self.recalled();
        let used = self.counts.used();
        let free = self.capacity.bytes() - used;
        PoolError::OutOfMemory(Box::new(OutOfMemory {
            device: self.device.info().id,
            requested: request.size,
            alignment: request.alignment,
            largest_free: ByteSize::new(self.bytes(book.fit.largest_free())),
            free: ByteSize::new(free),
            capacity: self.capacity,
            trim_frees: ByteSize::new(self.granules.committed().bytes().saturating_sub(used)),
            largest_after_compacting: ByteSize::new(
                self.bytes(book.fit.largest_after_compacting(self.table())),
            ),
            evict: book.least_to_evict(request.size.bytes(), free),
            owners: book.owners(OWNERS_IN_ERRORS),
            device_error,
        }))
    }

    fn over_budget(&self, request: &Request, over: &Excess) -> PoolError {
        let book = self.book.lock();
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
