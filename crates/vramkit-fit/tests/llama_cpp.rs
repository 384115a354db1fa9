//! Predictions for llama.cpp against its dry runs (`tests/data/llama_cpp_*.csv`), to the byte, and against logs of real cards; what
//! must hold of any; and headers and options that make no sense.

#[path = "../examples/accuracy/loads.rs"]
#[allow(dead_code, clippy::print_stdout)]
mod loads;
#[path = "../examples/accuracy/logs.rs"]
#[allow(dead_code, clippy::print_stdout)]
mod logs;
#[path = "../examples/accuracy/planned.rs"]
#[allow(dead_code, clippy::print_stdout)]
mod planned;
#[path = "../examples/accuracy/probes.rs"]
#[allow(dead_code)]
mod probes;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use vramkit_fit::{Backend, Checked, FitError, FitOptions, FlashAttention, GpuLayers, Runtime, footprint};
use vramkit_models::gguf::TensorType;
use vramkit_models::header::ModelHeader;
use vramkit_testing::gguf::{SparseFile, SparseModel, SparseTensor, Value};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[test]
fn every_dry_run_is_predicted_to_the_byte() -> Outcome {
    let folder = tempfile::tempdir()?;
    let scratch = folder.path().join("model.gguf");
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    for probe in probes::own().into_iter() {
        looked_at += 1;
        let (predicted, compared) =
            probe.compare(&scratch).map_err(|reason| format!("{}: {reason}", probe.place()))?;
        let off = compared.iter().filter(|each| each.error() > 0.0);
        wrong.extend(off.map(|each| format!("{}: {each:?}", probe.place())));
        let claims = predicted.accuracy;
        assert_eq!([claims.weights, claims.kv, claims.workspace], [Checked::Exact; 3], "{}", probe.place());
    }
    assert!(looked_at > 2000, "{looked_at} dry runs");
    assert!(wrong.is_empty(), "{} of {looked_at} are off: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    Ok(())
}

#[test]
fn whole_cards_are_predicted_within_a_few_percent() -> Outcome {
    let folder = tempfile::tempdir()?;
    let loads = loads::loads(&folder.path().join("model.gguf"))?;
    for load in &loads {
        let [buffers, predicted] = load.buffers;
        // llama.cpp rounds each tensor up to 128 bytes.
        assert!((0.0..=0.0005 * buffers).contains(&(buffers - predicted)), "{load:?}");
        assert!(load.error().abs() < 0.07, "{load:?}");
    }
    let met = loads.iter().filter(|load| load.error().abs() <= 0.03).count();
    assert!(met * 100 >= loads.len() * 85, "{met} of {} within 3 %", loads.len());
    Ok(())
}

#[test]
fn logs_of_builds_alike_are_met_and_the_others_say_why_not() -> Outcome {
    let folder = tempfile::tempdir()?;
    let logs = logs::compared(&folder.path().join("model.gguf"))?;
    let alike = logs.iter().filter(|log| log.note.is_empty());
    let mut count = 0;
    for log in alike {
        count += 1;
        assert!(log.workspace.abs() < 0.0005, "{} on {}: {:+.4}", log.model, log.device, log.workspace);
        assert!(log.total.is_none_or(|total| total.abs() < 0.0005), "{}: {:?}", log.model, log.total);
    }
    assert!(count >= 8, "{count} logs of builds alike");
    let totals: Vec<f64> = logs.iter().filter_map(|log| log.total_then).collect();
    let met = totals.iter().filter(|total| total.abs() <= 0.03).count();
    assert!(met * 10 >= totals.len() * 9, "{met} of {} within 3 %", totals.len());
    Ok(())
}

#[test]
fn a_planned_workspace_is_between_its_bound_and_what_ggml_takes() -> Outcome {
    let folder = tempfile::tempdir()?;
    for (name, model) in planned::models() {
        for backend in [Backend::Cpu, Backend::Vulkan, Backend::Cuda] {
            let mut options = FitOptions::new(Runtime::LlamaCpp, backend);
            options.context = Some(4096);
            let arenas = planned::arenas(&model, &options, &folder.path().join("model.gguf"))?;
            assert!(arenas.bound <= arenas.planned, "{name} under {backend}: {arenas:?}");
            assert!(
                arenas.bound <= arenas.ggml && !arenas.bound.is_zero(),
                "{name} under {backend}: {arenas:?}"
            );
        }
    }
    Ok(())
}

/// A header of a file that was changed, or what its reader says.
fn read(file: &SparseFile) -> Result<ModelHeader, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("model.gguf");
    match file.write(&path) {
        Ok(()) => {}
        // Larger than a file can be: its header alone.
        Err(_) => std::fs::write(&path, file.header()).map_err(|error| error.to_string())?,
    }
    ModelHeader::read(&path).map_err(|error| error.to_string())
}

fn asked(backend: Backend) -> FitOptions {
    let mut options = FitOptions::new(Runtime::LlamaCpp, backend);
    options.context = Some(4096);
    options
}

fn models() -> Vec<SparseModel> {
    planned::models().into_iter().map(|(_, model)| model).collect()
}

fn any_options() -> impl Strategy<Value = FitOptions> {
    let backend =
        prop_oneof![Just(Backend::Cpu), Just(Backend::Vulkan), Just(Backend::Cuda), Just(Backend::Metal)];
    let flash = prop_oneof![Just(FlashAttention::Auto), Just(FlashAttention::On), Just(FlashAttention::Off)];
    let layers = prop_oneof![Just(GpuLayers::All), (0u64..70).prop_map(GpuLayers::Last)];
    let kind = prop_oneof![Just("f16"), Just("f32"), Just("q8_0"), Just("q4_0"), Just("bf16")];
    (backend, flash, layers, kind, 1u64..9, 1u64..600, any::<bool>(), any::<bool>()).prop_map(
        |(backend, flash, layers, kind, sequences, micro_batch, unified, whole)| {
            let mut options = asked(backend);
            (options.flash_attention, options.gpu_layers) = (flash, layers);
            options.cache_type_k = TensorType::named(kind);
            options.cache_type_v = TensorType::named(kind);
            (options.sequences, options.micro_batch) = (Some(sequences), Some(micro_batch));
            (options.kv_unified, options.swa_full) = (unified, whole);
            options
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn more_context_takes_no_less_cache(
        which in 0..models().len(), options in any_options(), less in 1u64..70_000, more in 0u64..70_000,
    ) {
        let header = read(&models()[which].file()).map_err(TestCaseError::fail)?;
        let cache = |context: u64| {
            let mut options = options.clone();
            options.context = Some(context);
            footprint(&header, &options).map(|takes| {
                [takes.device.kv, takes.device.state, takes.host.kv, takes.host.state].iter().map(|size| size.bytes()).sum::<u64>()
            })
        };
        // What is refused, for its types or its number of sequences, is refused for both.
        if let (Ok(less), Ok(more)) = (cache(less), cache(less + more)) {
            prop_assert!(less <= more, "{} of {} tokens, {} of more", less, options.backend, more);
        }
    }

    /// A key or a tensor is changed to something hostile: an answer or an error, soon, and no panic.
    #[test]
    fn hostile_headers_are_answered_soon(
        which in 0..models().len(),
        options in any_options(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..7, any::<u32>()), 1..4),
    ) {
        let mut file = models()[which].file();
        for (place, how, number) in changes {
            hostile(&mut file, &place, how, number);
        }
        let began = Instant::now();
        let said = read(&file).map(|header| footprint(&header, &options));
        prop_assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        if let Err(reason) | Ok(Err(FitError::Header { reason, .. } | FitError::Option { reason, .. })) = said {
            prop_assert!(!reason.is_empty());
        }
    }
}

fn hostile(file: &mut SparseFile, place: &prop::sample::Index, how: usize, number: u32) {
    let numbers = [0, 1, u64::from(number), u64::from(u32::MAX), 1 << 60, u64::MAX];
    let large = numbers[number as usize % numbers.len()];
    match how {
        0..=2 => {
            let at = place.index(file.keys.len());
            file.keys[at].1 = u32::try_from(large).map_or(Value::U64(large), Value::U32);
        }
        3 => {
            let at = place.index(file.keys.len());
            file.keys.remove(at);
        }
        4 if file.tensors.len() > 1 => {
            let at = place.index(file.tensors.len());
            file.tensors.remove(at);
        }
        5 => {
            let at = place.index(file.tensors.len());
            let tensor = &mut file.tensors[at];
            let axis = number as usize % tensor.sizes.len();
            tensor.sizes[axis] = large;
        }
        _ => {
            let at = place.index(file.tensors.len());
            file.tensors[at].sizes.reverse();
        }
    }
}

/// What is said of Llama-3.1-8B with one key changed.
fn with(model: &SparseModel, key: &str, value: u64) -> String {
    let mut file = model.file();
    let value = u32::try_from(value).map_or(Value::U64(value), Value::U32);
    file.set(&format!("{}.{key}", model.architecture), value);
    refused(&file)
}

/// Why a file has no answer; nothing where it has one.
fn refused(file: &SparseFile) -> String {
    let began = Instant::now();
    let said = match read(file) {
        Ok(header) => footprint(&header, &asked(Backend::Vulkan)).map_err(|error| error.to_string()),
        Err(reason) => Err(reason),
    };
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    said.err().unwrap_or_default()
}

#[test]
fn contradictory_headers_are_refused_by_key_or_tensor() {
    let llama = SparseModel::llama_3_1_8b();
    let experts = SparseModel::qwen3_30b_a3b();
    let mut file = SparseModel::gpt_oss_20b().file();
    file.keys.retain(|(key, _)| !key.contains("expert_count") && !key.contains("expert_used_count"));
    let no_experts = refused(&file);
    for (said, named) in [
        (with(&llama, "attention.head_count", 0), "head"),
        (with(&llama, "attention.head_count", 1 << 60), "head"),
        (with(&llama, "attention.head_count", 7), "7 heads"),
        (with(&llama, "attention.head_count_kv", 5), "head"),
        (with(&llama, "embedding_length", 0), "embeddings of 0"),
        (with(&llama, "embedding_length", 1 << 60), "embedding_length"),
        (with(&llama, "embedding_length", 4095), "4095"),
        (with(&llama, "feed_forward_length", 1 << 60), "feed_forward"),
        (with(&llama, "block_count", 33), "blk.32"),
        (with(&llama, "block_count", 31), "blk.31"),
        (with(&llama, "block_count", 600), "600 layers"),
        (with(&llama, "block_count", 1 << 60), "block_count"),
        (with(&experts, "expert_used_count", 0), "expert"),
        (with(&experts, "expert_used_count", 129), "expert"),
        (with(&experts, "expert_count", 0), "expert"),
        (with(&experts, "expert_count", 1025), "1025 experts"),
        (with(&experts, "expert_count", 1 << 60), "expert_count"),
        (no_experts, "expert_count"),
    ] {
        assert!(said.contains(named), "`{named}` is not named: `{said}`");
    }
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    let without = |name: &str| {
        let mut file = SparseModel::llama_3_1_8b().file();
        file.tensors.retain(|tensor| tensor.name != name);
        refused(&file)
    };
    for name in
        ["blk.3.attn_k.weight", "blk.0.ffn_down.weight", "token_embd.weight", "blk.31.attn_norm.weight"]
    {
        assert!(without(name).contains(name), "{name}: `{}`", without(name));
    }
    let mut file = SparseModel::llama_3_1_8b().file();
    for tensor in file.tensors.iter_mut().filter(|tensor| tensor.name == "blk.7.attn_v.weight") {
        *tensor = SparseTensor::new("blk.7.attn_v.weight", "q4_K", &[256, 1024]);
    }
    assert!(refused(&file).contains("tensor `blk.7.attn_v.weight`"), "`{}`", refused(&file));
    let shaped = |model: SparseModel, name: &str, sizes: &[u64]| {
        let mut file = model.file();
        for tensor in file.tensors.iter_mut().filter(|tensor| tensor.name == name) {
            tensor.sizes = sizes.to_vec();
        }
        refused(&file)
    };
    for (said, named) in [
        (shaped(SparseModel::llama_3_1_8b(), "blk.5.attn_norm.weight", &[2048]), "blk.5.attn_norm.weight"),
        (shaped(SparseModel::falcon_h1_0_5b(), "blk.1.ssm_conv1d.weight", &[8, 1792]), "ssm.conv_kernel"),
        (shaped(SparseModel::mamba_2_8b(), "blk.1.ssm_a", &[32, 5120]), "blk.1.ssm_a"),
    ] {
        assert!(said.contains(named), "`{named}` is not named: `{said}`");
    }
    let mut file = SparseModel::qwen3_5_9b().file();
    for tensor in file.tensors.iter_mut().filter(|tensor| tensor.name == "blk.2.ssm_conv1d.weight") {
        tensor.sizes = vec![4, 4096];
    }
    assert!(refused(&file).contains("blk.2."), "`{}`", refused(&file));
}

/// What is set otherwise.
type Change<'a> = &'a dyn Fn(&mut FitOptions);

#[test]
fn options_beyond_their_range_are_refused_with_the_number() -> Outcome {
    let header = read(&SparseModel::phi_3_mini("q4_0").file())?;
    let said = |change: Change<'_>| {
        let mut options = asked(Backend::Vulkan);
        change(&mut options);
        footprint(&header, &options).map_err(|error| error.to_string())
    };
    let refused: [(Change<'_>, &str); 7] = [
        (&|options| options.context = Some(0), "0 tokens"),
        (&|options| options.context = Some((1 << 31) + 1), "2147483649"),
        (&|options| options.sequences = Some(0), "0 sequences"),
        (&|options| options.sequences = Some(257), "257 sequences"),
        (&|options| options.micro_batch = Some(0), "batch of 0"),
        (&|options| options.batch = Some(0), "batch of 0"),
        (&|options| options.draft_tokens = 3, "3 tokens"),
    ];
    for (change, named) in refused {
        let error = said(change).err().unwrap_or_default();
        assert!(error.contains(named), "`{named}` is not named: `{error}`");
    }
    let answered: [Change<'_>; 5] = [
        &|options| options.context = Some(1),
        &|options| options.context = Some(1 << 31),
        &|options| (options.context, options.sequences) = (Some(1 << 20), Some(256)),
        &|options| options.gpu_layers = GpuLayers::Last(u64::MAX),
        &|options| (options.micro_batch, options.outputs) = (Some(u64::MAX), Some(u64::MAX)),
    ];
    for change in answered {
        let began = Instant::now();
        let total = said(change)?.device.total();
        assert!(
            total.is_some() && began.elapsed() < Duration::from_secs(1),
            "{total:?} in {:?}",
            began.elapsed()
        );
    }
    Ok(())
}
