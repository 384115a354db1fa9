//! Whether pinned tensors of different models keep apart at some starts.
//!
//! Starts are chosen by what is live; that two models are pinned to one place is seen afterwards. Then other starts are taken that
//! keep them apart: those that were given, or one model after the other.

use crate::lifetime::{Model, Schedule, on_one_clock};
use crate::lifetime_error::LifetimeError;
use crate::problem::compile;
use vramkit_units::Step;

use super::profile::Profile;

/// The first of several starts at which no pins collide: those chosen, those given where they end in time, and one after the other where
/// that does; else what is wrong with those chosen.
pub(super) fn apart(
    models: &[Model],
    profiles: &[Profile],
    chosen: &[u64],
    given: Option<&[u64]>,
    makespan: u64,
) -> Result<Vec<u64>, LifetimeError> {
    let Err(error) = check(models, chosen) else { return Ok(chosen.to_vec()) };
    let mut next = 0u64;
    let in_turn = profiles.iter().map(|profile| {
        let start = next;
        next = next.saturating_add(profile.steps);
        start
    });
    let in_turn: Vec<u64> = in_turn.collect();
    let others = [given, (next <= makespan).then_some(&*in_turn)];
    let kept = others.into_iter().flatten().find(|starts| check(models, starts).is_ok());
    kept.map(<[u64]>::to_vec).ok_or(error)
}

fn check(models: &[Model], starts: &[u64]) -> Result<(), LifetimeError> {
    if models.iter().flat_map(|model| &model.tensors).all(|tensor| tensor.pinned.is_none()) {
        return Ok(());
    }
    let mut models = models.to_vec();
    models.iter_mut().zip(starts).for_each(|(model, start)| model.start = Step(*start));
    compile(on_one_clock(&models, Schedule::Fixed)?.iter()).map(|_| ())
}
