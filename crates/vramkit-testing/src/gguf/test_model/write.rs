//! Writes a test model's file, a few thousand numbers at a time.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::super::file::{SparseTensor, aligned};
use super::super::quantise::{WeightType, quantise_into};
use super::super::vocabulary::least;
use super::fill::{Draws, law};
use super::header::kind;
use super::shape::{Architecture, RopeScaling, TestModel};

/// Numbers that are drawn at a time: a multiple of every type's block.
const CHUNK: usize = 1 << 15;

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
    /// Writes its file: the same bytes for the same model. In memory are the header and a few hundred kilobytes.
    ///
    /// # Errors
    /// Shapes that no engine could run, with the number that is wrong; what the system says.
    pub fn write(&self, path: &Path) -> Result<(), TestModelError> {
        self.check()?;
        let file = self.file();
        for tensor in &file.tensors {
            self.check_rows(tensor)?;
        }
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        out.write_all(&file.header())?;
        let mut numbers = vec![0.0; CHUNK];
        let mut blocks = Vec::new();
        for tensor in &file.tensors {
            let count = tensor.sizes.iter().product::<u64>() as usize;
            let mut draws = Draws::new(law(self, &tensor.name, tensor.sizes[0]), self.seed, &tensor.name);
            let mut written = 0;
            for start in (0..count).step_by(CHUNK) {
                let numbers = &mut numbers[..CHUNK.min(count - start)];
                draws.next_into(numbers);
                blocks.clear();
                quantise_into(kind(tensor), numbers, &mut blocks);
                out.write_all(&blocks)?;
                written += blocks.len() as u64;
            }
            out.write_all(&vec![0; (aligned(written) - written) as usize])?;
        }
        Ok(out.flush()?)
    }

    fn check(&self) -> Result<(), TestModelError> {
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
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| *size == 0 || *size > 1 << 24) {
            return wrong(format!("`{name}` is {size}: it must be from 1 to {}", 1 << 24));
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
        let (llama, phi) = (
            matches!(self.architecture, Architecture::Llama | Architecture::Mistral),
            self.architecture == Architecture::Phi3,
        );
        if self.biases && !(llama || self.architecture == Architecture::Qwen2) {
            return wrong(format!("{name} has no biases"));
        }
        match self.rope_scaling {
            RopeScaling::Divisors { .. } if !llama => wrong(format!("{name} has no divisors of frequencies")),
            RopeScaling::Long { .. } if !phi => wrong(format!("{name} has no factors for long contexts")),
            _ => Ok(()),
        }
    }

    fn check_rows(&self, tensor: &SparseTensor) -> Result<(), TestModelError> {
        let (kind, columns): (WeightType, u64) = (kind(tensor), tensor.sizes[0]);
        if columns.is_multiple_of(kind.numbers() as u64) {
            return Ok(());
        }
        let (tensor, block) = (tensor.name.clone(), kind.numbers());
        Err(TestModelError::Row { tensor, columns, kind: kind.name(), block })
    }
}
