//! Operators with graphs inside. Their bodies see the tensors around them; what a body holds while it runs is
//! counted with the node.
//!
//! A loop is followed by value where that tells more: its counter and its condition are often known, and with them how
//! often it runs and how its state grows. Otherwise one run of the body stands for all, if the state keeps its shape.

use crate::data_type::DataType;
use crate::onnx::bodies::{Bodies, Body};
use crate::onnx::fact::{Fact, Other, count, elements};
use crate::onnx::node::{Node, Outputs, axis};
use crate::onnx::proto::GraphProto;

/// A loop is followed by value up to so many runs of its body.
const FOLLOWED: i64 = 4096;

fn graph<'a>(node: &Node<'a>, name: &str) -> Result<&'a GraphProto, String> {
    node.graph(name).ok_or_else(|| format!("attribute `{name}` is missing"))
}

/// Which branch runs may not be known, so each output is taken to be the larger one's. A branch that a known condition
/// rules out is not looked at: exporters leave checks of shapes in whose other branch fits no shape.
pub(super) fn choice(node: &Node<'_>, inference: &dyn Bodies) -> Outputs {
    let run = |name: &str| -> Result<Vec<Fact>, String> {
        let Body { outputs, peak } = inference.run(graph(node, name)?, Vec::new())?;
        inference.hold(peak);
        Ok(outputs)
    };
    match node.input(0)?.known_ints() {
        Some(&[0]) => return Ok(run("else_branch")?.into_iter().map(Some).collect()),
        Some(&[_]) => return Ok(run("then_branch")?.into_iter().map(Some).collect()),
        _ => {}
    }
    let tried = |name: &str| run(name).map_err(|reason| (reason, inference.fits_no_shape()));
    let (first, second) = match (tried("then_branch"), tried("else_branch")) {
        (Ok(first), Ok(second)) => (first, second),
        (Err((reason, false)), _) | (_, Err((reason, false))) => return Err(node.cannot_tell(reason)),
        // A branch that fits no shape cannot be the one that runs, as where each is for inputs of another length.
        (Ok(only), Err((reason, _))) | (Err((reason, _)), Ok(only)) => {
            inference.leave_out(reason);
            return Ok(only.into_iter().map(|fact| Some(fact.at_most())).collect());
        }
        (Err((reason, _)), Err(_)) => return Err(reason),
    };
    if first.len() != second.len() {
        return Err(format!("branches with {} and {} outputs", first.len(), second.len()));
    }
    first
        .into_iter()
        .zip(second)
        .map(|(a, b)| larger(a, b).map(Some).map_err(|reason| node.cannot_tell(reason)))
        .collect()
}

/// The most that an output may be where it is one or the other: each axis at its longest. An error where that has no shape.
fn larger(a: Fact, b: Fact) -> Result<Fact, String> {
    if a.shape == b.shape && a.dtype == b.dtype && a.other == b.other {
        let value = if a.value == b.value { a.value.clone() } else { None };
        return Ok(Fact { bound: a.bound || b.bound, value, ..a });
    }
    match (&a.other, &b.other) {
        (None, None) if a.rank() == b.rank() && a.dtype == b.dtype => {
            let shape = a.shape.iter().zip(&b.shape).map(|(&a, &b)| a.max(b)).collect();
            Ok(Fact::new(a.dtype, shape).at_most())
        }
        // One number, with axes or without.
        (None, None)
            if a.dtype == b.dtype && [&a, &b].iter().all(|fact| fact.shape.iter().all(|&dim| dim == 1)) =>
        {
            let long = if a.rank() >= b.rank() { a } else { b };
            Ok(Fact { value: None, ..long }.at_most())
        }
        (Some(Other::Sequence(x)), Some(Other::Sequence(y))) => {
            let (long, short) = if x.len() >= y.len() { (x, y) } else { (y, x) };
            let elements = long.iter().enumerate().map(|(i, element)| match short.get(i) {
                Some(other) => larger(element.clone(), other.clone()),
                None => Ok(element.clone()),
            });
            Ok(Fact::sequence(elements.collect::<Result<_, _>>()?).at_most())
        }
        (Some(Other::Opaque), _) | (_, Some(Other::Opaque)) => Ok(Fact::opaque()),
        (None | Some(Other::Either), None | Some(Other::Either)) if a.dtype == b.dtype => {
            let shape = vec![count(&a.shape)?.max(count(&b.shape)?)];
            Ok(Fact { other: Some(Other::Either), ..Fact::new(a.dtype, shape) }.at_most())
        }
        _ => Err(format!("an output of {} or of {}, as data decides", a.dtype, b.dtype)),
    }
}

/// What a loop's runs come to.
struct Runs {
    state: Vec<Fact>,
    /// What each run adds to the scanned outputs, the largest one's.
    slices: Vec<Fact>,
    /// How many runs there are; the most, where `bound` says so.
    count: Option<i64>,
    bound: bool,
}

/// The inputs are the number of runs, the condition (both may be left out) and the state.
pub(super) fn repeat(node: &Node<'_>, inference: &dyn Bodies) -> Outputs {
    let body = graph(node, "body")?;
    let first = |i: usize| node.optional(i).and_then(Fact::known_ints).and_then(|ints| ints.first().copied());
    let most = first(0).map(|count| count.max(0));
    let start = node.optional(1).map_or(Some(1), |_| first(1));
    let state = (2..node.inputs.len()).map(|i| node.any(i).cloned()).collect::<Result<Vec<_>, _>>()?;
    if start == Some(0) || most == Some(0) {
        return none(body, state, inference);
    }
    // A count that is no more than a bound: any run may be the last, and there may be none.
    let may_end = node.optional(0).is_some_and(|count| count.bound);
    let one = in_one(node, body, &state, most, inference);
    let runs = match one {
        Ok(runs)
            if runs.count.is_some()
                && !runs.bound
                && !may_end
                && !runs.slices.iter().any(|fact| fact.bound) =>
        {
            runs
        }
        other => match followed(body, &state, (most, may_end), inference) {
            Ok(Some(runs)) => runs,
            Ok(None) => other?,
            Err(reason) => other.map_err(|_| reason)?,
        },
    };
    let maybe_none = start.is_none() || may_end;
    let mut outputs = Vec::new();
    for (before, after) in state.into_iter().zip(runs.state) {
        let fact = if maybe_none { larger(before, after)? } else { after };
        outputs.push(Some(Fact { value: fact.value.filter(|_| !maybe_none && !runs.bound), ..fact }));
    }
    for slice in runs.slices {
        let Some(count) = runs.count else {
            outputs.push(None);
            continue;
        };
        let mut shape = vec![count];
        shape.extend(&slice.shape);
        let bound = slice.bound || runs.bound || maybe_none;
        outputs.push(Some(Fact { bound, ..Fact::new(slice.dtype, shape) }));
    }
    Ok(outputs)
}

/// A loop that does not run: its state goes through, its slices are none.
fn none(body: &GraphProto, state: Vec<Fact>, inference: &dyn Bodies) -> Outputs {
    // What a slice would be still says the shape of an empty output; a body that fits no shape says none.
    let Body { outputs, .. } = inference.run(body, inputs(&forgotten(&state), None))?;
    let slices = outputs.into_iter().skip(1 + state.len()).map(|slice| {
        let mut shape = vec![0];
        shape.extend(&slice.shape);
        Fact::new(slice.dtype, shape)
    });
    Ok(state.iter().cloned().chain(slices).map(Some).collect())
}

/// What a body is given: the number of the run, the condition, the state.
fn inputs(state: &[Fact], run: Option<i64>) -> Vec<Fact> {
    let number =
        run.map_or_else(|| Fact::new(DataType::INT64, Vec::new()), |run| Fact::single(DataType::INT64, run));
    let condition =
        run.map_or_else(|| Fact::new(DataType::BOOL, Vec::new()), |_| Fact::single(DataType::BOOL, 1));
    [number, condition].into_iter().chain(state.iter().cloned()).collect()
}

/// Without the values, which the first run alone has. It is no weight either: a run may have changed it.
fn forgotten(state: &[Fact]) -> Vec<Fact> {
    state.iter().map(|fact| Fact { value: None, constant: false, ..fact.clone() }).collect()
}

fn same_shapes(a: &[Fact], b: &[Fact]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| a.shape == b.shape && a.dtype == b.dtype && a.other == b.other)
}

/// The bytes of a state that is neither the first, which is around the node, nor the last, which is its output.
fn between(state: &[Fact]) -> Result<u64, String> {
    state.iter().try_fold(0u64, |sum, fact| {
        sum.checked_add(fact.bytes()?).ok_or_else(|| "its state has more than 2^64 bytes".to_owned())
    })
}

/// One run of the body for all of them: right if the state keeps its shape.
fn in_one(
    node: &Node<'_>,
    body: &GraphProto,
    state: &[Fact],
    most: Option<i64>,
    inference: &dyn Bodies,
) -> Result<Runs, String> {
    let before = forgotten(state);
    let Body { mut outputs, peak } = inference.run(body, inputs(&before, None))?;
    if outputs.len() < 1 + state.len() {
        return Err(format!("a body with {} outputs for a state of {}", outputs.len(), state.len()));
    }
    let slices = outputs.split_off(1 + state.len());
    let goes_on = outputs.remove(0);
    let after = forgotten(&outputs);
    if !same_shapes(&before, &after) {
        return Err("its state grows or shrinks with each run, and how often it runs is not known".to_owned());
    }
    let several = most.is_none_or(|most| most > 1);
    inference.hold(peak.saturating_add(if several { between(&after)? } else { 0 }));
    let ends_early = goes_on.known_ints().is_none_or(|condition| condition.first() == Some(&0))
        && !passes_condition(node, body);
    Ok(Runs { state: after, slices, count: most, bound: ends_early })
}

/// Whether a body hands on the condition that it is given, which is how exporters write a loop that counts alone.
fn passes_condition(node: &Node<'_>, body: &GraphProto) -> bool {
    let (Some(given), Some(made)) = (body.input.get(1), body.output.first()) else { return false };
    let mut name = made.name.as_str();
    // A copy or two; a longer chain is looked through for nothing.
    for _ in 0..16 {
        let maker = body.node.iter().find(|maker| maker.output.first().is_some_and(|output| output == name));
        match maker.map(|maker| (maker.op_type.as_str(), maker.input.first())) {
            Some(("Identity", Some(source))) => name = source,
            Some(_) => return false,
            None => break,
        }
    }
    name == given.name || node.proto.input.get(1).is_some_and(|outer| outer == name)
}

/// Run by run, with the values that each hands to the next. `None` when they do not tell how often it runs.
fn followed(
    body: &GraphProto,
    first: &[Fact],
    (most, may_end): (Option<i64>, bool),
    inference: &dyn Bodies,
) -> Result<Option<Runs>, String> {
    let mut state: Vec<Fact> = first.to_vec();
    let mut slices: Vec<Fact> = Vec::new();
    // The most of every state after which the loop may have ended.
    let mut ended: Option<Vec<Fact>> = None;
    let mut bound = false;
    let mut run = 0;
    loop {
        if most == Some(run) {
            break;
        }
        if run >= FOLLOWED || !inference.can_follow() {
            return Ok(None);
        }
        let held = if run > 0 { between(&state)? } else { 0 };
        let given = state.iter().map(|fact| Fact { constant: false, ..fact.clone() }).collect::<Vec<_>>();
        let Body { mut outputs, peak } = inference.run(body, inputs(&given, Some(run)))?;
        inference.hold(peak.saturating_add(held));
        if outputs.len() < 1 + first.len() {
            return Err(format!("a body with {} outputs for a state of {}", outputs.len(), first.len()));
        }
        let added = outputs.split_off(1 + first.len());
        slices = match run {
            0 => added,
            _ => slices.into_iter().zip(added).map(|(a, b)| larger(a, b)).collect::<Result<_, _>>()?,
        };
        let goes_on = outputs.remove(0);
        state = outputs;
        run += 1;
        match goes_on.known_ints() {
            Some(&[0]) => break,
            Some(_) if !may_end => {}
            // It may end here; the number of runs bounds it.
            _ if most.is_some() => {
                bound = true;
                ended = Some(match ended {
                    None => state.clone(),
                    Some(so_far) => merged(so_far, &state)?,
                });
            }
            _ => return Ok(None),
        }
    }
    let state = match ended {
        Some(so_far) => merged(so_far, &state)?,
        None => state,
    };
    Ok(Some(Runs { state, slices, count: Some(run), bound }))
}

fn merged(a: Vec<Fact>, b: &[Fact]) -> Result<Vec<Fact>, String> {
    a.into_iter().zip(b).map(|(a, b)| larger(a, b.clone())).collect()
}

/// The last inputs are cut into slices, one a run; the last outputs are put together of slices. In operator set 8 all have
/// an axis for a batch first, and lengths come before them.
pub(super) fn scan(node: &Node<'_>, opset: i64, inference: &dyn Bodies) -> Outputs {
    let body = graph(node, "body")?;
    let Scanned { given, states, length, batch } = scanned(node, opset)?;
    let Body { outputs, peak } = inference.run(body, given.clone())?;
    let before = &given[..states];
    let after = outputs.get(..states).ok_or("a body with fewer outputs than states")?;
    if !same_shapes(before, &forgotten(after)) && length > 1 {
        return Err("its state does not keep its shape".to_owned());
    }
    inference.hold(peak.saturating_add(if length > 1 { between(after)? } else { 0 }));
    let result = |(i, fact): (usize, Fact)| -> Result<Option<Fact>, String> {
        let mut shape = fact.shape;
        if i >= states {
            let along =
                node.ints("scan_output_axes").and_then(|axes| axes.get(i - states)).copied().unwrap_or(0);
            shape.insert(axis(along, shape.len() + 1)?, length);
        }
        shape.splice(0..0, batch);
        elements(&shape)?;
        Ok(Some(Fact { bound: fact.bound, ..Fact::new(fact.dtype, shape) }))
    };
    outputs.into_iter().enumerate().map(result).collect()
}

/// A scan's inputs.
struct Scanned {
    /// What the body is given: states, then slices.
    given: Vec<Fact>,
    states: usize,
    /// How many slices there are.
    length: i64,
    /// In operator set 8, of how many each is done.
    batch: Option<i64>,
}

fn scanned(node: &Node<'_>, opset: i64) -> Result<Scanned, String> {
    let with_batch = opset < 9;
    let first = usize::from(with_batch);
    let slices = usize::try_from(node.int_or("num_scan_inputs", 0)).unwrap_or(0);
    let states = node.inputs.len().checked_sub(first).and_then(|inputs| inputs.checked_sub(slices));
    let states = states.ok_or("more scanned inputs than inputs")?;
    let mut scanned = Scanned { given: Vec::new(), states, length: 0, batch: None };
    for i in first..node.inputs.len() {
        let fact = node.input(i)?;
        let mut shape = fact.shape.clone();
        if with_batch {
            if shape.is_empty() {
                return Err("an input without an axis for the batch".to_owned());
            }
            scanned.batch = Some(shape.remove(0));
        }
        if let Some(slice) = (i - first).checked_sub(states) {
            let along = node.ints("scan_input_axes").and_then(|axes| axes.get(slice)).copied().unwrap_or(0);
            scanned.length = shape.remove(axis(along, shape.len())?);
        }
        scanned.given.push(Fact { bound: fact.bound, ..Fact::new(fact.dtype, shape) });
    }
    Ok(scanned)
}

/// A body applied to each element of a sequence; tensors beside it are given whole.
pub(super) fn sequence_map(node: &Node<'_>, inference: &dyn Bodies) -> Outputs {
    let body = graph(node, "body")?;
    let lists = (0..node.inputs.len())
        .map(|i| super::sequences::elements_of(node, i).map(<[Fact]>::to_vec))
        .collect::<Vec<_>>();
    let length = lists
        .first()
        .and_then(|list| list.as_ref().ok())
        .ok_or("the sequence's elements are not known")?
        .len();
    let mut results: Vec<Vec<Fact>> = vec![Vec::new(); node.proto.output.len()];
    for i in 0..length {
        let given = lists.iter().enumerate().map(|(input, list)| match list {
            Ok(list) => list.get(i).cloned().ok_or_else(|| "sequences of different lengths".to_owned()),
            Err(_) => node.any(input).cloned(),
        });
        let Body { outputs, peak } = inference.run(body, given.collect::<Result<_, _>>()?)?;
        inference.hold(peak);
        for (result, output) in results.iter_mut().zip(outputs) {
            result.push(output);
        }
    }
    Ok(results.into_iter().map(|list| Some(Fact::sequence(list))).collect())
}
