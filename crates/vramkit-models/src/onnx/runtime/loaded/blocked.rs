//! Convolutions that take channels in blocks, at the third level: which tensors are in that layout, filled up
//! to whole blocks of channels, and where nodes are put in that bring a tensor into it and out of it again.

use std::collections::HashMap;

use super::super::order::execution;
use super::Loaded;
use crate::data_type::DataType;
use crate::onnx::proto::{AttributeProto, NodeProto};

const DOMAIN: &str = "com.microsoft.nchwc";

/// A tensor in the layout, by the name of the plain one.
struct Blocked {
    name: String,
    channels: i64,
    /// The node that makes it so; none where an existing tensor was brought into the layout.
    maker: Option<usize>,
}

/// The walk along the nodes: those that there are by now, and which tensors are in the layout. Nodes that are
/// made anew come after the old ones, in the order in which they are made.
struct Layout {
    block: i64,
    nodes: Vec<Option<NodeProto>>,
    tensors: HashMap<String, Blocked>,
    /// Plain tensors in the order in which they came into the layout.
    came: Vec<String>,
}

fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

impl Loaded {
    pub(super) fn block(&mut self, block: i64) {
        (0..self.nodes.len()).for_each(|i| {
            self.hard_swish(i);
        });
        let order =
            execution(self.nodes.iter().enumerate().filter_map(|(i, node)| Some((i, node.as_ref()?))));
        let mut layout = Layout {
            block: block.max(1),
            nodes: vec![None; self.nodes.len()],
            tensors: HashMap::new(),
            came: Vec::new(),
        };
        for i in order {
            let Some(node) = self.node(i).cloned() else { continue };
            if self.combined(&mut layout, i, &node).is_some() {
                continue;
            }
            let new = layout.nodes.len();
            layout.nodes.push(None);
            match self.rewritten(&mut layout, new, &node) {
                Some(changed) => layout.nodes[new] = Some(changed),
                None => layout.nodes[i] = Some(node),
            }
        }
        let Layout { nodes, tensors, came, .. } = layout;
        self.nodes = nodes;
        self.link();
        for plain in came {
            let Some(tensor) = tensors.get(&plain).filter(|tensor| tensor.maker.is_some()) else { continue };
            let wanted = self.readers(&plain).next().is_some() || self.stays.contains(&plain);
            if wanted && self.maker(&plain).is_none() {
                self.nodes.push(Some(own("ReorderOutput", vec![tensor.name.clone()], plain)));
            }
        }
    }

    /// A convolution whose output goes through `HardSwish` alone, as that is written out, does it itself.
    fn hard_swish(&mut self, i: usize) -> Option<()> {
        let made = self.node(i).filter(|node| node.op_type == "Conv")?.output.first()?.clone();
        let mut readers = self.readers(&made);
        let (first, second) = (readers.next()?, readers.next()?);
        let more = readers.next().is_some();
        let (gate, product) = if self.op(first) == "HardSigmoid" { (first, second) } else { (second, first) };
        let shut = self.node(gate).filter(|node| node.op_type == "HardSigmoid")?.output.first()?.clone();
        if self.op(product) != "Mul"
            || self.reader(&shut) != Some(product)
            || self.stays.contains(&made)
            || more
        {
            return None;
        }
        drop(readers);
        self.take(gate);
        self.facts.remove(&shut);
        self.merge(i, product);
        self.rename(i, "FusedConv")
    }

    /// A node in the layout, which comes to be number `i`; `None` for one that stays as it is.
    fn rewritten(&mut self, layout: &mut Layout, i: usize, node: &NodeProto) -> Option<NodeProto> {
        let input = node.input.first()?;
        let output = node.output.first()?.clone();
        match node.op_type.as_str() {
            "Conv" | "FusedConv" => {
                let (from, to) = (self.image(input)?, self.image(&output)?);
                let groups = attribute(node, "group").map_or(1, |attribute| attribute.i);
                let (block, within) = (layout.block, |channels: i64| channels % layout.block == 0);
                // Weights that are computed in the run are not brought into blocks.
                if !self.weight(node.input.get(1)?) {
                    return None;
                }
                let mut inputs = node.input.clone();
                if groups == 1 {
                    // Few channels are read as they are, many are filled up from a multiple of four.
                    if from >= block {
                        (from % 4 == 0).then_some(())?;
                        inputs[0] = self.enter(layout, input)?;
                    }
                } else {
                    let each = from.checked_div(groups)?;
                    let by_channel =
                        each == 1 && to == groups && (within(to) || layout.tensors.contains_key(input));
                    let by_block = within(to) && within(each) && within(to.checked_div(groups)?);
                    if !by_channel && !by_block {
                        return None;
                    }
                    inputs[0] = self.enter(layout, input)?;
                }
                if let Some(branch) = node.input.get(3).filter(|name| !name.is_empty()) {
                    inputs[3] = self.enter(layout, branch)?;
                }
                let name = self.leave(layout, &output, Some(i))?;
                let attribute = node.attribute.clone();
                Some(NodeProto { attribute, name: node.op_type.clone(), ..own("Conv", inputs, name) })
            }
            "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" => {
                let whole = self.image(input)? % layout.block == 0;
                if !whole || node.output.iter().filter(|name| !name.is_empty()).count() != 1 {
                    return None;
                }
                let entered = self.enter(layout, input)?;
                Some(own(&node.op_type, vec![entered], self.leave(layout, &output, Some(i))?))
            }
            "Resize" | "Upsample" => {
                let nearest = attribute(node, "mode").is_none_or(|mode| mode.s.as_ref() == b"nearest");
                let entered = layout.tensors.get(input)?.name.clone();
                nearest.then_some(())?;
                Some(own("Upsample", vec![entered], self.leave(layout, &output, Some(i))?))
            }
            "BatchNormalization" => {
                let entered = layout.tensors.get(input)?.name.clone();
                Some(own("Conv", vec![entered], self.leave(layout, &output, Some(i))?))
            }
            "Concat" => {
                let all = node.input.iter().map(|name| layout.tensors.get(name));
                let all: Vec<&Blocked> = all.collect::<Option<_>>()?;
                let whole = all.iter().all(|tensor| tensor.channels % layout.block == 0);
                if !whole || attribute(node, "axis")?.i != 1 {
                    return None;
                }
                let names = all.iter().map(|tensor| tensor.name.clone()).collect();
                let name = self.leave(layout, &output, Some(i))?;
                Some(NodeProto { domain: String::new(), ..own("Concat", names, name) })
            }
            "Transpose" => {
                let entered = layout.tensors.get(input)?.name.clone();
                let order = attribute(node, "perm")?;
                (order.ints == [0, 2, 3, 1]).then(|| own("ReorderOutput", vec![entered], output))
            }
            _ => None,
        }
    }

    /// A node that goes element by element over tensors in the layout stays where it is, unless the
    /// convolution that makes one of its inputs does it: a sum, and after that a function. `None` for another
    /// node.
    fn combined(&mut self, layout: &mut Layout, i: usize, node: &NodeProto) -> Option<()> {
        if !matches!(
            node.op_type.as_str(),
            "Add" | "Gelu" | "Mul" | "QuickGelu" | "Relu" | "Sigmoid" | "Sum" | "Tanh"
        ) {
            return None;
        }
        let output = node.output.first()?.clone();
        let all: Vec<&Blocked> =
            node.input.iter().map(|name| layout.tensors.get(name)).collect::<Option<_>>()?;
        let names: Vec<String> = all.iter().map(|tensor| tensor.name.clone()).collect();
        let shape = self.shape(names.first()?)?;
        if !names.iter().all(|name| self.shape(name) == Some(shape)) {
            return None;
        }
        let sum = matches!(node.op_type.as_str(), "Add" | "Sum") && node.input.len() == 2;
        let function = matches!(node.op_type.as_str(), "Relu" | "Sigmoid" | "Tanh");
        for (at, input) in node.input.iter().enumerate().filter(|_| sum || function) {
            let Some(made_by) = layout.tensors.get(input).and_then(|tensor| tensor.maker) else { continue };
            let alone = self.reader(input) == Some(i);
            let conv = layout.nodes.get_mut(made_by).and_then(Option::as_mut);
            let Some(conv) = conv.filter(|conv| alone && conv.name == "Conv") else { continue };
            if function {
                "FusedConv".clone_into(&mut conv.name);
            } else if conv.input.len() < 4 {
                conv.input.resize(3, String::new());
                conv.input.extend(names.get(1 - at).cloned());
            } else {
                continue;
            }
            let hidden = std::mem::take(&mut conv.output);
            hidden.iter().for_each(|name| {
                self.facts.remove(name);
            });
            layout.tensors.remove(input);
            let name = self.leave(layout, &output, Some(made_by))?;
            if let Some(conv) = layout.nodes[made_by].as_mut() {
                conv.output = vec![name];
            }
            return Some(());
        }
        let name = self.leave(layout, &output, Some(i))?;
        layout.nodes[i] = Some(NodeProto { input: names, output: vec![name], ..node.clone() });
        Some(())
    }

    /// Channels of a tensor of images.
    fn image(&self, name: &str) -> Option<i64> {
        let fact = self.facts.get(name).filter(|fact| fact.dtype == DataType::FLOAT)?;
        let &[_, channels, _, _] = fact.shape.as_slice() else { return None };
        Some(channels)
    }

    /// A tensor in the layout, brought into it where it is not yet.
    fn enter(&mut self, layout: &mut Layout, plain: &str) -> Option<String> {
        if let Some(tensor) = layout.tensors.get(plain) {
            return Some(tensor.name.clone());
        }
        let name = self.leave(layout, plain, None)?;
        // A tensor that was only just turned round is brought into the layout from what it was before.
        let turned = self.maker(plain).filter(|&maker| {
            let order = self.node(maker).and_then(|node| attribute(node, "perm"));
            self.op(maker) == "Transpose" && order.is_some_and(|order| order.ints == [0, 3, 1, 2])
        });
        let source = match turned.filter(|_| self.reader(plain).is_some()) {
            Some(maker) => {
                layout.nodes[maker] = None;
                self.node(maker)?.input.first()?.clone()
            }
            None => plain.to_owned(),
        };
        layout.nodes.push(Some(own("ReorderInput", vec![source], name.clone())));
        Some(name)
    }

    /// Notes that a tensor is there in the layout from now on.
    fn leave(&mut self, layout: &mut Layout, plain: &str, maker: Option<usize>) -> Option<String> {
        let channels = self.image(plain)?;
        let mut fact = self.facts.get(plain)?.clone();
        let padded = channels.checked_add(layout.block - 1)? / layout.block * layout.block;
        *fact.shape.get_mut(1)? = padded;
        let name = format!("{plain} (blocks)");
        self.facts.insert(name.clone(), fact);
        layout.tensors.insert(plain.to_owned(), Blocked { name: name.clone(), channels, maker });
        layout.came.push(plain.to_owned());
        Some(name)
    }
}

fn own(op: &str, input: Vec<String>, output: String) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        domain: DOMAIN.to_owned(),
        input,
        output: vec![output],
        ..NodeProto::default()
    }
}
