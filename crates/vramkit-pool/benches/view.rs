//! Filling and summing 16 MiB of `f32`: by a view of a pool's memory, by a plain vector, and by copies with conversion.
//! `cargo bench -p vramkit-pool --bench view`.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vramkit_pool::device::HostDevice;
use vramkit_pool::pool::{Allocation, DeviceMemoryPool, Request};
use vramkit_units::ByteSize;

const SIZE: ByteSize = ByteSize::mib(16);
const ROUNDS: u32 = 60;

/// Eight sums side by side, so that the memory and not one chain of additions is what is measured.
fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for chunk in values.chunks_exact(8) {
        sums.iter_mut().zip(chunk).for_each(|(sum, value)| *sum += value);
    }
    sums.iter().sum()
}

fn fill(values: &mut [f32], value: f32) {
    black_box(values).fill(value);
}

fn write_converted(block: &mut Allocation, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    block.write(0, &bytes).expect("it fits");
}

fn read_converted(block: &Allocation) -> Vec<f32> {
    let mut bytes = vec![0; SIZE.bytes() as usize];
    block.read(0, &mut bytes).expect("it fits");
    bytes.chunks_exact(4).map(|four| f32::from_ne_bytes([four[0], four[1], four[2], four[3]])).collect()
}

fn main() {
    let pool = DeviceMemoryPool::new(Arc::new(HostDevice::new(ByteSize::mib(32))), ByteSize::mib(32))
        .expect("a fresh device");
    let mut block = pool.allocate(Request::new(SIZE)).expect("a fresh pool");
    let mut plain = vec![0.0f32; (SIZE.bytes() / 4) as usize];
    // The fastest of all rounds, the ways taking turns: the machine's neighbours then disturb all alike.
    let mut best = [[Duration::MAX; 2]; 3];
    let mut note = |way: usize, what: usize, start: Instant| {
        best[way][what] = best[way][what].min(start.elapsed());
    };
    for round in 0..ROUNDS {
        let value = round as f32;
        let start = Instant::now();
        fill(block.view_mut().expect("memory of the host"), value);
        note(0, 0, start);
        let start = Instant::now();
        let by_view = black_box(sum(block.view().expect("memory of the host")));
        note(0, 1, start);
        let start = Instant::now();
        fill(&mut plain, value);
        note(1, 0, start);
        let start = Instant::now();
        let by_slice = black_box(sum(&plain));
        note(1, 1, start);
        let start = Instant::now();
        write_converted(&mut block, &plain);
        note(2, 0, start);
        let start = Instant::now();
        let by_copy = black_box(sum(&read_converted(&block)));
        note(2, 1, start);
        assert!(by_view == by_slice && by_slice == by_copy);
    }
    println!("16 MiB of f32, fastest of {ROUNDS} rounds, against a plain slice");
    println!("{:<32} {:>10} {:>7} {:>10} {:>7}", "", "fill, ms", "ratio", "sum, ms", "ratio");
    for (name, [fill, sum]) in ["view", "plain slice", "write or read, and convert"].into_iter().zip(best) {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let ratio = |time: Duration, what: usize| time.as_secs_f64() / best[1][what].as_secs_f64();
        println!(
            "{name:<32} {:>10.2} {:>7.2} {:>10.2} {:>7.2}",
            ms(fill),
            ratio(fill, 0),
            ms(sum),
            ratio(sum, 1)
        );
    }
    const VIEWS: u32 = 1_000_000;
    let start = Instant::now();
    for _ in 0..VIEWS {
        black_box(block.view::<f32>().expect("memory of the host"));
    }
    println!("making a view: {:.1} ns", start.elapsed().as_secs_f64() * 1e9 / f64::from(VIEWS));
}
