//! What a pickle remembers of its values, to name them again.

use hashbrown::HashMap;

use super::table::Value;

/// Values by the numbers that they were remembered under: nearly always one after the other.
#[derive(Default)]
pub(super) struct Memo {
    dense: Vec<Value>,
    others: HashMap<u64, Value>,
}

impl Memo {
    #[inline]
    pub(super) fn get(&self, key: u64) -> Option<Value> {
        let dense = usize::try_from(key).ok().and_then(|at| self.dense.get(at));
        dense.or_else(|| self.others.get(&key)).copied()
    }

    #[inline]
    pub(super) fn set(&mut self, key: u64, value: Value) {
        match usize::try_from(key) {
            Ok(at) if at < self.dense.len() => self.dense[at] = value,
            Ok(at) if at == self.dense.len() && !self.others.contains_key(&key) => self.dense.push(value),
            _ => drop(self.others.insert(key, value)),
        }
    }

    pub(super) fn len(&self) -> u64 {
        (self.dense.len() + self.others.len()) as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        4 * self.dense.len() as u64 + 24 * self.others.len() as u64
    }
}
