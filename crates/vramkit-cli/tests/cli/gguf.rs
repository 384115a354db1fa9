//! GGUF files that are made as tests need them: the header is written, and where tensors would be is a hole.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// A file as it is put together.
#[derive(Default)]
pub struct Gguf {
    metadata: Vec<u8>,
    keys: u64,
    tensors: Vec<u8>,
    count: u64,
    offset: u64,
}

impl Gguf {
    fn key(&mut self, key: &str, kind: u32) {
        self.keys += 1;
        text(&mut self.metadata, key);
        self.metadata.extend(kind.to_le_bytes());
    }

    pub fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key, 8);
        text(&mut self.metadata, value);
        self
    }

    pub fn number(mut self, key: &str, value: u32) -> Self {
        self.key(key, 4);
        self.metadata.extend(value.to_le_bytes());
        self
    }

    pub fn float(mut self, key: &str, value: f32) -> Self {
        self.key(key, 6);
        self.metadata.extend(value.to_le_bytes());
        self
    }

    /// A tensor of 16-bit numbers, or of 32-bit ones where it has one dimension.
    pub fn tensor(&mut self, name: &str, dims: &[u64]) {
        let (kind, bytes): (u32, u64) = if dims.len() == 1 { (0, 4) } else { (1, 2) };
        self.count += 1;
        text(&mut self.tensors, name);
        self.tensors.extend((dims.len() as u32).to_le_bytes());
        dims.iter().for_each(|dim| self.tensors.extend(dim.to_le_bytes()));
        self.tensors.extend(kind.to_le_bytes());
        self.tensors.extend(self.offset.to_le_bytes());
        self.offset += (dims.iter().product::<u64>() * bytes).next_multiple_of(32);
    }

    /// Writes the header; the file is as long as if the tensors were in it.
    pub fn write(&self, path: &Path) {
        let mut header = b"GGUF".to_vec();
        header.extend(3_u32.to_le_bytes());
        header.extend(self.count.to_le_bytes());
        header.extend(self.keys.to_le_bytes());
        header.extend(&self.metadata);
        header.extend(&self.tensors);
        let mut file = File::create(path).unwrap();
        file.write_all(&header).unwrap();
        file.set_len((header.len() as u64).next_multiple_of(32) + self.offset).unwrap();
    }
}

fn text(into: &mut Vec<u8>, text: &str) {
    into.extend((text.len() as u64).to_le_bytes());
    into.extend(text.as_bytes());
}

/// The shape of Phi-3-mini-4k: 32 layers of 32 heads of 96 numbers, in 16 bits.
pub fn phi3(path: &Path) {
    phi3_of(path, 32);
}

/// The same with so many layers.
pub fn phi3_of(path: &Path, layers: u32) {
    let mut file = Gguf::default()
        .text("general.architecture", "phi3")
        .number("phi3.context_length", 4096)
        .number("phi3.rope.scaling.original_context_length", 4096)
        .number("phi3.embedding_length", 3072)
        .number("phi3.feed_forward_length", 8192)
        .number("phi3.block_count", layers)
        .number("phi3.attention.head_count", 32)
        .number("phi3.attention.head_count_kv", 32)
        .number("phi3.rope.dimension_count", 96)
        .number("phi3.vocab_size", 32064)
        .float("phi3.attention.layer_norm_rms_epsilon", 1e-5);
    file.tensor("token_embd.weight", &[3072, 32064]);
    file.tensor("output_norm.weight", &[3072]);
    file.tensor("output.weight", &[3072, 32064]);
    for layer in 0..layers {
        let mut tensor = |name: &str, dims: &[u64]| file.tensor(&format!("blk.{layer}.{name}.weight"), dims);
        tensor("attn_norm", &[3072]);
        tensor("attn_qkv", &[3072, 9216]);
        tensor("attn_output", &[3072, 3072]);
        tensor("ffn_norm", &[3072]);
        tensor("ffn_up", &[3072, 16384]);
        tensor("ffn_down", &[8192, 3072]);
    }
    file.write(path);
}
