//! Threshold batching on a real engine is what the models are about, and can be gone on with whenever it ended.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use tempfile::TempDir;
use vramkit::ByteSize;
use vramkit::units::SplitMix64;
use vramkit_llm::LoadError;
use vramkit_testing::gguf::{Architecture, TestModel};
use vramkit_validate::{
    Outcome, Progress, Source, ValidateError, ValidateQuestion, ValidateReport, go_on, validate,
};

/// A folder with a tiny model.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        TestModel {
            hidden: 32,
            head: 16,
            feed_forward: 32,
            layers: 1,
            ..TestModel::tiny(Architecture::Llama)
        }
        .write(&place.path("model.gguf"))
        .unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// A log of so many requests: prompts of 8 to 40 tokens, geometric outputs.
    fn lengths(&self, count: usize) -> Source {
        let mut random = SplitMix64::new(5);
        let mut log = "prompt_tokens,output_tokens\n".to_owned();
        for _ in 0..count {
            let output = (random.unit().ln() / 0.9f64.ln()).ceil().max(1.0);
            log += &format!("{},{output}\n", 8 + random.below(33));
        }
        Source::Lengths(self.file("lengths.csv", log))
    }

    fn ask(&self, source: Source) -> ValidateQuestion {
        ValidateQuestion {
            batch_size: 8,
            threshold: Some(2),
            cycles: 30,
            most_output_tokens: 100,
            context: Some(256),
            threads: Some(1),
            ..ValidateQuestion::new(self.path("model.gguf"), source)
        }
    }
}

fn answer(question: &ValidateQuestion) -> ValidateReport {
    validate(question, &mut go_on).unwrap()
}

fn refused(question: &ValidateQuestion) -> String {
    validate(question, &mut go_on).unwrap_err().to_string()
}

#[test]
fn equal_requests_hold_what_can_be_counted_by_hand() {
    let place = Place::new();
    let log = place.file("same.csv", "prompt_tokens,output_tokens\n20,10\n");
    // All end in one step and are replaced in one.
    let question = ValidateQuestion { threshold: Some(8), cycles: 5, ..place.ask(Source::Lengths(log)) };
    let report = answer(&question);
    assert_eq!(report.cycles.len(), 5);
    for cycle in &report.cycles {
        assert_eq!((cycle.x0_tokens, cycle.xmax_tokens), (8 * 20, 8 * 30), "before anything is given back");
        assert_eq!((cycle.steps, cycle.final_tokens), (10, 0));
        // In blocks of 16 tokens.
        let token = report.parameters.bytes_per_token.bytes();
        assert_eq!((cycle.x0_bytes.bytes(), cycle.xmax_bytes.bytes()), (8 * 32 * token, 8 * 32 * token));
    }
    let of = &report.parameters;
    assert_eq!((of.termination, of.mean_prompt_tokens, of.mean_output_tokens), (Some(0.1), 20.0, 10.0));
    assert_eq!(report.predicted.published.x0_tokens, Some(160.0), "at theta 1 its limit");
    assert_eq!(report.predicted.exact.xmax_tokens, Some(240.0));
    assert!(report.is_yes());
    assert!(report.notes.iter().any(|note| note.contains("the data set has 1: they came again")));
    assert_eq!(report.memory.used_after_unload_bytes, ByteSize::ZERO);
    assert_eq!(report.memory.peak_kv_bytes.bytes(), 8 * 32 * of.bytes_per_token.bytes());
}

#[test]
fn a_cycle_begins_with_what_the_last_one_left_and_new_prompts() {
    let place = Place::new();
    let journal = place.path("journal");
    let question = ValidateQuestion {
        warmup_cycles: Some(0),
        journal: Some(journal.clone()),
        ..place.ask(place.lengths(50))
    };
    let report = answer(&question);
    let lines = fs::read_to_string(journal).unwrap();
    let entries: Vec<serde_json::Value> =
        lines.lines().skip(1).map(|line| serde_json::from_str(&line[17..]).unwrap()).collect();
    assert_eq!(entries.len(), 30);
    let held = |entry: &serde_json::Value| {
        entry["running"].as_array().unwrap().iter().map(|each| each[1].as_u64().unwrap()).collect::<Vec<_>>()
    };
    for (before, after) in entries.iter().zip(&entries[1..]) {
        let (from, to) = (&before["cycle"], &after["cycle"]);
        assert!(before["ended"].as_array().unwrap().len() >= 2, "k have ended");
        let running = held(before).len() as u64;
        let replaced = 8 - running;
        // Prompts are 8 to 40 tokens.
        let new = to["x0_tokens"].as_u64().unwrap() - from["final_tokens"].as_u64().unwrap();
        assert!((8 * replaced..=40 * replaced).contains(&new), "{new} tokens of {replaced} prompts");
        // Nobody was there longer than it has steps.
        let steps = to["steps"].as_u64().unwrap();
        assert!(to["xmax_tokens"].as_u64().unwrap() <= to["x0_tokens"].as_u64().unwrap() + 8 * steps);
    }
    // p as it is estimated from the same requests.
    let ended: Vec<u64> = entries
        .iter()
        .flat_map(|entry| entry["ended"].as_array().unwrap().clone())
        .map(|each| each[1].as_u64().unwrap())
        .collect();
    assert!(ended.len() < report.parameters.requests, "those that still ran are known too");
}

#[test]
fn what_real_inference_holds_is_what_the_simulation_says() {
    let place = Place::new();
    let question = ValidateQuestion { cycles: 800, ..place.ask(place.lengths(400)) };
    let report = answer(&question);
    assert!(report.is_yes(), "{:#?}", report.verdicts);
    let off = |ratio: Option<f64>| ratio.unwrap();
    assert!(
        off(report.errors.exact.x0_ratio) < 0.02 && off(report.errors.exact.xmax_ratio) < 0.02,
        "{:?}",
        report.errors
    );
    // Outputs are geometric, so the correction holds, and the published formulas do not.
    assert!(off(report.errors.corrected.x0_ratio) < 0.03, "{:?}", report.errors);
    assert!(
        off(report.errors.published.x0_ratio) > off(report.errors.corrected.x0_ratio),
        "{:?}",
        report.errors
    );
    assert!(off(report.errors.published.kappa_ratio) > 0.2);
    assert_eq!(report.tail.corrected_valid_ratio, Some(1.0));
}

#[test]
fn an_experiment_goes_on_where_it_was_stopped() {
    let place = Place::new();
    let alpaca = place.file(
        "alpaca.json",
        (0..40)
            .map(|at| format!(r#"{{"instruction": "Count to {at}, please.", "output": ""}}"#))
            .collect::<Vec<_>>()
            .join("\n"),
    );
    for source in [place.lengths(30), Source::Alpaca(alpaca)] {
        let question = ValidateQuestion { cycles: 12, most_output_tokens: 30, ..place.ask(source) };
        let whole = answer(&question);
        let journal = place.path("journal");
        let question = ValidateQuestion { journal: Some(journal.clone()), ..question };
        for stop in [3, 4, 9, 15] {
            let mut steps = 0;
            let stopped = validate(&question, &mut |at: Progress| {
                // Within a cycle, not at its end.
                steps += u32::from(at.cycles >= stop);
                if steps > 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let error = stopped.unwrap_err();
            assert!(matches!(error, ValidateError::Stopped { done, .. } if done == stop), "{error}");
            // As a kill in the middle of a line would leave it.
            let mut text = fs::read(&journal).unwrap();
            text.extend(b"{\"cycle\": {\"x0_tok");
            fs::write(&journal, text).unwrap();
        }
        let found = answer(&question);
        assert_eq!(
            found
                .cycles
                .iter()
                .map(|c| (c.x0_tokens, c.xmax_tokens, c.steps, c.xmax_bytes))
                .collect::<Vec<_>>(),
            whole
                .cycles
                .iter()
                .map(|c| (c.x0_tokens, c.xmax_tokens, c.steps, c.xmax_bytes))
                .collect::<Vec<_>>()
        );
        assert_eq!(found.parameters, whole.parameters);
        assert_eq!((found.predicted, found.tail), (whole.predicted, whole.tail));
        fs::remove_file(journal).unwrap();
    }
}

#[test]
fn a_model_that_never_ends_has_no_p_and_says_so() {
    let place = Place::new();
    let chats = r#"[{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}, {"from": "narrator",
        "value": "Later."}, {"from": "gpt", "value": "Yes?"}]}]"#;
    let source = Source::ShareGpt(place.file("chats.json", chats));
    let report = answer(&ValidateQuestion { most_output_tokens: 12, cycles: 6, ..place.ask(source) });
    let of = &report.parameters;
    assert_eq!((of.prompts, of.left_out), (2, 0));
    if of.cut_off == of.requests {
        assert_eq!(
            (of.termination, report.predicted.published.x0_tokens, report.tail.published_valid_ratio),
            (None, None, None)
        );
        assert!(report.notes.iter().any(|note| note.contains("no output ended of itself")));
    }
    assert!(report.notes.iter().any(|note| note.contains("`narrator`")));
    assert!(report.predicted.exact.x0_tokens.is_some());
    let json = serde_json::to_string(&report).unwrap();
    assert!(!json.contains("NaN") && json.starts_with(r#"{"schema":"vramkit.validate/1""#));
}

#[test]
fn what_cannot_be_is_refused_before_anything_runs() {
    let place = Place::new();
    let question = place.ask(place.lengths(5));
    for (question, say) in [
        (ValidateQuestion { threshold: Some(9), ..question.clone() }, "threshold of 9"),
        (ValidateQuestion { threshold: Some(0), ..question.clone() }, "threshold"),
        (ValidateQuestion { batch_size: 0, ..question.clone() }, "a batch of 0"),
        (ValidateQuestion { cycles: 0, ..question.clone() }, "cycles of 0"),
        (ValidateQuestion { scale: f64::NAN, ..question.clone() }, "a scale of NaN"),
        (ValidateQuestion { scale: -1.0, ..question.clone() }, "a scale of -1"),
        (ValidateQuestion { model: place.path("nowhere.gguf"), ..question.clone() }, "nowhere.gguf"),
        (ValidateQuestion { context: Some(8), ..question.clone() }, "a context of 8"),
        (ValidateQuestion { capacity: Some(ByteSize::new(65_536)), ..question.clone() }, "64 KiB available"),
        (
            ValidateQuestion { journal: Some("/proc/no/folder/journal".into()), ..question.clone() },
            "no/folder/journal",
        ),
        (
            place.ask(Source::Lengths(place.file("a.csv", "prompt_tokens,output_tokens\n5,5\n5,x\n"))),
            "line 3",
        ),
        (place.ask(Source::Lengths(place.file("b.csv", "prompt_tokens,output_tokens\n"))), "no requests"),
        (
            place.ask(Source::Alpaca(place.file("c.json", r#"[{"conversations": []}]"#))),
            "has ShareGPT's conversations",
        ),
        (
            place.ask(Source::ShareGpt(place.file("d.json", r#"[{"instruction": "a", "output": "b"}]"#))),
            "has Alpaca's",
        ),
        (
            place.ask(Source::ShareGpt(place.file("e.json", r#"[{"conversations": []}]"#))),
            "none of its 1 requests",
        ),
        (place.ask(Source::Alpaca(place.file("f.json", "[{\"instruction\": 1}]"))), "entry 1"),
        (place.ask(Source::Alpaca(place.path("model.gguf"))), "a GGUF model"),
    ] {
        let error = refused(&question);
        assert!(error.contains(say), "{say}: {error}");
    }
    let small = ValidateQuestion { capacity: Some(ByteSize::new(65_536)), ..question };
    let error = validate(&small, &mut go_on).unwrap_err();
    assert!(
        matches!(error, ValidateError::Load(error) if matches!(*error, LoadError::InsufficientVram { .. }))
    );
}

#[test]
fn prompts_that_are_too_long_are_counted_and_outputs_end_where_the_context_does() {
    let place = Place::new();
    let log = place.file("mixed.csv", "prompt_tokens,output_tokens\n300,5\n200,90\n10,20\n");
    let question = ValidateQuestion { warmup_cycles: Some(1), cycles: 4, ..place.ask(Source::Lengths(log)) };
    let report = answer(&question);
    let of = &report.parameters;
    assert_eq!((of.prompts, of.left_out, of.context_tokens), (2, 1, 256));
    assert!(report.notes.iter().any(|note| {
        note.contains("1 of 3 prompts left out: no room for an output behind them in the context of 256")
    }));
    // 55 of 90 tokens behind 200, and a last one that is chosen and not written.
    assert!(of.cut_off > 0 && report.notes.iter().any(|note| note.contains("were cut off")));
    let half = ValidateQuestion { scale: 0.5, ..question };
    let report = answer(&half);
    assert_eq!((report.parameters.left_out, report.parameters.cut_off), (0, 0));
}

#[test]
fn a_cache_that_is_limited_makes_sequences_wait_and_counts_it() {
    let place = Place::new();
    let free = ValidateQuestion { cycles: 200, ..place.ask(place.lengths(200)) };
    let report = answer(&free);
    assert_eq!((report.limit, report.lengths.len()), (None, report.parameters.requests));
    let mut peaks: Vec<u64> = report.cycles.iter().map(|cycle| cycle.xmax_bytes.bytes()).collect();
    peaks.sort_unstable();
    // A cycle in ten would pass it.
    let limit = ByteSize::new(peaks[180]);
    let limited = answer(&ValidateQuestion { kv_limit: Some(limit), ..free });
    assert!(
        limited.memory.peak_kv_bytes <= limit && limited.memory.used_after_unload_bytes == ByteSize::ZERO
    );
    let found = limited.limit.unwrap();
    assert!((0.03..0.25).contains(&found.preempting_ratio), "{found:?}");
    assert!(limited.notes.iter().any(|note| note.contains("there was too little room")));
}

#[test]
fn lengths_that_never_mix_are_foretold_as_they_run() {
    let place = Place::new();
    let log = place.file("one.csv", "prompt_tokens,output_tokens\n10,5\n");
    let report = answer(&ValidateQuestion {
        batch_size: 4,
        cycles: 10,
        threshold: Some(1),
        ..place.ask(Source::Lengths(log))
    });
    assert_eq!((report.measured.x0.mean_tokens, report.measured.xmax.mean_tokens), (40.0, 60.0));
    assert_eq!(
        (report.predicted.exact.x0_tokens, report.predicted.exact.xmax_tokens),
        (Some(40.0), Some(60.0))
    );
    assert!(report.is_yes());
    // One cycle is no mean of anything, and two that agree are no proof.
    let source = place.lengths(100);
    for cycles in [1, 2] {
        let few = answer(&ValidateQuestion { cycles, ..place.ask(source.clone()) });
        assert!(few.verdicts.iter().all(|verdict| verdict.outcome != Outcome::Holds), "{:#?}", few.verdicts);
        assert!(few.measured.x0.standard_error_tokens.unwrap() > 0.0);
    }
}

#[test]
fn who_waits_for_room_is_counted_as_who_makes_way_is() {
    let place = Place::new();
    let log = place.file("equal.csv", "prompt_tokens,output_tokens\n20,10\n");
    let question = ValidateQuestion { threshold: Some(8), cycles: 20, ..place.ask(Source::Lengths(log)) };
    let needed = answer(&question).memory.peak_kv_bytes;
    // Half of them fit: the others never begin while those decode.
    let half = answer(&ValidateQuestion { kv_limit: Some(ByteSize::new(needed.bytes() / 2)), ..question });
    assert_eq!(half.limit.unwrap().preempting_ratio, 1.0);
    assert!(half.notes.iter().any(|note| note.contains("in 20 cycles there was too little room")));
}

#[test]
fn a_cache_with_room_for_one_sequence_still_goes_on() {
    let place = Place::new();
    let log = place.file("small.csv", "prompt_tokens,output_tokens\n20,10\n20,13\n20,17\n");
    let question =
        ValidateQuestion { batch_size: 4, threshold: Some(1), cycles: 10, ..place.ask(Source::Lengths(log)) };
    let needed = answer(&question).memory.peak_kv_bytes;
    let report = answer(&ValidateQuestion { kv_limit: Some(ByteSize::new(needed.bytes() / 3)), ..question });
    assert_eq!(report.cycles.len(), 10);
    assert!(report.memory.peak_kv_bytes.bytes() <= needed.bytes() / 3);
}
