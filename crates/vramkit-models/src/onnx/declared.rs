//! What the file says of a tensor's type and shape, with the sizes that the user gives to symbolic dimensions.

use std::collections::{BTreeMap, HashSet};

use super::fact::Fact;
use super::proto::{Dimension, GraphProto, ValueInfoProto};
use crate::data_type::DataType;
use crate::error::ReadError;

/// Why a declaration is not enough.
pub(super) enum Undeclared {
    /// The size of a symbolic dimension is not given.
    Symbolic { axis: usize, name: String },
    /// The size given to a dimension is no length of an axis.
    TooLarge { name: String, size: u64 },
    /// The file does not say it.
    Unsaid(String),
}

/// The facts of a graph's inputs, in order; `None` for those that initialisers give.
pub(super) fn inputs(
    file: &str,
    graph: &GraphProto,
    dims: &BTreeMap<String, u64>,
) -> Result<Vec<Option<Fact>>, ReadError> {
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    let stored: HashSet<&str> =
        graph.initializer.iter().chain(sparse).map(|tensor| tensor.name.as_str()).collect();
    let of = |info: &ValueInfoProto| {
        if stored.contains(info.name.as_str()) {
            return Ok(None);
        }
        let (file, input) = (file.to_owned(), info.name.clone());
        declared(info, dims).map(Some).map_err(|error| match error {
            Undeclared::Symbolic { axis, name } => ReadError::MissingDimension { file, input, axis, name },
            Undeclared::TooLarge { name, size } => ReadError::DimensionTooLarge { file, input, name, size },
            Undeclared::Unsaid(reason) => {
                ReadError::In { reason: format!("input `{input}`: {reason}"), file }
            }
        })
    };
    graph.input.iter().map(of).collect()
}

/// What the file says of a tensor.
pub(super) fn declared(info: &ValueInfoProto, dims: &BTreeMap<String, u64>) -> Result<Fact, Undeclared> {
    let unsaid = |reason: &str| Undeclared::Unsaid(reason.to_owned());
    let tensor = info
        .r#type
        .as_ref()
        .and_then(|t| t.tensor_type.as_ref())
        .ok_or_else(|| unsaid("it is not a tensor"))?;
    let shape = tensor.shape.as_ref().ok_or_else(|| unsaid("the file does not carry its shape"))?;
    let dim = |(axis, dim): (usize, &Dimension)| {
        let symbol = dim.dim_param.as_deref().filter(|symbol| !symbol.is_empty());
        match dim.dim_value {
            Some(value) if value >= 0 => Ok(value),
            Some(value) => Err(Undeclared::Unsaid(format!("its axis {axis} has length {value}"))),
            None => {
                // An axis without a name goes by its place, and one with a name may.
                let place = format!("{}[{axis}]", info.name);
                let name = symbol.unwrap_or(&place).to_owned();
                let Some(&size) = dims.get(&name).or_else(|| dims.get(&place)) else {
                    return Err(Undeclared::Symbolic { axis, name });
                };
                i64::try_from(size).map_err(|_| Undeclared::TooLarge { name, size })
            }
        }
    };
    let shape = shape.dim.iter().enumerate().map(dim).collect::<Result<_, _>>()?;
    Ok(Fact::new(DataType::new(tensor.elem_type), shape))
}
