//! What a short series of floors looks like: how fast it grows, how evenly, whether it slows, and which of a few
//! shapes explains it best. Pure functions of bytes at equal distances in time.

/// Numbers below this many bytes are noise to every shape: half of it is added to each error.
const QUANTUM: f64 = (1u64 << 20) as f64;

/// The median of pairwise slopes in bytes a step, and the median level at the first step.
///
/// Theil, "A rank-invariant method of linear and polynomial regression analysis", 1950; Sen, "Estimates of the
/// regression coefficient based on Kendall's tau", JASA 1968.
pub(super) fn theil_sen(floors: &[f64]) -> (f64, f64) {
    let slope = median(&mut slopes(floors));
    let mut levels: Vec<f64> = floors.iter().enumerate().map(|(i, y)| y - slope * i as f64).collect();
    (slope, median(&mut levels))
}

/// Every slope between two floors, in bytes a step.
pub(crate) fn slopes(floors: &[f64]) -> Vec<f64> {
    let mut slopes = Vec::with_capacity(floors.len() * floors.len() / 2);
    for (i, a) in floors.iter().enumerate() {
        slopes.extend(floors[i + 1..].iter().enumerate().map(|(d, b)| (b - a) / (d + 1) as f64));
    }
    slopes
}

/// The middle value (the upper one of two); 0 of none.
pub(super) fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// The smallest and the second smallest of the five rises between the minima of six parts, over the mean rise. An
/// even rise has both near 1; one made of steps has both near 0.
pub(super) fn evenness(floors: &[f64]) -> (f64, f64) {
    let part = floors.len() / 6;
    let minima: Vec<f64> = floors
        .chunks_exact(part)
        .take(6)
        .map(|part| part.iter().copied().fold(f64::INFINITY, f64::min))
        .collect();
    let mean = (minima[5] - minima[0]) / 5.0;
    if mean <= 0.0 {
        return (0.0, 0.0);
    }
    let mut rises: Vec<f64> = minima.windows(2).map(|pair| (pair[1] - pair[0]) / mean).collect();
    rises.sort_by(f64::total_cmp);
    (rises[0], rises[1])
}

/// Whether the least of the newest five floors is at least that of any five in a row before.
pub(super) fn is_record(floors: &[f64]) -> bool {
    let mut minima = floors.windows(5).map(|five| five.iter().copied().fold(f64::INFINITY, f64::min));
    let newest = minima.next_back().unwrap_or(f64::NEG_INFINITY);
    minima.all(|least| newest >= least)
}

/// The rise of the last third over that of the one before, by medians: 1 for a line, below for what slows.
pub(super) fn saturation(floors: &[f64]) -> f64 {
    let third = floors.len() / 3;
    let mut medians = floors.chunks_exact(third).map(|third| median(&mut third.to_vec()));
    let (a, b, c) = (medians.next(), medians.next(), medians.next());
    match (a, b, c) {
        (Some(a), Some(b), Some(c)) if b > a => (c - b) / (b - a),
        _ => 0.0,
    }
}

/// Schwarz's criterion of a shape of `k` parameters that leaves a squared error (SSE) over `n` floors: n·ln(SSE / n) + k·ln n, the less
/// the better ("Estimating the dimension of a model", Annals of Statistics 1978).
fn schwarz(error: f64, floors: usize, parameters: usize) -> f64 {
    let n = floors as f64;
    n * ((error + n * QUANTUM * QUANTUM / 4.0) / n).ln() + parameters as f64 * n.ln()
}

/// Whether a rise that goes on (a line, or flat and then a line) explains the floors at least as well as what has
/// ended (constant, one step, two steps, a line and then flat), by Schwarz's criterion.
pub(super) fn goes_on(floors: &[f64]) -> bool {
    let n = floors.len();
    let sums = Sums::of(floors);
    let score = |error: f64, parameters: usize| schwarz(error, n, parameters);
    let best = |errors: &mut dyn Iterator<Item = f64>| errors.fold(f64::INFINITY, f64::min);

    let line = rising(floors, |i| i as f64);
    let later = best(&mut (3..n - 3).map(|at| rising(floors, |i| i.saturating_sub(at) as f64)));
    let on = score(line, 2).min(score(later, 4));

    let constant = sums.error(0, n);
    let step = best(&mut (1..n).map(|at| sums.error(0, at) + sums.error(at, n)));
    let two = best(
        &mut (1..n)
            .flat_map(|a| (a + 1..n).map(move |b| (a, b)))
            .map(|(a, b)| sums.error(0, a) + sums.error(a, b) + sums.error(b, n)),
    );
    let ended = best(&mut (3..n - 3).map(|at| rising(floors, |i| i.min(at) as f64)));
    let off = score(constant, 1).min(score(step, 3)).min(score(two, 5)).min(score(ended, 4));
    on <= off
}

/// Whether a few levels, with steps up or down between them, explain the floors better than a line, by the same criterion:
/// models that are loaded by hand, cells of a notebook, a curriculum's lengths.
pub(super) fn is_staircase(floors: &[f64], most_levels: usize) -> bool {
    let n = floors.len();
    let sums = Sums::of(floors);
    let line = schwarz(rising(floors, |i| i as f64), n, 2);
    // The least error of the first floors in so many levels, by the number of floors (Bellman 1961).
    let mut errors: Vec<f64> = (0..=n).map(|to| if to == 0 { 0.0 } else { sums.error(0, to) }).collect();
    (2..=most_levels).any(|levels| {
        errors = (0..=n)
            .map(|to| (1..to).map(|at| errors[at] + sums.error(at, to)).fold(f64::INFINITY, f64::min))
            .collect();
        schwarz(errors[n], n, 2 * levels - 1) < line
    })
}

/// The floors without their clearest step up, if a line with one step explains them far better than a line: what a
/// model's loading adds at once says nothing about the growth before and after. What came before is raised.
pub(super) fn without_step(floors: &[f64]) -> Option<Vec<f64>> {
    let n = floors.len();
    let part = |from: usize, to: usize| Moments::of(from, &floors[from..to], floors[0]);
    let line = part(0, n);
    let with_step = (1..n).map(|at| {
        let (before, after) = (part(0, at), part(at, n));
        let slope = (before.xy + after.xy) / (before.xx + after.xx).max(f64::MIN_POSITIVE);
        let error = (before.yy + after.yy - slope * (before.xy + after.xy)).max(0.0);
        (error, at, after.y - before.y - slope * (after.x - before.x))
    });
    let (error, at, step) = with_step.min_by(|a, b| a.0.total_cmp(&b.0))?;
    let plain = (line.yy - line.xy * line.xy / line.xx).max(0.0);
    let clear = schwarz(error, n, 0) + STEP_SCORE < schwarz(plain, n, 0);
    (step > 0.0 && clear).then(|| {
        let raised = floors.iter().enumerate().map(|(i, floor)| if i < at { floor + step } else { *floor });
        raised.collect()
    })
}

/// By how much Schwarz's criterion has to prefer a step.
const STEP_SCORE: f64 = 20.0;

/// Means of a part, and centred sums of squares and products.
struct Moments {
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Moments {
    fn of(from: usize, floors: &[f64], zero: f64) -> Self {
        let n = floors.len() as f64;
        let x = from as f64 + (n - 1.0) / 2.0;
        let y = floors.iter().map(|floor| floor - zero).sum::<f64>() / n;
        let mut moments = Self { x, y, xx: 0.0, xy: 0.0, yy: 0.0 };
        for (i, floor) in floors.iter().enumerate() {
            let (dx, dy) = ((from + i) as f64 - x, floor - zero - y);
            moments.xx += dx * dx;
            moments.xy += dx * dy;
            moments.yy += dy * dy;
        }
        moments
    }
}

/// The squared error of the best `a + b·x(i)` with `b` above 0; of a constant when there is none.
fn rising(floors: &[f64], x: impl Fn(usize) -> f64) -> f64 {
    let n = floors.len() as f64;
    let (mut sx, mut sy, mut sxx, mut sxy, mut syy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    // Relative to the first, so that squares of small differences are not lost.
    let zero = floors[0];
    for (i, y) in floors.iter().enumerate() {
        let (x, y) = (x(i), y - zero);
        sx += x;
        sy += y;
        sxx += x * x;
        sxy += x * y;
        syy += y * y;
    }
    let (vx, cov, vy) = (sxx - sx * sx / n, sxy - sx * sy / n, syy - sy * sy / n);
    if cov <= 0.0 || vx <= 0.0 { f64::INFINITY } else { (vy - cov * cov / vx).max(0.0) }
}

/// Sums from the start, so that the error of a constant over any part takes no loop.
struct Sums(Vec<(f64, f64)>);

impl Sums {
    fn of(floors: &[f64]) -> Self {
        let mut sums = vec![(0.0, 0.0)];
        for y in floors {
            let (sum, squares) = sums[sums.len() - 1];
            let y = y - floors[0];
            sums.push((sum + y, squares + y * y));
        }
        Self(sums)
    }

    /// The squared error of the mean over `[from, to)`.
    fn error(&self, from: usize, to: usize) -> f64 {
        let ((a, aa), (b, bb)) = (self.0[from], self.0[to]);
        (bb - aa - (b - a) * (b - a) / (to - from) as f64).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = (1u64 << 20) as f64;

    fn series(at: impl Fn(usize) -> f64) -> Vec<f64> {
        (0..30).map(|i| at(i) * MIB).collect()
    }

    #[test]
    fn a_line_is_even_goes_on_and_has_its_slope() {
        let line = series(|i| 1000.0 + 10.0 * i as f64);
        let (slope, level) = theil_sen(&line);
        assert!((slope / MIB - 10.0).abs() < 1e-9 && (level / MIB - 1000.0).abs() < 1e-9);
        let (first, second) = evenness(&line);
        assert!((first - 1.0).abs() < 1e-9 && (second - 1.0).abs() < 1e-9);
        assert!(is_record(&line) && goes_on(&line) && (saturation(&line) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn errors_and_criteria_are_what_can_be_worked_out_by_hand() {
        // 10 floors, of 3/4 + 1/4 of a square MiB each.
        let expected = 10.0 * 40.0 * 2f64.ln() + 3.0 * 10f64.ln();
        assert!((schwarz(7.5 * MIB * MIB, 10, 3) - expected).abs() < 1e-9);
        // 5, 6, 8 on 0, 1, 2: a slope of 3/2 leaves 1/36 + 4/36 + 1/36.
        let floors = [5.0, 6.0, 8.0];
        assert!((rising(&floors, |i| i as f64) - 1.0 / 6.0).abs() < 1e-12);
        assert_eq!(rising(&[8.0, 6.0, 5.0], |i| i as f64), f64::INFINITY);
        assert_eq!(rising(&floors, |_| 1.0), f64::INFINITY);
        let sums = Sums::of(&floors);
        assert!(
            (sums.error(0, 3) - 14.0 / 3.0).abs() < 1e-12
                && sums.error(1, 2) == 0.0
                && sums.error(1, 3) == 2.0
        );
        // The medians of thirds are 1, 3 and 4.
        assert_eq!(saturation(&[0.0, 1.0, 2.0, 2.0, 3.0, 9.0, 4.0, 4.0, 0.0]), 0.5);
        assert_eq!(saturation(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0]), 0.0);
    }

    #[test]
    fn a_clear_step_is_taken_out_of_a_line_and_an_unclear_one_is_not() {
        let stepped = series(|i| 1000.0 + 10.0 * i as f64 + if i < 17 { 0.0 } else { 400.0 });
        let without = without_step(&stepped).expect("it is clear");
        for (i, floor) in without.iter().enumerate() {
            assert!((floor / MIB - (1400.0 + 10.0 * i as f64)).abs() < 1e-6, "{i}: {floor}");
        }
        assert!(without_step(&series(|i| 1000.0 + 10.0 * i as f64)).is_none());
        assert!(
            without_step(&series(|i| 1000.0 + 10.0 * i as f64 - if i < 17 { 0.0 } else { 400.0 })).is_none()
        );
    }

    #[test]
    fn steps_plateaus_and_what_slows_are_told_from_a_line() {
        let step = series(|i| if i < 12 { 1000.0 } else { 1500.0 });
        let two = series(|i| 1000.0 + 300.0 * (i / 11) as f64);
        let ended = series(|i| 1000.0 + 30.0 * i.min(18) as f64);
        for shape in [&step, &two, &ended] {
            assert!(!goes_on(shape), "{shape:?}");
        }
        assert_eq!(evenness(&step).1, 0.0);
        let slowing = series(|i| 1000.0 + 500.0 * (1.0 - (-(i as f64) / 8.0).exp()));
        assert!(saturation(&slowing) < 0.5);
        let stairs = series(|i| 1000.0 + 300.0 * (i / 7) as f64);
        assert!(is_staircase(&stairs, 5) && !is_staircase(&series(|i| 1000.0 + 50.0 * i as f64), 5));
        assert!(!is_staircase(&series(|i| 1000.0 + 300.0 * (i / 3) as f64), 5));
        let late = series(|i| 1000.0 + 20.0 * i.saturating_sub(10) as f64);
        assert!(goes_on(&late));
        assert!(!is_record(&series(|i| if i == 27 { 900.0 } else { 1000.0 + i as f64 })));
    }
}
