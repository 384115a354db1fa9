//! Operators that slide a window over an image, or over the regions of one.

use crate::data_type::DataType;
use crate::onnx::fact::Fact;
use crate::onnx::node::{Node, Outputs, product, sum};

/// A window's geometry along each axis of the image.
struct Window {
    kernel: Vec<i64>,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    /// Before and after each axis.
    pads: Vec<(i64, i64)>,
    auto: Auto,
}

#[derive(Clone, Copy, PartialEq)]
enum Auto {
    NotSet,
    Same { upper: bool },
    Valid,
}

impl Window {
    fn of(node: &Node<'_>, kernel: Vec<i64>) -> Result<Self, String> {
        Self::padded(node, kernel, node.ints("pads"))
    }

    fn padded(node: &Node<'_>, kernel: Vec<i64>, pads: Option<&[i64]>) -> Result<Self, String> {
        let n = kernel.len();
        let list = |name: &str, default: i64| -> Result<Vec<i64>, String> {
            let list =
                node.ints(name).filter(|list| !list.is_empty()).map_or(vec![default; n], <[i64]>::to_vec);
            if list.len() != n || list.iter().any(|&v| v < default.min(1)) {
                return Err(format!("attribute `{name}` is {list:?} for an image of {n} axes"));
            }
            Ok(list)
        };
        let pads = match pads.filter(|pads| !pads.is_empty()) {
            Some(pads) if pads.len() == 2 * n => (0..n).map(|i| (pads[i], pads[i + n])).collect(),
            Some(pads) => return Err(format!("attribute `pads` is {pads:?} for an image of {n} axes")),
            None => vec![(0, 0); n],
        };
        let auto = match node.text("auto_pad").unwrap_or("NOTSET") {
            "" | "NOTSET" => Auto::NotSet,
            "VALID" => Auto::Valid,
            "SAME_UPPER" => Auto::Same { upper: true },
            "SAME_LOWER" => Auto::Same { upper: false },
            other => return Err(format!("attribute `auto_pad` is `{other}`")),
        };
        if kernel.iter().any(|&k| k < 1) {
            return Err(format!("a window of {kernel:?}"));
        }
        Ok(Self { kernel, strides: list("strides", 1)?, dilations: list("dilations", 1)?, pads, auto })
    }

    /// How many places the window has along axis `i` of an image of this length.
    fn places(&self, i: usize, length: i64, ceil: bool) -> Result<i64, String> {
        let (stride, (before, after)) = (self.strides[i], self.pads[i]);
        let overflow = || format!("a window of {} over {length}: sizes overflow", self.kernel[i]);
        let span = (self.kernel[i] - 1)
            .checked_mul(self.dilations[i])
            .and_then(|s| s.checked_add(1))
            .ok_or_else(overflow)?;
        let padded = match self.auto {
            Auto::Same { .. } => return Ok(length / stride + i64::from(length % stride > 0)),
            Auto::Valid => Some(length),
            Auto::NotSet => length.checked_add(before).and_then(|l| l.checked_add(after)),
        };
        let room = padded.and_then(|padded| padded.checked_sub(span)).ok_or_else(overflow)?;
        if room < 0 {
            return Err(format!(
                "a window of {span} does not fit an image of {length} with pads {before}, {after}"
            ));
        }
        let mut places = room / stride + 1;
        // Without pads to fill up there is none but whole windows.
        if ceil && self.auto != Auto::Valid && room % stride != 0 {
            places += 1;
            // The last window must start inside the image or its leading pad.
            let start = (places - 1).checked_mul(stride);
            let end = length.checked_add(before).ok_or_else(overflow)?;
            if self.auto == Auto::NotSet && start.is_none_or(|start| start >= end) {
                places -= 1;
            }
        }
        Ok(places)
    }

    fn image(&self, shape: &[i64], ceil: bool) -> Result<Vec<i64>, String> {
        shape.iter().enumerate().map(|(i, &length)| self.places(i, length, ceil)).collect()
    }
}

/// The axes of an image after batch and channels.
fn spatial(fact: &Fact) -> Result<&[i64], String> {
    fact.shape
        .get(2..)
        .filter(|axes| !axes.is_empty())
        .ok_or_else(|| format!("an image of rank {}", fact.rank()))
}

/// The window of a convolution: an attribute, or what the weights have after their channels.
fn kernel(node: &Node<'_>, image: &Fact, weights: &Fact) -> Result<Vec<i64>, String> {
    let kernel = match node.ints("kernel_shape").filter(|kernel| !kernel.is_empty()) {
        Some(kernel) => kernel.to_vec(),
        None => spatial(weights)?.to_vec(),
    };
    if kernel.len() != spatial(image)?.len() || weights.rank() != image.rank() {
        return Err(format!("a kernel of {:?} for an image of {:?}", weights.shape, image.shape));
    }
    Ok(kernel)
}

pub(super) fn convolution(node: &Node<'_>, op: &str) -> Outputs {
    // Quantised: x, scale, zero point, w, scale, zero point, scale, zero point.
    let (image, weights) = (node.input(0)?, node.input(if op == "QLinearConv" { 3 } else { 1 })?);
    let groups = node.int_or("group", 1);
    let slid = slid(node, image, weights)?;
    if weights.shape[1].checked_mul(groups) != Some(image.shape[1]) {
        return Err(format!(
            "{} channels meet weights of {:?} in {groups} groups",
            image.shape[1], weights.shape
        ));
    }
    let dtype = match op {
        "ConvInteger" => DataType::INT32,
        "QLinearConv" => node.input(7)?.dtype,
        _ => image.dtype,
    };
    Ok(vec![Some(Fact::new(dtype, slid))])
}

/// What a convolution makes: as many channels as there are filters, one element for each place of the window.
pub(super) fn slid(node: &Node<'_>, image: &Fact, weights: &Fact) -> Result<Vec<i64>, String> {
    let axes = spatial(image)?;
    let kernel = kernel(node, image, weights)?;
    let mut shape = vec![image.shape[0], weights.shape[0]];
    shape.extend(Window::of(node, kernel)?.image(axes, false)?);
    Ok(shape)
}

/// `pads` stand in for the attribute where an input gives them.
pub(super) fn transposed_convolution(node: &Node<'_>, pads: Option<&[i64]>) -> Outputs {
    let (image, weights) = (node.input(0)?, node.input(1)?);
    let axes = spatial(image)?;
    let kernel = kernel(node, image, weights)?;
    let channels = weights.shape[1].checked_mul(node.int_or("group", 1)).ok_or("too many channels")?;
    let mut shape = vec![image.shape[0], channels];
    let window = Window::padded(node, kernel, pads.or(node.ints("pads")))?;
    let given = node.ints("output_shape").filter(|given| !given.is_empty());
    let extra = node.ints("output_padding").filter(|extra| !extra.is_empty());
    if given.is_some_and(|given| given.len() < axes.len())
        || extra.is_some_and(|extra| extra.len() != axes.len())
    {
        return Err("attribute `output_shape` or `output_padding` has too few numbers".to_owned());
    }
    for (i, &length) in axes.iter().enumerate() {
        let at_end = |list: &[i64]| list[list.len() - axes.len() + i];
        let (before, after) = if window.auto == Auto::NotSet { window.pads[i] } else { (0, 0) };
        shape.push(match (given, window.auto) {
            (Some(given), _) => at_end(given),
            (None, Auto::Same { .. }) => product([length, window.strides[i]])?,
            (None, _) => {
                let spread = product([window.strides[i], length - 1])?;
                let span = product([window.kernel[i] - 1, window.dilations[i]])?;
                let pads = sum([before, after])?.checked_neg().ok_or("pads too large")?;
                sum([spread, extra.map_or(0, at_end), span, 1, pads])?
            }
        });
    }
    Ok(vec![Some(Fact::new(image.dtype, shape))])
}

/// The second output of a maximum pool says where the maxima were.
pub(super) fn pool(node: &Node<'_>) -> Outputs {
    let image = node.input(0)?;
    let axes = spatial(image)?;
    let kernel = node.ints("kernel_shape").ok_or("attribute `kernel_shape` is missing")?.to_vec();
    if kernel.len() != axes.len() {
        return Err(format!("a window of {kernel:?} over an image of {:?}", image.shape));
    }
    let mut shape = image.shape[..2].to_vec();
    shape.extend(Window::of(node, kernel)?.image(axes, node.int_or("ceil_mode", 0) != 0)?);
    Ok(vec![Some(Fact::new(image.dtype, shape.clone())), Some(Fact::new(DataType::INT64, shape))])
}

pub(super) fn global_pool(node: &Node<'_>) -> Outputs {
    let image = node.input(0)?;
    let mut shape = image.shape.clone();
    shape.iter_mut().skip(2).for_each(|dim| *dim = 1);
    Ok(vec![Some(Fact::new(image.dtype, shape))])
}

pub(super) fn unpool(node: &Node<'_>) -> Outputs {
    let image = node.input(0)?;
    if node.optional(2).is_some() {
        return Ok(vec![Some(Fact::new(image.dtype, node.known(2)?.to_vec()))]);
    }
    let kernel = node.ints("kernel_shape").ok_or("attribute `kernel_shape` is missing")?.to_vec();
    let axes = spatial(image)?;
    if kernel.len() != axes.len() {
        return Err(format!("a window of {kernel:?} over an image of {:?}", image.shape));
    }
    let window = Window::of(node, kernel)?;
    let mut shape = image.shape[..2].to_vec();
    for (i, &length) in axes.iter().enumerate() {
        let (before, after) = window.pads[i];
        let pads = sum([before, after])?.checked_neg().ok_or("pads too large")?;
        shape.push(sum([product([length - 1, window.strides[i]])?, window.kernel[i], pads])?);
    }
    Ok(vec![Some(Fact::new(image.dtype, shape))])
}

pub(super) fn region_pool(node: &Node<'_>, op: &str) -> Outputs {
    let (image, regions) = (node.input(0)?, node.input(1)?);
    let (Some(&channels), Some(&count)) = (image.shape.get(1), regions.shape.first()) else {
        return Err("an image or regions without axes".to_owned());
    };
    let (height, width) = match (op, node.ints("pooled_shape")) {
        ("MaxRoiPool", Some(&[height, width])) => (height, width),
        ("MaxRoiPool", _) => return Err("attribute `pooled_shape` is missing".to_owned()),
        _ => (node.int_or("output_height", 1), node.int_or("output_width", 1)),
    };
    Ok(vec![Some(Fact::new(image.dtype, vec![count, channels, height, width]))])
}

pub(super) fn columns_to_image(node: &Node<'_>) -> Outputs {
    let columns = node.input(0)?;
    let (image, block) = (node.known(1)?, node.known(2)?);
    let block = product(block.iter().copied())?;
    let &[batch, rows, _] = columns.shape.as_slice() else {
        return Err(format!("columns of rank {}", columns.rank()));
    };
    if block < 1 {
        return Err("a block without elements".to_owned());
    }
    let mut shape = vec![batch, rows / block];
    shape.extend(image);
    Ok(vec![Some(Fact::new(columns.dtype, shape))])
}
