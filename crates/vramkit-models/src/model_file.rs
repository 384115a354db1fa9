//! One model from one file: a graph or a lifetime table, told apart by the path's ending.

use std::path::Path;
use std::sync::Arc;

use vramkit_plan::Model;
use vramkit_units::{ByteSize, Step};

use crate::demand::{ALIGNMENT, ReadOptions};
use crate::error::ReadError;
use crate::file::{kind, whole};
use crate::graph_source::GraphSource;
use crate::onnx;
use crate::table::{self, LifetimeTable};
use crate::weights::Weights;

/// What a model file holds.
pub(crate) struct ModelFile {
    pub(crate) model: Model,
    /// The rows, of a lifetime table.
    pub(crate) table: Option<LifetimeTable>,
    /// The graph that the model is made of, and its weights.
    pub(crate) graph: Option<GraphSource>,
    pub(crate) weights: Option<Arc<Weights>>,
}

/// Reads one model.
pub(crate) fn read_model(
    path: &Path,
    name: &Arc<str>,
    options: &ReadOptions,
) -> Result<ModelFile, ReadError> {
    match kind(path).as_str() {
        "csv" => {
            let alignment = options.alignment.unwrap_or(1);
            let mut table = table::parse(&path.display().to_string(), &whole(path)?, name, alignment)?;
            if table.clocks > 1 && !options.several_clocks {
                let reason = format!(
                    "its lives are on {} clocks, which can be planned alone: not run, not with other models, not with starts to choose",
                    table.clocks
                );
                return Err(ReadError::within(&path.display().to_string(), reason));
            }
            // Of a million tensors a second copy would be hundreds of MiB.
            let tensors = std::mem::take(&mut table.tensors);
            let model = Model { name: name.clone(), weights: ByteSize::ZERO, start: Step(0), tensors };
            Ok(ModelFile { model, table: Some(table), graph: None, weights: None })
        }
        "onnx" => {
            let alignment = options.alignment.unwrap_or(ALIGNMENT);
            let sizes = onnx::Sizes { dims: &options.dims, measured: options.shapes.as_deref() };
            let graph = Arc::new(onnx::read(path, sizes)?);
            let model = graph.model(name, alignment, options.in_place);
            let weights = Some(graph.weights().clone());
            let graph = Some(GraphSource { graph, alignment, in_place: options.in_place });
            Ok(ModelFile { model, table: None, graph, weights })
        }
        _ => Err(ReadError::UnknownKind(path.display().to_string())),
    }
}
