//! What is the same for a graph and all graphs inside it: what the user said, what was found on the way, and how much
//! work and memory may still be spent, in proportion to the file.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};

use super::derived::Derived;
use super::fact::{Fact, Other};
use super::measured::Measured;
use super::open::OpenDimension;
use super::proto::NodeProto;
use super::value::Value;

/// Looks at a node, at most: so many in any case, and so many for each byte of the graph's structure.
const VISITS: (u64, u64) = (3 << 17, 1);
/// Elements of values that are made on the way: so many in any case, and so many for each byte of structure.
const ELEMENTS: (u64, u64) = (1 << 22, 4);
/// Elements of values that rules go through, once for each axis.
const READ: (u64, u64) = (1 << 25, 16);
/// Values of so few elements are as small as the tensor's own entry.
const FEW: usize = 64;
const MOST_NOTES: usize = 100;

/// What holds for all graphs of a file.
pub(super) struct Context<'a> {
    pub(super) opset: i64,
    /// Whether an initialiser that is an input as well can be given anew for a run: since IR version 4.
    pub(super) can_override: bool,
    pub(super) dims: &'a BTreeMap<String, u64>,
    pub(super) measured: &'a Measured,
    pub(super) found: RefCell<Found>,
    visits: Cell<u64>,
    half: u64,
    elements: Cell<u64>,
    read: Cell<u64>,
    /// Whether the last error was that shapes do not go together, rather than that something is not known.
    pub(super) contradicts: Cell<bool>,
}

/// What was found on the way.
#[derive(Default)]
pub(super) struct Found {
    /// Tensors whose size is the most that it can be, as it depends on data: the operator that makes each.
    pub(super) bounds: BTreeMap<String, String>,
    /// Dimensions that need a size from the user, in the order in which they are met.
    pub(super) open: Vec<OpenDimension>,
    met: HashSet<String>,
    /// What the sizes and shapes that were given say of tensors that are otherwise known.
    pub(super) notes: Vec<String>,
    /// Nodes of which a branch is taken not to run, as it fits no shape, and why.
    pub(super) left_out: BTreeMap<String, String>,
    /// Tensors whose bytes are not counted.
    pub(super) uncounted: BTreeMap<String, String>,
    /// What is computed from weights, by the node (its address) and output that make it: a body is seen more than once.
    pub(super) derived: BTreeMap<(usize, usize), Derived>,
}

impl<'a> Context<'a> {
    /// `structure` is how many bytes the file has without its weights.
    pub(super) fn new(
        opset: i64,
        dims: &'a BTreeMap<String, u64>,
        measured: &'a Measured,
        structure: u64,
    ) -> Self {
        let most = |(any, each): (u64, u64)| Cell::new(any.saturating_add(structure.saturating_mul(each)));
        let found = RefCell::default();
        let (visits, elements, read) = (most(VISITS), most(ELEMENTS), most(READ));
        let half = visits.get() / 2;
        Self {
            half,
            opset,
            can_override: false,
            dims,
            measured,
            found,
            visits,
            elements,
            read,
            contradicts: Cell::new(false),
        }
    }

    /// Whether loops may still be followed run by run: half of the work is kept for what has to be looked at once.
    pub(super) fn can_follow(&self) -> bool {
        self.visits.get() > self.half
    }

    /// Looks at one more node.
    pub(super) fn visit(&self, node: &NodeProto) -> Result<(), String> {
        let cost = 1 + (node.input.len() + node.output.len()) as u64 / 8;
        let left = self.visits.get().checked_sub(cost).ok_or(
            "its loops take more steps to follow than a file of its size may; give the sizes that they lead to",
        )?;
        self.visits.set(left);
        Ok(())
    }

    /// Whether a rule may go through the values of these.
    pub(super) fn read(&self, inputs: &[Option<&Fact>]) -> bool {
        let cost = |fact: &&Fact| match fact.value.as_ref().map_or(0, Value::len) {
            few if few <= FEW => 0,
            many => (many as u64).saturating_mul(1 + fact.rank() as u64),
        };
        let cost = inputs.iter().flatten().map(cost).fold(0u64, u64::saturating_add);
        let left = self.read.get().checked_sub(cost);
        self.read.set(left.unwrap_or(0));
        left.is_some()
    }

    pub(super) fn note(&self, note: String) {
        let mut found = self.found.borrow_mut();
        if !found.notes.contains(&note) && found.notes.len() < MOST_NOTES {
            found.notes.push(note);
        }
    }

    /// Keeps what a node makes, as long as there is room for its values.
    pub(super) fn keep(&self, mut fact: Fact) -> Result<Fact, String> {
        let spend = |n: usize| {
            let left = self.elements.get().checked_sub(n as u64);
            self.elements.set(left.unwrap_or(0));
            left.is_some()
        };
        if let Some(Other::Sequence(elements)) = &fact.other
            && !spend(elements.len().saturating_mul(16))
        {
            return Err("its sequences have more elements than a file of its size may".to_owned());
        }
        if fact.value.as_ref().is_some_and(|value| value.len() > FEW && !spend(value.len())) {
            fact.value = None;
        }
        Ok(fact)
    }

    /// Whether values were left behind for want of room.
    pub(super) fn is_full(&self) -> bool {
        self.elements.get() == 0 || self.read.get() == 0
    }

    /// Notes a tensor that is planned for the most that it can be.
    pub(super) fn bounded(&self, tensor: &str, node: &NodeProto) {
        self.found.borrow_mut().bounds.insert(tensor.to_owned(), node.op_type.clone());
    }

    pub(super) fn uncounted(&self, tensor: &str, what: &str) {
        self.found.borrow_mut().uncounted.insert(tensor.to_owned(), what.to_owned());
    }

    pub(super) fn open(&self, dimensions: Vec<OpenDimension>) {
        let mut found = self.found.borrow_mut();
        for dimension in dimensions {
            if found.met.insert(dimension.name.clone()) {
                found.open.push(dimension);
            }
        }
    }
}
