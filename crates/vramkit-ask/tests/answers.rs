//! Questions and answers as a program has them: what is missing is said without options, pages say what traces say, and who
//! listens is told.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vramkit::orchestrator::Verify;
use vramkit::plan::Schedule;
use vramkit::pressure::{PressureLevel, PressurePolicy};
use vramkit::trace::{Event, TraceCollector};
use vramkit::{ByteSize, Step};
use vramkit_ask::*;

const WORKLOAD: &str = r#"
[[models]]
name = "a <b>"
weights = "1MB"
tensors = [ { id = "x", size = "1MB", start = 0, end = 3 }, { id = "y", size = "2MB", start = 2, end = 5 } ]
[[models]]
name = "c"
tensors = [ { id = "z", size = "2MB", start = 0, end = 2 } ]
"#;

fn workload() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.toml");
    fs::write(&path, WORKLOAD).unwrap();
    (folder, path)
}

fn simulated(workload: PathBuf) -> RunQuestion {
    RunQuestion {
        workload,
        device: DeviceChoice::Simulated,
        verify: Verify::Stride,
        ..RunQuestion::default()
    }
}

/// One of each kind.
fn every_event() -> Vec<Event> {
    let (model, bytes) = ("a <b>".to_owned(), ByteSize::mb(5));
    let (from, to) = (PressureLevel::Normal, PressureLevel::Critical);
    let plan = |proven_optimal| Event::PlanGenerated {
        schedule: Schedule::Sequential,
        models: 2,
        tensors: 3,
        arena_bytes: bytes,
        lower_bound_bytes: ByteSize::new(9_633_792),
        proven_optimal,
        elapsed_seconds: 0.5,
    };
    let applied = |dry_run| Event::PolicyApplied {
        policy: PressurePolicy::Evict,
        level: to,
        wanted_bytes: bytes,
        freed_bytes: ByteSize::ZERO,
        outcome: "nothing to evict".to_owned(),
        dry_run,
    };
    let bound = |granted_bytes| Event::Bound { model: model.clone(), granted_bytes, used_bytes: bytes };
    let stalled = |recovered| Event::Stalled { model: model.clone(), waited_seconds: 0.25, recovered };
    vec![
        plan(true),
        plan(false),
        bound(bytes),
        bound(ByteSize::ZERO),
        Event::Rejected {
            model: model.clone(),
            needed_bytes: bytes,
            used_bytes: bytes,
            capacity_bytes: bytes,
            reason: "full".to_owned(),
        },
        Event::Released { model: model.clone(), freed_bytes: bytes, used_bytes: bytes },
        Event::PressureChanged { from, to, used_bytes: bytes, used_ratio: 0.9125 },
        applied(true),
        applied(false),
        Event::Escalated { level: to, from: PressurePolicy::Compact, to: PressurePolicy::Evict },
        Event::Evicted { model: model.clone(), freed_bytes: bytes },
        Event::Compacted {
            models: vec![model.clone(), "c".to_owned()],
            before_bytes: bytes,
            after_bytes: bytes,
        },
        Event::Degraded { model: model.clone(), before_bytes: bytes, after_bytes: bytes },
        Event::Trimmed { freed_bytes: bytes, committed_bytes: bytes },
        stalled(true),
        stalled(false),
        Event::AliasingViolation {
            model: model.clone(),
            tensor: "x".to_owned(),
            step: Step(4),
            at_bytes: ByteSize::new(1_234_567),
        },
        Event::Loaded { model: model.clone(), loaded_bytes: bytes, elapsed_seconds: 0.125 },
        Event::TraceDropped { events: 1, spans: 2, samples: 3 },
        Event::Leak { model, tag: "kv".to_owned(), requested_bytes: bytes },
        Event::Failed { error: "lost".to_owned() },
    ]
}

#[test]
fn a_page_has_the_words_of_the_trace() {
    let (_folder, path) = workload();
    let mut answer = run(&simulated(path), &mut TraceSinks::default(), quiet()).unwrap();
    assert!(answer.is_yes());
    let events = every_event();
    let trace = TraceCollector::new();
    events.iter().cloned().for_each(|event| trace.record(event));
    answer.report.decisions = trace.events();
    let page = answer.page().unwrap();
    for event in events {
        let (kind, details) = event.describe();
        let details = details.replace('<', "&lt;").replace('>', "&gt;");
        let row = format!("<td>{kind}<td>{details}</tr>");
        assert!(page.contains(&row), "{row} is not in the page");
    }
}

#[test]
fn a_plan_is_whole_when_it_is_returned() {
    let (folder, path) = workload();
    let question =
        PlanQuestion { files: vec![path.clone()], makespan: Some(Step(9)), ..PlanQuestion::default() };
    let answer = plan(&question, quiet()).unwrap();
    let json = serde_json::to_value(&answer.report).unwrap();
    assert_eq!(json["starts"]["makespan"], 9);
    assert!(json["models"].as_array().unwrap().iter().all(|model| model["start"].is_u64()));
    assert_eq!(json["tensors"].as_array().unwrap().len(), 3);
    assert_eq!(answer.pictures().unwrap().len(), 1);
    let copy = folder.path().join("copy.toml");
    let toml = answer.workload_toml(Some("other"), "by a test");
    fs::write(&copy, &toml).unwrap();
    assert!(toml.contains("by a test") && toml.contains("other"), "{toml}");
    let again = plan(&PlanQuestion { files: vec![copy], ..PlanQuestion::default() }, quiet()).unwrap();
    assert_eq!(again.report.arena_bytes, answer.report.arena_bytes);
    let small = PlanQuestion { capacity: Some(ByteSize::mb(1)), ..question };
    assert!(!plan(&small, quiet()).unwrap().is_yes());
}

#[test]
fn what_is_missing_is_typed_and_said_without_options() {
    let geometric = Some(TrafficSource::Geometric { prompt_tokens: 20.0, termination: 0.1 });
    let logged = Some(TrafficSource::Log {
        path: "log.csv".into(),
        skip_bad_rows: false,
        columns: Columns::default(),
    });
    let ok = CapacityQuestion { traffic: geometric.clone(), batch: Some(8), ..CapacityQuestion::default() };
    assert_eq!(ok.check(), Ok(()));
    let (bytes, tokens) = (Some(Memory::Bytes(ByteSize::gib(1))), Some(Memory::Tokens(900.0)));
    let hour = HorizonChoice::Time(std::time::Duration::from_secs(3600));
    for (question, error) in [
        (CapacityQuestion { traffic: None, ..ok.clone() }, QuestionError::NoTraffic),
        (CapacityQuestion { batch: None, ..ok.clone() }, QuestionError::NoBatch),
        (CapacityQuestion { memory: bytes, ..ok.clone() }, QuestionError::NoShape),
        (CapacityQuestion { horizon: Some(hour), ..ok.clone() }, QuestionError::NoStepTime),
        (CapacityQuestion { step_seconds: Some(0.0), ..ok.clone() }, QuestionError::StepTime(0.0)),
        (
            CapacityQuestion { batch: None, threshold: Some(3), memory: tokens, ..ok.clone() },
            QuestionError::ThresholdWithoutBatch(3),
        ),
        (
            CapacityQuestion { replay: Some(ReplaySettings::default()), memory: tokens, ..ok.clone() },
            QuestionError::ReplayWithoutLog,
        ),
        (CapacityQuestion { picture: true, ..ok.clone() }, QuestionError::PictureWithoutCapacity),
        (
            CapacityQuestion {
                traffic: logged.clone(),
                replay: Some(ReplaySettings::default()),
                replicas: 2,
                memory: tokens,
                ..ok.clone()
            },
            QuestionError::ReplayOfReplicas,
        ),
        (
            CapacityQuestion {
                traffic: logged.clone(),
                replay: Some(ReplaySettings::default()),
                threshold: Some(3),
                memory: tokens,
                ..ok.clone()
            },
            QuestionError::ReplayAtAThreshold,
        ),
        (CapacityQuestion { as_logged: true, ..ok.clone() }, QuestionError::OrderWithoutLog),
        (CapacityQuestion { replicas: 0, ..ok.clone() }, QuestionError::Zero("number of replicas")),
        (CapacityQuestion { arrival_rate: Some(-1.0), ..ok.clone() }, QuestionError::ArrivalRate(-1.0)),
        (
            CapacityQuestion { arrival_rate: Some(1.0), threshold: Some(3), ..ok.clone() },
            QuestionError::ArrivalsAtAThreshold,
        ),
        (
            CapacityQuestion { arrival_rate: Some(1.0), cold_start: true, ..ok.clone() },
            QuestionError::ArrivalsAllAtOnce,
        ),
        (
            CapacityQuestion { cold_start: true, horizon: Some(HorizonChoice::Cycle), ..ok.clone() },
            QuestionError::ColdStartAtAMoment,
        ),
        (
            CapacityQuestion {
                memory: Some(Memory::Card { total: ByteSize::gib(80), utilization: 0.9 }),
                ..ok.clone()
            },
            QuestionError::CardWithoutModel,
        ),
    ] {
        assert_eq!(question.check(), Err(error.clone()));
        assert!(!error.to_string().contains("--"), "{error}");
        assert!(matches!(capacity(&question, quiet()), Err(AskError::Question(found)) if found == error));
    }
    assert!(matches!(
        run(&RunQuestion::default(), &mut TraceSinks::default(), quiet()),
        Err(AskError::Question(QuestionError::NoFiles))
    ));
    assert!(matches!(
        replay(&ReplayQuestion::default(), quiet()),
        Err(AskError::Question(QuestionError::NoFiles))
    ));
    let levels = TopQuestion { levels: Some([0.9, 0.8, 0.7]) };
    assert!(matches!(top(&levels), Err(AskError::Ladder(_))));
}

#[test]
fn a_workload_that_cannot_run_says_which_file_and_keeps_its_cause() {
    let (folder, _) = workload();
    let pools = folder.path().join("pools.toml");
    fs::write(&pools, format!("pools = [{{ name = \"p\", capacity = \"9MB\" }}]\n{WORKLOAD}")).unwrap();
    let error = run(&simulated(pools), &mut TraceSinks::default(), quiet()).unwrap_err();
    assert!(matches!(&error, AskError::Question(QuestionError::SeveralPools { pools: 1, .. })), "{error}");
    let nowhere = simulated(folder.path().join("none.toml"));
    let error = nowhere.prepare().unwrap_err();
    assert!(matches!(&error, AskError::Read(_)) && error.to_string().contains("none.toml"), "{error}");
}

#[test]
fn who_listens_is_told_how_far_it_is() {
    #[derive(Default)]
    struct Count {
        all: AtomicU64,
        done: AtomicU64,
    }
    impl Listener for Count {
        fn begun(&self, units: u64) {
            self.all.fetch_add(units, Ordering::Relaxed);
        }
        fn advanced(&self, units: u64) {
            self.done.fetch_add(units, Ordering::Relaxed);
        }
    }
    let (_folder, path) = workload();
    let count = Arc::new(Count::default());
    run(&simulated(path), &mut TraceSinks::default(), count.clone()).unwrap();
    let (all, done) = (count.all.load(Ordering::Relaxed), count.done.load(Ordering::Relaxed));
    assert!(all > 0 && all == done, "{done} of {all}");
}

#[test]
fn readings_are_taken_until_it_is_enough() {
    let mut taken = 0;
    let interval = std::time::Duration::from_millis(50);
    watch(&TopQuestion::default(), interval, None, |tick| {
        taken += 1;
        assert_eq!(tick.schema, "vramkit.top/1");
        Ok::<_, AskError>(if taken == 2 {
            std::ops::ControlFlow::Break(())
        } else {
            std::ops::ControlFlow::Continue(())
        })
    })
    .unwrap();
    assert_eq!(taken, 2);
}

#[test]
fn a_configuration_of_which_nothing_is_known_is_no_yes_and_no_picture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("models.toml");
    fs::write(&path, "[[models]]\nname = \"a\"\npath = \"gone.gguf\"\n").unwrap();
    let answer = fit(&FitQuestion { sets: Some(path), ..FitQuestion::default() }).unwrap();
    assert!(!answer.is_yes());
    assert_eq!(answer.report.figures, FitFigures::default());
    assert_eq!(answer.report.figures.accuracy.weights, None);
    assert!(matches!(answer.svg(), Err(AskError::Question(QuestionError::PictureOfSets))));
}
