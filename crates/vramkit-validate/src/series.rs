//! Means of values that are like the ones before them.

/// A mean with its standard error; none of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mean {
    pub mean: f64,
    pub standard_error: Option<f64>,
}

/// The mean of a series, with a standard error that knows how alike neighbours are: the variance of the mean from the autocovariances,
/// up to where the sums of pairs of them are no longer positive and falling (Geyer, "Practical Markov Chain Monte Carlo", 1992, the
/// initial monotone sequence), and a little more for the mean's being estimated from the same values.
pub(crate) fn mean(values: &[f64]) -> Mean {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return Mean { mean, standard_error: None };
    }
    let covariance = |lag: usize| {
        let pairs = values.iter().zip(values.iter().skip(lag));
        pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / count
    };
    let variance = covariance(0);
    let (mut long_run, mut least) = (-variance, f64::INFINITY);
    for pair in 0..values.len() / 2 {
        let both = covariance(2 * pair) + covariance(2 * pair + 1);
        if both <= 0.0 {
            break;
        }
        least = least.min(both);
        long_run += 2.0 * least;
    }
    // Values that alternate have less than independent ones, but hardly nothing.
    let long_run = long_run.max(variance / count);
    let alike = if variance > 0.0 { (long_run / variance).clamp(1.0, count / 2.0) } else { 1.0 };
    let of_mean = long_run / count * (count / (count - alike));
    // Nothing below 0, not even a 0.
    Mean { mean, standard_error: Some(of_mean.sqrt().abs()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use vramkit::units::SplitMix64;

    use super::*;

    /// Values of which each keeps a part of the one before it, with mean 0.
    fn autoregressive(kept: f64, count: usize, random: &mut SplitMix64) -> Vec<f64> {
        let mut value = 0.0;
        let mut next = || {
            let noise: f64 = (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
            value = kept * value + noise;
            value
        };
        (0..100).for_each(|_| _ = next());
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn two_standard_errors_hold_the_mean_as_often_as_they_should() {
        let mut random = SplitMix64::new(1);
        for (kept, least) in [(0.0, 0.92), (0.5, 0.88), (0.8, 0.86), (-0.5, 0.86)] {
            let held = (0..2000).filter(|_| {
                let found = mean(&autoregressive(kept, 100, &mut random));
                found.mean.abs() <= 2.0 * found.standard_error.unwrap()
            });
            let share = held.count() as f64 / 2000.0;
            assert!((least..0.995).contains(&share), "{kept}: {share}");
        }
    }

    #[test]
    fn a_value_alone_has_no_error_and_equal_ones_have_none_to_speak_of() {
        assert_eq!(mean(&[3.0]), Mean { mean: 3.0, standard_error: None });
        assert_eq!(mean(&[3.0; 20]), Mean { mean: 3.0, standard_error: Some(0.0) });
        assert!(mean(&[1.0, 2.0]).standard_error.unwrap() > 0.0);
    }
}
