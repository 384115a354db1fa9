//! Functions that a model brings along are put in place of the nodes that call them, names made unique: what runs
//! is their bodies, and those are what takes memory.

use std::collections::HashMap;

use super::node::title;
use super::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto};

/// Bodies within bodies, and nodes or calls in all: more is not a model but an attack.
const DEPTH: usize = 32;
const NODES: usize = 1 << 20;

/// Replaces every call of a function by the function's nodes.
pub(super) fn inline(graph: &mut GraphProto, functions: &[FunctionProto]) -> Result<(), String> {
    if functions.is_empty() {
        return Ok(());
    }
    let table: HashMap<(&str, &str), &FunctionProto> = functions
        .iter()
        .map(|function| ((function.domain.as_str(), function.name.as_str()), function))
        .collect();
    let mut done = Vec::with_capacity(graph.node.len());
    let mut calls = 0;
    for node in std::mem::take(&mut graph.node) {
        expand(node, &table, &mut done, &mut calls, 0)?;
    }
    graph.node = done;
    Ok(())
}

fn expand(
    node: NodeProto,
    table: &HashMap<(&str, &str), &FunctionProto>,
    done: &mut Vec<NodeProto>,
    calls: &mut usize,
    depth: usize,
) -> Result<(), String> {
    let Some(function) = table.get(&(node.domain.as_str(), node.op_type.as_str())) else {
        if done.len() >= NODES {
            return Err(format!("more than {NODES} nodes with functions expanded"));
        }
        done.push(node);
        return Ok(());
    };
    if depth >= DEPTH {
        return Err(format!("{}: functions call one another more than {DEPTH} deep", title(&node)));
    }
    if *calls >= NODES {
        return Err(format!("more than {NODES} calls of functions"));
    }
    *calls += 1;
    let call = *calls;
    let mut names: HashMap<&str, String> = HashMap::new();
    let empty = String::new();
    for (i, formal) in function.input.iter().enumerate() {
        names.insert(formal, node.input.get(i).unwrap_or(&empty).clone());
    }
    for (formal, actual) in function.output.iter().zip(&node.output) {
        names.insert(formal, actual.clone());
    }
    let rename = |name: &String| match names.get(name.as_str()) {
        Some(outer) => outer.clone(),
        None if name.is_empty() => String::new(),
        None => format!("{}#{call}/{name}", function.name),
    };
    for inner in &function.node {
        let mut inner = inner.clone();
        inner.input = inner.input.iter().map(rename).collect();
        inner.output = inner.output.iter().map(rename).collect();
        inner.attribute = inner.attribute.iter().filter_map(|a| resolve(a, &node, function)).collect();
        if !inner.name.is_empty() {
            inner.name = format!("{}#{call}/{}", function.name, inner.name);
        }
        expand(inner, table, done, calls, depth + 1)?;
    }
    Ok(())
}

/// An attribute of a function's node: its own, or the caller's, or the function's default.
fn resolve(
    attribute: &AttributeProto,
    caller: &NodeProto,
    function: &FunctionProto,
) -> Option<AttributeProto> {
    if attribute.ref_attr_name.is_empty() {
        return Some(attribute.clone());
    }
    let given = caller.attribute.iter().chain(&function.attribute_proto);
    let mut found = given.into_iter().find(|given| given.name == attribute.ref_attr_name)?.clone();
    found.name.clone_from(&attribute.name);
    Some(found)
}
