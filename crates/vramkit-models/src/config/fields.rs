//! The keys of a configuration, each checked as it is asked for.
//!
//! In: the object that describes the text model, and its family's defaults. Out: whole numbers that can be believed, lists, texts,
//! flags; errors name the key, what it holds and what would do. It remembers which keys were asked for: what a reader never
//! asked for it did not understand (`guard.rs`). Never here: what a key means.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::ReadError;

use super::literals::LITERALS;

/// The largest number that is believed: numbers of a matrix's side, of a vocabulary, of a context.
pub(super) const MOST: u64 = 1 << 40;
/// The most layers that are believed.
pub(super) const MOST_LAYERS: u64 = 4096;

/// Names of one thing; the first is the one that defaults are given for and errors name.
pub(super) type Names = &'static [&'static str];

/// Layers.
pub(super) const LAYERS: Names =
    &["num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_transformer_layers"];
/// Numbers of a token between layers.
pub(super) const HIDDEN: Names =
    &["hidden_size", "n_embd", "n_embed", "d_model", "model_dim", "emb_dim", "embedding_dim"];
/// Query heads.
pub(super) const HEADS: Names = &["num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads"];
/// Heads that keep keys and values.
pub(super) const KV_HEADS: Names =
    &["num_key_value_heads", "num_kv_heads", "n_head_kv", "num_attention_groups"];
/// Numbers of a head.
pub(super) const HEAD: Names =
    &["head_dim", "kv_channels", "attention_head_dim", "d_kv", "hidden_size_per_head"];

/// An object of a configuration.
pub(super) struct Fields<'a> {
    file: &'a str,
    /// Where the object is: empty, or `text_config.`.
    at: String,
    family: &'a str,
    object: &'a Map<String, Value>,
    whole: &'a Map<String, Value>,
    defaults: &'static str,
    asked: RefCell<BTreeSet<&'static str>>,
    understood: RefCell<Vec<&'static str>>,
    defaulted: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Fields<'a> {
    /// An object at this place (empty, or with a dot at its end), of this family.
    pub(super) fn new(
        file: &'a str,
        at: impl Into<String>,
        family: &'a str,
        object: &'a Map<String, Value>,
        defaults: &'static str,
    ) -> Self {
        Self {
            file,
            at: at.into(),
            family,
            object,
            whole: object,
            defaults,
            asked: RefCell::default(),
            understood: RefCell::default(),
            defaulted: RefCell::default(),
        }
    }

    /// The same, as a part of this whole configuration.
    pub(super) fn part_of(self, whole: &'a Map<String, Value>) -> Self {
        Self { whole, ..self }
    }

    /// The whole configuration that it is a part of.
    pub(super) fn whole_configuration(&self) -> &'a Map<String, Value> {
        self.whole
    }

    /// The model type whose keys these are.
    pub(super) fn family(&self) -> &str {
        self.family
    }

    /// The object itself.
    pub(super) fn object(&self) -> &'a Map<String, Value> {
        self.object
    }

    /// Something is wrong with the file.
    pub(super) fn wrong(&self, reason: impl Into<String>) -> ReadError {
        ReadError::within(self.file, reason)
    }

    /// A key is missing.
    pub(super) fn missing(&self, key: &str) -> ReadError {
        self.wrong(format!("no `{}{key}` in it, which the family {} needs", self.at, self.family))
    }

    /// The place of a key, as errors name it.
    pub(super) fn place(&self, key: &str) -> String {
        format!("`{}{key}`", self.at)
    }

    /// What a key holds; `None` where it is absent or null.
    fn given(&self, key: &'static str) -> Option<&'a Value> {
        self.asked.borrow_mut().insert(key);
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn whole(&self, key: &str, value: &Value) -> Result<u64, ReadError> {
        let float = |value: f64| {
            (value.fract() == 0.0 && (0.0..=MOST as f64).contains(&value)).then_some(value as u64)
        };
        let number = value.as_u64().or_else(|| value.as_f64().and_then(float));
        number.filter(|&number| number <= MOST).ok_or_else(|| {
            let held = shortened(value);
            self.wrong(format!("{} is {held}, and not a whole number from 0 to 2^40", self.place(key)))
        })
    }

    /// What the family's code takes where the key is absent.
    fn default(&self, key: &'static str) -> Option<u64> {
        let of = |entry: &str| entry.strip_prefix(key)?.strip_prefix('=')?.parse().ok();
        let found = self.defaults.split_ascii_whitespace().find_map(of)?;
        self.defaulted.borrow_mut().insert(key);
        Some(found)
    }

    /// A whole number, or the family's default where the key is absent; `None` where it is null, or absent without one.
    pub(super) fn number(&self, key: &'static str) -> Result<Option<u64>, ReadError> {
        self.asked.borrow_mut().insert(key);
        match self.object.get(key) {
            None => Ok(self.default(key)),
            Some(Value::Null) => Ok(None),
            Some(value) => self.whole(key, value).map(Some),
        }
    }

    /// A whole number that has to be there, or to have a default.
    pub(super) fn need(&self, key: &'static str) -> Result<u64, ReadError> {
        self.number(key)?.ok_or_else(|| self.missing(key))
    }

    /// A whole number, 1 or more, that has to be there, or to have a default.
    pub(super) fn positive(&self, key: &'static str) -> Result<u64, ReadError> {
        match self.need(key)? {
            0 => Err(self.zero(key)),
            number => Ok(number),
        }
    }

    /// A whole number under whichever of its names; they must not contradict each other.
    pub(super) fn any_of(&self, names: Names) -> Result<Option<u64>, ReadError> {
        let mut found: Option<(&str, u64)> = None;
        for &name in names {
            let Some(value) = self.given(name) else { continue };
            let number = self.whole(name, value)?;
            match found {
                Some((other, before)) if before != number => {
                    let (one, two) = (self.place(other), self.place(name));
                    return Err(self.wrong(format!("{one} is {before} and {two} {number}: which is it?")));
                }
                _ => found = Some((name, number)),
            }
        }
        let is_null = || names.iter().any(|&name| self.object.contains_key(name));
        Ok(match found {
            Some((_, number)) => Some(number),
            None if is_null() => None,
            None => self.default(names[0]),
        })
    }

    /// What a model cannot be without. The whole configuration gives it; in a part of one, what the family's code takes by
    /// default is left out.
    fn essential(&self, names: Names) -> Result<u64, ReadError> {
        let given = names.iter().any(|&name| self.given(name).is_some());
        if !given && self.at.is_empty() {
            return Err(self.missing(names[0]));
        }
        match self.any_of(names)?.ok_or_else(|| self.missing(names[0]))? {
            0 => Err(self.wrong(format!("{} is 0; a model has at least 1", self.place(names[0])))),
            number => Ok(number),
        }
    }

    /// Its layers, at least one.
    pub(super) fn layers(&self) -> Result<usize, ReadError> {
        self.layer_count(LAYERS)
    }

    /// Layers under these names, at least one.
    pub(super) fn layer_count(&self, names: Names) -> Result<usize, ReadError> {
        let layers = self.essential(names)?;
        if layers > MOST_LAYERS {
            return Err(self.wrong(format!("{layers} layers; at most {MOST_LAYERS} are read")));
        }
        Ok(layers as usize)
    }

    /// Its hidden width, at least one.
    pub(super) fn hidden(&self) -> Result<u64, ReadError> {
        self.essential(HIDDEN)
    }

    /// Its query heads, at least one.
    pub(super) fn heads(&self) -> Result<u64, ReadError> {
        self.essential(HEADS)
    }

    /// A truth value; numbers are true unless 0.
    pub(super) fn flag(&self, key: &'static str) -> Result<Option<bool>, ReadError> {
        match self.given(key) {
            None => Ok(self.default(key).map(|number| number != 0)),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(value) => self.whole(key, value).map(|number| Some(number != 0)),
        }
    }

    /// A text.
    pub(super) fn text(&self, key: &'static str) -> Result<Option<&'a str>, ReadError> {
        let Some(value) = self.given(key) else { return Ok(None) };
        let held = || self.wrong(format!("{} is {}, and no text", self.place(key), shortened(value)));
        value.as_str().map(Some).ok_or_else(held)
    }

    /// A list of at most [`MOST_LAYERS`] things.
    pub(super) fn list(&self, key: &'static str) -> Result<Option<&'a [Value]>, ReadError> {
        let Some(value) = self.given(key) else { return Ok(None) };
        match value.as_array() {
            Some(list) if list.len() as u64 <= MOST_LAYERS => Ok(Some(list)),
            Some(list) => {
                let place = self.place(key);
                Err(self.wrong(format!("{place} has {} entries; at most {MOST_LAYERS} are read", list.len())))
            }
            None => Err(self.wrong(format!("{} is {}, and no list", self.place(key), shortened(value)))),
        }
    }

    /// A list of whole numbers.
    pub(super) fn numbers(&self, key: &'static str) -> Result<Option<Vec<u64>>, ReadError> {
        let Some(list) = self.list(key)? else { return Ok(None) };
        list.iter().map(|value| self.whole(key, value)).collect::<Result<_, _>>().map(Some)
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &'static str) -> Result<Option<Vec<&'a str>>, ReadError> {
        let Some(list) = self.list(key)? else { return Ok(None) };
        let text = |value: &'a Value| {
            let held = || self.wrong(format!("{} holds {}, and no text", self.place(key), shortened(value)));
            value.as_str().ok_or_else(held)
        };
        list.iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// A number for each layer: a list of as many, or one number for all.
    pub(super) fn each(&self, key: &'static str, layers: usize) -> Result<Option<Vec<u64>>, ReadError> {
        if !self.object.get(key).is_some_and(Value::is_array) {
            return Ok(self.number(key)?.map(|number| vec![number; layers]));
        }
        let Some(numbers) = self.numbers(key)? else { return Ok(None) };
        self.as_many(key, numbers.len(), layers)?;
        Ok(Some(numbers))
    }

    /// A list must have an entry for each layer.
    pub(super) fn as_many(&self, key: &str, entries: usize, layers: usize) -> Result<(), ReadError> {
        if entries == layers {
            return Ok(());
        }
        Err(self.wrong(format!("{} has {entries} entries for {layers} layers", self.place(key))))
    }

    /// An object inside, with the same family's defaults.
    pub(super) fn inside(&self, key: &'static str) -> Result<Option<Fields<'a>>, ReadError> {
        let Some(value) = self.given(key) else { return Ok(None) };
        let object = value.as_object().ok_or_else(|| {
            self.wrong(format!("{} is {}, and no object", self.place(key), shortened(value)))
        })?;
        Ok(Some(Fields::new(self.file, format!("{}{key}.", self.at), self.family, object, self.defaults)))
    }

    /// The first of these above 0: whole numbers, or lists of one for each layer at least, of which the largest counts. The family's
    /// default where none is there, and 0 without one. It does not count as asked for: what the number is used for is no matter
    /// of what is kept.
    pub(super) fn widest(&self, names: &[&'static str], layers: usize) -> Result<u64, ReadError> {
        self.first(names, |key, value| match value {
            Value::Array(list) if list.len() < layers => {
                Err(self.as_many(key, list.len(), layers).err().unwrap_or_else(|| self.missing(key)))
            }
            Value::Array(list) => {
                list.iter().try_fold(0, |widest, value| Ok(self.whole(key, value)?.max(widest)))
            }
            value => self.whole(key, value),
        })
    }

    /// As [`widest`](Self::widest), of what is one number for the whole model and at least 1.
    pub(super) fn only(&self, names: &[&'static str]) -> Result<u64, ReadError> {
        self.first(names, |key, value| match self.whole(key, value)? {
            0 => Err(self.zero(key)),
            number => Ok(number),
        })
    }

    fn first(
        &self,
        names: &[&'static str],
        number: impl Fn(&'static str, &Value) -> Result<u64, ReadError>,
    ) -> Result<u64, ReadError> {
        let mut found = 0;
        for &name in names {
            let Some(value) = self.object.get(name).filter(|value| !value.is_null()) else { continue };
            let number = number(name, value)?;
            if found == 0 {
                found = number;
            }
        }
        if names.iter().any(|&name| self.object.contains_key(name)) {
            return Ok(found);
        }
        Ok(names.iter().find_map(|&name| self.default(name)).unwrap_or(0))
    }

    /// The first of these that is there and 0.
    pub(super) fn zero_among(&self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().copied().find(|&name| self.object.get(name).and_then(Value::as_f64) == Some(0.0))
    }

    /// A key is 0 that cannot be.
    pub(super) fn zero(&self, key: &str) -> ReadError {
        self.wrong(format!("{} is 0; give at least 1", self.place(key)))
    }

    /// A number from `least` to `most`, whole or not; `None` where it is absent or null.
    pub(super) fn factor(&self, key: &'static str, least: f64, most: f64) -> Result<Option<f64>, ReadError> {
        let Some(value) = self.given(key) else { return Ok(None) };
        let number = value.as_f64().filter(|number| (least..=most).contains(number));
        let held = || {
            self.wrong(format!(
                "{} is {}, and no number from {least} to {most}",
                self.place(key),
                shortened(value)
            ))
        };
        number.map(Some).ok_or_else(held)
    }

    /// The object under a key of an object of layers.
    pub(super) fn inside_of(&self, key: &'a str) -> Result<Option<Fields<'a>>, ReadError> {
        match self.object.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => {
                Ok(Some(Fields::new(self.file, format!("{}{key}.", self.at), self.family, object, "")))
            }
            Some(other) => {
                Err(self.wrong(format!("{} is {}, and no object", self.place(key), shortened(other))))
            }
        }
    }

    /// Says that keys with this word in them are understood, though not asked for: they change nothing that is kept.
    pub(super) fn understand(&self, words: &[&'static str]) {
        self.understood.borrow_mut().extend(words);
    }

    /// Keys that nobody asked for or understood.
    pub(super) fn unasked(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let (asked, understood) = (self.asked.borrow(), self.understood.borrow());
        let unasked: Vec<_> = (self.object.iter())
            .filter(|(key, _)| !asked.contains(key.as_str()))
            .filter(|(key, _)| !understood.iter().any(|word| key.contains(word)))
            .map(|(key, value)| (key.as_str(), value))
            .collect();
        unasked.into_iter()
    }

    /// The defaults that were taken, in a sentence.
    pub(super) fn defaults_taken(&self) -> Option<String> {
        let taken = self.defaulted.borrow();
        let value = |key: &&'static str| Some(format!("{key} {}", self.default_of(key)?));
        let taken: Vec<String> = taken.iter().filter_map(value).collect();
        (!taken.is_empty()).then(|| {
            format!("the configuration leaves to the family {}'s defaults: {}", self.family, taken.join(", "))
        })
    }

    fn default_of(&self, key: &str) -> Option<&'static str> {
        self.defaults.split_ascii_whitespace().find_map(|entry| entry.strip_prefix(key)?.strip_prefix('='))
    }
}

/// A value as errors show it.
fn shortened(value: &Value) -> String {
    let text = match value.as_str() {
        Some(text) if LITERALS.contains(&text) => text.to_owned(),
        _ => value.to_string(),
    };
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
