//! Writes a test model's file, a few thousand numbers at a time.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::super::file::aligned;
use super::super::quantise::{WeightType, quantise_into};
use super::check::TestModelError;
use super::fill::{Draws, law};
use super::shape::TestModel;

/// Numbers that are drawn at a time: a multiple of every type's block.
const CHUNK: usize = 1 << 15;

impl TestModel {
    /// Writes its file: the same bytes for the same model. In memory are the header and a few hundred kilobytes.
    ///
    /// # Errors
    /// As [`file`](Self::file); what the system says.
    pub fn write(&self, path: &Path) -> Result<(), TestModelError> {
        let file = self.file()?;
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        out.write_all(&file.header())?;
        let mut numbers = vec![0.0; CHUNK];
        let mut blocks = Vec::new();
        for tensor in &file.tensors {
            let count = tensor.sizes.iter().product::<u64>() as usize;
            let mut draws = Draws::new(law(self, &tensor.name, tensor.sizes[0]), self.seed, &tensor.name);
            // No other types are listed.
            let kind = WeightType::named(tensor.kind).unwrap_or(WeightType::F32);
            let mut written = 0;
            for start in (0..count).step_by(CHUNK) {
                let numbers = &mut numbers[..CHUNK.min(count - start)];
                draws.next_into(numbers);
                blocks.clear();
                quantise_into(kind, numbers, &mut blocks);
                out.write_all(&blocks)?;
                written += blocks.len() as u64;
            }
            out.write_all(&vec![0; (aligned(written) - written) as usize])?;
        }
        Ok(out.flush()?)
    }
}
