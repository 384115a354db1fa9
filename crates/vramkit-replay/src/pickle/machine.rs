//! The stack machine of pickles, without the opcodes that look up, build or call anything: those are errors, so nothing
//! in a file is ever run. (The format: `pickletools.py` in Python's library.)
//!
//! In: a file's bytes. Out: its values. Memory is in proportion to the file: an opcode adds one value at most, and a
//! list takes what is on the stack from the stack.

use hashbrown::HashMap;

use super::cursor::{Cursor, PickleError};
use super::value::{Id, Pickle, PickleValue};

/// Reads a file.
pub(crate) fn read(bytes: &[u8]) -> Result<Pickle, PickleError> {
    let mut reader = Reader {
        input: Cursor::new(bytes),
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Memo::default(),
    };
    let root = reader.run()?;
    Ok(Pickle::new(reader.values, root))
}

struct Reader<'a> {
    input: Cursor<'a>,
    values: Vec<PickleValue>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: Memo,
}

/// Values by the numbers that they were remembered under: nearly always one after the other.
#[derive(Default)]
struct Memo {
    dense: Vec<Id>,
    others: HashMap<u64, Id>,
}

impl Memo {
    #[inline]
    fn get(&self, key: u64) -> Option<Id> {
        let dense = usize::try_from(key).ok().and_then(|at| self.dense.get(at));
        dense.or_else(|| self.others.get(&key)).copied()
    }

    fn set(&mut self, key: u64, id: Id) {
        match usize::try_from(key) {
            Ok(at) if at < self.dense.len() => self.dense[at] = id,
            Ok(at) if at == self.dense.len() && !self.others.contains_key(&key) => self.dense.push(id),
            _ => drop(self.others.insert(key, id)),
        }
    }

    fn len(&self) -> u64 {
        (self.dense.len() + self.others.len()) as u64
    }
}

impl Reader<'_> {
    fn push(&mut self, value: PickleValue) -> Result<(), PickleError> {
        let Ok(id) = Id::try_from(self.values.len()) else {
            return self.input.error("more than 2^32 values");
        };
        self.values.push(value);
        self.stack.push(id);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return self.input.error("the stack is empty");
        }
        Ok(self.stack.remove(self.stack.len() - 1))
    }

    fn top(&mut self) -> Result<Id, PickleError> {
        match self.stack.last() {
            Some(&id) => Ok(id),
            None => self.input.error("the stack is empty"),
        }
    }

    /// Everything since the last mark.
    fn marked(&mut self) -> Result<Vec<Id>, PickleError> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => self.input.error("there is no mark"),
        }
    }

    fn int(&mut self, number: i64) -> Result<(), PickleError> {
        self.push(PickleValue::Int(number))
    }

    fn text(&mut self, width: u64) -> Result<(), PickleError> {
        let bytes = self.input.counted(width)?;
        // Python writes lone surrogates; they are no text of ours and nothing that is looked for.
        self.push(PickleValue::Text(String::from_utf8_lossy(bytes).into()))
    }

    fn blob(&mut self, width: u64) -> Result<(), PickleError> {
        let bytes = self.input.counted(width)?;
        self.push(PickleValue::Bytes(bytes.into()))
    }

    /// A number of any length, two's complement; what passes 64 bits becomes a fraction.
    fn long(&mut self, width: u64) -> Result<(), PickleError> {
        let bytes = self.input.counted(width)?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let fill = if negative { 0xff } else { 0 };
        let significant = bytes.iter().rposition(|&byte| byte != fill).map_or(0, |at| at + 1);
        let value = if significant <= 8 {
            let mut word = [fill; 8];
            word[..significant].copy_from_slice(&bytes[..significant]);
            let word = i64::from_le_bytes(word);
            if (word < 0) == negative {
                PickleValue::Int(word)
            } else {
                PickleValue::Float(word as u64 as f64)
            }
        } else {
            PickleValue::Float(if negative { f64::NEG_INFINITY } else { f64::INFINITY })
        };
        self.push(value)
    }

    fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>, PickleError> {
        if !items.len().is_multiple_of(2) {
            return self.input.error("a key without a value");
        }
        Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    /// Puts what is on the stack from a height on into the list or the dictionary below it.
    fn extend(&mut self, from: usize) -> Result<(), PickleError> {
        let Some(&into) = from.checked_sub(1).and_then(|at| self.stack.get(at)) else {
            return self.input.error("the stack is empty");
        };
        match &mut self.values[into as usize] {
            PickleValue::List(list) => list.extend_from_slice(&self.stack[from..]),
            _ => return self.input.error("items for something that is not a list"),
        }
        self.stack.truncate(from);
        Ok(())
    }

    fn extend_dict(&mut self, from: usize) -> Result<(), PickleError> {
        if !(self.stack.len() - from).is_multiple_of(2) {
            return self.input.error("a key without a value");
        }
        let Some(&into) = from.checked_sub(1).and_then(|at| self.stack.get(at)) else {
            return self.input.error("the stack is empty");
        };
        match &mut self.values[into as usize] {
            PickleValue::Dict(dict) => {
                dict.extend(self.stack[from..].chunks_exact(2).map(|pair| (pair[0], pair[1])))
            }
            _ => return self.input.error("items for something that is not a dictionary"),
        }
        self.stack.truncate(from);
        Ok(())
    }

    /// The height of the stack at the last mark.
    fn mark(&mut self) -> Result<usize, PickleError> {
        match self.marks.pop() {
            Some(mark) => Ok(mark),
            None => self.input.error("there is no mark"),
        }
    }

    /// The height of the stack below its last items, none of which is below the last mark.
    fn below(&self, items: usize) -> Result<usize, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(items) {
            Some(from) if from >= floor => Ok(from),
            _ => self.input.error("the stack is empty"),
        }
    }

    fn remember(&mut self, key: u64) -> Result<(), PickleError> {
        let id = self.top()?;
        self.memo.set(key, id);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<(), PickleError> {
        match self.memo.get(key) {
            Some(id) => {
                self.stack.push(id);
                Ok(())
            }
            None => self.input.error(format!("memo {key} was never set")),
        }
    }

    fn tuple(&mut self, count: usize) -> Result<(), PickleError> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(PickleValue::List(items))
    }

    fn run(&mut self) -> Result<Id, PickleError> {
        loop {
            let opcode = self.input.byte()?;
            match opcode {
                0x80 => match self.input.number(1)? {
                    0..=5 => {}
                    version => return self.input.error(format!("protocol {version} is not known")),
                },
                // A frame's length is a hint for readers that buffer.
                0x95 => drop(self.input.number(8)?),
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => match self.pop() {
                    Ok(_) => {}
                    Err(_) if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
                    Err(error) => return Err(error),
                },
                b'1' => drop(self.marked()?),
                b'2' => {
                    let id = self.top()?;
                    self.stack.push(id);
                }
                b'N' => self.push(PickleValue::None)?,
                0x88 => self.push(PickleValue::Bool(true))?,
                0x89 => self.push(PickleValue::Bool(false))?,
                b'K' => {
                    let number = self.input.number(1)?;
                    self.int(number as i64)?;
                }
                b'M' => {
                    let number = self.input.number(2)?;
                    self.int(number as i64)?;
                }
                b'J' => {
                    let number = self.input.word()?;
                    self.int(i64::from(number as i32))?;
                }
                b'I' | b'L' => {
                    let number = self.input.line_of()?;
                    self.int(number)?;
                }
                b'F' => {
                    let number: f64 = self.input.line_of()?;
                    self.push(PickleValue::Float(number))?;
                }
                b'G' => {
                    let bits = self.input.number(8)?.swap_bytes();
                    self.push(PickleValue::Float(f64::from_bits(bits)))?;
                }
                0x8a => self.long(1)?,
                0x8b => self.long(4)?,
                b'V' | b'S' => {
                    let line = self.input.line()?;
                    let quotes: &[char] = if opcode == b'S' { &['\'', '"'] } else { &[] };
                    let text = String::from_utf8_lossy(line).trim_matches(quotes).into();
                    self.push(PickleValue::Text(text))?;
                }
                0x8c | b'U' => self.text(1)?,
                b'X' | b'T' => self.text(4)?,
                0x8d => self.text(8)?,
                b'C' => self.blob(1)?,
                b'B' => self.blob(4)?,
                0x8e | 0x96 => self.blob(8)?,
                b']' | b')' | 0x8f => self.push(PickleValue::List(Vec::new()))?,
                b'}' => self.push(PickleValue::Dict(Vec::new()))?,
                b't' | b'l' | 0x91 => {
                    let items = self.marked()?;
                    self.push(PickleValue::List(items))?;
                }
                b'd' => {
                    let items = self.marked()?;
                    let pairs = self.pairs(&items)?;
                    self.push(PickleValue::Dict(pairs))?;
                }
                0x85..=0x87 => self.tuple(usize::from(opcode - 0x84))?,
                b'a' => {
                    let from = self.below(1)?;
                    self.extend(from)?;
                }
                b'e' | 0x90 => {
                    let from = self.mark()?;
                    self.extend(from)?;
                }
                b's' => {
                    let from = self.below(2)?;
                    self.extend_dict(from)?;
                }
                b'u' => {
                    let from = self.mark()?;
                    self.extend_dict(from)?;
                }
                0x94 => self.remember(self.memo.len())?,
                b'q' => {
                    let key = self.input.number(1)?;
                    self.remember(key)?;
                }
                b'r' => {
                    let key = self.input.number(4)?;
                    self.remember(key)?;
                }
                b'p' => {
                    let key = self.input.line_of()?;
                    self.remember(key)?;
                }
                b'h' => {
                    let key = self.input.byte()?;
                    self.recall(key.into())?;
                }
                b'j' => {
                    let key = self.input.word()?;
                    self.recall(key.into())?;
                }
                b'g' => {
                    let key = self.input.line_of()?;
                    self.recall(key)?;
                }
                _ => {
                    return self.input.error_before(match name_of_call(opcode) {
                        Some(name) => format!("opcode {name} would run code; only plain data is read"),
                        None => format!("{opcode:#04x} is not an opcode"),
                    });
                }
            }
        }
    }
}

/// Opcodes that import, build or call.
fn name_of_call(opcode: u8) -> Option<&'static str> {
    Some(match opcode {
        b'c' => "GLOBAL",
        0x93 => "STACK_GLOBAL",
        b'R' => "REDUCE",
        b'b' => "BUILD",
        b'i' => "INST",
        b'o' => "OBJ",
        0x81 => "NEWOBJ",
        0x92 => "NEWOBJ_EX",
        0x82..=0x84 => "EXT",
        b'P' | b'Q' => "PERSID",
        0x97 | 0x98 => "BUFFER",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_data_of_old_and_new_protocols() {
        // {'a': [1, -2, 2.5, None, True], 'b': ('x', b'yz', 1 << 40)} by Python's pickle, protocols 4 and 0.
        let four = b"\x80\x04\x95\x31\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01J\xfe\xff\xff\xffG@\x04\x00\x00\x00\x00\x00\x00N\x88e\x8c\x01b\x94\x8c\x01x\x94C\x02yz\x94\x8a\x06\x00\x00\x00\x00\x00\x01\x87\x94u.";
        let zero =
            b"(dp0\nVa\np1\n(lp2\nI1\naI-2\naF2.5\naNaI01\nasVb\np3\n(Vx\np4\nVyz\nL1099511627776L\ntp5\ns.";
        for bytes in [&four[..], &zero[..]] {
            let pickle = read(bytes).unwrap();
            let list: Vec<&PickleValue> =
                pickle.list(pickle.root, "a").unwrap().iter().map(|&id| pickle.get(id)).collect();
            assert_eq!(
                list[..4],
                [&PickleValue::Int(1), &PickleValue::Int(-2), &PickleValue::Float(2.5), &PickleValue::None]
            );
            let last = *pickle.list(pickle.root, "b").unwrap().last().unwrap();
            assert_eq!(pickle.get(last), &PickleValue::Int(1 << 40));
        }
    }

    #[test]
    fn nothing_is_called_and_nothing_overflows() {
        let refused = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        assert!(refused(b"cos\nsystem\n(S'ls'\ntR.").contains("opcode GLOBAL would run code"));
        assert!(refused(b"\x80\x04\x8c\x02os\x8c\x06system\x93.").contains("STACK_GLOBAL"));
        assert!(refused(b"X\xff\xff\xff\xff").contains("4294967295 bytes are announced, 0 are left"));
        assert!(refused(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff").contains("announced"));
        assert!(refused(b".").contains("stack is empty"));
        assert!(refused(b"\x80\x09.").contains("protocol 9"));
        assert!(refused(b"h\x07.").contains("memo 7"));
        assert!(refused(b"").contains("1 bytes are announced"));
        let mut deep = vec![b']'; 1_000_000];
        deep.extend(vec![b'a'; 999_999]);
        deep.push(b'.');
        read(&deep).expect("a million lists inside each other");
        // A list inside itself.
        read(b"]\x94h\x00a.").unwrap();
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn opcodes_in_any_order_are_no_panic(bytes in prop::collection::vec(prop::sample::select(
            &b"](}){t)aeus012.NK\x88\x85\x86\x87\x94q\x00h\x01dl"[..]), 0..80)) {
            let _ = read(&bytes);
        }
    }
}
