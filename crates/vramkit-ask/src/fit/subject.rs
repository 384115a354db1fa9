//! One model that is asked about: read once, and what an engine takes for it under any options.

use std::path::Path;
use std::time::Duration;

use vramkit::ByteSize;
use vramkit_fit::{
    Backend, CacheTypeError, Checked, FitError, FitOptions, Footprint, GpuLayers, Prepared, Runtime,
};
use vramkit_models::ReadOptions;
use vramkit_models::header::{Format, ModelHeader};

use super::engine;
use super::question::{FitMemory, FitQuestion};
use super::report::{FitFigures, FitModelReport};
use crate::device::DeviceChoice;
use crate::error::{AskError, QuestionError};
use crate::listener::quiet;
use crate::plan::{PlanQuestion, plan};

/// How long a graph's arena is searched for: the first answers are there at once, and mostly cannot be beaten.
const DEADLINE: Duration = Duration::from_millis(100);

/// A model that is asked about.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) architecture: String,
    /// The longest that its engine takes: vLLM scales it as the configuration says.
    pub(crate) trained_context: Option<u64>,
    /// What is not sure about its files.
    pub(crate) notes: Vec<String>,
    /// Its engine and back end, with the options asked about.
    pub(crate) options: FitOptions,
    kind: Kind,
}

enum Kind {
    /// What an engine takes follows from headers.
    Header(Box<Prepared>),
    /// What vramkit's own engine takes follows from a header, too.
    Engine(Box<ModelHeader>),
    /// Planned: always the same.
    Graph(Box<Footprint>),
}

impl Subject {
    /// Reads a model, and chooses its engine.
    pub(crate) fn read(path: &Path, question: &FitQuestion) -> Result<Self, AskError> {
        let is_graph = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx"));
        if is_graph {
            return Self::graph(path, question);
        }
        let header = ModelHeader::read(path)?;
        let loads = if header.format == Format::Gguf { Runtime::LlamaCpp } else { Runtime::Vllm };
        let options = options(&header.name, question, question.runtime.unwrap_or(loads))?;
        let mut subject = Self::of(header, options);
        if !question.dims.is_empty() {
            subject.notes.push("sizes of dimensions are for graphs, and change nothing of it".to_owned());
        }
        let is_assumed = question.backend.is_none() && subject.options.backend == Backend::Vulkan;
        subject.notes.extend(question.memory.filter(|_| is_assumed).map(|memory| match memory {
            FitMemory::Device(DeviceChoice::Host) => {
                "no back end was named, and these are Vulkan's figures; on a processor what is listed under host is in the same memory"
                    .to_owned()
            }
            _ => "no back end was named, and these are Vulkan's figures; with CUDA a process takes some 600 MiB more".to_owned(),
        }));
        Ok(subject)
    }

    /// Reads a model whose engine and options are known.
    pub(crate) fn with(path: &Path, options: FitOptions) -> Result<Self, AskError> {
        Ok(Self::of(ModelHeader::read(path)?, options))
    }

    fn of(header: ModelHeader, options: FitOptions) -> Self {
        Self {
            name: header.name.clone(),
            architecture: header.shape.architecture.clone(),
            trained_context: match options.runtime {
                Runtime::Vllm => header.shape.longest_context(),
                _ => header.shape.trained_context,
            },
            notes: header.notes.clone(),
            kind: match options.runtime {
                Runtime::Vramkit => Kind::Engine(Box::new(header)),
                _ => Kind::Header(Box::new(Prepared::new(header))),
            },
            options,
        }
    }

    /// Plans a graph, which is what vramkit takes for it.
    fn graph(path: &Path, question: &FitQuestion) -> Result<Self, AskError> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let runtime = question.runtime.unwrap_or(Runtime::Vramkit);
        if let Some(cache) = question.cache_type_k.as_ref().or(question.cache_type_v.as_ref()) {
            let error = CacheTypeError::of_graph(runtime, cache);
            return Err(QuestionError::CacheType { model: name, error }.into());
        }
        let options = options(&name, question, runtime)?;
        if runtime != Runtime::Vramkit {
            let loads = if runtime == Runtime::LlamaCpp { "GGUF" } else { "models of Hugging Face" };
            let (runtime, format, loads) = (runtime.to_string(), "ONNX".to_owned(), loads.to_owned());
            return Err(FitError::WrongFormat { model: name, runtime, format, loads }.into());
        }
        let read = ReadOptions { dims: question.dims.clone(), ..ReadOptions::default() };
        let plan = PlanQuestion {
            files: vec![path.to_owned()],
            read,
            deadline: DEADLINE,
            ..PlanQuestion::default()
        };
        let report = plan_of(&plan)?;
        let mut footprint = Footprint::new(runtime, options.backend);
        footprint.device.weights = Some(report.weights_bytes);
        let derived = report.derived_bytes;
        let resident = report.arena_bytes.checked_add(derived).unwrap_or(ByteSize::MAX);
        footprint.device.workspace = Some(resident);
        footprint.accuracy.weights = Checked::Exact;
        footprint.accuracy.workspace = Checked::Exact;
        if !derived.is_zero() {
            footprint
                .notes
                .push(format!("{derived} of the workspace are computed from the weights and stay"));
        }
        for graph in report.models.iter().filter_map(|model| model.graph.as_ref()) {
            if let Some(first) = graph.bounds.first() {
                footprint.accuracy.workspace = Checked::No;
                footprint.notes.push(format!(
                    "{} sizes depend on data and are the most that they can be, as that of `{}` ({})",
                    graph.bounds.len(),
                    first.id,
                    first.operator
                ));
            }
            footprint.notes.extend(graph.notes.iter().cloned());
        }
        footprint.accuracy.kv = Checked::Exact;
        footprint.host.weights = Some(ByteSize::ZERO);
        footprint.host.workspace = Some(ByteSize::ZERO);
        footprint.overhead = options.overhead;
        match (options.overhead, options.backend) {
            (Some(_), _) => {}
            (None, Backend::Cpu) => {
                footprint.overhead = Some(ByteSize::ZERO);
                footprint.accuracy.overhead = Checked::Exact;
            }
            (None, backend) => footprint.notes.push(format!(
                "what a process's context takes under {backend} is not known, and can be given"
            )),
        }
        Ok(Self {
            name,
            architecture: "onnx".to_owned(),
            trained_context: None,
            notes: Vec::new(),
            options,
            kind: Kind::Graph(Box::new(footprint)),
        })
    }

    /// What its engine takes for it under these options, the engine aside.
    pub(crate) fn footprint(&self, options: &FitOptions) -> Result<Footprint, FitError> {
        match &self.kind {
            Kind::Header(header) => {
                let mut options = options.clone();
                (options.runtime, options.backend) = (self.options.runtime, self.options.backend);
                header.footprint(&options)
            }
            Kind::Engine(header) => {
                let mut options = options.clone();
                options.backend = self.options.backend;
                engine::footprint(header, &options)
            }
            Kind::Graph(footprint) => Ok((**footprint).clone()),
        }
    }

    /// Whether its layers can be asked about, so many as they are.
    pub(crate) fn check_layers(&self, footprint: &Footprint) -> Result<(), QuestionError> {
        let most = footprint.layers.saturating_add(1);
        match self.options.gpu_layers {
            GpuLayers::Last(asked) if asked > most => {
                Err(QuestionError::Layers { model: self.name.clone(), asked, layers: footprint.layers })
            }
            _ => Ok(()),
        }
    }

    /// Whether what it computes with has the memory that was looked at.
    pub(crate) fn check_device(&self, memory: Option<FitMemory>) -> Result<(), QuestionError> {
        match memory {
            Some(FitMemory::Device(device @ DeviceChoice::Cuda(_)))
                if self.options.backend == Backend::Cpu =>
            {
                Err(QuestionError::ProcessorOnCard { device })
            }
            _ => Ok(()),
        }
    }

    /// What the document says of it.
    pub(crate) fn report(&self, footprint: &Footprint) -> FitModelReport {
        let of_layers = |number: u64| (!self.is_graph()).then_some(number);
        FitModelReport {
            name: self.name.clone(),
            architecture: self.architecture.clone(),
            layers: of_layers(footprint.layers),
            layers_on_device: of_layers(footprint.layers_on_device),
            context: of_layers(footprint.context),
            sequences: of_layers(footprint.sequences),
            runtime: footprint.runtime.to_string(),
            backend: footprint.backend.to_string(),
            figures: FitFigures::of(std::slice::from_ref(footprint)),
            reserved_cache_bytes: footprint.reserved_cache.map(|cache| cache.size),
            kv_cache_tokens: footprint.reserved_cache.map(|cache| cache.tokens),
            maximum_concurrency: footprint.reserved_cache.map(|cache| cache.concurrency),
        }
    }

    /// Whether it is a graph, which has no layers and no context.
    pub(crate) fn is_graph(&self) -> bool {
        matches!(self.kind, Kind::Graph(_))
    }
}

fn plan_of(question: &PlanQuestion) -> Result<vramkit::plan::report::PlanReport, AskError> {
    plan(question, quiet()).map(|answer| answer.report)
}

/// The options asked about, in an engine's own terms.
fn options(model: &str, question: &FitQuestion, runtime: Runtime) -> Result<FitOptions, QuestionError> {
    let mut options = question.options.clone();
    (options.runtime, options.backend) = (runtime, question.backend_of(runtime));
    let (keys, values) = (question.cache_type_k.as_deref(), question.cache_type_v.as_deref());
    let set = options.set_cache_types(keys, values);
    set.map_err(|error| QuestionError::CacheType { model: model.to_owned(), error })?;
    Ok(options)
}
