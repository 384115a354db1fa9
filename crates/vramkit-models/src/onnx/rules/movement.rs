//! Operators that arrange the same elements differently, or repeat them.

use crate::onnx::fact::{Fact, Other, count, elements};
use crate::onnx::node::{Node, Outputs, axis, broadcast};
use crate::onnx::value::{Value, each, place, stretched};

pub(super) fn reshape(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let Ok(target) = node.ints_or_input("shape", 1) else {
        // Whatever its shape is, it has as many elements.
        let all = vec![count(&input.shape)?];
        return Ok(vec![Some(Fact { other: Some(Other::Either), ..Fact::new(input.dtype, all) })]);
    };
    let target = target.ok_or("input 1 is missing")?;
    let zero_is_zero = node.int_or("allowzero", 0) != 0;
    let mut shape = Vec::with_capacity(target.len());
    let mut open = None;
    for (i, &dim) in target.iter().enumerate() {
        shape.push(match dim {
            0 if !zero_is_zero => {
                *input.shape.get(i).ok_or_else(|| format!("axis {i} of {:?} is kept", input.shape))?
            }
            -1 if open.replace(i).is_some() => return Err(format!("two open axes in {target:?}")),
            -1 => 1,
            dim => dim,
        });
    }
    let total = elements(&input.shape)?;
    let given = elements(&shape)?;
    let fits = match open {
        Some(i) if given > 0 => {
            shape[i] = (total / given) as i64;
            input.bound || total.is_multiple_of(given)
        }
        Some(i) => {
            shape[i] = 0;
            total == 0
        }
        // What has at most so many elements has just these.
        None => given == total || input.bound && given < total,
    };
    if !fits {
        return Err(format!("{:?} does not become {target:?}", input.shape));
    }
    Ok(vec![Some(Fact::with(input.dtype, shape, input.value.clone()))])
}

pub(super) fn flatten(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let at = node.int_or("axis", 1);
    let at = if at == input.rank() as i64 { input.rank() } else { axis(at, input.rank())? };
    let (rows, columns) = (elements(&input.shape[..at])?, elements(&input.shape[at..])?);
    let shape = vec![rows as i64, columns as i64];
    Ok(vec![Some(Fact::with(input.dtype, shape, input.value.clone()))])
}

pub(super) fn squeeze(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let axes: Vec<usize> = match node.ints_or_input("axes", 1)? {
        Some(axes) => axes.iter().map(|&a| axis(a, input.rank())).collect::<Result<_, _>>()?,
        None if input.bound && input.shape.iter().any(|&dim| dim > 1) => {
            return Err(node.cannot_tell("which axes are of length 1 depends on data"));
        }
        None => (0..input.rank()).filter(|&i| input.shape[i] == 1).collect(),
    };
    // An axis that is at most so long is as long as it has to be.
    if let Some(&i) = axes.iter().find(|&&i| input.shape[i] != 1 && !input.bound) {
        return Err(format!("axis {i} of {:?} is not of length 1", input.shape));
    }
    let kept = (0..input.rank()).filter(|i| !axes.contains(i)).map(|i| input.shape[i]);
    Ok(vec![Some(Fact::with(input.dtype, kept.collect(), input.value.clone()))])
}

pub(super) fn unsqueeze(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let axes = node.ints_or_input("axes", 1)?.ok_or("the axes are missing")?;
    let rank = input.rank() + axes.len();
    let axes: Vec<usize> = axes.iter().map(|&a| axis(a, rank)).collect::<Result<_, _>>()?;
    let mut own = input.shape.iter();
    let dims: Vec<i64> =
        (0..rank).filter_map(|i| if axes.contains(&i) { Some(1) } else { own.next().copied() }).collect();
    if dims.len() != rank || own.next().is_some() {
        return Err(format!("axes {axes:?} name one axis twice"));
    }
    Ok(vec![Some(Fact::with(input.dtype, dims, input.value.clone()))])
}

pub(super) fn transpose(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let order: Vec<usize> = match node.ints("perm") {
        Some(order) if !order.is_empty() => {
            order.iter().map(|&a| axis(a, input.rank())).collect::<Result<_, _>>()?
        }
        _ => (0..input.rank()).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..input.rank()) {
        return Err(format!("{order:?} is not an order of the axes of {:?}", input.shape));
    }
    let shape = order.iter().map(|&i| input.shape[i]).collect();
    let mut from = vec![0; order.len()];
    let turned = input.arranged(shape, |index| {
        order.iter().zip(index).for_each(|(&axis, &at)| from[axis] = at);
        place(&input.shape, &from)
    });
    Ok(vec![Some(turned)])
}

pub(super) fn concat(node: &Node<'_>) -> Outputs {
    let first = node.input(0)?;
    let parts = (0..node.inputs.len()).map(|i| node.input(i)).collect::<Result<Vec<_>, _>>()?;
    // Operator set 1 had a default.
    Ok(vec![Some(joined(&parts, axis(node.int_or("axis", 1), first.rank())?)?)])
}

/// Tensors one after the other along an axis; at least one.
pub(super) fn joined(parts: &[&Fact], along: usize) -> Result<Fact, String> {
    let first = *parts.first().ok_or("nothing to join")?;
    let mut shape = first.shape.clone();
    shape[along] = 0;
    // Where each part begins.
    let mut starts = Vec::with_capacity(parts.len());
    for fact in parts {
        let same = fact.rank() == first.rank()
            && (0..first.rank()).all(|a| a == along || fact.shape[a] == first.shape[a]);
        if !same {
            return Err(format!("{:?} and {:?} along axis {along}", first.shape, fact.shape));
        }
        starts.push(shape[along]);
        shape[along] = shape[along].checked_add(fact.shape[along]).ok_or("too many elements")?;
    }
    let places = || {
        each(&shape, |index| {
            // Parts without elements begin where the next one does, which is the last that begins there.
            let part = starts.partition_point(|&start| start <= index[along] as i64) - 1;
            let mut inner = index.to_vec();
            inner[along] -= starts[part] as usize;
            (part, place(&parts[part].shape, &inner))
        })
    };
    let value = if parts.iter().all(|part| part.known_ints().is_some() || part.shape.contains(&0)) {
        let at = |(part, place): (usize, usize)| parts[part].known_ints()?.get(place).copied();
        places().and_then(|all| all.into_iter().map(at).collect::<Option<_>>()).map(Value::Ints)
    } else if parts.iter().all(|part| part.value.is_some()) {
        // Places first: there are none of a result that is too long to be kept, of however many parts it is.
        places().and_then(|all| {
            let floats: Vec<Vec<f64>> =
                parts.iter().filter_map(|part| Some(part.value.as_ref()?.floats())).collect();
            let at = |(part, place): (usize, usize)| floats.get(part)?.get(place).copied();
            Some(Value::Floats(all.into_iter().map(at).collect::<Option<_>>()?))
        })
    } else {
        None
    };
    Ok(Fact::with(first.dtype, shape, value))
}

pub(super) fn split(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let along = axis(node.int_or("axis", 0), input.rank())?;
    let length = input.shape[along];
    let count = node.proto.output.len().max(1) as i64;
    let lengths = match node.ints_or_input("split", 1)? {
        Some(lengths) => lengths,
        None => {
            let parts = node.int_or("num_outputs", count).max(1);
            if parts > count {
                return Err(format!("{parts} parts for {count} outputs"));
            }
            if node.int("num_outputs").is_none() && !input.bound && length % parts != 0 {
                return Err(format!("{length} elements do not go into {parts} equal parts"));
            }
            // Neither is negative.
            let each = (length as u64).div_ceil(parts as u64) as i64;
            if input.bound {
                // The last part of a shorter axis may be longer.
                let mut shape = input.shape.clone();
                shape[along] = each;
                return Ok(vec![Some(Fact::new(input.dtype, shape).at_most()); parts as usize]);
            }
            (0..parts).map(|i| each.min(length - i.saturating_mul(each).min(length))).collect()
        }
    };
    let sum = lengths.iter().try_fold(0i64, |sum, &part| sum.checked_add(part).filter(|_| part >= 0));
    if sum != Some(length) {
        return Err(format!("parts of {lengths:?} do not make up {length}"));
    }
    let mut from = 0usize;
    let part = |part: i64| {
        let mut shape = input.shape.clone();
        shape[along] = part;
        let start = from;
        // Parts make up the axis, so that this stays within it.
        from += part as usize;
        Some(input.arranged(shape, |index| {
            let mut inner = index.to_vec();
            inner[along] += start;
            place(&input.shape, &inner)
        }))
    };
    Ok(lengths.into_iter().map(part).collect())
}

pub(super) fn expand(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let shape = broadcast([input.shape.as_slice(), node.known(1)?])?;
    Ok(vec![Some(input.arranged(shape, |index| stretched(&input.shape, index)))])
}

pub(super) fn tile(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let repeats = node.known(1)?;
    // Operator set 1: a number of tiles and an axis.
    if let (Some(third), &[tiles]) = (node.optional(2), repeats)
        && let Some(&[along]) = third.known_ints()
    {
        let mut shape = input.shape.clone();
        let along = axis(along, input.rank())?;
        shape[along] = shape[along].checked_mul(tiles).ok_or("too many elements")?;
        return Ok(vec![Some(Fact::new(input.dtype, shape))]);
    }
    if repeats.len() != input.rank() {
        return Err(format!("{} repeats for a tensor of {:?}", repeats.len(), input.shape));
    }
    let product = |(&dim, &n): (&i64, &i64)| dim.checked_mul(n).ok_or_else(|| "too many elements".to_owned());
    let shape: Vec<i64> = input.shape.iter().zip(repeats).map(product).collect::<Result<_, _>>()?;
    if repeats.iter().any(|&n| n < 0) {
        return Err(format!("repeats of {repeats:?}"));
    }
    let tiled = input.arranged(shape, |index| {
        let inner: Vec<usize> =
            index.iter().zip(&input.shape).map(|(&at, &dim)| at % dim.max(1) as usize).collect();
        place(&input.shape, &inner)
    });
    Ok(vec![Some(tiled)])
}

pub(super) fn pad(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let pads = match node.ints("pads").or(node.ints("paddings")) {
        Some(pads) => pads,
        None => node.known(1)?,
    };
    let axes: Vec<usize> = match node.optional(3) {
        Some(_) => node.known(3)?.iter().map(|&a| axis(a, input.rank())).collect::<Result<_, _>>()?,
        None => (0..input.rank()).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(format!("{} pads for {} axes", pads.len(), axes.len()));
    }
    let mut shape = input.shape.clone();
    let mut before = vec![0; input.rank()];
    for (i, &a) in axes.iter().enumerate() {
        let padded = shape[a].checked_add(pads[i]).and_then(|dim| dim.checked_add(pads[i + axes.len()]));
        shape[a] = padded
            .filter(|&dim| dim >= 0)
            .ok_or_else(|| format!("pads of {pads:?} for {:?}", input.shape))?;
        before[a] = pads[i];
    }
    // Other modes than a constant are of images, whose values decide no shape.
    let constant = node.text("mode").is_none_or(|mode| mode == "constant");
    let fill = match node.optional(2) {
        Some(fact) => fact.known_ints().and_then(|ints| ints.first().copied()),
        None => Some(0),
    };
    let value = input.known_ints().zip(fill.filter(|_| constant)).and_then(|(ints, fill)| {
        let places = each(&shape, |index| {
            let inner = index.iter().zip(&before).map(|(&at, &lead)| usize::try_from(at as i64 - lead).ok());
            let inner: Option<Vec<usize>> = inner.collect();
            inner.filter(|inner| inner.iter().zip(&input.shape).all(|(&at, &dim)| (at as i64) < dim))
        })?;
        let at = |inner: Option<Vec<usize>>| match inner {
            Some(inner) => ints.get(place(&input.shape, &inner)).copied(),
            None => Some(fill),
        };
        Some(Value::Ints(places.into_iter().map(at).collect::<Option<_>>()?))
    });
    Ok(vec![Some(Fact::with(input.dtype, shape, value))])
}

pub(super) fn space_and_depth(node: &Node<'_>, op: &str) -> Outputs {
    let input = node.input(0)?;
    let block = node
        .int("blocksize")
        .filter(|&b| (1..1 << 15).contains(&b))
        .ok_or("attribute `blocksize` is missing")?;
    let &[batch, channels, height, width] = input.shape.as_slice() else {
        return Err(format!("an image of {:?}", input.shape));
    };
    let shape = match op {
        "SpaceToDepth" => {
            let deep = channels.checked_mul(block * block).ok_or("too many channels")?;
            vec![batch, deep, height / block, width / block]
        }
        _ => {
            let wide = |dim: i64| dim.checked_mul(block).ok_or("too many elements");
            vec![batch, channels / (block * block), wide(height)?, wide(width)?]
        }
    };
    Ok(vec![Some(Fact::new(input.dtype, shape))])
}

/// Sizes win over scales; both may concern some axes only.
pub(super) fn resize(node: &Node<'_>, op: &str) -> Outputs {
    let input = node.input(0)?;
    // Resize-11 on: input, region, scales, sizes. Resize-10 and Upsample: input, scales; Upsample-7: an attribute.
    let modern = op == "Resize" && node.inputs.len() > 2;
    let given = |i: usize| node.optional(i).filter(|fact| fact.shape != [0]).map(|_| i);
    let axes: Vec<usize> = match node.ints("axes") {
        Some(axes) => axes.iter().map(|&a| axis(a, input.rank())).collect::<Result<_, _>>()?,
        None => (0..input.rank()).collect(),
    };
    let mut shape = input.shape.clone();
    if let Some(sizes) = given(3).filter(|_| modern) {
        let sizes = node.known(sizes)?;
        if sizes.len() != axes.len() {
            return Err(format!("{} sizes for {} axes", sizes.len(), axes.len()));
        }
        let policy = node.text("keep_aspect_ratio_policy").unwrap_or("stretch");
        let scales = axes.iter().zip(sizes).map(|(&a, &size)| size as f64 / input.shape[a] as f64);
        let scale = match policy {
            "not_larger" => scales.reduce(f64::min),
            "not_smaller" => scales.reduce(f64::max),
            _ => None,
        };
        for (&a, &size) in axes.iter().zip(sizes) {
            shape[a] = scale.map_or(size, |scale| (scale * input.shape[a] as f64).round() as i64);
        }
    } else {
        let scales: Vec<f64> = match node.floats("scales") {
            Some(scales) => scales.iter().map(|&scale| f64::from(scale)).collect(),
            None => node.known_floats(if modern { 2 } else { 1 })?,
        };
        if scales.len() != axes.len() {
            return Err(format!("{} scales for {} axes", scales.len(), axes.len()));
        }
        for (&a, scale) in axes.iter().zip(scales) {
            // Scales are stored in single precision, in which the standard multiplies.
            shape[a] = (input.shape[a] as f32 * scale as f32).floor() as i64;
        }
    }
    Ok(vec![Some(Fact::new(input.dtype, shape))])
}

pub(super) fn affine_grid(node: &Node<'_>) -> Outputs {
    let (theta, size) = (node.input(0)?, node.known(1)?);
    let (Some(&batch), Some(image)) = (size.first(), size.get(2..)) else {
        return Err(format!("a grid of {size:?}"));
    };
    let mut shape = vec![batch];
    shape.extend(image);
    shape.push(image.len() as i64);
    Ok(vec![Some(Fact::new(theta.dtype, shape))])
}

pub(super) fn grid_sample(node: &Node<'_>) -> Outputs {
    let (image, grid) = (node.input(0)?, node.input(1)?);
    let (Some(lead), true) = (image.shape.get(..2), grid.rank() >= 2) else {
        return Err(format!("an image of {:?} and a grid of {:?}", image.shape, grid.shape));
    };
    let mut shape = lead.to_vec();
    shape.extend(&grid.shape[1..grid.rank() - 1]);
    Ok(vec![Some(Fact::new(image.dtype, shape))])
}

pub(super) fn center_crop_pad(node: &Node<'_>) -> Outputs {
    let (input, target) = (node.input(0)?, node.known(1)?);
    let axes: Vec<usize> = match node.ints("axes") {
        Some(axes) => axes.iter().map(|&a| axis(a, input.rank())).collect::<Result<_, _>>()?,
        None => (0..input.rank()).collect(),
    };
    if target.len() != axes.len() {
        return Err(format!("{} lengths for {} axes", target.len(), axes.len()));
    }
    let mut shape = input.shape.clone();
    for (&a, &length) in axes.iter().zip(target) {
        shape[a] = length;
    }
    Ok(vec![Some(Fact::new(input.dtype, shape))])
}
