//! Arithmetic over packed weights: repacking, quantising, products.
