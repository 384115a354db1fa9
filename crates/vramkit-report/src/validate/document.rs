//! The parts of `vramkit.validate/1` that are drawn.
//!
//! In: JSON as the program prints it. Out: [`ValidateDocument`]. What may be unknown is `null`; fields that nothing draws are
//! skipped.

use serde::Deserialize;
use serde_json::Value;

use super::series::{Prediction, Quantity};
use crate::document::{DocumentError, read};
use vramkit_units::ByteSize;

/// An experiment beside its predictions, to be drawn.
///
/// ```
/// use vramkit_report::{ValidateDocument, validation_svg};
///
/// let measured = |tokens: f64| serde_json::json!({"mean_tokens": tokens, "standard_error_tokens": 1.5, "mean_bytes": tokens * 512.0});
/// let predicted = serde_json::json!({"x0_tokens": 930.0, "xmax_tokens": 1010.0, "kappa_tokens": 80.0});
/// let json = serde_json::json!({
///     "schema": "vramkit.validate/1", "model": "toy.gguf", "dataset": "chats",
///     "parameters": {
///         "batch_size": 8, "switching_threshold": 2, "theta": 0.25, "termination": 0.02, "mean_prompt_tokens": 60.0,
///         "mean_output_tokens": 50.0, "num_cycles": 2, "warmup_cycles": 20, "max_output_tokens": 256,
///     },
///     "measured": {"x0": measured(900.0), "xmax": measured(990.0), "sup_y": measured(90.0)},
///     "predicted": {"published": predicted, "corrected": predicted, "exact": predicted},
///     "errors": {}, "tail": {"thresholds": []}, "verdicts": [], "memory": {},
///     "cycles": [{"x0_tokens": 890, "xmax_tokens": 985}, {"x0_tokens": 910, "xmax_tokens": 995}],
/// });
/// assert!(validation_svg(&ValidateDocument::from_json(&json)?).contains("toy.gguf"));
/// # Ok::<(), vramkit_report::DocumentError>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
pub struct ValidateDocument {
    model: String,
    pub(crate) dataset: String,
    pub(crate) parameters: Parameters,
    measured: Measured,
    predicted: Predicted,
    #[serde(default)]
    errors: Errors,
    pub(crate) tail: Tail,
    #[serde(default)]
    verdicts: Vec<Verdict>,
    pub(crate) memory: Memory,
    #[serde(default)]
    pub(crate) cycles: Vec<Cycle>,
    #[serde(default)]
    pub(crate) notes: Vec<String>,
}

/// What was run.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Parameters {
    pub(crate) batch_size: u64,
    pub(crate) switching_threshold: u64,
    pub(crate) theta: f64,
    pub(crate) termination: Option<f64>,
    pub(crate) mean_prompt_tokens: Option<f64>,
    pub(crate) mean_output_tokens: Option<f64>,
    pub(crate) num_cycles: u64,
    pub(crate) warmup_cycles: Option<u64>,
    pub(crate) max_output_tokens: Option<u64>,
    pub(crate) bytes_per_token: Option<ByteSize>,
    pub(crate) seed: Option<u64>,
    pub(crate) context_tokens: Option<u64>,
    pub(crate) prompts: Option<u64>,
    pub(crate) left_out: Option<u64>,
    pub(crate) requests: Option<u64>,
    pub(crate) cut_off: Option<u64>,
    pub(crate) ended_at_once: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Measured {
    x0: Measurement,
    xmax: Measurement,
    sup_y: Measurement,
}

/// A mean with its standard error.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) mean_tokens: Option<f64>,
    pub(crate) standard_error_tokens: Option<f64>,
    pub(crate) mean_bytes: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Predicted {
    published: Tokens,
    corrected: Tokens,
    exact: Tokens,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Tokens {
    x0_tokens: Option<f64>,
    xmax_tokens: Option<f64>,
    kappa_tokens: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Errors {
    published: Option<Ratios>,
    corrected: Option<Ratios>,
    exact: Option<Ratios>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Ratios {
    x0_ratio: Option<f64>,
    xmax_ratio: Option<f64>,
    kappa_ratio: Option<f64>,
}

/// How often a cycle's growth is over a threshold.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Tail {
    #[serde(default)]
    pub(crate) thresholds: Vec<Threshold>,
    published_valid_ratio: Option<f64>,
    published_finite_valid_ratio: Option<f64>,
    corrected_valid_ratio: Option<f64>,
}

/// A threshold, the share of cycles over it, and what is said of that share.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Threshold {
    pub(crate) tokens: f64,
    pub(crate) observed: Option<f64>,
    pub(crate) standard_error: Option<f64>,
    published: Option<f64>,
    published_finite: Option<f64>,
    corrected: Option<f64>,
    exact: Option<f64>,
}

/// Whether a prediction is within its limit.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Verdict {
    quantity: String,
    prediction: String,
    pub(crate) limit_ratio: Option<f64>,
    pub(crate) error_ratio: Option<f64>,
    pub(crate) standard_error_ratio: Option<f64>,
    pub(crate) passed: Option<bool>,
    /// `too_few_cycles` where it passed by the error of what was measured alone; older documents have none.
    #[serde(default)]
    pub(crate) outcome: Option<String>,
}

/// What the experiment took.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Memory {
    pub(crate) weights_bytes: Option<ByteSize>,
    pub(crate) peak_kv_bytes: Option<ByteSize>,
    pub(crate) peak_committed_bytes: Option<ByteSize>,
    pub(crate) device_peak_bytes: Option<ByteSize>,
    pub(crate) used_after_unload_bytes: Option<ByteSize>,
}

/// Tokens held in one cycle.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Cycle {
    pub(crate) x0_tokens: f64,
    pub(crate) xmax_tokens: f64,
}

impl ValidateDocument {
    /// What the model's file is called, without its folders.
    pub(crate) fn model_name(&self) -> &str {
        self.model.rsplit(['/', '\\']).next().unwrap_or_default()
    }

    /// From `vramkit.validate/1`.
    ///
    /// # Errors
    /// Another document, or one that lacks what is drawn.
    pub fn from_json(json: &Value) -> Result<Self, DocumentError> {
        read(json, "vramkit.validate/1")
    }

    /// What was measured; of the tail there is no one number.
    pub(crate) fn measured(&self, quantity: Quantity) -> Measurement {
        match quantity {
            Quantity::X0 => self.measured.x0,
            Quantity::Xmax => self.measured.xmax,
            Quantity::Kappa => self.measured.sup_y,
            Quantity::Tail => {
                Measurement { mean_tokens: None, standard_error_tokens: None, mean_bytes: None }
            }
        }
    }

    /// What a prediction says, in tokens.
    pub(crate) fn predicted(&self, prediction: Prediction, quantity: Quantity) -> Option<f64> {
        let tokens = match prediction {
            Prediction::Published => &self.predicted.published,
            Prediction::Corrected => &self.predicted.corrected,
            Prediction::Exact => &self.predicted.exact,
            Prediction::PublishedFinite => return None,
        };
        match quantity {
            Quantity::X0 => tokens.x0_tokens,
            Quantity::Xmax => tokens.xmax_tokens,
            Quantity::Kappa => tokens.kappa_tokens,
            Quantity::Tail => None,
        }
    }

    /// How far a prediction is off, as a share of what was measured: below zero where it says too little.
    pub(crate) fn error(&self, prediction: Prediction, quantity: Quantity) -> Option<f64> {
        let ratios = match prediction {
            Prediction::Published => self.errors.published,
            Prediction::Corrected => self.errors.corrected,
            Prediction::Exact => self.errors.exact,
            Prediction::PublishedFinite => None,
        }?;
        let ratio = match quantity {
            Quantity::X0 => ratios.x0_ratio,
            Quantity::Xmax => ratios.xmax_ratio,
            Quantity::Kappa => ratios.kappa_ratio,
            Quantity::Tail => None,
        }?;
        let is_less = self.predicted(prediction, quantity)? < self.measured(quantity).mean_tokens?;
        Some(if is_less { -ratio.abs() } else { ratio.abs() })
    }

    pub(crate) fn verdict(&self, prediction: Prediction, quantity: Quantity) -> Option<&Verdict> {
        let names = (quantity.name(), prediction.name());
        self.verdicts.iter().find(|verdict| (verdict.quantity.as_str(), verdict.prediction.as_str()) == names)
    }
}

impl Tail {
    /// The share of thresholds at which a bound is not under what was observed.
    pub(crate) fn valid_ratio(&self, prediction: Prediction) -> Option<f64> {
        match prediction {
            Prediction::Published => self.published_valid_ratio,
            Prediction::PublishedFinite => self.published_finite_valid_ratio,
            Prediction::Corrected => self.corrected_valid_ratio,
            Prediction::Exact => None,
        }
    }

    /// Thresholds in order, each once.
    pub(crate) fn in_order(&self) -> Vec<Threshold> {
        let mut thresholds = self.thresholds.clone();
        thresholds.sort_by(|a, b| a.tokens.total_cmp(&b.tokens));
        thresholds.dedup_by(|a, b| a.tokens == b.tokens);
        thresholds
    }
}

impl Threshold {
    /// The share of cycles over it, as a prediction has it.
    pub(crate) fn predicted(&self, prediction: Prediction) -> Option<f64> {
        match prediction {
            Prediction::Published => self.published,
            Prediction::PublishedFinite => self.published_finite,
            Prediction::Corrected => self.corrected,
            Prediction::Exact => self.exact,
        }
    }
}

impl Cycle {
    /// sup Y: how much more was held at the most than as decoding started.
    pub(crate) fn growth(&self) -> f64 {
        // Two of the largest numbers would have no difference.
        (self.xmax_tokens - self.x0_tokens).clamp(-1e300, 1e300)
    }
}
