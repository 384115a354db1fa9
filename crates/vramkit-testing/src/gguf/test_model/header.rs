//! From a test model to the keys and tensors of its file.

use super::super::file::{SparseFile, SparseTensor, Value};
use super::super::model::SparseModel;
use super::super::{keys, tensors, vocabulary};
use super::check::TestModelError;
use super::shape::{Architecture, RopeScaling, TestModel};

impl TestModel {
    /// Its keys and tensors.
    ///
    /// # Errors
    /// Shapes that no engine could run, with the number that is wrong.
    pub fn file(&self) -> Result<SparseFile, TestModelError> {
        self.check()?;
        let sparse = SparseModel {
            architecture: self.architecture.name().to_owned(),
            layers: self.layers,
            hidden: self.hidden,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head: self.head,
            feed_forward: self.feed_forward,
            vocabulary: self.vocabulary,
            trained_context: self.context,
            tied: self.tied,
            window: self.window,
            qkv_bias: self.biases,
            // Marks matrices among norms and biases, which are `f32`; replaced below.
            kind: "f16",
            ..SparseModel::default()
        };
        let mut file = SparseFile { keys: keys::of(&sparse), tensors: tensors::of(&sparse) };
        for tensor in &mut file.tensors {
            let outside = ["token_embd.weight", "output.weight"].contains(&tensor.name.as_str());
            if tensor.kind == "f16" {
                let kind = if outside { self.embedding_kind.unwrap_or(self.kind) } else { self.kind };
                tensor.kind = kind.name();
            }
        }
        self.tensors_of_rope(&mut file);
        self.set_keys(&mut file);
        file.tensors.iter().try_for_each(Self::check_rows)?;
        Ok(file)
    }

    fn tensors_of_rope(&self, file: &mut SparseFile) {
        let names: &[&str] = match self.rope_scaling {
            RopeScaling::Divisors { .. } => &["rope_freqs.weight"],
            RopeScaling::Long { .. } => &["rope_factors_long.weight", "rope_factors_short.weight"],
            _ => &[],
        };
        let tensors = names.iter().map(|name| SparseTensor::new(*name, "f32", &[self.head / 2]));
        file.tensors.extend(tensors);
    }

    fn set_keys(&self, file: &mut SparseFile) {
        let own = |key: &str| format!("{}.{key}", self.architecture.name());
        let count = |number: u64| u32::try_from(number).map_or(Value::U64(number), Value::U32);
        file.set("general.name", Value::Text("test model".to_owned()));
        if self.kind.numbers() > 1 || self.embedding_kind.is_some_and(|kind| kind.numbers() > 1) {
            file.set("general.quantization_version", Value::U32(2));
        }
        file.set(&own("rope.freq_base"), Value::F32(self.rope_base));
        if self.window > 0 {
            file.set(&own("attention.sliding_window"), count(self.window));
        }
        if self.architecture == Architecture::Gemma3 {
            file.set(&own("attention.layer_norm_rms_epsilon"), Value::F32(1e-6));
        }
        let mut scaling = |kind: Option<&str>,
                           factor: Option<f32>,
                           original: Option<u64>,
                           attention: Option<f32>| {
            let key = |key: &str| own(&format!("rope.scaling.{key}"));
            kind.into_iter().for_each(|kind| file.set(&key("type"), Value::Text(kind.to_owned())));
            factor.into_iter().for_each(|factor| file.set(&key("factor"), Value::F32(factor)));
            original
                .into_iter()
                .for_each(|original| file.set(&key("original_context_length"), count(original)));
            attention.into_iter().for_each(|attention| file.set(&key("attn_factor"), Value::F32(attention)));
        };
        match self.rope_scaling {
            RopeScaling::None | RopeScaling::Divisors { .. } => {}
            RopeScaling::Linear { factor } => scaling(Some("linear"), Some(factor), None, None),
            RopeScaling::Yarn { factor, original } => {
                scaling(Some("yarn"), Some(factor), Some(original), None)
            }
            RopeScaling::Long { original, attention } => scaling(None, None, Some(original), Some(attention)),
        }
        let place = file.keys.iter().position(|(key, _)| key == "tokenizer.ggml.model");
        place.into_iter().for_each(|place| drop(file.keys.remove(place)));
        file.keys.extend(vocabulary::keys(&self.family(), self.vocabulary as usize));
    }
}
