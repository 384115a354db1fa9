//! vLLM's cache: layers in groups, groups in blocks of one size.
//!
//! In: what each layer keeps, and the [`Settings`]. Out: [`Layout`]: how large a block is, and how many a sequence needs.
//! Never here: how much memory there is.
//!
//! Layers of one kind are one group. A model with several kinds (full attention, windows, recurrent state) has groups of the
//! same number of layers, so that a block of any group is as large as one of any other and all come from one pool; what
//! that takes (longer blocks, padded states, groups that are not full) is vLLM's own (`v1/core/kv_cache_utils.py`,
//! `v1/kv_cache_interface.py`).

use vramkit_models::shape::{Cache, Heads, Layer, ModelShape};

use super::settings::{COMPUTE_BYTES, Settings};

/// For how long a layer keeps what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Span {
    /// Every token.
    Full,
    /// So many tokens back.
    Window(u64),
    /// So many tokens of another input.
    Fixed(u64),
    /// One state, whatever the length.
    State,
}

/// What one layer keeps, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Spec {
    span: Span,
    /// Tokens of a page.
    tokens: u64,
    /// Bytes of a page.
    page: u64,
}

/// Layers that share a table of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Group {
    span: Span,
    tokens: u64,
}

/// How the cache is laid out on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    groups: Vec<Group>,
    /// Bytes of a block, over the layers that share it.
    pub block_bytes: u64,
    /// Bytes of cache that one more token takes over all layers, windows not yet full; without padding.
    pub bytes_per_token: u64,
}

/// Tokens of a page of attention, and of latent attention (`FlashMLA`).
const TOKENS: u64 = 16;
const LATENT_TOKENS: u64 = 64;

impl Layout {
    /// Lays the cache out; the error says why vLLM does not.
    pub(super) fn of(shape: &ModelShape, settings: &Settings) -> Result<Self, String> {
        let drafts = if settings.draft_tokens > 0 { shape.draft_layers.as_slice() } else { &[] };
        // vLLM keeps chunked attention (Llama 4) as if it were full.
        let chunks_as_full = shape.architecture.to_lowercase().starts_with("llama4");
        let layers = shape.layers.iter().chain(drafts);
        if layers.clone().any(|layer| matches!(layer.cache, Cache::Compressed { .. })) {
            return Err("how vLLM lays out a cache of compressed entries is not counted".into());
        }
        let mut specs: Vec<Spec> =
            layers.clone().flat_map(|layer| attention(layer, settings, chunks_as_full)).collect();
        let states: Vec<u64> =
            layers.map(|layer| state_bytes(layer, settings)).filter(|&bytes| bytes > 0).collect();
        let bytes_per_token = specs.iter().filter(|spec| !matches!(spec.span, Span::Fixed(_)));
        let bytes_per_token = sum(bytes_per_token.map(|spec| spec.page / spec.tokens));
        add_states(&mut specs, &states, settings);
        let (groups, block_bytes) = groups(&mut specs, settings)?;
        Ok(Self { groups, block_bytes, bytes_per_token })
    }

    /// Blocks that a sequence of so many tokens needs at most.
    pub(super) fn blocks(&self, context: u64, settings: &Settings) -> u64 {
        sum(self.groups.iter().map(|group| group.blocks(context, settings)))
    }

    /// Of those, the blocks that hold recurrent state.
    pub(super) fn state_blocks(&self, settings: &Settings) -> u64 {
        let states = self.groups.iter().filter(|group| group.span == Span::State);
        sum(states.map(|group| group.blocks(1, settings)))
    }

    /// Groups of layers; 0 where nothing is kept.
    pub(super) fn group_count(&self) -> u64 {
        self.groups.len() as u64
    }

    /// Tokens of the shortest page of attention; of a model without any, the sequence's.
    pub(super) fn block_tokens(&self, settings: &Settings) -> u64 {
        let attention = self.groups.iter().filter(|group| group.span != Span::State);
        attention.map(|group| group.tokens).min().unwrap_or(settings.context)
    }
}

impl Group {
    fn blocks(self, context: u64, settings: &Settings) -> u64 {
        match self.span {
            Span::Full => context.div_ceil(self.tokens),
            Span::Window(window) => {
                let steps = settings.release.steps_in_flight.saturating_mul(settings.step_tokens);
                // One more, since a window need not begin where a block does.
                window
                    .saturating_sub(1)
                    .saturating_add(steps)
                    .min(context)
                    .div_ceil(self.tokens)
                    .saturating_add(1)
            }
            Span::Fixed(tokens) => tokens.div_ceil(self.tokens),
            Span::State => settings.release.state_blocks.saturating_add(settings.draft_tokens),
        }
    }
}

/// What a layer keeps of tokens; an indexer's keys are a spec of their own.
fn attention(layer: &Layer, settings: &Settings, chunks_as_full: bool) -> Vec<Spec> {
    let heads = |heads: Heads, span| {
        let split = heads.kv_heads.div_ceil(settings.devices);
        let numbers = split.saturating_mul(heads.key.saturating_add(heads.value));
        let page = TOKENS.saturating_mul(numbers).saturating_mul(settings.cache_bytes);
        Spec { span, tokens: TOKENS, page }
    };
    let spec = match layer.cache {
        Cache::Full(kept) => heads(kept, Span::Full),
        Cache::Window { heads: kept, .. } if chunks_as_full => heads(kept, Span::Full),
        Cache::Window { heads: kept, tokens } => heads(kept, Span::Window(tokens)),
        Cache::Cross { heads: kept, tokens } => heads(kept, Span::Fixed(tokens)),
        Cache::Latent { latent, rope, indexer } => return latent_specs(latent, rope, indexer, settings),
        _ => return Vec::new(),
    };
    Vec::from_iter((spec.page > 0).then_some(spec))
}

/// A latent vector, on every device whole. With an indexer vLLM keeps it in a form of its own (`fp8_ds_mla`): the vector in 8
/// bits with a scale for each 128, positions in 16; and the indexer's key likewise.
fn latent_specs(latent: u64, rope: u64, indexer: u64, settings: &Settings) -> Vec<Spec> {
    let scaled = |numbers: u64| numbers.saturating_add(numbers.div_ceil(128).saturating_mul(4));
    let bytes = if indexer > 0 {
        vec![scaled(latent).saturating_add(rope.saturating_mul(COMPUTE_BYTES)), scaled(indexer)]
    } else {
        vec![latent.saturating_add(rope).saturating_mul(settings.cache_bytes)]
    };
    let spec = |bytes: u64| Spec {
        span: Span::Full,
        tokens: LATENT_TOKENS,
        page: LATENT_TOKENS.saturating_mul(bytes),
    };
    bytes.into_iter().filter(|&bytes| bytes > 0).map(spec).collect()
}

/// Bytes of a layer's recurrent state on one device. The convolution's inputs are in the model's type; drafting keeps one more
/// for each drafted token beside the usual three.
fn state_bytes(layer: &Layer, settings: &Settings) -> u64 {
    let inputs = layer.state.convolution.div_ceil(settings.devices);
    let inputs = inputs.saturating_add((inputs / 3).saturating_mul(settings.draft_tokens));
    let recurrent = layer.state.recurrent.div_ceil(settings.devices);
    inputs.saturating_mul(COMPUTE_BYTES).saturating_add(recurrent.saturating_mul(settings.state_bytes))
}

/// States get pages of attention: its blocks are made as long as a state is large, and the state is padded to the block.
fn add_states(specs: &mut Vec<Spec>, states: &[u64], settings: &Settings) {
    let Some(&largest) = states.iter().max() else { return };
    let widest = specs.iter().map(|spec| (spec.page / spec.tokens, spec.tokens)).max();
    let Some((token, step)) = widest.filter(|&(token, _)| token > 0) else {
        let spec = |&page| Spec { span: Span::State, tokens: settings.context, page };
        specs.extend(states.iter().map(spec));
        return;
    };
    let longer = largest.div_ceil(token.saturating_mul(step)).saturating_mul(step);
    for spec in specs.iter_mut().filter(|spec| spec.tokens < longer) {
        spec.page = (spec.page / spec.tokens).saturating_mul(longer);
        spec.tokens = longer;
    }
    let page = specs.iter().map(|spec| spec.page).max().unwrap_or(largest);
    specs.extend(states.iter().map(|_| Spec { span: Span::State, tokens: longer, page }));
}

/// Groups of layers, and the bytes of a block.
fn groups(specs: &mut [Spec], settings: &Settings) -> Result<(Vec<Group>, u64), String> {
    let Some(&first) = specs.first() else { return Ok((Vec::new(), 0)) };
    if specs.iter().all(|spec| (spec.span, spec.tokens) == (first.span, first.tokens)) {
        let group = Group { span: first.span, tokens: first.tokens };
        return Ok((vec![group], sum(specs.iter().map(|spec| spec.page))));
    }
    let page = unify_pages(specs, settings)?;
    specs.sort_unstable();
    let kinds: Vec<&[Spec]> = specs.chunk_by(|a, b| a == b).collect();
    let least = kinds.iter().map(|kind| kind.len()).min().unwrap_or(1);
    let most = kinds.iter().map(|kind| kind.len()).max().unwrap_or(1);
    let even = settings.release.even_groups && most.saturating_mul(2) < least.saturating_mul(3);
    let size = if even { most } else { least };
    let of_kind = |kind: &&[Spec]| {
        let group = Group { span: kind[0].span, tokens: kind[0].tokens };
        std::iter::repeat_n(group, kind.len().div_ceil(size))
    };
    Ok((kinds.iter().flat_map(of_kind).collect(), page.saturating_mul(size as u64)))
}

/// Makes the smaller pages as large as the largest, by longer blocks.
fn unify_pages(specs: &mut [Spec], settings: &Settings) -> Result<u64, String> {
    let largest = specs.iter().map(|spec| spec.page).max().unwrap_or(0);
    for spec in specs.iter_mut().filter(|spec| spec.page != largest) {
        let small = spec.page;
        if !largest.is_multiple_of(small) {
            return Err(format!(
                "vLLM gives layers of several kinds pages of one size, and {largest} bytes are no multiple of {small}"
            ));
        }
        if !settings.release.unifies_pages {
            return Err(format!(
                "vLLM {} wants pages of one size and this model has {largest} and {small} bytes; from 0.16 it is loaded",
                settings.release.name
            ));
        }
        spec.tokens = spec.tokens.saturating_mul(largest / small);
        spec.page = largest;
    }
    Ok(largest)
}

fn sum(bytes: impl Iterator<Item = u64>) -> u64 {
    bytes.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::super::release::Release;
    use super::*;
    use vramkit_models::shape::State;

    fn settings(release: (u64, u64)) -> Settings {
        Settings {
            release: Release::of(Some(release)),
            context: 131_072,
            sequences: 1,
            step_sequences: 256,
            step_tokens: 2048,
            devices: 1,
            draft_tokens: 0,
            cache_bytes: 2,
            state_bytes: 4,
            memory: None,
            utilization: 0.9,
        }
    }

    fn shape(layers: Vec<Layer>) -> ModelShape {
        let mut shape = ModelShape::new("toy", 1024);
        shape.layers = layers;
        shape
    }

    const HEADS: Heads = Heads { kv_heads: 8, key: 64, value: 64 };

    fn full() -> Layer {
        Layer::keeping(Cache::Full(HEADS))
    }

    fn window(tokens: u64) -> Layer {
        Layer::keeping(Cache::Window { heads: HEADS, tokens })
    }

    /// Three layers of gated linear attention to one of full attention, as Qwen3.5-27B has them.
    fn gated_delta() -> ModelShape {
        let state = State { convolution: 3 * 10_240, recurrent: 48 * 128 * 128 };
        let heads = Heads { kv_heads: 4, key: 256, value: 256 };
        let layer = |number: usize| match number % 4 {
            3 => Layer::keeping(Cache::Full(heads)),
            _ => Layer::recurrent(Cache::None, state),
        };
        shape((0..64).map(layer).collect())
    }

    #[test]
    fn layers_of_one_kind_are_one_group() {
        let settings = settings((0, 11));
        let layout = Layout::of(&shape(vec![full(); 32]), &settings).unwrap();
        assert_eq!((layout.group_count(), layout.block_bytes), (1, 32 * 16 * 8 * 128 * 2));
        assert_eq!(layout.blocks(17, &settings), 2);
        assert_eq!(layout.bytes_per_token, 32 * 8 * 128 * 2);
    }

    #[test]
    fn a_window_keeps_itself_and_the_tokens_of_a_step() {
        // gpt-oss-20b: 12 layers with a window of 128, 12 without: two groups of 12.
        let model = shape([window(128), full()].repeat(12));
        let old = settings((0, 11));
        let layout = Layout::of(&model, &old).unwrap();
        assert_eq!((layout.group_count(), layout.block_bytes), (2, 12 * 16 * 8 * 128 * 2));
        assert_eq!(layout.blocks(131_072, &old), 8192 + (127 + 2048_u64).div_ceil(16) + 1);
        // A log of two steps in flight says that 131,072 tokens need 3.1 GiB.
        let new = settings((0, 30));
        let needed = layout.blocks(131_072, &new) * layout.block_bytes;
        assert_eq!(format!("{:.1}", needed as f64 / (1_u64 << 30) as f64), "3.1");
        assert_eq!(layout.blocks(100, &old), 7 + 7 + 1, "a window is not longer than the sequence");
    }

    #[test]
    fn groups_are_as_large_as_the_smaller_kind_and_the_last_is_padded() {
        // Gemma 3 12B: 40 layers with a window, 8 without; 10 and 3 need 3 + 1 groups of 3 with two empty places.
        let settings = settings((0, 11));
        let layout =
            Layout::of(&shape([vec![window(1024); 40], vec![full(); 8]].concat()), &settings).unwrap();
        assert_eq!(layout.group_count(), 6);
        let layout =
            Layout::of(&shape([vec![window(1024); 10], vec![full(); 3]].concat()), &settings).unwrap();
        assert_eq!((layout.group_count(), layout.block_bytes), (5, 3 * 16 * 8 * 128 * 2));
    }

    #[test]
    fn nearly_equal_kinds_are_padded_to_the_larger_from_0_16() {
        let model = shape([vec![window(128); 12], vec![full(); 13]].concat());
        assert_eq!(Layout::of(&model, &settings((0, 11))).unwrap().group_count(), 3);
        assert_eq!(Layout::of(&model, &settings((0, 19))).unwrap().group_count(), 2);
    }

    #[test]
    fn blocks_are_as_long_as_a_state_is_large() {
        // Logs of Qwen3.5-27B's shape on two cards with an fp8 cache: 1,568 tokens, and 1,600 with three drafted.
        let two = Settings { devices: 2, cache_bytes: 1, ..settings((0, 24)) };
        let layout = Layout::of(&gated_delta(), &two).unwrap();
        assert_eq!((layout.block_tokens(&two), layout.group_count()), (1568, 4));
        let drafting = Settings { draft_tokens: 3, ..two };
        let layout = Layout::of(&gated_delta(), &drafting).unwrap();
        assert_eq!(layout.block_tokens(&drafting), 1600);
        assert_eq!(layout.state_blocks(&drafting), 3 * (2 + 3));
    }

    #[test]
    fn a_model_of_states_alone_needs_one_block_a_sequence() {
        let settings = settings((0, 11));
        let state = State { convolution: 3 * 1000, recurrent: 5000 };
        let layout = Layout::of(&shape(vec![Layer::recurrent(Cache::None, state); 4]), &settings).unwrap();
        assert_eq!((layout.blocks(1, &settings), layout.blocks(131_072, &settings)), (1, 1));
        assert_eq!(layout.block_bytes, 4 * (3000 * 2 + 5000 * 4));
    }

    #[test]
    fn kv_heads_are_shared_out_and_a_latent_vector_is_not() {
        let eight = Settings { devices: 16, ..settings((0, 11)) };
        let layout = Layout::of(&shape(vec![full()]), &eight).unwrap();
        assert_eq!(layout.bytes_per_token, 128 * 2);
        let latent = Layer::keeping(Cache::Latent { latent: 512, rope: 64, indexer: 0 });
        assert_eq!(Layout::of(&shape(vec![latent; 61]), &eight).unwrap().bytes_per_token, 61 * 576 * 2);
        // With an indexer: 656 bytes a token, as `flashmla_sparse.py` says, and a key of 128 with its scale.
        let sparse = Layer::keeping(Cache::Latent { latent: 512, rope: 64, indexer: 128 });
        assert_eq!(Layout::of(&shape(vec![sparse; 61]), &eight).unwrap().bytes_per_token, 61 * (656 + 132));
    }

    #[test]
    fn pages_are_made_of_one_size_or_refused() {
        let wide =
            Layer::keeping(Cache::Window { heads: Heads { key: 128, value: 128, ..HEADS }, tokens: 512 });
        let model = shape(vec![wide, full()]);
        assert!(Layout::of(&model, &settings((0, 11))).unwrap_err().contains("0.16"));
        let new = settings((0, 24));
        let layout = Layout::of(&model, &new).unwrap();
        assert_eq!(layout.block_bytes, 16 * 8 * 256 * 2);
        assert_eq!(layout.blocks(64, &new), 2 + 4 + 1);
        let odd = Layer::keeping(Cache::Window { heads: Heads { key: 96, value: 64, ..HEADS }, tokens: 512 });
        assert!(Layout::of(&shape(vec![odd, full()]), &new).unwrap_err().contains("no multiple"));
    }

    #[test]
    fn llama_4_keeps_its_chunks_in_full() {
        let mut model = shape([window(8192), full()].repeat(3));
        model.architecture = "llama4_text".into();
        assert_eq!(Layout::of(&model, &settings((0, 11))).unwrap().group_count(), 1);
    }

    #[test]
    fn drafting_layers_count_when_they_draft() {
        let mut model = shape(vec![full(); 4]);
        model.draft_layers = vec![full()];
        let settings = settings((0, 24));
        let drafting = Settings { draft_tokens: 1, ..settings };
        let bytes = |settings| Layout::of(&model, settings).unwrap().block_bytes;
        assert_eq!(bytes(&drafting) / 5, bytes(&settings) / 4);
    }

    #[test]
    fn compressed_entries_are_refused() {
        let settings = settings((0, 11));
        let compressed = Cache::Compressed { every: 4, vector: 512, indexer: 128, window: 128 };
        let refused = Layout::of(&shape(vec![full(), Layer::keeping(compressed)]), &settings);
        assert!(refused.unwrap_err().contains("compressed"));
    }
}
