//! Answers about engines that are made up here, whose need is known by heart.

use std::cell::Cell;

use proptest::prelude::*;
use vramkit_models::gguf::TensorType;
use vramkit_units::ByteSize;

use super::*;
use crate::options::{Backend, FlashAttention, GpuLayers, Runtime};

const MIB: u64 = 1 << 20;
const LAYERS: u64 = 32;

/// Like llama.cpp: 128 MiB of weights a layer and as much for the output, 4 KiB of f16 cache a token and layer, working
/// memory by the micro-batch and, without flash attention, by the context.
fn engine(options: &FitOptions) -> Result<Vec<Footprint>, FitError> {
    let refused = |reason: &str| FitError::Option { model: "toy".into(), reason: reason.into() };
    let kind = options.cache_type_v.unwrap_or(TensorType::F16);
    if kind.block_elements() > 1 && options.flash_attention == FlashAttention::Off {
        return Err(refused("quantised values need flash attention"));
    }
    let mut footprint = Footprint::new(options.runtime, options.backend);
    let sequences = options.sequences.unwrap_or(1);
    let parts = if options.kv_unified { 1 } else { sequences };
    let context = options.context.unwrap_or(32_768).div_ceil(256 * parts) * 256 * parts;
    let on_device = match options.gpu_layers {
        GpuLayers::All => LAYERS + 1,
        GpuLayers::Last(n) => n.min(LAYERS + 1),
    };
    let token = kind.row_bytes(2048).expect("whole blocks");
    (footprint.context, footprint.sequences) = (context, sequences);
    (footprint.layers, footprint.layers_on_device) = (LAYERS, on_device);
    footprint.device.weights = Some(ByteSize::new(128 * MIB * on_device));
    footprint.device.kv = ByteSize::new(context * token * on_device.min(LAYERS));
    footprint.kv_per_token = ByteSize::new(token * LAYERS);
    let scores = if options.flash_attention == FlashAttention::Off { context * 32 } else { 0 };
    let micro_batch = options.micro_batch.unwrap_or(512);
    footprint.device.workspace = Some(ByteSize::new(micro_batch * (MIB / 2 + scores)));
    footprint.overhead = Some(ByteSize::mib(200));
    Ok(vec![footprint])
}

const LIMITS: Limits = Limits { trained_context: Some(131_072), layers: Some(LAYERS + 1) };

fn options() -> FitOptions {
    FitOptions::new(Runtime::LlamaCpp, Backend::Cuda)
}

fn ask(options: &FitOptions, room: u64) -> Answers {
    answer(&engine, options, Some(&Room::of(ByteSize::new(room))), LIMITS).expect("an answer")
}

fn need(options: &FitOptions) -> u64 {
    Need::of_all(&engine(options).expect("a footprint")).at_least.bytes()
}

#[test]
fn the_verdict_is_to_the_byte() {
    let need = need(&options());
    for (room, fits, left) in [(need, true, 0), (need - 1, false, -1), (need + 7, true, 7)] {
        let verdict = ask(&options(), room).verdict.expect("memory was given");
        assert_eq!((verdict.fits, verdict.headroom), (Some(fits), Some(left)));
    }
    let without = answer(&engine, &options(), None, LIMITS).expect("an answer");
    assert_eq!((without.verdict, without.context, without.layers), (None, None, None));
}

#[test]
fn the_most_that_fits_fits_and_no_more_does() {
    let answers = ask(&options(), 9 << 30);
    let context = answers.context.expect("some context fits");
    assert_eq!(context.stopped_by, StoppedBy::Memory);
    let with = |context| need(&FitOptions { context: Some(context), ..options() });
    assert!(with(context.value) <= 9 << 30 && with(context.value + 256) > 9 << 30, "{}", context.value);

    let sequences = answers.sequences.expect("one fits");
    let with = |n: u64| need(&FitOptions { sequences: Some(n), context: Some(32_768 * n), ..options() });
    assert!(with(sequences.value) <= 9 << 30 && with(sequences.value + 1) > 9 << 30);
    assert_eq!(answers.layers, Some(Most { value: 33, stopped_by: StoppedBy::Model }));

    let layers = ask(&options(), 5 << 30).layers.expect("some fit").value;
    let with = |n| need(&FitOptions { gpu_layers: GpuLayers::Last(n), ..options() });
    assert!(with(layers) <= 5 << 30 && with(layers + 1) > 5 << 30, "{layers}");
}

#[test]
fn what_stops_is_said() {
    let large = ask(&options(), 1 << 42);
    assert_eq!(large.context, Some(Most { value: 131_072, stopped_by: StoppedBy::Model }));
    assert_eq!(large.sequences, Some(Most { value: 256, stopped_by: StoppedBy::Engine }));
    // Of four sequences each has what the model was trained for.
    let four = ask(&FitOptions { sequences: Some(4), context: Some(4096), ..options() }, 1 << 40);
    assert_eq!(four.context.map(|most| most.value), Some(4 * 131_072));
    let unified = FitOptions { kv_unified: true, sequences: Some(4), ..options() };
    assert_eq!(ask(&unified, 1 << 40).context.map(|most| most.value), Some(131_072));
    let none = ask(&options(), 1 << 20);
    assert_eq!((none.context, none.sequences, none.layers), (None, None, None));
}

#[test]
fn the_cheapest_option_that_makes_it_fit_comes_first() {
    let short = need(&options()) - 100 * MIB;
    let answers = ask(&options(), short);
    let first = &answers.suggestions[0];
    assert_eq!((first.options.as_slice(), first.fits), (&["--ubatch-size 256".to_owned()][..], Some(true)));
    // A gigabyte less: a smaller cache does, and is worth more than layers on the host.
    let answers = ask(&options(), short - (1 << 30));
    assert_eq!(answers.suggestions[0].options, ["--cache-type-k q8_0", "--cache-type-v q8_0"]);
    let with = |flag: &str| {
        answers.suggestions.iter().find(|known| known.options.iter().any(|option| option.starts_with(flag)))
    };
    assert_eq!(with("--n-gpu-layers").and_then(|known| known.fits), Some(true));
    assert_eq!(with("--ctx-size").and_then(|known| known.fits), Some(true));
    assert!(answers.suggestions.len() <= 5);
}

#[test]
fn options_that_do_not_do_alone_are_tried_together() {
    let off = FitOptions { flash_attention: FlashAttention::Off, ..options() };
    let answers = ask(&off, 6800 * MIB);
    let first = &answers.suggestions[0];
    assert_eq!(first.fits, Some(true), "{:?}", answers.suggestions);
    assert_eq!(
        first.options,
        ["--flash-attn on", "--ubatch-size 128", "--cache-type-k q8_0", "--cache-type-v q8_0"]
    );
    assert_eq!(first.change, "flash attention, micro-batch of 128 tokens, KV cache in q8_0");
    // Less than the weights: together with fewer layers.
    let answers = ask(&off, 3 << 30);
    let fits: Vec<_> = answers.suggestions.iter().filter(|known| known.fits == Some(true)).collect();
    assert!(!fits.is_empty());
    assert!(fits.iter().all(|known| known.options.iter().any(|flag| flag.starts_with("--n-gpu-layers"))));
}

#[test]
fn an_answer_takes_some_dozens_of_footprints() {
    for room in [1 << 30, 3 << 30, 5 << 30, 8 << 30, 9 << 30, 1 << 40] {
        for sequences in [1, 8] {
            let asked = Cell::new(0);
            let counting = |options: &FitOptions| {
                asked.set(asked.get() + 1);
                engine(options)
            };
            let options = FitOptions { sequences: Some(sequences), ..options() };
            let room = Room::of(ByteSize::new(room));
            answer(&counting, &options, Some(&room), LIMITS).expect("an answer");
            assert!(asked.get() <= 60, "{}", asked.get());
        }
    }
}

#[test]
fn what_is_not_known_is_no_verdict_unless_the_rest_is_too_much() {
    let unknown = |options: &FitOptions| {
        let mut footprints = engine(options)?;
        footprints[0].device.workspace = None;
        Ok(footprints)
    };
    let ask = |room| answer(&unknown, &options(), Some(&Room::of(ByteSize::new(room))), LIMITS).expect("one");
    let enough = ask(64 << 30);
    let verdict = enough.verdict.expect("memory was given");
    assert_eq!((verdict.fits, verdict.headroom, enough.context), (None, None, None));
    assert_eq!(enough.need.total(), None);
    assert_eq!(ask(1 << 30).verdict.and_then(|verdict| verdict.fits), Some(false));
}

/// Like vLLM: 8 GiB of weights, 128 KiB of cache a token, 2 GiB more.
fn vllm(options: &FitOptions) -> Result<Vec<Footprint>, FitError> {
    let mut footprint = Footprint::new(Runtime::Vllm, Backend::Cuda);
    (footprint.context, footprint.sequences) =
        (options.context.unwrap_or(131_072), options.sequences.unwrap_or(1));
    let devices = options.tensor_parallel;
    footprint.device.weights = Some(ByteSize::new((8 << 30) / devices));
    let token = if options.fp8_cache { 64 << 10 } else { 128 << 10 };
    footprint.device.kv = ByteSize::new(footprint.context * footprint.sequences * token / devices);
    footprint.device.workspace = Some(ByteSize::gib(1));
    footprint.overhead = Some(ByteSize::gib(1));
    Ok(vec![footprint])
}

#[test]
fn vllm_fits_in_its_part_of_the_card() {
    let options = FitOptions::new(Runtime::Vllm, Backend::Cuda);
    let ask = |room: Room| answer(&vllm, &options, Some(&room), LIMITS).expect("an answer");
    // 26 GiB are needed.
    let alone = ask(Room::of(ByteSize::gib(40)));
    let verdict = alone.verdict.expect("memory was given");
    assert_eq!((verdict.fits, verdict.available), (Some(true), ByteSize::gib(36)));
    assert_eq!(verdict.headroom, Some(10 << 30));
    assert_eq!(alone.sequences.map(|most| most.value), Some(1));
    // Others hold a part of what it takes when it starts.
    let beside = ask(Room { total: ByteSize::gib(40), free: ByteSize::gib(30) });
    let verdict = beside.verdict.expect("memory was given");
    assert_eq!((verdict.fits, verdict.claim), (Some(false), Some(ByteSize::gib(36))));
    assert_eq!(beside.suggestions[0].options, ["--gpu-memory-utilization 0.75"]);
    // A card of 24 GiB.
    let small = ask(Room::of(ByteSize::gib(24)));
    assert_eq!(small.verdict.and_then(|verdict| verdict.fits), Some(false));
    assert_eq!(small.suggestions[0].options, ["--kv-cache-dtype fp8"]);
    let context = small.context.expect("some context fits").value;
    assert_eq!(context % 16, 0);
    assert!(small.suggestions.iter().any(|known| known.options == [format!("--max-model-len {context}")]));
}

#[test]
fn two_of_vllm_need_their_parts_beside_one_another() {
    let options = FitOptions { gpu_memory_utilization: 0.5, ..FitOptions::new(Runtime::Vllm, Backend::Cuda) };
    let two = |options: &FitOptions| Ok([vllm(options)?, vllm(options)?].concat());
    let fits = |utilization: f64| {
        let options = FitOptions { gpu_memory_utilization: utilization, ..options.clone() };
        let room = Room::of(ByteSize::gib(60));
        answer(&two, &options, Some(&room), LIMITS).expect("an answer").verdict.and_then(|it| it.fits)
    };
    assert_eq!([0.4, 0.5, 0.6].map(fits), [Some(false), Some(true), Some(false)]);
}

#[test]
fn the_largest_part_is_named() {
    let largest = ask(&options(), 1 << 34).largest.expect("it needs something");
    assert_eq!((largest.part, largest.size), ("weights", ByteSize::mib(128 * 33)));
    assert_eq!(largest.of.bytes(), need(&options()));
    let long = FitOptions { context: Some(131_072), ..options() };
    assert_eq!(ask(&long, 1 << 34).largest.expect("it needs something").part, "KV cache");
}

proptest! {
    #[test]
    fn whatever_is_said_to_fit_fits(room in 0_u64..1 << 36, sequences in 1_u64..20, context in 1_u64..1 << 20) {
        let options = FitOptions { sequences: Some(sequences), context: Some(context), ..options() };
        let answers = ask(&options, room);
        let fits = |options: &FitOptions| need(options) <= room;
        if let Some(most) = answers.context {
            let with = FitOptions { context: Some(most.value), ..options.clone() };
            prop_assert!(fits(&with));
        }
        if let Some(most) = answers.layers {
            let with = FitOptions { gpu_layers: GpuLayers::Last(most.value), ..options.clone() };
            prop_assert!(fits(&with));
        }
        for suggestion in answers.suggestions {
            prop_assert_eq!(suggestion.fits, suggestion.total.map(|total| total.bytes() <= room));
            prop_assert!(!suggestion.options.is_empty() && !suggestion.change.is_empty());
        }
    }
}
