//! What the kernels give: the file's values, sums near the exact ones, the same bits everywhere.

use proptest::prelude::*;
use vramkit_models::gguf::TensorType;

use super::*;

/// Types with a kernel.
const TYPES: [&str; 11] =
    ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_K", "q5_K", "q6_K"];

/// Bytes that begin at a multiple of 64.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> Self {
        // Not zeros, so that what isn't written is seen.
        let bytes = vec![0xa5; len + 64];
        let start = bytes.as_ptr().align_offset(64);
        Self { bytes, start, len }
    }

    fn get(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.len]
    }
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Between −1 and 1.
    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

fn kind(name: &str) -> TensorType {
    TensorType::named(name).unwrap()
}

/// Where the f16 scales of a type's block are.
fn scales(name: &str) -> &'static [usize] {
    match name {
        "q8_0" | "q4_0" | "q5_0" => &[0],
        "q4_1" | "q5_1" | "q4_K" | "q5_K" => &[0, 2],
        "q6_K" => &[208],
        _ => &[],
    }
}

/// A matrix as a file has it: any numbers, scales of both signs.
fn matrix(name: &str, rows: usize, columns: usize, random: &mut Random) -> Vec<u8> {
    let kind = kind(name);
    let mut bytes = Vec::new();
    for _ in 0..rows * columns / kind.block_elements() as usize {
        let at = bytes.len();
        match name {
            "f32" => bytes.extend(random.float().to_le_bytes()),
            "f16" => bytes.extend(half::f16::from_f32(random.float()).to_le_bytes()),
            "bf16" => bytes.extend(half::bf16::from_f32(random.float()).to_le_bytes()),
            _ => bytes.extend((0..kind.block_bytes()).map(|_| random.next() as u8)),
        }
        for scale in scales(name) {
            bytes[at + scale..][..2]
                .copy_from_slice(&half::f16::from_f32(random.float() * 0.1).to_le_bytes());
        }
    }
    bytes
}

/// A row's weights straight from the file's bytes, by the definitions in ggml (`ggml-quants.c`), number by number.
fn reference(name: &str, row: &[u8]) -> Vec<f32> {
    let kind = kind(name);
    let half = |block: &[u8], at: usize| half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
    let mut weights = Vec::new();
    for block in row.chunks(kind.block_bytes() as usize) {
        for i in 0..kind.block_elements() as usize {
            let nibble = |at: usize| f32::from((block[at + i % 16] >> (i / 16 * 4)) & 15);
            let fifth = |at: usize| f32::from((block[at + i / 8] >> (i % 8)) & 1) * 16.0;
            weights.push(match name {
                "f32" => f32::from_le_bytes(block.try_into().unwrap()),
                "f16" => half(block, 0),
                "bf16" => half::bf16::from_le_bytes([block[0], block[1]]).to_f32(),
                "q8_0" => half(block, 0) * f32::from(block[2 + i] as i8),
                "q4_0" => half(block, 0) * (nibble(2) - 8.0),
                "q4_1" => half(block, 0) * nibble(4) + half(block, 2),
                "q5_0" => half(block, 0) * (nibble(6) + fifth(2) - 16.0),
                "q5_1" => half(block, 0) * (nibble(8) + fifth(4)) + half(block, 2),
                "q4_K" | "q5_K" => {
                    let (b, l) = (i / 32, i % 32);
                    let q = &block[4..16];
                    let (scale, minimum) = if b < 4 {
                        (q[b] & 63, q[b + 4] & 63)
                    } else {
                        ((q[b + 4] & 15) | ((q[b - 4] >> 6) << 4), (q[b + 4] >> 4) | ((q[b] >> 6) << 4))
                    };
                    let low = if name == "q4_K" { 16 } else { 48 };
                    let mut number = (block[low + b / 2 * 32 + l] >> (b % 2 * 4)) & 15;
                    if name == "q5_K" {
                        number |= ((block[16 + l] >> b) & 1) << 4;
                    }
                    half(block, 0) * f32::from(scale) * f32::from(number)
                        - half(block, 2) * f32::from(minimum)
                }
                _ => {
                    let (n, b, l) = (i / 128, i % 128 / 32, i % 32);
                    let low = (block[n * 64 + b % 2 * 32 + l] >> (b / 2 * 4)) & 15;
                    let number = low | (((block[128 + n * 32 + l] >> (2 * b)) & 3) << 4);
                    half(block, 208) * f32::from(block[192 + i / 16] as i8) * (f32::from(number) - 32.0)
                }
            });
        }
    }
    weights
}

/// Columns that a type may have, in about that number.
fn columns(name: &str, about: usize) -> usize {
    about.next_multiple_of(kind(name).block_elements() as usize)
}

#[test]
fn packed_rows_are_the_files_values() {
    let threads = Threads::new(2);
    for (at, name) in TYPES.into_iter().enumerate() {
        for (rows, about) in [(1, 1), (16, 64), (17, 300), (100, 512)] {
            let columns = columns(name, about);
            let source = matrix(name, rows, columns, &mut Random(at as u64));
            let mut packed = Aligned::new(packed_bytes(kind(name), rows, columns).unwrap());
            pack(kind(name), rows, columns, &source, packed.get(), &threads).unwrap();
            let packed = Packed::new(kind(name), rows, columns, packed.get()).unwrap();
            for (row, source) in source.chunks(source.len() / rows).enumerate() {
                let mut got = vec![0.0; columns];
                packed.row(row, &mut got);
                assert_eq!(got, reference(name, source), "{name}, row {row} of {rows} × {columns}");
            }
        }
    }
}

/// One matrix times some tokens, at one level.
fn product(
    name: &str,
    packed: &[u8],
    rows: usize,
    x: &[f32],
    tokens: usize,
    level: Level,
    threads: &Threads,
) -> Vec<f32> {
    let columns = x.len() / tokens;
    let mut records = vec![0; activation_bytes(tokens, columns)];
    let x = quantise(x, tokens, columns, &mut records, threads);
    // Rows further apart than they are long.
    let stride = rows + 3;
    let mut out = vec![f32::NAN; tokens * stride];
    let weights = Packed::new(kind(name), rows, columns, packed).unwrap();
    multiply_with(level, threads, &x, &mut [Product { weights, out: &mut out, stride }]);
    assert!(out.chunks(stride).all(|out| out[rows..].iter().all(|x| x.is_nan())), "wrote beside the rows");
    out.chunks(stride).flat_map(|out| out[..rows].to_vec()).collect()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// The same bits at every level, for each token alone and all together, with one thread and with many.
    #[test]
    fn results_are_the_same_to_the_bit(
        at in 0..TYPES.len(),
        rows in 1_usize..70,
        about in 1_usize..1300,
        tokens in 1_usize..60,
        threads in 1_usize..4,
        seed: u64,
        zeros: bool,
    ) {
        let name = TYPES[at];
        let columns = columns(name, about);
        let mut random = Random(seed);
        let source = matrix(name, rows, columns, &mut random);
        let mut packed = Aligned::new(packed_bytes(kind(name), rows, columns).unwrap());
        let one = Threads::new(1);
        let many = Threads::new(threads);
        pack(kind(name), rows, columns, &source, packed.get(), &many).unwrap();
        let packed = &*packed.get();
        let mut x: Vec<f32> = (0..tokens * columns).map(|_| random.float()).collect();
        if zeros {
            x.iter_mut().step_by(3).for_each(|x| *x = 0.0);
            x[..columns.min(32)].fill(0.0);
        }
        let expected = product(name, packed, rows, &x, tokens, Level::Scalar, &one);
        for level in Level::ALL {
            let got = product(name, packed, rows, &x, tokens, level, &many);
            prop_assert_eq!(bits(&got), bits(&expected), "{} at {:?}, {} tokens", name, level, tokens);
            for (token, x) in x.chunks(columns).enumerate().step_by(7) {
                let got = product(name, packed, rows, x, 1, level, &one);
                prop_assert_eq!(bits(&got), bits(&expected[token * rows..][..rows]), "{} at {:?}, alone", name, level);
            }
        }
        // Near the exact sums: what quantised activations may miss, each up to half a step of its block.
        for (token, x) in x.chunks(columns).enumerate() {
            for (row, source) in source.chunks(source.len() / rows).enumerate() {
                let weights = reference(name, source);
                let exact: f64 = weights.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                let size: f64 = weights.iter().zip(x).map(|(w, x)| f64::from((w * x).abs())).sum();
                let missed: f64 = match kind(name).block_elements() {
                    1 => 0.0,
                    _ => weights.chunks(32).zip(x.chunks(32)).map(|(w, x)| {
                        let step = x.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0;
                        w.iter().map(|w| f64::from(w.abs() * step * 0.501)).sum::<f64>()
                    }).sum(),
                };
                let got = f64::from(expected[token * rows + row]);
                prop_assert!((got - exact).abs() <= missed + 1e-5 * size, "{}: {} for {}", name, got, exact);
            }
        }
    }
}

#[test]
fn every_number_of_the_widest_range_is_multiplied_exactly() {
    // The largest products of bytes, of each sign: what saturates in 16 bits would show.
    let threads = Threads::new(1);
    for name in TYPES {
        let columns = columns(name, 256);
        for byte in [0x00, 0x7f, 0x80, 0x81, 0xff] {
            let mut source = vec![byte; kind(name).row_bytes(columns as u64).unwrap() as usize];
            if scales(name).is_empty() {
                continue;
            }
            for block in source.chunks_mut(kind(name).block_bytes() as usize) {
                for scale in scales(name) {
                    block[*scale..][..2].copy_from_slice(&half::f16::ONE.to_le_bytes());
                }
            }
            let mut packed = Aligned::new(packed_bytes(kind(name), 1, columns).unwrap());
            pack(kind(name), 1, columns, &source, packed.get(), &threads).unwrap();
            for x in [1.0, -1.0] {
                let x: Vec<f32> = vec![127.0 * x; columns];
                let exact: f64 =
                    reference(name, &source).iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                for level in Level::ALL {
                    let got = product(name, packed.get(), 1, &x, 1, level, &threads);
                    let size = exact.abs().max(1.0);
                    assert!(
                        (f64::from(got[0]) - exact).abs() < 1e-6 * size,
                        "{name} {byte} {level:?}: {} for {exact}",
                        got[0]
                    );
                }
            }
        }
    }
}

#[test]
fn several_matrices_of_one_input_are_as_each_alone() {
    let threads = Threads::new(2);
    let mut random = Random(5);
    let columns = 512;
    let x: Vec<f32> = (0..5 * columns).map(|_| random.float()).collect();
    let shapes = [("q4_0", 48), ("f16", 7), ("q6_K", 33), ("q4_1", 1)];
    let mut packed: Vec<Aligned> = shapes
        .iter()
        .map(|(name, rows)| {
            let source = matrix(name, *rows, columns, &mut random);
            let mut packed = Aligned::new(packed_bytes(kind(name), *rows, columns).unwrap());
            pack(kind(name), *rows, columns, &source, packed.get(), &threads).unwrap();
            packed
        })
        .collect();
    let mut records = vec![0; activation_bytes(5, columns)];
    let quantised = quantise(&x, 5, columns, &mut records, &threads);
    let mut outs: Vec<Vec<f32>> = shapes.iter().map(|(_, rows)| vec![0.0; 5 * rows]).collect();
    let mut products: Vec<Product> = shapes
        .iter()
        .zip(&mut packed)
        .zip(&mut outs)
        .map(|(((name, rows), packed), out)| Product {
            weights: Packed::new(kind(name), *rows, columns, packed.get()).unwrap(),
            out,
            stride: *rows,
        })
        .collect();
    multiply(&threads, &quantised, &mut products);
    for (((name, rows), packed), out) in shapes.iter().zip(&mut packed).zip(&outs) {
        let alone = product(name, packed.get(), *rows, &x, 5, Level::Scalar, &threads);
        assert_eq!(bits(out), bits(&alone), "{name}");
    }
}

#[test]
fn weights_that_are_not_finite_are_refused_by_row_and_column() {
    let threads = Threads::new(2);
    for name in TYPES {
        let columns = columns(name, 512);
        let kind = kind(name);
        let good = matrix(name, 40, columns, &mut Random(3));
        let block_bytes = kind.block_bytes() as usize;
        let row_bytes = good.len() / 40;
        for scale in scales(name).iter().chain(scales(name).is_empty().then_some(&0)) {
            let mut bad = good.clone();
            for row in [21, 39] {
                let at = row * row_bytes + block_bytes + scale;
                let value: &[u8] = match name {
                    "f32" => &[0, 0, 0x80, 0xff],
                    "bf16" => &[0x80, 0x7f],
                    _ => &[0x01, 0xfe],
                };
                bad[at..][..value.len()].copy_from_slice(value);
            }
            let mut packed = Aligned::new(packed_bytes(kind, 40, columns).unwrap());
            let error = pack(kind, 40, columns, &bad, packed.get(), &threads).unwrap_err();
            let block = kind.block_elements() as usize;
            assert!(
                matches!(error, PackError::NotFinite { row: 21, column, .. } if column == block),
                "{name}: {error}"
            );
        }
    }
}

#[test]
fn shapes_and_memory_that_do_not_fit_are_refused() {
    let threads = Threads::new(1);
    let unsupported = packed_bytes(kind("iq4_xs"), 16, 256).unwrap_err();
    assert!(unsupported.to_string().contains("iq4_xs"), "{unsupported}");
    assert!(matches!(
        packed_bytes(kind("q4_0"), 4, 48),
        Err(PackError::Columns { columns: 48, block: 32, .. })
    ));
    assert!(matches!(packed_bytes(kind("q4_K"), 4, 288), Err(PackError::Columns { block: 256, .. })));
    assert!(matches!(packed_bytes(kind("f32"), 0, 32), Err(PackError::Empty { .. })));
    assert!(matches!(packed_bytes(kind("f32"), usize::MAX / 8, 32), Err(PackError::TooLarge { .. })));
    let mut packed = Aligned::new(packed_bytes(kind("q8_0"), 4, 32).unwrap() + 1);
    let source = matrix("q8_0", 4, 32, &mut Random(1));
    let len = packed.len - 1;
    let mut pack_to = |source: &[u8], range: std::ops::Range<usize>| {
        pack(kind("q8_0"), 4, 32, source, &mut packed.get()[range], &threads)
    };
    assert!(matches!(pack_to(&source, 1..len + 1), Err(PackError::Misaligned { .. })));
    assert!(matches!(pack_to(&source, 0..len - 1), Err(PackError::Size { .. })));
    assert!(matches!(pack_to(&source[1..], 0..len), Err(PackError::Size { needed: 136, given: 135, .. })));
    assert_eq!(pack_to(&source, 0..len), Ok(()));
    assert!(matches!(Packed::new(kind("q8_0"), 5, 64, packed.get()), Err(PackError::Size { .. })));
}

#[test]
fn activations_that_are_no_numbers_make_results_that_are_none() {
    let threads = Threads::new(1);
    for name in TYPES {
        let columns = columns(name, 64);
        let source = matrix(name, 3, columns, &mut Random(8));
        let mut packed = Aligned::new(packed_bytes(kind(name), 3, columns).unwrap());
        pack(kind(name), 3, columns, &source, packed.get(), &threads).unwrap();
        let mut x = vec![1.0; 2 * columns];
        x[40] = f32::NAN;
        for level in Level::ALL {
            let got = product(name, packed.get(), 3, &x, 2, level, &threads);
            assert!(got[..3].iter().all(|x| x.is_nan()), "{name} {level:?}");
            assert!(got[3..].iter().all(|x| x.is_finite()), "{name} {level:?}");
        }
    }
}
