//! A tensor of which only the shape is known, and the operations that make one.

use vramkit_models::gguf::TensorType;

/// A tensor of a graph, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TensorId(pub u32);

impl TensorId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Most sources of an operation.
pub(crate) const SOURCES: usize = 10;

/// What makes a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Nothing: an input or a weight.
    None,
    View,
    Reshape,
    Permute,
    Transpose,
    Add,
    AddId,
    Mul,
    Div,
    Scale,
    Clamp,
    Fill,
    Unary(Unary),
    Glu(Glu),
    RmsNorm,
    MulMat,
    MulMatId,
    Rope,
    SoftMax,
    FlashAttention,
    GetRows,
    SetRows,
    Copy,
    Cont,
    Concat,
    Repeat,
    SumRows,
    ArgSort,
    Pad,
    SsmConv,
    SsmScan,
    GatedDeltaNet,
}

/// Operations of one input, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unary {
    Silu,
    Gelu,
    Sigmoid,
    Tanh,
    Softplus,
}

/// Gated linear units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Glu {
    Swi,
    Ge,
    SwiOai,
}

impl Op {
    /// An operation that only looks at memory differently.
    pub fn is_view(self) -> bool {
        matches!(self, Self::View | Self::Reshape | Self::Permute | Self::Transpose)
    }

    /// One that nothing is computed for.
    pub fn is_empty(self) -> bool {
        self == Self::None || self.is_view()
    }

    /// Whether its result may be written over one of its sources.
    pub fn in_place(self) -> bool {
        matches!(
            self,
            Self::Fill
                | Self::Scale
                | Self::Add
                | Self::AddId
                | Self::Mul
                | Self::Div
                | Self::Unary(_)
                | Self::Rope
                | Self::RmsNorm
                | Self::Clamp
                | Self::SoftMax
        )
    }
}

/// Memory that a tensor has before the graph is given any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The back end in whose memory it is.
    pub backend: u8,
    /// Whether it is a weight.
    pub weight: bool,
    /// Whether it was rearranged for the processor's kernels, so that no other back end can copy it.
    pub rearranged: bool,
}

impl Place {
    /// Memory for values that change.
    pub fn values(backend: u8) -> Self {
        Self { backend, weight: false, rearranged: false }
    }
}

/// A tensor.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub kind: TensorType,
    /// Elements in each dimension, the fastest-running first.
    pub ne: [u64; 4],
    /// Bytes from one to the next in each dimension.
    pub nb: [u64; 4],
    pub op: Op,
    sources: [TensorId; SOURCES],
    source_count: u8,
    /// The tensor whose memory this one looks at; never a view itself.
    pub view_of: Option<TensorId>,
    /// Memory that it has already.
    pub place: Option<Place>,
    /// A value that comes from outside.
    pub input: bool,
    /// A value that is read when all is done.
    pub output: bool,
    /// The back end that was asked for it.
    pub wanted: Option<u8>,
}

impl Tensor {
    /// A tensor whose elements follow each other.
    pub fn new(kind: TensorType, ne: [u64; 4], op: Op) -> Self {
        let row = (ne[0] / kind.block_elements()).saturating_mul(kind.block_bytes());
        let plane = row.saturating_mul(ne[1]);
        let nb = [kind.block_bytes(), row, plane, plane.saturating_mul(ne[2])];
        Self {
            kind,
            ne,
            nb,
            op,
            sources: [TensorId(0); SOURCES],
            source_count: 0,
            view_of: None,
            place: None,
            input: false,
            output: false,
            wanted: None,
        }
    }

    pub fn with_sources(mut self, sources: &[TensorId]) -> Self {
        for &source in sources {
            self.add_source(source);
        }
        self
    }

    pub fn add_source(&mut self, source: TensorId) {
        let at = usize::from(self.source_count);
        self.sources[at] = source;
        self.source_count += 1;
    }

    pub fn sources(&self) -> &[TensorId] {
        &self.sources[..usize::from(self.source_count)]
    }

    pub fn set_source(&mut self, at: usize, source: TensorId) {
        self.sources[at] = source;
    }

    /// Elements of it.
    pub fn elements(&self) -> u64 {
        self.ne.iter().fold(1, |product, &n| product.saturating_mul(n))
    }

    /// Bytes from its first to the end of its last element.
    pub fn bytes(&self) -> u64 {
        if self.ne.contains(&0) {
            return 0;
        }
        let block = self.kind.block_elements();
        let first =
            if block == 1 { self.kind.block_bytes() } else { self.ne[0].saturating_mul(self.nb[0]) / block };
        let from = usize::from(block != 1);
        (from..4).fold(first, |sum, at| sum.saturating_add((self.ne[at] - 1).saturating_mul(self.nb[at])))
    }

    pub fn same_layout(&self, other: &Self) -> bool {
        self.kind == other.kind && self.ne == other.ne && self.nb == other.nb
    }

    /// Whether its elements follow each other from the given dimension on.
    pub fn contiguous_from(&self, dimension: usize) -> bool {
        let block = self.kind.block_elements();
        let mut next = self.kind.block_bytes();
        if self.ne[0] != block && self.nb[0] != next {
            return false;
        }
        next = next.saturating_mul(self.ne[0]) / block;
        for at in 1..4 {
            if at > dimension {
                if self.ne[at] != 1 && self.nb[at] != next {
                    return false;
                }
                next = next.saturating_mul(self.ne[at]);
            } else {
                next = self.ne[at].saturating_mul(self.nb[at]);
            }
        }
        true
    }

    pub fn contiguous(&self) -> bool {
        self.contiguous_from(0)
    }
}
