//! What files ask for, and what the user says as they are read: types alone, which readers fill in.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use vramkit_plan::{Model, PoolLimit, Schedule};
use vramkit_pressure::PolicyLadder;
use vramkit_units::ByteSize;

use crate::graph_source::GraphSource;
use crate::onnx::OrderSaving;
use crate::table::LifetimeTable;
use crate::weights::Weights;

/// The alignment of tensors that do not say otherwise, outside of lifetime tables, in bytes.
pub const ALIGNMENT: u64 = 256;

/// What the user says about files as they are read.
///
/// ```
/// use vramkit_models::ReadOptions;
///
/// let options = ReadOptions {
///     dims: [("batch".to_owned(), 8)].into(),
///     ..ReadOptions::default()
/// };
/// # assert!(!options.in_place);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Alignment of tensors without their own, in bytes, a power of two; 1 in tables and 256 elsewhere when not given.
    pub alignment: Option<u64>,
    /// Sizes of symbolic dimensions of graphs, in elements, by the dimension's name or by its place (`input[0]`).
    pub dims: BTreeMap<String, u64>,
    /// A file of shapes that a runtime measured, for tensors of graphs whose sizes depend on data: a JSON object of tensors and
    /// their shapes, or a profile that ONNX Runtime wrote.
    pub shapes: Option<PathBuf>,
    /// Whether operators that can work in place are taken to do so.
    pub in_place: bool,
    /// Whether lifetime tables may count on several clocks. Their steps are then sets of tensors that may all be live together, which can be
    /// planned but neither run nor put on one clock with others: [`LifetimeTable::clocks`].
    pub several_clocks: bool,
}

/// What one model of a workload asks for beside its memory.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Lower goes first when memory is needed.
    pub priority: i32,
    /// When asked to degrade, the model makes do with this part of its tensors' sizes, within (0, 1).
    pub degrade_to_ratio: Option<f64>,
    /// Whether its tensors come from a model file.
    pub from_file: bool,
    /// What another order of its steps saved, once [`Demand::reorder`] has looked for one.
    pub order: Option<OrderSaving>,
    /// Where its weights can be read from: an ONNX model's own. A workload may state another number of bytes for them
    /// ([`ModelEntry::weights`](crate::workload::ModelEntry::weights)), which is what [`Model::weights`] then says.
    pub weights: Option<Arc<Weights>>,
    /// The graph that its tensors come from, where they do.
    pub(crate) graph: Option<GraphSource>,
}

/// What files ask for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Demand {
    /// What to call it.
    pub name: String,
    /// The models.
    pub models: Vec<Model>,
    /// What each asks for beside its memory, in the same order.
    pub settings: Vec<Settings>,
    /// The schedule that the file names.
    pub schedule: Option<Schedule>,
    /// The capacity that the file names.
    pub capacity: Option<ByteSize>,
    /// Kinds of memory, the preferred first; empty for one without a limit.
    pub pools: Vec<PoolLimit>,
    /// How often every model runs.
    pub repetitions: u32,
    /// The ladder that the file names.
    pub ladder: Option<PolicyLadder>,
    /// The rows, when the demand is one lifetime table.
    pub table: Option<LifetimeTable>,
}

impl Demand {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            models: Vec::new(),
            settings: Vec::new(),
            schedule: None,
            capacity: None,
            pools: Vec::new(),
            repetitions: 1,
            ladder: None,
            table: None,
        }
    }
}
