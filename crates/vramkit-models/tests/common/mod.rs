//! Writes GGUF and safetensors files, right ones and wrong ones.
#![allow(dead_code)] // each test file uses its part

use std::fs::File;
use std::io::Write;
use std::path::Path;

/// A GGUF file in the making.
#[derive(Clone, Default)]
pub struct Gguf {
    pub keys: Vec<u8>,
    pub key_count: u64,
    pub tensors: Vec<u8>,
    pub tensor_count: u64,
    /// Where the next tensor goes, from the start of the data.
    pub end: u64,
    pub version: Option<u32>,
    pub keys_said: Option<u64>,
    pub tensors_said: Option<u64>,
}

fn text(into: &mut Vec<u8>, text: &str) {
    into.extend((text.len() as u64).to_le_bytes());
    into.extend(text.as_bytes());
}

impl Gguf {
    fn key(&mut self, name: &str, kind: u32, value: &[u8]) {
        text(&mut self.keys, name);
        self.keys.extend(kind.to_le_bytes());
        self.keys.extend(value);
        self.key_count += 1;
    }

    pub fn raw(mut self, name: &str, kind: u32, value: &[u8]) -> Self {
        self.key(name, kind, value);
        self
    }

    pub fn number(mut self, name: &str, value: u32) -> Self {
        self.key(name, 4, &value.to_le_bytes());
        self
    }

    pub fn short(mut self, name: &str, value: u16) -> Self {
        self.key(name, 2, &value.to_le_bytes());
        self
    }

    pub fn text(mut self, name: &str, value: &str) -> Self {
        let mut bytes = Vec::new();
        text(&mut bytes, value);
        self.key(name, 8, &bytes);
        self
    }

    pub fn numbers(mut self, name: &str, values: &[u32]) -> Self {
        let mut bytes = 4u32.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        self.key(name, 9, &bytes);
        self
    }

    pub fn flags(mut self, name: &str, values: &[bool]) -> Self {
        let mut bytes = 7u32.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        bytes.extend(values.iter().map(|&value| u8::from(value)));
        self.key(name, 9, &bytes);
        self
    }

    pub fn texts(mut self, name: &str, values: &[&str]) -> Self {
        let mut bytes = 8u32.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| text(&mut bytes, value));
        self.key(name, 9, &bytes);
        self
    }

    /// A tensor of 32-bit numbers behind the others.
    pub fn tensor(self, name: &str, dims: &[u64]) -> Self {
        let offset = self.end;
        let bytes = 4 * dims.iter().product::<u64>();
        let mut with = self.tensor_at(name, dims, 0, offset);
        with.end = (offset + bytes).next_multiple_of(32);
        with
    }

    pub fn tensor_at(mut self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        text(&mut self.tensors, name);
        self.tensors.extend((dims.len() as u32).to_le_bytes());
        dims.iter().for_each(|length| self.tensors.extend(length.to_le_bytes()));
        self.tensors.extend(kind.to_le_bytes());
        self.tensors.extend(offset.to_le_bytes());
        self.tensor_count += 1;
        self
    }

    /// The header, and where its data ends.
    pub fn bytes(&self) -> (Vec<u8>, u64) {
        let mut all = b"GGUF".to_vec();
        all.extend(self.version.unwrap_or(3).to_le_bytes());
        all.extend(self.tensors_said.unwrap_or(self.tensor_count).to_le_bytes());
        all.extend(self.keys_said.unwrap_or(self.key_count).to_le_bytes());
        all.extend(&self.keys);
        all.extend(&self.tensors);
        let data = (all.len() as u64).next_multiple_of(32);
        (all, data + self.end)
    }

    /// Writes it, its data as a hole.
    pub fn write(&self, path: &Path) {
        let (header, length) = self.bytes();
        let mut file = File::create(path).expect("create");
        file.write_all(&header).expect("write");
        file.set_len(length.max(header.len() as u64)).expect("length");
    }
}

/// Two layers of a llama.
pub fn llama() -> Gguf {
    Gguf::default()
        .text("general.architecture", "llama")
        .number("llama.block_count", 2)
        .number("llama.context_length", 4096)
        .number("llama.embedding_length", 64)
        .number("llama.feed_forward_length", 128)
        .number("llama.attention.head_count", 8)
        .number("llama.attention.head_count_kv", 2)
        .texts("tokenizer.ggml.tokens", &["a", "b", "c"])
        .tensor("token_embd.weight", &[64, 100])
        .tensor("output.weight", &[64, 100])
}

/// A safetensors file of this header and so many bytes of data.
pub fn safetensors(path: &Path, header: &str, data: u64) {
    let mut file = File::create(path).expect("create");
    file.write_all(&(header.len() as u64).to_le_bytes()).expect("write");
    file.write_all(header.as_bytes()).expect("write");
    file.set_len(8 + header.len() as u64 + data).expect("length");
}
