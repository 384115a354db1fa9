//! Walks a graph in order and finds out what every tensor looks like.
//!
//! For each node the [rules](super::rules) are asked first, then what the file itself says of the outputs. When
//! neither knows, the error names node and operator.

use std::collections::{BTreeMap, HashMap};

use super::fact::{DataType, Fact, stored};
use super::node::Node;
use super::order;
use super::proto::{GraphProto, NodeProto, ValueInfoProto};
use super::rules;

/// What a graph is seen in: the file's operator set, the sizes that the user gave, and the tensors around it.
pub(super) struct Scope<'a> {
    pub(super) opset: i64,
    pub(super) dims: &'a BTreeMap<String, u64>,
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

    /// The facts of a body's outputs, given those of its inputs.
    pub(super) fn outputs_of(&self, graph: &GraphProto, inputs: Vec<Fact>) -> Result<Vec<Fact>, String> {
        let inferred = self.infer(graph, Some(inputs)).map_err(|reason| format!("in its body: {reason}"))?;
        let outputs = graph.output.iter().map(|output| {
            let fact =
                inferred.facts.get(output.name.as_str()).or_else(|| self.outer?.get(output.name.as_str()));
            fact.cloned().ok_or_else(|| format!("nothing makes the output `{}` of its body", output.name))
        });
        outputs.collect()
    }

    /// Infers a whole graph. The inputs' facts are given for a body, and read from the file for a model.
    pub(super) fn infer<'g>(
        &self,
        graph: &'g GraphProto,
        inputs: Option<Vec<Fact>>,
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
                facts.insert(&values.name, Fact::new(DataType(values.data_type), sparse.dims.clone()));
            }
        }
        match inputs {
            Some(inputs) => {
                let named = graph.input.iter().map(|input| input.name.as_str());
                named.zip(inputs).for_each(|(name, fact)| {
                    facts.insert(name, fact);
                });
            }
            None => {
                for input in &graph.input {
                    if !facts.contains_key(input.name.as_str()) {
                        facts.insert(&input.name, self.declared_input(input)?);
                    }
                }
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
        let inner = Scope { opset: self.opset, dims: self.dims, outer, depth: self.depth + 1 };
        let ruled = rules::apply(&node, &inner);
        let mut outputs = match &ruled {
            Some(Ok(outputs)) => outputs.clone(),
            _ => Vec::new(),
        };
        outputs.resize(proto.output.len(), None);
        for (name, output) in proto.output.iter().zip(&mut outputs) {
            if output.is_none() && !name.is_empty() {
                *output = declared.get(name.as_str()).and_then(|info| self.declared(info).ok());
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

    /// What the file says of a graph's input, which must be all of it.
    fn declared_input(&self, info: &ValueInfoProto) -> Result<Fact, String> {
        self.declared(info).map_err(|reason| format!("input `{}`: {reason}", info.name))
    }

    /// What the file says of a tensor, with symbolic sizes from the user.
    fn declared(&self, info: &ValueInfoProto) -> Result<Fact, String> {
        let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()).ok_or("it is not a tensor")?;
        let shape = tensor.shape.as_ref().ok_or("the file does not carry its shape")?;
        let dim = |(i, dim): (usize, &super::proto::Dimension)| {
            let place = format!("{}[{i}]", info.name);
            let symbol = dim.dim_param.as_deref().filter(|symbol| !symbol.is_empty());
            match (dim.dim_value, symbol) {
                (Some(value), _) if value >= 0 => Ok(value),
                (Some(value), _) => Err(format!("its axis {i} has length {value}")),
                (None, symbol) => {
                    let name = symbol.unwrap_or(&place);
                    let given = self.dims.get(name).or_else(|| self.dims.get(&place));
                    let size = given.ok_or_else(|| {
                        format!("its axis {i} is symbolic; give its size with --dim {name}=N")
                    })?;
                    i64::try_from(*size).map_err(|_| format!("--dim {name}={size} is too large"))
                }
            }
        };
        let shape = shape.dim.iter().enumerate().map(dim).collect::<Result<_, _>>()?;
        Ok(Fact::new(DataType(tensor.elem_type), shape))
    }
}

/// Most bytes that a node's bodies hold at one time while it runs, whichever of them runs; 0 without bodies.
pub(super) fn body_peak(node: &NodeProto, scope: &Scope<'_>, around: &Inferred<'_>) -> Result<u64, String> {
    let mut peak = 0;
    let find = |name: &String| around.facts.get(name.as_str());
    let facts = Node { proto: node, inputs: node.input.iter().map(find).collect() };
    for (body, inputs) in rules::bodies(&facts).map_err(|reason| format!("{}: {reason}", title(node)))? {
        let inner = Scope {
            opset: scope.opset,
            dims: scope.dims,
            outer: Some(&around.facts),
            depth: scope.depth + 1,
        };
        let named = |reason: String| format!("{}: in its body: {reason}", title(node));
        let inferred = inner.infer(body, Some(inputs)).map_err(named)?;
        let (mut activations, _) = super::lifetimes::activations(body, &inferred).map_err(named)?;
        // What goes out is counted where it goes to.
        activations.retain(|activation| !activation.boundary);
        peak = peak.max(super::lifetimes::live_peak(&activations).map_err(named)?);
    }
    Ok(peak)
}

/// How a node is named in messages.
pub(super) fn title(node: &NodeProto) -> String {
    let output = node.output.first().map_or("", String::as_str);
    let domain = if node.domain.is_empty() { String::new() } else { format!("{}.", node.domain) };
    match node.name.as_str() {
        "" => format!("the node that makes `{output}` ({domain}{})", node.op_type),
        name => format!("node `{name}` ({domain}{})", node.op_type),
    }
}
