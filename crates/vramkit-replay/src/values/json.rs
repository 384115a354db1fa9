//! The same values from JSON, as snapshots are converted to by hand.

use std::cell::Cell;
use std::fmt;
use std::io::Read;
use std::rc::Rc;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::source::{Budget, Counted, ValueError};
use super::table::{Kind, Value, Values};

/// Reads one document of JSON, whose values keep within a budget.
pub(crate) fn read(from: impl Read, budget: Budget) -> Result<Values, ValueError> {
    let mut values = Values::new();
    let (counted, read) = Counted::new(from);
    let mut json = serde_json::Deserializer::from_reader(counted);
    let seed = Seed { values: &mut values, read: read.clone(), budget: &budget };
    let root = seed
        .deserialize(&mut json)
        .map_err(|error| ValueError::Content { at: read.get(), what: error.to_string() })?;
    values.trailing = json.end().is_err();
    values.root = Some(root);
    Ok(values)
}

struct Seed<'a> {
    values: &'a mut Values,
    read: Rc<Cell<u64>>,
    budget: &'a Budget,
}

impl Seed<'_> {
    fn again(&mut self) -> Seed<'_> {
        Seed { values: self.values, read: self.read.clone(), budget: self.budget }
    }

    fn check<E: Error>(&self) -> Result<(), E> {
        if self.values.is_full() {
            return Err(E::custom("more values than any snapshot has"));
        }
        match self.values.bytes() {
            taken if taken <= self.budget.most(self.read.get()) => Ok(()),
            taken => Err(E::custom(format!("it would take {taken} bytes of memory: no snapshot does"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::NONE)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(self.values.new_int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::NONE, |value| self.values.new_int(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(self.values.new_float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::text(self.values.intern(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let list = self.values.new_list(&[]);
        let Kind::List(number) = self.values.kind(list) else { unreachable!("a list was made") };
        // In pieces, as pickles have them: what lies inside comes first, and the list stays in one place.
        let mut piece = Vec::new();
        while let Some(item) = items.next_element_seed(self.again())? {
            piece.push(item);
            if piece.len() == 1000 {
                self.values.extend(number, &piece);
                piece.clear();
                self.check()?;
            }
        }
        self.values.extend(number, &piece);
        self.check()?;
        Ok(list)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut pairs: A) -> Result<Value, A::Error> {
        let dict = self.values.new_dict();
        let Kind::Dict(number) = self.values.kind(dict) else { unreachable!("a dictionary was made") };
        let mut all = Vec::new();
        while let Some(key) = pairs.next_key_seed(self.again())? {
            all.push((key, pairs.next_value_seed(self.again())?));
            if all.len() == 1000 {
                self.values.insert(number, all.drain(..));
                self.check()?;
            }
        }
        self.values.insert(number, all.into_iter());
        self.check()?;
        Ok(dict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Key;

    #[test]
    fn json_is_read() {
        let text = r#"{"size": 7, "blocks": [{"size": 1}, {"size": -2}, 2.5, null, true], "other": [1, 2]} "#;
        let values = read(text.as_bytes(), Budget::default()).unwrap();
        let root = values.root.unwrap();
        assert_eq!(values.int_of(root, Key::Size), Some(7));
        let blocks = values.list_of(root, Key::Blocks).unwrap();
        assert_eq!(
            blocks.iter().map(|&block| values.int_of(block, Key::Size)).collect::<Vec<_>>(),
            [Some(1), Some(-2), None, None, None]
        );
        assert!(!values.trailing);
        assert!(read(&b"[] x"[..], Budget::default()).unwrap().trailing);
    }

    #[test]
    fn what_is_broken_or_deep_or_large_is_an_error() {
        let refused =
            |text: &str| read(text.as_bytes(), Budget::default()).map(|_| ()).unwrap_err().to_string();
        assert!(refused("[1, 2").contains("EOF"));
        assert!(refused(&"[".repeat(1000)).contains("recursion"));
        assert!(refused(&format!("[{}1]", "[],".repeat(10_000_000))).contains("of memory"));
    }
}
