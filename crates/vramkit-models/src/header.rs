//! What the headers of a model's files say: its shape, and which tensors it stores.
//!
//! In: a path. Out: [`ModelHeader`]; weights themselves are never read. Which reader a path goes to is decided here.
//!
//! ```
//! use vramkit_models::header::ModelHeader;
//!
//! # let folder = std::env::temp_dir().join(format!("vramkit-header-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("config.json");
//! # std::fs::write(&path, r#"{"model_type": "llama", "num_hidden_layers": 32, "num_attention_heads": 32,
//! #     "num_key_value_heads": 8, "hidden_size": 4096, "intermediate_size": 14336, "vocab_size": 128256,
//! #     "max_position_embeddings": 131072}"#)?;
//! let model = ModelHeader::read(&path)?; // a config.json, a folder, a GGUF file, safetensors
//! assert_eq!(model.shape.layers.len(), 32);
//! assert_eq!(model.shape.trained_context, Some(131_072));
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::path::{Path, PathBuf};

use crate::error::ReadError;
use crate::file::kind;
use crate::gguf::{GgufHeader, folder, shape_of};
use crate::safetensors;
use crate::shape::ModelShape;
pub use crate::stored::StoredTensor;

/// What the headers of a model's files say.
///
/// Of [`read`](Self::read)'s paths there are: a `.gguf` file (the first, where there are several), a folder or a
/// `config.json` as Hugging Face has them, a `.safetensors` file.
///
/// ```
/// use vramkit_models::header::{Format, ModelHeader};
/// use vramkit_models::shape::ModelShape;
///
/// // A model that is described and not read from files.
/// let mut model = ModelHeader::new("toy", Format::HuggingFace, ModelShape::new("llama", 4096));
/// model.weights_type = Some("bfloat16".into());
/// assert_eq!(model.tensors, None);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelHeader {
    /// What to call it: the file's or the folder's name without its ending.
    pub name: String,
    /// The file that was named.
    pub path: PathBuf,
    /// What kind of files these are.
    pub format: Format,
    /// What it keeps and how wide it is.
    pub shape: ModelShape,
    /// The tensors that its files store, in their order; `None` where only a configuration is there, so that nobody knows.
    pub tensors: Option<Vec<StoredTensor>>,
    /// Of GGUF: the header itself, which says all that an engine reads.
    pub gguf: Option<GgufHeader>,
    /// Of a configuration: the bytes of one number in which weights are meant to be computed (`torch_dtype`), and how they
    /// are quantised (`quantization_config.quant_method`).
    pub weights_type: Option<String>,
    /// What is not sure about it, in sentences.
    pub notes: Vec<String>,
}

impl ModelHeader {
    /// A model of this name and shape, of which no file is there yet.
    pub fn new(name: impl Into<String>, format: Format, shape: ModelShape) -> Self {
        Self {
            name: name.into(),
            path: PathBuf::new(),
            format,
            shape,
            tensors: None,
            gguf: None,
            weights_type: None,
            notes: Vec::new(),
        }
    }

    /// Reads the headers of a model's files.
    ///
    /// A folder is read as Hugging Face's when a `config.json` is in it, else as the one GGUF model that it holds; projectors of
    /// pictures or sounds beside it are named in [`notes`](Self::notes). A safetensors file whose name says that it is one of
    /// several stands for all of them.
    ///
    /// # Errors
    /// A path of no known kind; what is wrong with a file, by the key or the tensor; one of several files missing; a pointer of
    /// git-lfs in a file's place; an architecture that is not known.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        if path.is_dir() {
            return match path.join("config.json") {
                config if config.exists() => {
                    // First the configuration: without it nobody needs the rest.
                    let model = Self::hugging_face(path, &config)?;
                    Ok(Self { tensors: safetensors::folder(path)?, ..model })
                }
                _ => Self::only_gguf(path),
            };
        }
        match kind(path).as_str() {
            "gguf" => Self::gguf(path),
            "json" => {
                let model = Self::hugging_face(&folder_of(path), path)?;
                Ok(Self { tensors: safetensors::folder(&folder_of(path))?, ..model })
            }
            "safetensors" => Self::safetensors(path),
            _ if is_gguf(path) => Self::gguf(path),
            _ => match std::fs::metadata(path) {
                Err(error) => Err(ReadError::Io { path: path.to_owned(), error }),
                Ok(_) => Err(ReadError::UnknownModel(path.display().to_string())),
            },
        }
    }

    fn named(path: &Path, format: Format, shape: ModelShape) -> Self {
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Self { path: path.to_owned(), ..Self::new(name, format, shape) }
    }

    fn gguf(path: &Path) -> Result<Self, ReadError> {
        let header = GgufHeader::read(path)?;
        let shape = shape_of(&path.display().to_string(), &header)?;
        Ok(Self { gguf: Some(header), ..Self::named(path, Format::Gguf, shape) })
    }

    /// The one GGUF model of a folder; what is said of projectors beside it.
    fn only_gguf(folder: &Path) -> Result<Self, ReadError> {
        let (path, projectors) = folder::only_gguf(folder)?;
        let mut model = Self::gguf(&path)?;
        if !projectors.is_empty() {
            model.notes.push(format!(
                "{} beside it makes pictures or sounds into tokens, and is not counted",
                projectors.join(", ")
            ));
        }
        Ok(model)
    }

    /// Shape and notes of a configuration, without tensors.
    fn hugging_face(folder: &Path, config: &Path) -> Result<Self, ReadError> {
        let read = crate::config::read(config)?;
        // The folder's name says which model it is; the file's is the same for all.
        let whole = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let name = match config.file_name() {
            Some(name) if name != "config.json" => config.file_stem(),
            _ => whole.file_name(),
        };
        let name = name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(Self {
            path: config.to_owned(),
            weights_type: read.weights_type,
            notes: read.notes,
            ..Self::new(name, Format::HuggingFace, read.shape)
        })
    }

    fn safetensors(path: &Path) -> Result<Self, ReadError> {
        let config = folder_of(path).join("config.json");
        if config.exists() {
            let model = Self::hugging_face(&folder_of(path), &config)?;
            return Ok(Self { tensors: Some(safetensors::with_shards(path)?), ..model });
        }
        let mut model = Self::named(path, Format::Safetensors, ModelShape::new("", 0));
        model.tensors = Some(safetensors::with_shards(path)?);
        model.notes.push("no config.json is beside it, so nothing says what its layers keep".to_owned());
        Ok(model)
    }
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether a file without the ending begins as GGUF does, as ollama's blobs do.
fn is_gguf(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    // Looked at before it is opened: a pipe would wait for its writer.
    path.is_file()
        && std::fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok())
        && &magic == b"GGUF"
}

/// A kind of model files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// GGUF, one file or several.
    Gguf,
    /// A Hugging Face configuration, with safetensors where they are there.
    HuggingFace,
    /// Safetensors alone, whose shape nothing says.
    Safetensors,
}
