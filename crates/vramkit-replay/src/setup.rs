//! Which policy there is for a name, a capacity and settings, made afresh for whoever does something with it.

use vramkit_pool::pool::SizeClasses;
use vramkit_units::ByteSize;

use crate::best_fit::BestFit;
use crate::policy::{FirstFit, Policy, PolicyName, Pool};
use crate::pytorch::{Allocator, AllocatorSettings, SettingsError};
use crate::run::{Watch, pass};
use crate::trace::Trace;

/// What a trace is replayed against.
///
/// ```
/// use vramkit_replay::{PolicyName, Setup, Trace, replay};
///
/// let mut trace = Trace::new("by hand");
/// trace.allocate("a", 33 << 20, "")?;
/// let settings = "roundup_power2_divisions:4";
/// let setup = Setup::new(&trace, PolicyName::Pytorch, settings, None)?;
/// assert_eq!(replay(&trace, &setup, false).peak_committed_bytes.bytes(), 40 << 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Setup {
    /// The policy.
    pub policy: PolicyName,
    /// What there is of the device; more than anything needs when `None`.
    pub capacity: Option<ByteSize>,
    /// PyTorch's settings.
    pub settings: AllocatorSettings,
}

impl Setup {
    /// A policy for a trace: PyTorch's with the settings that were recorded, and these on top.
    ///
    /// # Errors
    /// Settings that PyTorch would refuse, or that are not modelled.
    pub fn new(
        trace: &Trace,
        policy: PolicyName,
        settings: &str,
        capacity: Option<ByteSize>,
    ) -> Result<Self, SettingsError> {
        let mut settings = AllocatorSettings::default().with(&trace.recorded_settings)?.with(settings)?;
        settings.expandable_segments |= policy == PolicyName::PytorchExpandable;
        Ok(Self { policy, capacity, settings })
    }

    /// A policy as it comes, on a device without bounds.
    pub fn plain(policy: PolicyName) -> Self {
        let expandable_segments = policy == PolicyName::PytorchExpandable;
        Self {
            policy,
            capacity: None,
            settings: AllocatorSettings { expandable_segments, ..AllocatorSettings::default() },
        }
    }

    pub(crate) fn with_capacity(&self, capacity: Option<ByteSize>) -> Self {
        Self { capacity, ..self.clone() }
    }
}

/// Something that is done with a policy, whichever it is.
pub(crate) trait Act {
    type Outcome;

    fn act(self, policy: impl Policy) -> Self::Outcome;
}

/// A fresh policy; `None` for the plan, which places nothing one at a time.
pub(crate) fn with_policy<A: Act>(trace: &Trace, setup: &Setup, act: A) -> Option<A::Outcome> {
    let capacity = setup.capacity;
    let pool = |classes| Pool::new(classes, capacity, trace);
    // Addresses that no trace needs: below twice what may be live, times what scatters it.
    let fit = || BestFit::new(capacity.map_or(1 << 56, ByteSize::bytes));
    Some(match setup.policy {
        PolicyName::Default => act.act(pool(SizeClasses::default())),
        PolicyName::Exact => act.act(pool(SizeClasses::Exact)),
        PolicyName::Stepped => act.act(pool(SizeClasses::Stepped)),
        PolicyName::Pow2 => act.act(pool(SizeClasses::PowersOfTwo { steps: 8 })),
        PolicyName::BestFit => act.act(fit()),
        PolicyName::FirstFit => act.act(FirstFit(fit())),
        PolicyName::Pytorch | PolicyName::PytorchExpandable => {
            act.act(Allocator::new(setup.settings.clone(), capacity.map(ByteSize::bytes)))
        }
        PolicyName::Offline => return None,
    })
}

/// Passes a trace through a policy under a watch: whether it was passed whole, and most bytes held.
pub(crate) struct Watched<'a, W> {
    pub(crate) trace: &'a Trace,
    pub(crate) watch: &'a mut W,
}

impl<W: Watch> Act for Watched<'_, W> {
    type Outcome = (bool, Option<u64>);

    fn act(self, mut policy: impl Policy) -> Self::Outcome {
        let whole = pass(self.trace, &mut policy, self.watch);
        (whole, policy.peak_committed())
    }
}
