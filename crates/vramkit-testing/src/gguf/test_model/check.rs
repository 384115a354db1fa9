//! Shapes that no engine could run.

use std::io;

use super::super::file::SparseTensor;
use super::super::quantise::WeightType;
use super::super::vocabulary::least;
use super::shape::{Architecture, RopeScaling, TestModel};

/// Most of any size: products of three stay within 64 bits.
const MOST: u64 = 1 << 20;

/// Why a test model cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestModelError {
    /// Rows are no multiple of a block.
    #[error(
        "rows of `{tensor}` have {columns} numbers, but blocks of {kind} have {block}: widen them or take another type"
    )]
    Row {
        /// The tensor.
        tensor: String,
        /// Numbers of its rows.
        columns: u64,
        /// The type.
        kind: &'static str,
        /// Numbers of its blocks.
        block: usize,
    },
    /// The tokenizer needs more tokens.
    #[error("a vocabulary of {given} tokens is too small: bytes, special tokens and characters are {least}")]
    Vocabulary {
        /// The vocabulary's tokens.
        given: u64,
        /// The least.
        least: usize,
    },
    /// Sizes that no model has.
    #[error("{0}")]
    Shape(String),
    /// What the system says.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl TestModel {
    /// Refuses sizes that do not go together.
    pub(super) fn check(&self) -> Result<(), TestModelError> {
        let least = least(&self.family());
        if self.vocabulary < least as u64 {
            return Err(TestModelError::Vocabulary { given: self.vocabulary, least });
        }
        let wrong = |reason: String| Err(TestModelError::Shape(reason));
        let sizes = [
            ("layers", self.layers),
            ("hidden", self.hidden),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("head", self.head),
            ("feed_forward", self.feed_forward),
            ("context", self.context),
            ("vocabulary", self.vocabulary),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| *size == 0 || *size > MOST) {
            return wrong(format!("`{name}` is {size}: it must be from 1 to {MOST}"));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return wrong(format!(
                "{} query heads are no multiple of {} KV heads",
                self.heads, self.kv_heads
            ));
        }
        if !self.head.is_multiple_of(2) {
            return wrong(format!("a head of {} cannot be rotated: it must be even", self.head));
        }
        let (name, wide) = (self.architecture.name(), self.heads * self.head);
        if self.architecture == Architecture::Phi3 && self.hidden != wide {
            return wrong(format!(
                "phi3's heads together are {wide} wide and the residual stream {}: they must be equal",
                self.hidden
            ));
        }
        let phi = self.architecture == Architecture::Phi3;
        let llama = matches!(self.architecture, Architecture::Llama | Architecture::Mistral);
        if self.biases && !llama && self.architecture != Architecture::Qwen2 {
            return wrong(format!("{name} has no biases"));
        }
        match self.rope_scaling {
            RopeScaling::Divisors { .. } if !llama => wrong(format!("{name} has no divisors of frequencies")),
            RopeScaling::Long { .. } if !phi => wrong(format!("{name} has no factors for long contexts")),
            _ => Ok(()),
        }
    }

    /// Refuses a tensor whose rows are no whole blocks.
    pub(super) fn check_rows(tensor: &SparseTensor) -> Result<(), TestModelError> {
        let (kind, columns) = (WeightType::named(tensor.kind), tensor.sizes[0]);
        let block = kind.map_or(1, WeightType::numbers);
        if columns.is_multiple_of(block as u64) {
            return Ok(());
        }
        Err(TestModelError::Row { tensor: tensor.name.clone(), columns, kind: tensor.kind, block })
    }
}
