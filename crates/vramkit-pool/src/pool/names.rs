//! Names in a pool: owners with their budgets and priorities, and tags.
//!
//! A name comes in once and an id goes out, which requests carry. There are 65,534 of each kind; to run out of them is an
//! error, not somebody else's name.

use super::device_memory_pool::DeviceMemoryPool;
use super::error::PoolError;
use super::ids::{OwnerId, TagId};
use vramkit_units::ByteSize;
use vramkit_units::{Holder, Purpose};

impl DeviceMemoryPool {
    /// The id for requests on behalf of a model (or nobody, when the name is empty) and a purpose. Where 65,534 owners are
    /// registered already, the id is refused wherever it is used, with [`PoolError::TooManyOwners`]; see
    /// [`try_owner`](Self::try_owner) for that error at once.
    pub fn owner(&self, model: &str, purpose: Purpose) -> OwnerId {
        self.try_owner(model, purpose).unwrap_or(OwnerId::TOO_MANY)
    }

    /// As [`owner`](Self::owner), with the error at once.
    pub fn try_owner(&self, model: &str, purpose: Purpose) -> Result<OwnerId, PoolError> {
        let holder = Holder::from(model);
        let mut book = self.inner.book.lock();
        let id = book.owners.register(holder, purpose).ok_or(PoolError::TooManyOwners)?;
        book.owners.name_it(id.number);
        book.introduce(id, &self.inner.thread_caches);
        Ok(id)
    }

    /// As [`try_owner`](Self::try_owner), for as long as something is held by the id; see
    /// [`return_owner`](Self::return_owner).
    pub fn borrow_owner(&self, model: &str, purpose: Purpose) -> Result<OwnerId, PoolError> {
        let mut book = self.inner.book.lock();
        let id = book.owners.register(Holder::from(model), purpose).ok_or(PoolError::TooManyOwners)?;
        book.introduce(id, &self.inner.thread_caches);
        Ok(id)
    }

    /// Forgets an owner that was borrowed, when nothing is lost by that: nobody else has asked for its id, it holds nothing,
    /// and neither a budget nor a priority is set for it.
    pub fn return_owner(&self, owner: OwnerId) {
        let mut book = self.inner.book.lock();
        if owner == OwnerId::NONE || book.owners.known(owner).is_err() {
            return;
        }
        // What a thread cache keeps for it counts as its own.
        book.recall(&self.inner.counts, self.inner.table(), &self.inner.thread_caches);
        if book.owners.is_spare(owner.number) {
            let forgotten = book.forget_owner(owner.number, &self.inner.thread_caches);
            debug_assert!(forgotten.is_ok());
        }
    }

    /// Forgets an owner that holds nothing, with its budget, priority and peak: its number is free for another one, its id
    /// is refused from now on. Nobody cannot be forgotten; to try changes nothing.
    pub fn forget_owner(&self, owner: OwnerId) -> Result<(), PoolError> {
        self.inner.free_finished();
        let mut book = self.inner.recalled();
        let number = book.owners.known(owner)?;
        if owner == OwnerId::NONE {
            return Ok(());
        }
        book.forget_owner(number, &self.inner.thread_caches).map_err(|held| {
            let (model, purpose) = book.owners.name(number);
            PoolError::OwnerHolds { model, purpose, held: ByteSize::new(held) }
        })
    }

    /// The id for requests named so in reports. Where 65,534 tags are registered already, reports say so in its place; see
    /// [`try_tag`](Self::try_tag).
    pub fn tag(&self, name: &str) -> TagId {
        self.try_tag(name).unwrap_or(TagId::TOO_MANY)
    }

    /// As [`tag`](Self::tag), with an error when there are too many.
    pub fn try_tag(&self, name: &str) -> Result<TagId, PoolError> {
        self.inner.book.lock().tags.register(name).map(TagId).ok_or(PoolError::TooManyTags)
    }

    /// Caps what an owner may hold, granted bytes, memory that streams still use included; `None` lifts the cap. What it
    /// holds already stays.
    pub fn set_budget(&self, owner: OwnerId, budget: Option<ByteSize>) -> Result<(), PoolError> {
        let mut book = self.inner.recalled();
        let number = book.owners.known(owner)?;
        book.owners.set_budget(number, budget.map(ByteSize::bytes));
        book.bar_if_over(&[number], &self.inner.thread_caches);
        Ok(())
    }

    /// Caps what all purposes of a model may hold together, those that are named later included; `None` lifts the cap.
    pub fn set_model_budget(&self, model: &str, budget: Option<ByteSize>) {
        let mut book = self.inner.recalled();
        let numbers = book.owners.set_model_budget(&Holder::from(model), budget.map(ByteSize::bytes));
        book.bar_if_over(&numbers, &self.inner.thread_caches);
    }

    /// Says how late an owner should be asked to make room for others: 0, as at first, is the first to go.
    pub fn set_priority(&self, owner: OwnerId, priority: u8) -> Result<(), PoolError> {
        let mut book = self.inner.book.lock();
        let number = book.owners.known(owner)?;
        book.owners.set_priority(number, priority);
        Ok(())
    }
}
