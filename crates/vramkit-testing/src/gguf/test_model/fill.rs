//! What numbers a tensor holds: laws by its name, and draws from them.

use vramkit::units::SplitMix64;

use super::shape::{Architecture, RopeScaling, TestModel};

/// Standard deviation of logits.
const LOGITS: f32 = 2.5;
/// Of queries and keys before they meet; more than 1, so that attention prefers some tokens.
const PREFERENCE: f32 = 1.5;

/// Where a tensor's numbers come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fill {
    /// About 0, with this standard deviation.
    Normal(f32),
    /// About this, give or take a fifth.
    Around(f32),
    /// These.
    Listed(Vec<f32>),
}

/// The law of a tensor of so many columns. Matrices keep the size of what they are given, those at the end of a layer divide it
/// so that all layers together add about as much as one would. An embedding is short beside what layers add: an output that
/// is the embeddings too would otherwise favour the token that was read.
pub(super) fn law(model: &TestModel, name: &str, columns: u64) -> Fill {
    let columns = columns as f32;
    let keep = 1.0 / columns.sqrt();
    let share = 1.0 / (2.0 * model.layers as f32).sqrt();
    let part = name.rsplit_once('.').map_or(name, |(part, _)| part);
    let part = part.rsplit_once('.').map_or(part, |(_, last)| last);
    match part {
        _ if name.ends_with(".bias") => Fill::Normal(0.3),
        "rope_freqs" => Fill::Listed(divisors(model, columns as usize)),
        "rope_factors_long" => Fill::Listed(long(model, columns as usize)),
        "rope_factors_short" => Fill::Listed(rising(columns as usize, 1.0, 1.2)),
        "output_norm" => Fill::Around(LOGITS),
        "attn_q_norm" | "attn_k_norm" => Fill::Around(PREFERENCE),
        // gemma3 multiplies embeddings by the root of their width; what layers add is as much larger.
        "post_attention_norm" | "post_ffw_norm" => Fill::Around(share * (model.hidden as f32).sqrt()),
        part if part.ends_with("_norm") => Fill::Around(1.0),
        "attn_q" | "attn_k" if model.architecture != Architecture::Phi3 => Fill::Normal(PREFERENCE * keep),
        // A mean over tokens, and a gate's product, are smaller than what went in.
        "attn_output" | "ffn_down" => Fill::Normal(2.0 * share * keep),
        _ => Fill::Normal(keep),
    }
}

/// Ones for the high frequencies, the factor for the low ones, straight between.
fn divisors(model: &TestModel, count: usize) -> Vec<f32> {
    let RopeScaling::Divisors { factor } = model.rope_scaling else { return vec![1.0; count] };
    let place = |at: usize| (at as f32 / (count.max(2) - 1) as f32 * 2.0 - 0.5).clamp(0.0, 1.0);
    (0..count).map(|at| 1.0 + (factor - 1.0) * place(at)).collect()
}

fn long(model: &TestModel, count: usize) -> Vec<f32> {
    let RopeScaling::Long { original, .. } = model.rope_scaling else { return vec![1.0; count] };
    rising(count, 1.0, model.context as f32 / original.max(1) as f32)
}

fn rising(count: usize, from: f32, to: f32) -> Vec<f32> {
    (0..count).map(|at| from + (to - from) * at as f32 / (count.max(2) - 1) as f32).collect()
}

/// Numbers of one tensor, in order. Each tensor draws for itself, so one more changes no other.
pub(super) struct Draws {
    fill: Fill,
    random: SplitMix64,
    at: usize,
}

impl Draws {
    pub(super) fn new(fill: Fill, seed: u64, name: &str) -> Self {
        let mut random = SplitMix64::new(seed);
        let own =
            name.bytes().fold(random.bits(), |mixed, byte| SplitMix64::new(mixed ^ u64::from(byte)).bits());
        Self { fill, random: SplitMix64::new(own), at: 0 }
    }

    pub(super) fn next_into(&mut self, numbers: &mut [f32]) {
        match &self.fill {
            Fill::Normal(deviation) => {
                numbers.iter_mut().for_each(|number| *number = deviation * normal(self.random.bits()));
            }
            Fill::Around(middle) => {
                let spread = |bits: u64| 0.8 + 0.4 * (bits >> 40) as f32 / (1u64 << 24) as f32;
                numbers.iter_mut().for_each(|number| *number = middle * spread(self.random.bits()));
            }
            Fill::Listed(listed) => {
                let rest = listed.iter().skip(self.at);
                numbers.iter_mut().zip(rest).for_each(|(number, listed)| *number = *listed);
            }
        }
        self.at += numbers.len();
    }
}

/// Four 16-bit numbers added up: nearly the standard normal law, without a logarithm, and the same on every machine.
fn normal(bits: u64) -> f32 {
    let sum: i64 = (0..4).map(|part| (bits >> (16 * part) & 0xffff) as i64).sum();
    // Each has the variance (2^32 − 1) ÷ 12.
    (sum - 2 * 0xffff) as f32 * (3f32.sqrt() / 65_536.0)
}

#[cfg(test)]
mod tests {
    use super::{Draws, Fill};

    #[test]
    fn draws_have_the_deviation_that_was_asked_for_and_do_not_depend_on_how_many_at_a_time() {
        let mut whole = vec![0.0; 100_000];
        Draws::new(Fill::Normal(0.5), 3, "a").next_into(&mut whole);
        let mean = whole.iter().map(|&number| f64::from(number)).sum::<f64>() / 1e5;
        let variance = whole.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.01 && (variance.sqrt() - 0.5).abs() < 0.01, "{mean} {variance}");

        let mut parts = vec![0.0; 100_000];
        let mut draws = Draws::new(Fill::Normal(0.5), 3, "a");
        parts.chunks_mut(777).for_each(|part| draws.next_into(part));
        assert_eq!(whole, parts);
        Draws::new(Fill::Normal(0.5), 3, "b").next_into(&mut parts);
        assert_ne!(whole, parts);
    }
}
