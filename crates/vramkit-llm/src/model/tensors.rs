//! Which tensors an architecture's file must have, and where each lies in the weights once they are loaded.
//!
//! In: a header and its [`Hyper`]. Out: [`Tensors`]: matrices as the kernels pack them and vectors of `f32`, one behind
//! another, each held against the shape that the keys ask for. Nothing is read here but the header.

use vramkit_models::gguf::{GgufHeader, GgufTensor, TensorType};

use crate::error::LoadError;
use crate::kernels;
use crate::model::hyper::{Architecture, Hyper, LongFactors};

/// Bytes that everything in the weights begins at a multiple of: a cache line, and a 512-bit register.
pub(crate) const ALIGNMENT: usize = 64;

/// A matrix, packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Matrix {
    pub kind: TensorType,
    pub rows: usize,
    pub columns: usize,
    pub place: Place,
}

/// Bytes of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub offset: usize,
    pub bytes: usize,
}

/// Numbers, one a dimension, as `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vector {
    pub len: usize,
    pub place: Place,
}

/// The matrices of a layer that become queries, keys and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Qkv {
    Fused(Matrix),
    Apart([Matrix; 3]),
}

/// The matrices of a layer's feed-forward block before its activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GateUp {
    Fused(Matrix),
    Apart([Matrix; 2]),
}

/// One layer's weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayerTensors {
    pub attention_norm: Vector,
    pub qkv: Qkv,
    pub qkv_bias: Option<[Vector; 3]>,
    pub query_norm: Option<Vector>,
    pub key_norm: Option<Vector>,
    pub output: Matrix,
    pub after_attention: Option<Vector>,
    pub feed_forward_norm: Vector,
    pub gate_up: GateUp,
    pub down: Matrix,
    pub after_feed_forward: Option<Vector>,
}

/// All weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tensors {
    pub embedding: Matrix,
    pub layers: Vec<LayerTensors>,
    pub norm: Vector,
    /// The embedding's, where the file has no other.
    pub head: Matrix,
    pub factors: Option<Vector>,
    /// What is to be loaded, in the order of their places.
    pub stored: Vec<Stored>,
    pub bytes: usize,
}

/// One tensor to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its index in the file's header.
    pub tensor: usize,
    pub name: String,
    pub kind: TensorType,
    pub rows: usize,
    pub columns: usize,
    /// Whether it is packed; a vector is not.
    pub is_matrix: bool,
    /// With what fills it up to the next one.
    pub place: Place,
}

/// Collects tensors one behind another.
struct Collector<'a> {
    header: &'a GgufHeader,
    model: &'a str,
    stored: Vec<Stored>,
    end: usize,
}

impl Collector<'_> {
    fn wrong(&self, reason: impl Into<String>) -> LoadError {
        LoadError::Model { model: self.model.to_owned(), reason: reason.into() }
    }

    fn find(&self, name: &str) -> Option<(usize, &GgufTensor)> {
        self.header.tensors.iter().enumerate().find(|(_, tensor)| tensor.name == name)
    }

    /// The next place for so many bytes.
    fn place(&mut self, bytes: usize) -> Result<Place, LoadError> {
        let place = Place { offset: self.end, bytes };
        let end = self.end.checked_add(bytes).and_then(|end| end.checked_next_multiple_of(ALIGNMENT));
        self.end = end.ok_or_else(|| self.wrong("its tensors are larger than can be addressed"))?;
        Ok(place)
    }

    fn keep(&mut self, stored: Stored) {
        let padded = Place { bytes: self.end - stored.place.offset, ..stored.place };
        self.stored.push(Stored { place: padded, ..stored });
    }

    fn checked(&self, name: &str, columns: usize, rows: usize) -> Result<(usize, TensorType), LoadError> {
        let (at, tensor) = self.find(name).ok_or_else(|| self.wrong(format!("no tensor `{name}` in it")))?;
        if tensor.dims != [columns as u64, rows as u64, 1, 1] {
            let found: Vec<_> = tensor.dims.iter().map(u64::to_string).collect();
            return Err(self.wrong(format!(
                "tensor `{name}` is of {} numbers, and its keys ask for {columns} × {rows}",
                found.join(" × ")
            )));
        }
        Ok((at, tensor.kind))
    }

    fn matrix(&mut self, name: &str, columns: usize, rows: usize) -> Result<Matrix, LoadError> {
        let (tensor, kind) = self.checked(name, columns, rows)?;
        let bytes = kernels::packed_bytes(kind, rows, columns)
            .map_err(|error| self.wrong(format!("tensor `{name}`: {error}")))?;
        let place = self.place(bytes)?;
        self.keep(Stored { tensor, name: name.to_owned(), kind, rows, columns, is_matrix: true, place });
        Ok(Matrix { kind, rows, columns, place })
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vector, LoadError> {
        let (tensor, kind) = self.checked(name, len, 1)?;
        if ![TensorType::F32, TensorType::F16, TensorType::BF16].contains(&kind) {
            return Err(self.wrong(format!("tensor `{name}` is {}; f32, f16 and bf16 are read", kind.name())));
        }
        let bytes = len.checked_mul(4).ok_or_else(|| self.wrong(format!("tensor `{name}` is too large")))?;
        let place = self.place(bytes)?;
        let name = name.to_owned();
        self.keep(Stored { tensor, name, kind, rows: 1, columns: len, is_matrix: false, place });
        Ok(Vector { len, place })
    }

    fn vector_if(&mut self, is_wanted: bool, name: &str, len: usize) -> Result<Option<Vector>, LoadError> {
        if is_wanted { self.vector(name, len).map(Some) } else { Ok(None) }
    }
}

impl Tensors {
    /// The tensors that a file's architecture needs, for a context of so many tokens.
    ///
    /// # Errors
    /// [`LoadError::Model`]: a tensor that is missing, of another shape than the keys ask for, of a type that is not computed
    /// with, or that nothing in the architecture uses.
    pub fn read(header: &GgufHeader, model: &str, hyper: &Hyper, context: u64) -> Result<Self, LoadError> {
        let mut from = Collector { header, model, stored: Vec::new(), end: 0 };
        let embedding = from.matrix("token_embd.weight", hyper.hidden, hyper.vocabulary)?;
        let layers = (0..hyper.layers()).map(|at| layer(&mut from, hyper, at)).collect::<Result<_, _>>()?;
        let norm = from.vector("output_norm.weight", hyper.hidden)?;
        let head = match from.find("output.weight") {
            Some(_) => from.matrix("output.weight", hyper.hidden, hyper.vocabulary)?,
            None => embedding.clone(),
        };
        let factors = match hyper.factors {
            LongFactors::None => None,
            LongFactors::One => Some("rope_freqs.weight"),
            LongFactors::ShortOrLong { original_context } if context > original_context => {
                Some("rope_factors_long.weight")
            }
            LongFactors::ShortOrLong { .. } => Some("rope_factors_short.weight"),
        };
        let factors = match factors.filter(|name| from.find(name).is_some()) {
            Some(name) => Some(from.vector(name, hyper.rotation.dimensions / 2)?),
            None => None,
        };
        unused(&from, &hyper.factors)?;
        let Collector { stored, end, .. } = from;
        Ok(Self { embedding, layers, norm, head, factors, stored, bytes: end })
    }

    /// What the file calls the factors of the rotation's frequencies.
    pub fn factors_name(&self) -> Option<&str> {
        let place = self.factors?.place.offset;
        self.stored.iter().find(|stored| stored.place.offset == place).map(|stored| stored.name.as_str())
    }
}

fn layer(from: &mut Collector<'_>, hyper: &Hyper, at: usize) -> Result<LayerTensors, LoadError> {
    let name = |what: &str| format!("blk.{at}.{what}.weight");
    let hidden = hyper.hidden;
    let (query, key, value) =
        (hyper.heads * hyper.key, hyper.kv_heads * hyper.key, hyper.kv_heads * hyper.value);
    let of = hyper.architecture;
    let head_norms = matches!(of, Architecture::Qwen3 | Architecture::Gemma3);
    let after = of == Architecture::Gemma3;
    let attention_norm = from.vector(&name("attn_norm"), hidden)?;
    let qkv = if hyper.fused.qkv {
        Qkv::Fused(from.matrix(&name("attn_qkv"), hidden, query + key + value)?)
    } else {
        Qkv::Apart([
            from.matrix(&name("attn_q"), hidden, query)?,
            from.matrix(&name("attn_k"), hidden, key)?,
            from.matrix(&name("attn_v"), hidden, value)?,
        ])
    };
    // llama files of some models have them, qwen2 files all do.
    let bias = |what: &str| format!("blk.{at}.{what}.bias");
    let has_bias = from.find(&bias("attn_q")).is_some();
    if of == Architecture::Qwen2 && !has_bias {
        return Err(from.wrong(format!("no tensor `{}` in it", bias("attn_q"))));
    }
    let qkv_bias = if has_bias {
        Some([
            from.vector(&bias("attn_q"), query)?,
            from.vector(&bias("attn_k"), key)?,
            from.vector(&bias("attn_v"), value)?,
        ])
    } else {
        None
    };
    let query_norm = from.vector_if(head_norms, &name("attn_q_norm"), hyper.key)?;
    let key_norm = from.vector_if(head_norms, &name("attn_k_norm"), hyper.key)?;
    let output = from.matrix(&name("attn_output"), hyper.heads * hyper.value, hidden)?;
    let after_attention = from.vector_if(after, &name("post_attention_norm"), hidden)?;
    let feed_forward_norm = from.vector(&name("ffn_norm"), hidden)?;
    let gate_up = if hyper.fused.gate_up {
        GateUp::Fused(from.matrix(&name("ffn_up"), hidden, 2 * hyper.feed_forward)?)
    } else {
        GateUp::Apart([
            from.matrix(&name("ffn_gate"), hidden, hyper.feed_forward)?,
            from.matrix(&name("ffn_up"), hidden, hyper.feed_forward)?,
        ])
    };
    let down = from.matrix(&name("ffn_down"), hyper.feed_forward, hidden)?;
    let after_feed_forward = from.vector_if(after, &name("post_ffw_norm"), hidden)?;
    Ok(LayerTensors {
        attention_norm,
        qkv,
        qkv_bias,
        query_norm,
        key_norm,
        output,
        after_attention,
        feed_forward_norm,
        gate_up,
        down,
        after_feed_forward,
    })
}

/// A tensor that nothing here uses means arithmetic that is not done.
fn unused(from: &Collector<'_>, factors: &LongFactors) -> Result<(), LoadError> {
    let mut used = vec![false; from.header.tensors.len()];
    from.stored.iter().for_each(|stored| used[stored.tensor] = true);
    let mut tensors = from.header.tensors.iter().zip(used);
    let is_spare = |name: &str| {
        // The factors of the other lengths.
        matches!(factors, LongFactors::ShortOrLong { .. }) && name.starts_with("rope_factors_")
            // Frequencies of old files, layer by layer: what the keys say already.
            || name.starts_with("blk.") && name.ends_with("rope_freqs.weight")
            || name.ends_with("attn_rot_embd.weight")
            || name.ends_with("rotary_emb.inv_freq")
    };
    match tensors.find(|(tensor, used)| !used && !is_spare(&tensor.name)) {
        Some((tensor, _)) => Err(from.wrong(format!(
            "tensor `{}` is in it, which this engine has no use for: its answers would be another model's",
            tensor.name
        ))),
        None => Ok(()),
    }
}
