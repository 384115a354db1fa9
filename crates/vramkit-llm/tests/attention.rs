//! Attention against a plain 64-bit reference, and the promise that a query's bits depend on nothing beside it.

#![allow(clippy::unwrap_used)]

use std::ops::Range;

use half::f16;
use proptest::prelude::*;
use vramkit_llm::attention::{
    Attend, AttentionError, BLOCK, Blocks, CHUNK, CacheKind, CacheLayout, Level, RowsMut, attend,
    attend_chunk, chunks, combine, partial_len, scratch_len, write_token,
};

/// Bytes of slots that no token was written to: half precision and 32-bit floats that are no numbers.
const GARBAGE: u8 = 0xff;
const LAYERS: usize = 2;

struct Random(u64);

impl Random {
    /// About normal, so that weights differ.
    fn next(&mut self) -> f32 {
        let mut uniform = || {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (self.0 >> 40) as f32 / (1 << 24) as f32
        };
        (0..4).map(|_| uniform() - 0.5).sum::<f32>() * 1.7
    }

    fn vector(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }
}

/// One sequence with everything that is known of it.
#[derive(Debug)]
struct Sequence {
    layout: CacheLayout,
    blocks: Vec<Vec<u8>>,
    layer: usize,
    queries: Vec<f32>,
    group: usize,
    tokens: usize,
    position: usize,
    window: Option<usize>,
    soft_cap: Option<f32>,
}

impl Blocks for Sequence {
    fn bytes(&self, block: usize, at: Range<usize>) -> Option<&[u8]> {
        self.blocks.get(block)?.get(at)
    }
}

impl Sequence {
    fn new(case: &Case) -> Self {
        let &Case { kv_heads, group, key, value, kind, tokens, position, window, soft_cap, seed } = case;
        let layout = CacheLayout::new(LAYERS, kv_heads, key, value, kind).unwrap();
        let mut random = Random(seed);
        let end = position + tokens;
        let bytes = layout.block_bytes().bytes() as usize;
        let mut blocks = vec![vec![GARBAGE; bytes]; end.div_ceil(BLOCK)];
        for at in 0..end {
            for layer in 0..LAYERS {
                let (k, v) = (random.vector(kv_heads * key), random.vector(kv_heads * value));
                let bytes = &mut blocks[at / BLOCK][layout.layer_range(layer).unwrap()];
                write_token(Level::best(), &layout, bytes, at % BLOCK, &k, &v).unwrap();
            }
        }
        let queries = random.vector(tokens * kv_heads * group * key);
        Self { layout, blocks, layer: 1, queries, group, tokens, position, window, soft_cap }
    }

    fn width(&self) -> usize {
        self.layout.kv_heads() * self.group * self.layout.value()
    }

    /// Some of the tokens, for one head.
    fn attend(&self, head: usize, tokens: Range<usize>) -> Attend<'_> {
        let stride = self.layout.kv_heads() * self.group * self.layout.key();
        Attend {
            layout: &self.layout,
            blocks: self,
            layer: self.layer,
            head,
            queries: &self.queries[tokens.start * stride + head * self.group * self.layout.key()..],
            stride,
            group: self.group,
            tokens: tokens.len(),
            position: self.position + tokens.start,
            window: self.window,
            scale: 1.0 / (self.layout.key() as f32).sqrt(),
            soft_cap: self.soft_cap,
        }
    }

    /// All tokens in tiles of `tile`.
    fn run(&self, level: Level, tile: usize, by_chunks: bool) -> Vec<f32> {
        let (width, value) = (self.width(), self.layout.value());
        let mut out = vec![f32::NAN; self.tokens * width];
        let mut rest = RowsMut::new(&mut out, self.tokens, width, width).unwrap();
        for head in 0..self.layout.kv_heads() {
            let (mut mine, others) = rest.split_columns(self.group * value).unwrap();
            for from in (0..self.tokens).step_by(tile) {
                let count = tile.min(self.tokens - from);
                let (mut now, later) = mine.split_rows(count).unwrap();
                let one = self.attend(head, from..from + count);
                let mut scratch = vec![f32::NAN; scratch_len(&self.layout, count, self.group).unwrap()];
                if by_chunks {
                    let len = partial_len(&self.layout, count, self.group).unwrap();
                    let mut parts = Vec::new();
                    for chunk in chunks(&one).unwrap() {
                        let mut part = vec![f32::NAN; len];
                        attend_chunk(level, &one, chunk, &mut scratch, &mut part).unwrap();
                        parts.extend(part);
                    }
                    combine(level, &one, &mut parts, &mut now).unwrap();
                } else {
                    attend(level, &one, &mut scratch, &mut now).unwrap();
                }
                mine = later;
            }
            rest = others;
        }
        out
    }

    /// The same in 64 bits, from what the blocks' bytes say.
    fn reference(&self) -> Vec<f64> {
        let (key, value) = (self.layout.key(), self.layout.value());
        let heads = self.layout.kv_heads() * self.group;
        let scale = f64::from(1.0 / (key as f32).sqrt());
        let mut out = Vec::new();
        for token in 0..self.tokens {
            let position = self.position + token;
            let from = self.window.map_or(0, |window| (position + 1).saturating_sub(window));
            for head in 0..heads {
                let query = &self.queries[(token * heads + head) * key..][..key];
                let seen: Vec<(Vec<f64>, Vec<f64>)> = (from..=position)
                    .map(|at| {
                        let block = &self.blocks[at / BLOCK];
                        read(&self.layout, block, self.layer, head / self.group, at % BLOCK)
                    })
                    .collect();
                let score = |k: &[f64]| {
                    let dot: f64 = query.iter().zip(k).map(|(q, k)| f64::from(*q) * k).sum();
                    let score = dot * scale;
                    self.soft_cap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
                };
                let scores: Vec<f64> = seen.iter().map(|(k, _)| score(k)).collect();
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
                let total: f64 = weights.iter().sum();
                for d in 0..value {
                    let sum: f64 = weights.iter().zip(&seen).map(|(weight, (_, v))| weight * v[d]).sum();
                    out.push(sum / total);
                }
            }
        }
        out
    }
}

/// A token's key and value as the layout's documentation says they lie.
fn read(layout: &CacheLayout, block: &[u8], layer: usize, head: usize, slot: usize) -> (Vec<f64>, Vec<f64>) {
    let bytes = &block[layout.head_range(layer, head).unwrap()];
    let (key, value) = (layout.key(), layout.value());
    let half = |at: usize| f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f64();
    let number = |at: usize| f64::from(bytes[at].cast_signed());
    match layout.kind() {
        CacheKind::F32 => {
            let float =
                |at: usize| f64::from(f32::from_le_bytes(bytes[4 * at..4 * at + 4].try_into().unwrap()));
            let values = key * BLOCK;
            (
                (0..key).map(|d| float(d * BLOCK + slot)).collect(),
                (0..value).map(|d| float(values + slot * value + d)).collect(),
            )
        }
        CacheKind::F16 => {
            let values = key * BLOCK;
            (
                (0..key).map(|d| half(2 * (d * BLOCK + slot))).collect(),
                (0..value).map(|d| half(2 * (values + slot * value + d))).collect(),
            )
        }
        CacheKind::Q8_0 => {
            let key_scales = key * BLOCK;
            let values = key_scales + 2 * BLOCK * (key / 32);
            let value_scales = values + value * BLOCK;
            (
                (0..key)
                    .map(|d| number(d * BLOCK + slot) * half(key_scales + 2 * (d / 32 * BLOCK + slot)))
                    .collect(),
                (0..value)
                    .map(|d| {
                        let scale = half(value_scales + 2 * (slot * (value / 32) + d / 32));
                        number(values + slot * value + d) * scale
                    })
                    .collect(),
            )
        }
        other => panic!("{other} is not known here"),
    }
}

#[derive(Clone, Debug)]
struct Case {
    kv_heads: usize,
    group: usize,
    key: usize,
    value: usize,
    kind: CacheKind,
    tokens: usize,
    position: usize,
    window: Option<usize>,
    soft_cap: Option<f32>,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let kind = prop_oneof![
        3 => Just(CacheKind::F16),
        1 => Just(CacheKind::F32),
        1 => Just(CacheKind::Q8_0),
    ];
    let window = prop_oneof![
        2 => Just(None),
        1 => (1..40_usize).prop_map(Some),
        1 => (200..400_usize).prop_map(Some),
    ];
    let position = prop_oneof![Just(0), 0..40_usize, 200..300_usize, 500..560_usize];
    let soft_cap = prop_oneof![2 => Just(None), 1 => Just(Some(5.0_f32))];
    let dims = (1..12_usize, 1..12_usize);
    ((1..3_usize, 1..9_usize, dims, kind), (1..20_usize, position, window, soft_cap, any::<u64>())).prop_map(
        |((kv_heads, group, (key, value), kind), (tokens, position, window, soft_cap, seed))| {
            let unit = if kind == CacheKind::Q8_0 { 32 } else { 8 };
            let (key, value) = (key * unit, value * unit);
            Case { kv_heads, group, key, value, kind, tokens, position, window, soft_cap, seed }
        },
    )
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// 1e-5 in absolute terms, of values about 1: sums of some hundred products in 32 bits.
    #[test]
    fn it_is_the_reference(case in case()) {
        let sequence = Sequence::new(&case);
        let got = sequence.run(Level::best(), 8, false);
        for (at, (got, want)) in got.iter().zip(sequence.reference()).enumerate() {
            prop_assert!((f64::from(*got) - want).abs() < 1e-5, "{at}: {got} instead of {want}");
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_tile(case in case(), tile in 2..20_usize) {
        let sequence = Sequence::new(&case);
        let alone = bits(&sequence.run(Level::best(), 1, false));
        prop_assert_eq!(&alone, &bits(&sequence.run(Level::best(), tile, false)));
        prop_assert_eq!(&alone, &bits(&sequence.run(Level::best(), 1, true)));
        prop_assert_eq!(&alone, &bits(&sequence.run(Level::best(), tile, true)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn bits_do_not_depend_on_the_level(case in case()) {
        let sequence = Sequence::new(&Case { tokens: case.tokens.min(6), ..case });
        let best = bits(&sequence.run(Level::best(), 4, false));
        for level in Level::available() {
            prop_assert_eq!(&best, &bits(&sequence.run(level, 4, false)), "{:?}", level);
        }
    }
}

/// A plain case to change.
fn plain() -> Case {
    Case {
        kv_heads: 2,
        group: 3,
        key: 64,
        value: 32,
        kind: CacheKind::F16,
        tokens: 3,
        position: 40,
        window: None,
        soft_cap: None,
        seed: 7,
    }
}

#[test]
fn every_group_and_chunk_boundary_is_the_reference() {
    for group in 1..=8 {
        for position in [0, BLOCK - 1, CHUNK - 2, CHUNK - 1, CHUNK, 2 * CHUNK - 1] {
            for window in [None, Some(1), Some(BLOCK), Some(CHUNK)] {
                let sequence = Sequence::new(&Case { group, position, window, ..plain() });
                let got = sequence.run(Level::best(), 3, false);
                for (got, want) in got.iter().zip(sequence.reference()) {
                    let far = (f64::from(*got) - want).abs();
                    assert!(far < 1e-5, "{group} {position} {window:?}: {got} instead of {want}");
                }
            }
        }
    }
}

#[test]
fn sizes_are_exact() {
    let size = |kind| {
        let layout = CacheLayout::new(30, 3, 64, 96, kind).unwrap();
        (layout.block_bytes().bytes(), layout.layer_bytes().bytes(), layout.bytes_per_token().bytes())
    };
    // 30 layers of 3 heads of 160 elements.
    let elements = 30 * 3 * 160;
    assert_eq!(size(CacheKind::F32), (64 * elements, 64 * 480, 4 * elements));
    assert_eq!(size(CacheKind::F16), (32 * elements, 32 * 480, 2 * elements));
    assert_eq!(size(CacheKind::Q8_0), (17 * elements, 17 * 480, elements / 32 * 34));
}

#[test]
fn parts_of_a_block_lie_one_behind_another() {
    let layout = CacheLayout::new(3, 2, 64, 32, CacheKind::Q8_0).unwrap();
    let mut end = 0;
    for layer in 0..3 {
        assert_eq!(layout.layer_range(layer).unwrap().start, end);
        for head in 0..2 {
            let range = layout.head_range(layer, head).unwrap();
            assert_eq!(range.start, end);
            end = range.end;
        }
    }
    assert_eq!(end as u64, layout.block_bytes().bytes());
    assert_eq!((layout.layer_range(3), layout.head_range(0, 2)), (None, None));
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let refused =
        |layers, heads, key, value, kind| CacheLayout::new(layers, heads, key, value, kind).unwrap_err();
    assert_eq!(
        refused(1, 1, 64, 48, CacheKind::Q8_0).to_string(),
        "a value head of 48 cannot be kept as q8_0, which needs a multiple of 32; choose another cache type"
    );
    assert!(matches!(refused(1, 1, 60, 64, CacheKind::F16), AttentionError::HeadDim { which: "key", .. }));
    assert!(matches!(refused(0, 1, 64, 64, CacheKind::F16), AttentionError::Zero { .. }));
    assert!(matches!(refused(1, 1, 0, 64, CacheKind::F16), AttentionError::Zero { .. }));
    let huge = usize::MAX / 64 * 8;
    assert!(matches!(refused(1, 1, huge & !31, 64, CacheKind::F32), AttentionError::TooLarge { .. }));
    assert!(matches!(refused(1 << 40, 1 << 40, 64, 64, CacheKind::Q8_0), AttentionError::TooLarge { .. }));
}

#[test]
fn what_is_written_is_what_was_given() {
    for (kind, error) in
        [(CacheKind::F32, 0.0), (CacheKind::F16, 1.0 / 2048.0), (CacheKind::Q8_0, 0.51 / 127.0)]
    {
        for level in Level::available() {
            let layout = CacheLayout::new(2, 2, 96, 32, kind).unwrap();
            let mut block = vec![0; layout.block_bytes().bytes() as usize];
            let mut random = Random(3);
            let mut given = Vec::new();
            for slot in 0..BLOCK {
                for layer in 0..2 {
                    let (k, v) = (random.vector(192), random.vector(64));
                    let bytes = &mut block[layout.layer_range(layer).unwrap()];
                    write_token(level, &layout, bytes, slot, &k, &v).unwrap();
                    given.push((slot, layer, k, v));
                }
            }
            for (slot, layer, k, v) in &given {
                for head in 0..2 {
                    let (got_k, got_v) = read(&layout, &block, *layer, head, *slot);
                    let want = k[head * 96..][..96].iter().chain(&v[head * 32..][..32]);
                    for (got, want) in got_k.iter().chain(&got_v).zip(want) {
                        let size = if kind == CacheKind::Q8_0 { 3.4 } else { f64::from(want.abs()) };
                        assert!((got - f64::from(*want)).abs() <= error * size, "{kind}: {got} {want}");
                    }
                }
            }
        }
    }
}

/// A number that a cache's type cannot hold must not come out as another.
#[test]
fn what_cannot_be_kept_is_seen() {
    for (kind, bad) in [
        (CacheKind::F16, 1e6),
        (CacheKind::F16, f32::NAN),
        (CacheKind::Q8_0, 1e8),
        (CacheKind::Q8_0, f32::NEG_INFINITY),
        (CacheKind::Q8_0, f32::NAN),
    ] {
        let layout = CacheLayout::new(1, 1, 32, 32, kind).unwrap();
        let mut block = vec![0; layout.block_bytes().bytes() as usize];
        let mut v = vec![1.0; 32];
        v[5] = bad;
        write_token(Level::best(), &layout, &mut block, 0, &[1.0; 32], &v).unwrap();
        let (_, got) = read(&layout, &block, 0, 0, 0);
        assert!(!got[5].is_finite(), "{kind} made {} of {bad}", got[5]);
    }
}

/// A query that is no number makes its own results none, and no other's.
#[test]
fn a_nan_stays_with_its_query() {
    let mut sequence = Sequence::new(&plain());
    sequence.queries[64] = f32::NAN;
    let got = sequence.run(Level::best(), 3, false);
    for (at, x) in got.iter().enumerate() {
        assert_eq!(x.is_nan(), (32..64).contains(&at), "{at}: {x}");
    }
}

#[test]
fn calls_that_do_not_agree_are_refused() {
    let sequence = Sequence::new(&plain());
    let good = sequence.attend(0, 0..3);
    let mut scratch = vec![0.0; scratch_len(&sequence.layout, 3, 3).unwrap()];
    let mut data = vec![0.0; 3 * 96];
    let mut refused = |one: &Attend<'_>, scratch: &mut [f32], width: usize| {
        let mut out = RowsMut::new(&mut data, 3, width, width).unwrap();
        attend(Level::best(), one, scratch, &mut out).unwrap_err()
    };
    let short = scratch.len() / 2;
    assert!(matches!(
        refused(&good, &mut scratch[..short], 96),
        AttentionError::Length { what: "the scratch", .. }
    ));
    assert!(matches!(refused(&good, &mut scratch, 64), AttentionError::Length { .. }));
    for wrong in
        [Attend { window: Some(0), ..good }, Attend { group: 0, ..good }, Attend { tokens: 0, ..good }]
    {
        assert!(matches!(refused(&wrong, &mut scratch, 96), AttentionError::Zero { .. }));
    }
    for wrong in [Attend { layer: LAYERS, ..good }, Attend { head: 2, ..good }] {
        assert!(matches!(refused(&wrong, &mut scratch, 96), AttentionError::Index { .. }));
    }
    for wrong in [Attend { scale: f32::NAN, ..good }, Attend { soft_cap: Some(0.0), ..good }] {
        assert!(matches!(refused(&wrong, &mut scratch, 96), AttentionError::Number { .. }));
    }
    let wrong = Attend { queries: &good.queries[..100], ..good };
    assert!(matches!(refused(&wrong, &mut scratch, 96), AttentionError::Length { what: "the queries", .. }));
    let wrong = Attend { position: usize::MAX - 8, ..good };
    assert!(matches!(refused(&wrong, &mut scratch, 96), AttentionError::TooLarge { .. }));
    let wrong = Attend { position: 62, ..good };
    assert_eq!(refused(&wrong, &mut scratch, 96), AttentionError::Block { index: 3 });
    assert!(matches!(scratch_len(&sequence.layout, usize::MAX / 2, 4), Err(AttentionError::TooLarge { .. })));
    assert!(matches!(
        attend_chunk(
            Level::best(),
            &good,
            1,
            &mut scratch,
            &mut vec![0.0; partial_len(&sequence.layout, 3, 3).unwrap()]
        ),
        Err(AttentionError::Index { what: "chunk", .. })
    ));
    let mut layer = vec![0; sequence.layout.layer_bytes().bytes() as usize];
    let write = |layer: &mut [u8], slot, k: &[f32]| {
        write_token(Level::best(), &sequence.layout, layer, slot, k, &[0.0; 64]).unwrap_err()
    };
    assert!(matches!(write(&mut layer, 16, &[0.0; 128]), AttentionError::Index { what: "slot", .. }));
    assert!(matches!(write(&mut layer, 0, &[0.0; 127]), AttentionError::Length { .. }));
    assert!(matches!(write(&mut layer[1..], 0, &[0.0; 128]), AttentionError::Length { .. }));
}

#[test]
fn columns_are_written_from_two_threads() {
    let mut data = vec![0.0; 7 * 10];
    let (mut left, mut right) = RowsMut::new(&mut data, 7, 9, 10).unwrap().split_columns(4).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..7).for_each(|row| left.row(row).unwrap().fill(1.0)));
        scope.spawn(|| (0..7).for_each(|row| right.row(row).unwrap().fill(2.0)));
    });
    for row in data.chunks(10) {
        assert_eq!(row, [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.0]);
    }
    assert!(RowsMut::new(&mut data, 7, 11, 10).is_err());
    assert!(RowsMut::new(&mut data, 8, 1, 10).is_err());
    let rows = RowsMut::new(&mut data, 7, 10, 10).unwrap();
    assert!(rows.split_rows(8).is_none());
}
