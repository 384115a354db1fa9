//! The stack machine of pickles, which calls nothing: what a file wants to be called is not, and gives nothing, but for the kinds of
//! dictionaries that stand for a plain one. (The format: `pickletools.py` in Python's library.)
//!
//! In: a file's bytes. Out: its values. Memory is a small multiple of what has been read.

use std::io::Read;

use super::escapes::unescaped;
use super::memo::Memo;
use super::source::{Budget, Source, ValueError};
use super::table::{Kind, Value, Values};

/// Longer texts are names of nothing that is looked for; nothing of them is kept.
const LONGEST_TEXT: u64 = 64 << 10;
/// No writer leaves more on the stack: a list is written in pieces of a thousand.
const HIGHEST_STACK: usize = 1 << 22;

/// Whether a file that begins so is a pickle: of any protocol, whatever its name.
pub(crate) fn is_pickle(begin: &[u8]) -> bool {
    match *begin {
        // Protocol 2 and later say so.
        [0x80, 2..=9, ..] => true,
        // Earlier ones begin with a dictionary or a list, which is remembered or filled, or with a class.
        [b'(', b'd' | b'l' | b'}' | b']' | b'(' | b'c', ..] => true,
        [b'}' | b']', b'q' | b'.' | b'(' | b'p', ..] => true,
        [b'c', ..] => begin.starts_with(b"ccollections\n") || begin.starts_with(b"c__builtin__\n"),
        _ => false,
    }
}

/// Reads a pickle, whose values keep within a budget.
pub(crate) fn read(from: impl Read, budget: Budget) -> Result<Values, ValueError> {
    let mut machine = Machine {
        input: Source::new(from),
        values: Values::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Memo::default(),
        budget,
        checked: 0,
    };
    let root = machine.run()?;
    let trailing = !machine.input.is_at_end()?;
    let mut values = machine.values;
    (values.root, values.trailing) = (Some(root), trailing);
    Ok(values)
}

struct Machine<R> {
    input: Source<R>,
    values: Values,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: Memo,
    budget: Budget,
    /// What was taken when the bounds were last looked at.
    checked: u64,
}

impl<R: Read> Machine<R> {
    #[inline]
    fn push(&mut self, value: Value) -> Result<(), ValueError> {
        self.stack.push(value);
        if self.stack.len() > HIGHEST_STACK { self.too_high() } else { Ok(()) }
    }

    #[cold]
    fn too_high(&self) -> Result<(), ValueError> {
        self.input
            .error(format!("more than {HIGHEST_STACK} values wait on its stack: nobody writes a snapshot so"))
    }

    /// Whether what is taken is still in proportion to what was read.
    #[inline]
    fn check(&mut self) -> Result<(), ValueError> {
        const EVERY: u64 = 1 << 20;
        let stacks = 4 * self.stack.capacity() + 8 * self.marks.capacity();
        let taken = self.values.bytes() + self.memo.bytes() + stacks as u64;
        if taken < self.checked + EVERY {
            return Ok(());
        }
        self.checked = taken;
        let read = self.input.position();
        if self.values.is_full() {
            return self.input.error("more values than any snapshot has");
        }
        if taken <= self.budget.most(read) {
            return Ok(());
        }
        self.input.error(format!("its first {read} bytes would take {taken} of memory: no snapshot does"))
    }

    fn pop(&mut self) -> Result<Value, ValueError> {
        let from = self.below(1)?;
        Ok(self.stack.remove(from))
    }

    fn top(&mut self) -> Result<Value, ValueError> {
        match self.stack.last() {
            Some(&value) => Ok(value),
            None => self.input.error("the stack is empty"),
        }
    }

    /// The height of the stack at the last mark.
    fn mark(&mut self) -> Result<usize, ValueError> {
        match self.marks.pop() {
            Some(mark) => Ok(mark),
            None => self.input.error("there is no mark"),
        }
    }

    /// The height of the stack below its last items, none of which is below the last mark.
    #[inline]
    fn below(&self, items: usize) -> Result<usize, ValueError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(items) {
            Some(from) if from >= floor => Ok(from),
            _ => self.input.error("the stack is empty"),
        }
    }

    fn text(&mut self, width: usize) -> Result<(), ValueError> {
        let length = self.input.number(width)?;
        if length > LONGEST_TEXT {
            self.input.skip(length)?;
            return self.push(Value::NONE);
        }
        let bytes = self.input.take(length as usize)?;
        // Python writes lone surrogates; they are no text of ours and nothing that is looked for.
        let number = match std::str::from_utf8(bytes) {
            Ok(text) => self.values.intern(text),
            Err(_) => self.values.intern(&String::from_utf8_lossy(bytes)),
        };
        self.push(Value::text(number))
    }

    fn blob(&mut self, width: usize) -> Result<(), ValueError> {
        let length = self.input.number(width)?;
        self.input.skip(length)?;
        self.push(Value::NONE)
    }

    /// A number of any length, two's complement; one that passes 64 bits is none of ours.
    fn long(&mut self, width: usize) -> Result<(), ValueError> {
        let length = self.input.number(width)?;
        if length > 9 {
            self.input.skip(length)?;
            return self.push(Value::NONE);
        }
        let bytes = self.input.take(length as usize)?;
        let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut word = [fill; 16];
        word[..bytes.len()].copy_from_slice(bytes);
        let value = self.int(i128::from_le_bytes(word));
        self.push(value)
    }

    /// A number, nothing where it passes 64 bits.
    fn int(&mut self, number: i128) -> Value {
        i64::try_from(number).map_or(Value::NONE, |number| self.values.new_int(number))
    }

    fn line_of<T: std::str::FromStr>(&mut self) -> Result<T, ValueError> {
        let line = self.input.line()?;
        let text = std::str::from_utf8(line).ok().map(|text| text.trim_end_matches('L'));
        match text.and_then(|text| text.parse().ok()) {
            Some(value) => Ok(value),
            None => self.input.error("a line that is not a number"),
        }
    }

    /// Puts what is on the stack from a height on into the list below it.
    fn extend(&mut self, from: usize) -> Result<(), ValueError> {
        match from.checked_sub(1).map(|at| self.values.kind(self.stack[at])) {
            Some(Kind::List(list)) => self.values.extend(list, &self.stack[from..]),
            // Items of something that was never made.
            Some(Kind::None) => {}
            _ => return self.input.error("items for something that is not a list"),
        }
        self.stack.truncate(from);
        self.check()
    }

    /// Puts pairs from a height on into the dictionary below them.
    #[inline]
    fn insert(&mut self, from: usize) -> Result<(), ValueError> {
        if !(self.stack.len() - from).is_multiple_of(2) {
            return self.input.error("a key without a value");
        }
        match from.checked_sub(1).map(|at| self.values.kind(self.stack[at])) {
            Some(Kind::Dict(dict)) => {
                self.values.insert(dict, self.stack[from..].chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            Some(Kind::None) => {}
            _ => return self.input.error("items for something that is not a dictionary"),
        }
        self.stack.truncate(from);
        self.check()
    }

    fn remember(&mut self, key: u64) -> Result<(), ValueError> {
        let value = self.top()?;
        self.memo.set(key, value);
        Ok(())
    }

    #[inline]
    fn recall(&mut self, key: u64) -> Result<(), ValueError> {
        match self.memo.get(key) {
            Some(value) => self.push(value),
            None => self.input.error(format!("memo {key} was never set")),
        }
    }

    /// The same for as many as follow each other in the window: stacks are long rows of them, and most of a file.
    fn recall_row(&mut self) -> Result<(), ValueError> {
        let mut passed = 0;
        for &[opcode, ref key @ ..] in self.input.seen().as_chunks::<5>().0 {
            let value = self.memo.get(u32::from_le_bytes(*key).into());
            let (b'j', Some(value)) = (opcode, value) else { break };
            self.stack.push(value);
            passed += 5;
        }
        self.input.pass(passed);
        // A window has room for fewer than the stack may have again.
        if self.stack.len() > HIGHEST_STACK { self.too_high() } else { Ok(()) }
    }

    /// A list of what is on the stack from a height on.
    fn gather(&mut self, from: usize) -> Result<(), ValueError> {
        let list = self.values.new_list(&self.stack[from..]);
        self.stack.truncate(from);
        self.push(list)?;
        self.check()
    }

    fn class(&mut self, module: &str, name: &str) -> Result<(), ValueError> {
        let number = self.values.intern(&format!("{module}.{name}"));
        self.push(Value::class(number))
    }

    /// What would be called, with these arguments: a plain dictionary where that is what it makes, else nothing, and said.
    fn call(&mut self, class: Value, arguments: Value) -> Result<(), ValueError> {
        let name = match self.values.kind(class) {
            Kind::Class(name) => self.values.text(name).to_owned(),
            _ => "something".to_owned(),
        };
        let value = match name.as_str() {
            "collections.OrderedDict" | "collections.defaultdict" | "builtins.dict" | "__builtin__.dict" => {
                let dict = self.values.new_dict();
                // Protocols 0 and 1 give an ordered dictionary its pairs as a list of lists.
                if let (Kind::List(arguments), Kind::Dict(number)) =
                    (self.values.kind(arguments), self.values.kind(dict))
                    && let Some(Kind::List(pairs)) =
                        self.values.items(arguments).first().map(|&first| self.values.kind(first))
                {
                    let pairs: Vec<(Value, Value)> = self
                        .values
                        .items(pairs)
                        .iter()
                        .filter_map(|&pair| match self.values.kind(pair) {
                            Kind::List(pair) => self
                                .values
                                .items(pair)
                                .first()
                                .copied()
                                .zip(self.values.items(pair).get(1).copied()),
                            _ => None,
                        })
                        .collect();
                    self.values.insert(number, pairs.into_iter());
                }
                dict
            }
            _ => {
                self.values.called.get_or_insert(name);
                Value::NONE
            }
        };
        self.push(value)
    }

    /// A class's module and name, in two lines.
    fn global(&mut self) -> Result<(), ValueError> {
        let module = String::from_utf8_lossy(self.input.line()?).into_owned();
        let name = String::from_utf8_lossy(self.input.line()?).into_owned();
        self.class(&module, &name)
    }

    fn run(&mut self) -> Result<Value, ValueError> {
        loop {
            let opcode = self.input.byte()?;
            match opcode {
                0x80 => match self.input.byte()? {
                    0..=5 => {}
                    version => return self.input.error(format!("protocol {version} is not known")),
                },
                // A frame's length is a hint for readers that buffer.
                0x95 => drop(self.input.number(8)?),
                b'.' => return self.pop(),
                b'(' => {
                    self.marks.push(self.stack.len());
                    if self.marks.len() > HIGHEST_STACK {
                        return self.input.error("more marks than anything has");
                    }
                }
                b'0' => match self.pop() {
                    Ok(_) => {}
                    Err(_) if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
                    Err(error) => return Err(error),
                },
                b'1' => {
                    let from = self.mark()?;
                    self.stack.truncate(from);
                }
                b'2' => {
                    let value = self.top()?;
                    self.push(value)?;
                }
                b'N' => self.push(Value::NONE)?,
                0x88 => self.push(Value::bool(true))?,
                0x89 => self.push(Value::bool(false))?,
                b'K' => {
                    let number = self.input.byte()?;
                    let value = self.values.new_int(number.into());
                    self.push(value)?;
                }
                b'M' => {
                    let number = self.input.number(2)?;
                    let value = self.values.new_int(number as i64);
                    self.push(value)?;
                }
                b'J' => {
                    let number = self.input.word()?;
                    let value = self.values.new_int(i64::from(number as i32));
                    self.push(value)?;
                }
                b'I' => {
                    // Protocol 0 has its booleans here too.
                    let line = self.input.line()?;
                    let value = match line {
                        b"01" => Value::bool(true),
                        b"00" => Value::bool(false),
                        _ => match std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()) {
                            Some(number) => self.values.new_int(number),
                            None => return self.input.error("a line that is not a number"),
                        },
                    };
                    self.push(value)?;
                }
                b'L' => {
                    let number: i128 = self.line_of()?;
                    let value = self.int(number);
                    self.push(value)?;
                }
                b'F' => {
                    let number: f64 = self.line_of()?;
                    let value = self.values.new_float(number);
                    self.push(value)?;
                    self.check()?;
                }
                b'G' => {
                    let bits = self.input.number(8)?.swap_bytes();
                    let value = self.values.new_float(f64::from_bits(bits));
                    self.push(value)?;
                    self.check()?;
                }
                0x8a => self.long(1)?,
                0x8b => self.long(4)?,
                b'V' | b'S' => {
                    let text = unescaped(self.input.line()?, opcode == b'S');
                    let number = self.values.intern(&text);
                    self.push(Value::text(number))?;
                    self.check()?;
                }
                0x8c | b'U' => self.text(1)?,
                b'X' | b'T' => {
                    self.text(4)?;
                    self.check()?;
                }
                0x8d => self.text(8)?,
                b'C' => self.blob(1)?,
                b'B' => self.blob(4)?,
                0x8e | 0x96 => self.blob(8)?,
                b']' | b')' | 0x8f => {
                    let list = self.values.new_list(&[]);
                    self.push(list)?;
                    self.check()?;
                }
                b'}' => {
                    let dict = self.values.new_dict();
                    self.push(dict)?;
                    self.check()?;
                }
                b't' | b'l' | 0x91 => {
                    let from = self.mark()?;
                    self.gather(from)?;
                }
                b'd' => {
                    let from = self.mark()?;
                    let dict = self.values.new_dict();
                    self.stack.insert(from, dict);
                    self.insert(from + 1)?;
                }
                0x85..=0x87 => {
                    let from = self.below(usize::from(opcode - 0x84))?;
                    self.gather(from)?;
                }
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
                    self.insert(from)?;
                }
                b'u' => {
                    let from = self.mark()?;
                    self.insert(from)?;
                }
                0x94 => self.remember(self.memo.len())?,
                b'q' => {
                    let key = self.input.byte()?;
                    self.remember(key.into())?;
                }
                b'r' => {
                    let key = self.input.word()?;
                    self.remember(key.into())?;
                }
                b'p' => {
                    let key = self.line_of()?;
                    self.remember(key)?;
                }
                b'h' => {
                    let key = self.input.byte()?;
                    self.recall(key.into())?;
                }
                b'j' => {
                    let key = self.input.word()?;
                    self.recall(key.into())?;
                    self.recall_row()?;
                }
                b'g' => {
                    let key = self.line_of()?;
                    self.recall(key)?;
                }
                b'c' => self.global()?,
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    match (self.values.kind(module), self.values.kind(name)) {
                        (Kind::Text(module), Kind::Text(name)) => {
                            let (module, name) =
                                (self.values.text(module).to_owned(), self.values.text(name).to_owned());
                            self.class(&module, &name)?;
                        }
                        _ => return self.input.error("a class whose name is no text"),
                    }
                }
                b'R' | 0x81 => {
                    let (arguments, class) = (self.pop()?, self.pop()?);
                    self.call(class, arguments)?;
                    self.check()?;
                }
                // With keywords too.
                0x92 => {
                    let (_, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                    self.call(class, arguments)?;
                }
                b'b' => {
                    self.pop()?;
                }
                b'i' | b'o' => {
                    let from = self.mark()?;
                    if opcode == b'i' {
                        self.global()?;
                    } else if from == self.stack.len() {
                        return self.input.error("an object without a class");
                    }
                    let class = if opcode == b'i' { self.pop()? } else { self.stack[from] };
                    self.stack.truncate(from);
                    self.call(class, Value::NONE)?;
                }
                // Something that is kept outside of the file.
                b'P' => {
                    self.input.line()?;
                    self.push(Value::NONE)?;
                }
                b'Q' => {
                    self.pop()?;
                    self.push(Value::NONE)?;
                }
                opcode => return self.input.error(format!("opcode {opcode:#04x} is not known")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Key;
    use proptest::prelude::*;

    fn parse(bytes: &[u8]) -> Result<Values, ValueError> {
        read(bytes, Budget::default())
    }

    #[test]
    fn every_protocol_reads_the_same() {
        // pickle.dumps({"blocks": [1, -2, 2.5, None, True], "size": 1 << 40}, protocol=0, 2 and 4)
        let zero =
            b"(dp0\nVblocks\np1\n(lp2\nI1\naI-2\naF2.5\naNaI01\nasVsize\np3\nL1099511627776L\ns.".as_slice();
        let two = b"\x80\x02}q\x00(X\x06\x00\x00\x00blocksq\x01]q\x02(K\x01J\xfe\xff\xff\xffG@\x04\x00\x00\x00\x00\x00\x00N\x88eX\x04\x00\x00\x00sizeq\x03\x8a\x06\x00\x00\x00\x00\x00\x01u.";
        let four = b"\x80\x04\x95\x33\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x06blocks\x94]\x94(K\x01J\xfe\xff\xff\xffG@\x04\x00\x00\x00\x00\x00\x00N\x88e\x8c\x04size\x94\x8a\x06\x00\x00\x00\x00\x00\x01u.";
        for bytes in [zero, two, four] {
            assert!(is_pickle(bytes));
            let values = parse(bytes).unwrap();
            let root = values.root.unwrap();
            let Some(Kind::List(list)) = values.field(root, Key::Blocks) else { panic!() };
            let kinds: Vec<Kind> = values.items(list).iter().map(|&value| values.kind(value)).collect();
            assert_eq!(kinds, [Kind::Int(1), Kind::Int(-2), Kind::Float(2.5), Kind::None, Kind::Bool(true)]);
            assert_eq!(values.int_of(root, Key::Size), Some(1 << 40));
        }
    }

    #[test]
    fn ordered_dictionaries_are_dictionaries() {
        // As protocols 2 and 0 write collections.OrderedDict(size=7), and a defaultdict.
        let two =
            b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01X\x04\x00\x00\x00sizeq\x02K\x07s.".as_slice();
        let zero = b"ccollections\nOrderedDict\np0\n((lp1\n(lp2\nVsize\np3\naI7\naatp4\nRp5\n.";
        let other = b"\x80\x02ccollections\ndefaultdict\nq\x00c__builtin__\nint\nq\x01\x85q\x02Rq\x03X\x04\x00\x00\x00sizeq\x04K\x07s.";
        for bytes in [two, zero, other] {
            assert!(is_pickle(bytes));
            let values = parse(bytes).unwrap();
            assert_eq!(values.int_of(values.root.unwrap(), Key::Size), Some(7));
            assert_eq!(values.called, None);
        }
    }

    #[test]
    fn nothing_is_called_and_nothing_overflows() {
        let called = |bytes: &[u8]| parse(bytes).unwrap().called;
        assert_eq!(called(b"cos\nsystem\n(S'ls'\ntR."), Some("os.system".to_owned()));
        assert_eq!(
            called(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R."),
            Some("os.system".to_owned())
        );
        assert_eq!(called(b"(S'ls'\nios\nsystem\n."), Some("os.system".to_owned()));
        let refused = |bytes: &[u8]| parse(bytes).map(|_| ()).unwrap_err().to_string();
        assert!(refused(b"X\xff\xff\xff\xff").contains("announced"));
        assert!(refused(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff").contains("announced"));
        assert!(refused(b".").contains("stack is empty"));
        assert!(refused(b"\x80\x09.").contains("protocol 9"));
        assert!(refused(b"h\x07.").contains("memo 7"));
        assert!(refused(b"").contains("1 bytes are announced"));
        let mut deep = vec![b']'; 300_000];
        deep.extend(vec![b'a'; 299_999]);
        deep.push(b'.');
        parse(&deep).expect("lists inside each other, however many");
        // A list inside itself.
        parse(b"]\x94h\x00a.").unwrap();
    }

    #[test]
    fn memory_is_in_proportion() {
        let refused = |bytes: &[u8]| parse(bytes).map(|_| ()).unwrap_err().to_string();
        // A value a byte, all of them waiting.
        let mut high = b"\x80\x02(".to_vec();
        high.extend(vec![b'N'; HIGHEST_STACK + 1]);
        assert!(refused(&high).contains("wait on its stack"));
        // In pieces.
        let mut pieces = b"\x80\x02]".to_vec();
        for _ in 0..30_000 {
            pieces.push(b'(');
            pieces.extend(vec![b'N'; 1000]);
            pieces.push(b'e');
        }
        pieces.push(b'.');
        assert!(refused(&pieces).contains("of memory"));
        let dicts = vec![b'}'; 3_000_000];
        assert!(refused(&dicts).contains("of memory"));
    }

    #[test]
    fn what_lies_behind_is_told() {
        assert!(parse(b"N.more").unwrap().trailing);
        assert!(!parse(b"N.").unwrap().trailing);
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn opcodes_in_any_order_are_no_panic(bytes in prop::collection::vec(prop::sample::select(
            &b"](}){t)aeus012.NK\x88\x85\x86\x87\x94q\x00h\x01dlRboQ\x81\x93"[..]), 0..80)) {
            let _ = parse(&bytes);
        }
    }
}
