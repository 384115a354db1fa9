//! What a pickle holds: values in one table that refer to each other by number.
//!
//! A million lists inside each other, or a list inside itself, are as good as any other: nothing here descends.

/// A value's number in its [`Pickle`].
pub(crate) type Id = u32;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PickleValue {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    /// Lists, tuples and sets.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
}

/// A file's values.
#[derive(Debug)]
pub(crate) struct Pickle {
    values: Vec<PickleValue>,
    /// What the file is of.
    pub(crate) root: Id,
}

impl Pickle {
    /// Values, of which `root` is one.
    pub(super) fn new(values: Vec<PickleValue>, root: Id) -> Self {
        Self { values, root }
    }

    /// How many values the file has.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn get(&self, id: Id) -> &PickleValue {
        &self.values[id as usize]
    }

    /// What a dictionary has under a text.
    fn field(&self, dict: Id, name: &str) -> Option<&PickleValue> {
        self.field_id(dict, name).map(|id| self.get(id))
    }

    fn field_id(&self, dict: Id, name: &str) -> Option<Id> {
        let PickleValue::Dict(items) = self.get(dict) else { return None };
        // The last one set counts.
        let is_it = |id: Id| matches!(self.get(id), PickleValue::Text(text) if **text == *name);
        items.iter().rev().find(|(key, _)| is_it(*key)).map(|&(_, value)| value)
    }

    /// What a dictionary has under a text, as a list's items.
    pub(crate) fn list(&self, dict: Id, name: &str) -> Option<&[Id]> {
        match self.field(dict, name)? {
            PickleValue::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn int(&self, dict: Id, name: &str) -> Option<i64> {
        match self.field(dict, name)? {
            PickleValue::Int(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn text(&self, dict: Id, name: &str) -> Option<&str> {
        match self.field(dict, name)? {
            PickleValue::Text(text) => Some(text),
            _ => None,
        }
    }
}
