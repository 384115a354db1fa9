//! Files whose bytes are damaged, cut off or changed are refused by name, with nothing of them left in the pool.
#![allow(clippy::unwrap_used, clippy::result_large_err)]

mod common;

use std::collections::BTreeSet;
use std::fs::File;
use std::time::Duration;

use common::{Job, Model, alone, engine, orchestrator, prompt, refused, run, small, tiny};
use vramkit::ByteSize;
use vramkit::orchestrator::{MemoryOrchestrator, PressurePolicy};
use vramkit_llm::{AdapterError, Engine, LoadError, StepEvent};
use vramkit_testing::faulty;
use vramkit_testing::gguf::{Architecture, SparseFile, SparseTensor, TestModel, WeightType};

/// A model's file with where the bytes of each tensor are.
fn bytes_of(model: &TestModel) -> (SparseFile, Vec<u8>, Vec<usize>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    model.write(&path).unwrap();
    let file = model.file().unwrap();
    let mut at = file.header().len();
    let starts = file.tensors.iter().map(|tensor| {
        let start = at;
        at = (at + tensor.bytes() as usize).next_multiple_of(32);
        start
    });
    let starts = starts.collect();
    (file, std::fs::read(&path).unwrap(), starts)
}

/// Writes bytes, and says how loading them goes.
struct Written {
    path: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Written {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { path: folder.path().join("model.gguf"), _folder: folder }
    }

    fn load(&self, bytes: &[u8]) -> Result<(), LoadError> {
        std::fs::write(&self.path, bytes).unwrap();
        let orchestrator = orchestrator(ByteSize::mib(64));
        let loaded = Engine::load(&orchestrator, "m", &self.path, small()).map(drop);
        assert_eq!(orchestrator.pool().used(), ByteSize::ZERO);
        orchestrator.pool().trim().unwrap();
        assert_eq!(orchestrator.pool().committed(), ByteSize::ZERO);
        loaded
    }
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    for (architecture, kind) in [
        (Architecture::Llama, WeightType::F32),
        (Architecture::Llama, WeightType::F16),
        (Architecture::Qwen2, WeightType::Q8_0),
        (Architecture::Phi3, WeightType::Q4_1),
        (Architecture::Gemma3, WeightType::Q5_0),
    ] {
        let of = TestModel { layers: 1, ..tiny(architecture) };
        let (file, bytes, starts) = bytes_of(&TestModel { kind, ..of });
        let written = Written::new();
        assert!(written.load(&bytes).is_ok());
        for (tensor, start) in file.tensors.iter().zip(starts) {
            // Of a context of 64, the other factors are never used.
            let is_unused = tensor.name == "rope_factors_long.weight";
            let (size, unit) = match tensor.kind {
                "f32" => (4, 4),
                "f16" => (2, 2),
                "q8_0" => (2, 34),
                "q4_1" => (2, 20),
                _ => (2, 22),
            };
            let last = start + tensor.bytes() as usize - unit;
            for at in [start, last] {
                for bits in if size == 4 { [0x7fc0_0000u32, 0xff80_0000] } else { [0x7e00, 0xfc00] } {
                    let mut damaged = bytes.clone();
                    damaged[at..at + size].copy_from_slice(&bits.to_le_bytes()[..size]);
                    let loaded = written.load(&damaged);
                    match loaded {
                        Ok(()) => assert!(is_unused, "{} with {bits:x} at {at}", tensor.name),
                        Err(LoadError::Weights { reason, .. }) => {
                            assert!(reason.contains(&tensor.name) && reason.contains("finite"), "{reason}");
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        }
    }
}

#[test]
fn weights_too_large_for_the_arithmetic_end_a_sequence_with_a_word() {
    let (file, mut bytes, starts) =
        bytes_of(&TestModel { kind: WeightType::F32, ..tiny(Architecture::Llama) });
    for (tensor, start) in file.tensors.iter().zip(starts).filter(|(tensor, _)| tensor.name.contains("ffn_"))
    {
        for number in bytes[start..start + tensor.bytes() as usize].as_chunks_mut::<4>().0 {
            *number = 3e38f32.to_le_bytes();
        }
    }
    let written = Written::new();
    std::fs::write(&written.path, bytes).unwrap();
    let engine = engine(&written.path, small());
    let found = run(&engine, &[Job::new(prompt(5, 1), 4)]).outcomes.remove(0);
    assert_eq!(found.tokens, [] as [u32; 0]);
    assert!(found.failed.unwrap().contains("token number 5"));
    assert_eq!(engine.memory().kv, ByteSize::ZERO);
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_an_error() {
    for architecture in [Architecture::Llama, Architecture::Phi3] {
        let (file, bytes, starts) = bytes_of(&TestModel { layers: 1, ..tiny(architecture) });
        let header = file.header().len();
        let mut cuts: BTreeSet<usize> = (0..400).chain((400..header).step_by(211)).collect();
        for (tensor, start) in file.tensors.iter().zip(&starts) {
            let end = start + tensor.bytes() as usize;
            cuts.extend([start - 1, *start, start + 1, end - 1, end, end + 1]);
        }
        let last = starts.last().unwrap() + file.tensors.last().unwrap().bytes() as usize;
        let written = Written::new();
        for cut in cuts.into_iter().filter(|cut| *cut < last) {
            match written.load(&bytes[..cut]) {
                Err(LoadError::Read(_)) => {}
                other => panic!("cut at {cut} of {last}: {other:?}"),
            }
        }
        // What fills the last tensor up is nobody's.
        assert!(written.load(&bytes[..last]).is_ok());
    }
}

#[test]
fn bytes_of_a_header_that_are_others_are_no_panic() {
    let (file, bytes, _) = bytes_of(&TestModel { layers: 1, ..tiny(Architecture::Qwen2) });
    let header = file.header().len();
    let written = Written::new();
    let mut random = vramkit::units::SplitMix64::new(5);
    let (mut loaded, mut failed) = (0, 0);
    for _ in 0..300 {
        let mut damaged = bytes.clone();
        for _ in 0..1 + random.bits() % 3 {
            damaged[random.bits() as usize % header] = (random.bits() >> 30) as u8;
        }
        match written.load(&damaged) {
            Ok(()) => loaded += 1,
            Err(_) => failed += 1,
        }
    }
    assert!(loaded > 0 && failed > 0, "{loaded} {failed}");
}

#[test]
fn tensors_that_overlap_are_refused() {
    let (file, bytes, _) = bytes_of(&tiny(Architecture::Llama));
    let written = Written::new();
    for pair in file.tensors.windows(2) {
        // The second's offset, behind its name, sizes and type, becomes the first's.
        let place = |tensor: &SparseTensor| {
            let name = [&(tensor.name.len() as u64).to_le_bytes()[..], tensor.name.as_bytes()].concat();
            let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
            at + name.len() + 4 + 8 * tensor.sizes.len() + 4
        };
        let (from, to) = (place(&pair[0]), place(&pair[1]));
        let mut damaged = bytes.clone();
        damaged.copy_within(from..from + 8, to);
        match written.load(&damaged) {
            Err(LoadError::Read(error)) => assert!(error.to_string().contains(&pair[1].name), "{error}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Takes a model's memory away between two steps.
fn evict(orchestrator: &MemoryOrchestrator) {
    let outcome = orchestrator.apply(PressurePolicy::Evict, ByteSize::new(1));
    assert!(outcome.freed > ByteSize::ZERO, "{:?}", outcome.action);
}

#[test]
fn a_file_that_changes_under_a_running_model_is_an_error_when_it_is_read_again() {
    let model = Model::tiny(Architecture::Llama);
    let job = Job::new(prompt(20, 1), 20);
    let expected = alone(&engine(&model.path, small()), std::slice::from_ref(&job)).remove(0);
    let bytes = std::fs::read(&model.path).unwrap();
    let written = std::fs::metadata(&model.path).unwrap().modified().unwrap();
    let orchestrator = orchestrator(ByteSize::mib(64));
    let engine = Engine::load(&orchestrator, "m", &model.path, small()).unwrap();
    let (mut tokens, mut is_over) = (Vec::new(), false);
    let mut step = |engine: &Engine| {
        for event in engine.step()? {
            match event {
                StepEvent::Token { token, .. } => tokens.push(token),
                StepEvent::Finished { .. } => is_over = true,
                other => panic!("{other:?}"),
            }
        }
        Ok::<_, AdapterError>(is_over)
    };
    engine.submit(&job.prompt, job.request).unwrap();
    assert!(!step(&engine).unwrap());
    for damage in [&bytes[..bytes.len() / 2], &vec![0; bytes.len()], &[]] {
        std::fs::write(&model.path, damage).unwrap();
        assert!(!step(&engine).unwrap(), "the file is not needed");
        let kv = engine.memory().kv;
        evict(&orchestrator);
        for _ in 0..3 {
            match step(&engine) {
                Err(AdapterError::NotLoaded(error)) => {
                    assert!(matches!(&*error, LoadError::Weights { .. }), "{error}");
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(
                (orchestrator.pool().used(), engine.memory().kv),
                (kv, kv),
                "what was computed is kept"
            );
        }
        // As it was, and from then.
        std::fs::write(&model.path, &bytes).unwrap();
        File::options().write(true).open(&model.path).unwrap().set_modified(written).unwrap();
        assert!(!step(&engine).unwrap());
    }
    // Another file of the name is none that was opened.
    let other = model.path.with_extension("new");
    std::fs::write(&other, b"GGUF?").unwrap();
    std::fs::rename(&other, &model.path).unwrap();
    evict(&orchestrator);
    while !step(&engine).unwrap() {}
    assert_eq!(tokens, expected.tokens);
    drop(engine);
    assert_eq!(orchestrator.pool().used(), ByteSize::ZERO);
}

#[test]
fn a_file_that_changes_while_it_is_loaded_is_an_error() {
    let model = Model::tiny(Architecture::Llama);
    let bytes = std::fs::read(&model.path).unwrap();
    let mut other = bytes.clone();
    let end = other.len();
    other[end - 64..].fill(1);
    for damage in [bytes[..bytes.len() - 100].to_vec(), other, Vec::new()] {
        std::fs::write(&model.path, &bytes).unwrap();
        let before = std::fs::metadata(&model.path).unwrap().modified().unwrap();
        // Memory is taken between the header and the weights. The clock of files may stand for some milliseconds.
        let path = model.path.clone();
        let change = move |number| {
            if number == 0 {
                std::fs::write(&path, &damage).unwrap();
                let later = before + Duration::from_secs(1);
                File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
            }
        };
        let (orchestrator, faults) = faulty(ByteSize::mib(16), 0..0, change);
        let error = refused(&orchestrator, &model.path, small());
        assert!(matches!(error, LoadError::Weights { .. }), "{error}");
        assert!(faults.commits() > 0);
    }
}
