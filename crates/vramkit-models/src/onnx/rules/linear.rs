//! Products of matrices.

use crate::data_type::DataType;
use crate::onnx::fact::Fact;
use crate::onnx::node::{Node, Outputs, broadcast, product, sum};

pub(super) fn gemm(node: &Node<'_>) -> Outputs {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let (&[m, k], &[k2, n]) = (a.shape.as_slice(), b.shape.as_slice()) else {
        return Err(format!("matrices of {:?} and {:?}", a.shape, b.shape));
    };
    let (m, k) = if node.int_or("transA", 0) != 0 { (k, m) } else { (m, k) };
    let (k2, n) = if node.int_or("transB", 0) != 0 { (n, k2) } else { (k2, n) };
    if k != k2 {
        return Err(format!("{k} columns meet {k2} rows"));
    }
    Ok(vec![Some(Fact::new(a.dtype, vec![m, n]))])
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
    let (mut left, mut right) = (a.shape.clone(), b.shape.clone());
    if left.is_empty() || right.is_empty() {
        return Err("a factor without axes".to_owned());
    }
    if a.rank() == 1 {
        left.insert(0, 1);
    }
    if b.rank() == 1 {
        right.push(1);
    }
    let (row, column) = (left.len() - 2, right.len() - 2);
    if left[row + 1] != right[column] {
        return Err(format!("{} columns meet {} rows", left[row + 1], right[column]));
    }
    let mut shape = broadcast([&left[..row], &right[..column]])?;
    if a.rank() > 1 {
        shape.push(left[row]);
    }
    if b.rank() > 1 {
        shape.push(right[column + 1]);
    }
    Ok(vec![Some(Fact::new(dtype, shape))])
}

/// An equation such as `bij,bjk->bik`; `...` stands for axes that are broadcast.
pub(super) fn einsum(node: &Node<'_>) -> Outputs {
    let equation: String =
        node.text("equation").ok_or("attribute `equation` is missing")?.split_whitespace().collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right.to_owned())),
        None => (equation.as_str(), None),
    };
    let mut sizes: std::collections::BTreeMap<char, i64> = std::collections::BTreeMap::new();
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
            let known = sizes.entry(letter).or_insert(size);
            if *known == 1 {
                *known = size;
            } else if size != *known && size != 1 {
                return Err(format!("`{letter}` is {known} and {size}"));
            }
        }
    }
    // Without a right side: the letters that stand once, in alphabetical order.
    let right = right.unwrap_or_else(|| {
        let once = sizes.keys().filter(|&&letter| left.matches(letter).count() == 1);
        (if left.contains("...") { "..." } else { "" }).to_owned() + &once.collect::<String>()
    });
    let (before, after) = right.split_once("...").unwrap_or((&right, ""));
    let size =
        |letter: char| sizes.get(&letter).copied().ok_or_else(|| format!("`{letter}` stands for nothing"));
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

/// Query, key, value, mask, past key, past value in; output, present key, present value, scores out. Heads are an
/// axis of their own (rank 4) or folded into the last one (rank 3).
pub(super) fn attention(node: &Node<'_>) -> Outputs {
    let (query, key, value) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let heads = |fact: &Fact, count: Option<i64>| -> Result<[i64; 4], String> {
        match (fact.shape.as_slice(), count) {
            (&[batch, heads, length, size], _) => Ok([batch, heads, length, size]),
            (&[batch, length, folded], Some(heads)) if heads > 0 => {
                Ok([batch, heads, length, folded / heads])
            }
            _ => Err(format!("a tensor of {:?} without a number of heads", fact.shape)),
        }
    };
    let (q_heads, kv_heads) = (node.int("q_num_heads"), node.int("kv_num_heads"));
    let [batch, h, length, _] = heads(query, q_heads)?;
    let [_, kv, key_length, key_size] = heads(key, kv_heads)?;
    let [_, _, _, value_size] = heads(value, kv_heads)?;
    let past = node.optional(4).map_or(0, |past| past.shape.get(2).copied().unwrap_or(0));
    let total = sum([key_length, past])?;
    let output = match query.rank() {
        4 => vec![batch, h, length, value_size],
        _ => vec![batch, length, product([h, value_size])?],
    };
    let fact = |shape| Some(Fact::new(query.dtype, shape));
    Ok(vec![
        fact(output),
        fact(vec![batch, kv, total, key_size]),
        fact(vec![batch, kv, total, value_size]),
        fact(vec![batch, h, length, total]),
    ])
}
