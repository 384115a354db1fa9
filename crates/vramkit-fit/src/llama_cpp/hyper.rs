//! The numbers of a model as llama.cpp takes them from a header, with its defaults (`llama-model.cpp`, `load_hparams`).

use vramkit_models::gguf::{GgufHeader, GgufValue};

use crate::error::FitError;

/// Most experts of a layer that llama.cpp takes (`LLAMA_MAX_EXPERTS`).
const EXPERTS: u64 = 1024;

/// Most layers that llama.cpp takes.
const LAYERS: u64 = 512;

/// What one layer's attention is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerHeads {
    pub heads: u64,
    pub kv_heads: u64,
    pub key: u64,
    pub value: u64,
    /// Looks back a window alone.
    pub windowed: bool,
    /// Keeps a recurrent state (and, unless attention is beside it, no keys and values).
    pub recurrent: bool,
}

impl LayerHeads {
    /// Numbers of the keys of a token.
    pub fn keys(&self) -> u64 {
        self.kv_heads * self.key
    }

    /// Numbers of the values of a token.
    pub fn values(&self) -> u64 {
        self.kv_heads * self.value
    }
}

/// A state-space model's numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StateSpace {
    pub convolution: u64,
    pub inner: u64,
    pub state: u64,
    pub rank: u64,
    pub groups: u64,
}

/// A model's numbers.
#[derive(Clone, Debug)]
pub(crate) struct Hyper {
    pub trained_context: u64,
    pub hidden: u64,
    /// Layers that every token passes.
    pub layers: Vec<LayerHeads>,
    /// Layers behind them that predict further tokens.
    pub draft_layers: u64,
    /// Tokens of a window.
    pub window: u64,
    pub experts: u64,
    pub experts_used: u64,
    pub expert_groups: u64,
    pub expert_groups_used: u64,
    pub state_space: StateSpace,
    /// Context of the first training, from which rotations of long contexts are used.
    pub original_context: u64,
}

/// Reads keys of one model's header, and says which is missing.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub model: &'a str,
    pub header: &'a GgufHeader,
}

impl Keys<'_> {
    pub fn wrong(&self, reason: impl Into<String>) -> FitError {
        FitError::Header { model: self.model.to_owned(), reason: reason.into() }
    }

    fn found(&self, key: &str) -> Result<Option<u64>, FitError> {
        self.header.number(key).map_err(|reason| self.wrong(reason.to_string()))
    }

    /// A whole number, or this where it is not there.
    pub fn number(&self, key: &str, otherwise: u64) -> Result<u64, FitError> {
        Ok(self.found(key)?.unwrap_or(otherwise))
    }

    /// A whole number that must be there.
    pub fn needed(&self, key: &str) -> Result<u64, FitError> {
        self.found(key)?.ok_or_else(|| self.wrong(format!("no `{}.{key}` in it", self.header.architecture)))
    }

    /// A floating-point number, or this where it is not there.
    pub fn float(&self, key: &str, otherwise: f64) -> f64 {
        match self.header.value(key) {
            Some(GgufValue::Float(value)) => *value,
            _ => otherwise,
        }
    }

    pub fn flag(&self, key: &str, otherwise: bool) -> bool {
        match self.header.value(key) {
            Some(GgufValue::Bool(value)) => *value,
            _ => otherwise,
        }
    }

    /// A number for each layer: the same for all, or one each.
    pub fn each(&self, key: &str, layers: usize, otherwise: u64) -> Result<Vec<u64>, FitError> {
        let found = self.header.numbers(key, layers).map_err(|reason| self.wrong(reason.to_string()))?;
        Ok(found.unwrap_or_else(|| vec![otherwise; layers]))
    }

    /// Which layers look back a window: as the header lists them, or all but the last of every group of so many.
    pub fn window_layers(&self, hyper: &mut Hyper, period: u64) -> Result<(), FitError> {
        const KEY: &str = "attention.sliding_window_pattern";
        match self.each_flag(KEY, hyper.layers.len()) {
            Some(flags) => hyper.layers.iter_mut().zip(flags).for_each(|(layer, flag)| layer.windowed = flag),
            None => hyper.window_pattern(self.number(KEY, period)?, false),
        }
        for layer in hyper.layers.iter_mut().filter(|layer| layer.windowed) {
            layer.key = self.number("attention.key_length_swa", layer.key)?;
            layer.value = self.number("attention.value_length_swa", layer.value)?;
        }
        Ok(())
    }

    /// A truth value for each layer, where the header lists them.
    pub fn each_flag(&self, key: &str, layers: usize) -> Option<Vec<bool>> {
        let flags: Vec<bool> = match self.header.value(key)? {
            GgufValue::Bools(flags) => flags.clone(),
            GgufValue::Integers(values) => values.iter().map(|&value| value != 0).collect(),
            _ => return None,
        };
        (flags.len() >= layers).then(|| flags[..layers].to_vec())
    }
}

impl Hyper {
    /// What all architectures have in common.
    pub fn read(keys: Keys<'_>) -> Result<Self, FitError> {
        let all = keys.needed("block_count")?;
        if all == 0 || all > LAYERS {
            return Err(keys.wrong(format!("{all} layers; llama.cpp takes 1 to {LAYERS}")));
        }
        let draft_layers = keys.number("nextn_predict_layers", 0)?;
        if draft_layers >= all {
            return Err(keys.wrong(format!("{draft_layers} of {all} layers predict further tokens")));
        }
        let hidden = keys.needed("embedding_length")?;
        if hidden == 0 {
            return Err(keys.wrong("embeddings of 0 numbers"));
        }
        let count = (all - draft_layers) as usize;
        let heads = keys.each("attention.head_count", count, 0)?;
        let kv_heads = match keys.header.value("attention.head_count_kv") {
            Some(_) => keys.each("attention.head_count_kv", count, 0)?,
            None => heads.clone(),
        };
        let first = heads.first().copied().unwrap_or(0);
        let default = hidden.checked_div(first).unwrap_or(0);
        let key = keys.number("attention.key_length", default)?;
        let value = keys.number("attention.value_length", default)?;
        let mut layers: Vec<_> = heads
            .iter()
            .zip(&kv_heads)
            .map(|(&heads, &kv_heads)| LayerHeads {
                heads,
                kv_heads,
                key: if first == 0 { 0 } else { key },
                value: if first == 0 { 0 } else { value },
                windowed: false,
                recurrent: false,
            })
            .collect();
        for (at, layer) in layers.iter_mut().enumerate() {
            if layer.kv_heads > layer.heads || (layer.kv_heads > 0 && layer.heads % layer.kv_heads != 0) {
                return Err(keys.wrong(format!(
                    "layer {at}: {} heads cannot share {} KV heads evenly",
                    layer.heads, layer.kv_heads
                )));
            }
        }
        let experts = keys.number("expert_count", 0)?;
        let experts_used = keys.each("expert_used_count", count, 0)?.into_iter().max().unwrap_or(0);
        if experts > EXPERTS {
            return Err(keys.wrong(format!("{experts} experts; llama.cpp takes up to {EXPERTS}")));
        }
        if experts_used > experts || (experts > 0 && experts_used == 0) {
            return Err(keys.wrong(format!("{experts_used} of {experts} experts are used")));
        }
        let trained_context = keys.needed("context_length")?;
        Ok(Self {
            trained_context,
            hidden,
            layers,
            draft_layers,
            window: keys.number("attention.sliding_window", 0)?,
            experts,
            experts_used,
            expert_groups: keys.number("expert_group_count", 0)?,
            expert_groups_used: keys.number("expert_group_used_count", 0)?,
            state_space: StateSpace {
                convolution: keys.number("ssm.conv_kernel", 0)?,
                inner: keys.number("ssm.inner_size", 0)?,
                state: keys.number("ssm.state_size", 0)?,
                rank: keys.number("ssm.time_step_rank", 0)?,
                groups: keys.number("ssm.group_count", 0)?,
            },
            original_context: keys.number("rope.scaling.original_context_length", trained_context)?,
        })
    }

    /// Layers in groups of so many look back a window, the last (or the first) of each excepted.
    pub fn window_pattern(&mut self, period: u64, full_first: bool) {
        for (at, layer) in self.layers.iter_mut().enumerate() {
            let place = at as u64 % period.max(1);
            layer.windowed = period == 0 || if full_first { place != 0 } else { place + 1 < period };
        }
    }

    /// The same model with no more of its layers than show every kind of attention.
    pub fn shortest(&self) -> Self {
        let is_new = |at: &usize| !self.layers[..*at].contains(&self.layers[*at]);
        let last = (0..self.layers.len()).rfind(is_new).unwrap_or(0);
        Self { layers: self.layers[..self.layers.len().min(last + 1)].to_vec(), ..self.clone() }
    }

    /// Layers that the file stores, those that predict further tokens counted.
    pub fn all_layers(&self) -> usize {
        self.layers.len() + self.draft_layers as usize
    }
}
