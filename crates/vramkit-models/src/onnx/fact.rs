//! What is known of a tensor before anything runs: its element type, its shape, and, for the small tensors that
//! shapes are computed from, its values; whether these are exact or the most that they can be, and whether it can be
//! computed before the graph runs. A sequence is known by its elements.

use std::sync::Arc;

use super::proto::TensorProto;
use super::value::{self, KEPT_VALUES, Value};
use crate::data_type::DataType;

/// What is known of a tensor, or of what stands in the place of one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fact {
    pub(super) dtype: DataType,
    /// Not negative.
    pub(super) shape: Vec<i64>,
    /// In row-major order; as many as the shape has elements.
    pub(super) value: Option<Value>,
    /// Whether the shape and the values are the most that they can be, as they depend on data.
    pub(super) bound: bool,
    /// Whether it comes from what is stored alone.
    pub(super) constant: bool,
    /// What it is if it is no tensor.
    pub(super) other: Option<Other>,
}

/// What is no tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Other {
    /// A sequence of these.
    Sequence(Arc<[Fact]>),
    /// A tensor of one of several shapes of different ranks, as data decides: its shape is a list of as many elements as it has
    /// at most.
    Either,
    /// A map, or a sequence of which nothing is known: it has no size that can be told.
    Opaque,
}

impl Fact {
    pub(super) fn new(dtype: DataType, shape: Vec<i64>) -> Self {
        Self { dtype, shape, value: None, bound: false, constant: false, other: None }
    }

    /// With values, unless they are not as many as the shape has elements. Those of single precision are rounded to it.
    pub(super) fn with(dtype: DataType, shape: Vec<i64>, value: Option<Value>) -> Self {
        let elements = elements(&shape).ok();
        let is_number =
            |value: &Value| !matches!(value, Value::Floats(floats) if floats.iter().any(|x| x.is_nan()));
        let mut value = value.filter(|value| {
            Some(value.len() as u64) == elements && value.len() <= KEPT_VALUES && is_number(value)
        });
        // How a runtime goes on beyond the ends of a type is its own affair.
        if let (Some((least, most)), Some(Value::Ints(ints))) = (range(dtype), &value)
            && !ints.iter().all(|int| (least..=most).contains(int))
        {
            value = None;
        }
        // Of shorter numbers those that are exact are kept; how a runtime rounds others is its own affair.
        if let Some(Value::Floats(floats)) = &value
            && !floats.iter().all(|&float| is_exact(dtype, float))
        {
            value = None;
        }
        if let (DataType::FLOAT, Some(Value::Floats(floats))) = (dtype, &value)
            && floats.iter().any(|&float| f64::from(float as f32) != float)
        {
            value = Some(Value::Floats(floats.iter().map(|&float| f64::from(float as f32)).collect()));
        }
        Self { value, ..Self::new(dtype, shape) }
    }

    /// A tensor whose elements are some of this one's: `from` gives each one's place in it.
    pub(super) fn arranged(&self, shape: Vec<i64>, from: impl FnMut(&[usize]) -> usize) -> Self {
        let value = self.value.as_ref().and_then(|value| {
            let places = value::each(&shape, from)?;
            value.pick(places.into_iter())
        });
        Self::with(self.dtype, shape, value)
    }

    /// A list of 64-bit integers.
    pub(super) fn ints(values: Vec<i64>) -> Self {
        Self::with(DataType::INT64, vec![values.len() as i64], Some(Value::Ints(values.into())))
    }

    /// A single value.
    pub(super) fn single(dtype: DataType, value: i64) -> Self {
        Self::with(dtype, Vec::new(), Some(Value::Ints([value].into())))
    }

    pub(super) fn sequence(elements: Vec<Self>) -> Self {
        let dtype = elements.first().map_or(DataType::FLOAT, |first| first.dtype);
        Self { other: Some(Other::Sequence(elements.into())), ..Self::new(dtype, Vec::new()) }
    }

    pub(super) fn opaque() -> Self {
        Self { other: Some(Other::Opaque), ..Self::new(DataType::FLOAT, Vec::new()) }
    }

    /// The same, as the most that it can be.
    pub(super) fn at_most(mut self) -> Self {
        self.bound = true;
        self
    }

    pub(super) fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Its size in bytes; none is counted for text and for what has no size that can be told (see
    /// [`is_counted`](Self::is_counted)).
    pub(super) fn bytes(&self) -> Result<u64, String> {
        match &self.other {
            Some(Other::Opaque) => Ok(0),
            Some(Other::Sequence(elements)) => elements.iter().try_fold(0u64, |sum, element| {
                sum.checked_add(element.bytes()?).ok_or_else(|| "it has more than 2^64 bytes".to_owned())
            }),
            None | Some(Other::Either) if self.dtype == DataType::STRING => elements(&self.shape).map(|_| 0),
            None | Some(Other::Either) => self.dtype.bytes(elements(&self.shape)?),
        }
    }

    /// Whether [`bytes`](Self::bytes) is all that it takes.
    pub(super) fn is_counted(&self) -> bool {
        match &self.other {
            Some(Other::Opaque) => false,
            Some(Other::Sequence(elements)) => elements.iter().all(Self::is_counted),
            None | Some(Other::Either) => self.dtype != DataType::STRING,
        }
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
pub(super) const AXES: usize = 64;

/// The least and most that an integer type of less than 64 bits holds.
pub(super) fn range(dtype: DataType) -> Option<(i64, i64)> {
    Some(match dtype.number() {
        9 => (0, 1),
        2 => (0, 0xff),
        3 => (-0x80, 0x7f),
        4 => (0, 0xffff),
        5 => (-0x8000, 0x7fff),
        6 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        12 => (0, i64::from(u32::MAX)),
        13 => (0, i64::MAX),
        21 => (0, 15),
        22 => (-8, 7),
        25 => (0, 3),
        26 => (-2, 1),
        _ => return None,
    })
}

/// Whether a type holds this number as it is; of types of 32 bits and more always.
fn is_exact(dtype: DataType, float: f64) -> bool {
    // Bits after the leading one, and the least and largest normal numbers.
    let (bits, least, most) = match dtype {
        DataType::FLOAT16 => (10, 2f64.powi(-14), 65504.0),
        DataType::BFLOAT16 => (7, f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX)),
        _ => return true,
    };
    float == 0.0 || (least..=most).contains(&float.abs()) && float.to_bits().trailing_zeros() >= 52 - bits
}

/// The number that 16 bits stand for, of which so many are the fraction's.
fn short_float(bits: u16, fraction: u32) -> f64 {
    let exponents = (1 << (15 - fraction)) - 1;
    let (sign, exponent) = (bits >> 15, i32::from(bits >> fraction) & exponents);
    let part = f64::from(bits & ((1 << fraction) - 1)) / f64::from(1 << fraction);
    let bias = exponents / 2;
    let size = match exponent {
        0 => part * 2f64.powi(1 - bias),
        full if full == exponents => {
            if part == 0.0 {
                f64::INFINITY
            } else {
                f64::NAN
            }
        }
        exponent => (1.0 + part) * 2f64.powi(exponent - bias),
    };
    if sign == 0 { size } else { -size }
}

/// The number of elements of a shape.
pub(super) fn elements(shape: &[i64]) -> Result<u64, String> {
    if shape.len() > AXES {
        return Err(format!("its shape has {} axes, more than {AXES}", shape.len()));
    }
    if let Some(dim) = shape.iter().find(|&&dim| dim < 0) {
        return Err(format!("a dimension of its shape {shape:?} is negative: {dim}"));
    }
    if shape.contains(&0) {
        return Ok(0);
    }
    shape.iter().try_fold(1u64, |product, &dim| {
        let product = product.checked_mul(dim as u64);
        product.ok_or_else(|| format!("its shape {shape:?} has more than 2^64 elements"))
    })
}

/// As [`elements`], as the length of an axis.
pub(super) fn count(shape: &[i64]) -> Result<i64, String> {
    i64::try_from(elements(shape)?).map_err(|_| "too many elements".to_owned())
}

/// The fact of a tensor that is in the file, with its values when they are few and readable.
pub(super) fn stored(tensor: &TensorProto) -> Result<Fact, String> {
    let dtype = DataType::new(tensor.data_type);
    let count = elements(&tensor.dims)?;
    let mut fact = Fact::new(dtype, tensor.dims.clone());
    fact.constant = true;
    fact.bytes()?;
    if count <= KEPT_VALUES as u64 && tensor.data_location == 0 {
        fact.value = values(tensor).filter(|value| value.len() as u64 == count);
    }
    Ok(fact)
}

/// Elements as stored, in whichever field they are.
fn values(tensor: &TensorProto) -> Option<Value> {
    let raw = &tensor.raw_data;
    fn list<const N: usize, T>(raw: &[u8], from: impl Fn([u8; N]) -> T) -> Arc<[T]> {
        raw.chunks_exact(N).map(|chunk| from(chunk.try_into().expect("of this length"))).collect()
    }
    let wide = |ints: &[i32]| ints.iter().map(|&i| i64::from(i)).collect();
    Some(match (tensor.data_type, raw.is_empty()) {
        (1, true) => Value::Floats(tensor.float_data.iter().map(|&f| f64::from(f)).collect()),
        (1, false) => Value::Floats(list(raw, |b| f64::from(f32::from_le_bytes(b)))),
        (11, true) => Value::Floats(tensor.double_data.as_slice().into()),
        (11, false) => Value::Floats(list(raw, f64::from_le_bytes)),
        (10 | 16, raw_is_empty) => {
            let fraction = if tensor.data_type == 10 { 10 } else { 7 };
            let of = |bits: u16| short_float(bits, fraction);
            Value::Floats(match raw_is_empty {
                true => tensor.int32_data.iter().map(|&bits| of(bits as u16)).collect(),
                false => list(raw, |bytes| of(u16::from_le_bytes(bytes))),
            })
        }
        (7, true) => Value::Ints(tensor.int64_data.as_slice().into()),
        (7, false) => Value::Ints(list(raw, i64::from_le_bytes)),
        (2..=6 | 9, true) => Value::Ints(wide(&tensor.int32_data)),
        (6, false) => Value::Ints(list(raw, |b| i64::from(i32::from_le_bytes(b)))),
        (5, false) => Value::Ints(list(raw, |b| i64::from(i16::from_le_bytes(b)))),
        (4, false) => Value::Ints(list(raw, |b| i64::from(u16::from_le_bytes(b)))),
        (3, false) => Value::Ints(list(raw, |b: [u8; 1]| i64::from(b[0] as i8))),
        (2 | 9, false) => Value::Ints(list(raw, |b: [u8; 1]| i64::from(b[0]))),
        (12, false) => Value::Ints(list(raw, |b| i64::from(u32::from_le_bytes(b)))),
        (12, true) => Value::Ints(tensor.uint64_data.iter().map(|&u| u as i64).collect()),
        (13, true) => {
            Value::Ints(tensor.uint64_data.iter().map(|&u| i64::try_from(u).ok()).collect::<Option<_>>()?)
        }
        (13, false) => Value::Ints(
            raw.chunks_exact(8)
                .map(|chunk| i64::try_from(u64::from_le_bytes(chunk.try_into().ok()?)).ok())
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}
