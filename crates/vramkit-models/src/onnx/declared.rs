//! What the file says of a tensor's type and shape, with the sizes that the user gives to its symbolic dimensions.

use std::collections::BTreeMap;

use super::fact::{AXES, Fact};
use super::node::bodies;
use super::open::OpenDimension;
use super::proto::{Dimension, GraphProto, TypeProto, ValueInfoProto};
use super::symbols::Symbols;
use crate::data_type::DataType;

/// What a declaration says.
pub(super) enum Declared {
    /// All of it.
    Whole(Fact),
    /// All but these dimensions, which are 1 in the fact.
    Open(Fact, Vec<OpenDimension>),
    /// Its type alone.
    Shapeless(DataType),
    /// A size was given that is no length of an axis.
    TooLarge { name: String, size: u64 },
    /// Nothing that helps, and why.
    Unsaid(String),
}

/// What the file says of a tensor.
pub(super) fn declared(info: &ValueInfoProto, dims: &BTreeMap<String, u64>) -> Declared {
    match &info.r#type {
        Some(kind) => typed(&info.name, kind, dims),
        None => Declared::Unsaid("the file does not carry its type".to_owned()),
    }
}

fn typed(name: &str, kind: &TypeProto, dims: &BTreeMap<String, u64>) -> Declared {
    // An optional is as large as what may be in it.
    if let Some(element) = kind.optional_type.as_ref().and_then(|kind| kind.elem_type.as_deref()) {
        return typed(name, element, dims);
    }
    let Some(tensor) = &kind.tensor_type else {
        return match kind.map_type {
            Some(_) => Declared::Whole(Fact::opaque()),
            None => Declared::Unsaid(
                "it is no tensor, and the file does not say how many tensors it holds".to_owned(),
            ),
        };
    };
    let Some(shape) = &tensor.shape else {
        return Declared::Shapeless(DataType::new(tensor.elem_type));
    };
    if shape.dim.len() > AXES {
        return Declared::Unsaid(format!("its shape has {} axes, more than {AXES}", shape.dim.len()));
    }
    let (mut lengths, mut open) = (Vec::new(), Vec::new());
    for (axis, dim) in shape.dim.iter().enumerate() {
        let Some(known) = names(name, axis, dim) else {
            lengths.push(dim.dim_value.unwrap_or(0));
            continue;
        };
        // A place is meant more closely than a symbol.
        match known.iter().rev().find_map(|known| dims.get_key_value(known)) {
            Some((name, &size)) => match i64::try_from(size) {
                Ok(size) => lengths.push(size),
                Err(_) => return Declared::TooLarge { name: name.clone(), size },
            },
            None => {
                lengths.push(1);
                let known = known.into_iter().next().unwrap_or_default();
                open.push(OpenDimension { tensor: name.to_owned(), axis, name: known });
            }
        }
    }
    let fact = Fact::new(DataType::new(tensor.elem_type), lengths);
    if open.is_empty() { Declared::Whole(fact) } else { Declared::Open(fact, open) }
}

fn is_open(dim: &Dimension) -> bool {
    dim.dim_value.is_none_or(|value| value < 0)
}

/// The symbol of a dimension. Exporters write `?` for axes that they know nothing of, and which need not be equal.
fn symbol(dim: &Dimension) -> Option<&str> {
    dim.dim_param.as_deref().filter(|symbol| !matches!(*symbol, "" | "?"))
}

/// What an axis without a length goes by: its symbol, if it has one, and its place. `None` for one with a length.
fn names(tensor: &str, axis: usize, dim: &Dimension) -> Option<Vec<String>> {
    if !is_open(dim) {
        return None;
    }
    Some(symbol(dim).map(str::to_owned).into_iter().chain([format!("{tensor}[{axis}]")]).collect())
}

/// Whether a size was given to a dimension of a tensor.
pub(super) fn is_given(info: &ValueInfoProto, dims: &BTreeMap<String, u64>) -> bool {
    let shape = info.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref()?.shape.as_ref());
    let axes = shape.iter().flat_map(|shape| shape.dim.iter().take(AXES).enumerate());
    let names = axes.filter_map(|(axis, dim)| names(&info.name, axis, dim));
    !dims.is_empty() && names.flatten().any(|name| dims.contains_key(&name))
}

/// Every name that a dimension of a graph goes by, in its bodies too.
pub(super) fn symbols(graph: &GraphProto) -> Symbols {
    let mut all = Symbols::default();
    collect(graph, &mut all);
    all
}

fn collect(graph: &GraphProto, all: &mut Symbols) {
    for info in graph.input.iter().chain(&graph.output).chain(&graph.value_info) {
        let mut kind = info.r#type.as_ref();
        while let Some(element) = kind.and_then(|kind| kind.optional_type.as_deref()) {
            kind = element.elem_type.as_deref();
        }
        let shape = kind.and_then(|kind| kind.tensor_type.as_ref()?.shape.as_ref());
        let axes = shape.iter().flat_map(|shape| shape.dim.iter().take(AXES).enumerate());
        for (axis, dim) in axes.filter(|(_, dim)| is_open(dim)) {
            all.add(symbol(dim), &info.name, axis);
        }
    }
    graph.node.iter().flat_map(bodies).for_each(|body| collect(body, all));
}
