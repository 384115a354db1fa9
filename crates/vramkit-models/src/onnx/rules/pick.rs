//! Operators that take some elements out of a tensor.

use crate::data_type::DataType;
use crate::onnx::fact::{Fact, count, elements};
use crate::onnx::node::{Node, Outputs, axis};
use crate::onnx::value::{Value, each, place};

/// How many elements `[start, end)` with a step takes of an axis, with the first; bounds may count from the end
/// and pass the axis.
fn stretch(start: i64, end: i64, step: i64, length: i64) -> Result<(i64, i64), String> {
    if step == 0 {
        return Err("a slice with step 0".to_owned());
    }
    if length == 0 {
        return Ok((0, 0));
    }
    let from_end = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
    let (start, end) = (from_end(start), from_end(end));
    if step > 0 {
        let (start, end) = (start.clamp(0, length), end.clamp(0, length));
        Ok((
            start,
            (end - start).max(0).div_euclid(step) + i64::from((end - start).max(0).rem_euclid(step) > 0),
        ))
    } else {
        // Exporters write the largest number for all the way, whichever way that is, and ONNX Runtime takes it so.
        let end = if end == i64::MAX || end == i64::from(i32::MAX) { -1 } else { end };
        let (start, end) = (start.clamp(0, length - 1), end.clamp(-1, length - 1));
        let (span, step) = ((start - end).max(0), step.saturating_neg());
        Ok((start, span / step + i64::from(span % step > 0)))
    }
}

/// A slice whose bounds are not known has at most what there is.
pub(super) fn slice(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let known = |name: &str, i: usize| node.ints_or_input(name, i);
    let (Ok(starts), Ok(ends), Ok(axes), Ok(steps)) =
        (known("starts", 1), known("ends", 2), known("axes", 3), known("steps", 4))
    else {
        return Ok(vec![Some(Fact::new(input.dtype, input.shape.clone()).at_most())]);
    };
    let (starts, ends) = (starts.ok_or("the starts are missing")?, ends.ok_or("the ends are missing")?);
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Err("starts, ends, axes and steps are not equally many".to_owned());
    }
    let mut shape = input.shape.clone();
    let mut cuts = vec![(0, 1); input.rank()];
    for i in 0..starts.len() {
        let along = axis(axes[i], input.rank())?;
        let (first, count) = stretch(starts[i], ends[i], steps[i], input.shape[along])?;
        // One bound from the front and one from the end: the shorter the axis, the more may be between them.
        let (start, end, length) = (starts[i], ends[i], input.shape[along]);
        let crosses = if steps[i] > 0 {
            start < 0 && (0..length).contains(&end)
        } else {
            start >= 0 && end < 0 && end >= -length
        };
        if input.bound && crosses {
            return Ok(vec![Some(Fact::new(input.dtype, input.shape.clone()).at_most())]);
        }
        shape[along] = count;
        cuts[along] = (first, steps[i]);
    }
    Ok(vec![Some(input.arranged(shape, |index| {
        let at = |(&at, &(first, step)): (&usize, &(i64, i64))| (first + at as i64 * step) as usize;
        place(&input.shape, &index.iter().zip(&cuts).map(at).collect::<Vec<_>>())
    }))])
}

/// An index from the front; negative ones count from the end.
fn from_front(index: i64, length: i64) -> Option<usize> {
    let index = if index < 0 { index.checked_add(length)? } else { index };
    usize::try_from(index).ok().filter(|_| index < length)
}

pub(super) fn gather(node: &Node<'_>) -> Outputs {
    let (input, indices) = (node.input(0)?, node.input(1)?);
    let along = axis(node.int_or("axis", 0), input.rank())?;
    let mut shape = input.shape[..along].to_vec();
    shape.extend(&indices.shape);
    shape.extend(&input.shape[along + 1..]);
    let places: Option<Vec<usize>> =
        input.value.as_ref().zip(indices.known_ints()).and_then(|(_, chosen)| {
            let after = along + indices.rank();
            let all = each(&shape, |index| {
                let at = chosen.get(place(&indices.shape, &index[along..after]))?;
                let at = from_front(*at, input.shape[along])?;
                let inner: Vec<usize> = [&index[..along], &[at], &index[after..]].concat();
                Some(place(&input.shape, &inner))
            })?;
            all.into_iter().collect()
        });
    let value = places.and_then(|places| input.value.as_ref()?.pick(places.into_iter()));
    Ok(vec![Some(Fact::with(input.dtype, shape, value))])
}

pub(super) fn gather_elements(node: &Node<'_>) -> Outputs {
    let (input, indices) = (node.input(0)?, node.input(1)?);
    let along = axis(node.int_or("axis", 0), input.rank())?;
    if indices.rank() != input.rank() {
        return Err(format!("indices of {:?} into a tensor of {:?}", indices.shape, input.shape));
    }
    let value = input.value.as_ref().zip(indices.known_ints()).and_then(|(value, chosen)| {
        let all = each(&indices.shape, |index| {
            let mut inner = index.to_vec();
            inner[along] = from_front(*chosen.get(place(&indices.shape, index))?, input.shape[along])?;
            Some(place(&input.shape, &inner))
        })?;
        value.pick(all.into_iter().collect::<Option<Vec<_>>>()?.into_iter())
    });
    Ok(vec![Some(Fact::with(input.dtype, indices.shape.clone(), value))])
}

pub(super) fn gather_nd(node: &Node<'_>) -> Outputs {
    let (input, indices) = (node.input(0)?, node.input(1)?);
    let batch = usize::try_from(node.int_or("batch_dims", 0)).map_err(|_| "batch_dims is negative")?;
    let (&depth, lead) = indices.shape.split_last().ok_or("indices without axes")?;
    let rest = usize::try_from(depth).ok().and_then(|depth| input.shape.get(batch.checked_add(depth)?..));
    let rest = rest.ok_or_else(|| format!("{depth} indices into a tensor of {:?}", input.shape))?;
    let shape: Vec<i64> = lead.iter().chain(rest).copied().collect();
    let value =
        input.value.as_ref().zip(indices.known_ints()).filter(|_| batch == 0).and_then(|(value, chosen)| {
            let all = each(&shape, |index| {
                let from = place(lead, &index[..lead.len()]) * depth as usize;
                let mut inner = Vec::with_capacity(input.rank());
                for (i, &dim) in input.shape[..depth as usize].iter().enumerate() {
                    inner.push(from_front(*chosen.get(from + i)?, dim)?);
                }
                inner.extend(&index[lead.len()..]);
                Some(place(&input.shape, &inner))
            })?;
            value.pick(all.into_iter().collect::<Option<Vec<_>>>()?.into_iter())
        });
    Ok(vec![Some(Fact::with(input.dtype, shape, value))])
}

/// What is written into a tensor at some of its places; its shape stays.
pub(super) fn scatter(node: &Node<'_>, op: &str) -> Outputs {
    let (input, indices, updates) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let value = scattered(node, op, input, indices, updates);
    Ok(vec![Some(Fact::with(input.dtype, input.shape.clone(), value))])
}

fn scattered(node: &Node<'_>, op: &str, input: &Fact, indices: &Fact, updates: &Fact) -> Option<Value> {
    let (known, chosen, new) = (input.known_ints()?, indices.known_ints()?, updates.known_ints()?);
    if node.text("reduction").is_some_and(|reduction| reduction != "none") {
        return None;
    }
    let mut result = known.to_vec();
    let places = if op == "ScatterND" {
        let (&depth, lead) = indices.shape.split_last()?;
        let depth = usize::try_from(depth).ok().filter(|&depth| depth <= input.rank())?;
        each(&updates.shape, |index| {
            let from = place(lead, index.get(..lead.len())?) * depth;
            let mut inner = Vec::with_capacity(input.rank());
            for (i, &dim) in input.shape[..depth].iter().enumerate() {
                inner.push(from_front(*chosen.get(from + i)?, dim)?);
            }
            inner.extend(&index[lead.len()..]);
            Some(place(&input.shape, &inner))
        })?
    } else {
        let along =
            axis(node.int_or("axis", 0), input.rank()).ok().filter(|_| updates.rank() == input.rank())?;
        each(&updates.shape, |index| {
            let mut inner = index.to_vec();
            inner[along] = from_front(*chosen.get(place(&indices.shape, index))?, input.shape[along])?;
            Some(place(&input.shape, &inner))
        })?
    };
    for (place, &new) in places.into_iter().zip(new) {
        *result.get_mut(place?)? = new;
    }
    Some(Value::Ints(result.into()))
}

pub(super) fn one_hot(node: &Node<'_>) -> Outputs {
    let (indices, values) = (node.input(0)?, node.input(2)?);
    let depth = node.known_floats(1)?.first().copied().ok_or("a depth without elements")? as i64;
    let at = axis(node.int_or("axis", -1), indices.rank() + 1)?;
    let mut shape = indices.shape.clone();
    shape.insert(at, depth.max(0));
    Ok(vec![Some(Fact::new(values.dtype, shape))])
}

/// Without a number that is known, at most all.
pub(super) fn top_k(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let along = axis(node.int_or("axis", -1), input.rank())?;
    let known = match node.int("k") {
        Some(k) => Some(k),
        None => node.input(1)?.known_ints().and_then(|k| k.first().copied()),
    };
    let mut shape = input.shape.clone();
    let Some(k) = known else {
        let most = |dtype| Some(Fact::new(dtype, shape.clone()).at_most());
        return Ok(vec![most(input.dtype), most(DataType::INT64)]);
    };
    if !(0..=input.shape[along]).contains(&k) {
        return Err(format!("the first {k} of {}", input.shape[along]));
    }
    shape[along] = k;
    // The order of a list of numbers is plain; of equal ones the first comes first.
    let order = input.value.as_ref().filter(|_| input.rank() == 1).map(|value| {
        let floats = value.floats();
        let mut order: Vec<usize> = (0..floats.len()).collect();
        let largest = node.int_or("largest", 1) != 0;
        order.sort_by(|&a, &b| {
            let (a, b) = if largest { (b, a) } else { (a, b) };
            floats[a].total_cmp(&floats[b])
        });
        order.truncate(usize::try_from(k).unwrap_or(0));
        order
    });
    let places = order.as_ref().map(|order| Value::Ints(order.iter().map(|&i| i as i64).collect()));
    let values = order.and_then(|order| input.value.as_ref()?.pick(order.into_iter()));
    Ok(vec![
        Some(Fact::with(input.dtype, shape.clone(), values)),
        Some(Fact::with(DataType::INT64, shape, places)),
    ])
}

/// How many elements are left is known with the condition; at most all.
pub(super) fn compress(node: &Node<'_>) -> Outputs {
    let (input, condition) = (node.input(0)?, node.input(1)?);
    let along = node.int("axis").map(|along| axis(along, input.rank())).transpose()?;
    let length = along.map_or_else(|| elements(&input.shape), |along| Ok(input.shape[along] as u64))?;
    let chosen = condition.known_ints().map(|keep| {
        let keep = keep.iter().enumerate().filter(|&(i, &keep)| keep != 0 && (i as u64) < length);
        keep.map(|(i, _)| i).collect::<Vec<_>>()
    });
    let most = elements(&condition.shape)?.min(length);
    let kept = chosen.as_ref().map_or(i64::try_from(most).unwrap_or(i64::MAX), |chosen| chosen.len() as i64);
    let mut shape = along.map_or_else(|| vec![0], |_| input.shape.clone());
    shape[along.unwrap_or(0)] = kept;
    Ok(vec![Some(match chosen {
        None => Fact::new(input.dtype, shape).at_most(),
        Some(chosen) => input.arranged(shape, |index| match along {
            None => chosen.get(index[0]).copied().unwrap_or(usize::MAX),
            Some(along) => {
                let mut inner = index.to_vec();
                inner[along] = chosen.get(index[along]).copied().unwrap_or(0);
                place(&input.shape, &inner)
            }
        }),
    })])
}

/// The places of all elements that are not zero; at most of all.
pub(super) fn non_zero(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    // A single number has a place too, as ONNX Runtime sees it.
    let rank = input.rank().max(1) as i64;
    let Some(value) = &input.value else {
        let most = count(&input.shape)?;
        return Ok(vec![Some(Fact::new(DataType::INT64, vec![rank, most]).at_most())]);
    };
    let floats = value.floats();
    let found = each(&input.shape, |index| {
        let is_zero = floats.get(place(&input.shape, index)).is_none_or(|&value| value == 0.0);
        (!is_zero).then(|| index.to_vec())
    });
    let found: Vec<Vec<usize>> = found.unwrap_or_default().into_iter().flatten().collect();
    let places = (0..input.rank().max(1))
        .flat_map(|axis| found.iter().map(move |index| index.get(axis).map_or(0, |&at| at as i64)))
        .collect();
    Ok(vec![Some(Fact::with(DataType::INT64, vec![rank, found.len() as i64], Some(Value::Ints(places))))])
}

/// At most as many as there are.
pub(super) fn unique(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let (shape, length) = match node.int("axis") {
        Some(along) => (input.shape.clone(), input.shape[axis(along, input.rank())?]),
        None => {
            let all = count(&input.shape)?;
            (vec![all], all)
        }
    };
    let list = || Some(Fact::new(DataType::INT64, vec![length]).at_most());
    // Where each element went is known for every element.
    let inverse = Some(Fact::new(DataType::INT64, vec![length]));
    Ok(vec![Some(Fact::new(input.dtype, shape).at_most()), list(), inverse, list()])
}

/// Boxes `[batches, boxes, 4]` and scores `[batches, classes, boxes]`: of each class at most so many, and at most all.
pub(super) fn non_max_suppression(node: &Node<'_>) -> Outputs {
    let (boxes, scores) = (node.input(0)?, node.input(1)?);
    let (&[batches, count, _], &[_, classes, _]) = (boxes.shape.as_slice(), scores.shape.as_slice()) else {
        return Err(format!("boxes of {:?} and scores of {:?}", boxes.shape, scores.shape));
    };
    let each = match node.optional(2) {
        Some(limit) => limit.known_ints().and_then(|limit| limit.first().copied()).unwrap_or(count),
        // The standard has 0 by default, which means none.
        None => 0,
    };
    let most = each.clamp(0, count).checked_mul(classes).and_then(|most| most.checked_mul(batches));
    let most = most.ok_or("too many boxes")?;
    let chosen = Fact::new(DataType::INT64, vec![most, 3]);
    Ok(vec![Some(if most > 0 { chosen.at_most() } else { chosen })])
}
