//! Walks through one JSON object as it is parsed, and keeps in a [`Record`] what may be a length.
//!
//! Nested objects are paths of the record (`usage.prompt_tokens`); objects in arrays are records of their own. Numbers in arrays
//! of arrays, and text that is no name or number, are passed over.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::record::{Item, Leaf, Paths, Record};

/// A path that is longer is no name of a length.
const LONGEST_PATH: usize = 512;

/// The record of an object.
pub(super) fn object<'de, A: MapAccess<'de>>(paths: &mut Paths, map: A) -> Result<Record, A::Error> {
    let mut record = Record::default();
    Member { paths, record: &mut record, path: &mut String::new() }.visit_map(map)?;
    Ok(record)
}

/// An element of an array.
pub(super) struct Element<'p, 'a> {
    pub(super) paths: &'p mut Paths<'a>,
}

/// What an element is.
pub(super) enum Seen {
    Object(Box<Record>),
    Item(Item),
}

impl<'de> DeserializeSeed<'de> for Element<'_, '_> {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Seen, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_, '_> {
    type Value = Seen;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Seen, A::Error> {
        Ok(Seen::Object(Box::new(object(self.paths, map)?)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Seen, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Seen::Item(Item::Other))
    }

    fn visit_str<E>(self, text: &str) -> Result<Seen, E> {
        Ok(Seen::Item(if text.is_empty() { Item::Other } else { Item::Text }))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Seen, E> {
        Ok(Seen::Item(if value { Item::Other } else { Item::False }))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Seen, E> {
        Ok(Seen::Item(Item::Number(value as f64)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Seen, E> {
        Ok(Seen::Item(Item::Number(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Seen, E> {
        Ok(Seen::Item(Item::Number(value)))
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(Seen::Item(Item::Other))
    }
}

/// A member of an object, at a path within the record that the object belongs to.
struct Member<'s, 'a> {
    paths: &'s mut Paths<'a>,
    record: &'s mut Record,
    path: &'s mut String,
}

impl Member<'_, '_> {
    fn leaf(self, leaf: Leaf) {
        self.record.leaf(self.paths, self.path, leaf);
    }
}

impl<'de> DeserializeSeed<'de> for Member<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let before = self.path.len();
        loop {
            if before > 0 {
                self.path.push('.');
            }
            if map.next_key_seed(Key(self.path))?.is_none() {
                self.path.truncate(before);
                return Ok(());
            }
            if self.path.len() > LONGEST_PATH {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Member { paths: self.paths, record: self.record, path: self.path })?;
            }
            self.path.truncate(before);
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut list = Record::wants(self.path).then(Vec::new);
        let mut entry = 0;
        while let Some(element) = seq.next_element_seed(Element { paths: self.paths })? {
            entry += 1;
            match (element, &mut list) {
                (Seen::Object(object), _) => self.record.element(self.paths, self.path, entry, *object),
                (Seen::Item(item), Some(list)) => list.push(item),
                (Seen::Item(_), None) => {}
            }
        }
        if let Some(list) = list.filter(|list| !list.is_empty()) {
            self.record.list(self.path, list);
        }
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.leaf(Leaf::Text(text));
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.leaf(Leaf::Bool);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.leaf(Leaf::Number(value as f64));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.leaf(Leaf::Number(value as f64));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.leaf(Leaf::Number(value));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.leaf(Leaf::Null);
        Ok(())
    }
}

/// Writes a key behind the path.
struct Key<'s>(&'s mut String);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<(), E> {
        self.0.push_str(key);
        Ok(())
    }
}
