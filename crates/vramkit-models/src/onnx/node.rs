//! One operator of a graph as the shape rules see it: its attributes, and what is known of its inputs.

use std::cell::Cell;

use super::fact::{Fact, Other};
use super::proto::{AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto};
use super::value::Value;
use crate::data_type::DataType;

/// A node with facts for its inputs.
pub(super) struct Node<'a> {
    pub(super) proto: &'a NodeProto,
    pub(super) inputs: Vec<Option<&'a Fact>>,
    /// Whether a rule has asked for something that cannot be known before the graph runs. Then its error is no fault of the
    /// graph's.
    pub(super) unknown: Cell<bool>,
}

/// Facts of a node's outputs, in order; `None` for one whose shape the rule cannot tell. Or why nothing can be
/// told.
pub(super) type Outputs = Result<Vec<Option<Fact>>, String>;

/// Letters of a name that messages show.
const LETTERS: usize = 160;

/// How a node is named in messages.
pub(super) fn title(node: &NodeProto) -> String {
    let output = short(node.output.first().map_or("", String::as_str));
    let domain = if node.domain.is_empty() { String::new() } else { format!("{}.", short(&node.domain)) };
    let operator = short(&node.op_type);
    match node.name.as_str() {
        "" => format!("the node that makes `{output}` ({domain}{operator})"),
        name => format!("node `{}` ({domain}{operator})", short(name)),
    }
}

fn short(name: &str) -> String {
    match name.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// Whether a node's outputs are stored in the file, or as if they were.
pub(super) fn makes_weights(node: &NodeProto) -> bool {
    is(node, &["Constant", "ConstantOfShape"])
}

/// The graphs inside a node.
pub(super) fn bodies(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
}

/// Whether an operator is this one of the standard's.
pub(super) fn is(node: &NodeProto, names: &[&str]) -> bool {
    matches!(node.domain.as_str(), "" | "ai.onnx") && names.contains(&node.op_type.as_str())
}

impl<'a> Node<'a> {
    pub(super) fn new(proto: &'a NodeProto, inputs: Vec<Option<&'a Fact>>) -> Self {
        Self { proto, inputs, unknown: Cell::new(false) }
    }

    /// Why something cannot be known before the graph runs, rather than why it cannot be.
    pub(super) fn cannot_tell(&self, reason: impl Into<String>) -> String {
        self.unknown.set(true);
        reason.into()
    }

    /// A tensor that must be there.
    pub(super) fn input(&self, i: usize) -> Result<&'a Fact, String> {
        let fact = self.any(i)?;
        if fact.other == Some(Other::Either) {
            let name = self.proto.input.get(i).map_or("", String::as_str);
            return Err(self.cannot_tell(format!(
                "its input `{name}` has one of several shapes, as data decides; a measured shape can tell it"
            )));
        }
        if fact.other.is_some() {
            let name = self.proto.input.get(i).map_or("", String::as_str);
            return Err(format!("its input `{name}` is no tensor"));
        }
        Ok(fact)
    }

    /// An input that must be there, whatever it is.
    pub(super) fn any(&self, i: usize) -> Result<&'a Fact, String> {
        self.optional(i).ok_or_else(|| format!("input {i} is missing"))
    }

    /// An input that may be left out.
    pub(super) fn optional(&self, i: usize) -> Option<&'a Fact> {
        self.inputs.get(i).copied().flatten()
    }

    fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        self.proto.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).map(|attribute| attribute.i)
    }

    pub(super) fn int_or(&self, name: &str, default: i64) -> i64 {
        self.int(name).unwrap_or(default)
    }

    pub(super) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    /// How many texts an attribute lists.
    pub(super) fn texts(&self, name: &str) -> usize {
        self.attribute(name).map_or(0, |attribute| attribute.strings.len())
    }

    /// The element type that an attribute names by its number; `None` where it is left out or 0.
    pub(super) fn element_type(&self, name: &str) -> Result<Option<DataType>, String> {
        let number = self.int(name).filter(|&number| number != 0);
        let of = |number| i32::try_from(number).map(DataType::new).map_err(|_| number);
        number.map(of).transpose().map_err(|number| format!("attribute `{name}` is {number}"))
    }

    /// A number that an attribute must give and that counts something.
    pub(super) fn count(&self, name: &str) -> Result<i64, String> {
        match self.int(name) {
            Some(count) if count > 0 => Ok(count),
            Some(count) => Err(format!("attribute `{name}` is {count}")),
            None => Err(format!("attribute `{name}` is missing")),
        }
    }

    /// The one integer that an input holds, on which the shape depends.
    pub(super) fn known_one(&self, i: usize) -> Result<i64, String> {
        self.known(i)?.first().copied().ok_or_else(|| format!("input {i} has no elements"))
    }

    /// What looks like an input, without its values.
    pub(super) fn like(&self, i: usize) -> Result<Option<Fact>, String> {
        let fact = self.input(i)?;
        Ok(Some(Fact::new(fact.dtype, fact.shape.clone())))
    }

    pub(super) fn floats(&self, name: &str) -> Option<&'a [f32]> {
        self.attribute(name).map(|attribute| attribute.floats.as_slice())
    }

    pub(super) fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name).map(|attribute| attribute.f)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.attribute(name).and_then(|attribute| std::str::from_utf8(&attribute.s).ok())
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&'a TensorProto> {
        self.attribute(name).and_then(|attribute| attribute.t.as_deref())
    }

    /// A tensor of which the file stores the places that are not zero.
    pub(super) fn sparse(&self, name: &str) -> Option<&'a SparseTensorProto> {
        self.attribute(name).and_then(|attribute| attribute.sparse_tensor.as_deref())
    }

    pub(super) fn graph(&self, name: &str) -> Option<&'a GraphProto> {
        self.attribute(name).and_then(|attribute| attribute.g.as_deref())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// The integers that an input holds, on which the shape depends.
    pub(super) fn known(&self, i: usize) -> Result<&'a [i64], String> {
        self.input(i)?.known_ints().ok_or_else(|| self.depends_on(i))
    }

    /// The numbers that an input holds, on which the shape depends.
    pub(super) fn known_floats(&self, i: usize) -> Result<Vec<f64>, String> {
        self.input(i)?.value.as_ref().map(Value::floats).ok_or_else(|| self.depends_on(i))
    }

    fn depends_on(&self, i: usize) -> String {
        let name = self.proto.input.get(i).map_or("", String::as_str);
        self.cannot_tell(format!("its shape depends on the values of `{name}`, which are not known before it runs; a measured shape can tell it"))
    }

    /// Integers from an attribute (older operator sets) or else an input (newer ones); `None` when neither is
    /// there.
    pub(super) fn ints_or_input(&self, name: &str, i: usize) -> Result<Option<Vec<i64>>, String> {
        match (self.ints(name), self.optional(i)) {
            (Some(ints), _) => Ok(Some(ints.to_vec())),
            (None, Some(_)) => self.known(i).map(|ints| Some(ints.to_vec())),
            (None, None) => Ok(None),
        }
    }
}

/// An axis of a tensor of this rank; negative ones count from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let n = rank as i64;
    let at = if axis < 0 { axis + n } else { axis };
    if (0..n).contains(&at) {
        Ok(at as usize)
    } else {
        Err(format!("axis {axis} of a tensor of rank {rank}"))
    }
}

/// Lengths multiplied.
pub(super) fn product(lengths: impl IntoIterator<Item = i64>) -> Result<i64, String> {
    lengths.into_iter().try_fold(1, i64::checked_mul).ok_or_else(|| "too many elements".to_owned())
}

/// Lengths added.
pub(super) fn sum(lengths: impl IntoIterator<Item = i64>) -> Result<i64, String> {
    lengths.into_iter().try_fold(0, i64::checked_add).ok_or_else(|| "too many elements".to_owned())
}

/// As [`broadcast`], of tensors of which some have at most so many elements along an axis: beside a length that is exact such
/// an axis is as long as that, or 1.
pub(super) fn spread<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Result<Vec<i64>, String> {
    let mut result: (Vec<i64>, bool) = (Vec::new(), false);
    for fact in facts {
        let lead = fact.rank().saturating_sub(result.0.len());
        result.0.splice(0..0, std::iter::repeat_n(1, lead));
        let skip = result.0.len() - fact.rank();
        for (have, &want) in result.0[skip..].iter_mut().zip(&fact.shape) {
            *have = match (*have, want) {
                (have, 1) => have,
                (1, want) => want,
                (have, want) if have == want => have,
                (have, want) => match (result.1, fact.bound) {
                    (true, true) => have.max(want),
                    (true, false) => want,
                    (false, true) => have,
                    (false, false) => {
                        return Err(format!("{have} and {want} elements along one axis do not go together"));
                    }
                },
            };
        }
        result.1 |= fact.bound;
    }
    Ok(result.0)
}

/// The shape of tensors combined element by element, after the rules of NumPy.
pub(super) fn broadcast<'a>(shapes: impl IntoIterator<Item = &'a [i64]>) -> Result<Vec<i64>, String> {
    let mut result: Vec<i64> = Vec::new();
    for shape in shapes {
        while result.len() < shape.len() {
            result.insert(0, 1);
        }
        let lead = result.len() - shape.len();
        for (have, &want) in result[lead..].iter_mut().zip(shape) {
            if *have == 1 {
                *have = want;
            } else if want != 1 && want != *have {
                return Err(format!("{have} and {want} elements along one axis do not go together"));
            }
        }
    }
    Ok(result)
}
