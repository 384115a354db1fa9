//! The traffic: a joint law of prompt and output lengths, in tokens.
//!
//! Either prompts of one length with geometric outputs, which is what closed forms are about, or the requests
//! of a log, each as likely as any other, with whatever their prompts and outputs have to do with each other.

use std::sync::{Arc, OnceLock};

use crate::error::{OccupancyError, finite};
use crate::limits::MAX_TOKENS;
use crate::random::RandomStream;
use crate::root::{geometric_given_back, tail_exponent};

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestLengths {
    /// Tokens of the prompt.
    pub prompt: u32,
    /// Tokens generated.
    pub output: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum Law {
    /// Every prompt is `prompt` tokens; an output ends after each token with probability `termination`.
    Geometric { prompt: f64, termination: f64 },
    /// Requests of a log, each equally likely.
    Log(Arc<[RequestLengths]>),
}

/// A joint law of prompt and output lengths.
///
/// ```
/// use vramkit_occupancy::{Lengths, RequestLengths};
///
/// let log = vec![RequestLengths { prompt: 10, output: 30 }, RequestLengths { prompt: 30, output: 10 }];
/// let lengths = Lengths::from_requests(log)?.capped(20)?;
/// assert_eq!((lengths.mean_prompt(), lengths.mean_output()), (20.0, 15.0));
/// # Ok::<(), vramkit_occupancy::OccupancyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lengths {
    pub(crate) law: Law,
    pub(crate) max_output: Option<u32>,
    /// The most tokens that any request can hold, whatever is in a log.
    pub(crate) context: Option<u32>,
    /// How long it is remembered what was held, once that was asked for: see `memory.rs`.
    pub(crate) memory: Arc<OnceLock<Option<u64>>>,
}

impl Lengths {
    /// Prompts of exactly `prompt` tokens (a mean need not be whole); an output ends after each of its tokens with
    /// probability `termination`, so its mean is `1 / termination`.
    ///
    /// # Errors
    /// A prompt outside 0 to [`MAX_TOKENS`], a probability outside (0, 1] or below 1e-7, anything not finite.
    pub fn geometric(prompt: f64, termination: f64) -> Result<Self, OccupancyError> {
        finite(
            "the prompt's mean length",
            prompt,
            0.0..=f64::from(MAX_TOKENS),
            "it must be 0 to 16,777,216 tokens",
        )?;
        finite(
            "the termination probability",
            termination,
            1e-7..=1.0,
            "it must be in (0, 1], and at least 1e-7: one over the mean output in tokens",
        )?;
        Ok(Self {
            law: Law::Geometric { prompt, termination },
            max_output: None,
            context: None,
            memory: Arc::default(),
        })
    }

    /// The requests of a log, each as likely as any other.
    ///
    /// # Errors
    /// None at all, or one with a prompt or an output of 0 or over [`MAX_TOKENS`].
    pub fn from_requests(requests: impl Into<Arc<[RequestLengths]>>) -> Result<Self, OccupancyError> {
        let requests = requests.into();
        if requests.is_empty() {
            return Err(OccupancyError::NoRequests);
        }
        let bad = |length: u32| length == 0 || length > MAX_TOKENS;
        if let Some(at) = requests.iter().position(|r| bad(r.prompt) || bad(r.output)) {
            let RequestLengths { prompt, output } = requests[at];
            return Err(OccupancyError::RequestLengths {
                number: at + 1,
                prompt: prompt.into(),
                output: output.into(),
            });
        }
        Ok(Self { law: Law::Log(requests), max_output: None, context: None, memory: Arc::default() })
    }

    /// Outputs are cut off at so many tokens.
    ///
    /// # Errors
    /// A cap of 0.
    pub fn capped(mut self, max_output: u32) -> Result<Self, OccupancyError> {
        if max_output == 0 {
            let expected = "outputs of at least one token must be allowed";
            return Err(OccupancyError::OutOfRange { name: "the largest output", value: 0.0, expected });
        }
        let cap = self.max_output.map_or(max_output, |cap| cap.min(max_output));
        if let Law::Log(requests) = &self.law {
            self.law = Law::Log(
                requests.iter().map(|r| RequestLengths { output: r.output.min(cap), ..*r }).collect(),
            );
        }
        self.max_output = Some(cap);
        self.memory = Arc::default();
        Ok(self)
    }

    /// As a model serves them whose context is so many tokens: prompts that fill it are refused, outputs end where it is full. How many
    /// requests of a log are refused.
    ///
    /// # Errors
    /// A context that no request fits into.
    pub fn within(mut self, context: u32) -> Result<(Self, u64), OccupancyError> {
        let too_short = OccupancyError::OutOfRange {
            name: "the model's context",
            value: context.into(),
            expected: "it must have room for the shortest prompt and a token",
        };
        match &mut self.law {
            Law::Geometric { prompt, .. } => {
                let room = f64::from(context) - prompt.ceil();
                if room < 1.0 {
                    return Err(too_short);
                }
                Ok((self.capped(room as u32)?, 0))
            }
            Law::Log(requests) => {
                let all = requests.len();
                let served: Vec<RequestLengths> = requests
                    .iter()
                    .filter(|request| request.prompt < context)
                    .map(|request| RequestLengths {
                        output: request.output.min(context - request.prompt),
                        ..*request
                    })
                    .collect();
                if served.is_empty() {
                    return Err(too_short);
                }
                let refused = (all - served.len()) as u64;
                let law = Law::Log(served.into());
                Ok((Self { law, context: Some(context), memory: Arc::default(), ..self }, refused))
            }
        }
    }

    /// What sequences hold beside a prefix of so many tokens with which prompts begin, and which is held once for all of them. Prompts
    /// that are no longer hold nothing of it; how many these are.
    ///
    /// # Errors
    /// A prefix as long as every prompt.
    pub fn beside_prefix(mut self, prefix: u32) -> Result<(Self, u64), OccupancyError> {
        let none = OccupancyError::OutOfRange {
            name: "the shared prefix",
            value: prefix.into(),
            expected: "it must be shorter than the longest prompt",
        };
        match &mut self.law {
            Law::Geometric { prompt, .. } => {
                if *prompt <= f64::from(prefix) {
                    return Err(none);
                }
                *prompt -= f64::from(prefix);
                Ok((Self { memory: Arc::default(), ..self }, 0))
            }
            Law::Log(requests) => {
                let without = requests.iter().filter(|request| request.prompt <= prefix).count();
                if without == requests.len() {
                    return Err(none);
                }
                let beside = requests.iter().map(|request| RequestLengths {
                    prompt: if request.prompt > prefix { request.prompt - prefix } else { request.prompt },
                    ..*request
                });
                let law = Law::Log(beside.collect());
                Ok((Self { law, memory: Arc::default(), ..self }, without as u64))
            }
        }
    }

    /// The prompt and the termination probability, if that is all there is to the law: the closed forms' case.
    pub fn as_geometric(&self) -> Option<(f64, f64)> {
        match self.law {
            Law::Geometric { prompt, termination } if self.max_output.is_none() => {
                Some((prompt, termination))
            }
            _ => None,
        }
    }

    /// How many requests the law was learned from; `None` for a formula.
    pub fn requests(&self) -> Option<&[RequestLengths]> {
        match &self.law {
            Law::Geometric { .. } => None,
            Law::Log(requests) => Some(requests),
        }
    }

    /// Mean prompt, tokens.
    pub fn mean_prompt(&self) -> f64 {
        match &self.law {
            Law::Geometric { prompt, .. } => *prompt,
            Law::Log(requests) => mean(requests, |r| f64::from(r.prompt)),
        }
    }

    /// Variance of the prompt, square tokens.
    pub fn prompt_variance(&self) -> f64 {
        match &self.law {
            Law::Geometric { .. } => 0.0,
            Law::Log(requests) => {
                let average = self.mean_prompt();
                mean(requests, |r| (f64::from(r.prompt) - average).powi(2))
            }
        }
    }

    /// Mean output as served (after the cap), tokens.
    pub fn mean_output(&self) -> f64 {
        match &self.law {
            Law::Geometric { termination, .. } => match self.max_output {
                Some(cap) => -(f64::from(cap) * (-termination).ln_1p()).exp_m1() / termination,
                None => 1.0 / termination,
            },
            Law::Log(requests) => mean(requests, |r| f64::from(r.output)),
        }
    }

    /// The termination probability a step, estimated as endings over decode steps. An output that the cap cut off did
    /// not end, but its steps count (the maximum-likelihood estimate of a censored geometric law).
    pub fn termination(&self) -> f64 {
        match &self.law {
            Law::Geometric { termination, .. } => *termination,
            Law::Log(requests) => {
                let cap = self.max_output.unwrap_or(u32::MAX);
                let ended = requests.iter().filter(|r| r.output < cap).count();
                // If every one was cut off, the next to come is taken to end.
                ended.max(1) as f64 / requests.iter().map(|r| f64::from(r.output)).sum::<f64>()
            }
        }
    }

    /// The cap on outputs, where it cuts any off.
    pub(crate) fn cutting_cap(&self) -> Option<u32> {
        let cap = self.max_output?;
        let cuts = match &self.law {
            Law::Geometric { termination, .. } => f64::from(cap) * (-termination).ln_1p() > -40.0,
            Law::Log(requests) => requests.iter().any(|request| request.output >= cap),
        };
        cuts.then_some(cap)
    }

    /// The exponent r with which peaks above X0 become rare under threshold batching, P(sup Y > x) ≤ e^(−rx) after free
    /// (Lundberg's bound): the positive root of e^r(1 − p + p·E\[e^(−r(L+O))\]) = 1, p one over the mean output. The seats
    /// cancel. It takes a sequence to end in any step alike; where outputs are more even than geometric ones a cycle grows
    /// further than it says.
    pub fn tail_exponent(&self) -> f64 {
        let p = 1.0 / self.mean_output();
        tail_exponent(p, |r| match &self.law {
            Law::Geometric { prompt, termination } => {
                let cap = self.max_output.map_or(f64::INFINITY, f64::from);
                geometric_given_back(r, *prompt, *termination, cap)
            }
            Law::Log(requests) => {
                mean(requests, |l| (-r * (f64::from(l.prompt) + f64::from(l.output))).exp())
            }
        })
    }

    /// The most tokens that one request can hold; `None` when there is no limit.
    pub fn largest(&self) -> Option<f64> {
        match &self.law {
            Law::Geometric { prompt, termination } if *termination == 1.0 => Some(prompt + 1.0),
            Law::Geometric { prompt, .. } => self.max_output.map(|cap| prompt + f64::from(cap)),
            Law::Log(requests) => {
                requests.iter().map(|r| f64::from(r.prompt) + f64::from(r.output)).reduce(f64::max)
            }
        }
    }

    /// The most tokens that are granted to one request, in blocks of so many; `None` when there is no limit.
    pub fn largest_granted(&self, block: u32) -> Option<f64> {
        let block = f64::from(block);
        self.largest().map(|largest| (largest.ceil() / block).ceil() * block)
    }

    /// The least tokens that a request holds in any step.
    pub(crate) fn least(&self) -> f64 {
        match &self.law {
            Law::Geometric { prompt, .. } => prompt + 1.0,
            Law::Log(requests) => {
                requests.iter().map(|r| f64::from(r.prompt) + 1.0).fold(f64::INFINITY, f64::min)
            }
        }
    }

    /// What a memory must hold to be of use: the largest request of a log, any request of a formula.
    pub(crate) fn least_memory(&self) -> f64 {
        match &self.law {
            Law::Geometric { prompt, .. } => prompt + 1.0,
            Law::Log(_) => self.largest().unwrap_or(1.0),
        }
    }

    /// Whether a capacity is a memory of use.
    pub(crate) fn check_capacity(&self, capacity: f64) -> Result<(), OccupancyError> {
        finite("the capacity", capacity, 1.0..=1e15, "it must be 1 to 1e15 tokens")?;
        let needed = self.least_memory();
        if capacity < needed { Err(OccupancyError::RequestTooLarge { capacity, needed }) } else { Ok(()) }
    }

    pub(crate) fn draws(&self) -> Draws<'_> {
        let ln_q = match self.law {
            Law::Geometric { termination, .. } => (-termination).ln_1p(),
            Law::Log(_) => 0.0,
        };
        Draws { law: &self.law, ln_q, cap: self.max_output.unwrap_or(u32::MAX) }
    }
}

fn mean(requests: &[RequestLengths], value: impl Fn(&RequestLengths) -> f64) -> f64 {
    requests.iter().map(value).sum::<f64>() / requests.len() as f64
}

/// Draws requests.
#[derive(Clone, Copy)]
pub(crate) struct Draws<'a> {
    law: &'a Law,
    ln_q: f64,
    cap: u32,
}

impl Draws<'_> {
    /// A new request: its prompt and output.
    #[inline]
    pub(crate) fn request(&self, stream: &mut RandomStream) -> (f64, u32) {
        match self.law {
            Law::Geometric { prompt, .. } => (*prompt, self.geometric(stream)),
            Law::Log(requests) => {
                let request = requests[stream.below(requests.len())];
                (f64::from(request.prompt), request.output)
            }
        }
    }

    /// The same with a prompt of a whole number of tokens, whose mean is right.
    pub(crate) fn whole_request(&self, stream: &mut RandomStream) -> (u64, u32) {
        let (prompt, output) = self.request(stream);
        let part = prompt.fract();
        let more = part > 0.0 && stream.unit() <= part;
        (prompt as u64 + u64::from(more), output)
    }

    /// An output of the geometric law, before or at the cap.
    #[inline]
    pub(crate) fn geometric(&self, stream: &mut RandomStream) -> u32 {
        // With p = 1, ln q is minus infinity and the quotient 0.
        let whole = (stream.unit().ln() / self.ln_q).ceil().max(1.0);
        (whole.min(f64::from(MAX_TOKENS) * 64.0) as u32).min(self.cap)
    }
}
