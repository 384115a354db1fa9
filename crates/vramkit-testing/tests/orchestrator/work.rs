//! Works that are not patterns: a run does what its models' works do, and gives everything back however they end.

use super::*;
use vramkit::device::HostDevice;

/// Each tensor is read by the two steps after the one that it begins at.
fn fibonacci(name: &str) -> Model {
    let tensor = |i: u64| TensorLifetime {
        reads: vec![Step(i + 1), Step(i + 2)],
        ..TensorLifetime::new(name, &format!("f{i}"), i, i + 3, ByteSize::new(4096))
    };
    let tensors = (0..10).map(tensor).collect();
    Model { name: name.into(), weights: ByteSize::new(1024), start: Step(0), tensors }
}

/// Adds its inputs into its output at each step; what has none is 1.
#[derive(Default)]
struct Sums {
    last: u64,
    ended: Vec<u64>,
    live: i64,
}

impl Work for Sums {
    fn begin(&mut self, run: &ModelRun<'_>) -> Result<(), WorkError> {
        assert_eq!((run.has_new_weights(), run.tensors().len()), (run.repetition() == 0, 10));
        Ok(())
    }

    fn step(&mut self, run: &ModelRun<'_>, step: &StepTensors) -> Result<(), WorkError> {
        let mut sum = 0;
        for &input in &step.reads {
            let mut bytes = [0; 8];
            run.read(input, 4088, &mut bytes)?;
            sum += u64::from_le_bytes(bytes);
        }
        for &output in &step.begins {
            self.last = sum.max(1);
            run.write(output, 4088, &self.last.to_le_bytes())?;
        }
        self.live += step.begins.len() as i64 - step.ends.len() as i64;
        Ok(())
    }

    fn end(&mut self, run: &ModelRun<'_>) -> Result<(), WorkError> {
        assert_eq!(self.live, 0, "what begins ends");
        assert!(run.write(0, 4089, &[0; 8]).is_err(), "past its end");
        self.ended.push(self.last);
        Ok(())
    }
}

fn bound(schedule: Schedule) -> (MemoryOrchestrator, Arc<AllocationPlan>) {
    let device = Arc::new(HostDevice::new(ByteSize::mib(8)));
    let orchestrator =
        MemoryOrchestrator::new(Arc::new(DeviceMemoryPool::new(device, ByteSize::mib(8)).unwrap()));
    let plan = orchestrator.plan(&[fibonacci("a"), fibonacci("b")], schedule).unwrap();
    for model in ["a", "b"] {
        orchestrator.bind(model, &plan).unwrap();
    }
    (orchestrator, plan)
}

fn released(orchestrator: &MemoryOrchestrator) -> ByteSize {
    for model in orchestrator.bound() {
        orchestrator.release(&model);
    }
    orchestrator.pool().used()
}

#[test]
fn a_computation_in_shared_memory_comes_out_right_under_every_schedule() {
    for schedule in [Schedule::Fixed, Schedule::Sequential, Schedule::Concurrent] {
        let (orchestrator, plan) = bound(schedule);
        let steps = std::sync::atomic::AtomicU64::new(0);
        let progress = |n| {
            steps.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
        };
        let executed = execute_with(&orchestrator, &plan, 3, |_| Sums::default(), &progress).unwrap();
        let ended: Vec<_> = executed.works.iter().map(|work| work.ended.clone()).collect();
        assert_eq!(ended, vec![vec![55; 3]; 2], "{schedule}");
        assert_eq!(steps.into_inner(), 3 * 2 * 12);
        assert_eq!(released(&orchestrator), ByteSize::ZERO);
    }
}

type Failing = fn(&ModelRun<'_>) -> Result<(), WorkError>;

/// Fails where its second run begins `f4`, in a way of the test's.
#[derive(Debug)]
struct Fails(Option<Failing>);

impl Work for Fails {
    fn step(&mut self, run: &ModelRun<'_>, step: &StepTensors) -> Result<(), WorkError> {
        let begins = step.begins.iter().any(|&i| &*run.tensors()[i].lifetime.id == "f4");
        match self.0 {
            Some(fail) if run.repetition() == 1 && begins => fail(run),
            _ => Ok(()),
        }
    }
}

#[test]
fn a_work_that_fails_ends_the_run_and_everything_is_given_back() {
    let ways: [(Failing, &str); 2] = [
        (|_| Err(WorkError::Failed("not a number".into())), ": not a number"),
        (|run| Ok(run.write(0, 4096, &[1])?), "tensor `f0` of model `b` has 4 KiB"),
    ];
    for schedule in [Schedule::Fixed, Schedule::Sequential, Schedule::Concurrent] {
        for (fail, words) in ways {
            let (orchestrator, plan) = bound(schedule);
            let work = |model: &Arc<str>| Fails((&**model == "b").then_some(fail));
            let error = execute_with(&orchestrator, &plan, 3, work, &|_| {}).unwrap_err();
            assert!(matches!(&error, ExecutionError::Work { model, .. } if &**model == "b"), "{error:?}");
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(released(&orchestrator), ByteSize::ZERO);
        }
        let (orchestrator, plan) = bound(schedule);
        let work =
            |model: &Arc<str>| Fails((&**model == "b").then_some(|_| panic!("by this test, in a work")));
        let run =
            std::panic::AssertUnwindSafe(|| execute_with(&orchestrator, &plan, 3, work, &|_| {}).is_ok());
        assert!(std::panic::catch_unwind(run).is_err());
        assert_eq!(released(&orchestrator), ByteSize::ZERO);
    }
}

#[test]
fn a_work_without_steps_touches_nothing_and_is_waited_for_by_nobody() {
    let (orchestrator, plan) = bound(Schedule::Fixed);
    let executed = execute_with(&orchestrator, &plan, 3, |_| Idle, &|_| panic!("no step is done")).unwrap();
    assert_eq!((executed.works.len(), executed.stalled), (2, Duration::ZERO));
}

/// Keeps what each step is told, by name.
#[derive(Default)]
struct Sees(Vec<(u64, [String; 4])>);

impl Work for Sees {
    fn step(&mut self, run: &ModelRun<'_>, step: &StepTensors) -> Result<(), WorkError> {
        let names = |tensors: &[usize]| {
            let names: Vec<_> = tensors.iter().map(|&i| &*run.tensors()[i].lifetime.id).collect();
            names.join(" ")
        };
        let told = [&step.reads, &step.begins, &step.reads_own, &step.ends].map(|tensors| names(tensors));
        self.0.push((step.step.0, told));
        Ok(())
    }
}

#[test]
fn a_step_is_told_what_it_reads_what_begins_and_what_ends_gaps_included() {
    let tensor = |id: &str, start: u64, end: u64, reads: &[u64]| TensorLifetime {
        reads: reads.iter().map(|&read| Step(read)).collect(),
        ..TensorLifetime::new("m", id, start, end, ByteSize::new(256))
    };
    // `twice` is made again after its gap, by the step that reads it at once; `scratch` is of one step.
    let twice = TensorLifetime { gaps: vec![(Step(3), Step(5))], ..tensor("twice", 0, 8, &[1, 2, 5, 7]) };
    let tensors = vec![twice, tensor("scratch", 2, 3, &[2]), tensor("last", 6, 8, &[])];
    let model = Model { name: "m".into(), weights: ByteSize::ZERO, start: Step(0), tensors };
    let orchestrator = orchestrator(ByteSize::mib(8));
    let plan = orchestrator.plan(&[model], Schedule::Fixed).unwrap();
    orchestrator.bind("m", &plan).unwrap();
    let executed = execute_with(&orchestrator, &plan, 1, |_| Sees::default(), &|_| {}).unwrap();
    let told = |step, reads: &str, begins: &str, reads_own: &str, ends: &str| {
        (step, [reads, begins, reads_own, ends].map(str::to_owned))
    };
    assert_eq!(
        executed.works[0].0,
        [
            told(0, "", "twice", "", ""),
            told(1, "twice", "", "", ""),
            told(2, "twice", "scratch", "scratch", "twice scratch"),
            told(5, "", "twice", "twice", ""),
            told(6, "", "last", "", ""),
            told(7, "twice last", "", "", "twice last"),
        ]
    );
}

/// What a report calls stalled is how long a model lacked memory that others had to give up first.
#[test]
fn a_model_that_others_give_way_to_has_lacked_memory() {
    let orchestrator = orchestrator(ByteSize::mib(100));
    let run = |orchestrator: &MemoryOrchestrator, name: &str| {
        let plan = orchestrator.plan(&[filler(name, ByteSize::mib(60))], Schedule::Sequential).unwrap();
        execute_with(orchestrator, &plan, 1, |_| Idle, &|_| {}).unwrap().stalled
    };
    assert_eq!(run(&orchestrator, "first"), Duration::ZERO);
    assert!(run(&orchestrator, "second") > Duration::ZERO);
    assert!(orchestrator.binding("first").is_none(), "it gave way");
}
