//! Reads of a model's file what shapes depend on, and passes over the rest.
//!
//! In: the bytes of a file in the standard's wire format (protocol buffers). Out: the same messages without the fields
//! that nothing here reads and without the contents of large tensors, of which only the place stays. So memory is in
//! proportion to the graph and not to its weights; what would become many times its size in memory is refused, since
//! a message of two bytes becomes a structure of hundreds.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};

use super::value::KEPT_VALUES;

/// Field numbers of `TensorProto` that the standard does not use, in which the place of a content is handed on.
pub(super) const OFFSET: u32 = 1000;
pub(super) const LENGTH: u32 = 1001;

/// Contents up to this many bytes are kept, so that values which shapes depend on can be read.
const KEPT_BYTES: u64 = KEPT_VALUES as u64 * 8;
/// Messages within messages, at most: as many as the decoder takes.
const DEPTH: usize = 100;
/// What the messages may take in memory: so much in any case, and so many times what was read of the file.
const SLACK: u64 = 64 << 20;
const TIMES: u64 = 24;

/// Where a model is read from.
pub(super) trait Input: Read {
    /// Passes over so many bytes, which may not all be there.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

impl Input for BufReader<File> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.seek_relative(i64::try_from(bytes).map_err(io::Error::other)?)
    }
}

impl<T: AsRef<[u8]>> Input for Cursor<T> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.set_position(self.position().saturating_add(bytes));
        Ok(())
    }
}

/// Why a file cannot be read as a model.
#[derive(Debug)]
pub(super) enum Unreadable {
    Io(io::Error),
    Malformed(String),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => malformed("it ends in the middle of a message"),
            _ => Self::Io(error),
        }
    }
}

fn malformed(reason: impl Into<String>) -> Unreadable {
    Unreadable::Malformed(reason.into())
}

/// The part of a model that shapes depend on; `length` bytes are read.
pub(super) fn skim(input: &mut impl Input, length: u64) -> Result<Vec<u8>, Unreadable> {
    let mut skimmer = Skimmer { input, at: 0, cost: 0, kept: 0 };
    let mut model = Vec::new();
    skimmer.message(length, Message::Model, &mut model, 0)?;
    Ok(model)
}

/// The messages of the standard that are looked into.
#[derive(Clone, Copy, PartialEq)]
enum Message {
    Model,
    Function,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    /// Any other: kept as it is, as its own messages are small.
    Small,
}

/// What to do with a field.
enum Field {
    /// A message of this kind.
    Into(Message),
    /// Kept.
    Keep,
    /// Elements in the layout that memory has: kept if they are few.
    Content,
    /// Left out.
    Drop,
}

impl Message {
    /// Field numbers of onnx.proto.
    fn field(self, number: u32) -> Field {
        use Message::{Attribute, Function, Graph, Node, Small, Sparse, Tensor};
        match (self, number) {
            (Self::Model, 7) | (Attribute, 6 | 11) => Field::Into(Graph),
            (Self::Model, 25) => Field::Into(Function),
            (Self::Model, 8) | (Graph, 11..=13) | (Function, 12) | (Tensor, 13) => Field::Into(Small),
            (Function, 7) | (Graph, 1) => Field::Into(Node),
            (Function, 11) | (Node, 5) => Field::Into(Attribute),
            (Graph, 5) | (Attribute, 5) | (Sparse, 1 | 2) => Field::Into(Tensor),
            (Graph, 15) | (Attribute, 22) => Field::Into(Sparse),
            (Self::Model, 1)
            | (Function, 1 | 4 | 5 | 10 | 13)
            | (Graph, 2)
            | (Node, 1..=4 | 7 | 8)
            | (Attribute, 1..=4 | 7..=9 | 21)
            | (Tensor, 1 | 2 | 5..=8 | 11 | 14)
            | (Sparse, 3)
            | (Small, _) => Field::Keep,
            (Tensor, 4 | 9 | 10) => Field::Content,
            _ => Field::Drop,
        }
    }

    /// About what one takes in memory once it is decoded, without what it holds, in bytes.
    fn cost(self) -> u64 {
        match self {
            Self::Model => 0,
            Self::Attribute | Self::Tensor | Self::Graph | Self::Function | Self::Sparse => 384,
            Self::Node | Self::Small => 256,
        }
    }
}

struct Skimmer<'a, I> {
    input: &'a mut I,
    /// Bytes of the file before what is read next.
    at: u64,
    /// What is kept takes about this in memory.
    cost: u64,
    /// Bytes that were not passed over.
    kept: u64,
}

impl<I: Input> Skimmer<'_, I> {
    /// Appends to `out` what matters of a message that ends at byte `end` of the file.
    fn message(
        &mut self,
        end: u64,
        message: Message,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Unreadable> {
        if depth > DEPTH {
            return Err(malformed(format!("messages are nested more than {DEPTH} deep")));
        }
        while self.at < end {
            let key = self.varint()?;
            let number = u32::try_from(key >> 3).map_err(|_| malformed("a field without a number"))?;
            if number == 0 {
                return Err(malformed("a field without a number"));
            }
            let field = message.field(number);
            match key & 7 {
                0 => {
                    let value = self.varint()?;
                    self.charge(8)?;
                    if !matches!(field, Field::Drop) {
                        put_varint(out, key);
                        put_varint(out, value);
                    }
                }
                wire @ (1 | 5) => {
                    let mut bytes = [0; 8];
                    let bytes = &mut bytes[..if wire == 1 { 8 } else { 4 }];
                    self.exactly(bytes)?;
                    self.charge(8)?;
                    if !matches!(field, Field::Drop) {
                        put_varint(out, key);
                        out.extend_from_slice(bytes);
                    }
                }
                2 => self.delimited(end, (message, key), field, out, depth)?,
                wire => return Err(malformed(format!("a field of wire type {wire}"))),
            }
            if self.at > end {
                return Err(malformed("a field passes the end of its message"));
            }
        }
        Ok(())
    }

    fn delimited(
        &mut self,
        end: u64,
        (message, key): (Message, u64),
        field: Field,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Unreadable> {
        let length = self.varint()?;
        let stop = self.at.checked_add(length).filter(|&stop| stop <= end);
        let stop = stop.ok_or_else(|| malformed("a field passes the end of its message"))?;
        match field {
            Field::Drop => self.pass(length)?,
            Field::Content if length > KEPT_BYTES => {
                put_varint(out, u64::from(OFFSET) << 3);
                put_varint(out, self.at);
                put_varint(out, u64::from(LENGTH) << 3);
                put_varint(out, length);
                self.pass(length)?;
            }
            Field::Into(inside) if inside != Message::Small => {
                self.charge(inside.cost())?;
                let mut inner = Vec::new();
                self.message(stop, inside, &mut inner, depth + 1)?;
                put_varint(out, key);
                put_varint(out, inner.len() as u64);
                out.append(&mut inner);
            }
            Field::Into(_) | Field::Keep | Field::Content => {
                // A packed number of one byte becomes eight; a message within a small one, a structure; an output's name, a
                // tensor with all that is known of it; what declares one, types and shapes.
                let more = match (message, key >> 3) {
                    (Message::Node, 2) => 400,
                    (Message::Graph, 11..=13) => 200,
                    (Message::Node, 1) => 100,
                    _ => 32,
                };
                self.charge(more + length.saturating_mul(8))?;
                put_varint(out, key);
                put_varint(out, length);
                // Grows with what is there, whatever the length says.
                let read = self.input.by_ref().take(length).read_to_end(out)? as u64;
                if read < length {
                    return Err(malformed("it ends in the middle of a message"));
                }
                self.at = stop;
                self.kept += length;
            }
        }
        Ok(())
    }

    fn pass(&mut self, bytes: u64) -> Result<(), Unreadable> {
        self.input.skip(bytes)?;
        self.at += bytes;
        Ok(())
    }

    fn exactly(&mut self, bytes: &mut [u8]) -> Result<(), Unreadable> {
        self.input.read_exact(bytes)?;
        self.at += bytes.len() as u64;
        self.kept += bytes.len() as u64;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, Unreadable> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let mut byte = [0];
            self.exactly(&mut byte)?;
            // Bits beyond 64 are dropped, as the format has it for negative numbers of 32 bits.
            value |= u64::from(byte[0] & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed("a number of more than ten bytes"))
    }

    fn charge(&mut self, bytes: u64) -> Result<(), Unreadable> {
        self.cost = self.cost.saturating_add(bytes);
        if self.cost > SLACK + TIMES * self.kept {
            let kept = self.kept;
            return Err(malformed(format!(
                "its first {kept} bytes of structure would take more than {TIMES} times as much memory, which no model does"
            )));
        }
        Ok(())
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
