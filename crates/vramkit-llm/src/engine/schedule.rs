//! Which sequences are computed in a step, and how much of each: admission, chunks of prompts, and who makes way.
//!
//! In: sequences that wait and run, the tokens that a step takes, and a cache that grants blocks or refuses. Out: a batch, of which
//! every sequence has the blocks that it needs. Never here: arithmetic, or user code.

use std::collections::VecDeque;
use std::sync::Arc;

use vramkit::ByteSize;
use vramkit::orchestrator::{MemoryOrchestrator, PressurePolicy};
use vramkit::pool::PoolError;

use super::config::{Admission, EngineConfig, Prefill};
use super::event::StepEvent;
use super::sampling;
use super::sequence::{Finish, Sequence, SequenceId};
use crate::cache::{BlockError, Chunks, KvCache};
use crate::error::AdapterError;
use crate::model::batch::Part;
use crate::text::Tokenizer;

/// A sequence's share of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Its place in `running`.
    at: usize,
    /// Its first token of the step, and how many.
    from: usize,
    count: usize,
    /// Whether its next token is chosen after the step.
    pub is_last: bool,
}

/// A step that is being put together.
struct Step {
    /// Tokens that it still takes.
    left: usize,
    /// Whether a sequence has made way.
    preempted: bool,
    batch: Vec<Share>,
}

/// Other models in the pool.
pub(super) struct Others<'a>(pub &'a MemoryOrchestrator);

impl Others<'_> {
    /// Evicts models that are at rest for so many bytes; whether there is more room now.
    fn make_room(&self, bytes: u64) -> bool {
        let before = self.0.pool().available();
        self.0.apply(PressurePolicy::Evict, ByteSize::new(bytes));
        self.0.pool().available() > before
    }
}

/// All sequences of an engine, with their cache.
#[derive(Debug)]
pub(super) struct State {
    pub cache: KvCache,
    waiting: VecDeque<Sequence>,
    /// In the order of admission.
    running: Vec<Sequence>,
    free_seats: Vec<usize>,
    admission: Admission,
    prefill: Prefill,
    share_prefixes: bool,
    chunks: Chunks,
    /// Most bytes for keys and values; all that the pool has when not given.
    budget: Option<u64>,
    /// What happened between two steps, or was seen by somebody whom it does not concern: told with the next.
    untold: Vec<StepEvent>,
    /// What all held in the last step, and the tokens of it.
    held: (ByteSize, usize),
}

impl State {
    pub fn new(cache: KvCache, config: &EngineConfig) -> Self {
        Self {
            cache,
            waiting: VecDeque::new(),
            running: Vec::new(),
            free_seats: (0..config.sequences).rev().collect(),
            admission: config.admission,
            prefill: config.prefill,
            share_prefixes: config.share_prefixes,
            chunks: config.chunks(),
            budget: config.kv_budget.map(ByteSize::bytes),
            untold: Vec::new(),
            held: (ByteSize::ZERO, 0),
        }
    }

    pub fn has_work(&self) -> bool {
        !self.waiting.is_empty() || !self.running.is_empty()
    }

    /// Keeps events for whoever takes the next step.
    pub fn tell_later(&mut self, events: Vec<StepEvent>) {
        self.untold.extend(events);
    }

    /// What was not told yet.
    pub fn told(&mut self) -> Vec<StepEvent> {
        std::mem::take(&mut self.untold)
    }

    /// Takes what came in since the last step.
    pub fn take(&mut self, submitted: Vec<Sequence>, cancelled: &[SequenceId]) {
        self.waiting.extend(submitted);
        self.waiting.retain(|sequence| !cancelled.contains(&sequence.id));
        let gone: Vec<_> = self.running.extract_if(.., |sequence| cancelled.contains(&sequence.id)).collect();
        gone.into_iter().for_each(|sequence| self.free_seats.push(sequence.seat));
    }

    /// The sequences of the next step, with blocks for it.
    pub fn schedule(
        &mut self,
        tokens: usize,
        others: &Others<'_>,
        events: &mut Vec<StepEvent>,
    ) -> Vec<Share> {
        let mut step = Step { left: tokens, preempted: false, batch: Vec::new() };
        match self.prefill {
            // Those that decode first: one token each. A step takes at least as many tokens as there are seats.
            Prefill::Chunked => {
                self.advance(|_| true, &mut step, others, events);
                self.begin(&mut step, others, events);
            }
            Prefill::Exclusive => {
                self.advance(Sequence::is_reading, &mut step, others, events);
                self.begin(&mut step, others, events);
                if step.batch.is_empty() {
                    self.advance(|_| true, &mut step, others, events);
                }
            }
        }
        step.batch
    }

    /// Goes on with the running sequences that are wanted, in the order of their admission.
    fn advance(
        &mut self,
        is_wanted: fn(&Sequence) -> bool,
        step: &mut Step,
        others: &Others<'_>,
        events: &mut Vec<StepEvent>,
    ) {
        let behind = |running: &[Sequence], at: usize| {
            running.iter().skip(at + 1).filter(|sequence| is_wanted(sequence)).count()
        };
        let mut at = 0;
        let mut later = None;
        while at < self.running.len() {
            let sequence = &self.running[at];
            if !is_wanted(sequence) {
                at += 1;
                continue;
            }
            let waiting = *later.get_or_insert_with(|| behind(&self.running, at));
            let count = sequence.remaining().min(step.left.saturating_sub(waiting));
            match self.grow(at, count, others, events) {
                Grown::Yes => {
                    step.batch.push(self.share(at, count));
                    step.left -= count;
                    at += 1;
                    later = waiting.checked_sub(1);
                }
                Grown::AfterPreempting | Grown::Gone => (step.preempted, later) = (true, None),
            }
        }
    }

    /// Begins with sequences that wait. One that was let in now would take the room that another has just made.
    fn begin(&mut self, step: &mut Step, others: &Others<'_>, events: &mut Vec<StepEvent>) {
        while !step.preempted && step.left > 0 && self.admit(others, events) {
            let at = self.running.len() - 1;
            let count = self.running[at].remaining().min(step.left);
            match self.grow(at, count, others, events) {
                Grown::Yes => {
                    step.batch.push(self.share(at, count));
                    step.left -= count;
                }
                Grown::AfterPreempting | Grown::Gone => step.preempted = true,
            }
        }
    }

    fn share(&self, at: usize, count: usize) -> Share {
        let sequence = &self.running[at];
        let from = sequence.computed;
        Share { at, from, count, is_last: from + count == sequence.tokens.len() }
    }

    /// Makes the sequence that waits longest run, when there is a seat and room for it.
    fn admit(&mut self, others: &Others<'_>, events: &mut Vec<StepEvent>) -> bool {
        let Some(waiting) = self.waiting.front() else { return false };
        if self.free_seats.is_empty() {
            return false;
        }
        let most = match self.admission {
            Admission::Reserve => waiting.most_computed(),
            Admission::Optimistic => waiting.tokens.len(),
        };
        let needed = self.cache.most_bytes(most, self.chunks);
        let held = self.cache.granted().0.bytes();
        let limit = self.limit();
        let promised = match self.admission {
            Admission::Reserve => self.promised(),
            Admission::Optimistic => held,
        };
        let wanted = promised.saturating_add(needed);
        if wanted > limit {
            // Who runs will end. When nobody does, others have to make way, or nobody ever will.
            if !self.running.is_empty() {
                return false;
            }
            if wanted <= self.budget.unwrap_or(u64::MAX) && others.make_room(wanted - limit) {
                return self.admit(others, events);
            }
            let sequence = self.waiting.pop_front();
            events.extend(sequence.map(|sequence| failed(&sequence, most, needed, limit)));
            return false;
        }
        let (Some(mut sequence), Some(seat)) = (self.waiting.pop_front(), self.free_seats.pop()) else {
            return false;
        };
        sequence.seat = seat;
        sequence.tag = self.cache.tag(&format!("sequence in seat {seat}")).unwrap_or(sequence.tag);
        sequence.blocks = self.cache.begin();
        if self.share_prefixes {
            sequence.computed = self.cache.adopt(&mut sequence.blocks, &sequence.tokens);
        }
        self.running.push(sequence);
        true
    }

    /// Most bytes that the sequences may hold together now.
    fn limit(&self) -> u64 {
        self.budget.unwrap_or(u64::MAX).min(self.cache.room())
    }

    /// Bytes that all that run may come to hold.
    fn promised(&self) -> u64 {
        self.running.iter().map(|sequence| self.cache.most_bytes(sequence.most_computed(), self.chunks)).sum()
    }

    /// Gives a sequence blocks for its next tokens. Without room the one that came last makes way.
    fn grow(&mut self, at: usize, count: usize, others: &Others<'_>, events: &mut Vec<StepEvent>) -> Grown {
        let sequence = &mut self.running[at];
        let (from, to) = (sequence.computed, sequence.computed + count);
        let error = match self.cache.grow(&mut sequence.blocks, from, to, sequence.tag) {
            Ok(()) => return Grown::Yes,
            Err(error) => error,
        };
        let last = self.running.len() - 1;
        if last > at {
            self.preempt(last, events);
            return Grown::AfterPreempting;
        }
        if at > 0 {
            self.preempt(at, events);
            return Grown::Gone;
        }
        // No other sequence is there to make way.
        if let BlockError::Pool(PoolError::OutOfMemory(error)) = &error
            && others.make_room(error.requested.bytes())
        {
            return Grown::AfterPreempting;
        }
        let needed = self.cache.most_bytes(to, self.chunks);
        let available = self.limit();
        let sequence = self.remove(at);
        events.push(match error {
            BlockError::Pool(PoolError::OutOfMemory(_) | PoolError::OverBudget(_)) => {
                failed(&sequence, to, needed, available)
            }
            BlockError::Pool(error) => failure(&sequence, AdapterError::Pool(error)),
            BlockError::View(_) => {
                failure(&sequence, AdapterError::NotReady("the pool is on no memory of this processor"))
            }
        });
        Grown::Gone
    }

    fn remove(&mut self, at: usize) -> Sequence {
        let mut sequence = self.running.remove(at);
        self.free_seats.push(sequence.seat);
        sequence.blocks = self.cache.begin();
        sequence
    }

    /// Takes a sequence's blocks; it is computed again when its turn comes, before all that wait.
    fn preempt(&mut self, at: usize, events: &mut Vec<StepEvent>) {
        let mut sequence = self.remove(at);
        events.push(StepEvent::Preempted { sequence: sequence.id });
        sequence.computed = 0;
        self.waiting.push_front(sequence);
    }

    /// What forward computes of a share.
    pub fn part(&self, share: &Share) -> Part<'_> {
        let sequence = &self.running[share.at];
        Part {
            tokens: &sequence.tokens[share.from..share.from + share.count],
            from: share.from,
            blocks: &sequence.blocks,
            is_last: share.is_last,
        }
    }

    /// Takes note of what was computed, and chooses the next token from its logits.
    pub fn computed(
        &mut self,
        share: &Share,
        logits: Option<&[f32]>,
        tokenizer: &Tokenizer,
        events: &mut Vec<StepEvent>,
    ) {
        let sequence = &mut self.running[share.at];
        sequence.computed += share.count;
        if self.share_prefixes {
            self.cache.publish(&mut sequence.blocks, &sequence.tokens, sequence.computed);
        }
        let Some(logits) = logits else { return };
        if !sampling::are_finite(logits) {
            sequence.finished = true;
            let place = sequence.tokens.len();
            return events.push(failure(sequence, AdapterError::NotFinite { place }));
        }
        let finish = if sequence.tokens.len() < sequence.most {
            let token = sampling::choose(logits, &sequence.request.sampling, sequence.generated() as u64);
            let top = sampling::top(logits, sequence.request.top);
            sequence.tokens.push(token);
            events.push(StepEvent::Token { sequence: sequence.id, token, top });
            let stops = sequence.request.stop_at_end && tokenizer.is_end(token);
            if stops { Some(Finish::Stop) } else { sequence.is_full() }
        } else {
            sequence.is_full()
        };
        if let Some(finish) = finish {
            sequence.finished = true;
            events.push(StepEvent::Finished { sequence: sequence.id, finish });
        }
    }

    /// What all sequences held when the last step was computed, those that ended in it too, and the tokens of it.
    pub fn held_in_step(&self) -> (ByteSize, usize) {
        self.held
    }

    /// Lets go of sequences that have ended.
    pub fn retire(&mut self) {
        let tokens = self.running.iter().map(|sequence| sequence.computed).sum();
        self.held = (self.cache.granted().0, tokens);
        let ended: Vec<_> = self.running.extract_if(.., |sequence| sequence.finished).collect();
        ended.into_iter().for_each(|sequence| self.free_seats.push(sequence.seat));
    }

    /// Halves the budget of keys and values, down to what one sequence of `context` tokens takes, and keeps to it at once. Where
    /// there is no budget, half of what all seats may come to hold, or of what the pool has where that is less.
    pub fn shrink(&mut self, context: usize) {
        let least = self.cache.most_bytes(context, self.chunks);
        let seats = (self.running.len() + self.free_seats.len()) as u64;
        let most = || least.saturating_mul(seats).min(self.cache.room());
        let now = self.budget.unwrap_or_else(most);
        let budget = (now / 2).max(least);
        if budget >= now {
            return;
        }
        while self.cache.granted().0.bytes() > budget && self.running.len() > 1 {
            let mut events = self.told();
            self.preempt(self.running.len() - 1, &mut events);
            self.untold = events;
        }
        if let Err(error) = self.set_budget(Some(ByteSize::new(budget))) {
            tracing::warn!(%error, "the budget of keys and values could not be set");
        }
    }

    /// Sets the most bytes for keys and values; blocks that are granted stay until their sequences end or make way.
    pub fn set_budget(&mut self, budget: Option<ByteSize>) -> Result<(), PoolError> {
        self.cache.set_budget(budget)?;
        self.budget = budget.map(ByteSize::bytes);
        Ok(())
    }

    /// Lets go of everything.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.running.clear();
    }
}

/// Whether a sequence has its blocks.
enum Grown {
    Yes,
    /// Not yet: another one has made way, or another model.
    AfterPreempting,
    /// It is not running any more.
    Gone,
}

fn failed(sequence: &Sequence, tokens: usize, needed: u64, available: u64) -> StepEvent {
    let (needed, available) = (ByteSize::new(needed), ByteSize::new(available));
    failure(sequence, AdapterError::OutOfCache { tokens, needed, available })
}

fn failure(sequence: &Sequence, error: AdapterError) -> StepEvent {
    StepEvent::Failed { sequence: sequence.id, error: Arc::new(error) }
}
