//! Where keys and values lie in a block of the KV cache.
//!
//! In: a model's shape and an element type. Out: exact sizes and places in bytes. Never: a size that overflowed.
//!
//! A block holds [`BLOCK`] tokens of every layer, one layer behind another; a layer is its heads one behind another; a
//! head is its keys, then its values. Keys lie dimension by dimension, `[key][16]`, so that one vector holds the same
//! dimension of 16 keys and scores need no sum across lanes; values lie token by token, `[16][value]`. Of q8_0 the
//! scales follow the numbers: keys `[key][16]` i8, `[key / 32][16]` f16; values `[16][value]` i8, `[16][value / 32]` f16.

use std::ops::Range;

use vramkit::units::ByteSize;

use super::cache_kind::CacheKind;
use super::error::AttentionError;

/// Tokens of a block.
pub const BLOCK: usize = 16;

/// The shape of a block, checked: every size fits.
///
/// ```
/// use vramkit_llm::attention::{CacheKind, CacheLayout};
///
/// let layout = CacheLayout::new(30, 3, 64, 64, CacheKind::F16)?;
/// assert_eq!(layout.bytes_per_token().bytes(), 30 * 3 * (64 + 64) * 2);
/// assert_eq!(layout.block_bytes().bytes(), 16 * layout.bytes_per_token().bytes());
/// # Ok::<(), vramkit_llm::attention::AttentionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheLayout {
    layers: usize,
    kv_heads: usize,
    key: usize,
    value: usize,
    kind: CacheKind,
    /// Bytes of one head's keys and of its values in one layer of a block.
    key_bytes: usize,
    value_bytes: usize,
}

impl CacheLayout {
    /// The layout of `layers` layers with `kv_heads` heads each, whose keys have `key` and whose values `value` elements.
    ///
    /// # Errors
    /// A number that is zero, a dimension that is no multiple of [`CacheKind::multiple`], or a block larger than this
    /// machine can address.
    pub fn new(
        layers: usize,
        kv_heads: usize,
        key: usize,
        value: usize,
        kind: CacheKind,
    ) -> Result<Self, AttentionError> {
        for (what, number) in [("the number of layers", layers), ("the number of KV heads", kv_heads)] {
            if number == 0 {
                return Err(AttentionError::Zero { what });
            }
        }
        for (which, what, dim) in
            [("key", "the dimension of a key", key), ("value", "the dimension of a value", value)]
        {
            if dim == 0 {
                return Err(AttentionError::Zero { what });
            }
            let multiple = kind.multiple();
            if !dim.is_multiple_of(multiple) {
                return Err(AttentionError::HeadDim { which, dim, multiple, kind });
            }
        }
        let side = |dim: usize| dim.checked_mul(BLOCK).and_then(|elements| kind.bytes(elements));
        let sizes = side(key).zip(side(value)).filter(|&(key_bytes, value_bytes)| {
            let block = key_bytes
                .checked_add(value_bytes)
                .and_then(|head| head.checked_mul(kv_heads))
                .and_then(|layer| layer.checked_mul(layers));
            block.is_some_and(|bytes| isize::try_from(bytes).is_ok())
        });
        let (key_bytes, value_bytes) =
            sizes.ok_or(AttentionError::TooLarge { what: "a block of the KV cache" })?;
        Ok(Self { layers, kv_heads, key, value, kind, key_bytes, value_bytes })
    }

    /// Layers of a block.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// KV heads of a layer.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads
    }

    /// Elements of a head's key.
    pub fn key(&self) -> usize {
        self.key
    }

    /// Elements of a head's value.
    pub fn value(&self) -> usize {
        self.value
    }

    /// The type of the elements.
    pub fn kind(&self) -> CacheKind {
        self.kind
    }

    /// Bytes of one block: [`BLOCK`] tokens of every layer.
    pub fn block_bytes(&self) -> ByteSize {
        size(self.layers * self.layer_len())
    }

    /// Bytes of one layer of a block.
    pub fn layer_bytes(&self) -> ByteSize {
        size(self.layer_len())
    }

    /// Bytes of one token in every layer: exact, as a block's tokens are all alike.
    pub fn bytes_per_token(&self) -> ByteSize {
        size(self.layers * self.layer_len() / BLOCK)
    }

    /// Where a layer lies in a block, in bytes; `None` of a layer that is not there.
    pub fn layer_range(&self, layer: usize) -> Option<Range<usize>> {
        (layer < self.layers).then(|| layer * self.layer_len()..(layer + 1) * self.layer_len())
    }

    /// Where a layer's head lies in a block, in bytes; `None` of one that is not there.
    pub fn head_range(&self, layer: usize, head: usize) -> Option<Range<usize>> {
        let start = self.layer_range(layer)?.start;
        let each = self.key_bytes + self.value_bytes;
        (head < self.kv_heads).then(|| start + head * each..start + (head + 1) * each)
    }

    /// Bytes of a head's keys, which lie before its values.
    pub(super) fn key_bytes(&self) -> usize {
        self.key_bytes
    }

    /// Bytes of a layer.
    pub(super) fn layer_len(&self) -> usize {
        self.kv_heads * (self.key_bytes + self.value_bytes)
    }

    /// Bytes of a head in a layer.
    pub(super) fn head_len(&self) -> usize {
        self.key_bytes + self.value_bytes
    }
}

/// A size of memory from a length of a slice.
fn size(bytes: usize) -> ByteSize {
    ByteSize::new(bytes as u64)
}
