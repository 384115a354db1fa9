//! Products of matrices.

use std::collections::BTreeMap;

use crate::data_type::DataType;
use crate::onnx::fact::Fact;
use crate::onnx::node::{Node, Outputs, broadcast};

pub(super) fn gemm(node: &Node<'_>) -> Outputs {
    let shape = gemm_shape(node, 1)?;
    Ok(vec![Some(Fact::new(node.input(0)?.dtype, shape))])
}

/// The shape of a product of two matrices, either of which may be turned; the second is input `second`.
pub(super) fn gemm_shape(node: &Node<'_>, second: usize) -> Result<Vec<i64>, String> {
    let (a, b) = (node.input(0)?, node.input(second)?);
    let (&[m, k], &[k2, n]) = (a.shape.as_slice(), b.shape.as_slice()) else {
        return Err(format!("matrices of {:?} and {:?}", a.shape, b.shape));
    };
    let (m, k) = if node.int_or("transA", 0) != 0 { (k, m) } else { (m, k) };
    let (k2, n) = if node.int_or("transB", 0) != 0 { (n, k2) } else { (k2, n) };
    if k != k2 {
        return Err(format!("{k} columns meet {k2} rows"));
    }
    Ok(vec![m, n])
}

/// Matrices in the last two axes, broadcast along the others; a vector is a row on the left, a column on the
/// right.
pub(super) fn matmul(node: &Node<'_>, op: &str) -> Outputs {
    // Quantised: a, scale, zero point, b, scale, zero point, scale, zero point.
    let (a, b) = (node.input(0)?, node.input(if op == "QLinearMatMul" { 3 } else { 1 })?);
    let dtype = match op {
        "MatMulInteger" => DataType::INT32,
        "QLinearMatMul" => node.input(7)?.dtype,
        _ => a.dtype,
    };
    Ok(vec![Some(Fact::new(dtype, matrices(&a.shape, &b.shape)?))])
}

/// The shape of a product of matrices.
pub(super) fn matrices(a: &[i64], b: &[i64]) -> Result<Vec<i64>, String> {
    let (left, right) = match (a, b) {
        ([], _) | (_, []) => return Err("a factor without axes".to_owned()),
        (&[columns], &[rows]) => (vec![1, columns], vec![rows, 1]),
        (&[columns], b) => (vec![1, columns], b.to_vec()),
        (a, &[rows]) => (a.to_vec(), vec![rows, 1]),
        (a, b) => (a.to_vec(), b.to_vec()),
    };
    let (row, column) = (left.len() - 2, right.len() - 2);
    if left[row + 1] != right[column] {
        return Err(format!("{} columns meet {} rows", left[row + 1], right[column]));
    }
    let mut shape = broadcast([&left[..row], &right[..column]])?;
    if a.len() > 1 {
        shape.push(left[row]);
    }
    if b.len() > 1 {
        shape.push(right[column + 1]);
    }
    Ok(shape)
}

/// An equation such as `bij,bjk->bik`; `...` stands for axes that are broadcast.
pub(super) fn einsum(node: &Node<'_>) -> Outputs {
    let equation: String =
        node.text("equation").ok_or("attribute `equation` is missing")?.split_whitespace().collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right.to_owned())),
        None => (equation.as_str(), None),
    };
    // How long each letter's axes are, and how often it stands on the left.
    let mut letters: BTreeMap<char, (i64, usize)> = BTreeMap::new();
    let mut rest: Vec<i64> = Vec::new();
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != node.inputs.len() {
        return Err(format!("equation `{equation}` for {} inputs", node.inputs.len()));
    }
    let mut dtype = DataType::FLOAT;
    for (i, term) in terms.iter().enumerate() {
        let fact = node.input(i)?;
        dtype = fact.dtype;
        let mismatch = || format!("term `{term}` for a tensor of {:?}", fact.shape);
        let (before, after) = term.split_once("...").unwrap_or((term, ""));
        let named = before.chars().count() + after.chars().count();
        let spread = fact.rank().checked_sub(named).ok_or_else(mismatch)?;
        if spread > 0 && !term.contains("...") {
            return Err(mismatch());
        }
        let start = before.chars().count();
        rest = broadcast([rest.as_slice(), &fact.shape[start..start + spread]])?;
        let axes = fact.shape[..start].iter().chain(&fact.shape[start + spread..]);
        for (letter, &size) in before.chars().chain(after.chars()).zip(axes) {
            let (known, times) = letters.entry(letter).or_insert((size, 0));
            *times += 1;
            if *known == 1 {
                *known = size;
            } else if size != *known && size != 1 {
                return Err(format!("`{letter}` is {known} and {size}"));
            }
        }
    }
    // Without a right side: the letters that stand once, in alphabetical order.
    let right = right.unwrap_or_else(|| {
        let once = letters.iter().filter(|(_, (_, times))| *times == 1).map(|(&letter, _)| letter);
        (if left.contains("...") { "..." } else { "" }).to_owned() + &once.collect::<String>()
    });
    let (before, after) = right.split_once("...").unwrap_or((&right, ""));
    let size = |letter: char| {
        letters.get(&letter).map(|known| known.0).ok_or_else(|| format!("`{letter}` stands for nothing"))
    };
    let mut shape: Vec<i64> = before.chars().map(size).collect::<Result<_, _>>()?;
    if right.contains("...") {
        shape.extend(&rest);
    }
    for letter in after.chars() {
        shape.push(size(letter)?);
    }
    Ok(vec![Some(Fact::new(dtype, shape))])
}

pub(super) fn determinant(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let batch = input.rank().checked_sub(2).ok_or("a matrix has two axes")?;
    Ok(vec![Some(Fact::new(input.dtype, input.shape[..batch].to_vec()))])
}
