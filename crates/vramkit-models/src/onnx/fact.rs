//! What is known of a tensor before anything runs: its element type, its shape, and, for the small tensors that
//! shapes are computed from, its values.

use super::proto::TensorProto;
use crate::data_type::DataType;

/// Values are kept for tensors up to this many elements: enough for every shape, pad and slice.
const KEPT_VALUES: usize = 4096;

/// Elements of a small tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Ints(Vec<i64>),
    Floats(Vec<f64>),
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
            Self::Floats(values) => values.clone(),
        }
    }

    /// The elements at these places; places are within bounds.
    pub(super) fn pick(&self, places: impl Iterator<Item = usize>) -> Self {
        match self {
            Self::Ints(values) => Self::Ints(places.map(|place| values[place]).collect()),
            Self::Floats(values) => Self::Floats(places.map(|place| values[place]).collect()),
        }
    }
}

/// What is known of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fact {
    pub(super) dtype: DataType,
    /// Not negative.
    pub(super) shape: Vec<i64>,
    /// In row-major order; as many as the shape has elements.
    pub(super) value: Option<Value>,
}

impl Fact {
    pub(super) fn new(dtype: DataType, shape: Vec<i64>) -> Self {
        Self { dtype, shape, value: None }
    }

    /// With values, unless they are not as many as the shape has elements.
    pub(super) fn with(dtype: DataType, shape: Vec<i64>, value: Option<Value>) -> Self {
        let elements = elements(&shape).ok();
        let value = value.filter(|value| Some(value.len() as u64) == elements && value.len() <= KEPT_VALUES);
        Self { dtype, shape, value }
    }

    /// A list of 64-bit integers.
    pub(super) fn ints(values: Vec<i64>) -> Self {
        Self::with(DataType::INT64, vec![values.len() as i64], Some(Value::Ints(values)))
    }

    pub(super) fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Its size in bytes.
    pub(super) fn bytes(&self) -> Result<u64, String> {
        self.dtype.bytes(elements(&self.shape)?)
    }

    /// Its values as integers, if they are known and integers.
    pub(super) fn known_ints(&self) -> Option<&[i64]> {
        match &self.value {
            Some(Value::Ints(values)) => Some(values),
            _ => None,
        }
    }
}

/// Axes of a tensor, at most: no runtime has more, and a graph of nodes that each add one would fill memory.
const AXES: usize = 64;

/// The number of elements of a shape.
pub(super) fn elements(shape: &[i64]) -> Result<u64, String> {
    if shape.len() > AXES {
        return Err(format!("its shape has {} axes, more than {AXES}", shape.len()));
    }
    if shape.iter().any(|&dim| dim < 0) {
        return Err(format!("a dimension of its shape {shape:?} is negative"));
    }
    if shape.contains(&0) {
        return Ok(0);
    }
    shape.iter().try_fold(1u64, |product, &dim| {
        product
            .checked_mul(dim.unsigned_abs())
            .ok_or_else(|| format!("its shape {shape:?} has more than 2^64 elements"))
    })
}

/// The fact of a tensor that is in the file, with its values when they are few and readable.
pub(super) fn stored(tensor: &TensorProto) -> Result<Fact, String> {
    let dtype = DataType::new(tensor.data_type);
    let count = elements(&tensor.dims)?;
    let mut fact = Fact::new(dtype, tensor.dims.clone());
    fact.bytes()?;
    if count <= KEPT_VALUES as u64 && tensor.data_location == 0 {
        fact.value = values(tensor).filter(|value| value.len() as u64 == count);
    }
    Ok(fact)
}

/// Elements as stored, in whichever field they are.
fn values(tensor: &TensorProto) -> Option<Value> {
    let raw = &tensor.raw_data;
    fn list<const N: usize, T>(raw: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
        raw.chunks_exact(N).map(|chunk| from(chunk.try_into().expect("of this length"))).collect()
    }
    let wide = |ints: &[i32]| ints.iter().map(|&i| i64::from(i)).collect();
    Some(match (tensor.data_type, raw.is_empty()) {
        (1, true) => Value::Floats(tensor.float_data.iter().map(|&f| f64::from(f)).collect()),
        (1, false) => Value::Floats(list(raw, |b| f64::from(f32::from_le_bytes(b)))),
        (11, true) => Value::Floats(tensor.double_data.clone()),
        (11, false) => Value::Floats(list(raw, f64::from_le_bytes)),
        (7, true) => Value::Ints(tensor.int64_data.clone()),
        (7, false) => Value::Ints(list(raw, i64::from_le_bytes)),
        (2..=6 | 9, true) => Value::Ints(wide(&tensor.int32_data)),
        (6, false) => Value::Ints(list(raw, |b| i64::from(i32::from_le_bytes(b)))),
        (5, false) => Value::Ints(list(raw, |b| i64::from(i16::from_le_bytes(b)))),
        (4, false) => Value::Ints(list(raw, |b| i64::from(u16::from_le_bytes(b)))),
        (3, false) => Value::Ints(list(raw, |b: [u8; 1]| i64::from(b[0] as i8))),
        (2 | 9, false) => Value::Ints(list(raw, |b: [u8; 1]| i64::from(b[0]))),
        (12, false) => Value::Ints(list(raw, |b| i64::from(u32::from_le_bytes(b)))),
        (12, true) => Value::Ints(tensor.uint64_data.iter().map(|&u| u as i64).collect()),
        _ => return None,
    })
}
