//! Recurrent layers: X, W, R, B, … in; Y, Y_h and (for an LSTM) Y_c out.

use crate::onnx::fact::Fact;
use crate::onnx::node::{Node, Outputs};

/// `gates` matrices of hidden size stand on one another in W and R.
pub(super) fn recurrent(node: &Node<'_>, gates: i64) -> Outputs {
    let (x, r) = (node.input(0)?, node.input(2)?);
    let (&[first, second, _], &[directions, rows, _]) = (x.shape.as_slice(), r.shape.as_slice()) else {
        return Err(format!("a sequence of {:?} and weights of {:?}", x.shape, r.shape));
    };
    let hidden = node.int("hidden_size").unwrap_or(rows / gates);
    let batch_first = node.int_or("layout", 0) != 0;
    let (all, last) = if batch_first {
        (vec![first, second, directions, hidden], vec![first, directions, hidden])
    } else {
        (vec![first, directions, second, hidden], vec![directions, second, hidden])
    };
    let fact = |shape: &[i64]| Some(Fact::new(x.dtype, shape.to_vec()));
    Ok(vec![fact(&all), fact(&last), fact(&last)])
}
