//! Operators that work element by element: their outputs look like their inputs, or like their inputs
//! broadcast together.

use crate::data_type::DataType;
use crate::onnx::fact::{Fact, Value, elements};
use crate::onnx::node::{Node, Outputs, axis, broadcast};

/// The output looks like the first input.
pub(super) fn unary(node: &Node<'_>, op: &str) -> Outputs {
    let input = node.input(0)?;
    let value = match (&input.value, op) {
        (value, "Identity") => value.clone(),
        (Some(Value::Ints(ints)), "Neg") => {
            ints.iter().map(|i| i.checked_neg()).collect::<Option<_>>().map(Value::Ints)
        }
        (Some(Value::Ints(ints)), "Abs") => {
            ints.iter().map(|i| i.checked_abs()).collect::<Option<_>>().map(Value::Ints)
        }
        (Some(Value::Ints(ints)), "Not") => {
            Some(Value::Ints(ints.iter().map(|&i| i64::from(i == 0)).collect()))
        }
        (Some(Value::Floats(floats)), _) => {
            float_rule(op).map(|f| Value::Floats(floats.iter().map(|&x| f(x)).collect()))
        }
        _ => None,
    };
    Ok(vec![Some(Fact::with(input.dtype, input.shape.clone(), value))])
}

/// The functions that exporters compute sizes with.
fn float_rule(op: &str) -> Option<fn(f64) -> f64> {
    Some(match op {
        "Abs" => f64::abs,
        "Ceil" => f64::ceil,
        "Floor" => f64::floor,
        "Neg" => |x| -x,
        "Round" => f64::round_ties_even,
        "Sqrt" => f64::sqrt,
        _ => return None,
    })
}

pub(super) fn predicate(node: &Node<'_>) -> Outputs {
    Ok(vec![Some(Fact::new(DataType::BOOL, node.input(0)?.shape.clone()))])
}

/// The common shape of two inputs. Before operator set 7, `broadcast` meant that the second is stretched to the
/// first.
fn together(node: &Node<'_>) -> Result<Vec<i64>, String> {
    let (a, b) = (node.input(0)?, node.input(1)?);
    if node.has("broadcast") {
        return Ok(a.shape.clone());
    }
    broadcast([a.shape.as_slice(), &b.shape])
}

/// Combines two small tensors, of which one has one element or both have the same shape.
fn combine<T>(a: &Fact, b: &Fact, f: impl Fn(i64, i64) -> Option<T>) -> Option<Vec<T>> {
    let (x, y) = (a.known_ints()?, b.known_ints()?);
    if a.shape != b.shape && x.len() != 1 && y.len() != 1 {
        return None;
    }
    let n = if x.is_empty() || y.is_empty() { 0 } else { x.len().max(y.len()) };
    (0..n).map(|i| f(x[i % x.len()], y[i % y.len()])).collect()
}

pub(super) fn binary(node: &Node<'_>, op: &str) -> Outputs {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let ints = combine(a, b, |x, y| match op {
        "Add" => x.checked_add(y),
        "Sub" => x.checked_sub(y),
        "Mul" => x.checked_mul(y),
        "Div" => x.checked_div(y),
        "Mod" => x.checked_rem_euclid(y),
        "Pow" => x.checked_pow(u32::try_from(y).ok()?),
        _ => None,
    });
    let value = ints.map(Value::Ints).or_else(|| floats(a, b, op));
    Ok(vec![Some(Fact::with(a.dtype, together(node)?, value))])
}

/// As [`combine`], for numbers of which at least one is not whole.
fn floats(a: &Fact, b: &Fact, op: &str) -> Option<Value> {
    let (x, y) = (a.value.as_ref()?.floats(), b.value.as_ref()?.floats());
    if a.known_ints().is_some() && b.known_ints().is_some()
        || (x.len() != y.len() && x.len() != 1 && y.len() != 1)
    {
        return None;
    }
    let f: fn(f64, f64) -> f64 = match op {
        "Add" => |x, y| x + y,
        "Sub" => |x, y| x - y,
        "Mul" => |x, y| x * y,
        "Div" => |x, y| x / y,
        "Pow" => f64::powf,
        _ => return None,
    };
    let n = if x.is_empty() || y.is_empty() { 0 } else { x.len().max(y.len()) };
    Some(Value::Floats((0..n).map(|i| f(x[i % x.len()], y[i % y.len()])).collect()))
}

pub(super) fn comparison(node: &Node<'_>, op: &str) -> Outputs {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let value = combine(a, b, |x, y| {
        Some(i64::from(match op {
            "And" => x != 0 && y != 0,
            "Or" => x != 0 || y != 0,
            "Xor" => (x != 0) != (y != 0),
            "Equal" => x == y,
            "Greater" => x > y,
            "GreaterOrEqual" => x >= y,
            "Less" => x < y,
            _ => x <= y,
        }))
    });
    Ok(vec![Some(Fact::with(DataType::BOOL, together(node)?, value.map(Value::Ints)))])
}

pub(super) fn variadic(node: &Node<'_>, op: &str) -> Outputs {
    let first = node.input(0)?;
    let shape = broadcast(node.inputs.iter().flatten().map(|fact| fact.shape.as_slice()))?;
    let value = match (node.inputs.as_slice(), op) {
        ([Some(a), Some(b)], "Max") => combine(a, b, |x, y| Some(x.max(y))),
        ([Some(a), Some(b)], "Min") => combine(a, b, |x, y| Some(x.min(y))),
        _ => None,
    };
    Ok(vec![Some(Fact::with(first.dtype, shape, value.map(Value::Ints)))])
}

pub(super) fn select(node: &Node<'_>) -> Outputs {
    let (condition, a, b) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let shape = broadcast([condition.shape.as_slice(), &a.shape, &b.shape])?;
    let value = (|| {
        let (condition, x, y) = (condition.known_ints()?, a.known_ints()?, b.known_ints()?);
        let n = elements(&shape).ok()? as usize;
        let fits = |list: &[i64]| list.len() == n || list.len() == 1;
        let all_fit = n <= 4096 && fits(condition) && fits(x) && fits(y);
        all_fit.then(|| {
            let pick = |i: usize| {
                if condition[i % condition.len()] != 0 { x[i % x.len()] } else { y[i % y.len()] }
            };
            Value::Ints((0..n).map(pick).collect())
        })
    })();
    Ok(vec![Some(Fact::with(a.dtype, shape, value))])
}

pub(super) fn cast(node: &Node<'_>, op: &str) -> Outputs {
    let input = node.input(0)?;
    let to = match op {
        "CastLike" => node.input(1)?.dtype,
        // In operator set 1 the type is a name.
        _ => match node.text("to").filter(|name| !name.is_empty()) {
            Some("FLOAT") => DataType::FLOAT,
            Some("INT64") => DataType::INT64,
            Some("INT32") => DataType::INT32,
            Some("BOOL") => DataType::BOOL,
            Some("FLOAT16") => DataType::FLOAT16,
            Some(other) => return Err(format!("element type `{other}`")),
            None => DataType::new(node.int("to").ok_or("attribute `to` is missing")? as i32),
        },
    };
    let whole = matches!(to.number(), 2..=7 | 9 | 12 | 13);
    let value = match &input.value {
        Some(Value::Floats(floats)) if whole => Some(Value::Ints(floats.iter().map(|&x| x as i64).collect())),
        Some(Value::Ints(ints)) if !whole => Some(Value::Floats(ints.iter().map(|&i| i as f64).collect())),
        value => value.clone(),
    };
    let value = value.filter(|_| op != "BitCast");
    Ok(vec![Some(Fact::with(to, input.shape.clone(), value))])
}

pub(super) fn quantize(node: &Node<'_>, op: &str) -> Outputs {
    let shape = node.input(0)?.shape.clone();
    let like = |dtype| Some(Fact::new(dtype, shape.clone()));
    Ok(match op {
        "DequantizeLinear" => {
            let named =
                node.int("output_dtype").filter(|&dtype| dtype != 0).map(|dtype| DataType::new(dtype as i32));
            vec![like(named.unwrap_or(node.input(1)?.dtype))]
        }
        "QuantizeLinear" => {
            let named =
                node.int("output_dtype").filter(|&dtype| dtype != 0).map(|dtype| DataType::new(dtype as i32));
            vec![like(node.optional(2).map(|zero| zero.dtype).or(named).unwrap_or(DataType::UINT8))]
        }
        _ => vec![
            like(DataType::UINT8),
            Some(Fact::new(DataType::FLOAT, Vec::new())),
            Some(Fact::new(DataType::UINT8, Vec::new())),
        ],
    })
}

/// In older operator sets up to four statistics follow, one number for each channel.
pub(super) fn batch_normalization(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let mean = node.input(3)?;
    let channels = Fact::new(mean.dtype, mean.shape.clone());
    let mut outputs = vec![Some(Fact::new(input.dtype, input.shape.clone()))];
    outputs.resize(5, Some(channels));
    Ok(outputs)
}

pub(super) fn layer_normalization(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let mut reduced = input.shape.clone();
    let from = axis(node.int_or("axis", -1), input.rank())?;
    reduced[from..].fill(1);
    let statistics = Fact::new(DataType::new(node.int_or("stash_type", 1) as i32), reduced);
    let output = Fact::new(input.dtype, input.shape.clone());
    Ok(vec![Some(output), Some(statistics.clone()), Some(statistics)])
}

pub(super) fn dropout(node: &Node<'_>, opset: i64) -> Outputs {
    let input = node.input(0)?;
    let mask = if opset < 10 { input.dtype } else { DataType::BOOL };
    Ok(vec![
        Some(Fact::with(input.dtype, input.shape.clone(), input.value.clone())),
        Some(Fact::new(mask, input.shape.clone())),
    ])
}
