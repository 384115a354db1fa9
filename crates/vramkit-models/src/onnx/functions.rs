//! Functions that a model brings along are put in place of the nodes that call them, names made unique: what runs
//! is their bodies, and those are what takes memory.
//!
//! Before anything is put anywhere, it is counted: functions that call one another twice each double with every
//! further one, so that a file of some kilobytes can stand for any number of nodes.

use std::collections::{HashMap, HashSet};

use prost::Message as _;

use super::node::{bodies, title};
use super::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto};

/// Bodies within bodies, at most.
const DEPTH: usize = 32;
/// What the nodes of called functions may take, as they are written: so many bytes in any case, and so many times
/// the file's.
const SLACK: u64 = 8 << 20;
const TIMES: u64 = 32;

/// Domain, name and overload tell functions apart.
type Key<'a> = (&'a str, &'a str, &'a str);

struct Table<'a> {
    functions: HashMap<Key<'a>, &'a FunctionProto>,
    /// Bytes of the nodes that a call becomes; `None` while they are counted.
    sizes: HashMap<Key<'a>, Option<u64>>,
}

/// Replaces every call of a function by the function's nodes, in the bodies of nodes too. `structure` is how many bytes the
/// file has without its weights.
pub(super) fn inline(
    graph: &mut GraphProto,
    functions: &[FunctionProto],
    structure: u64,
) -> Result<(), String> {
    if functions.is_empty() {
        return Ok(());
    }
    let mut table = Table { functions: HashMap::new(), sizes: HashMap::new() };
    for function in functions {
        let key = (function.domain.as_str(), function.name.as_str(), function.overload.as_str());
        if table.functions.insert(key, function).is_some() {
            return Err(format!("function `{}` is there twice", function.name));
        }
    }
    let most = SLACK.saturating_add(TIMES.saturating_mul(structure));
    let total = table.size_of(&graph.node, 0)?;
    if total > most {
        return Err(format!(
            "with its functions in the place of their calls it has {total} bytes of nodes; {most} are the most for a file of its size"
        ));
    }
    let names =
        graph.node.iter().flat_map(|node| &node.output).chain(graph.input.iter().map(|input| &input.name));
    let taken =
        names.filter_map(|name| Some(name[..=name.find('/')?].to_owned())).filter(|name| name.contains('#'));
    let taken = taken.collect();
    table.expand(graph, &mut Spent { taken, calls: 0, bytes: 0, most })
}

/// What has been put in place.
struct Spent {
    /// What names of the graph begin with that could be such a call's.
    taken: HashSet<String>,
    calls: u64,
    /// Of nodes with the attributes that their callers give, which a function alone does not tell.
    bytes: u64,
    most: u64,
}

fn key(node: &NodeProto) -> Key<'_> {
    (&node.domain, &node.op_type, &node.overload)
}

impl<'a> Table<'a> {
    /// Bytes that these nodes have once all functions are in the place of their calls.
    fn size_of(&mut self, nodes: &[NodeProto], depth: usize) -> Result<u64, String> {
        let mut sum = 0u64;
        for node in nodes {
            // A call without nodes costs the work of looking for them.
            let mut size = node.encoded_len() as u64 + 16;
            for body in bodies(node) {
                size = size.saturating_add(self.size_of(&body.node, depth)?);
            }
            if let Some(&function) = self.functions.get(&key(node)) {
                size = size.saturating_add(self.size_of_call(node, function, depth + 1)?);
            }
            sum = sum.saturating_add(size);
        }
        Ok(sum)
    }

    fn size_of_call(
        &mut self,
        call: &NodeProto,
        function: &'a FunctionProto,
        depth: usize,
    ) -> Result<u64, String> {
        let own = (function.domain.as_str(), function.name.as_str(), function.overload.as_str());
        match self.sizes.get(&own) {
            Some(&Some(size)) => return Ok(size),
            Some(None) => return Err(format!("{}: the function calls itself", title(call))),
            None if depth > DEPTH => {
                return Err(format!("{}: functions call one another more than {DEPTH} deep", title(call)));
            }
            None => {}
        }
        self.sizes.insert(own, None);
        let size = self.size_of(&function.node, depth)?;
        self.sizes.insert(own, Some(size));
        Ok(size)
    }

    fn expand(&self, graph: &mut GraphProto, spent: &mut Spent) -> Result<(), String> {
        let mut done = Vec::with_capacity(graph.node.len());
        for node in std::mem::take(&mut graph.node) {
            self.expand_node(node, &mut done, spent, 0)?;
        }
        graph.node = done;
        Ok(())
    }

    fn expand_node(
        &self,
        mut node: NodeProto,
        done: &mut Vec<NodeProto>,
        spent: &mut Spent,
        depth: usize,
    ) -> Result<(), String> {
        let Some(function) = self.functions.get(&key(&node)) else {
            for attribute in &mut node.attribute {
                for body in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
                    self.expand(body, spent)?;
                }
            }
            done.push(node);
            return Ok(());
        };
        if depth >= DEPTH {
            return Err(format!("{}: functions call one another more than {DEPTH} deep", title(&node)));
        }
        let prefix = loop {
            spent.calls += 1;
            let prefix = format!("{}#{}/", function.name, spent.calls);
            if !spent.taken.contains(&prefix) {
                break prefix;
            }
        };
        let empty = String::new();
        let formal = function.input.iter().enumerate();
        let inputs = formal.map(|(i, formal)| (formal.as_str(), node.input.get(i).unwrap_or(&empty).clone()));
        let outputs = function.output.iter().zip(&node.output).filter(|(_, actual)| !actual.is_empty());
        let names: HashMap<&str, String> =
            inputs.chain(outputs.map(|(formal, actual)| (formal.as_str(), actual.clone()))).collect();
        let call = Call { names, prefix, node: &node, function };
        for inner in &function.node {
            let inner = call.node(inner, &HashSet::new());
            spent.bytes = spent.bytes.saturating_add(inner.encoded_len() as u64);
            if spent.bytes > spent.most {
                let most = spent.most;
                return Err(format!(
                    "its functions have more than {most} bytes of nodes in the place of their calls"
                ));
            }
            self.expand_node(inner, done, spent, depth + 1)?;
        }
        Ok(())
    }
}

/// One call of a function: what the names in its body become.
struct Call<'a> {
    names: HashMap<&'a str, String>,
    prefix: String,
    node: &'a NodeProto,
    function: &'a FunctionProto,
}

impl Call<'_> {
    /// Names that a body has for itself may be those of the function's inputs, and get a prefix like all others.
    fn name(&self, name: &str, own: &HashSet<&str>) -> String {
        match self.names.get(name).filter(|_| !own.contains(name)) {
            _ if name.is_empty() => String::new(),
            Some(outer) => outer.clone(),
            None => format!("{}{name}", self.prefix),
        }
    }

    /// A node of the function as it stands in the caller's graph. `own` are the names that a body around it has for itself.
    fn node(&self, inner: &NodeProto, own: &HashSet<&str>) -> NodeProto {
        let names = |names: &[String]| names.iter().map(|name| self.name(name, own)).collect();
        NodeProto {
            input: names(&inner.input),
            output: names(&inner.output),
            name: if inner.name.is_empty() {
                String::new()
            } else {
                format!("{}{}", self.prefix, inner.name)
            },
            op_type: inner.op_type.clone(),
            domain: inner.domain.clone(),
            overload: inner.overload.clone(),
            attribute: inner
                .attribute
                .iter()
                .filter_map(|attribute| self.attribute(attribute, own))
                .collect(),
        }
    }

    /// A body sees the function's names, and may have its own.
    fn body(&self, body: &GraphProto, around: &HashSet<&str>) -> GraphProto {
        let mut own = around.clone();
        own.extend(body.input.iter().map(|input| input.name.as_str()));
        let sparse = body.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
        own.extend(body.initializer.iter().chain(sparse).map(|tensor| tensor.name.as_str()));
        own.extend(body.node.iter().flat_map(|node| node.output.iter().map(String::as_str)));
        let mut renamed = body.clone();
        renamed.node = body.node.iter().map(|node| self.node(node, &own)).collect();
        let infos = renamed.input.iter_mut().chain(&mut renamed.output).chain(&mut renamed.value_info);
        infos.for_each(|info| info.name = self.name(&info.name, &own));
        let sparse = renamed.sparse_initializer.iter_mut().filter_map(|sparse| sparse.values.as_mut());
        renamed
            .initializer
            .iter_mut()
            .chain(sparse)
            .for_each(|tensor| tensor.name = self.name(&tensor.name, &own));
        renamed
    }

    /// An attribute of a function's node: its own, whose bodies are the function's too, or the caller's, or the function's
    /// default.
    fn attribute(&self, attribute: &AttributeProto, own: &HashSet<&str>) -> Option<AttributeProto> {
        if attribute.ref_attr_name.is_empty() {
            let mut attribute = attribute.clone();
            for body in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
                *body = self.body(body, own);
            }
            return Some(attribute);
        }
        let given = self.node.attribute.iter().chain(&self.function.attribute_proto);
        let mut found = given.into_iter().find(|given| given.name == attribute.ref_attr_name)?.clone();
        found.name.clone_from(&attribute.name);
        Some(found)
    }
}
