//! Attention and the other arithmetic that is no product with weights.
