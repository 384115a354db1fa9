//! A pool's book: blocks, counts and owners, all that changes with a grant or a release, under one lock. It knows no
//! device.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::OwnerUse;
use super::request::{OwnerId, Purpose, Request, TagId};
use super::segregated::{Freed, Label, SegregatedFit};
use crate::units::ByteSize;

/// Everything that changes with a grant or a release, under one lock.
pub(super) struct Book {
    pub(super) fit: SegregatedFit,
    pub(super) used: u64,
    pub(super) peak_used: u64,
    pub(super) requested: u64,
    pub(super) peak_requested: u64,
    pub(super) arena: u64,
    pub(super) live: u64,
    pub(super) granted: u64,
    pub(super) misses: u64,
    pub(super) owners: Vec<OwnerBook>,
    pub(super) tags: Vec<Arc<str>>,
    pub(super) owner_ids: HashMap<(Arc<str>, Purpose), OwnerId>,
    pub(super) tag_ids: HashMap<Arc<str>, TagId>,
}

/// What the book knows of one owner.
pub(super) struct OwnerBook {
    pub(super) model: Arc<str>,
    pub(super) purpose: Purpose,
    pub(super) granted: u64,
    pub(super) peak: u64,
    pub(super) allocations: u64,
}

impl Book {
    /// Everything free, nobody known but [`OwnerId::NONE`].
    pub(super) fn new(capacity: ByteSize) -> Self {
        let nobody: Arc<str> = "".into();
        Self {
            fit: SegregatedFit::new(capacity.bytes()),
            used: 0,
            peak_used: 0,
            requested: 0,
            peak_requested: 0,
            arena: 0,
            live: 0,
            granted: 0,
            misses: 0,
            owners: vec![OwnerBook::new(nobody.clone(), Purpose::Other)],
            tags: vec![nobody.clone()],
            owner_ids: HashMap::from([((nobody.clone(), Purpose::Other), OwnerId::NONE)]),
            tag_ids: HashMap::from([(nobody, TagId::NONE)]),
        }
    }

    pub(super) fn owner(&mut self, model: &str, purpose: Purpose) -> OwnerId {
        let model: Arc<str> = model.into();
        if let Some(&id) = self.owner_ids.get(&(model.clone(), purpose)) {
            return id;
        }
        let id = OwnerId(self.owners.len() as u32);
        self.owners.push(OwnerBook::new(model.clone(), purpose));
        self.owner_ids.insert((model, purpose), id);
        id
    }

    pub(super) fn tag(&mut self, name: &str) -> TagId {
        if let Some(&id) = self.tag_ids.get(name) {
            return id;
        }
        let (id, name) = (TagId(self.tags.len() as u32), Arc::<str>::from(name));
        self.tags.push(name.clone());
        self.tag_ids.insert(name, id);
        id
    }

    /// The label of a request; an owner or tag of another pool counts as none.
    pub(super) fn label(&self, request: Request, born: u32) -> Label {
        let owner =
            if (request.owner.0 as usize) < self.owners.len() { request.owner } else { OwnerId::NONE };
        let tag = if (request.tag.0 as usize) < self.tags.len() { request.tag } else { TagId::NONE };
        Label { requested: request.size.bytes(), owner, tag, born }
    }

    #[inline]
    pub(super) fn grant(&mut self, offset: u64, granted: u64, label: Label) {
        self.used += granted;
        self.peak_used = self.peak_used.max(self.used);
        self.requested += label.requested;
        self.peak_requested = self.peak_requested.max(self.requested);
        self.arena = self.arena.max(offset + granted);
        self.live += 1;
        self.granted += 1;
        let owner = &mut self.owners[label.owner.0 as usize];
        owner.granted += granted;
        owner.peak = owner.peak.max(owner.granted);
        owner.allocations += 1;
    }

    pub(super) fn take_back(&mut self, freed: Freed) {
        self.used -= freed.granted;
        self.requested -= freed.requested;
        self.live -= 1;
        let owner = &mut self.owners[freed.owner.0 as usize];
        owner.granted -= freed.granted;
        owner.allocations -= 1;
    }

    pub(super) fn owners(&self, most: usize) -> Vec<OwnerUse> {
        let mut holding: Vec<&OwnerBook> = self.owners.iter().filter(|owner| owner.granted > 0).collect();
        holding.sort_by_key(|owner| std::cmp::Reverse(owner.granted));
        let owners = holding.into_iter().take(most).map(|owner| OwnerUse {
            model: if owner.model.is_empty() {
                "nobody in particular".to_owned()
            } else {
                owner.model.to_string()
            },
            purpose: owner.purpose,
            granted_bytes: ByteSize::new(owner.granted),
            peak_bytes: ByteSize::new(owner.peak),
            allocations: owner.allocations,
        });
        owners.collect()
    }
}

impl OwnerBook {
    pub(super) fn new(model: Arc<str>, purpose: Purpose) -> Self {
        Self { model, purpose, granted: 0, peak: 0, allocations: 0 }
    }
}
