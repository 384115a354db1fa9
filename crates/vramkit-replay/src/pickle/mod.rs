//! Python pickles of plain data: dictionaries, lists, tuples, texts, bytes, numbers, booleans and nothing.
//!
//! In: a file's bytes. Out: its values, in one table. Nothing that is in a file is ever run, and no length in it is
//! believed.

mod cursor;
mod machine;
mod value;

pub(crate) use machine::read;
pub(crate) use value::{Id, Pickle, PickleValue};
