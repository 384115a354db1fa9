//! A workload from plan to report.
//!
//! In: models with their schedule, a device, a ladder. Out: a [`RunAnswer`], complete. Never here: files, text for people.
//! Plan, check the capacity, make a pool, bind, execute, release, trim; sample memory and read pressure on the
//! way. However it ends, everything is released and the pool is at zero.
//!
//! A dry run is the same code on a stand-in: a simulated device of the same capacity and granularity. It takes no memory
//! and touches no tensor; what it decides is what a run decides, recorded as not done. What depends on how long steps take
//! (cooldowns, dwells) is decided as if they took no time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use vramkit::ByteSize;
use vramkit::device::{Backing, DeviceKind, SimulatedDevice};
use vramkit::loader::LoadOptions;
use vramkit::orchestrator::{
    DegradeRequest, ExecutionError, ExecutionReport, MemoryOrchestrator, PolicyLadder, Standing, Verify,
    execute_or_rehearse,
};
use vramkit::plan::report::{GraphReport, PlanReport, ReportOptions};
use vramkit::plan::{AllocationPlan, MemoryPlanner, Model, Schedule};
use vramkit::pool::{DeviceMemoryPool, Leak};
use vramkit::pressure::PressureLevel;
use vramkit::trace::{Event, TraceCollector};
use vramkit_models::Weights;

use super::answer::RunAnswer;
use super::error::RunError;
use super::report::{ReleaseMismatch, RunReport, SampleReport, UnreadWeights, ViolationReport};
use super::shortage;
use super::trace_sinks::Recording;
use super::weights::FileWeights;

/// Why nothing of a simulated device can be read or seen.
const NO_MEMORY: &str = "a simulated device has no memory behind it";

/// How many violations a report lists.
const LISTED_VIOLATIONS: usize = 20;

/// A model with what it asks for beside memory.
#[derive(Clone, Debug)]
pub struct SessionModel {
    /// Its demand.
    pub model: Model,
    /// How it stands when victims are chosen.
    pub standing: Standing,
    /// When asked to degrade, it makes do with this part of its tensors' sizes, 0..1.
    pub degrade_to_ratio: Option<f64>,
    /// Where its weights are read from whenever it is bound, where they are in a file.
    pub weights: Option<Arc<Weights>>,
    /// What is known of its graph, where it comes from one.
    pub graph: Option<GraphReport>,
}

/// A workload that comes from no file, and how to run it.
///
/// ```
/// use std::sync::Arc;
/// use vramkit::ByteSize;
/// use vramkit::device::SimulatedDevice;
/// use vramkit::orchestrator::{PolicyLadder, Standing, Verify};
/// use vramkit::plan::{MemoryPlanner, Model, Schedule};
/// use vramkit::trace::TraceCollector;
/// use vramkit::units::Step;
/// use vramkit_ask::{Session, SessionModel};
///
/// let model =
///     Model { name: "m".into(), weights: ByteSize::mib(4), start: Step(0), tensors: Vec::new() };
/// let session = Session {
///     name: "one".to_owned(),
///     models: vec![SessionModel { model, standing: Standing::default(), degrade_to_ratio: None, weights: None, graph: None }],
///     schedule: Schedule::Sequential,
///     device: Arc::new(SimulatedDevice::new(ByteSize::mib(64))),
///     capacity: Some(ByteSize::mib(16)),
///     ladder: PolicyLadder::orchestrator(),
///     repetitions: 1,
///     verify: Verify::Stride,
///     dry_run: false,
///     planner: MemoryPlanner::new(),
/// };
/// let answer = session.run(&Arc::new(TraceCollector::new()), &|_| {})?;
/// assert!(answer.is_yes());
/// assert_eq!(answer.report.peak_used_bytes, ByteSize::mib(4));
/// # Ok::<(), vramkit_ask::RunError>(())
/// ```
pub struct Session {
    /// What to call it.
    pub name: String,
    /// The models.
    pub models: Vec<SessionModel>,
    /// How they run beside one another.
    pub schedule: Schedule,
    /// Where the memory comes from.
    pub device: Arc<dyn Backing>,
    /// Most bytes of the pool; what the device has free when not given.
    pub capacity: Option<ByteSize>,
    /// When to act on pressure, and how.
    pub ladder: PolicyLadder,
    /// How often every model runs.
    pub repetitions: u32,
    /// How thoroughly tensors are checked.
    pub verify: Verify,
    /// Decide everything, take no memory.
    pub dry_run: bool,
    /// What plans.
    pub planner: MemoryPlanner,
}

impl Session {
    /// Runs the workload, recording into `trace`. `progress` is told of every step done, of
    /// [`steps`](Self::steps) in all.
    ///
    /// # Errors
    /// Lifetimes that cannot be planned, a capacity that the plan does not fit, a device that fails. Everything was released.
    pub fn run(
        self,
        trace: &Arc<TraceCollector>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<RunAnswer, RunError> {
        self.run_recorded(trace, None, progress)
    }

    /// As [`run`](Self::run); what the pool grants and gets back is recorded.
    pub(crate) fn run_recorded(
        self,
        trace: &Arc<TraceCollector>,
        recording: Option<&Recording>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<RunAnswer, RunError> {
        let start = Instant::now();
        self.ladder.check()?;
        let free = self.device.memory().free_bytes.value;
        let capacity = self.capacity.or(free).unwrap_or(ByteSize::gib(1));
        let models: Vec<Model> = self.models.iter().map(|entry| entry.model.clone()).collect();
        let info = self.device.info();
        let device = if self.dry_run { stand_in(&*self.device, capacity) } else { self.device.clone() };
        let pool = Arc::new(DeviceMemoryPool::new(device, capacity)?);
        if let Some(recording) = recording.cloned() {
            pool.record(vramkit_replay::json_lines(recording));
        }
        let orchestrator = MemoryOrchestrator::new(pool.clone())
            .with_ladder(self.ladder)?
            .with_planner(self.planner)
            .with_trace(trace.clone())
            .with_rehearsal(self.dry_run);
        let plan = orchestrator.plan(&models, self.schedule)?;
        shortage::check(&models, &plan, pool.capacity())?;
        for entry in &self.models {
            // Models that run beside one another are all needed to the end.
            let pinned = entry.standing.pinned || self.schedule != Schedule::Sequential;
            orchestrator.set_standing(&entry.model.name, Standing { pinned, ..entry.standing });
            if let Some(ratio) = entry.degrade_to_ratio {
                orchestrator.on_degrade(&entry.model.name, move |request| Some(scaled(request, ratio)));
            }
        }
        let (weights_read, mut weights_unread) = (Arc::new(AtomicU64::new(0)), Vec::new());
        for entry in self.models.iter().filter(|entry| !entry.model.weights.is_zero()) {
            let (name, Some(weights)) = (&entry.model.name, entry.weights.clone()) else { continue };
            let source = if info.kind == DeviceKind::Simulated {
                Err(NO_MEMORY.to_owned())
            } else {
                let derived =
                    entry.graph.iter().flat_map(|graph| &graph.derived).map(|one| one.size_bytes).sum();
                FileWeights::new(weights, derived, entry.model.weights, weights_read.clone())
            };
            match source {
                Ok(_) if self.dry_run => {}
                Ok(source) => orchestrator.load_from(name, source, LoadOptions::default()),
                Err(reason) => weights_unread.push(UnreadWeights { model: name.to_string(), reason }),
            }
        }
        orchestrator.sample();
        let verify = (!self.dry_run).then_some(self.verify);
        let executed = bind_and_execute(&orchestrator, &plan, self.repetitions, verify, progress);
        let release_mismatches = release_all(&orchestrator, &models);
        let note = |event| trace.note(event, !self.dry_run);
        let peak = pool.stats();
        let used_after_release = pool.used();
        leaks(&pool).into_iter().for_each(note);
        let trimmed = orchestrator.trim();
        orchestrator.sample();
        let executed = executed.inspect_err(|error| note(Event::Failed { error: error.to_string() }))?;
        trimmed?;
        let (readings, level_changes) = orchestrator.readings();
        let (samples, dropped) = (trace.samples(), trace.dropped());
        let weights: ByteSize = plan.models.iter().map(|model| model.weights).sum();
        let or_none = |bytes: ByteSize| if self.dry_run { ByteSize::ZERO } else { bytes };
        let with_weights = |bytes: ByteSize| bytes.checked_add(weights).unwrap_or(ByteSize::MAX);
        let (together, apart) = (with_weights(plan.arena_size), with_weights(plan.sum_of_peaks()));
        let graphs = self.models.iter().map(|entry| entry.graph.clone()).collect();
        let within = ReportOptions { capacity: Some(capacity), graphs, ..ReportOptions::default() };
        let report = RunReport {
            schema: "vramkit.run/1",
            name: self.name,
            plan: PlanReport::new(&plan, &within),
            device: info.clone(),
            capacity_bytes: capacity,
            dry_run: self.dry_run,
            repetitions: self.repetitions,
            reduction_of_sum_of_sizes_ratio: plan.reduction_of(plan.sum_of_sizes()),
            reduction_of_sum_of_peaks_ratio: plan.reduction_of(plan.sum_of_peaks()),
            weights_bytes: weights,
            weights_read_bytes: ByteSize::new(weights_read.load(Relaxed)),
            weights_unread,
            together_bytes: together,
            apart_bytes: apart,
            reduction_of_apart_ratio: apart.saturating_sub(together).ratio_of(apart),
            peak_used_bytes: peak.peak_used_bytes,
            peak_committed_bytes: or_none(peak.peak_committed_bytes),
            system_peak_bytes: trace.system_peak(),
            system_peak_unavailable: trace
                .system_peak()
                .is_none()
                .then(|| no_system(info.kind, self.dry_run)),
            used_after_release_bytes: used_after_release,
            release_mismatches,
            committed_after_trim_bytes: pool.committed(),
            verified_tensors: executed.verified_tensors,
            aliasing_violations: executed.aliasing_violations,
            violations: executed
                .violations
                .iter()
                .take(LISTED_VIOLATIONS)
                .map(ViolationReport::new)
                .collect(),
            stall_seconds: executed.stalled.as_secs_f64(),
            elapsed_seconds: start.elapsed().as_secs_f64(),
            levels: PressureLevel::ALL.into_iter().zip(readings).collect::<BTreeMap<_, _>>(),
            level_changes,
            samples: samples.iter().map(SampleReport::new).collect(),
            decisions: trace.events(),
            dropped,
        };
        Ok(RunAnswer { report, plan })
    }

    /// Steps of all models over all repetitions, for a progress bar.
    pub fn steps(&self) -> u64 {
        let steps = |model: &Model| {
            let tensors = model.tensors.iter().filter(|tensor| tensor.takes_room());
            let steps: std::collections::BTreeSet<_> = tensors
                .flat_map(|tensor| tensor.read_steps().chain(tensor.runs().map(|(start, _)| start)))
                .collect();
            steps.len() as u64
        };
        self.models.iter().map(|entry| steps(&entry.model)).sum::<u64>() * u64::from(self.repetitions)
    }
}

/// Releases every model: those whose release did not make used bytes fall by what it gave back. Nobody else uses the pool.
fn release_all(orchestrator: &MemoryOrchestrator, models: &[Model]) -> Vec<ReleaseMismatch> {
    let mismatch = |model: &Model| {
        let before = orchestrator.pool().used();
        let freed_bytes = orchestrator.release(&model.name).freed;
        let fell_bytes = before.saturating_sub(orchestrator.pool().used());
        let model = model.name.to_string();
        (fell_bytes != freed_bytes).then_some(ReleaseMismatch { model, freed_bytes, fell_bytes })
    };
    models.iter().filter_map(mismatch).collect()
}

/// What is live when everything should have been released.
fn leaks(pool: &DeviceMemoryPool) -> Vec<Event> {
    let event = |leak: Leak| Event::Leak {
        model: leak.model.to_string(),
        tag: leak.tag,
        requested_bytes: leak.requested_bytes,
    };
    pool.live().leaks.into_iter().map(event).collect()
}

/// What a dry run decides on: as large as the pool, committed by the same granule, with addresses as cheap.
fn stand_in(device: &dyn Backing, capacity: ByteSize) -> Arc<dyn Backing> {
    let granularity = device.info().granularity;
    let whole = capacity.checked_align_up(granularity.bytes().max(1)).unwrap_or(capacity);
    let builder = SimulatedDevice::builder(whole).granularity(granularity);
    Arc::new(builder.virtual_memory(device.has_virtual_memory()).build())
}

/// Why the system has no say in how much is resident.
fn no_system(kind: DeviceKind, dry_run: bool) -> String {
    let reason = match kind {
        _ if dry_run => "a dry run takes no memory",
        DeviceKind::Simulated => NO_MEMORY,
        _ => "the system does not tell",
    };
    reason.to_owned()
}

/// Binds everything (a sequential plan's models one by one, as their turn comes), then executes.
fn bind_and_execute(
    orchestrator: &MemoryOrchestrator,
    plan: &Arc<AllocationPlan>,
    repetitions: u32,
    verify: Option<Verify>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ExecutionReport, ExecutionError> {
    if plan.schedule != Schedule::Sequential {
        for model in &plan.models {
            orchestrator.admit(&model.name, plan, Duration::ZERO).map_err(ExecutionError::Bind)?;
            orchestrator.sample();
        }
        if orchestrator.current_pressure() > PressureLevel::Normal {
            orchestrator.handle_pressure();
            orchestrator.sample();
        }
    }
    let report = execute_or_rehearse(orchestrator, plan, repetitions, verify, progress)?;
    orchestrator.sample();
    Ok(report)
}

/// A model with all of its tensors scaled down.
fn scaled(request: &DegradeRequest, ratio: f64) -> Model {
    let mut model = request.current.clone();
    for tensor in &mut model.tensors {
        tensor.size = ByteSize::new((tensor.size.bytes() as f64 * ratio).ceil() as u64);
    }
    model
}

#[cfg(test)]
mod tests {
    use super::*;
    use vramkit::pool::{Purpose, Request};

    #[test]
    fn what_is_live_at_the_end_is_a_leak() {
        let capacity = ByteSize::mib(64);
        let pool = DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap();
        assert!(leaks(&pool).is_empty());
        let owner = pool.owner("llama", Purpose::Kv);
        let _live =
            pool.allocate(Request::new(ByteSize::mib(3)).owner(owner).tag(pool.tag("block"))).unwrap();
        let leak = Event::Leak {
            model: "llama".to_owned(),
            tag: "block".to_owned(),
            requested_bytes: ByteSize::mib(3),
        };
        assert_eq!(leaks(&pool), [leak]);
    }
}
