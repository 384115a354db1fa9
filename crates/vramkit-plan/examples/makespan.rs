//! Starts of models whose best is known: cut from a rectangle of steps and bytes.
//!
//! `cargo run --release -p vramkit-plan --example makespan -- [PIECES] [SECONDS] [SEEDS] [flat|coarse|steps]`
//!
//! A rectangle of 10,000 steps and 2^30 bytes is cut through, again and again, until there are so many pieces. With `flat` each is a
//! model of one tensor; with `coarse` the rectangle has 100 steps and 1,024 bytes, so that many sides are equal by chance; with `steps`
//! three pieces that lie beside one another make a model of three tensors. Put together as they were cut, they fill the
//! rectangle, so its height is the fewest bytes; what is printed is how far above it the answer is.

#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use vramkit_plan::{
    ByteSize, MemoryPlanner, Model, OrderBudget, Schedule, StartsSearch, Step, TensorLifetime, choose_starts,
};
use vramkit_units::SplitMix64;

/// First and last step, first and last byte.
type Piece = [u64; 4];

fn cut((steps, bytes): (u64, u64), pieces: usize, random: &mut SplitMix64) -> Vec<Piece> {
    let mut all = vec![[0, steps, 0, bytes]];
    while all.len() < pieces {
        // Large ones sooner, so that sizes do not differ by too much.
        let area = |piece: &Piece| (piece[1] - piece[0]) as f64 * (piece[3] - piece[2]) as f64;
        let i =
            (0..3).map(|_| random.below(all.len())).max_by(|&a, &b| area(&all[a]).total_cmp(&area(&all[b])));
        let i = i.unwrap_or(0);
        let along = 2 * random.below(2);
        let (from, to) = (all[i][along], all[i][along + 1]);
        if to - from < 3 {
            continue;
        }
        let at = from + 1 + random.below((to - from - 1) as usize) as u64;
        let mut other = all[i];
        (all[i][along + 1], other[along]) = (at, at);
        all.push(other);
    }
    all
}

fn models(pieces: Vec<Piece>, tensors: usize) -> Vec<Model> {
    let mut pieces = pieces;
    // Beside one another in time, more or less.
    pieces.sort_unstable();
    let model = |(i, group): (usize, &[Piece])| {
        let first = group.iter().map(|piece| piece[0]).min().unwrap_or(0);
        let tensor = |(j, piece): (usize, &Piece)| TensorLifetime {
            alignment: 1,
            ..TensorLifetime::new(
                &format!("m{i}"),
                &format!("t{j}"),
                Step(piece[0] - first),
                Step(piece[1] - first),
                ByteSize::new(piece[3] - piece[2]),
            )
        };
        Model {
            name: format!("m{i}").into(),
            weights: ByteSize::ZERO,
            start: Step(0),
            tensors: group.iter().enumerate().map(tensor).collect(),
        }
    };
    pieces.chunks(tensors).enumerate().map(model).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, otherwise: u64| given.get(i).map_or(Ok(otherwise), |text| text.parse());
    let (pieces, seconds, seeds) = (number(0, 30)?, number(1, 10)?, number(2, 5)?);
    let (whole, tensors) = match given.get(3).map(String::as_str) {
        None | Some("flat") => ((10_000, 1 << 30), 1),
        Some("coarse") => ((100, 1 << 10), 1),
        Some("steps") => ((10_000, 1 << 30), 3),
        Some(other) => return Err(format!("`{other}` is none of flat, coarse, steps").into()),
    };
    println!("seed  bound %   peak %  arena %  seconds");
    for seed in 0..seeds {
        let mut random = SplitMix64::new(seed);
        let mut models = models(cut(whole, pieces as usize, &mut random), tensors);
        let begun = Instant::now();
        let budget = OrderBudget::new(Duration::from_secs(seconds) / 4 * 3, &());
        let starts = choose_starts(
            &models,
            Step(whole.0),
            &StartsSearch { seed, threads: 2, budget, capacity: None },
        )?;
        for (model, start) in models.iter_mut().zip(&starts.starts) {
            model.start = *start;
        }
        let left = Duration::from_secs(seconds).saturating_sub(begun.elapsed());
        let plan = MemoryPlanner::thorough(left).threads(2).plan(&models, Schedule::Fixed)?;
        let over = |bytes: ByteSize| (bytes.bytes() as f64 / whole.1 as f64 - 1.0) * 100.0;
        println!(
            "{seed:4} {:8.2} {:8.2} {:8.2} {:8.2}",
            over(starts.bound),
            over(starts.peak),
            over(plan.arena_size),
            begun.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
