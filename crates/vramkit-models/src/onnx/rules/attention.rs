//! Attention, as the standard has it and as ONNX Runtime fuses it: queries, keys and values in; the result, and
//! keys and values of all tokens so far, out.
//!
//! What is kept of earlier tokens comes in as `past` and leaves as `present`. Where both are one buffer, present is
//! as long as past; else it is longer by the new tokens. An output whose length is not in the file is `None`.

use crate::data_type::DataType;
use crate::onnx::fact::Fact;
use crate::onnx::node::{Node, Outputs, product, sum};

/// The rule of an attention operator of ONNX Runtime's; `None` for other operators.
pub(super) fn contributed(node: &Node<'_>, op: &str) -> Option<Outputs> {
    Some(match op {
        "Attention" | "DecoderMaskedSelfAttention" => merged(node, 0, 4),
        "QAttention" => merged(node, 3, 8),
        "QOrderedAttention" => ordered(node),
        "PackedAttention" => packed(node),
        "PackedMultiHeadAttention" => packed_heads(node),
        "LongformerAttention" | "QOrderedLongformerAttention" => node.like(0).map(|output| vec![output]),
        "DecoderAttention" => decoder(node),
        "MultiHeadAttention" => multi_head(node, 6),
        "DecoderMaskedMultiHeadAttention" => multi_head(node, 5),
        "GroupQueryAttention" => group_query(node),
        "SparseAttention" => grouped_output(node).and_then(|output| {
            Ok(vec![Some(Fact::new(node.input(0)?.dtype, output)), node.like(3)?, node.like(4)?])
        }),
        "PagedAttention" => paged(node),
        "LinearAttention" => linear(node),
        "RelativePositionBias" => relative_bias(node),
        "GatedRelativePositionBias" => gated_bias(node),
        _ => return None,
    })
}

fn three(fact: &Fact) -> Result<[i64; 3], String> {
    fact.shape.as_slice().try_into().map_err(|_| format!("three axes are needed, not {:?}", fact.shape))
}

fn four(fact: &Fact) -> Result<[i64; 4], String> {
    fact.shape.as_slice().try_into().map_err(|_| format!("four axes are needed, not {:?}", fact.shape))
}

/// A length cut into equal parts.
fn part(length: i64, parts: i64) -> Result<i64, String> {
    if parts < 1 || length % parts != 0 {
        return Err(format!("{length} is not {parts} equal parts"));
    }
    Ok(length / parts)
}

/// The standard's operator: query, key, value, mask, past key, past value in; output, present key, present value,
/// scores out. Heads are an axis of their own (rank 4) or folded into the last one (rank 3).
pub(super) fn standard(node: &Node<'_>) -> Outputs {
    let (query, key, value) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let heads = |fact: &Fact, count: &str| -> Result<[i64; 4], String> {
        if fact.rank() == 4 {
            return four(fact);
        }
        let ([batch, length, folded], count) = (three(fact)?, node.count(count)?);
        Ok([batch, count, length, part(folded, count)?])
    };
    let [batch, h, length, _] = heads(query, "q_num_heads")?;
    let [_, kv, key_length, key_size] = heads(key, "kv_num_heads")?;
    let [_, _, _, value_size] = heads(value, "kv_num_heads")?;
    let past = node.optional(4).map(four).transpose()?.map_or(0, |[_, _, past, _]| past);
    let total = sum([key_length, past])?;
    let output = match query.rank() {
        4 => vec![batch, h, length, value_size],
        _ => vec![batch, length, product([h, value_size])?],
    };
    Ok(vec![
        Some(Fact::new(query.dtype, output)),
        Some(Fact::new(key.dtype, vec![batch, kv, total, key_size])),
        Some(Fact::new(value.dtype, vec![batch, kv, total, value_size])),
        Some(Fact::new(query.dtype, vec![batch, h, length, total])),
    ])
}

/// Weights for queries, keys and values side by side; keys and values of the past on one another in one tensor.
fn merged(node: &Node<'_>, typed: usize, past: usize) -> Outputs {
    let ([batch, length, _], weights) = (three(node.input(0)?)?, node.input(1)?);
    let columns = *weights.shape.get(1).ok_or("weights without columns")?;
    let (key, value) = match node.ints("qkv_hidden_sizes").filter(|sizes| !sizes.is_empty()) {
        Some(&[_, key, value]) => (key, value),
        Some(sizes) => return Err(format!("attribute `qkv_hidden_sizes` is {sizes:?}")),
        None => (part(columns, 3)?, part(columns, 3)?),
    };
    let dtype = node.input(typed)?.dtype;
    let present = match node.optional(past) {
        Some(past) if node.int_or("past_present_share_buffer", 0) != 0 => Some(past.shape.clone()),
        // Keys and values of different sizes do not go into one tensor.
        _ if key != value => None,
        earlier => {
            let earlier = match earlier.map(|past| past.shape.as_slice()) {
                Some(&[_, _, _, earlier, _]) => earlier,
                Some(shape) => return Err(format!("keys and values of the past are {shape:?}")),
                None => 0,
            };
            let heads = node.count("num_heads")?;
            Some(vec![2, batch, heads, sum([earlier, length])?, part(value, heads)?])
        }
    };
    let present = present.map(|shape| Fact::new(dtype, shape));
    Ok(vec![Some(Fact::new(dtype, vec![batch, length, value])), present])
}

/// Weights for queries, keys and values are inputs of their own.
fn ordered(node: &Node<'_>) -> Outputs {
    let (input, values) = (node.input(0)?, node.input(7)?);
    let [batch, length, _] = three(input)?;
    let size = *values.shape.get(1).ok_or("weights without columns")?;
    Ok(vec![Some(Fact::new(input.dtype, vec![batch, length, size]))])
}

/// Tokens of all sequences in one row.
fn packed(node: &Node<'_>) -> Outputs {
    let (input, weights) = (node.input(0)?, node.input(1)?);
    let (&[tokens, _], &[_, columns]) = (input.shape.as_slice(), weights.shape.as_slice()) else {
        return Err(format!("tokens of {:?} and weights of {:?}", input.shape, weights.shape));
    };
    let value = match node.ints("qkv_hidden_sizes").filter(|sizes| !sizes.is_empty()) {
        Some(&[_, _, value]) => value,
        Some(sizes) => return Err(format!("attribute `qkv_hidden_sizes` is {sizes:?}")),
        None => part(columns, 3)?,
    };
    Ok(vec![Some(Fact::new(input.dtype, vec![tokens, value]))])
}

fn packed_heads(node: &Node<'_>) -> Outputs {
    let query = node.input(0)?;
    let shape = match (query.shape.as_slice(), node.optional(2).map(|value| value.shape.as_slice())) {
        (&[tokens, heads, 3, size], None) => vec![tokens, product([heads, size])?],
        (&[tokens, _], Some(&[_, size])) => vec![tokens, size],
        (query, value) => return Err(format!("queries of {query:?} and values of {value:?}")),
    };
    Ok(vec![Some(Fact::new(query.dtype, shape))])
}

/// Sequence first, then batch. Which keys it keeps depends on four truth values that come as inputs.
fn decoder(node: &Node<'_>) -> Outputs {
    let (query, key) = (node.input(0)?, node.input(1)?);
    let ([length, batch, hidden], [key_length, _, _]) = (three(query)?, three(key)?);
    let heads = node.count("num_heads")?;
    let output = node.like(0)?;
    let (Ok(fixed), Ok(past), Ok(state)) = (node.known_one(8), node.known_one(9), node.known_one(10)) else {
        return Ok(vec![output]);
    };
    let new = if fixed == 0 { length } else { key_length };
    let kept = if past != 0 && state != 0 {
        let [_, _, cached, _] = four(node.input(6)?)?;
        if fixed == 0 { sum([cached, length])? } else { cached }
    } else {
        new
    };
    let cache = Some(Fact::new(query.dtype, vec![batch, heads, kept, part(hidden, heads)?]));
    Ok(vec![output, cache.clone(), cache])
}

/// Queries, keys and values apart, or all in the query, or keys with values in the key; `past` is the input with
/// the keys of earlier tokens, and those of values follow it.
fn multi_head(node: &Node<'_>, past: usize) -> Outputs {
    let (query, heads) = (node.input(0)?, node.count("num_heads")?);
    let (key, value) = (node.optional(1), node.optional(2));
    let shapes = (query.shape.as_slice(), key.map(|key| key.shape.as_slice()), value);
    // Batch, length, and the new tokens with the sizes of a key's and a value's head.
    let (batch, length, new, key_size, value_size) = match shapes {
        (&[batch, length, h, 3, size], None, None) if h == heads => (batch, length, length, size, size),
        (&[batch, length, hidden], Some(&[_, new, h, 2, size]), None)
            if h == heads && part(hidden, heads)? == size =>
        {
            (batch, length, new, size, size)
        }
        // Keys and values that are there already, as of the encoder.
        (&[batch, length, _], Some(&[_, _, new, size]), Some(value)) => {
            let [_, _, _, value_size] = four(value)?;
            (batch, length, new, size, value_size)
        }
        (&[batch, length, _], Some(&[_, new, hidden]), Some(value)) => {
            let [_, _, value_hidden] = three(value)?;
            (batch, length, new, part(hidden, heads)?, part(value_hidden, heads)?)
        }
        // All three folded into the query's last axis.
        (&[batch, length, folded], None, None) if node.proto.op_type != "MultiHeadAttention" => {
            let hidden = part(folded, 3)?;
            (batch, length, length, part(hidden, heads)?, part(hidden, heads)?)
        }
        (query, key, value) => {
            let value = value.map(|value| &value.shape);
            return Err(format!("queries of {query:?}, keys of {key:?} and values of {value:?}"));
        }
    };
    let earlier = node.optional(past).map(four).transpose()?;
    let one_buffer = match past {
        6 => node.optional(8).is_some() && earlier.is_some(),
        _ => node.int_or("past_present_share_buffer", 0) != 0,
    };
    let dtype = query.dtype;
    let mut outputs = vec![Some(Fact::new(dtype, vec![batch, length, product([heads, value_size])?]))];
    if one_buffer {
        // How much of the buffer is used, and so how many scores there are, is an input's value.
        let buffer = |i: usize| node.optional(i).map(|past| Fact::new(past.dtype, past.shape.clone()));
        outputs.extend([buffer(past), buffer(past + 1)]);
        return Ok(outputs);
    }
    let total = sum([new, earlier.map_or(0, |[_, _, earlier, _]| earlier)])?;
    outputs.push(Some(Fact::new(dtype, vec![batch, heads, total, key_size])));
    outputs.push(Some(Fact::new(dtype, vec![batch, heads, total, value_size])));
    // Scores of smaller types may be kept in single precision.
    let scores = Fact::new(dtype, vec![batch, heads, length, total]);
    outputs.push(Some(scores).filter(|_| dtype == DataType::FLOAT));
    Ok(outputs)
}

/// The shape of what comes out where several queries share keys, which may all be folded into the query.
fn grouped_output(node: &Node<'_>) -> Result<Vec<i64>, String> {
    let query = node.input(0)?;
    let ([batch, length, _], heads) = (three(query)?, node.count("num_heads")?);
    Ok(vec![batch, length, product([heads, group_head(node)?])?])
}

/// The size of a head where several queries share keys.
fn group_head(node: &Node<'_>) -> Result<i64, String> {
    let folded = *node.input(0)?.shape.last().ok_or("a query without axes")?;
    let (heads, kv) = (node.count("num_heads")?, node.count("kv_num_heads")?);
    part(folded, if node.optional(1).is_some() { heads } else { sum([heads, kv, kv])? })
}

/// The whole length of keys is an input's value: present is that long, or as long as a past that is longer.
fn group_query(node: &Node<'_>) -> Outputs {
    let query = node.input(0)?;
    let ([batch, length, _], heads, kv) =
        (three(query)?, node.count("num_heads")?, node.count("kv_num_heads")?);
    let output = Some(Fact::new(query.dtype, grouped_output(node)?));
    let total = node.known_one(6).ok();
    let new = match node.optional(1) {
        Some(key) => *key.shape.get(1).ok_or("keys without axes")?,
        None => length,
    };
    let present = |i: usize| -> Result<Option<Fact>, String> {
        let Some(past) = node.optional(i) else {
            // Without a past all keys come with this call. Keys in fewer bits are packed, and how is not said.
            let packed = node.int_or("kv_cache_bit_width", 0) != 0;
            let shape = vec![batch, kv, total.unwrap_or(new), group_head(node)?];
            return Ok(Some(Fact::new(query.dtype, shape)).filter(|_| !packed));
        };
        let [batch, kv, earlier, size] = four(past)?;
        let kept = match total {
            _ if node.int_or("sliding_window_cache", 0) != 0 => earlier,
            Some(total) => earlier.max(total),
            // Into a buffer of its own go the past and the new ones; one that is shared is as long as the past already.
            None => {
                let most = sum([earlier, new])?;
                return Ok(Some(Fact::new(past.dtype, vec![batch, kv, most, size]).at_most()));
            }
        };
        Ok(Some(Fact::new(past.dtype, vec![batch, kv, kept, size])))
    };
    let scores = total.map(|total| Fact::new(query.dtype, vec![batch, heads, length, total]));
    Ok(vec![output, present(3)?, present(4)?, scores])
}

/// Keys and values in blocks, which stay where they are.
fn paged(node: &Node<'_>) -> Outputs {
    let query = node.input(0)?;
    let &[tokens, _] = query.shape.as_slice() else {
        return Err(format!("tokens of {:?}", query.shape));
    };
    let size = match node.int_or("v_head_size", 0) {
        0 => group_head(node)?,
        size => size,
    };
    let shape = vec![tokens, product([node.count("num_heads")?, size])?];
    let block = |i: usize| node.optional(i).map(|fact| Fact::new(fact.dtype, fact.shape.clone()));
    Ok(vec![Some(Fact::new(query.dtype, shape)), block(3), block(4)])
}

/// A state of fixed size in place of keys; ONNX Runtime's operator may keep those after the last few tokens.
pub(super) fn linear(node: &Node<'_>) -> Outputs {
    let (query, value) = (node.input(0)?, node.input(2)?);
    let ([batch, length, _], [_, _, folded]) = (three(query)?, three(value)?);
    let (heads, kv) = (node.count("q_num_heads")?, node.count("kv_num_heads")?);
    let shape = vec![batch, length, product([heads.max(kv), part(folded, kv)?])?];
    let state = match node.optional(3) {
        Some(past) => Fact::new(past.dtype, past.shape.clone()),
        None => {
            let [_, _, keys] = three(node.input(1)?)?;
            let mut state = vec![batch, kv, part(keys, kv)?, part(folded, kv)?];
            match node.int_or("state_window", 0) {
                window if window > 0 => state.insert(0, window),
                _ => {}
            }
            Fact::new(query.dtype, state)
        }
    };
    Ok(vec![Some(Fact::new(query.dtype, shape)), Some(state)])
}

fn relative_bias(node: &Node<'_>) -> Outputs {
    let table = node.input(0)?;
    let &[_, heads] = table.shape.as_slice() else {
        return Err(format!("a table of {:?}", table.shape));
    };
    Ok(vec![Some(Fact::new(table.dtype, vec![1, heads, node.known_one(1)?, node.known_one(2)?]))])
}

/// Tokens in one row have their places, and so batch and length, in the last input.
fn gated_bias(node: &Node<'_>) -> Outputs {
    let query = node.input(0)?;
    let (batch, length) = match (query.shape.as_slice(), node.optional(6).map(|places| &*places.shape)) {
        (_, Some(&[batch, length])) | (&[batch, length, _], None) => (batch, length),
        (query, places) => return Err(format!("queries of {query:?} at places of {places:?}")),
    };
    Ok(vec![Some(Fact::new(query.dtype, vec![batch, node.count("num_heads")?, length, length]))])
}

/// Query, key, value in; one output, with the query's rows and the value's columns. All have an axis for the heads.
pub(super) fn flexible(node: &Node<'_>) -> Outputs {
    let (query, value) = (node.input(0)?, node.input(2)?);
    let (&[batch, heads, length, _], &[.., size]) = (query.shape.as_slice(), value.shape.as_slice()) else {
        return Err(format!("a query of {:?} and a value of {:?}", query.shape, value.shape));
    };
    Ok(vec![Some(Fact::new(query.dtype, vec![batch, heads, length, size]))])
}
