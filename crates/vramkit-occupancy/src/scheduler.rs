//! A serving scheduler without a model: which requests would run, wait and be preempted, step by step.
//!
//! First come, first served, as vLLM's is. In each step every running sequence gets a token, or the next piece of its prompt,
//! within the step's token budget; a sequence that needs a block when none is free makes the last one running give all its
//! blocks back, to be computed again later from the head of the queue. New ones are admitted only when nothing was
//! preempted in the step, when blocks for their whole prompt are free, and the watermark stays free beyond them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::deadline::Deadline;
use crate::error::{OccupancyError, finite};
use crate::lengths::RequestLengths;

/// How the scheduler is set.
///
/// ```
/// use vramkit_occupancy::{RequestLengths, Scheduler};
///
/// let request = RequestLengths { prompt: 100, output: 50 };
/// // 4 together need 600 tokens at their ends; there is memory for 480.
/// let replayed = Scheduler::new(480, 4).replay(&[request; 4], None)?;
/// assert!(replayed.preemptions > 0);
/// # Ok::<(), vramkit_occupancy::OccupancyError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Scheduler {
    /// Blocks of memory.
    pub blocks: u64,
    /// Tokens in a block.
    pub block: u32,
    /// Most sequences that run together.
    pub seats: u32,
    /// Part of the blocks that admission leaves free.
    pub watermark: f64,
    /// Most tokens computed in a step.
    pub token_budget: u32,
    /// Whether a prompt may be computed in pieces.
    pub chunked_prefill: bool,
    /// Until when to go on.
    pub deadline: Deadline,
}

impl Scheduler {
    /// Memory of so many tokens and seats, with what vLLM begins with: blocks of 16 tokens, no watermark, 8,192 tokens a step,
    /// prompts in pieces.
    pub fn new(capacity: u64, seats: u32) -> Self {
        let block = 16;
        Self {
            blocks: capacity / 16,
            block,
            seats,
            watermark: 0.0,
            token_budget: 8192,
            chunked_prefill: true,
            deadline: Deadline::none(),
        }
    }
}

/// What came of a replay.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Replayed {
    /// Steps until all had ended.
    pub steps: u64,
    /// Requests that ended: all of them.
    pub completed: u64,
    /// How often a sequence had to give its blocks back.
    pub preemptions: u64,
    /// Tokens computed a second time for that.
    pub recomputed_tokens: u64,
    /// Most blocks in use.
    pub peak_blocks: u64,
    /// Blocks in use on average over the steps.
    pub mean_blocks: f64,
    /// Most sequences running.
    pub peak_running: u32,
    /// Most requests waiting that could have come in.
    pub peak_waiting: u64,
    /// Occupancy over time: the most of each of at most 2,048 equal stretches of steps.
    pub timeline: Vec<Moment>,
}

/// One stretch of steps.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Moment {
    /// Its first step.
    pub step: u64,
    /// Most blocks in use in it.
    pub blocks: u64,
    /// Sequences preempted in it.
    pub preemptions: u64,
    /// Most sequences running in it.
    pub running: u32,
}

const MOMENTS: usize = 2048;

#[derive(Clone, Copy, Debug)]
struct Sequence {
    prompt: u32,
    output: u32,
    /// Tokens whose entries are in memory.
    computed: u32,
    /// Tokens generated.
    generated: u32,
    blocks: u32,
}

impl Scheduler {
    /// Replays requests in their order. `arrivals` are the steps in which they come, in ascending order; without them all
    /// are there from the start.
    ///
    /// # Errors
    /// Settings outside their ranges, a request longer than the memory, arrivals that do not ascend or are not one for each
    /// request.
    pub fn replay(
        &self,
        requests: &[RequestLengths],
        arrivals: Option<&[f64]>,
    ) -> Result<Replayed, OccupancyError> {
        self.check(requests, arrivals)?;
        let mut state = State { free: self.blocks, ..State::default() };
        let mut result = Replayed::default();
        let (mut next, mut used) = (0, 0.0);
        let reserve = (self.watermark * self.blocks as f64) as u64;
        let mut stretch = 1;
        loop {
            let due = |next: usize| arrivals.is_none_or(|at| at[next] <= result.steps as f64);
            while next < requests.len() && due(next) {
                let RequestLengths { prompt, output } = requests[next];
                state.waiting.push_back(Sequence { prompt, output, computed: 0, generated: 0, blocks: 0 });
                next += 1;
            }
            if state.running.is_empty() && state.waiting.is_empty() {
                let Some(&at) = arrivals.and_then(|at| at.get(next)) else { break };
                // Nothing happens until the next comes.
                result.steps = (at.ceil() as u64).max(result.steps + 1);
                continue;
            }
            if result.steps.is_multiple_of(256) {
                self.deadline.check("the replay")?;
            }
            let preempted = self.step(&mut state, reserve);
            let in_use = self.blocks - state.free;
            result.peak_waiting = result.peak_waiting.max(state.waiting.len() as u64);
            result.peak_running = result.peak_running.max(state.running.len() as u32);
            result.peak_blocks = result.peak_blocks.max(in_use);
            used += in_use as f64;
            result.preemptions += preempted;
            note(&mut result, &mut stretch, in_use, preempted, state.running.len() as u32);
            result.steps += 1;
            result.completed += self.end_of_step(&mut state);
        }
        result.recomputed_tokens = state.recomputed;
        result.mean_blocks = used / result.steps.max(1) as f64;
        Ok(result)
    }

    fn check(&self, requests: &[RequestLengths], arrivals: Option<&[f64]>) -> Result<(), OccupancyError> {
        finite("the blocks", self.blocks as f64, 1.0..=1e12, "there must be at least one")?;
        finite("the block", self.block.into(), 1.0..=65_536.0, "it must be 1 to 65,536 tokens")?;
        finite(
            "the batch",
            self.seats.into(),
            1.0..=f64::from(1 << 20),
            "it must be 1 to 1,048,576 sequences",
        )?;
        finite("the watermark", self.watermark, 0.0..=0.99, "it must be 0 to 0.99")?;
        finite(
            "the token budget",
            self.token_budget.into(),
            1.0..=1e9,
            "it must be at least one token a step",
        )?;
        let reserve = (self.watermark * self.blocks as f64) as u64;
        for (number, request) in requests.iter().enumerate() {
            let RequestLengths { prompt, output } = *request;
            if prompt == 0 || output == 0 {
                let (prompt, output) = (prompt.into(), output.into());
                return Err(OccupancyError::RequestLengths { number: number + 1, prompt, output });
            }
            // Preempted late, it must be let in again with all that it had.
            let needed = u64::from(prompt) + u64::from(output);
            if needed.div_ceil(self.block.into()) + reserve > self.blocks {
                let capacity = ((self.blocks - reserve) * u64::from(self.block)) as f64;
                return Err(OccupancyError::RequestTooLarge { capacity, needed: needed as f64 });
            }
            if !self.chunked_prefill && needed > self.token_budget.into() {
                return Err(OccupancyError::Refused {
                    what: format!("request {} of up to {needed} tokens", number + 1),
                    why: format!(
                        "a step computes {} tokens and prompts are not taken in pieces",
                        self.token_budget
                    ),
                    instead: "allow chunked prefill or a larger token budget".to_owned(),
                });
            }
        }
        if let Some(at) = arrivals
            && (at.len() != requests.len()
                || !at.is_sorted()
                || at.iter().any(|at| !at.is_finite() || *at < 0.0))
        {
            let expected = "there must be one for each request, in ascending order";
            return Err(OccupancyError::OutOfRange {
                name: "the number of arrivals",
                value: at.len() as f64,
                expected,
            });
        }
        Ok(())
    }

    /// Schedules one step; how many were preempted.
    fn step(&self, state: &mut State, reserve: u64) -> u64 {
        let mut budget = self.token_budget;
        let mut preempted = 0;
        let mut i = 0;
        while i < state.running.len() && budget > 0 {
            let sequence = state.running[i];
            let new = (sequence.prompt + sequence.generated - sequence.computed).min(budget);
            let after = sequence.computed + new;
            // Mostly there is room in the last block.
            let needed = if after <= sequence.blocks * self.block {
                0
            } else {
                after.div_ceil(self.block) - sequence.blocks
            };
            let mut gone = false;
            while u64::from(needed) > state.free {
                let Some(last) = state.running.pop() else { break };
                preempted += 1;
                state.free += u64::from(last.blocks);
                state.recomputed += u64::from(last.computed);
                state.waiting.push_front(Sequence { computed: 0, blocks: 0, ..last });
                if state.running.len() == i {
                    gone = true;
                    break;
                }
            }
            if gone {
                break;
            }
            state.free -= u64::from(needed);
            let sequence = &mut state.running[i];
            sequence.blocks += needed;
            sequence.computed += new;
            budget -= new;
            i += 1;
        }
        if preempted > 0 {
            return preempted;
        }
        while state.running.len() < self.seats as usize && budget > 0 {
            let Some(&sequence) = state.waiting.front() else { break };
            let whole = sequence.prompt + sequence.generated;
            if u64::from(whole.div_ceil(self.block)) + reserve > state.free
                || (!self.chunked_prefill && whole > budget)
            {
                break;
            }
            let new = whole.min(budget);
            let blocks = new.div_ceil(self.block);
            budget -= new;
            state.free -= u64::from(blocks);
            state.waiting.pop_front();
            state.running.push(Sequence { computed: new, blocks, ..sequence });
        }
        0
    }

    /// Sequences whose tokens are all computed have one more; those that are done go. How many.
    fn end_of_step(&self, state: &mut State) -> u64 {
        let before = state.running.len();
        let State { running, free, .. } = state;
        running.retain_mut(|sequence| {
            if sequence.computed < sequence.prompt + sequence.generated {
                return true;
            }
            sequence.generated += 1;
            let goes_on = sequence.generated < sequence.output;
            if !goes_on {
                *free += u64::from(sequence.blocks);
            }
            goes_on
        });
        (before - running.len()) as u64
    }
}

#[derive(Default)]
struct State {
    running: Vec<Sequence>,
    waiting: VecDeque<Sequence>,
    free: u64,
    recomputed: u64,
}

/// Adds a step to the timeline; when it is full, two stretches become one.
fn note(result: &mut Replayed, stretch: &mut u64, blocks: u64, preemptions: u64, running: u32) {
    let step = result.steps;
    match result.timeline.last_mut() {
        Some(last) if step < last.step + *stretch => {
            last.blocks = last.blocks.max(blocks);
            last.preemptions += preemptions;
            last.running = last.running.max(running);
        }
        _ => {
            if result.timeline.len() == MOMENTS {
                *stretch *= 2;
                let pairs = result.timeline.chunks(2).map(|pair| {
                    pair.iter().skip(1).fold(pair[0], |one, other| Moment {
                        step: one.step,
                        blocks: one.blocks.max(other.blocks),
                        preemptions: one.preemptions + other.preemptions,
                        running: one.running.max(other.running),
                    })
                });
                result.timeline = pairs.collect();
            }
            result.timeline.push(Moment { step, blocks, preemptions, running });
        }
    }
}
