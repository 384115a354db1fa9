//! Sequences of tensors, which are known by their elements, and text: neither decides a shape but by what is in it.

use crate::data_type::DataType;
use crate::onnx::fact::{Fact, Other};
use crate::onnx::node::{Node, Outputs, axis};
use crate::onnx::value::KEPT_VALUES;

use super::movement::joined;

/// The elements of an input that is a sequence.
pub(super) fn elements_of<'a>(node: &Node<'a>, i: usize) -> Result<&'a [Fact], String> {
    let name = node.proto.input.get(i).map_or("", String::as_str);
    match &node.any(i)?.other {
        Some(Other::Sequence(elements)) => Ok(elements),
        Some(Other::Opaque) => {
            Err(node.cannot_tell(format!("what the sequence `{name}` holds is not known")))
        }
        None | Some(Other::Either) => Err(format!("its input `{name}` is no sequence")),
    }
}

pub(super) fn construct(node: &Node<'_>) -> Outputs {
    let elements = (0..node.inputs.len()).map(|i| node.input(i).cloned()).collect::<Result<_, _>>()?;
    Ok(vec![Some(Fact::sequence(elements))])
}

pub(super) fn empty() -> Outputs {
    Ok(vec![Some(Fact::sequence(Vec::new()))])
}

/// The place that an input names, from the front; `last` where it names none.
fn position(node: &Node<'_>, i: usize, length: usize, last: usize) -> Result<usize, String> {
    let Some(&at) = node.optional(i).map(|_| node.known(i)).transpose()?.and_then(<[i64]>::first) else {
        return Ok(last);
    };
    let from_front = if at < 0 { at.saturating_add(length as i64) } else { at };
    let place = usize::try_from(from_front).ok().filter(|&place| place <= length);
    place.ok_or_else(|| format!("position {at} of a sequence of {length}"))
}

pub(super) fn insert(node: &Node<'_>) -> Outputs {
    let mut elements = elements_of(node, 0)?.to_vec();
    let place = position(node, 2, elements.len(), elements.len())?;
    elements.insert(place, node.input(1)?.clone());
    Ok(vec![Some(Fact::sequence(elements))])
}

pub(super) fn erase(node: &Node<'_>) -> Outputs {
    let mut elements = elements_of(node, 0)?.to_vec();
    let last = elements.len().checked_sub(1).ok_or("an empty sequence")?;
    // Of at most so many at most so many are left.
    if node.any(0)?.bound {
        return Ok(vec![Some(Fact::sequence(elements))]);
    }
    let place = position(node, 1, elements.len(), last)?;
    if place > last {
        return Err(format!("position {place} of a sequence of {}", elements.len()));
    }
    elements.remove(place);
    Ok(vec![Some(Fact::sequence(elements))])
}

/// The element at a known place, or else as long along each axis as any. Which one is at a place of a sequence whose length
/// depends on data is not known.
pub(super) fn at(node: &Node<'_>) -> Outputs {
    let elements = elements_of(node, 0)?;
    let first = elements.first().ok_or("an empty sequence")?;
    if node.input(1)?.known_ints().is_some() && !node.any(0)?.bound {
        let place = position(node, 1, elements.len(), 0)?;
        return Ok(vec![Some(elements.get(place).ok_or("a position past the sequence's end")?.clone())]);
    }
    let mut longest = Fact { value: None, ..first.clone() };
    for element in elements {
        if element.rank() != longest.rank() || element.dtype != longest.dtype {
            return Err(node.cannot_tell("elements of different ranks or types, of which data chooses one"));
        }
        if element.shape != longest.shape {
            longest.bound = true;
            longest.shape.iter_mut().zip(&element.shape).for_each(|(dim, &other)| *dim = (*dim).max(other));
        }
        longest.bound |= element.bound;
    }
    Ok(vec![Some(longest)])
}

pub(super) fn length(node: &Node<'_>) -> Outputs {
    Ok(vec![Some(Fact::single(DataType::INT64, elements_of(node, 0)?.len() as i64))])
}

pub(super) fn concat(node: &Node<'_>) -> Outputs {
    let elements = elements_of(node, 0)?;
    let first = elements.first().ok_or("an empty sequence")?;
    let along = node.int("axis").ok_or("attribute `axis` is missing")?;
    if node.int_or("new_axis", 0) == 0 {
        let along = axis(along, first.rank())?;
        return Ok(vec![Some(joined(&elements.iter().collect::<Vec<_>>(), along)?)]);
    }
    let along = axis(along, first.rank() + 1)?;
    let stacked = elements.iter().map(|element| {
        let mut shape = element.shape.clone();
        if element.rank() != first.rank() {
            return Err("elements of different ranks".to_owned());
        }
        shape.insert(along, 1);
        Ok(Fact { shape, ..element.clone() })
    });
    let stacked = stacked.collect::<Result<Vec<_>, _>>()?;
    Ok(vec![Some(joined(&stacked.iter().collect::<Vec<_>>(), along)?)])
}

/// Parts of a given length or of given lengths, or of one element each.
pub(super) fn split(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let along = axis(node.int_or("axis", 0), input.rank())?;
    let length = input.shape[along];
    let given = node.optional(1).map(|fact| Ok::<_, String>((node.known(1)?, fact.rank()))).transpose()?;
    let count = match given {
        Some((&[each], 0)) if each > 0 => (length as u64).div_ceil(each as u64),
        Some((_, 0)) => return Err("parts without a length".to_owned()),
        Some((lengths, _)) => lengths.len() as u64,
        None => length as u64,
    };
    if count > KEPT_VALUES as u64 {
        return Err(format!("a sequence of {count} tensors; {KEPT_VALUES} at most are followed"));
    }
    let parts: Vec<i64> = match given {
        Some((&[each], 0)) => {
            // The last one has the rest; all lie within the axis.
            (0..count as i64).map(|i| each.min(length - i * each)).collect()
        }
        Some((lengths, _)) => lengths.to_vec(),
        None => vec![1; count as usize],
    };
    let sum = parts.iter().try_fold(0i64, |sum, &part| sum.checked_add(part).filter(|_| part >= 0));
    if sum != Some(length) {
        return Err(format!("parts of {parts:?} do not make up {length}"));
    }
    let drop_axis = given.is_none() && node.int_or("keepdims", 1) == 0;
    let element = |part: i64| {
        let mut shape = input.shape.clone();
        shape[along] = part;
        if drop_axis {
            shape.remove(along);
        }
        Fact { bound: input.bound, ..Fact::new(input.dtype, shape) }
    };
    Ok(vec![Some(Fact::sequence(parts.into_iter().map(element).collect()))])
}

/// Whether there is something is told when it runs.
pub(super) fn has_element() -> Outputs {
    Ok(vec![Some(Fact::new(DataType::BOOL, Vec::new()))])
}

/// What is in an optional, or nothing of a declared type.
pub(super) fn optional(node: &Node<'_>) -> Outputs {
    if node.inputs.is_empty() {
        return Ok(vec![Some(Fact::opaque())]);
    }
    Ok(vec![Some(node.any(0)?.clone())])
}
