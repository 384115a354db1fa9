//! Who may hold what: owners by number, the models that they belong to, their budgets and priorities.
//!
//! An owner is a model and a purpose. Its [id](OwnerId) has a number, which the table of blocks keeps with each
//! allocation, and a generation, so that an id outlives its owner without becoming another's. Everything here is changed
//! under the book's lock, and each operation but the reports takes the same time however many owners there are.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::ids::{OwnerId, UnknownOwner};
use super::stats::OwnerUse;
use vramkit_units::ByteSize;
use vramkit_units::{Holder, Purpose};

/// Numbers of owners are below; this one is of ids that could not be given.
pub(super) const OWNERS: usize = u16::MAX as usize;

/// Every owner of a pool.
pub(super) struct Owners {
    /// By number; nobody is the first.
    all: Vec<Owner>,
    models: Vec<Model>,
    numbers: HashMap<(Holder, Purpose), u16>,
    model_numbers: HashMap<Holder, u32>,
    /// Numbers of owners that were forgotten, the one free for longest first.
    vacant: VecDeque<u16>,
    vacant_models: Vec<u32>,
}

/// One owner. Bytes, where nothing else is said.
pub(super) struct Owner {
    /// Goes up when the number becomes nobody's, and when it becomes another's.
    generation: u16,
    /// Whether its own or its model's budget has to be asked.
    capped: bool,
    pub(super) granted: u64,
    pub(super) peak: u64,
    /// Of what is granted: released, and still in use by streams.
    pub(super) pending: u64,
    pub(super) allocations: u64,
    pub(super) purpose: Purpose,
    priority: u8,
    /// Whether somebody outside has its id.
    named: bool,
    model: u32,
    budget: Option<u64>,
}

struct Model {
    name: Holder,
    budget: Option<u64>,
    /// As many as there are purposes, at most.
    owners: Vec<u16>,
}

/// A budget that a grant would pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Excess {
    /// Of the whole model, not of one purpose.
    pub(super) whole_model: bool,
    pub(super) held: u64,
    pub(super) budget: u64,
}

impl Owners {
    /// Nobody alone.
    pub(super) fn new() -> Self {
        let mut owners = Self {
            all: Vec::new(),
            models: Vec::new(),
            numbers: HashMap::new(),
            model_numbers: HashMap::new(),
            vacant: VecDeque::new(),
            vacant_models: Vec::new(),
        };
        let nobody = owners.register(Holder::Nobody, Purpose::Other);
        debug_assert_eq!(nobody, Some(OwnerId::NONE));
        owners
    }

    /// The id of an owner, which is new if it has none; `None` when there is no number left.
    pub(super) fn register(&mut self, model: Holder, purpose: Purpose) -> Option<OwnerId> {
        let key = (model, purpose);
        if let Some(&number) = self.numbers.get(&key) {
            return Some(self.id(number));
        }
        let number = match self.vacant.pop_front() {
            Some(number) => number,
            None if self.all.len() < OWNERS => self.all.len() as u16,
            None => return None,
        };
        let model = self.model(&key.0);
        self.models[model as usize].owners.push(number);
        let generation = self.all.get(usize::from(number)).map_or(0, |old| old.generation.wrapping_add(1));
        let owner = Owner {
            generation,
            capped: self.models[model as usize].budget.is_some(),
            granted: 0,
            peak: 0,
            pending: 0,
            allocations: 0,
            purpose,
            priority: 0,
            named: false,
            model,
            budget: None,
        };
        match self.all.get_mut(usize::from(number)) {
            Some(place) => *place = owner,
            None => self.all.push(owner),
        }
        self.numbers.insert(key, number);
        Some(self.id(number))
    }

    /// Notes that somebody outside has an owner's id.
    pub(super) fn name_it(&mut self, number: u16) {
        self.at(number).named = true;
    }

    /// Whether nothing is lost when an owner is forgotten: nobody has its id, it holds nothing and nothing is set for it.
    pub(super) fn is_spare(&self, number: u16) -> bool {
        let owner = self.get(number);
        let idle = owner.granted == 0 && owner.allocations == 0;
        idle && !owner.named && owner.budget.is_none() && owner.priority == 0
    }

    /// Frees an owner's number for another one. It holds nothing, and is not nobody.
    pub(super) fn forget(&mut self, number: u16) {
        let owner = &mut self.all[usize::from(number)];
        owner.generation = owner.generation.wrapping_add(1);
        let (model, purpose) = (owner.model, owner.purpose);
        let of_model = &mut self.models[model as usize];
        of_model.owners.retain(|&other| other != number);
        let name = of_model.name.clone();
        self.numbers.remove(&(name, purpose));
        self.vacant.push_back(number);
        self.forget_model_without_use(model);
    }

    /// The id that an owner has now.
    pub(super) fn id(&self, number: u16) -> OwnerId {
        OwnerId { number, generation: self.all[usize::from(number)].generation }
    }

    /// The number of an id's owner.
    #[inline(always)]
    pub(super) fn known(&self, id: OwnerId) -> Result<u16, UnknownOwner> {
        match self.all.get(usize::from(id.number)) {
            Some(owner) if owner.generation == id.generation => Ok(id.number),
            _ => Err(if id == OwnerId::TOO_MANY { UnknownOwner::TooMany } else { UnknownOwner::Forgotten }),
        }
    }

    #[inline(always)]
    pub(super) fn at(&mut self, number: u16) -> &mut Owner {
        &mut self.all[usize::from(number)]
    }

    pub(super) fn get(&self, number: u16) -> &Owner {
        &self.all[usize::from(number)]
    }

    pub(super) fn name(&self, number: u16) -> (Holder, Purpose) {
        let owner = &self.all[usize::from(number)];
        (self.models[owner.model as usize].name.clone(), owner.purpose)
    }

    /// The names of all, by number.
    pub(super) fn names(&self) -> Vec<(Holder, Purpose)> {
        (0..self.all.len()).map(|number| self.name(number as u16)).collect()
    }

    pub(super) fn set_priority(&mut self, number: u16, priority: u8) {
        self.at(number).priority = priority;
    }

    pub(super) fn set_budget(&mut self, number: u16, budget: Option<u64>) {
        let owner = &mut self.all[usize::from(number)];
        owner.budget = budget;
        owner.capped = budget.is_some() || self.models[owner.model as usize].budget.is_some();
    }

    /// Caps what every purpose of a model may hold together, those that are named later included. Returns the numbers of
    /// those that there are.
    pub(super) fn set_model_budget(&mut self, model: &Holder, budget: Option<u64>) -> Vec<u16> {
        let at = self.model(model);
        self.models[at as usize].budget = budget;
        let owners = self.models[at as usize].owners.clone();
        for &number in &owners {
            let owner = self.at(number);
            owner.capped = budget.is_some() || owner.budget.is_some();
        }
        self.forget_model_without_use(at);
        owners
    }

    /// A model's place, made when it has none.
    fn model(&mut self, name: &Holder) -> u32 {
        if let Some(&at) = self.model_numbers.get(name) {
            return at;
        }
        let model = Model { name: name.clone(), budget: None, owners: Vec::new() };
        let at = match self.vacant_models.pop() {
            Some(at) => {
                self.models[at as usize] = model;
                at
            }
            None => {
                self.models.push(model);
                self.models.len() as u32 - 1
            }
        };
        self.model_numbers.insert(name.clone(), at);
        at
    }

    fn forget_model_without_use(&mut self, at: u32) {
        let model = &self.models[at as usize];
        if model.owners.is_empty() && model.budget.is_none() {
            self.model_numbers.remove(&model.name);
            self.vacant_models.push(at);
        }
    }

    /// Whether an owner may be granted so many bytes more.
    #[inline(always)]
    pub(super) fn check(&self, number: u16, granted: u64) -> Result<(), Excess> {
        if self.all[usize::from(number)].capped { self.check_budgets(number, granted) } else { Ok(()) }
    }

    #[cold]
    fn check_budgets(&self, number: u16, granted: u64) -> Result<(), Excess> {
        let check = |whole_model, held: u64, budget: Option<u64>| match budget {
            Some(budget) if held.saturating_add(granted) > budget => {
                Err(Excess { whole_model, held, budget })
            }
            _ => Ok(()),
        };
        let owner = &self.all[usize::from(number)];
        check(false, owner.granted, owner.budget)?;
        let model = &self.models[owner.model as usize];
        check(true, model.owners.iter().map(|&other| self.get(other).granted).sum(), model.budget)
    }

    /// As [`check`](Self::check), when so many bytes of what is granted are the owner's already, and so many its model's.
    pub(super) fn check_again(&self, number: u16, granted: u64, own: u64, models: u64) -> Result<(), Excess> {
        let owner = self.get(number);
        if !owner.capped {
            return Ok(());
        }
        let model = &self.models[owner.model as usize];
        let held: u64 = model.owners.iter().map(|&other| self.get(other).granted).sum();
        let over = |held: u64, budget: Option<u64>| budget.is_some_and(|budget| held + granted > budget);
        if over(owner.granted - own, owner.budget) || over(held - models, model.budget) {
            return self.check(number, granted);
        }
        Ok(())
    }

    /// Whether an owner holds more than it may: its budget was set when it did already.
    pub(super) fn is_over(&self, number: u16) -> bool {
        self.check(number, 0).is_err()
    }

    /// Numbers of the owners of an owner's model, itself included.
    pub(super) fn of_model(&self, number: u16) -> &[u16] {
        &self.models[self.get(number).model as usize].owners
    }

    pub(super) fn generation(&self, number: u16) -> u16 {
        self.get(number).generation
    }

    /// Allocations of all owners.
    pub(super) fn allocations(&self) -> u64 {
        self.all.iter().map(|owner| owner.allocations).sum()
    }

    /// What owners hold that hold anything, most first.
    pub(super) fn holding(&self, most: usize) -> Vec<OwnerUse> {
        let mut holding: Vec<u16> =
            (0..self.all.len() as u16).filter(|&number| self.get(number).granted > 0).collect();
        holding.sort_by_key(|&number| std::cmp::Reverse(self.get(number).granted));
        let uses = holding.into_iter().take(most).map(|number| {
            let (owner, (model, purpose)) = (self.get(number), self.name(number));
            OwnerUse {
                model,
                purpose,
                granted_bytes: ByteSize::new(owner.granted),
                peak_bytes: ByteSize::new(owner.peak),
                allocations: owner.allocations,
                priority: owner.priority,
                budget_bytes: owner.budget.map(ByteSize::new),
            }
        });
        uses.collect()
    }

    /// Who would have to give up everything for so many bytes to be free: the lowest priority first, of those
    /// who hold the most; so many are free already. Empty when that would not be enough.
    pub(super) fn least_to_evict(&self, needed: u64, mut free: u64) -> Vec<OwnerUse> {
        let mut owners = self.holding(usize::MAX);
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

/// The names of tags.
pub(super) struct Tags {
    /// By number; no tag is the first.
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u16>,
}

impl Tags {
    pub(super) fn new() -> Self {
        let none: Arc<str> = "".into();
        Self { names: vec![none.clone()], numbers: HashMap::from([(none, 0)]) }
    }

    /// The number of a tag, which is new if it has none; `None` when there is none left.
    pub(super) fn register(&mut self, name: &str) -> Option<u16> {
        if let Some(&number) = self.numbers.get(name) {
            return Some(number);
        }
        let number = u16::try_from(self.names.len()).ok().filter(|&number| number < u16::MAX)?;
        let name = Arc::<str>::from(name);
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        Some(number)
    }

    /// A tag's name; empty for no tag.
    pub(super) fn name(&self, number: u16) -> &str {
        self.names.get(usize::from(number)).map_or(UNKNOWN_TAG, |name| name)
    }

    /// Every tag, by its number.
    pub(super) fn names(&self) -> &[Arc<str>] {
        &self.names
    }
}

/// What reports say for a tag that there was no number for, or that another pool gave.
pub(super) const UNKNOWN_TAG: &str = "(a tag beyond 65,534, or of another pool)";

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn named(name: &str) -> Holder {
        Holder::from(name)
    }

    #[test]
    fn numbers_run_out_with_a_word_and_come_back_when_an_owner_is_forgotten() {
        let mut owners = Owners::new();
        let ids: Vec<OwnerId> = (1..OWNERS)
            .map(|i| owners.register(named(&i.to_string()), Purpose::Kv).expect("there are numbers"))
            .collect();
        assert_eq!(owners.register(named("one more"), Purpose::Kv), None);
        assert_eq!(owners.known(OwnerId::TOO_MANY), Err(UnknownOwner::TooMany));
        assert_eq!(owners.register(named("7"), Purpose::Kv), Some(ids[6]), "a known one is found");
        let number = owners.known(ids[6]).unwrap();
        owners.forget(number);
        assert_eq!(owners.known(ids[6]), Err(UnknownOwner::Forgotten));
        let new = owners.register(named("one more"), Purpose::Kv).expect("a number is free again");
        assert_eq!(owners.known(new), Ok(number));
        assert_eq!(owners.known(ids[6]), Err(UnknownOwner::Forgotten), "an id does not become another's");
        assert_eq!(owners.name(number), (named("one more"), Purpose::Kv));
    }

    #[test]
    fn a_models_budget_holds_for_purposes_named_later_and_goes_with_the_last() {
        let mut owners = Owners::new();
        assert!(owners.set_model_budget(&named("m"), Some(10)).is_empty());
        let kv = owners.register(named("m"), Purpose::Kv).unwrap();
        let number = owners.known(kv).unwrap();
        assert!(owners.check(number, 10).is_ok() && owners.check(number, 11).is_err());
        assert_eq!(owners.set_model_budget(&named("m"), None), [number]);
        assert!(owners.check(number, 11).is_ok());
        owners.forget(number);
        assert!(!owners.model_numbers.contains_key(&named("m")));
        assert_eq!(owners.models.len() - owners.vacant_models.len(), 1, "nobody's");
    }

    #[test]
    fn a_tag_too_many_is_told_from_no_tag() {
        let mut tags = Tags::new();
        assert_eq!(tags.register(""), Some(0));
        for i in 1..u16::MAX {
            assert_eq!(tags.register(&i.to_string()), Some(i));
        }
        assert_eq!((tags.register("one more"), tags.register("9")), (None, Some(9)));
        assert_eq!((tags.name(9), tags.name(0), tags.name(u16::MAX)), ("9", "", UNKNOWN_TAG));
    }
}
