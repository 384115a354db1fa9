//! What sequences keep of a memory, in bytes: for each token, and for each sequence whatever its length.
//!
//! In: a question. Out: the tokens that a memory has room for beside so many sequences, and the largest batch where that number
//! falls with the batch. Windows and recurrent state are counted whole for every sequence from its first token.

use std::collections::BTreeMap;

use vramkit::ByteSize;
use vramkit_models::ReadError;
use vramkit_models::header::ModelHeader;
use vramkit_models::shape::{Cache, Heads, Layer, ModelShape};
use vramkit_occupancy::{
    Batching, Inverse, OccupancyError, OccupancyReport, Population, Service, TokenDemand,
};

use super::question::{CapacityQuestion, KvSource, Memory};
use crate::error::{AskError, QuestionError};

/// Bytes of a number of recurrent state: engines keep it in 32 bits, or less.
const STATE_BYTES: u64 = 4;
/// Most layers and most numbers of a token that are believed of a shape that is given.
const LAYERS: u64 = 1 << 16;
const ELEMENTS: u64 = 1 << 40;

/// What sequences keep.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    memory: Option<Memory>,
    /// Tokens that are held once for all sequences.
    pub once: f64,
    /// Bytes of each token; `None` where no model is named.
    pub per_token: Option<u64>,
    /// Bytes of each sequence beside them.
    pub per_sequence: u64,
    /// What is said of it.
    pub notes: Vec<String>,
}

impl Kept {
    /// Reads the model that a question names. `once` tokens are held once for all sequences.
    pub fn of(question: &CapacityQuestion, memory: Option<Memory>, once: f64) -> Result<Self, AskError> {
        let (shape, mut notes) = match &question.model {
            None => return Ok(Self { memory, once, ..Self::default() }),
            Some(KvSource::Model(path)) => {
                let unknown = |file| ReadError::KvShapeUnknown { file };
                let model = ModelHeader::read(path).map_err(|error| match error {
                    ReadError::UnknownModel(file) => unknown(file),
                    error => error,
                })?;
                if model.shape.layers.is_empty() {
                    return Err(unknown(path.display().to_string()).into());
                }
                (model.shape, model.notes)
            }
            Some(KvSource::Shape { layers, kv_heads, head_dim }) => {
                (alike(*layers, *kv_heads, *head_dim)?, Vec::new())
            }
        };
        let kept = shape.elements(1);
        let cross: u64 = shape.layers.iter().map(of_other_input).fold(0, u64::saturating_add);
        // A window as long as the longest text that the model takes is never full: what it keeps grows with every token.
        let longest = shape.trained_context.unwrap_or(u64::MAX);
        let (mut growing, mut windows) = (kept.growing_per_token, cross);
        // Where every layer has a window, tokens are all that a sequence keeps: then none is taken to be full.
        let never_full = growing == 0 && !kept.bounded.is_empty();
        if never_full {
            notes.push(
                "every layer looks back a window, and sequences are counted as if they never passed it: longer ones take less"
                    .to_owned(),
            );
        }
        for &(most, each) in &kept.bounded {
            match never_full || most >= longest {
                true => growing = growing.saturating_add(each),
                false => windows = windows.saturating_add(most.saturating_mul(each)),
            }
        }
        let state = kept.constant.saturating_sub(cross).saturating_mul(STATE_BYTES);
        let per_token = question.cache_type.bytes_of(growing);
        let windows = question.cache_type.bytes_of(windows);
        let per_sequence = windows.saturating_add(state);
        if per_token == 0 {
            return Err(nothing_grows(memory, per_sequence).into());
        }
        if per_sequence > 0 {
            notes.push(format!(
                "each sequence keeps {} whatever its length, which is not in the tokens: windows as if full {}, recurrent \
                 state at {STATE_BYTES} bytes a number {}",
                ByteSize::new(per_sequence),
                ByteSize::new(windows),
                ByteSize::new(state)
            ));
        }
        Ok(Self { memory, once, per_token: Some(per_token), per_sequence, notes })
    }

    /// Tokens that the memory has room for beside so many sequences and what is held once: those that are there as a whole.
    pub fn tokens(&self, seats: u32) -> Result<Option<f64>, QuestionError> {
        let all = match (self.memory, self.per_token) {
            (None, _) => return Ok(None),
            (Some(Memory::Tokens(tokens)), _) => tokens,
            (Some(Memory::Bytes(memory)), Some(each)) => {
                let aside = self.per_sequence.saturating_mul(u64::from(seats));
                (memory.bytes().saturating_sub(aside) / each) as f64
            }
            (Some(Memory::Bytes(_)), None) => return Err(QuestionError::NoShape),
            (Some(Memory::Card { .. }), _) => return Err(QuestionError::CardWithoutModel),
        };
        Ok(Some(if self.once > 0.0 { (all - self.once).max(0.0) } else { all }))
    }

    /// Bytes of so many tokens and sequences; `None` where no model is named.
    pub fn bytes(&self, tokens: f64, seats: u32) -> Option<u64> {
        let aside = self.per_sequence.saturating_mul(u64::from(seats));
        Some((tokens.ceil() as u64).saturating_mul(self.per_token?).saturating_add(aside))
    }

    /// Whether a larger batch leaves fewer tokens.
    fn falls(&self) -> bool {
        self.per_sequence > 0 && matches!(self.memory, Some(Memory::Bytes(_)))
    }

    /// The largest batch for a risk: value, and the two between which it lies.
    pub fn largest_batch(
        &self,
        service: &Service,
        batching: Batching,
        risk: f64,
    ) -> Result<[f64; 3], AskError> {
        let at = |seats: u32| -> Result<[f64; 3], AskError> {
            let tokens = self.tokens(seats)?.unwrap_or(0.0);
            let Inverse { value, low, high, .. } = service.largest_batch(batching, tokens, risk)?;
            Ok([value, low, high])
        };
        let most = at(0)?;
        if !self.falls() {
            return Ok(most);
        }
        // With each seat there are fewer tokens: the most seats that are still a batch for what they leave.
        let mut known = BTreeMap::new();
        let mut of = |seats: u32| -> Result<[f64; 3], AskError> {
            if let Some(&found) = known.get(&seats) {
                return Ok(found);
            }
            let found = match at(seats) {
                _ if self.tokens(seats)?.is_none_or(|tokens| tokens < 1.0) => [0.0; 3],
                // Too little is left for a single request.
                Err(AskError::Occupancy(OccupancyError::RequestTooLarge { .. })) => [0.0; 3],
                found => found?,
            };
            known.insert(seats, found);
            Ok(found)
        };
        let mut largest = [0.0; 3];
        for (which, largest) in largest.iter_mut().enumerate() {
            let (mut good, mut bad) = (0, most[which] as u32 + 1);
            while bad - good > 1 {
                let seats = good + (bad - good) / 2;
                if of(seats)?[which] >= f64::from(seats) { good = seats } else { bad = seats }
            }
            *largest = f64::from(good);
        }
        Ok(largest)
    }

    /// Puts bytes into a report, and the batches right that are there for one number of tokens.
    pub fn complete(
        &self,
        occupancy: &mut OccupancyReport,
        service: &Service,
        batching: Batching,
    ) -> Result<(), AskError> {
        let seats = batching.seats();
        // What is held once is part of the memory, and not of what was computed with.
        for tokens in [
            &mut occupancy.capacity_tokens,
            &mut occupancy.capacity_tokens_needed,
            &mut occupancy.capacity_tokens_needed_low,
            &mut occupancy.capacity_tokens_needed_high,
        ] {
            *tokens = tokens.map(|tokens| tokens + self.once);
        }
        occupancy.kv_bytes_per_token = self.per_token;
        occupancy.capacity_bytes_needed =
            occupancy.capacity_tokens_needed.and_then(|tokens| self.bytes(tokens, seats));
        occupancy.notes.extend(self.notes.iter().cloned());
        let (true, Some(Memory::Bytes(memory)), Some(each)) = (self.falls(), self.memory, self.per_token)
        else {
            return Ok(());
        };
        for batch in occupancy.batches.iter_mut().filter(|batch| batch.max_batch.is_some()) {
            let [value, low, high] =
                self.largest_batch(service, batching, batch.risk)?.map(|batch| batch as u32);
            (batch.max_batch, batch.max_batch_low, batch.max_batch_high) =
                (Some(value), Some(low), Some(high));
        }
        occupancy.max_batch = occupancy.batches.first().and_then(|batch| batch.max_batch);
        let fit = |tokens: f64| {
            let sequence = tokens * each as f64 + self.per_sequence as f64;
            (memory.bytes() as f64 / sequence).floor().min(f64::from(u32::MAX)) as u32
        };
        let mean = match batching {
            Batching::Continuous { seats } => {
                Some(TokenDemand::new(service.lengths, Population::Seats(seats), service.block)?.mean())
            }
            Batching::Threshold(_) => occupancy.xmax.exact,
        };
        occupancy.mean_fit_batch = mean.map(|mean| fit(mean / f64::from(seats)));
        occupancy.worst_case_batch = service.lengths.largest_granted(service.block).map(fit);
        Ok(())
    }
}

/// A model whose layers are all alike.
fn alike(layers: u64, kv_heads: u64, head: u64) -> Result<ModelShape, QuestionError> {
    let none = || {
        QuestionError::Shape(format!(
            "{layers} layers of {kv_heads} KV heads of {head} numbers: no shape of a KV cache"
        ))
    };
    let numbers =
        layers.checked_mul(kv_heads).and_then(|n| n.checked_mul(head)).and_then(|n| n.checked_mul(2));
    if layers > LAYERS || !numbers.is_some_and(|numbers| (1..=ELEMENTS).contains(&numbers)) {
        return Err(none());
    }
    let mut shape = ModelShape::new("given", 0);
    let layer = Layer::keeping(Cache::Full(Heads { kv_heads, key: head, value: head }));
    shape.layers = vec![layer; layers as usize];
    Ok(shape)
}

/// Numbers that a layer keeps of another input than the text.
fn of_other_input(layer: &Layer) -> u64 {
    match layer.cache {
        Cache::Cross { heads, tokens } => {
            heads.kv_heads.saturating_mul(heads.key.saturating_add(heads.value)).saturating_mul(tokens)
        }
        _ => 0,
    }
}

/// Why nothing can be said of a model whose sequences do not grow.
fn nothing_grows(memory: Option<Memory>, per_sequence: u64) -> QuestionError {
    let fit = match memory {
        Some(Memory::Bytes(memory)) => memory.bytes().checked_div(per_sequence),
        _ => None,
    };
    QuestionError::NothingGrows { per_sequence: ByteSize::new(per_sequence), fit }
}
