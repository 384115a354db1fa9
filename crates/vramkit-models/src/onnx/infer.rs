//! Walks a graph in order and finds out what every tensor looks like.
//!
//! For each node the [rules](super::rules) are asked first, then what the file itself says of the outputs. When
//! neither knows, the error names node and operator.

use std::collections::{BTreeMap, HashMap};

use super::bodies::Bodies;
use super::declared;
use super::fact::{Fact, stored};
use super::node::{Node, title};
use super::order;
use super::proto::{GraphProto, NodeProto, ValueInfoProto};
use super::rules;
use crate::data_type::DataType;

/// What a graph is seen in: the file's operator set, the sizes that the user gave, and the tensors around it.
pub(super) struct Scope<'a> {
    opset: i64,
    dims: &'a BTreeMap<String, u64>,
    outer: Option<&'a HashMap<&'a str, Fact>>,
    depth: usize,
}

/// Facts of every tensor of a graph, and the order in which its nodes run.
pub(super) struct Inferred<'g> {
    pub(super) facts: HashMap<&'g str, Fact>,
    pub(super) nodes: Vec<&'g NodeProto>,
}

/// Graphs within graphs, at most.
const DEPTH: usize = 16;

impl<'a> Scope<'a> {
    pub(super) fn new(opset: i64, dims: &'a BTreeMap<String, u64>) -> Self {
        Self { opset, dims, outer: None, depth: 0 }
    }

    /// The scope of a graph within this one, which sees the tensors `outer`.
    pub(super) fn inside<'b>(&self, outer: Option<&'b HashMap<&'b str, Fact>>) -> Scope<'b>
    where
        'a: 'b,
    {
        Scope { opset: self.opset, dims: self.dims, outer, depth: self.depth + 1 }
    }

    /// Infers a whole graph from the facts of its inputs, in order; `None` for an input that an initialiser gives.
    pub(super) fn infer<'g>(
        &self,
        graph: &'g GraphProto,
        inputs: impl IntoIterator<Item = Option<Fact>>,
    ) -> Result<Inferred<'g>, String> {
        if self.depth > DEPTH {
            return Err(format!("graphs are nested more than {DEPTH} deep"));
        }
        let mut facts: HashMap<&str, Fact> = HashMap::new();
        for tensor in &graph.initializer {
            let fact = stored(tensor).map_err(|reason| format!("initialiser `{}`: {reason}", tensor.name))?;
            facts.insert(&tensor.name, fact);
        }
        for sparse in &graph.sparse_initializer {
            if let Some(values) = &sparse.values {
                facts.insert(&values.name, Fact::new(DataType::new(values.data_type), sparse.dims.clone()));
            }
        }
        for (input, fact) in graph.input.iter().zip(inputs) {
            if let Some(fact) = fact {
                facts.insert(&input.name, fact);
            }
        }
        // What the file says of tensors that the rules may not know.
        let declared: HashMap<&str, &ValueInfoProto> =
            graph.value_info.iter().chain(&graph.output).map(|info| (info.name.as_str(), info)).collect();
        let known =
            |name: &str| facts.contains_key(name) || self.outer.is_some_and(|outer| outer.contains_key(name));
        let nodes = order::topological(&graph.node, known)?;
        for node in &nodes {
            let outputs =
                self.node(node, &facts, &declared).map_err(|reason| format!("{}: {reason}", title(node)))?;
            for (name, fact) in node.output.iter().zip(outputs) {
                if !name.is_empty() {
                    facts.insert(name, fact);
                }
            }
        }
        Ok(Inferred { facts, nodes })
    }

    /// The facts of a node's outputs, those left out included (as something).
    fn node(
        &self,
        proto: &NodeProto,
        facts: &HashMap<&str, Fact>,
        declared: &HashMap<&str, &ValueInfoProto>,
    ) -> Result<Vec<Fact>, String> {
        let find = |name: &String| {
            let fact = facts.get(name.as_str()).or_else(|| self.outer?.get(name.as_str()));
            match fact {
                Some(fact) => Ok(Some(fact)),
                None if name.is_empty() => Ok(None),
                None => Err(format!("nothing makes its input `{name}`")),
            }
        };
        let node = Node { proto, inputs: proto.input.iter().map(find).collect::<Result<_, _>>()? };
        let has_body = proto.attribute.iter().any(|attribute| attribute.g.is_some());
        let merged: HashMap<&str, Fact>;
        let outer = match (has_body, self.outer) {
            (false, _) => None,
            (true, None) => Some(facts),
            (true, Some(outer)) => {
                merged = outer.iter().chain(facts).map(|(&name, fact)| (name, fact.clone())).collect();
                Some(&merged)
            }
        };
        let ruled = rules::apply(&node, self.opset, &self.inside(outer));
        let mut outputs = match &ruled {
            Some(Ok(outputs)) => outputs.clone(),
            _ => Vec::new(),
        };
        outputs.resize(proto.output.len(), None);
        for (name, output) in proto.output.iter().zip(&mut outputs) {
            if output.is_none() && !name.is_empty() {
                *output =
                    declared.get(name.as_str()).and_then(|info| declared::declared(info, self.dims).ok());
            }
        }
        let nothing = Fact::new(DataType::FLOAT, vec![0]);
        let wanted = proto.output.iter().zip(outputs).map(|(name, output)| match output {
            Some(fact) => fact.bytes().map(|_| fact),
            None if name.is_empty() => Ok(nothing.clone()),
            None => Err(match &ruled {
                Some(Err(reason)) => reason.clone(),
                Some(Ok(_)) => {
                    format!("the shape of its output `{name}` depends on values that are not in the file")
                }
                None => {
                    "no rule is known for this operator, and the file does not carry the shape of its output"
                        .to_owned()
                }
            }),
        });
        wanted.collect()
    }
}

impl Bodies for Scope<'_> {
    fn outputs(&self, body: &GraphProto, inputs: Vec<Fact>) -> Result<Vec<Fact>, String> {
        let inferred = self
            .infer(body, inputs.into_iter().map(Some))
            .map_err(|reason| format!("in its body: {reason}"))?;
        let outputs = body.output.iter().map(|output| {
            let fact =
                inferred.facts.get(output.name.as_str()).or_else(|| self.outer?.get(output.name.as_str()));
            fact.cloned().ok_or_else(|| format!("nothing makes the output `{}` of its body", output.name))
        });
        outputs.collect()
    }
}
