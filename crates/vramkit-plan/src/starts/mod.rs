//! When each of several models should start, so that their peaks do not meet.
//!
//! ```text
//! models ─► profiles ─► bound ─┬─► joined ─► boxes (models of one load each; fill) ┬─► starts
//!                              └─► descent ─► fitted ─► repair (any load) ──────────┘   until the peak is the bound or time is up
//! ```
//!
//! On one clock and within a makespan, every model may start at any step that lets it end in time. What counts is
//! the most that is live together: of models of one load each that is a box's height, packed ([`boxes`]; of thousands [`fill`]); of others it
//! is what the sum of their loads rises to, which is lowered by moving models ([`descent`], then [`repair`]). What may have been cut
//! from one whole is put together first ([`joined`], [`fitted`]). Models that are pinned to one place are kept apart ([`pins`]).

mod bound;
mod boxes;
mod choice;
mod descent;
mod fill;
mod fitted;
mod joined;
mod packing;
mod pins;
mod placed;
mod profile;
mod repair;
mod search;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

pub use search::StartsSearch;

use crate::lifetime::{Model, Schedule, on_one_clock};
use crate::lifetime_error::LifetimeError;
use crate::planner::MemoryPlanner;
use vramkit_units::{ByteSize, Step};

use choice::{BOXES, Choice};
use pins::Pins;
use placed::Models;
use profile::Profile;

/// Starts of models, and what they save.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Starts {
    /// One for each model.
    pub starts: Vec<Step>,
    /// Most bytes live together with the starts given.
    pub before: ByteSize,
    /// The first step after all models with the starts given, which may be past the makespan.
    pub given_end: Step,
    /// Most bytes live together with these.
    pub peak: ByteSize,
    /// No starts have less: the largest model's own peak, all models' bytes spread evenly over the makespan, or what cannot
    /// run one after the other within it. Where the peak is the bound there are no better starts.
    pub bound: ByteSize,
    /// Offsets of models of one load each, where that is how their starts were found: no more than a hint
    /// ([`TensorLifetime::hint`](crate::TensorLifetime::hint)) where a model has several tensors.
    pub offsets: Option<Vec<ByteSize>>,
}

/// Why no starts were chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartsError {
    /// The lifetimes themselves cannot be planned.
    #[error(transparent)]
    Lifetimes(#[from] LifetimeError),
    /// No starts were found at which pinned tensors of different models keep apart.
    #[error("{0}, at all starts that were tried; pin them apart, give a larger makespan, or none")]
    Pins(#[source] LifetimeError),
    /// A model takes longer than the makespan.
    #[error(
        "model `{model}` takes {0} steps, more than the makespan of {1}; give at least {0}", steps.0, makespan.0
    )]
    TooLong {
        /// The model.
        model: String,
        /// The first step after it, where it starts at step 0.
        steps: Step,
        /// What there is.
        makespan: Step,
    },
}

/// Chooses starts within a makespan for models on one clock (the fixed schedule), better ones for as long as
/// there is time.
///
/// ```
/// use std::time::Duration;
/// use vramkit_plan::{Model, OrderBudget, StartsSearch, TensorLifetime, choose_starts};
/// use vramkit_units::{ByteSize, Step};
///
/// let model = |name: &str| Model {
///     name: name.into(),
///     weights: ByteSize::ZERO,
///     start: Step(0),
///     tensors: vec![TensorLifetime::new(name, "x", Step(0), Step(4), ByteSize::mib(8))],
/// };
/// let budget = OrderBudget::new(Duration::from_secs(1), &());
/// let search = StartsSearch { seed: 0, threads: 1, budget, capacity: None };
/// let chosen = choose_starts(&[model("a"), model("b")], Step(8), &search)?;
/// assert_eq!((chosen.before, chosen.peak), (ByteSize::mib(16), ByteSize::mib(8)));
/// # Ok::<(), vramkit_plan::StartsError>(())
/// ```
///
/// # Errors
/// What is wrong with the lifetimes, and a model that takes longer than the makespan.
pub fn choose_starts(
    models: &[Model],
    makespan: Step,
    search: &StartsSearch<'_>,
) -> Result<Starts, StartsError> {
    // Checked as a whole once; then each model alone.
    on_one_clock(models, Schedule::Fixed)?;
    let profiles: Vec<Profile> = models.iter().map(Profile::new).collect::<Result<_, LifetimeError>>()?;
    for (model, profile) in models.iter().zip(&profiles) {
        if profile.steps > makespan.0 {
            let model = model.name.to_string();
            return Err(StartsError::TooLong { model, steps: Step(profile.steps), makespan });
        }
    }
    let given: Vec<u64> = models.iter().map(|model| model.start.0).collect();
    let ends = profiles.iter().zip(&given).map(|(profile, start)| start.saturating_add(profile.steps));
    let given_end = Step(ends.max().unwrap_or(0));
    let all = Models::new(&profiles, makespan.0, Pins::new(models)?);
    let mut choice = Choice::new(all, makespan.0, bound::bound(&profiles, makespan.0), search);
    choice.run(&given);
    let mut offsets = None;
    if let Some(packed) = choice.packed.take() {
        // A packing is an arena; fewer bytes live at once may take a larger one, or a smaller where boxes are rounded up.
        let is_lower = || {
            // Of many there is time for that, or there is not.
            let is_late = models.len() > BOXES && search.budget.is_over();
            is_late || arena(models, &choice.starts).map_or(true, |other| packed.arena <= other)
        };
        if packed.arena <= choice.cost.peak || is_lower() {
            (choice.cost, choice.starts) = (choice.models.cost(&packed.starts), packed.starts);
            offsets = Some(packed.offsets.into_iter().map(ByteSize::new).collect());
        }
    }
    // Starts that were given and fit are kept unless others are better.
    let before = choice.models.cost(&given);
    let fits = given.iter().zip(&choice.models.latest).all(|(given, latest)| given <= latest);
    if fits && before <= choice.cost {
        (choice.cost, choice.starts, offsets) = (before, given, None);
    }
    pins::check(models, &choice.starts).map_err(StartsError::Pins)?;
    Ok(Starts {
        starts: choice.starts.into_iter().map(Step).collect(),
        before: ByteSize::new(before.peak),
        given_end,
        peak: ByteSize::new(choice.cost.peak),
        bound: ByteSize::new(choice.bound),
        offsets,
    })
}

/// What an arena for the models comes to at some starts, without a search.
fn arena(models: &[Model], starts: &[u64]) -> Result<u64, LifetimeError> {
    let mut models = models.to_vec();
    models.iter_mut().zip(starts).for_each(|(model, start)| model.start = Step(*start));
    Ok(MemoryPlanner::new().plan(&models, Schedule::Fixed)?.arena_size.bytes())
}
