//! Threshold batching on a real engine: decode until k of N sequences have ended, replace them, go on.
//!
//! ```text
//! submit and read until N sequences decode ─► X0 ──► steps until k have ended ──► Xmax, lengths ──► journal ──┐
//!    ▲                                                                                                         │
//!    └─────────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! What is held is read from the engine's pool at every step, before what ends in the step is given back.

use std::ops::ControlFlow;
use std::sync::Arc;

use vramkit::ByteSize;
use vramkit::pool::DeviceMemoryPool;
use vramkit::units::SplitMix64;
use vramkit_llm::{Engine, Finish, Request, SequenceId, StepEvent};

use crate::error::ValidateError;
use crate::journal::{Entry, Journal};
use crate::prompts::{Prompt, Prompts, outputs};
use crate::question::{Progress, ValidateQuestion, told};
use crate::report::Cycle;
use crate::traffic::Outcome;

/// A sequence that decodes, or is about to.
#[derive(Debug)]
struct Running {
    id: SequenceId,
    /// Which request.
    number: u64,
    prompt: usize,
    /// Tokens that were written behind the prompt before the engine took the sequence: it goes on where another run ended.
    before: usize,
    /// Tokens that the engine chose.
    chosen: usize,
}

impl Running {
    /// Tokens behind the prompt whose keys and values are kept: the one chosen last is not.
    fn written(&self) -> usize {
        self.before + self.chosen.saturating_sub(1)
    }
}

/// An experiment under way.
pub(crate) struct Experiment<'a> {
    question: &'a ValidateQuestion,
    prompts: &'a Prompts,
    engine: &'a Engine,
    pool: &'a Arc<DeviceMemoryPool>,
    watch: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    /// In the order in which the engine took them.
    running: Vec<Running>,
    next: u64,
    ended: Vec<(u64, usize, bool)>,
    ended_at_once: u64,
    /// In a row.
    at_once_now: u64,
    /// In this cycle.
    preempted: usize,
    peaks: Peaks,
    done: usize,
}

/// The most memory that was seen, by other runs of the same experiment too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peaks {
    pub kv: ByteSize,
    pub committed: ByteSize,
    pub device: Option<ByteSize>,
}

/// What an experiment found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Those that count.
    pub cycles: Vec<Cycle>,
    pub outcomes: Vec<Outcome>,
    pub ended_at_once: u64,
    /// Requests that were begun.
    pub begun: u64,
    pub peaks: Peaks,
}

impl<'a> Experiment<'a> {
    pub fn new(
        question: &'a ValidateQuestion,
        prompts: &'a Prompts,
        engine: &'a Engine,
        pool: &'a Arc<DeviceMemoryPool>,
        watch: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Self {
        Self {
            question,
            prompts,
            engine,
            pool,
            watch,
            running: Vec::new(),
            next: 0,
            ended: Vec::new(),
            ended_at_once: 0,
            at_once_now: 0,
            preempted: 0,
            peaks: Peaks::default(),
            done: 0,
        }
    }

    /// Runs all cycles that are not in `past` yet.
    ///
    /// # Errors
    /// A step fails, whoever is told of the progress ends it, or the journal cannot be written.
    pub fn run(
        mut self,
        past: Vec<Entry>,
        mut journal: Option<&mut Journal>,
    ) -> Result<Found, ValidateError> {
        let warmup = self.question.warmup();
        let wanted = warmup + self.question.cycles;
        let mut cycles: Vec<Cycle> = Vec::with_capacity(wanted);
        let mut outcomes = Vec::new();
        let past = &past[..past.len().min(wanted)];
        for entry in past {
            cycles.push(entry.cycle);
            outcomes.extend(entry.ended.iter().map(|&ended| self.outcome(ended)));
        }
        self.done = past.len();
        if let Some(last) = past.last() {
            self.restore(last)?;
        }
        while cycles.len() < wanted {
            let cycle = self.cycle()?;
            cycles.push(cycle);
            self.done += 1;
            let ended = std::mem::take(&mut self.ended);
            outcomes.extend(ended.iter().map(|&ended| self.outcome(ended)));
            if let Some(journal) = &mut journal {
                journal.add(&self.entry(cycle, ended))?;
            }
            self.told()?;
        }
        self.drain()?;
        outcomes.extend(std::mem::take(&mut self.ended).into_iter().map(|ended| self.outcome(ended)));
        let cycles = cycles.split_off(warmup.min(cycles.len()));
        let Self { ended_at_once, next: begun, peaks, .. } = self;
        Ok(Found { cycles, outcomes, ended_at_once, begun, peaks })
    }

    fn entry(&self, cycle: Cycle, ended: Vec<(u64, usize, bool)>) -> Entry {
        Entry {
            cycle,
            ended,
            ended_at_once: self.ended_at_once,
            next: self.next,
            running: self.running.iter().map(|each| (each.number, each.written())).collect(),
            peak_kv: self.peaks.kv,
            peak_committed: self.peaks.committed,
            device_peak: self.peaks.device,
        }
    }

    /// One cycle: all prompts are read, then everybody decodes until enough have ended. Where the cache is limited, some decode and end
    /// while others wait for room: that is part of the cycle.
    fn cycle(&mut self) -> Result<Cycle, ValidateError> {
        let (seats, threshold) = (self.question.batch_size, self.question.threshold());
        let (mut x0, mut most, mut steps, mut ended) = (None, (0, ByteSize::ZERO), 0, 0);
        let mut waited = false;
        while ended < threshold {
            while x0.is_none() && self.running.len() + ended < seats {
                let (number, prompt) = (self.next, self.prompt(self.next));
                self.next += 1;
                self.submit(number, prompt, &[])?;
            }
            let was_read = x0.is_some();
            let (before, had_written) = (self.ended.len(), self.written());
            let held = self.step()?;
            ended += self.ended.len() - before;
            // Nobody decodes while there is room to read.
            waited |= !was_read && (self.ended.len() > before || self.written() > had_written);
            most = (most.0.max(held.0), most.1.max(held.1));
            let all_read =
                self.running.len() + ended == seats && self.running.iter().all(|each| each.chosen > 0);
            if !was_read && all_read {
                (x0, most) = (Some(held), held);
            }
            steps += usize::from(was_read);
        }
        let device_bytes = self.look_at_device();
        let final_tokens = self.running.iter().map(|each| each.prompt + each.written()).sum();
        let preempted = std::mem::take(&mut self.preempted);
        let ((x0_tokens, x0_bytes), (xmax_tokens, xmax_bytes)) = (x0.unwrap_or(most), most);
        Ok(Cycle {
            x0_tokens,
            xmax_tokens,
            final_tokens,
            steps,
            preempted,
            lacked_room: preempted > 0 || waited,
            x0_bytes,
            xmax_bytes,
            device_bytes,
        })
    }

    /// Tokens of all that run, behind their prompts.
    fn written(&self) -> usize {
        self.running.iter().map(Running::written).sum()
    }

    /// Takes a request, with what was written of its output already.
    fn submit(&mut self, number: u64, prompt: &Prompt, written: &[u32]) -> Result<(), ValidateError> {
        let most = self.most(prompt);
        let tokens = match prompt {
            Prompt::Text(tokens) => [tokens, written].concat(),
            Prompt::Lengths { prompt, .. } => self.any_tokens(number, prompt + written.len()),
        };
        let request = Request {
            // The last one is chosen and never written.
            most_tokens: Some(most - written.len() + 1),
            stop_at_end: matches!(prompt, Prompt::Text(_)),
            ..Request::default()
        };
        let id = self.engine.submit(&tokens, request)?;
        self.running.push(Running { id, number, prompt: prompt.len(), before: written.len(), chosen: 0 });
        Ok(())
    }

    /// Computes a step; what all held in it. Sequences that ended are no longer running.
    fn step(&mut self) -> Result<(usize, ByteSize), ValidateError> {
        self.told()?;
        for event in self.engine.step()? {
            match event {
                StepEvent::Token { sequence, .. } => {
                    if let Ok(at) = self.running.binary_search_by_key(&sequence, |each| each.id) {
                        self.running[at].chosen += 1;
                    }
                }
                StepEvent::Finished { sequence, finish } => self.finished(sequence, finish)?,
                StepEvent::Failed { error, .. } => return Err(ValidateError::Engine(error)),
                StepEvent::Preempted { .. } => self.preempted += 1,
                _ => {}
            }
        }
        let memory = self.engine.memory();
        if memory.step_kv > self.peaks.kv {
            self.peaks.kv = memory.step_kv;
            self.look_at_device();
        }
        Ok((memory.step_tokens, memory.step_kv))
    }

    fn finished(&mut self, sequence: SequenceId, finish: Finish) -> Result<(), ValidateError> {
        let Ok(at) = self.running.binary_search_by_key(&sequence, |each| each.id) else { return Ok(()) };
        let ended = self.running.remove(at);
        let written = ended.written();
        if written == 0 {
            self.ended_at_once += 1;
            self.at_once_now += 1;
            let requests = self.prompts.requests.len() as u64;
            if self.at_once_now >= requests.max(self.question.batch_size as u64) {
                let model = self.question.model.display().to_string();
                return Err(ValidateError::NothingDecodes { model, requests: self.at_once_now });
            }
            return Ok(());
        }
        self.at_once_now = 0;
        let is_cut = match self.prompt(ended.number) {
            Prompt::Text(_) => finish != Finish::Stop,
            Prompt::Lengths { output, .. } => written < *output,
        };
        self.ended.push((ended.number, written, is_cut));
        Ok(())
    }

    /// Lets those that run end, so that their lengths are known too: leaving them out would leave out long ones.
    fn drain(&mut self) -> Result<(), ValidateError> {
        for each in std::mem::take(&mut self.running) {
            match self.prompt(each.number) {
                Prompt::Text(_) => self.running.push(each),
                prompt @ Prompt::Lengths { output, .. } => {
                    let most = self.most(prompt);
                    self.engine.cancel(each.id);
                    self.ended.push((each.number, most, most < *output));
                }
            }
        }
        while !self.running.is_empty() {
            self.step()?;
        }
        Ok(())
    }

    /// Goes on where another run has ended. Outputs are read again from their prompts, which gives the same tokens.
    fn restore(&mut self, last: &Entry) -> Result<(), ValidateError> {
        (self.next, self.ended_at_once) = (last.next, last.ended_at_once);
        self.peaks = Peaks { kv: last.peak_kv, committed: last.peak_committed, device: last.device_peak };
        let mut outputs: Vec<(SequenceId, Vec<u32>)> = Vec::new();
        for &(number, written) in &last.running {
            if let Prompt::Text(tokens) = self.prompt(number) {
                let request =
                    Request { most_tokens: Some(written), stop_at_end: false, ..Request::default() };
                outputs.push((self.engine.submit(tokens, request)?, Vec::with_capacity(written)));
            }
        }
        while self.engine.has_work() {
            self.told()?;
            for event in self.engine.step()? {
                match event {
                    StepEvent::Token { sequence, token, .. } => {
                        if let Ok(at) = outputs.binary_search_by_key(&sequence, |each| each.0) {
                            outputs[at].1.push(token);
                        }
                    }
                    StepEvent::Failed { error, .. } => return Err(ValidateError::Engine(error)),
                    _ => {}
                }
            }
        }
        let mut outputs = outputs.into_iter().map(|(_, tokens)| tokens);
        for &(number, written) in &last.running {
            let prompt = self.prompt(number);
            let said = match prompt {
                Prompt::Text(_) => outputs.next().unwrap_or_default(),
                Prompt::Lengths { .. } => vec![0; written],
            };
            self.submit(number, prompt, &said)?;
        }
        Ok(())
    }

    /// A request by its number: after the last one the first comes again.
    fn prompt(&self, number: u64) -> &'a Prompt {
        let requests = &self.prompts.requests;
        &requests[(number % requests.len() as u64) as usize]
    }

    /// Most tokens that may be written behind a prompt.
    fn most(&self, prompt: &Prompt) -> usize {
        outputs(self.question, prompt).min(self.engine.context() - prompt.len() - 1)
    }

    fn outcome(&self, (number, output, is_cut): (u64, usize, bool)) -> Outcome {
        Outcome { prompt: self.prompt(number).len(), output, is_cut }
    }

    /// Tokens for a prompt of which only the length counts. The last of a vocabulary are often special ones.
    fn any_tokens(&self, number: u64, count: usize) -> Vec<u32> {
        let mut random = SplitMix64::new(self.question.seed ^ (number << 32));
        let room = (self.engine.vocabulary_len() * 3 / 4).max(1);
        (0..count).map(|_| random.below(room) as u32).collect()
    }

    /// What the device says of the pool's memory now.
    fn look_at_device(&mut self) -> Option<ByteSize> {
        let now = self.pool.resident().value;
        self.peaks.committed = self.peaks.committed.max(self.pool.stats().peak_committed_bytes);
        self.peaks.device = self.peaks.device.max(now);
        now
    }

    /// Tells how far it is.
    fn told(&mut self) -> Result<(), ValidateError> {
        told(self.question, self.watch, self.done)
    }
}
