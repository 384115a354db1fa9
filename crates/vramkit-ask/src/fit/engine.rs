//! What vramkit's own engine takes for a GGUF model: the rules that the engine itself follows when it loads.

use vramkit::ByteSize;
use vramkit_fit::{Backend, Checked, FitError, FitOptions, Footprint, Runtime};
use vramkit_llm::{CacheKind, EngineConfig, LoadError, Needs};
use vramkit_models::gguf::TensorType;
use vramkit_models::header::ModelHeader;

/// What the engine takes for a model under these options.
pub(super) fn footprint(model: &ModelHeader, options: &FitOptions) -> Result<Footprint, FitError> {
    let wrong = |reason: String| FitError::Option { model: model.name.clone(), reason };
    let Some(header) = &model.gguf else {
        return Err(FitError::WrongFormat {
            model: model.name.clone(),
            runtime: Runtime::Vramkit.to_string(),
            format: "these files".to_owned(),
            loads: "GGUF models and ONNX graphs".to_owned(),
        });
    };
    if options.backend != Backend::Cpu {
        return Err(wrong(format!("vramkit's engine computes on the processor, not by {}", options.backend)));
    }
    let number = |value: Option<u64>, otherwise: u64| {
        let value = value.unwrap_or(otherwise);
        usize::try_from(value).map_err(|_| wrong(format!("{value} is more than can be addressed")))
    };
    let context = options.context.map(|context| number(Some(context), 0)).transpose()?;
    let sequences = number(options.sequences, 1)?;
    let config = EngineConfig {
        context,
        sequences,
        // As many tokens as are read at once, and never fewer than sequences.
        step_tokens: number(options.micro_batch, EngineConfig::default().step_tokens as u64)?.max(sequences),
        cache: cache(options).map_err(wrong)?,
        ..EngineConfig::default()
    };
    let needs = Needs::of(header, &model.shape, &model.name, &config).map_err(|error| match error {
        LoadError::Config(reason) => FitError::Option { model: model.name.clone(), reason },
        other => FitError::Header { model: model.name.clone(), reason: other.to_string() },
    })?;
    let layers = model.shape.layers.len() as u64;
    let mut footprint = Footprint::new(Runtime::Vramkit, Backend::Cpu);
    footprint.context = needs.context as u64;
    footprint.sequences = sequences as u64;
    (footprint.layers, footprint.layers_on_device) = (layers, layers + 1);
    footprint.device.weights = Some(needs.weights);
    footprint.device.workspace = Some(needs.workspace);
    footprint.device.kv = needs.kv;
    footprint.kv_per_token = needs.kv_per_token;
    footprint.host.weights = Some(ByteSize::ZERO);
    footprint.host.workspace = Some(ByteSize::ZERO);
    footprint.overhead = Some(options.overhead.unwrap_or(ByteSize::ZERO));
    footprint.notes.push(
        "the workspace is for as many threads as this machine has processors; more threads take more"
            .to_owned(),
    );
    let exact = Checked::Exact;
    (footprint.accuracy.weights, footprint.accuracy.kv) = (exact, exact);
    (footprint.accuracy.workspace, footprint.accuracy.overhead) = (exact, exact);
    Ok(footprint)
}

/// The one type that the engine keeps keys and values in.
fn cache(options: &FitOptions) -> Result<CacheKind, String> {
    let (keys, values) = (options.cache_type_k, options.cache_type_v);
    let (keys, values) = (keys.or(values), values.or(keys));
    if keys != values {
        return Err("vramkit's engine keeps keys and values in one type".to_owned());
    }
    match keys.map_or("f16", TensorType::name) {
        "f32" => Ok(CacheKind::F32),
        "f16" => Ok(CacheKind::F16),
        "q8_0" => Ok(CacheKind::Q8_0),
        other => Err(format!("vramkit's engine has no cache of {other}; it has f16, f32 and q8_0")),
    }
}
