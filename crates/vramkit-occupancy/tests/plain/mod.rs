//! The processes written out step by step, as plainly as they can be, for the crate to be checked against. Shares no code
//! with it, not even random numbers.

#![allow(dead_code)]

/// Steele, Lea and Flood's SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * 2f64.powi(-53)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }
}

/// What a seat holds: its prompt, its tokens so far.
#[derive(Clone, Copy)]
struct Seat {
    prompt: u64,
    age: u64,
    ended: bool,
}

/// Averages of cycles, and the peaks of all.
pub struct Cycles {
    pub x0: f64,
    /// By batches of cycles that follow each other.
    pub x0_error: f64,
    pub before: f64,
    pub before_error: f64,
    pub after: f64,
    pub steps: f64,
    pub peaks: Vec<f64>,
}

fn with_error(values: &[f64]) -> (f64, f64) {
    let pieces: Vec<f64> = values
        .chunks(values.len().div_ceil(50))
        .map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64)
        .collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = pieces.iter().map(|piece| (piece - mean).powi(2)).sum();
    (mean, (squares / (pieces.len() * (pieces.len() - 1)) as f64).sqrt())
}

/// Threshold batching: all prompts alike, outputs that end with probability `p` a token.
pub fn threshold(seats: usize, k: usize, prompt: u64, p: f64, cycles: usize, seed: u64) -> Cycles {
    let mut random = Random(seed);
    let limit = (p * 2f64.powi(64)) as u64;
    let mut batch = vec![Seat { prompt, age: 0, ended: false }; seats];
    let (mut x0s, mut befores, mut afters, mut steps) = (Vec::new(), Vec::new(), Vec::new(), 0u64);
    let theta = k as f64 / seats as f64;
    let warm_up = if k == seats { 1 } else { (1e-4f64.ln() / (1.0 - theta).ln()) as usize + 1 };
    for cycle in 0..warm_up + cycles {
        let x0: u64 = batch.iter().map(|seat| seat.prompt + seat.age).sum();
        let (mut held, mut ended) = (x0, 0);
        let (mut before, mut after) = (0, x0);
        while ended < k {
            let mut freed = 0;
            for seat in batch.iter_mut().filter(|seat| !seat.ended) {
                seat.age += 1;
                held += 1;
                if random.bits() < limit || p >= 1.0 {
                    seat.ended = true;
                    ended += 1;
                    freed += seat.prompt + seat.age;
                }
            }
            before = before.max(held);
            held -= freed;
            after = after.max(held);
            if cycle >= warm_up {
                steps += 1;
            }
        }
        for seat in batch.iter_mut().filter(|seat| seat.ended) {
            *seat = Seat { prompt, age: 0, ended: false };
        }
        if cycle >= warm_up {
            x0s.push(x0 as f64);
            befores.push(before as f64);
            afters.push(after as f64);
        }
    }
    let (x0, x0_error) = with_error(&x0s);
    let (before, before_error) = with_error(&befores);
    let after = afters.iter().sum::<f64>() / cycles as f64;
    Cycles { x0, x0_error, before, before_error, after, steps: steps as f64 / cycles as f64, peaks: befores }
}

/// The share of cycles whose peak is over a capacity.
pub fn over(cycles: &Cycles, capacity: f64) -> f64 {
    cycles.peaks.iter().filter(|&&peak| peak > capacity).count() as f64 / cycles.peaks.len() as f64
}

/// Continuous batching over requests of a log: the demand of each step, before anything is freed. `visit` gets it.
pub fn continuous(
    requests: &[(u32, u32)],
    seats: usize,
    block: u64,
    steps: u64,
    random: &mut Random,
    mut visit: impl FnMut(f64) -> bool,
) {
    // A moment drawn at random: a request with a chance proportional to its output, and any of its tokens.
    let longest = requests.iter().map(|request| request.1).max().unwrap_or(1);
    let mut batch: Vec<(u64, u64, u64)> = (0..seats)
        .map(|_| {
            loop {
                let (prompt, output) = requests[random.below(requests.len())];
                let age = random.below(longest as usize) as u64 + 1;
                if age <= u64::from(output) {
                    break (u64::from(prompt), age, u64::from(output));
                }
            }
        })
        .collect();
    for _ in 0..=steps {
        let demand: u64 = batch.iter().map(|(prompt, age, _)| (prompt + age).div_ceil(block) * block).sum();
        if !visit(demand as f64) {
            return;
        }
        for seat in &mut batch {
            if seat.1 == seat.2 {
                let (prompt, output) = requests[random.below(requests.len())];
                *seat = (u64::from(prompt), 0, u64::from(output));
            }
            seat.1 += 1;
        }
    }
}

/// Requests that come by themselves, so many a step on average, and wait for nobody.
pub fn arrivals(
    requests: &[(u32, u32)],
    per_step: f64,
    steps: u64,
    random: &mut Random,
    mut visit: impl FnMut(f64) -> bool,
) {
    let mut here: Vec<(u64, u64, u64)> = Vec::new();
    let longest = requests.iter().map(|request| u64::from(request.1)).max().unwrap_or(1);
    for step in 0..steps + longest {
        here.retain(|(_, age, output)| age < output);
        here.iter_mut().for_each(|seat| seat.1 += 1);
        // Knuth's way to a Poisson number.
        let mut left = random.unit();
        while left > (-per_step).exp() {
            let (prompt, output) = requests[random.below(requests.len())];
            here.push((u64::from(prompt), 1, u64::from(output)));
            left *= random.unit();
        }
        // Once all that came before the start has gone.
        if step >= longest && !visit(here.iter().map(|(prompt, age, _)| prompt + age).sum::<u64>() as f64) {
            return;
        }
    }
}

/// A log whose outputs depend on their prompts.
pub fn log(seed: u64, count: usize) -> Vec<(u32, u32)> {
    let mut random = Random(seed);
    (0..count)
        .map(|_| {
            let long = random.unit() < 0.3;
            let prompt = if long { 400.0 + 800.0 * random.unit() } else { 20.0 + 200.0 * random.unit() };
            let output = 1.0 - (if long { 20.0 } else { 60.0 }) * (1.0 - random.unit()).ln();
            (prompt as u32, (output as u32).clamp(1, 400))
        })
        .collect()
}

/// How a batch of seats that are refilled one by one is served.
pub struct Served<'a> {
    pub requests: &'a [(u32, u32)],
    pub seats: usize,
    pub block: u64,
    /// All seats begin at once.
    pub cold: bool,
    /// From a random place of the log on in its own order, round and round, instead of each drawn by itself.
    pub in_order: bool,
}

impl Served<'_> {
    /// The most tokens of a horizon, step by step. A settled batch has run for `warm_up` steps before.
    pub fn peak(&self, warm_up: u64, steps: u64, random: &mut Random) -> u64 {
        let mut at = random.below(self.requests.len());
        let mut next = |random: &mut Random| {
            at = if self.in_order {
                (at + 1) % self.requests.len()
            } else {
                random.below(self.requests.len())
            };
            let (prompt, output) = self.requests[at];
            (u64::from(prompt), u64::from(output))
        };
        // Without order a moment drawn at random: a request as likely as its output is long, at any of its tokens.
        let longest = self.requests.iter().map(|request| request.1).max().unwrap_or(1);
        let mut batch: Vec<(u64, u64, u64)> = (0..self.seats)
            .map(|_| {
                loop {
                    let (prompt, output) = next(random);
                    if self.cold {
                        break (prompt, 1, output);
                    }
                    let age = random.below(longest as usize) as u64 + 1;
                    if age <= output {
                        break (prompt, age, output);
                    }
                }
            })
            .collect();
        let warm_up = if self.cold || !self.in_order { 0 } else { warm_up };
        let mut peak = 0;
        for step in 0..=warm_up + steps {
            if step >= warm_up {
                let demand =
                    |&(prompt, age, _): &(u64, u64, u64)| (prompt + age).div_ceil(self.block) * self.block;
                peak = peak.max(batch.iter().map(demand).sum());
            }
            for seat in &mut batch {
                if seat.1 == seat.2 {
                    let (prompt, output) = next(random);
                    *seat = (prompt, 0, output);
                }
                seat.1 += 1;
            }
        }
        peak
    }
}

/// Threshold batching over requests: the most tokens of so many steps, from new sequences on.
pub fn threshold_peak(
    requests: &[(u32, u32)],
    (seats, k): (usize, usize),
    warm_up: u64,
    steps: u64,
    random: &mut Random,
) -> u64 {
    let draw = |random: &mut Random| {
        let (prompt, output) = requests[random.below(requests.len())];
        (u64::from(prompt), 0, u64::from(output))
    };
    let mut batch: Vec<(u64, u64, u64)> = (0..seats).map(|_| draw(random)).collect();
    let mut peak = 0;
    for step in 0..warm_up + steps {
        // Those that ended have no output left, and hold nothing.
        batch.iter_mut().filter(|seat| seat.2 > 0).for_each(|seat| seat.1 += 1);
        let held: u64 = batch.iter().filter(|seat| seat.2 > 0).map(|seat| seat.0 + seat.1).sum();
        if step >= warm_up {
            peak = peak.max(held);
        }
        batch.iter_mut().filter(|seat| seat.1 == seat.2).for_each(|seat| seat.2 = 0);
        if batch.iter().filter(|seat| seat.2 == 0).count() >= k {
            batch.iter_mut().filter(|seat| seat.2 == 0).for_each(|seat| *seat = draw(random));
        }
    }
    peak
}

/// A queue before the seats: the most tokens, and how long each request waited, in steps. Begins empty.
pub fn queue(
    requests: &[(u32, u32)],
    (seats, per_step): (usize, f64),
    warm_up: u64,
    steps: u64,
    random: &mut Random,
) -> (u64, Vec<u64>) {
    let mut here: Vec<(u64, u64, u64)> = Vec::new();
    let mut waiting: std::collections::VecDeque<(u64, u64, u64)> = Default::default();
    let (mut peak, mut waits) = (0, Vec::new());
    for step in 0..warm_up + steps {
        here.retain(|&(_, age, output)| age < output);
        here.iter_mut().for_each(|seat| seat.1 += 1);
        let mut left = random.unit();
        while left > (-per_step).exp() {
            let (prompt, output) = requests[random.below(requests.len())];
            waiting.push_back((step, u64::from(prompt), u64::from(output)));
            left *= random.unit();
        }
        while here.len() < seats {
            let Some((came, prompt, output)) = waiting.pop_front() else { break };
            here.push((prompt, 1, output));
            if step >= warm_up {
                waits.push(step - came);
            }
        }
        if step >= warm_up {
            peak = peak.max(here.iter().map(|(prompt, age, _)| prompt + age).sum());
        }
    }
    (peak, waits)
}

/// Laws that have little in common, by name.
pub fn laws() -> Vec<(&'static str, Vec<(u32, u32)>)> {
    let mut random = Random(7);
    let mut of = |count: usize, one: &dyn Fn(&mut Random) -> (f64, f64)| -> Vec<(u32, u32)> {
        (0..count)
            .map(|_| {
                let (prompt, output) = one(&mut random);
                (prompt.max(1.0) as u32, output.max(1.0) as u32)
            })
            .collect()
    };
    let exponential = |random: &mut Random, mean: f64| -mean * (1.0 - random.unit()).ln();
    vec![
        ("as chats", log(1, 2000)),
        ("bimodal", of(2000, &|random| if random.unit() < 0.5 { (50.0, 30.0) } else { (900.0, 250.0) })),
        ("Pareto", of(2000, &|random| (100.0, (20.0 * (1.0 - random.unit()).powf(-1.0 / 2.5)).min(2000.0)))),
        ("fixed", vec![(200, 200)]),
        ("anticorrelated", vec![(100, 200), (2000, 4)]),
        (
            "one giant in 1,000",
            of(4000, &|random| {
                if random.below(1000) == 0 { (5000.0, 3000.0) } else { (50.0, exponential(random, 30.0)) }
            }),
        ),
        ("nearly fixed", of(2000, &|random| (100.0 + 100.0 * random.unit(), 190.0 + 20.0 * random.unit()))),
        (
            "mostly cut off",
            of(2000, &|random| (300.0 * random.unit(), exponential(random, 400.0).min(128.0))),
        ),
        (
            "correlated",
            of(2000, &|random| {
                let size = exponential(random, 150.0);
                (4.0 * size, size)
            }),
        ),
    ]
}
