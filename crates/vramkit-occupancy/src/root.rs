//! Where a tail exponent lies.

/// The root above 0 of a function that is 0 at 0, falls there and rises beyond; 0 where it does not fall.
pub(crate) fn positive_root(side: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (1e-12, 1.0);
    while side(high) < 0.0 {
        high *= 2.0;
    }
    // Down to where it is below 0: the root lies above.
    while low < high && side(low) > 0.0 {
        high = high.min(low);
        low *= 0.1;
        if low < 1e-300 {
            return 0.0;
        }
    }
    for _ in 0..200 {
        let middle = (low * high).sqrt();
        if side(middle) < 0.0 { low = middle } else { high = middle }
    }
    high
}
