//! How many bytes of KV cache a token takes: from a Hugging Face `config.json`, a GGUF header, or the shape itself.
//!
//! Only what says the shape is read: of a GGUF file the header, of which every length is checked against the file before it
//! is believed. Each layer keeps a key and a value of every KV head; models with latent attention (DeepSeek's) keep one
//! compressed vector instead.
//!
//! ```
//! use vramkit_models::kv::{CacheType, KvShape};
//!
//! // 32 layers of 8 KV heads of 128 numbers, a key and a value each, at 2 bytes.
//! let shape = KvShape::new(32, 8, 128)?;
//! let half: CacheType = "f16".parse()?;
//! assert_eq!(shape.bytes_per_token(half), 131_072);
//! # Ok::<(), String>(())
//! ```

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::str::FromStr;

use serde_json::Value;

use crate::error::{ReadError, nearest};

/// How the cache's numbers are stored: bytes for each so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheType {
    name: &'static str,
    bytes: u64,
    elements: u64,
}

/// The types that current engines have; GGML's blocks are 32 numbers with their scale.
const CACHE_TYPES: [CacheType; 9] = [
    CacheType { name: "f32", bytes: 4, elements: 1 },
    CacheType { name: "f16", bytes: 2, elements: 1 },
    CacheType { name: "bf16", bytes: 2, elements: 1 },
    CacheType { name: "fp8", bytes: 1, elements: 1 },
    CacheType { name: "q8_0", bytes: 34, elements: 32 },
    CacheType { name: "q5_1", bytes: 24, elements: 32 },
    CacheType { name: "q5_0", bytes: 22, elements: 32 },
    CacheType { name: "q4_1", bytes: 20, elements: 32 },
    CacheType { name: "q4_0", bytes: 18, elements: 32 },
];

impl FromStr for CacheType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_lowercase();
        CACHE_TYPES.into_iter().find(|known| known.name == lower).ok_or_else(|| {
            let names = CACHE_TYPES.map(|known| known.name);
            format!("no such cache type: {}{}", names.join(", "), nearest(&lower, names.into_iter()))
        })
    }
}

impl CacheType {
    /// Bytes of so many numbers.
    fn bytes_of(self, elements: u64) -> Option<u64> {
        elements.checked_mul(self.bytes).map(|bytes| bytes.div_ceil(self.elements))
    }
}

/// Numbers that one token keeps in the cache, over all layers.
///
/// ```
/// use vramkit_models::kv::{CacheType, KvShape};
///
/// let llama = KvShape::new(32, 8, 128).expect("a shape with numbers"); // layers, KV heads, numbers in a head
/// assert_eq!(llama.bytes_per_token("f16".parse()?), 131_072);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    elements: u64,
}

impl KvShape {
    /// Layers with the same number of KV heads, each with a key and a value of `head` numbers.
    ///
    /// # Errors
    /// A shape without numbers, or with impossibly many.
    pub fn new(layers: u64, kv_heads: u64, head: u64) -> Result<Self, String> {
        let elements =
            layers.checked_mul(kv_heads).and_then(|n| n.checked_mul(head)).and_then(|n| n.checked_mul(2));
        Self::of(elements).ok_or_else(|| {
            format!("{layers} layers of {kv_heads} KV heads of {head} numbers: no shape of a KV cache")
        })
    }

    fn of(elements: Option<u64>) -> Option<Self> {
        elements.filter(|&elements| (1..=1 << 40).contains(&elements)).map(|elements| Self { elements })
    }

    /// Bytes that one token takes.
    pub fn bytes_per_token(self, cache_type: CacheType) -> u64 {
        cache_type.bytes_of(self.elements).unwrap_or(u64::MAX)
    }
}

/// Reads a model's KV shape: a `config.json`, the folder that has one, or a GGUF file.
///
/// # Errors
/// What is missing or damaged; [`KvShapeUnknown`](ReadError::KvShapeUnknown) for a file of another kind.
pub fn read_kv_shape(path: &Path) -> Result<KvShape, ReadError> {
    let inside = path.join("config.json");
    let path = if path.is_dir() { &inside } else { path };
    let name = path.display().to_string();
    let io = |error| ReadError::Io { path: path.to_owned(), error };
    let mut file = File::open(path).map_err(io)?;
    let mut magic = [0; 4];
    let begins = file.read(&mut magic).map_err(io)?;
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    if begins == 4 && &magic == b"GGUF" {
        return gguf(&name, file);
    }
    let size = file.metadata().map_err(io)?.len();
    if size > 16 << 20 || !path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
        return Err(ReadError::KvShapeUnknown { file: name });
    }
    let config: Value = serde_json::from_reader(BufReader::new(file)).map_err(|error| ReadError::At {
        file: name.clone(),
        line: error.line() as u64,
        reason: format!("no JSON: {error}"),
    })?;
    from_config(&config).map_err(|reason| ReadError::within(&name, reason))
}

/// From a Hugging Face configuration. A model of text and pictures has the text's inside.
fn from_config(config: &Value) -> Result<KvShape, String> {
    let config = ["text_config", "language_config", "llm_config"]
        .into_iter()
        .find_map(|name| config.get(name).filter(|inner| inner.is_object()))
        .unwrap_or(config);
    let number = |names: &[&str]| names.iter().find_map(|&name| config.get(name)?.as_u64());
    let need = |names: &[&str]| {
        number(names).ok_or_else(|| format!("no `{}` in it: no model's configuration", names[0]))
    };
    let layers = need(&["num_hidden_layers", "n_layer", "num_layers", "n_layers"])?;
    let shape = if let Some(rank) = number(&["kv_lora_rank"]) {
        let rope = number(&["qk_rope_head_dim"]).unwrap_or(0);
        KvShape::of(layers.checked_mul(rank.saturating_add(rope)))
    } else {
        let heads = need(&["num_attention_heads", "n_head", "num_heads", "n_heads"])?;
        let multi_query = config.get("multi_query").and_then(Value::as_bool).unwrap_or(false);
        let kv_heads = number(&["num_key_value_heads", "num_kv_heads", "n_head_kv"])
            .unwrap_or(if multi_query { 1 } else { heads });
        let head = match number(&["head_dim", "kv_channels"]) {
            Some(head) => head,
            None if heads > 0 => need(&["hidden_size", "n_embd", "d_model"])? / heads,
            None => 0,
        };
        return KvShape::new(layers, kv_heads, head);
    };
    shape.ok_or_else(|| "its latent attention has no shape of a KV cache".to_owned())
}

/// Most entries of a header, and most bytes of a name or text in it.
const ENTRIES: u64 = 1 << 16;
const TEXT: u64 = 1 << 16;

/// From a GGUF header (the format's specification, versions 2 and 3).
fn gguf(name: &str, file: File) -> Result<KvShape, ReadError> {
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    let mut header = Header { name, reader: BufReader::new(file), left: size };
    header.take::<4>()?;
    let version = u32::from_le_bytes(header.take()?);
    if !(2..=3).contains(&version) {
        return Err(header.wrong(format!("GGUF version {version}; 2 and 3 are read")));
    }
    header.take::<8>()?;
    let entries = header.u64()?;
    if entries > ENTRIES {
        return Err(header.wrong(format!("{entries} entries in the header; at most {ENTRIES} are read")));
    }
    let mut architecture = None;
    let mut numbers: Vec<(String, Vec<u64>)> = Vec::new();
    for _ in 0..entries {
        let key = header.text()?;
        let kind = u32::from_le_bytes(header.take()?);
        if key == "general.architecture" && kind == 8 {
            architecture = Some(header.text()?);
        } else if let Some(values) = header.value(kind, 0)? {
            numbers.push((key, values));
        }
    }
    let architecture = architecture.ok_or_else(|| header.wrong("no `general.architecture` in it"))?;
    let get = |key: &str| {
        let key = format!("{architecture}.{key}");
        numbers.iter().find(|(name, _)| *name == key).map(|(_, values)| values.as_slice())
    };
    let one = |key: &str| get(key).and_then(|values| values.first().copied());
    let need = |key: &str| one(key).ok_or_else(|| header.wrong(format!("no `{architecture}.{key}` in it")));
    let layers = need("block_count")?;
    let elements = if let Some(rank) = one("attention.kv_lora_rank") {
        let rope = one("rope.dimension_count").unwrap_or(0);
        layers.checked_mul(rank.saturating_add(rope))
    } else {
        let heads = need("attention.head_count")?;
        let default = match heads {
            0 => 0,
            heads => need("embedding_length")? / heads,
        };
        let key = one("attention.key_length").unwrap_or(default);
        let both = key.saturating_add(one("attention.value_length").unwrap_or(default));
        match get("attention.head_count_kv") {
            // A number for each layer, 0 where it keeps no cache.
            Some(each) if each.len() > 1 => {
                each.iter().try_fold(0u64, |sum, heads| sum.checked_add(heads.checked_mul(both)?))
            }
            Some(&[kv_heads]) => layers.checked_mul(kv_heads).and_then(|n| n.checked_mul(both)),
            _ => layers.checked_mul(heads).and_then(|n| n.checked_mul(both)),
        }
    };
    KvShape::of(elements).ok_or_else(|| header.wrong("its numbers are no shape of a KV cache"))
}

struct Header<'a> {
    name: &'a str,
    reader: BufReader<File>,
    /// Bytes of the file not read yet: no length may be over it.
    left: u64,
}

impl Header<'_> {
    fn wrong(&self, reason: impl Into<String>) -> ReadError {
        ReadError::within(self.name, reason)
    }

    fn spend(&mut self, bytes: u64) -> Result<(), ReadError> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            self.wrong(format!("cut off: {bytes} bytes more are named in the header than there are"))
        })?;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        self.spend(N as u64)?;
        let mut bytes = [0; N];
        self.reader
            .read_exact(&mut bytes)
            .map_err(|error| self.wrong(format!("cut off in its header: {error}")))?;
        Ok(bytes)
    }

    fn u64(&mut self) -> Result<u64, ReadError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn text(&mut self) -> Result<String, ReadError> {
        let length = self.u64()?;
        if length > TEXT {
            return Err(
                self.wrong(format!("a name of {length} bytes in the header; at most {TEXT} are read"))
            );
        }
        self.spend(length)?;
        let mut bytes = vec![0; length as usize];
        self.reader
            .read_exact(&mut bytes)
            .map_err(|error| self.wrong(format!("cut off in its header: {error}")))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), ReadError> {
        self.spend(bytes)?;
        let bytes = i64::try_from(bytes).map_err(|_| self.wrong("a length over the file's"))?;
        self.reader.seek_relative(bytes).map_err(|error| self.wrong(format!("cannot be read: {error}")))
    }

    /// A value: its whole numbers, of a single number or an array of few; `None` for all else, which is passed over.
    fn value(&mut self, kind: u32, depth: u32) -> Result<Option<Vec<u64>>, ReadError> {
        let width = |kind: u32| match kind {
            0 | 1 | 7 => Some(1),
            2 | 3 => Some(2),
            4..=6 => Some(4),
            10..=12 => Some(8),
            _ => None,
        };
        match kind {
            8 => {
                let length = self.u64()?;
                self.skip(length)?;
                Ok(None)
            }
            9 if depth < 4 => {
                let inner = u32::from_le_bytes(self.take()?);
                let count = self.u64()?;
                match width(inner) {
                    Some(_) if count <= 4096 && !matches!(inner, 6 | 7 | 12) => {
                        let mut values = Vec::new();
                        for _ in 0..count {
                            values.extend(self.value(inner, depth + 1)?.unwrap_or_default());
                        }
                        Ok(Some(values))
                    }
                    Some(width) => {
                        self.skip(
                            count.checked_mul(width).ok_or_else(|| self.wrong("a length over the file's"))?,
                        )?;
                        Ok(None)
                    }
                    None => {
                        for _ in 0..count {
                            self.value(inner, depth + 1)?;
                        }
                        Ok(None)
                    }
                }
            }
            _ => {
                let Some(width) = width(kind) else {
                    return Err(self.wrong(format!("a value of the unknown kind {kind} in its header")));
                };
                let mut bytes = [0; 8];
                for byte in bytes.iter_mut().take(width as usize) {
                    [*byte] = self.take()?;
                }
                // Numbers below 0 and fractions say nothing about a shape.
                Ok(if matches!(kind, 6 | 7 | 12) { None } else { Some(vec![u64::from_le_bytes(bytes)]) })
            }
        }
    }
}
