//! Operators that make tensors of sizes, of constants, of nothing much.

use crate::data_type::DataType;
use crate::onnx::fact::{self, Fact, elements};
use crate::onnx::node::{Node, Outputs, product};
use crate::onnx::value::{KEPT_VALUES, Value};

pub(super) fn shape(node: &Node<'_>) -> Outputs {
    let shape = &node.input(0)?.shape;
    let n = shape.len() as i64;
    let clamp = |at: i64| if at < 0 { at.saturating_add(n) } else { at }.clamp(0, n) as usize;
    let (start, end) = (clamp(node.int_or("start", 0)), clamp(node.int_or("end", n)));
    Ok(vec![Some(Fact::ints(shape.get(start..end).unwrap_or_default().to_vec()))])
}

pub(super) fn size(node: &Node<'_>) -> Outputs {
    Ok(vec![Some(Fact::single(DataType::INT64, fact::count(&node.input(0)?.shape)?))])
}

pub(super) fn constant(node: &Node<'_>) -> Outputs {
    let list = |dtype, values: Value, scalar: bool| {
        let shape = if scalar { Vec::new() } else { vec![values.len() as i64] };
        Some(Fact::with(dtype, shape, Some(values)))
    };
    let float = |value: f32| f64::from(value);
    Ok(vec![if let Some(tensor) = node.tensor("value") {
        Some(fact::stored(tensor)?)
    } else if let Some(sparse) = node.sparse("sparse_value") {
        let values = sparse.values.as_ref().ok_or("a sparse tensor without values")?;
        Some(Fact::new(DataType::new(values.data_type), sparse.dims.clone()))
    } else if let Some(value) = node.int("value_int") {
        list(DataType::INT64, Value::Ints([value].into()), true)
    } else if let Some(values) = node.ints("value_ints") {
        list(DataType::INT64, Value::Ints(values.into()), false)
    } else if let Some(value) = node.float("value_float") {
        list(DataType::FLOAT, Value::Floats([float(value)].into()), true)
    } else if let Some(values) = node.floats("value_floats") {
        list(DataType::FLOAT, Value::Floats(values.iter().map(|&value| float(value)).collect()), false)
    } else if node.has("value_strings") {
        Some(Fact::new(DataType::STRING, vec![node.texts("value_strings") as i64]))
    } else if node.has("value_string") {
        Some(Fact::new(DataType::STRING, Vec::new()))
    } else {
        None
    }])
}

pub(super) fn constant_of_shape(node: &Node<'_>) -> Outputs {
    let shape = node.known(0)?.to_vec();
    let (dtype, element) = match node.tensor("value") {
        Some(tensor) => {
            let stored = fact::stored(tensor)?;
            (stored.dtype, stored.value)
        }
        None => (DataType::FLOAT, Some(Value::Floats([0.0].into()))),
    };
    let count = elements(&shape)?;
    let value = element.filter(|element| element.len() == 1 && count <= KEPT_VALUES as u64);
    let value = value.and_then(|element| element.pick((0..count as usize).map(|_| 0)));
    Ok(vec![Some(Fact::with(dtype, shape, value))])
}

pub(super) fn range(node: &Node<'_>) -> Outputs {
    let one = |i: usize| -> Result<f64, String> {
        node.known_floats(i)?.first().copied().ok_or_else(|| "a bound without elements".to_owned())
    };
    // The standard asks for a step; ONNX Runtime's own operator does not.
    let (start, limit, delta) = (one(0)?, one(1)?, if node.optional(2).is_some() { one(2)? } else { 1.0 });
    if delta == 0.0 {
        return Err("a range with step 0".to_owned());
    }
    let count = ((limit - start) / delta).ceil().max(0.0);
    if count.is_nan() || count > 2f64.powi(53) {
        return Err(format!("a range of {count} elements"));
    }
    let whole = (0..3).all(|i| node.optional(i).is_some_and(|fact| fact.known_ints().is_some()));
    let value = (count <= KEPT_VALUES as f64).then(|| {
        let steps = 0..count as i64;
        let at = |i: i64| (start as i64).checked_add(i.checked_mul(delta as i64)?);
        match whole {
            true => Some(Value::Ints(steps.map(at).collect::<Option<_>>()?)),
            false => Some(Value::Floats(steps.map(|i| start + i as f64 * delta).collect())),
        }
    });
    Ok(vec![Some(Fact::with(node.input(0)?.dtype, vec![count as i64], value.flatten()))])
}

pub(super) fn like(node: &Node<'_>, _op: &str) -> Outputs {
    let input = node.input(0)?;
    let dtype = node.int("dtype").map_or(input.dtype, |dtype| DataType::new(dtype as i32));
    Ok(vec![Some(Fact::new(dtype, input.shape.clone()))])
}

pub(super) fn random(node: &Node<'_>) -> Outputs {
    let shape = node.ints("shape").ok_or("attribute `shape` is missing")?.to_vec();
    Ok(vec![Some(Fact::new(DataType::new(node.int_or("dtype", 1) as i32), shape))])
}

pub(super) fn multinomial(node: &Node<'_>) -> Outputs {
    let batch = *node.input(0)?.shape.first().ok_or("an input without axes")?;
    let dtype = DataType::new(node.int_or("dtype", 6) as i32);
    Ok(vec![Some(Fact::new(dtype, vec![batch, node.int_or("sample_size", 1)]))])
}

pub(super) fn window(node: &Node<'_>) -> Outputs {
    let size = *node.known(0)?.first().ok_or("a size without elements")?;
    Ok(vec![Some(Fact::new(DataType::new(node.int_or("output_datatype", 1) as i32), vec![size]))])
}

pub(super) fn mel_weight_matrix(node: &Node<'_>) -> Outputs {
    let one = |i: usize| -> Result<i64, String> {
        node.known(i)?.first().copied().ok_or_else(|| "a size without elements".to_owned())
    };
    let shape = vec![one(1)? / 2 + 1, one(0)?];
    Ok(vec![Some(Fact::new(DataType::new(node.int_or("output_datatype", 1) as i32), shape))])
}

/// The axis was an attribute up to operator set 19 and is an input since, with another default.
pub(super) fn fourier(node: &Node<'_>, opset: i64) -> Outputs {
    let input = node.input(0)?;
    let along = match node.optional(2) {
        Some(_) => *node.known(2)?.first().ok_or("an axis without elements")?,
        None => node.int_or("axis", if opset < 20 { 1 } else { -2 }),
    };
    let along = crate::onnx::node::axis(along, input.rank())?;
    let mut shape = input.shape.clone();
    if node.optional(1).is_some() {
        shape[along] = *node.known(1)?.first().ok_or("a length without elements")?;
    }
    let (one_sided, inverse) = (node.int_or("onesided", 0) != 0, node.int_or("inverse", 0) != 0);
    let last = shape.len() - 1;
    if one_sided && inverse {
        if node.optional(1).is_none() {
            shape[along] = product([shape[along] - 1, 2])?;
        }
        shape[last] = 1;
    } else {
        if one_sided {
            shape[along] = shape[along] / 2 + 1;
        }
        shape[last] = 2;
    }
    Ok(vec![Some(Fact::new(input.dtype, shape))])
}

pub(super) fn short_time_fourier(node: &Node<'_>) -> Outputs {
    let signal = node.input(0)?;
    let step = *node.known(1)?.first().ok_or("a step without elements")?;
    let length = match (node.optional(3), node.optional(2)) {
        (Some(_), _) => *node.known(3)?.first().ok_or("a length without elements")?,
        (None, Some(window)) => *window.shape.first().ok_or("a window without axes")?,
        (None, None) => return Err("neither a window nor a frame length is given".to_owned()),
    };
    let (Some(&batch), Some(&samples)) = (signal.shape.first(), signal.shape.get(1)) else {
        return Err(format!("a signal of {:?}", signal.shape));
    };
    if step < 1 || length < 1 || length > samples {
        return Err(format!("frames of {length} every {step} of {samples} samples"));
    }
    let bins = if node.int_or("onesided", 1) != 0 { length / 2 + 1 } else { length };
    Ok(vec![Some(Fact::new(signal.dtype, vec![batch, (samples - length) / step + 1, bins, 2]))])
}
