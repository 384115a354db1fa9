//! Operators that take some elements out of a tensor.

use crate::data_type::DataType;
use crate::onnx::fact::Fact;
use crate::onnx::node::{Node, Outputs, axis};

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
        let (start, end) = (start.clamp(0, length - 1), end.clamp(-1, length - 1));
        let (span, step) = ((start - end).max(0), step.saturating_neg());
        Ok((start, span / step + i64::from(span % step > 0)))
    }
}

pub(super) fn slice(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let starts = node.ints_or_input("starts", 1)?.ok_or("the starts are missing")?;
    let ends = node.ints_or_input("ends", 2)?.ok_or("the ends are missing")?;
    let axes = node.ints_or_input("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = match node.optional(4) {
        Some(_) => node.known(4)?.to_vec(),
        None => vec![1; starts.len()],
    };
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Err("starts, ends, axes and steps are not equally many".to_owned());
    }
    let mut shape = input.shape.clone();
    let mut value = input.value.clone().filter(|_| input.rank() == 1);
    for i in 0..starts.len() {
        let along = axis(axes[i], input.rank())?;
        let (first, count) = stretch(starts[i], ends[i], steps[i], shape[along])?;
        value = value.map(|value| value.pick((0..count).map(|k| (first + k * steps[i]) as usize)));
        shape[along] = count;
    }
    Ok(vec![Some(Fact::with(input.dtype, shape, value))])
}

pub(super) fn gather(node: &Node<'_>) -> Outputs {
    let (input, indices) = (node.input(0)?, node.input(1)?);
    let along = axis(node.int_or("axis", 0), input.rank())?;
    let mut shape = input.shape[..along].to_vec();
    shape.extend(&indices.shape);
    shape.extend(&input.shape[along + 1..]);
    let value = input.value.as_ref().filter(|_| input.rank() == 1).zip(indices.known_ints()).and_then(
        |(value, at)| {
            let n = value.len() as i64;
            let places = at
                .iter()
                .map(|&i| usize::try_from(if i < 0 { i + n } else { i }).ok().filter(|&i| (i as i64) < n));
            let places: Option<Vec<usize>> = places.collect();
            Some(value.pick(places?.into_iter()))
        },
    );
    Ok(vec![Some(Fact::with(input.dtype, shape, value))])
}

pub(super) fn gather_elements(node: &Node<'_>) -> Outputs {
    Ok(vec![Some(Fact::new(node.input(0)?.dtype, node.input(1)?.shape.clone()))])
}

pub(super) fn gather_nd(node: &Node<'_>) -> Outputs {
    let (input, indices) = (node.input(0)?, node.input(1)?);
    let batch = usize::try_from(node.int_or("batch_dims", 0)).map_err(|_| "batch_dims is negative")?;
    let (&depth, lead) = indices.shape.split_last().ok_or("indices without axes")?;
    let rest = usize::try_from(depth).ok().and_then(|depth| input.shape.get(batch.checked_add(depth)?..));
    let rest = rest.ok_or_else(|| format!("{depth} indices into a tensor of {:?}", input.shape))?;
    let shape = lead.iter().chain(rest).copied().collect();
    Ok(vec![Some(Fact::new(input.dtype, shape))])
}

pub(super) fn one_hot(node: &Node<'_>) -> Outputs {
    let (indices, values) = (node.input(0)?, node.input(2)?);
    let depth = node.known_floats(1)?.first().copied().ok_or("a depth without elements")? as i64;
    let at = axis(node.int_or("axis", -1), indices.rank() + 1)?;
    let mut shape = indices.shape.clone();
    shape.insert(at, depth);
    Ok(vec![Some(Fact::new(values.dtype, shape))])
}

pub(super) fn top_k(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let along = axis(node.int_or("axis", -1), input.rank())?;
    let k = match node.int("k") {
        Some(k) => k,
        None => *node.known(1)?.first().ok_or("k without elements")?,
    };
    let mut shape = input.shape.clone();
    shape[along] = k;
    Ok(vec![Some(Fact::new(input.dtype, shape.clone())), Some(Fact::new(DataType::INT64, shape))])
}

pub(super) fn compress(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let kept = node.known(1)?.iter().filter(|&&keep| keep != 0).count() as i64;
    let shape = match node.int("axis") {
        Some(along) => {
            let mut shape = input.shape.clone();
            shape[axis(along, input.rank())?] = kept;
            shape
        }
        None => vec![kept],
    };
    Ok(vec![Some(Fact::new(input.dtype, shape))])
}

pub(super) fn non_zero(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let count = node.known_floats(0)?.iter().filter(|&&value| value != 0.0).count() as i64;
    Ok(vec![Some(Fact::new(DataType::INT64, vec![input.rank() as i64, count]))])
}
