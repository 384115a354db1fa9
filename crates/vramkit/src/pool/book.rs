//! A pool's book: blocks, counts and owners, all that changes with a grant or a release, under one lock. It knows no
//! device.

use std::collections::HashMap;
use std::sync::Arc;

use super::blocks::{Block, Label, Table};
use super::counts::Counts;
use super::error::OwnerUse;
use super::front::Fronts;
use super::request::{OwnerId, Purpose, TagId};
use super::segregated::SegregatedFit;
use crate::units::ByteSize;

/// Everything that changes with a grant or a release, under one lock. Blocks that [fronts](Fronts) keep count as
/// taken until they are [recalled](Book::recall). Bytes, where nothing else is said.
pub(super) struct Book {
    pub(super) fit: SegregatedFit,
    /// The pool's unit, as a power of two.
    shift: u32,
    pub(super) arena: u64,
    /// Grants ever.
    pub(super) granted: u64,
    pub(super) misses: u64,
    /// Who had the lock last, and how often it has passed from thread to thread.
    pub(super) last_thread: usize,
    pub(super) meetings: u64,
    pub(super) owners: Vec<OwnerBook>,
    tags: Vec<Arc<str>>,
    owner_ids: HashMap<(Arc<str>, Purpose), OwnerId>,
    tag_ids: HashMap<Arc<str>, TagId>,
}

/// What the book knows of one owner.
pub(super) struct OwnerBook {
    pub(super) model: Arc<str>,
    pub(super) purpose: Purpose,
    pub(super) granted: u64,
    pub(super) peak: u64,
    pub(super) allocations: u64,
    pub(super) priority: u8,
    pub(super) budget: Option<u64>,
    pub(super) model_budget: Option<u64>,
}

/// A budget that a grant would pass.
pub(super) struct Excess {
    /// Of the whole model, not of one purpose.
    pub(super) whole_model: bool,
    pub(super) held: u64,
    pub(super) budget: u64,
}

impl Book {
    /// Everything free, nobody known but [`OwnerId::NONE`]. `capacity` in units of `1 << shift` bytes.
    pub(super) fn new(table: Table<'_>, capacity: u32, shift: u32) -> Self {
        let nobody: Arc<str> = "".into();
        Self {
            fit: SegregatedFit::new(table, capacity),
            shift,
            arena: 0,
            granted: 0,
            misses: 0,
            last_thread: 0,
            meetings: 0,
            owners: vec![OwnerBook::new(nobody.clone(), Purpose::Other)],
            tags: vec![nobody.clone()],
            owner_ids: HashMap::from([((nobody.clone(), Purpose::Other), OwnerId::NONE)]),
            tag_ids: HashMap::from([(nobody, TagId::NONE)]),
        }
    }

    /// The id of an owner; nobody's when there are too many.
    pub(super) fn owner(&mut self, model: &str, purpose: Purpose) -> OwnerId {
        let model: Arc<str> = model.into();
        if let Some(&id) = self.owner_ids.get(&(model.clone(), purpose)) {
            return id;
        }
        let Ok(number) = u16::try_from(self.owners.len()) else {
            return OwnerId::NONE;
        };
        let id = OwnerId(number);
        let mut owner = OwnerBook::new(model.clone(), purpose);
        owner.model_budget =
            self.owners.iter().find(|other| other.model == model).and_then(|other| other.model_budget);
        self.owners.push(owner);
        self.owner_ids.insert((model, purpose), id);
        id
    }

    /// The id of a tag; that of no tag when there are too many.
    pub(super) fn tag(&mut self, name: &str) -> TagId {
        if let Some(&id) = self.tag_ids.get(name) {
            return id;
        }
        let Ok(number) = u16::try_from(self.tags.len()) else {
            return TagId::NONE;
        };
        let (id, name) = (TagId(number), Arc::<str>::from(name));
        self.tags.push(name.clone());
        self.tag_ids.insert(name, id);
        id
    }

    /// A tag's name; empty for no tag, and for one of another pool.
    pub(super) fn tag_name(&self, tag: TagId) -> &str {
        self.tags.get(usize::from(tag.0)).map_or("", |name| name)
    }

    /// Every tag, by its number.
    pub(super) fn tags(&self) -> &[Arc<str>] {
        &self.tags
    }

    /// The owner that is meant: nobody for an id of another pool.
    #[inline]
    pub(super) fn known(&self, owner: OwnerId) -> OwnerId {
        if usize::from(owner.0) < self.owners.len() { owner } else { OwnerId::NONE }
    }

    pub(super) fn set_budget(&mut self, owner: OwnerId, budget: Option<u64>) {
        let owner = self.known(owner);
        self.owners[usize::from(owner.0)].budget = budget;
    }

    pub(super) fn set_priority(&mut self, owner: OwnerId, priority: u8) {
        let owner = self.known(owner);
        self.owners[usize::from(owner.0)].priority = priority;
    }

    /// Caps what every purpose of a model may hold together.
    pub(super) fn set_model_budget(&mut self, model: &str, budget: Option<u64>) {
        self.owner(model, Purpose::Other);
        for owner in self.owners.iter_mut().filter(|owner| &*owner.model == model) {
            owner.model_budget = budget;
        }
    }

    /// Whether an owner may be granted so many bytes more.
    #[inline]
    pub(super) fn check_budget(&self, owner: OwnerId, granted: u64) -> Result<(), Excess> {
        let owner = &self.owners[usize::from(owner.0)];
        if owner.budget.is_none() && owner.model_budget.is_none() {
            return Ok(());
        }
        self.check_budgets(owner, granted)
    }

    #[cold]
    fn check_budgets(&self, owner: &OwnerBook, granted: u64) -> Result<(), Excess> {
        let check = |whole_model, held: u64, budget: Option<u64>| match budget {
            Some(budget) if held.saturating_add(granted) > budget => {
                Err(Excess { whole_model, held, budget })
            }
            _ => Ok(()),
        };
        check(false, owner.granted, owner.budget)?;
        let same_model = self.owners.iter().filter(|other| other.model == owner.model);
        check(true, same_model.map(|other| other.granted).sum(), owner.model_budget)
    }

    /// Allocations that are live. After a [recall](Self::recall).
    pub(super) fn live(&self) -> u64 {
        self.owners.iter().map(|owner| owner.allocations).sum()
    }

    /// Counts a block that has been made live.
    #[inline(always)]
    pub(super) fn grant(&mut self, counts: &Counts, offset: u64, granted: u64, label: Label) {
        counts.add(granted, label.slack);
        if offset + granted > self.arena {
            self.arena = offset + granted;
        }
        self.granted += 1;
        let owner = &mut self.owners[usize::from(label.owner.0)];
        owner.granted += granted;
        if owner.granted > owner.peak {
            owner.peak = owner.granted;
        }
        owner.allocations += 1;
    }

    /// Counts a block as somebody else's, for a request of another size that is granted the same.
    pub(super) fn hand_over(&mut self, counts: &Counts, from: Label, to: Label, granted: u64) {
        counts.change_slack(i64::from(to.slack) - i64::from(from.slack));
        self.granted += 1;
        let old = &mut self.owners[usize::from(from.owner.0)];
        old.granted -= granted;
        old.allocations -= 1;
        let new = &mut self.owners[usize::from(to.owner.0)];
        new.granted += granted;
        new.peak = new.peak.max(new.granted);
        new.allocations += 1;
    }

    /// Frees a block that the caller alone holds, and takes it off the counts.
    #[inline(always)]
    pub(super) fn take_back(&mut self, counts: &Counts, table: Table<'_>, index: u32, block: &Block) {
        let (granted, label) = (u64::from(block.size()) << self.shift, block.label());
        self.fit.free(table, index, block);
        counts.subtract(granted, label.slack);
        let owner = &mut self.owners[usize::from(label.owner.0)];
        owner.granted -= granted;
        owner.allocations -= 1;
    }

    /// Frees what the fronts keep; from then on the counts say what is true.
    pub(super) fn recall(&mut self, counts: &Counts, table: Table<'_>, fronts: &Fronts) {
        let mut slack = 0;
        let tally = fronts.drain(|index| {
            let block = table.at(index);
            slack += i64::from(block.label().slack);
            self.take_back(counts, table, index, block);
        });
        // What reuses of kept blocks have added or saved.
        counts.change_slack(slack - tally.slack);
        self.granted += tally.granted;
    }

    /// What owners hold that hold anything, most first. After a [recall](Self::recall).
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
            priority: owner.priority,
            budget_bytes: owner.budget.map(ByteSize::new),
        });
        owners.collect()
    }

    /// Who would have to give up everything for so many bytes to be free: the lowest priority first, of those
    /// who hold the most; so many are free already. Empty when that would not be enough. After a
    /// [recall](Self::recall).
    pub(super) fn least_to_evict(&self, needed: u64, mut free: u64) -> Vec<OwnerUse> {
        let mut owners = self.owners(usize::MAX);
        owners.sort_by_key(|owner| owner.priority);
        let mut chosen = Vec::new();
        for owner in owners {
            if free >= needed {
                break;
            }
            free += owner.granted_bytes.bytes();
            chosen.push(owner);
        }
        if free >= needed { chosen } else { Vec::new() }
    }
}

impl OwnerBook {
    fn new(model: Arc<str>, purpose: Purpose) -> Self {
        Self {
            model,
            purpose,
            granted: 0,
            peak: 0,
            allocations: 0,
            priority: 0,
            budget: None,
            model_budget: None,
        }
    }
}
