//! State-space models and recurrences: numbers of a sequence as a whole, whatever its length.
//!
//! In: the keys of a configuration. Out: the state of a layer, and the readers of families that have nothing else. A convolution
//! over `k` tokens keeps the `k − 1` before the present one.

use crate::error::ReadError;
use crate::shape::{Cache, Layer, State};

use super::attention::part;
use super::fields::Fields;

type Layers = Result<Vec<Layer>, ReadError>;

/// So many layers that keep this state alone.
fn all(layers: usize, state: State) -> Vec<Layer> {
    vec![Layer::recurrent(Cache::None, state); layers]
}

/// The inputs that a convolution over so many tokens keeps of so many channels.
pub(super) fn convolution(
    fields: &Fields<'_>,
    kernel: &'static str,
    channels: u64,
) -> Result<u64, ReadError> {
    Ok((fields.positive(kernel)? - 1).saturating_mul(channels))
}

/// The state of Mamba's first form: every channel of its own (arXiv:2312.00752).
pub(super) fn of_channels(
    fields: &Fields<'_>,
    inner: u64,
    state: &'static str,
    kernel: &'static str,
) -> Result<State, ReadError> {
    let recurrent = inner.saturating_mul(fields.positive(state)?);
    Ok(State { convolution: convolution(fields, kernel, inner)?, recurrent })
}

/// Keys of Mamba's second form (arXiv:2405.21060), which families name in their own ways.
pub(super) struct HeadKeys {
    pub heads: &'static str,
    pub groups: &'static str,
    pub state: &'static str,
    pub kernel: &'static str,
}

/// The state of Mamba's second form: heads of so many numbers; the convolution runs over the input and over what goes into and
/// out of the state, once a group.
pub(super) fn of_heads(fields: &Fields<'_>, inner: u64, keys: &HeadKeys) -> Result<State, ReadError> {
    let (groups, state) = (fields.positive(keys.groups)?, fields.positive(keys.state)?);
    if !fields.positive(keys.heads)?.is_multiple_of(groups) {
        return Err(fields.wrong(format!("{} is no multiple of {groups} groups", fields.place(keys.heads))));
    }
    let channels = inner.saturating_add(groups.saturating_mul(state).saturating_mul(2));
    Ok(State {
        convolution: convolution(fields, keys.kernel, channels)?,
        recurrent: inner.saturating_mul(state),
    })
}

/// So many heads of so many numbers must be as wide as the block.
pub(super) fn as_wide(fields: &Fields<'_>, heads: u64, head: u64, inner: u64) -> Result<(), ReadError> {
    if heads.saturating_mul(head) == inner {
        return Ok(());
    }
    Err(fields
        .wrong(format!("{heads} heads of {head} numbers are not the {inner} numbers of a state-space block")))
}

/// Mamba, and Falcon's.
pub(super) fn mamba(fields: &Fields<'_>) -> Layers {
    fields.understand(&["state_size", "conv_"]);
    // What the file gives is taken before what follows from `expand`: Falcon's `expand` says something else.
    let inner = match fields.number("intermediate_size")? {
        Some(inner) => inner,
        None => fields.positive("expand")?.saturating_mul(fields.hidden()?),
    };
    Ok(all(fields.layers()?, of_channels(fields, inner, "state_size", "conv_kernel")?))
}

/// Mamba 2.
pub(super) fn mamba2(fields: &Fields<'_>) -> Layers {
    fields.understand(&["chunk_size", "mamba"]);
    let (heads, head) = (fields.positive("num_heads")?, fields.positive("head_dim")?);
    let inner = fields.positive("expand")?.saturating_mul(fields.hidden()?);
    as_wide(fields, heads, head, inner)?;
    let keys =
        HeadKeys { heads: "num_heads", groups: "n_groups", state: "state_size", kernel: "conv_kernel" };
    Ok(all(fields.layers()?, of_heads(fields, inner, &keys)?))
}

/// RWKV 4: the last token twice, and three sums of each channel.
pub(super) fn rwkv(fields: &Fields<'_>) -> Layers {
    let hidden = fields.hidden()?;
    let attention = fields.number("attention_hidden_size")?.unwrap_or(hidden);
    let state = State { convolution: hidden.saturating_mul(2), recurrent: attention.saturating_mul(3) };
    Ok(all(fields.layers()?, state))
}

/// RWKV 5 and 6: the last token twice, and a matrix for each head.
pub(super) fn rwkv5(fields: &Fields<'_>) -> Layers {
    let hidden = fields.hidden()?;
    let attention = fields.number("attention_hidden_size")?.unwrap_or(hidden);
    let head = fields.positive("head_size")?;
    if !attention.is_multiple_of(head) {
        return Err(
            fields.wrong(format!("{attention} numbers of attention are no multiple of heads of {head}"))
        );
    }
    let state = State { convolution: hidden.saturating_mul(2), recurrent: attention.saturating_mul(head) };
    Ok(all(fields.layers()?, state))
}

/// xLSTM's matrix memory: a matrix, a vector and a number for each head (arXiv:2405.04517).
pub(super) fn xlstm(fields: &Fields<'_>) -> Layers {
    fields.understand(&["chunk", "state"]);
    let hidden = fields.hidden()?;
    let heads = fields.positive("num_heads")?;
    // Queries and keys are half as wide as the model and values as wide, each rounded up to 64, unless factors say otherwise.
    for (key, usual) in [("qk_dim_factor", 0.5), ("v_dim_factor", 1.0)] {
        let given = fields.object().get(key).filter(|given| !given.is_null());
        if given.is_some_and(|given| given.as_f64() != Some(usual)) {
            return Err(fields
                .wrong(format!("{} is not {usual}, and other widths are not covered", fields.place(key))));
        }
    }
    let rounded = |numbers: u64| numbers.div_ceil(64).saturating_mul(64);
    let key = part(fields, rounded(hidden.div_ceil(2)), heads)?;
    let value = part(fields, rounded(hidden), heads)?;
    let each = key.saturating_mul(value).saturating_add(key).saturating_add(1);
    Ok(all(fields.layers()?, State { convolution: 0, recurrent: heads.saturating_mul(each) }))
}
