//! The panel of sup Y: how many cycles grew by how much, the mean, and each prediction of it.

use super::axis::Axis;
use super::cycles::{band, marks};
use super::document::ValidateDocument;
use super::panel::{Frame, Scale, lines_upward, outline, scales};
use super::paper::Paper;
use super::series::{Pen, Quantity};

/// About as many bins at the most.
const MOST_BINS: usize = 60;
const BAR: &str = "#bcd3e6";
const BAR_EDGE: &str = "#7d9cb5";

/// Counts of values in bins of one width.
#[derive(Debug)]
struct Bins {
    start: f64,
    width: f64,
    counts: Vec<usize>,
}

impl Bins {
    /// Bins of N tokens, halved or doubled until there are as many as the number of values bears: while nothing ends, a step
    /// adds exactly N, so that values gather at its multiples, which are the middles of bins.
    fn new(values: &[f64], batch: u64) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let quantile = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
        // The width of Freedman and Diaconis.
        let wanted = 2.0 * (quantile(0.75) - quantile(0.25)) / (sorted.len() as f64).cbrt();
        let unit = (batch as f64).max(1.0);
        let wanted = if wanted > 0.0 { wanted.max(1.0) } else { unit };
        let wanted = wanted.max((high - low) / MOST_BINS as f64);
        let width = unit * (wanted / unit).log2().round().exp2();
        // Where most are such multiples, narrower bins would be empty in between.
        let multiples = sorted.iter().filter(|&&value| value % unit == 0.0).count();
        let width = if multiples * 2 > sorted.len() { width.max(unit) } else { width };
        let step = width.min(unit);
        let start = (low / step + 0.5).floor() * step - step / 2.0;
        let mut counts = Vec::new();
        for value in sorted {
            let bin = (((value - start) / width).max(0.0) as usize).min(2 * MOST_BINS);
            counts.resize(counts.len().max(bin + 1), 0);
            counts[bin] += 1;
        }
        Some(Self { start, width, counts })
    }

    fn end(&self) -> f64 {
        self.start + self.counts.len() as f64 * self.width
    }
}

/// Draws the panel.
pub(crate) fn draw(paper: &mut Paper, frame: Frame, document: &ValidateDocument) {
    let growths: Vec<f64> = document.cycles.iter().map(|cycle| cycle.growth()).collect();
    let bins = Bins::new(&growths, document.parameters.batch_size);
    let (measured, marks) = (document.measured(Quantity::Kappa), marks(document, Quantity::Kappa));
    let data = match &bins {
        Some(bins) => vec![bins.start, bins.end()],
        None => Vec::new(),
    };
    let others: Vec<f64> =
        marks.iter().map(|mark| mark.value).chain(band(measured).into_iter().flatten()).collect();
    let side = (frame.left, frame.right);
    let near = Axis::around(&data, &others, side);
    // From nothing, where that is not far: no cycle shrinks.
    let is_near = near.low() < 0.6 * near.high() && bins.as_ref().is_none_or(|bins| bins.start >= 0.0);
    let across = if is_near { Axis::linear(0.0, near.high(), side) } else { near };
    let most = bins.iter().flat_map(|bins| &bins.counts).copied().max().unwrap_or(1);
    let up = Axis::linear(0.0, most as f64 * 1.06, (frame.bottom, frame.top));
    let title = "sup Y (tokens above X0)";
    let up_scale = Scale { axis: up, title: "cycles", ticks: 4.0, is_whole: true, least: 0.0 };
    let across_scale = Scale { axis: across, title, ticks: 8.0, is_whole: true, least: f64::MIN };
    scales(paper, frame, &across_scale, &up_scale);
    for (i, &count) in
        bins.iter().flat_map(|bins| bins.counts.iter().enumerate()).filter(|(_, count)| **count > 0)
    {
        let Some(bins) = &bins else { continue };
        let from = bins.start + i as f64 * bins.width;
        let corner = (across.nearest(from), up.nearest(count as f64));
        let other = (across.nearest(from + bins.width), frame.bottom);
        paper.fill(corner, other, BAR);
        paper.outline(corner, other, Pen { colour: BAR_EDGE, width: 0.8, dash: None });
    }
    if let Some([low, high]) = band(measured) {
        paper.shade((across.nearest(low), frame.top), (across.nearest(high), frame.bottom));
    }
    outline(paper, frame);
    lines_upward(paper, frame, &across, marks);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_counted_and_steps_are_in_the_middle_of_bins() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(32 * (1 + i % 5))).collect();
        let bins = Bins::new(&values, 32).expect("values");
        assert_eq!(bins.counts.iter().sum::<usize>(), 100);
        assert_eq!((bins.start, bins.width, bins.counts.len()), (16.0, 32.0, 5));
    }

    #[test]
    fn absurd_values_have_bins() {
        assert!(Bins::new(&[], 8).is_none());
        for values in [vec![0.0], vec![-1e300, 1e300], vec![1e300; 3], vec![-5.0, 0.0, 5.0]] {
            for batch in [0, 1, u64::MAX] {
                let bins = Bins::new(&values, batch).expect("values");
                assert_eq!(bins.counts.iter().sum::<usize>(), values.len());
                assert!(bins.counts.len() <= 2 * MOST_BINS + 1, "{bins:?}");
            }
        }
    }
}
