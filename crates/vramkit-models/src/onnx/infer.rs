//! Walks a graph in order and finds out what every tensor looks like.
//!
//! For each node the [rules](super::rules) are asked first; what they leave open, what a runtime measured says, or what the
//! file itself says of the outputs. When nothing does, the error names node and operator.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use super::bodies::{Bodies, Body};
use super::bounds::{hides_values, veiled};
use super::context::Context;
use super::declared::{self, Declared};
use super::derived;
use super::fact::{Fact, Other, elements, stored};
use super::inferred::Inferred;
use super::lifetimes;
use super::node::{Node, Outputs, bodies, is, title};
use super::order;
use super::proto::{GraphProto, NodeProto, ValueInfoProto};
use super::rules;
use crate::data_type::DataType;

/// Graphs within graphs, at most: as many as the decoder takes.
const DEPTH: usize = 34;

/// The tensors around a graph.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    facts: &'a HashMap<&'a str, Fact>,
    outer: Option<&'a Around<'a>>,
}

impl Around<'_> {
    fn find(&self, name: &str) -> Option<&Fact> {
        self.facts.get(name).or_else(|| self.outer?.find(name))
    }
}

/// Where a graph is: in a file, perhaps in a node.
pub(super) struct Scope<'a> {
    context: &'a Context<'a>,
    around: Option<Around<'a>>,
    depth: usize,
    /// Most bytes that the bodies of the node around hold at one time.
    held: Cell<u64>,
    /// Why one of them is taken not to run.
    left_out: RefCell<Option<String>>,
    /// Whether any was looked at.
    ran: Cell<bool>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Self {
            context,
            around: None,
            depth: 0,
            held: Cell::new(0),
            left_out: RefCell::new(None),
            ran: Cell::new(false),
        }
    }

    fn find<'b>(&'b self, facts: &'b HashMap<&str, Fact>, name: &str) -> Option<&'b Fact> {
        facts.get(name).or_else(|| self.around.as_ref()?.find(name))
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
        // One that is an input too can be given anew for every run.
        let given: HashSet<&str> = match self.context.can_override {
            true => graph.input.iter().map(|input| input.name.as_str()).collect(),
            false => HashSet::new(),
        };
        for tensor in &graph.initializer {
            let fact = stored(tensor).map_err(|reason| format!("initialiser `{}`: {reason}", tensor.name))?;
            let constant = !given.contains(tensor.name.as_str());
            facts.insert(&tensor.name, Fact { constant, ..fact });
        }
        for sparse in &graph.sparse_initializer {
            if let Some(values) = &sparse.values {
                let fact = Fact::new(DataType::new(values.data_type), sparse.dims.clone());
                facts.insert(&values.name, Fact { constant: true, ..fact });
            }
        }
        for (input, fact) in graph.input.iter().zip(inputs) {
            if let Some(fact) = fact {
                fact.bytes().map_err(|reason| format!("input `{}`: {reason}", input.name))?;
                facts.insert(&input.name, fact);
            }
        }
        // What the file says of tensors that the rules may not know.
        let declared: HashMap<&str, &ValueInfoProto> =
            graph.value_info.iter().chain(&graph.output).map(|info| (info.name.as_str(), info)).collect();
        let nodes = order::topological(&graph.node, |name| self.find(&facts, name).is_some())?;
        let mut held = Vec::with_capacity(nodes.len());
        for node in &nodes {
            self.context.visit(node)?;
            let named = |reason: String| format!("{}: {reason}", title(node));
            let (outputs, bytes) = self.node(node, &facts, &declared).map_err(named)?;
            held.push(bytes);
            for (name, fact) in node.output.iter().zip(outputs) {
                if !name.is_empty() {
                    facts.insert(name, fact);
                }
            }
        }
        if let Some(output) = graph.output.iter().find(|output| self.find(&facts, &output.name).is_none()) {
            return Err(format!("nothing makes its output `{}`", output.name));
        }
        let inferred = Inferred { facts, nodes, held };
        derived::note(graph, &inferred, &mut self.context.found.borrow_mut().derived)?;
        Ok(inferred)
    }

    /// The facts of a node's outputs, those left out included (as something), and what its bodies hold.
    fn node(
        &self,
        proto: &NodeProto,
        facts: &HashMap<&str, Fact>,
        declared: &HashMap<&str, &ValueInfoProto>,
    ) -> Result<(Vec<Fact>, u64), String> {
        let find = |name: &String| match self.find(facts, name) {
            Some(fact) => Ok(Some(fact)),
            None if name.is_empty() => Ok(None),
            None => Err(format!("nothing makes its input `{name}`")),
        };
        let inputs: Vec<Option<&Fact>> = proto.input.iter().map(find).collect::<Result<_, _>>()?;
        let mut veiled = veiled(proto, &inputs);
        if !self.context.read(&inputs) {
            let without = |fact: &Fact| Fact { value: None, ..fact.clone() };
            veiled = inputs.iter().map(|fact| fact.map(without)).collect();
        }
        let seen = inputs.iter().zip(&veiled).map(|(&input, veiled)| veiled.as_ref().or(input)).collect();
        let node = Node::new(proto, seen);
        let has_bodies = bodies(proto).next().is_some();
        let around = Around { facts, outer: self.around.as_ref() };
        let inside = Scope { around: Some(around), depth: self.depth + 1, ..Scope::new(self.context) };
        let ruled = rules::apply(&node, self.context.opset, &inside);
        // Lengths that do not go together at their most may do so as they are.
        let from_bound = inputs.iter().flatten().any(|fact| fact.bound);
        if let Some(Err(reason)) = &ruled
            && !node.unknown.get()
            && !has_bodies
            && !from_bound
            && !self.context.is_full()
        {
            self.context.contradicts.set(true);
            return Err(reason.clone());
        }
        let mut outputs = match &ruled {
            Some(Ok(outputs)) => outputs.clone(),
            _ => Vec::new(),
        };
        outputs.resize(proto.output.len(), None);
        let mut given = inputs.iter().flatten().peekable();
        // What makes much of little in a body is made when that runs, and not held for a branch that may never run.
        let repeats = self.depth > 0 && is(proto, &["ConstantOfShape", "Expand", "Range", "Tile"]);
        let stored = !has_bodies
            && !repeats
            && !is(proto, &["RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"])
            && (is(proto, &["Constant"]) || given.peek().is_some() && given.all(|fact| fact.constant));
        let hides_values = hides_values(proto, &inputs);
        let mut settled = Vec::with_capacity(outputs.len());
        for (name, output) in proto.output.iter().zip(outputs) {
            if name.is_empty() {
                settled.push(Fact::new(DataType::FLOAT, vec![0]));
                continue;
            }
            let output = output.map(|fact| Fact { bound: fact.bound || from_bound, ..fact });
            let mut fact = self.settle(name, output, &ruled, declared.get(name.as_str()).copied())?;
            fact.constant = stored;
            if hides_values {
                fact.value = None;
            }
            fact.bytes().map_err(|reason| format!("its output `{name}`: {reason}"))?;
            if fact.bound && !from_bound {
                self.context.bounded(name, proto);
            }
            if !fact.is_counted() {
                let what = if fact.other.is_none() { "text" } else { "no tensor" };
                self.context.uncounted(name, what);
            }
            settled.push(self.context.keep(fact)?);
        }
        if has_bodies && (!inside.ran.get() || matches!(ruled, Some(Err(_)))) {
            self.context.uncounted(&title(proto), "the graphs inside it are not followed");
        }
        if let Some(reason) = inside.left_out.take() {
            self.context.found.borrow_mut().left_out.insert(title(proto), reason);
        }
        Ok((settled, inside.held.get()))
    }

    /// What an output is, from what the rule says, what was measured and what the file says.
    fn settle(
        &self,
        name: &str,
        output: Option<Fact>,
        ruled: &Option<Outputs>,
        info: Option<&ValueInfoProto>,
    ) -> Result<Fact, String> {
        let measured = self.context.measured.get(name);
        if let Some(fact) = output {
            return self.checked(name, fact, measured, info);
        }
        let said = info.map(|info| declared::declared(info, self.context.dims));
        match (said, measured) {
            (Some(Declared::Whole(fact) | Declared::Open(fact, _)), Some(shape)) => {
                Ok(Fact::new(fact.dtype, shape.to_vec()))
            }
            (Some(Declared::Shapeless(dtype)), Some(shape)) => Ok(Fact::new(dtype, shape.to_vec())),
            (Some(Declared::Whole(fact)), None) => {
                if !info.is_some_and(|info| declared::is_given(info, self.context.dims)) {
                    self.context.note(format!(
                        "`{name}` is planned as the file declares it, {:?}: nothing else tells its shape",
                        fact.shape
                    ));
                }
                Ok(fact)
            }
            (Some(Declared::Open(fact, open)), None) => {
                self.context.open(open);
                Ok(fact)
            }
            (Some(Declared::TooLarge { name, size }), _) => {
                Err(format!("{size} is too large for dimension `{name}`"))
            }
            (Some(Declared::Unsaid(_) | Declared::Shapeless(_)) | None, _) => Err(self.reason(name, ruled)),
        }
    }

    /// What the rule says of an output beside what was measured and what the file says with the sizes given: these may be less
    /// than a bound, and nothing else.
    fn checked(
        &self,
        name: &str,
        fact: Fact,
        measured: Option<&[i64]>,
        info: Option<&ValueInfoProto>,
    ) -> Result<Fact, String> {
        let within = |shape: &[i64]| {
            shape.len() == fact.rank() && shape.iter().zip(&fact.shape).all(|(said, most)| said <= most)
        };
        let is = if fact.bound { "can be no more than" } else { "is" };
        let either = fact.other == Some(Other::Either);
        let within = |shape: &[i64]| match (either, elements(shape), elements(&fact.shape)) {
            (true, Ok(said), Ok(most)) => said <= most,
            _ => within(shape),
        };
        if let Some(shape) = measured.filter(|_| either || fact.other.is_none()) {
            return match (fact.bound, fact.shape == shape && !either) {
                (false, true) => Ok(fact),
                (false, false) if either && elements(shape) == elements(&fact.shape) => {
                    Ok(Fact::new(fact.dtype, shape.to_vec()))
                }
                (true, _) if within(shape) => Ok(Fact::new(fact.dtype, shape.to_vec())),
                _ => Err(format!(
                    "its output `{name}` was measured as {shape:?}, and {is} {:?} for the sizes given",
                    fact.shape
                )),
            };
        }
        let dims = self.context.dims;
        let Some(info) = info.filter(|info| either || declared::is_given(info, dims)) else {
            return Ok(fact);
        };
        match declared::declared(info, dims) {
            Declared::TooLarge { name, size } => Err(format!("{size} is too large for dimension `{name}`")),
            // A size from the user is better than the most that there can be, unless it is that.
            Declared::Whole(said)
                if fact.bound && said.other.is_none() && said.shape != fact.shape && within(&said.shape) =>
            {
                Ok(Fact::new(fact.dtype, said.shape))
            }
            // What has just so many elements.
            Declared::Whole(said)
                if either && !fact.bound && elements(&said.shape) == elements(&fact.shape) =>
            {
                Ok(Fact::new(fact.dtype, said.shape))
            }
            Declared::Whole(said) if said.shape != fact.shape && declared::is_given(info, dims) => {
                self.context.note(format!(
                    "with the sizes given `{name}` is declared as {:?}, and {is} {:?}, which is planned for",
                    said.shape, fact.shape
                ));
                Ok(fact)
            }
            _ => Ok(fact),
        }
    }

    /// Why nothing tells what an output is.
    fn reason(&self, name: &str, ruled: &Option<Outputs>) -> String {
        let full = if self.context.is_full() {
            "; values of small tensors were no longer followed, as there are more than a file of its size may have"
        } else {
            ""
        };
        match ruled {
            Some(Err(reason)) => format!("{reason}{full}"),
            Some(Ok(_)) => {
                format!(
                    "the shape of its output `{name}` depends on values that are not known before it runs; a measured shape can tell it{full}"
                )
            }
            None => "no rule is known for this operator, and the file does not carry the shape of its output"
                .to_owned(),
        }
    }
}

impl Bodies for Scope<'_> {
    fn run(&self, body: &GraphProto, inputs: Vec<Fact>) -> Result<Body, String> {
        self.ran.set(true);
        self.context.contradicts.set(false);
        let within = |reason: String| format!("in its body: {reason}");
        let inferred = self.infer(body, inputs.into_iter().map(Some)).map_err(within)?;
        let mut activations = lifetimes::activations(body, &inferred).map_err(within)?;
        // What goes out is counted where it goes to.
        activations.retain(|activation| !activation.boundary);
        let peak = lifetimes::live_peak(&activations).map_err(within)?;
        let outputs = body.output.iter().map(|output| self.find(&inferred.facts, &output.name).cloned());
        let outputs = outputs.collect::<Option<_>>().ok_or("nothing makes an output of its body")?;
        Ok(Body { outputs, peak })
    }

    fn leave_out(&self, reason: String) {
        self.left_out.replace(Some(reason));
    }

    fn fits_no_shape(&self) -> bool {
        self.context.contradicts.get()
    }

    fn can_follow(&self) -> bool {
        self.context.can_follow()
    }

    fn hold(&self, bytes: u64) {
        self.held.set(self.held.get().max(bytes));
    }
}
