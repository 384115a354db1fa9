//! A network of two layers that runs in memory of a pool, its activations where a plan puts them: what an engine does
//! with `vramkit-pool` and `vramkit-plan` alone, without `unsafe`.
//!
//! ```text
//! step    0 (input)   1 (first layer)   2 (rectified)   3 (second layer)   4 (read)
//! x       ├───────────────────┤
//! sums                ├───────────────────────┤
//! hidden                                ├───────────────────────┤
//! y                                                     ├───────────────────────┤
//! ```
//!
//! `hidden` lies where `x` was, `y` where `sums` were.

#![forbid(unsafe_code)]

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use vramkit_plan::{AllocationPlan, MemoryPlanner, Model, Schedule, Step, TensorLifetime};
use vramkit_pool::ByteSize;
use vramkit_pool::device::HostDevice;
use vramkit_pool::pool::{Allocation, DeviceMemoryPool, Purpose, Request};

const WIDTHS: [usize; 3] = [512, 1024, 256];

fn bytes(elements: usize) -> ByteSize {
    ByteSize::new((elements * size_of::<f32>()) as u64)
}

/// A matrix of `rows` by `columns`, in memory of the pool: any numbers, the same on every machine.
fn layer(pool: &DeviceMemoryPool, rows: usize, columns: usize) -> Result<Allocation, Box<dyn Error>> {
    let request = Request::new(bytes(rows * columns)).owner(pool.owner("toy", Purpose::Weights));
    let mut weights = pool.allocate(request)?;
    for (i, weight) in weights.view_mut::<f32>()?.iter_mut().enumerate() {
        *weight = (i * 2_654_435_761 % 2001) as f32 / 1000.0 - 1.0;
    }
    Ok(weights)
}

/// Where a tensor is in the arena, in elements.
fn place(plan: &AllocationPlan, id: &str) -> Range<usize> {
    let (tensor, offset) =
        plan.tensors_of("toy").find(|(tensor, _)| &*tensor.id == id).expect("it is planned");
    let first = offset.bytes() as usize / size_of::<f32>();
    first..first + tensor.size.bytes() as usize / size_of::<f32>()
}

fn multiply(weights: &[f32], from: &[f32], into: &mut [f32]) {
    for (row, sum) in weights.chunks_exact(from.len()).zip(into) {
        *sum = row.iter().zip(from).map(|(weight, value)| weight * value).sum();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let [inputs, width, outputs] = WIDTHS;
    let tensors = vec![
        TensorLifetime::new("toy", "x", 0, 2, bytes(inputs)),
        TensorLifetime::new("toy", "sums", 1, 3, bytes(width)),
        TensorLifetime::new("toy", "hidden", 2, 4, bytes(width)),
        TensorLifetime::new("toy", "y", 3, 5, bytes(outputs)),
    ];
    let model = Model { name: "toy".into(), weights: ByteSize::ZERO, start: Step(0), tensors };
    let plan = MemoryPlanner::new().plan(&[model], Schedule::Fixed)?;

    let pool = DeviceMemoryPool::new(Arc::new(HostDevice::new(ByteSize::mib(16))), ByteSize::mib(16))?;
    let (first, second) = (layer(&pool, width, inputs)?, layer(&pool, outputs, width)?);
    let request = Request::new(plan.arena_size).owner(pool.owner("toy", Purpose::Activation));
    let mut memory = pool.allocate(request)?;
    let arena = memory.view_mut::<f32>()?;

    let [x, sums, hidden, y] = ["x", "sums", "hidden", "y"].map(|id| place(&plan, id));
    let input = |i: usize| (i % 7) as f32 / 7.0;
    arena[x.clone()].iter_mut().enumerate().for_each(|(i, value)| *value = input(i));
    let [from, into] = arena.get_disjoint_mut([x, sums.clone()])?;
    multiply(first.view()?, from, into);
    let [from, into] = arena.get_disjoint_mut([sums, hidden.clone()])?;
    from.iter().zip(into).for_each(|(sum, value)| *value = sum.max(0.0));
    let [from, into] = arena.get_disjoint_mut([hidden, y.clone()])?;
    multiply(second.view()?, from, into);

    // The same in vectors of its own.
    let input: Vec<f32> = (0..inputs).map(input).collect();
    let (mut expected_sums, mut expected) = (vec![0.0; width], vec![0.0; outputs]);
    multiply(first.view()?, &input, &mut expected_sums);
    let expected_hidden: Vec<f32> = expected_sums.iter().map(|sum| sum.max(0.0)).collect();
    multiply(second.view()?, &expected_hidden, &mut expected);
    assert_eq!(arena[y], expected, "the plan's places are sound");

    println!(
        "{outputs} outputs as expected; activations in {} instead of {}",
        plan.arena_size,
        plan.sum_of_sizes()
    );
    println!("{} of the pool used, {} of it weights", pool.used(), first.granted() + second.granted());
    drop((first, second, memory));
    assert_eq!(pool.used(), ByteSize::ZERO);
    Ok(())
}
