//! `VramMonitor`: limits, generations, leaks and sampling by itself, of a device or of one pool.

use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};
use serde_json::Value;
use vramkit::monitor::leak::GenerationConfig;
use vramkit::monitor::{Limits, MemoryPressureError, MonitorConfig, Passed, VramMonitor as Monitor};

use crate::callback::{Callback, Callbacks, interrupted};
use crate::device::Place;
use crate::errors;
use crate::memory_monitor::{history, margin, subscribe};
use crate::memory_pool::DeviceMemoryPool;
use crate::sampling::Sampling;
use crate::size::{Size, seconds};
use crate::snapshot::pressure;
use crate::source::WithFrameworks;
use crate::stats::MemoryStats;
use crate::vram_snapshot::VramSnapshot;

/// Watches a device, or one pool: limits that warn and raise, generations of work that should not grow, and, where it is started, growth,
/// leaks by owner and when it will be full.
///
/// `soft_limit` and `hard_limit` (bytes, or text such as `"20GiB"`; both or neither) are judged by what the source holds. `leak_threshold`
/// is how much more than after a warm-up of `leak_warm_up` generations (100) may be held; it is looked at every `leak_every` (25). `cleanup_threshold` is as in `GPUMemoryMonitor`.
///
/// >>> pool = vramkit.DeviceMemoryPool(vramkit.SimulatedDevice("8GiB"), "8GiB")
/// >>> monitor = vramkit.VramMonitor(pool, soft_limit="4GiB", hard_limit="6GiB")
/// >>> weights = pool.allocate("7GiB")
/// >>> monitor.check_limits("loading")
/// Traceback (most recent call last):
///     ...
/// vramkit.errors.MemoryPressureError: hard limit passed: loading: 7 GiB held, limit 6 GiB, 1 GiB too much; release memory or raise the limit
#[pyclass(frozen, weakref, module = "vramkit")]
pub struct VramMonitor {
    pub monitor: Monitor,
    /// Whether what is held is a counter in memory.
    is_pool: bool,
    id: String,
    callbacks: Callbacks,
}

fn numbers(passed: &Passed) -> [(&'static str, Value); 5] {
    [
        ("context", passed.context.as_str().into()),
        ("current_bytes", passed.current_bytes.bytes().into()),
        ("requested_bytes", passed.requested_bytes.bytes().into()),
        ("limit_bytes", passed.limit_bytes.bytes().into()),
        ("excess_bytes", passed.excess_bytes.bytes().into()),
    ]
}

impl VramMonitor {
    /// Whatever came of a check, as Python's: a warning is warned of and returned, an error raised.
    fn judged<'py>(
        py: Python<'py>,
        outcome: Result<Option<vramkit::monitor::MemoryPressureWarning>, MemoryPressureError>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match outcome {
            Ok(None) => Ok(None),
            Ok(Some(warning)) => {
                let made = errors::instance(
                    py,
                    "MemoryPressureWarning",
                    &warning.to_string(),
                    &numbers(&warning.0),
                )?;
                errors::warn_of(py, &made)?;
                Ok(Some(made))
            }
            Err(error) => {
                let numbers: &[(&str, Value)] = match &error {
                    MemoryPressureError::Passed(passed) => &numbers(passed),
                    _ => &[],
                };
                Err(errors::raised(py, "MemoryPressureError", &error.to_string(), numbers))
            }
        }
    }
}

#[pymethods]
impl VramMonitor {
    #[new]
    #[pyo3(
        signature = (
            source = None, *, soft_limit = None, hard_limit = None, limit_hold = 5.0, cleanup_threshold = Some(0.85),
            cleanup_cooldown = 30.0, cleanup_at_soft_limit = false, leak_threshold = None, leak_warm_up = None, leak_every = None,
            history = 1000
        ),
        text_signature = "(source=0, *, soft_limit=None, hard_limit=None, limit_hold=5.0, cleanup_threshold=0.85, cleanup_cooldown=30.0, cleanup_at_soft_limit=False, leak_threshold=None, leak_warm_up=None, leak_every=None, history=1000)"
    )]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        source: Option<Bound<'_, PyAny>>,
        soft_limit: Option<Size>,
        hard_limit: Option<Size>,
        limit_hold: f64,
        cleanup_threshold: Option<f64>,
        cleanup_cooldown: f64,
        cleanup_at_soft_limit: bool,
        leak_threshold: Option<Size>,
        leak_warm_up: Option<u64>,
        leak_every: Option<u64>,
        history: usize,
    ) -> PyResult<Self> {
        let limits = match (soft_limit, hard_limit) {
            (Some(soft), Some(hard)) => {
                Some(Limits::new(soft.0, hard.0).map_err(|error| PyValueError::new_err(error.to_string()))?)
            }
            (None, None) => None,
            _ => {
                return Err(PyTypeError::new_err(
                    "soft_limit and hard_limit go together: give both, or neither",
                ));
            }
        };
        let usual = GenerationConfig::default();
        let config = MonitorConfig {
            limits,
            limit_hold: seconds("limit_hold", limit_hold)?,
            cleanup_threshold,
            cleanup_cooldown: seconds("cleanup_cooldown", cleanup_cooldown)?,
            cleanup_at_soft_limit,
            generations: GenerationConfig {
                warm_up: leak_warm_up.unwrap_or(usual.warm_up),
                every: leak_every.unwrap_or(usual.every),
                threshold: leak_threshold.map_or(usual.threshold, |size| size.0),
            },
            history,
            ..MonitorConfig::default()
        };
        let pool = source.as_ref().and_then(|source| source.cast::<DeviceMemoryPool>().ok());
        let (source, is_pool, id) = match (pool, &source) {
            (Some(pool), _) => (pool.get().source(), true, pool.get().source().device().id),
            (None, place) => {
                let place = match place {
                    Some(place) => place.extract::<Place>()?,
                    None => Place::first(py)?,
                };
                let source: Arc<dyn vramkit::monitor::MemorySource> =
                    Arc::new(WithFrameworks::new(place.source(py)?));
                (source, false, place.id())
            }
        };
        let monitor = Monitor::with_config(source, config);
        let monitor = monitor.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self { monitor, is_pool, id, callbacks: Callbacks::default() })
    }

    /// Whether more is held than may be. Past the hard limit, where no cleanup cures it: raises `MemoryPressureError`, at every check.
    /// Past the soft one: warns with `MemoryPressureWarning`, once a crossing, and returns the warning.
    #[pyo3(signature = (context = ""))]
    fn check_limits<'py>(&self, py: Python<'py>, context: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        // A counter of a pool is read at once; a driver may take its time.
        let outcome = if self.is_pool {
            self.monitor.check_limits(context)
        } else {
            py.detach(|| self.monitor.check_limits(context))
        };
        if matches!(outcome, Ok(None)) { interrupted(None) } else { Self::judged(py, interrupted(outcome)?) }
    }

    /// As `check_limits`, for when so many bytes more are about to be asked for.
    #[pyo3(signature = (size, context = ""))]
    fn preflight<'py>(
        &self,
        py: Python<'py>,
        size: Size,
        context: &str,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Self::judged(py, interrupted(py.detach(|| self.monitor.preflight(size.0, context)))?)
    }

    /// A reading of the source, logged and kept, as a line of a log.
    #[pyo3(signature = (event, slot = None, models = Vec::new()))]
    fn log_snapshot(
        &self,
        py: Python<'_>,
        event: &str,
        slot: Option<u64>,
        models: Vec<String>,
    ) -> VramSnapshot {
        let models: Vec<&str> = models.iter().map(String::as_str).collect();
        let snapshot = py.detach(|| self.monitor.log_snapshot(event, slot, &models));
        VramSnapshot::of(&snapshot)
    }

    /// The last `n` snapshots, oldest first; all that are kept without.
    #[pyo3(signature = (n = None))]
    fn history<'py>(&self, py: Python<'py>, n: Option<usize>) -> PyResult<Bound<'py, PyAny>> {
        history(py, &self.monitor, n)
    }

    /// A generation of work has ended: its number.
    fn increment_generation_count(&self) -> u64 {
        self.monitor.increment_generation_count()
    }

    /// Whether memory has grown over generations past the threshold: warns with `MemoryLeakWarning`, once, and returns the warning.
    fn detect_memory_leak<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(found) = py.detach(|| self.monitor.detect_memory_leak()) else { return Ok(None) };
        let numbers = [
            ("generations", found.generations.into()),
            ("baseline_bytes", found.baseline_bytes.bytes().into()),
            ("current_bytes", found.current_bytes.bytes().into()),
            ("growth_bytes", found.growth_bytes.bytes().into()),
        ];
        let made = errors::instance(py, "MemoryLeakWarning", &found.to_string(), &numbers)?;
        errors::warn_of(py, &made)?;
        Ok(Some(made))
    }

    /// What is held now is as it should be: growth counts from here.
    fn rebase(&self, py: Python<'_>) {
        py.detach(|| self.monitor.rebase());
    }

    /// Announces a model before it is started: raises `AdmissionError` when the limits, other models, or what is free leave too little.
    fn register_model(&self, py: Python<'_>, model: &str, expected: Size) -> PyResult<()> {
        py.detach(|| self.monitor.register_model(model, expected.0)).map_err(|error| {
            let numbers = [
                ("model", error.model.as_str().into()),
                ("required_bytes", error.required.bytes().into()),
                ("available_bytes", error.available.bytes().into()),
            ];
            errors::raised(py, "AdmissionError", &error.to_string(), &numbers)
        })
    }

    /// Forgets a model that was announced; whether it was known.
    fn forget_model(&self, model: &str) -> bool {
        self.monitor.forget_model(model)
    }

    /// What models were said to need against what they hold.
    fn models<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(pythonize::pythonize(py, &self.monitor.models())?)
    }

    /// Frees what can be freed, here and now: what came of it, or `None` while another cleanup is under way.
    fn cleanup<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let report = interrupted(py.detach(|| self.monitor.cleanup()))?;
        report.map(|report| Ok(pythonize::pythonize(py, &report)?)).transpose()
    }

    /// Calls a function without arguments at every cleanup.
    fn register_cleanup_callback(&self, callback: Callback) {
        self.callbacks.own(&callback);
        self.monitor.register_cleanup_callback(move |_| callback.call(|py| Ok(PyTuple::empty(py))));
    }

    /// Calls a function with everything that is found as a `dict`, one after the other, on a thread of its own.
    fn on_event(&self, callback: Callback) {
        self.callbacks.own(&callback);
        subscribe(&self.monitor, callback);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.callbacks.traverse(&visit)
    }

    fn __clear__(&self) {
        self.callbacks.clear();
    }

    /// Looks by itself every `interval` seconds, on a thread of its own, until what is returned is closed or nobody has it any more.
    #[pyo3(signature = (interval = 1.0))]
    fn start(&self, py: Python<'_>, interval: f64) -> PyResult<Sampling> {
        let interval = seconds("interval", interval)?;
        if interval.is_zero() {
            return Err(PyValueError::new_err("interval=0: seconds between two looks, above 0"));
        }
        let looking = py.detach(|| self.monitor.start(interval))?;
        Ok(Sampling::of(looking))
    }

    /// Tags that are suspected to leak, as far as `start` has looked.
    fn suspected<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(pythonize::pythonize(py, &self.monitor.suspected())?)
    }

    /// Growth that has been told and not taken back.
    fn growing<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.monitor.growing().map(|found| Ok(pythonize::pythonize(py, &found)?)).transpose()
    }

    /// When it will be full, as of the last snapshot: `None` where that cannot be said.
    fn forecast<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.monitor.forecast().map(|forecast| Ok(pythonize::pythonize(py, &forecast)?)).transpose()
    }

    /// Whether so many bytes could be had with `margin` of them to spare; `None` when that is not known.
    #[pyo3(signature = (size, margin = 0.1))]
    fn can_allocate(&self, py: Python<'_>, size: Size, margin: f64) -> PyResult<Option<bool>> {
        let margin = self::margin("margin", margin)?;
        Ok(py.detach(|| self.monitor.can_allocate(size.0, margin)))
    }

    /// The level of the last snapshot, as a `MemoryPressure`.
    #[getter]
    fn pressure<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.monitor.level().map(|level| pressure(py, level)).transpose()
    }

    /// Counts and peaks.
    fn get_stats(&self) -> MemoryStats {
        MemoryStats::of(&self.monitor)
    }

    /// The device's id.
    #[getter]
    fn device(&self) -> &str {
        &self.id
    }

    /// Forgets counts, history and baselines; limits, callbacks and models stay.
    fn reset(&self) {
        self.monitor.reset();
    }

    fn __repr__(&self) -> String {
        format!("VramMonitor({:?})", self.id)
    }
}
