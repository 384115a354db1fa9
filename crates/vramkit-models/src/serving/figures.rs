//! Gathers what lines say of each figure; of several the least counts.

use std::collections::BTreeMap;

use vramkit_units::ByteSize;

use super::cache::{Engine, Figure, FigureLine, ServingCache};

/// A line is cut here where it is kept.
const LONGEST_TEXT: usize = 200;

/// What the lines of one log say.
#[derive(Default)]
pub(super) struct Figures {
    /// Each figure's values with their lines.
    values: BTreeMap<Figure, Vec<(f64, FigureLine)>>,
    notes: Vec<String>,
}

impl Figures {
    /// A line's figure; none is none, and so is zero, which engines print for what is not set.
    pub(super) fn add(&mut self, figure: Figure, line: u64, text: &str, value: Option<u64>) {
        if let Some(value) = value.filter(|value| *value > 0) {
            self.put(figure, line, text, value as f64);
        }
    }

    /// A line's share of memory.
    pub(super) fn add_share(&mut self, line: u64, text: &str, value: Option<f64>) {
        if let Some(value) = value.filter(|value| *value > 0.0 && *value <= 1.0) {
            self.put(Figure::GpuMemoryUtilization, line, text, value);
        }
    }

    fn put(&mut self, figure: Figure, line: u64, text: &str, value: f64) {
        let text = text.trim().chars().take(LONGEST_TEXT).collect();
        self.values.entry(figure).or_default().push((value, FigureLine { figure, line, text }));
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(super) fn has(&self, figure: Figure) -> bool {
        self.values.contains_key(&figure)
    }

    /// The least value of a figure.
    pub(super) fn least(&self, figure: Figure) -> Option<u64> {
        let values = self.values.get(&figure)?.iter().map(|(value, _)| *value);
        values.reduce(f64::min).map(|value| value as u64)
    }

    /// Keeps only the first value of a figure, or the last, where the others are of something else.
    pub(super) fn keep(&mut self, figure: Figure, last: bool, why: &str) {
        let Some(values) = self.values.get_mut(&figure) else { return };
        let (Some(first), Some(end)) = (values.first().cloned(), values.last().cloned()) else { return };
        let kept = if last { end } else { first };
        let differ = values.iter().filter(|(value, _)| *value != kept.0).count();
        if differ > 0 {
            self.notes.push(format!("{figure}: {differ} lines say something else: {why}"));
        }
        *values = vec![kept];
    }

    pub(super) fn finish(mut self, engine: Engine) -> Option<ServingCache> {
        if self.values.is_empty() {
            return None;
        }
        let mut lines = Vec::new();
        let mut found = BTreeMap::new();
        for (figure, values) in std::mem::take(&mut self.values) {
            let least = values.iter().min_by(|(a, _), (b, _)| a.total_cmp(b));
            let most = values.iter().map(|(value, _)| *value).reduce(f64::max);
            let (Some((value, line)), Some(most)) = (least, most) else { continue };
            if *value != most {
                self.notes.push(format!(
                    "{figure}: {} lines say from {value} to {most}; the least counts",
                    values.len()
                ));
            } else if values.len() > 1 && figure == Figure::KvTokens {
                self.notes.push(format!("{figure}: {} lines say the same", values.len()));
            }
            lines.push(line.clone());
            found.insert(figure, *value);
        }
        let whole = |figure| found.get(&figure).map(|value: &f64| *value as u64);
        let small = |figure| whole(figure).and_then(|value| u32::try_from(value).ok());
        Some(ServingCache {
            engine,
            kv_tokens: whole(Figure::KvTokens),
            block_tokens: small(Figure::BlockTokens),
            kv_bytes: whole(Figure::KvBytes).map(ByteSize::new),
            max_model_len: small(Figure::MaxModelLen),
            max_sequences: small(Figure::MaxSequences),
            gpu_memory_utilization: found.get(&Figure::GpuMemoryUtilization).copied(),
            lines,
            notes: self.notes,
        })
    }
}
