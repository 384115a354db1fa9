//! Operators that work element by element: their outputs look like their inputs, or like their inputs
//! broadcast together.

use crate::data_type::DataType;
use crate::onnx::fact::{self, Fact};
use crate::onnx::node::{Node, Outputs, axis, spread};
use crate::onnx::value::{self, Value, stretched};

/// The same, whatever it is: an optional is known by what is in it.
pub(super) fn same(node: &Node<'_>) -> Outputs {
    Ok(vec![Some(node.any(0)?.clone())])
}

pub(super) fn text(node: &Node<'_>) -> Outputs {
    Ok(vec![Some(Fact::new(DataType::STRING, together(node)?))])
}

/// Of each text something; of a normalised list at most as many, as words may be left out.
pub(super) fn text_like(node: &Node<'_>, op: &str) -> Outputs {
    let shape = node.input(0)?.shape.clone();
    Ok(vec![Some(match op {
        "RegexFullMatch" => Fact::new(DataType::BOOL, shape),
        _ => Fact::new(DataType::STRING, shape).at_most(),
    })])
}

/// The output looks like the first input.
pub(super) fn unary(node: &Node<'_>, op: &str) -> Outputs {
    let input = node.input(0)?;
    let ints = |f: fn(i64) -> Option<i64>| {
        input.known_ints().and_then(|ints| ints.iter().map(|&i| f(i)).collect::<Option<_>>()).map(Value::Ints)
    };
    let value = match (&input.value, op) {
        (Some(Value::Ints(_)), "Neg") => ints(i64::checked_neg),
        (Some(Value::Ints(_)), "Abs") => ints(i64::checked_abs),
        (Some(Value::Ints(_)), "Sign") => ints(|i| Some(i.signum())),
        (Some(Value::Ints(_)), "Relu") => ints(|i| Some(i.max(0))),
        (Some(Value::Ints(_)), "Not") => ints(|i| Some(i64::from(i == 0))),
        (Some(Value::Floats(floats)), _) => {
            float_rule(op).map(|f| Value::Floats(floats.iter().map(|&x| f(x)).collect()))
        }
        _ => None,
    };
    let value = if op == "Clip" { clipped(node, input) } else { value };
    Ok(vec![Some(Fact::with(input.dtype, input.shape.clone(), value))])
}

/// The functions that exporters compute sizes with.
fn float_rule(op: &str) -> Option<fn(f64) -> f64> {
    Some(match op {
        "Abs" => f64::abs,
        "Ceil" => f64::ceil,
        "Exp" => f64::exp,
        "Floor" => f64::floor,
        "Log" => f64::ln,
        "Neg" => |x| -x,
        "Reciprocal" => |x| 1.0 / x,
        "Relu" => |x| x.max(0.0),
        "Round" => f64::round_ties_even,
        "Sign" => |x| if x == 0.0 { 0.0 } else { x.signum() },
        "Sqrt" => f64::sqrt,
        _ => return None,
    })
}

/// Bounds are inputs, or attributes in older operator sets.
fn clipped(node: &Node<'_>, input: &Fact) -> Option<Value> {
    let bound = |i: usize, name: &str, none: f64| match node.optional(i) {
        Some(fact) => fact.value.as_ref()?.floats().first().copied(),
        None => Some(node.float(name).map_or(none, f64::from)),
    };
    let (low, high) = (bound(1, "min", f64::NEG_INFINITY)?, bound(2, "max", f64::INFINITY)?);
    Some(match input.value.as_ref()? {
        // Such bounds are whole, or as good as none.
        Value::Ints(ints) => Value::Ints(ints.iter().map(|&i| i.max(low as i64).min(high as i64)).collect()),
        Value::Floats(floats) => Value::Floats(floats.iter().map(|&x| x.max(low).min(high)).collect()),
    })
}

/// Optimisers of training: after `first` inputs come as many groups as there are kinds of state, each with a tensor for each
/// one that is optimised (the tensors, their gradients, …); the outputs are these `groups` anew.
pub(super) fn optimiser(node: &Node<'_>, first: usize, groups: &[usize]) -> Outputs {
    let kinds = groups.iter().max().map_or(0, |&last| last + 1);
    let tensors = node.inputs.len().saturating_sub(first);
    if tensors == 0 || !tensors.is_multiple_of(kinds) {
        return Err(format!("{tensors} tensors for {kinds} groups"));
    }
    let each = tensors / kinds;
    let of = |&group: &usize| (0..each).map(move |i| first + group * each + i);
    let like = |i| node.input(i).map(|input| Some(Fact::new(input.dtype, input.shape.clone())));
    groups.iter().flat_map(of).map(like).collect()
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
    spread([a, b])
}

/// The pairs of places of two tensors that meet, in the order of the result.
fn pairs(a: &Fact, b: &Fact, shape: &[i64]) -> Option<Vec<(usize, usize)>> {
    value::each(shape, |index| (stretched(&a.shape, index), stretched(&b.shape, index)))
}

/// Combines the integers of two tensors, of which each may be stretched to the other.
fn combine(a: &Fact, b: &Fact, shape: &[i64], f: impl Fn(i64, i64) -> Option<i64>) -> Option<Value> {
    let (x, y) = (a.known_ints()?, b.known_ints()?);
    let all = pairs(a, b, shape)?.into_iter().map(|(i, j)| f(*x.get(i)?, *y.get(j)?));
    Some(Value::Ints(all.collect::<Option<_>>()?))
}

/// As [`combine`], for numbers of which at least one is not whole.
fn combine_floats<T>(a: &Fact, b: &Fact, shape: &[i64], f: impl Fn(f64, f64) -> T) -> Option<Vec<T>> {
    if a.known_ints().is_some() && b.known_ints().is_some() {
        return None;
    }
    let (x, y) = (a.value.as_ref()?.floats(), b.value.as_ref()?.floats());
    pairs(a, b, shape)?.into_iter().map(|(i, j)| Some(f(*x.get(i)?, *y.get(j)?))).collect()
}

pub(super) fn binary(node: &Node<'_>, op: &str) -> Outputs {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let shape = together(node)?;
    let c_like = node.int_or("fmod", 0) != 0;
    let ints = combine(a, b, &shape, |x, y| match op {
        "Add" => x.checked_add(y),
        "Sub" => x.checked_sub(y),
        "Mul" => x.checked_mul(y),
        "Div" => x.checked_div(y),
        "Mod" if c_like => x.checked_rem(y),
        // The sign of the divisor.
        "Mod" => {
            x.checked_rem(y).map(|rest| if rest != 0 && (rest < 0) != (y < 0) { rest + y } else { rest })
        }
        "Pow" => x.checked_pow(u32::try_from(y).ok()?),
        "BitwiseAnd" => Some(x & y),
        "BitwiseOr" => Some(x | y),
        _ => None,
    });
    let value = ints.or_else(|| {
        let f: fn(f64, f64) -> f64 = match op {
            "Add" => |x, y| x + y,
            "Sub" => |x, y| x - y,
            "Mul" => |x, y| x * y,
            "Div" => |x, y| x / y,
            "Pow" => f64::powf,
            _ => return None,
        };
        let floats = combine_floats(a, b, &shape, f)?;
        // A power of whole numbers to one that is not keeps the type of the base.
        Some(match a.known_ints() {
            Some(_) if op == "Pow" => {
                let int = |x: f64| (x.abs() < 2f64.powi(63)).then_some(x as i64);
                Value::Ints(floats.into_iter().map(int).collect::<Option<_>>()?)
            }
            _ => Value::Floats(floats.into()),
        })
    });
    Ok(vec![Some(Fact::with(a.dtype, shape, value))])
}

pub(super) fn comparison(node: &Node<'_>, op: &str) -> Outputs {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let shape = together(node)?;
    let ints = combine(a, b, &shape, |x, y| {
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
    let value = ints.or_else(|| {
        let f: fn(f64, f64) -> bool = match op {
            "Equal" => |x, y| x == y,
            "Greater" => |x, y| x > y,
            "GreaterOrEqual" => |x, y| x >= y,
            "Less" => |x, y| x < y,
            "LessOrEqual" => |x, y| x <= y,
            _ => return None,
        };
        Some(Value::Ints(combine_floats(a, b, &shape, f)?.into_iter().map(i64::from).collect()))
    });
    Ok(vec![Some(Fact::with(DataType::BOOL, shape, value))])
}

pub(super) fn variadic(node: &Node<'_>, op: &str) -> Outputs {
    let first = node.input(0)?;
    let mut result = first.clone();
    for i in 1..node.inputs.len() {
        let next = node.input(i)?;
        let shape = spread([&result, next])?;
        let value = match op {
            "Max" => combine(&result, next, &shape, |x, y| Some(x.max(y))),
            "Min" => combine(&result, next, &shape, |x, y| Some(x.min(y))),
            "Sum" => combine(&result, next, &shape, i64::checked_add),
            _ => None,
        };
        let floats: Option<fn(f64, f64) -> f64> = match op {
            "Max" => Some(f64::max),
            "Min" => Some(f64::min),
            "Sum" => Some(|x, y| x + y),
            _ => None,
        };
        let value =
            value.or_else(|| Some(Value::Floats(combine_floats(&result, next, &shape, floats?)?.into())));
        let bound = result.bound || next.bound;
        result = Fact { bound, ..Fact::with(first.dtype, shape, value) };
    }
    if op == "Mean" && node.inputs.len() > 1 {
        result.value = None;
    }
    Ok(vec![Some(Fact::with(first.dtype, result.shape, result.value))])
}

pub(super) fn select(node: &Node<'_>) -> Outputs {
    let (condition, a, b) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let shape = spread([condition, a, b])?;
    let value = (|| {
        let chosen = condition.known_ints()?;
        let places = value::each(&shape, |index| {
            let is_first = *chosen.get(stretched(&condition.shape, index))? != 0;
            let from = if is_first { a } else { b };
            Some((is_first, stretched(&from.shape, index)))
        })?;
        // What is not chosen need not be known.
        let places: Vec<(bool, usize)> = places.into_iter().collect::<Option<_>>()?;
        if let (Some(x), Some(y)) = (whole(a, &places, true), whole(b, &places, false)) {
            let pick =
                |&(first, place): &(bool, usize)| if first { x.get(place) } else { y.get(place) }.copied();
            return Some(Value::Ints(places.iter().map(pick).collect::<Option<_>>()?));
        }
        let (x, y) = (a.value.as_ref()?.floats(), b.value.as_ref()?.floats());
        let pick = |&(first, place): &(bool, usize)| if first { x.get(place) } else { y.get(place) }.copied();
        Some(Value::Floats(places.iter().map(pick).collect::<Option<_>>()?))
    })();
    Ok(vec![Some(Fact::with(a.dtype, shape, value))])
}

/// The integers of a branch, or nothing at all where none of them is chosen.
fn whole<'a>(fact: &'a Fact, places: &[(bool, usize)], side: bool) -> Option<&'a [i64]> {
    if places.iter().all(|&(first, _)| first != side) { Some(&[]) } else { fact.known_ints() }
}

pub(super) fn cast(node: &Node<'_>, op: &str) -> Outputs {
    let input = node.input(0)?;
    let to = match op {
        "CastLike" => node.input(1)?.dtype,
        // In operator set 1 the type is a name.
        _ => match node.text("to").filter(|name| !name.is_empty()) {
            Some(name) => DataType::named(name).ok_or_else(|| format!("element type `{name}`"))?,
            None => DataType::new(node.int("to").ok_or("attribute `to` is missing")? as i32),
        },
    };
    let whole = matches!(to.number(), 2..=7 | 9 | 12 | 13 | 21 | 22 | 25 | 26);
    let value = match &input.value {
        _ if to == DataType::STRING || input.dtype == DataType::STRING => None,
        Some(Value::Floats(floats)) if to == DataType::BOOL => {
            Some(Value::Ints(floats.iter().map(|&x| i64::from(x != 0.0)).collect()))
        }
        Some(Value::Ints(ints)) if to == DataType::BOOL => {
            Some(Value::Ints(ints.iter().map(|&i| i64::from(i != 0)).collect()))
        }
        // What no integer stands for becomes whatever the machine makes of it.
        Some(Value::Floats(floats)) if whole => {
            let int = |&x: &f64| (x.abs() < 2f64.powi(63)).then_some(x as i64);
            floats.iter().map(int).collect::<Option<_>>().map(Value::Ints)
        }
        // Bits that the type does not have are cut off.
        Some(Value::Ints(ints)) if whole => match fact::range(to) {
            Some((least, most)) if most < i64::MAX => {
                let count = most - least + 1;
                Some(Value::Ints(
                    ints.iter()
                        .map(|&i| {
                            (i128::from(i) - i128::from(least)).rem_euclid(i128::from(count)) as i64 + least
                        })
                        .collect(),
                ))
            }
            _ => Some(Value::Ints(ints.clone())),
        },
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
