//! The battery on every architecture; what it cannot do is said before it begins.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use tempfile::TempDir;
use vramkit::ByteSize;
use vramkit_stress::{StressError, StressQuestion, stress};
use vramkit_testing::gguf::{Architecture, TestModel, WeightType};

fn tiny(architecture: Architecture) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    TestModel { kind: WeightType::Q8_0, ..TestModel::tiny(architecture) }.write(&path).unwrap();
    (folder, path)
}

#[test]
fn every_architecture_passes_and_every_fault_is_caught() {
    for architecture in Architecture::ALL {
        let (_folder, path) = tiny(architecture);
        let question = StressQuestion {
            model: Some(path),
            context: Some(128),
            threads: Some(2),
            prove: true,
            seed: 3,
            ..StressQuestion::default()
        };
        let report = stress(&question, &mut |_| ()).unwrap();
        for check in &report.checks {
            assert!(check.passed && check.caught == Some(true), "{architecture:?}: {check}");
        }
        assert!(report.passed && report.checks.len() == 9);
        let again = stress(&StressQuestion { prove: false, ..question }, &mut |_| ()).unwrap();
        let measured = |report: &vramkit_stress::StressReport| {
            report.checks.iter().map(|check| (check.name, check.measured.to_bits())).collect::<Vec<_>>()
        };
        assert_eq!(measured(&report), measured(&again), "{architecture:?}");
    }
}

/// Windows within a block, a cache that is next to nothing beside the weights, nothing left to commit behind a load.
#[test]
fn models_of_odd_shapes_pass_too() {
    let tiny = TestModel { kind: WeightType::Q8_0, ..TestModel::tiny(Architecture::Mistral) };
    let narrow =
        TestModel { layers: 1, kv_heads: 1, heads: 4, head: 32, ..TestModel::tiny(Architecture::Llama) };
    let shapes = [
        TestModel { window: 8, ..tiny.clone() },
        TestModel { window: 16, ..tiny.clone() },
        TestModel { window: 31, ..tiny },
        narrow,
    ];
    for shape in shapes {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.gguf");
        shape.write(&path).unwrap();
        let question = StressQuestion {
            model: Some(path),
            context: Some(128),
            threads: Some(2),
            prove: true,
            ..StressQuestion::default()
        };
        let report = stress(&question, &mut |_| ()).unwrap();
        for check in &report.checks {
            assert!(check.passed && check.caught == Some(true), "{shape:?}: {check}");
        }
    }
}

#[test]
fn a_model_that_is_replaced_meanwhile_has_no_report() {
    let (_folder, path) = tiny(Architecture::Llama);
    let question =
        StressQuestion { model: Some(path.clone()), context: Some(128), ..StressQuestion::default() };
    let other = TestModel { layers: 1, ..TestModel::tiny(Architecture::Llama) };
    let mut told = 0;
    let found = stress(&question, &mut |_| {
        told += 1;
        if told == 2 {
            other.write(&path).unwrap();
        }
    });
    assert!(matches!(found, Err(StressError::System { .. })), "{found:?}");
    assert_eq!(told, 2);
}

#[test]
fn what_cannot_be_is_said_before_it_begins() {
    let (_folder, path) = tiny(Architecture::Llama);
    let ask = |question: StressQuestion| stress(&question, &mut |_| ()).unwrap_err();
    let of = |path: &PathBuf| StressQuestion {
        model: Some(path.clone()),
        threads: Some(1),
        ..StressQuestion::default()
    };
    match ask(StressQuestion { context: Some(100), ..of(&path) }) {
        StressError::Context { context: 100, least: 128 } => {}
        other => panic!("{other}"),
    }
    match ask(StressQuestion { capacity: Some(ByteSize::new(4096)), ..of(&path) }) {
        StressError::Memory { needed, available, .. } => {
            assert!(needed > available && available == ByteSize::new(4096));
        }
        other => panic!("{other}"),
    }
    assert!(matches!(ask(of(&path.with_extension("none"))), StressError::Read(_)));
    std::fs::write(&path, b"GGUF").unwrap();
    assert!(matches!(ask(of(&path)), StressError::Read(_)));
}
