//! The exponent r with which peaks become rare: the positive root of e^r(1 − p + p·E\[e^(−r·given back)\]) = 1.

/// The exponent, where a sequence ends in a step with probability p and then gives back what this is the transform of.
pub(crate) fn tail_exponent(p: f64, given_back: impl Fn(f64) -> f64) -> f64 {
    positive_root(|r| r + (1.0 - p + p * given_back(r)).ln())
}

/// E\[e^(−r(L+O))\] for prompts of one length and geometric outputs that are cut off at a cap; infinite for none.
pub(crate) fn geometric_given_back(r: f64, prompt: f64, termination: f64, cap: f64) -> f64 {
    let decay = (1.0 - termination) * (-r).exp();
    let reached = decay.powf(cap);
    let ended = (-r).exp() * termination * (1.0 - reached) / (1.0 - decay);
    (-r * prompt).exp() * (ended + reached)
}

/// The root above 0 of a function that is 0 at 0, falls there and rises beyond; 0 where it does not fall.
fn positive_root(side: impl Fn(f64) -> f64) -> f64 {
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
