//! The engine's own options that help, spelled as the engine spells them.
//!
//! Each option is tried alone; where none that costs little is enough, they are tried together, and then with as many layers
//! or as long a context as still fit. What saves nothing is left out.

use vramkit_models::gguf::TensorType;
use vramkit_units::{ByteSize, grouped};

use crate::answers::asked::{Asked, Outcome};
use crate::answers::most::{Most, Question, StoppedBy, layers};
use crate::footprint::Footprint;
use crate::options::{Backend, FitOptions, FlashAttention, GpuLayers, Runtime};

/// A change of options, and what it leads to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Suggestion {
    /// What is changed, in words.
    pub change: String,
    /// The engine's options, each with its value, to be copied.
    pub options: Vec<String>,
    /// What is then needed on the device; `None` where a part of it is not known.
    pub total: Option<ByteSize>,
    /// Whether it then fits; `None` where that is not known or no memory was given.
    pub fits: Option<bool>,
}

/// What a change costs, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    /// Nothing that one notices.
    Nothing,
    /// Prompts are read in smaller steps.
    Prompts,
    /// A cache of 8 bits.
    Precision,
    /// Tokens that nobody asked for: the engine's default is all that the model was trained for.
    Unasked,
    /// Speed, by what the host has to compute.
    Speed,
    /// Tokens.
    Context,
    /// A cache of 4 bits.
    Quality,
    /// A second device.
    Device,
}

/// As many as a person reads.
const SHOWN: usize = 5;
/// What saves less than this part of the need is not worth a line.
const WORTH: f64 = 0.005;

struct Candidate {
    options: FitOptions,
    flags: Vec<String>,
    change: String,
    cost: Cost,
}

impl Candidate {
    fn new(
        base: &FitOptions,
        cost: Cost,
        change: impl Into<String>,
        flags: &[String],
        set: impl FnOnce(&mut FitOptions),
    ) -> Self {
        let mut options = base.clone();
        set(&mut options);
        Self { options, flags: flags.to_vec(), change: change.into(), cost }
    }

    /// This change after another one.
    fn after(mut self, first: &Self) -> Self {
        self.flags.splice(0..0, first.flags.iter().cloned());
        self.change = format!("{}, {}", first.change, self.change);
        self
    }
}

/// The options that help, the best first: those with which it fits by what they cost, then those that save most.
pub(crate) fn suggestions(
    asked: &Asked<'_>,
    base: &FitOptions,
    most: &Question<'_>,
    context: Option<Most>,
    layers: Option<Most>,
) -> Vec<Suggestion> {
    let Some(now) = asked.outcome(base) else { return Vec::new() };
    let is_no = now.verdict.is_some_and(|verdict| verdict.fits == Some(false));
    let mut candidates = match base.runtime {
        Runtime::LlamaCpp => llama_cpp(base, most.footprints),
        Runtime::Vllm => vllm(base, most),
        Runtime::Vramkit => vramkit(base, most.footprints),
    };
    if is_no {
        let cheap = together(asked, base, &candidates);
        candidates.extend(fewer_layers(base, layers, most));
        candidates.extend(shorter(base, context));
        let fits =
            |candidate: &Candidate| asked.outcome(&candidate.options).is_some_and(|outcome| is_yes(&outcome));
        if let Some(cheap) = cheap
            && !candidates.iter().any(|candidate| candidate.cost <= Cost::Precision && fits(candidate))
        {
            if !fits(&cheap) {
                let fewer = fewer_layers(&cheap.options, most.layers_of(&cheap.options), most);
                let short = shorter(&cheap.options, most.context_of(&cheap.options));
                candidates.extend([fewer, short].into_iter().flatten().map(|further| further.after(&cheap)));
            }
            candidates.push(cheap);
        }
    } else {
        // Nobody gives up quality, or buys a device, for what fits.
        candidates.retain(|candidate| candidate.cost <= Cost::Precision);
    }
    let mut tried: Vec<_> = candidates
        .into_iter()
        .filter_map(|candidate| asked.outcome(&candidate.options).map(|outcome| (candidate, outcome)))
        .filter(|(_, outcome)| is_worth_it(outcome, &now))
        .collect();
    // Of changes that cost the same, and fit, the first is the least.
    tried.sort_by_key(|(candidate, outcome)| match is_yes(outcome) && is_no {
        true => (0, candidate.cost, ByteSize::ZERO),
        false => (1, Cost::Nothing, outcome.need.at_least),
    });
    tried.truncate(SHOWN);
    let told = tried.into_iter().map(|(candidate, outcome)| Suggestion {
        change: candidate.change,
        options: candidate.flags,
        total: outcome.need.total(),
        fits: outcome.verdict.and_then(|verdict| verdict.fits),
    });
    told.collect()
}

fn is_yes(outcome: &Outcome) -> bool {
    outcome.verdict.is_some_and(|verdict| verdict.fits == Some(true))
}

/// Whether it makes fit what did not, or saves more than a rounding.
fn is_worth_it(outcome: &Outcome, now: &Outcome) -> bool {
    let saved = now.need.at_least.saturating_sub(outcome.need.at_least);
    let is_no = now.verdict.is_some_and(|verdict| verdict.fits == Some(false));
    saved.ratio_of(now.need.at_least) > WORTH || (is_no && is_yes(outcome))
}

/// llama.cpp's, one at a time.
fn llama_cpp(base: &FitOptions, footprints: &[Footprint]) -> Vec<Candidate> {
    let mut found = Vec::new();
    if base.flash_attention == FlashAttention::Off {
        found.push(Candidate::new(base, Cost::Nothing, "flash attention", &flag("--flash-attn on"), flash));
    }
    let sequences = footprints.iter().map(|footprint| footprint.sequences).max().unwrap_or(1);
    if sequences > 1 && !base.kv_unified {
        let change = "one cache for all sequences";
        found.push(Candidate::new(base, Cost::Nothing, change, &flag("--kv-unified"), |options| {
            options.kv_unified = true;
        }));
    }
    let batch = base.micro_batch.unwrap_or(512);
    for smaller in [256, 128].into_iter().filter(|&smaller| smaller < batch) {
        let change = format!("micro-batch of {smaller} tokens");
        let flags = flag(&format!("--ubatch-size {smaller}"));
        found.push(Candidate::new(base, Cost::Prompts, change, &flags, |options| {
            options.micro_batch = Some(smaller);
        }));
    }
    for (name, cost) in [("q8_0", Cost::Precision), ("q4_0", Cost::Quality)] {
        found.extend(smaller_cache(base, name, cost));
    }
    found
}

/// What vramkit's engine can do with less; a graph can nothing.
fn vramkit(base: &FitOptions, footprints: &[Footprint]) -> Vec<Candidate> {
    if footprints.iter().all(|footprint| footprint.context == 0) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let step = base.micro_batch.unwrap_or(512);
    for smaller in [256, 128].into_iter().filter(|&smaller| smaller < step) {
        let change = format!("steps of {smaller} tokens");
        found.push(Candidate::new(
            base,
            Cost::Prompts,
            change,
            &flag(&format!("--ubatch {smaller}")),
            |options| {
                options.micro_batch = Some(smaller);
            },
        ));
    }
    let kind = TensorType::named("q8_0").filter(|_| base.cache_type_k.is_none_or(|now| now.name() != "q8_0"));
    found.extend(kind.map(|kind| {
        let flags = flag("--cache-type q8_0");
        Candidate::new(base, Cost::Precision, "KV cache in q8_0", &flags, |options| {
            (options.cache_type_k, options.cache_type_v) = (Some(kind), Some(kind));
        })
    }));
    found
}

/// A cache of this type, where that is smaller than the present one. Quantised values need flash attention.
fn smaller_cache(base: &FitOptions, name: &str, cost: Cost) -> Option<Candidate> {
    let kind = TensorType::named(name)?;
    let now = |set: Option<TensorType>| set.unwrap_or(TensorType::F16);
    let larger = |than: TensorType| {
        than.block_bytes() * kind.block_elements() > kind.block_bytes() * than.block_elements()
    };
    if !larger(now(base.cache_type_k)) || !larger(now(base.cache_type_v)) {
        return None;
    }
    let mut flags = vec![format!("--cache-type-k {name}"), format!("--cache-type-v {name}")];
    if base.flash_attention == FlashAttention::Off {
        flags.insert(0, "--flash-attn on".to_owned());
    }
    Some(Candidate::new(base, cost, format!("KV cache in {name}"), &flags, |options| {
        options.cache_type_k = Some(kind);
        options.cache_type_v = Some(kind);
        if options.flash_attention == FlashAttention::Off {
            flash(options);
        }
    }))
}

fn flash(options: &mut FitOptions) {
    options.flash_attention = FlashAttention::On;
}

/// vLLM's, one at a time.
fn vllm(base: &FitOptions, most: &Question<'_>) -> Vec<Candidate> {
    let mut found = Vec::new();
    let step = base.max_num_batched_tokens.unwrap_or(8192);
    for smaller in [2048, 1024].into_iter().filter(|&smaller| smaller < step) {
        let change = format!("{} tokens in a step", grouped(smaller));
        let flags = flag(&format!("--max-num-batched-tokens {smaller}"));
        found.push(Candidate::new(base, Cost::Prompts, change, &flags, |options| {
            options.max_num_batched_tokens = Some(smaller);
        }));
    }
    if !base.fp8_cache {
        let (change, flags) = ("KV cache in fp8", flag("--kv-cache-dtype fp8"));
        found.push(Candidate::new(base, Cost::Precision, change, &flags, |options| {
            options.fp8_cache = true;
        }));
    }
    found.extend(utilization(base, most));
    let devices = base.tensor_parallel.max(1).saturating_mul(2);
    let change = format!("split over {devices} devices like this one");
    let flags = flag(&format!("--tensor-parallel-size {devices}"));
    found.push(Candidate::new(base, Cost::Device, change, &flags, |options| {
        options.tensor_parallel = devices;
    }));
    found
}

/// The part of the card that vLLM takes: less where others hold some of it, more where nobody does.
fn utilization(base: &FitOptions, most: &Question<'_>) -> Option<Candidate> {
    const MOST: f64 = 0.95;
    let room = most.asked.room()?;
    // Several share the card, each with its part.
    let processes = most.footprints.len().max(1) as f64;
    let free = room.free.ratio_of(room.total) / processes;
    let part = (free.min(MOST) * 100.0).floor() / 100.0;
    let is_other = (part - base.gpu_memory_utilization).abs() >= 0.01 && part > 0.0;
    let change = format!("{:.0} % of the device", part * 100.0);
    let flags = flag(&format!("--gpu-memory-utilization {part}"));
    is_other.then(|| {
        Candidate::new(base, Cost::Nothing, change, &flags, |options| {
            options.gpu_memory_utilization = part;
        })
    })
}

/// Everything that costs little, at once; `None` where that is one change or none. Of several values of one option the last,
/// which saves most; what the engine refuses is left out.
fn together(asked: &Asked<'_>, base: &FitOptions, candidates: &[Candidate]) -> Option<Candidate> {
    let can_be = |candidate: &&Candidate| asked.outcome(&candidate.options).is_some();
    let cheap = candidates.iter().filter(|candidate| candidate.cost <= Cost::Precision).filter(can_be);
    let (mut options, mut flags) = (base.clone(), Vec::new());
    let mut changes: Vec<(Option<String>, String)> = Vec::new();
    let mut cost = Cost::Nothing;
    for next in cheap {
        merge(&mut options, base, &next.options);
        next.flags.iter().for_each(|flag| put(&mut flags, flag));
        // Of several values of one option the last one holds, and is the one told of.
        let option = next.flags.last().map(|flag| word(flag));
        match changes.iter_mut().find(|(of, _)| *of == option) {
            Some((_, change)) => change.clone_from(&next.change),
            None => changes.push((option, next.change.clone())),
        }
        cost = cost.max(next.cost);
    }
    let is_several = changes.len() > 1;
    let changes: Vec<_> = changes.into_iter().map(|(_, change)| change).collect();
    is_several.then(|| Candidate { options, flags, change: changes.join(", "), cost })
}

/// The option of a flag.
fn word(flag: &str) -> String {
    flag.split(' ').next().unwrap_or_default().to_owned()
}

/// Adds a flag, in the place of one of the same option.
fn put(texts: &mut Vec<String>, text: &str) {
    match texts.iter_mut().find(|known| word(known) == word(text)) {
        Some(known) => text.clone_into(known),
        None => texts.push(text.to_owned()),
    }
}

/// Takes over what `next` has other than `base`.
fn merge(into: &mut FitOptions, base: &FitOptions, next: &FitOptions) {
    macro_rules! take {
        ($($field:ident),+) => { $(if next.$field != base.$field { into.$field = next.$field; })+ };
    }
    take!(
        flash_attention,
        kv_unified,
        micro_batch,
        cache_type_k,
        cache_type_v,
        fp8_cache,
        max_num_batched_tokens,
        gpu_memory_utilization
    );
}

fn fewer_layers(base: &FitOptions, most: Option<Most>, question: &Question<'_>) -> Option<Candidate> {
    let (most, last) = (most?, question.limits.layers?);
    let now = match base.gpu_layers {
        GpuLayers::All => last,
        GpuLayers::Last(n) => n.min(last),
    };
    if base.backend == Backend::Cpu || most.value >= now {
        return None;
    }
    let change = format!("{} of {last} layers on the device", most.value);
    let flags = flag(&format!("--n-gpu-layers {}", most.value));
    Some(Candidate::new(base, Cost::Speed, change, &flags, |options| {
        options.gpu_layers = layers(most.value, last);
    }))
}

fn shorter(base: &FitOptions, most: Option<Most>) -> Option<Candidate> {
    let most = most.filter(|most| most.stopped_by == StoppedBy::Memory)?;
    let change = format!("context of {} tokens", grouped(most.value));
    let option = match base.runtime {
        Runtime::Vllm => "--max-model-len",
        Runtime::LlamaCpp => "--ctx-size",
        Runtime::Vramkit => "--ctx",
    };
    let flags = flag(&format!("{option} {}", most.value));
    let cost = if base.context.is_none() { Cost::Unasked } else { Cost::Context };
    Some(Candidate::new(base, cost, change, &flags, |options| options.context = Some(most.value)))
}

fn flag(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}
