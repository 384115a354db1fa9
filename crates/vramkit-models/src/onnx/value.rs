//! Elements of the small tensors that shapes are computed from, and where they go when a tensor of any rank is cut,
//! turned, joined or stretched: rules say for each place of an output which place of an input it comes from.

use std::sync::Arc;

/// Values are kept for tensors up to this many elements: enough for every shape, pad and slice.
pub(super) const KEPT_VALUES: usize = 4096;

/// Elements of a small tensor, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Ints(Arc<[i64]>),
    Floats(Arc<[f64]>),
}

impl Value {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ints(values) => values.len(),
            Self::Floats(values) => values.len(),
        }
    }

    pub(super) fn floats(&self) -> Vec<f64> {
        match self {
            Self::Ints(values) => values.iter().map(|&value| value as f64).collect(),
            Self::Floats(values) => values.to_vec(),
        }
    }

    /// The elements at these places; `None` when one of them is not there.
    pub(super) fn pick(&self, places: impl Iterator<Item = usize>) -> Option<Self> {
        Some(match self {
            Self::Ints(values) => {
                Self::Ints(places.map(|place| values.get(place).copied()).collect::<Option<_>>()?)
            }
            Self::Floats(values) => {
                Self::Floats(places.map(|place| values.get(place).copied()).collect::<Option<_>>()?)
            }
        })
    }
}

/// The place in row-major order of an element of a tensor of this shape.
pub(super) fn place(shape: &[i64], index: &[usize]) -> usize {
    shape.iter().zip(index).fold(0, |place, (&dim, &at)| place * dim as usize + at)
}

/// The place of the element that stands at `index` once a tensor of this shape is stretched to a larger one.
pub(super) fn stretched(shape: &[i64], index: &[usize]) -> usize {
    let lead = index.len().saturating_sub(shape.len());
    shape
        .iter()
        .zip(&index[lead..])
        .fold(0, |place, (&dim, &at)| place * dim as usize + if dim == 1 { 0 } else { at })
}

/// What `of` says of every index of a shape, in row-major order; nothing of a shape with more elements than are kept.
pub(super) fn each<T>(shape: &[i64], mut of: impl FnMut(&[usize]) -> T) -> Option<Vec<T>> {
    let count = shape.iter().try_fold(1usize, |product, &dim| {
        product.checked_mul(usize::try_from(dim).ok()?).filter(|&product| product <= KEPT_VALUES)
    })?;
    let mut index = vec![0; shape.len()];
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(of(&index));
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] as usize {
                break;
            }
            index[axis] = 0;
        }
    }
    Some(all)
}
