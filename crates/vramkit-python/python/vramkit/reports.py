"""The program's documents: a class each, with the types of its fields.

Written by `scripts/python-documents` from the program itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ._document import Answer, Document, Pictured


__all__ = [
    "Activity",
    "AssignedTo",
    "BatchForRisk",
    "BoundReport",
    "CapacityReport",
    "Check",
    "CleanupReport",
    "ConflictReport",
    "Cycle",
    "Decision",
    "DerivedReport",
    "DeviceHolder",
    "DeviceInfo",
    "DeviceName",
    "DeviceReport",
    "DeviceTick",
    "DevicesReport",
    "DiffReport",
    "Dropped",
    "EngineReport",
    "Errors",
    "FirstFailure",
    "FitAccuracy",
    "FitHost",
    "FitMemoryReport",
    "FitModelReport",
    "FitPromise",
    "FitReport",
    "FitSet",
    "FitStops",
    "FitSuggestion",
    "FitTooLarge",
    "FitUncovered",
    "Forecast",
    "GenerateReport",
    "GraphReport",
    "Growing",
    "Grown",
    "Held",
    "HeldReport",
    "InPlaceReport",
    "LedgerEntry",
    "LengthUse",
    "LikelyToken",
    "Limit",
    "Measured",
    "Measurement",
    "Memory",
    "ModelReport",
    "Moment",
    "MonitorStats",
    "OrderReport",
    "OwnerUse",
    "Parameters",
    "PlanReport",
    "PlanStepReport",
    "PolicyReport",
    "PoolReport",
    "PoolStats",
    "PoolUse",
    "Predicted",
    "Prediction",
    "Predictions",
    "Presence",
    "ProcessIdentity",
    "ProcessUse",
    "Reading",
    "Reading2",
    "Reading3",
    "Reading4",
    "RecorderTick",
    "RelativeErrors",
    "ReleaseMismatch",
    "ReplayReport",
    "Replayed",
    "RunPlanReport",
    "RunReport",
    "SampleReport",
    "SharedPairReport",
    "SourceTick",
    "Stall",
    "StallTimes",
    "StartsReport",
    "StreamPoolMemory",
    "StressReport",
    "SuspectedLeak",
    "Tail",
    "TailPredictions",
    "TensorReport",
    "Threshold",
    "Tick",
    "TopReading",
    "TopReading2",
    "TopReading3",
    "TraceEvent",
    "TraceReport",
    "TrafficReport",
    "Unavailable",
    "UnavailableReport",
    "UnreadWeights",
    "ValidateReport",
    "Verdict",
    "ViolationReport",
    "WaitingTime",
    "WatchEvent",
]


class BatchForRisk(Document):
    """The largest batch for one risk."""

    __slots__ = ()

    #: The batch; `None` where refused.
    max_batch: int | None
    #: Or as large as this.
    max_batch_high: int | None
    #: It may be as small as this.
    max_batch_low: int | None
    #: The risk over the horizon.
    risk: float


class Predictions(Document):
    """One figure by each model; `None` where a model has nothing to say, or nothing it can stand behind."""

    __slots__ = ()

    #: By the corrected closed forms.
    corrected: float | None
    #: Exactly, or simulated where no closed form is sound.
    exact: float | None
    #: By the published formulas.
    published: float | None
    #: By simulation.
    simulated: float | None
    #: The standard error of the simulation.
    standard_error: float | None


class Moment(Document):
    """One stretch of steps."""

    __slots__ = ()

    #: Most blocks in use in it.
    blocks: int
    #: Sequences preempted in it.
    preemptions: int
    #: Most sequences running in it.
    running: int
    #: Its first step.
    step: int


class Replayed(Document):
    """What came of a replay."""

    __slots__ = ()

    #: Requests that ended: all of them.
    completed: int
    #: Blocks in use on average over the steps.
    mean_blocks: float
    #: Most blocks in use.
    peak_blocks: int
    #: Most sequences running.
    peak_running: int
    #: Most requests waiting that could have come in.
    peak_waiting: int
    #: How often a sequence had to give its blocks back.
    preemptions: int
    #: Tokens computed a second time for that.
    recomputed_tokens: int
    #: Steps until all had ended.
    steps: int
    #: Occupancy over time: the most of each of at most 2,048 equal stretches of steps.
    timeline: list[Moment]

    _nested: ClassVar[Mapping[str, str]] = {"timeline": "Moment"}


class TailPredictions(Document):
    """The probability that the peak of a cycle is over the capacity, by each model."""

    __slots__ = ()

    #: By a Gamma law with the corrected moments.
    corrected: float | None
    #: By simulation, splitting, or the exact law.
    exact: float | None
    #: The published bound, from its own E\\[X0\\].
    published: float | None


class TrafficReport(Document):
    """The traffic that was asked about."""

    __slots__ = ()

    #: The longest that a request can get, tokens; `None` without a limit.
    largest: float | None
    #: Mean output, tokens.
    mean_output: float
    #: Mean prompt, tokens.
    mean_prompt: float
    #: How many requests it was learned from; `None` for a formula.
    requests: int | None
    #: Endings over decode steps.
    termination: float


class WaitingTime(Document):
    """How long requests wait for a seat, in decode steps."""

    __slots__ = ()

    #: On average.
    mean_steps: float
    #: Half of them wait no longer.
    median_steps: float
    #: Nineteen of twenty wait no longer.
    p95_steps: float
    #: Ninety-nine of a hundred wait no longer.
    p99_steps: float
    #: The standard error of that.
    standard_error_steps: float
    #: The part of requests that waits at all.
    waiting_ratio: float


class CapacityReport(Pictured):
    """How likely a memory is to run out: `vramkit.capacity/1`. Sizes are in tokens where they do not say bytes."""

    __slots__ = ()

    #: Requests that come in a step on average; `None` where there always is one for a free seat.
    arrivals_per_step: float | None
    #: Whether requests come in the log's own order.
    as_logged: bool
    #: What is taken to be so.
    assumptions: list[str]
    #: N.
    batch: int
    #: Largest batches for this and other risks.
    batches: list[BatchForRisk]
    #: Tokens of a block that memory is granted in.
    block_tokens: int
    #: The same in bytes, when a model was given.
    capacity_bytes_needed: int | None
    #: Tokens of memory; `None` when none was given.
    capacity_tokens: float | None
    #: The least memory with which the batch has the risk; `None` where refused.
    capacity_tokens_needed: float | None
    #: Or as much as this.
    capacity_tokens_needed_high: float | None
    #: It may be as little as this.
    capacity_tokens_needed_low: float | None
    #: Whether all seats are filled at once when the horizon begins.
    cold_start: bool
    #: The same probability if all seats are filled at once when the horizon begins; `None` where that was asked about already, or
    #: not computed.
    cold_start_probability: float | None
    #: Whether each seat is refilled at once.
    continuous: bool
    #: What the peak of a cycle is taken to be.
    convention: str
    #: Steps of a cycle, on average.
    cycle_steps: float
    #: Options with which the engine asked about serves this at the risk.
    engine_flags: list[str] | None
    #: Steps of the horizon; `None` for a cycle (threshold batching) or a step drawn at random (continuous).
    horizon_steps: float | None
    #: How much the peak of a cycle is above that, on average.
    kappa: Predictions
    #: Bytes that a sequence takes beside its tokens, whatever its length: windows as if full, and recurrent state. Absent where
    #: there are none.
    kv_bytes_per_sequence: int | None
    #: Bytes that a token takes, when a model was given.
    kv_bytes_per_token: int | None
    #: Whether lengths were estimated from text, at 4 characters a token.
    lengths_estimated: bool
    #: The part of the seats that these take; 1 and more is too few seats for them.
    load_ratio: float | None
    #: The largest batch with this risk.
    max_batch: int | None
    #: The model's context, tokens.
    max_model_len: int | None
    #: Sequences that would fit if each were of mean length: half the time too many.
    mean_fit_batch: int | None
    #: What was refused and why, and where the published model does not hold.
    notes: list[str]
    #: Of running out within the horizon; `None` without a capacity, or refused.
    probability: float | None
    #: The upper end.
    probability_high: float | None
    #: Within two standard errors of what was sampled and of the log's finite number of requests.
    probability_low: float | None
    #: How it was found.
    probability_method: str | None
    #: Why by that.
    probability_reason: str | None
    #: The log run through a scheduler.
    replay: Replayed | None
    #: Machines among which requests are shared out. Batch, memory and `tail` are those of one, other risks those of any.
    replicas: int
    #: The risk asked about.
    risk: float
    #: Rows of the log that were left out because they can be no request.
    rows_left_out: int
    #: `vramkit.capacity/1`.
    schema: str
    #: Whether `batch` is the most that are served at once; false where as many are as come.
    seats_limited: bool
    #: Tokens with which all prompts begin alike, held once; `traffic` is of what is beside them.
    shared_prefix_tokens: int
    #: Seconds of a decode step, where time matters.
    step_seconds: float | None
    #: The peak of one cycle over the capacity.
    tail: TailPredictions
    #: k; 1 under continuous batching.
    threshold: int
    #: What was asked about.
    traffic: TrafficReport
    #: How long requests wait for a seat, in decode steps.
    waiting: WaitingTime | None
    #: Whether the risk asked about is kept; `None` without a capacity, and where nothing says.
    within_risk: bool | None
    #: Sequences that always fit; `None` when lengths have no limit.
    worst_case_batch: int | None
    #: Tokens held as decoding starts, on average.
    x0: Predictions
    #: The peak of a cycle, on average.
    xmax: Predictions

    _nested: ClassVar[Mapping[str, str]] = {"batches": "BatchForRisk", "kappa": "Predictions", "replay": "Replayed", "tail": "TailPredictions", "traffic": "TrafficReport", "waiting": "WaitingTime", "x0": "Predictions", "xmax": "Predictions"}


class Reading2(Document):
    """A number that may be missing, with its origin; a missing one says why and is never shown as zero."""

    __slots__ = ()

    #: Who was asked.
    source: str
    #: Why there is no number.
    unavailable: str | None
    #: The number; `None` when the source does not give it.
    value: int | None


class Reading3(Document):
    """A number that may be missing, with its origin; a missing one says why and is never shown as zero."""

    __slots__ = ()

    #: Who was asked.
    source: str
    #: Why there is no number.
    unavailable: str | None
    #: The number; `None` when the source does not give it.
    value: int | None


class Reading4(Document):
    """A number that may be missing, with its origin; a missing one says why and is never shown as zero."""

    __slots__ = ()

    #: Who was asked.
    source: str
    #: Why there is no number.
    unavailable: str | None
    #: The number; `None` when the source does not give it.
    value: str | None


class StreamPoolMemory(Document):
    """What the driver's default stream-ordered pool of a card holds (`cudaMallocAsync` of any library in the process)."""

    __slots__ = ()

    #: Held from the card now.
    reserved_bytes: Reading3
    #: Most ever held.
    reserved_high_bytes: Reading3
    #: Allocated now.
    used_bytes: Reading3
    #: Most ever allocated.
    used_high_bytes: Reading3

    _nested: ClassVar[Mapping[str, str]] = {"reserved_bytes": "Reading3", "reserved_high_bytes": "Reading3", "used_bytes": "Reading3", "used_high_bytes": "Reading3"}


class Reading(Document):
    """A number that may be missing, with its origin; a missing one says why and is never shown as zero."""

    __slots__ = ()

    #: Who was asked.
    source: str
    #: Why there is no number.
    unavailable: str | None
    #: The number; `None` when the source does not give it.
    value: bool | None


class DeviceReport(Document):
    """One device of this machine."""

    __slots__ = ()

    #: Width of the memory bus, in bits.
    bus_width_bits: Reading2
    #: Whose memory it is.
    class_: str
    #: What this program has committed through this device.
    committed_bytes: Reading3
    #: Compute capability, as `major.minor`.
    compute_capability: Reading4
    #: What could be committed now, given every other process.
    free_bytes: Reading3
    #: The unit of committing, in bytes; 0 where this program takes no memory of it.
    granularity_bytes: int
    #: How the command line names it: `host`, `sim`, `cuda:0`.
    id: str
    #: The kind of memory.
    kind: str
    #: Second-level cache, in bytes.
    l2_cache_bytes: Reading3
    #: Processors that compute at once (streaming multiprocessors, cores).
    multiprocessors: Reading2
    #: What its maker calls it.
    name: str
    #: What else is to be known of the numbers: what was guessed and from what.
    notes: list[str]
    #: What the driver's default stream-ordered pool holds; absent for a device without one.
    stream_pool: StreamPoolMemory | None
    #: All of it, as far as this program may use it.
    total_bytes: Reading3
    #: Whether the device shares its memory with the host's processor.
    unified: Reading
    #: Its identity wherever it is plugged in and whatever numbers it has, where the driver gives one: `GPU-…`, `MIG-…`.
    uuid: str | None

    _nested: ClassVar[Mapping[str, str]] = {"bus_width_bits": "Reading2", "committed_bytes": "Reading3", "compute_capability": "Reading4", "free_bytes": "Reading3", "l2_cache_bytes": "Reading3", "multiprocessors": "Reading2", "stream_pool": "StreamPoolMemory", "total_bytes": "Reading3", "unified": "Reading"}
    _renamed: ClassVar[Mapping[str, str]] = {"class_": "class"}


class UnavailableReport(Document):
    """A kind of device that is not here."""

    __slots__ = ()

    #: The kind.
    kind: str
    #: Why there is none.
    reason: str


class DevicesReport(Answer):
    """The devices of this machine: `vramkit.devices/1`."""

    __slots__ = ()

    #: The devices.
    devices: list[DeviceReport]
    #: `vramkit.devices/1`.
    schema: str
    #: Kinds of device of which there is none, and why.
    unavailable: list[UnavailableReport]

    _nested: ClassVar[Mapping[str, str]] = {"devices": "DeviceReport", "unavailable": "UnavailableReport"}


class FitAccuracy(Document):
    """How well figures have been checked: `exact`, a ratio within which they were found right, or `null` where nothing was checked
    for an architecture and back end."""

    __slots__ = ()

    #: Of cache and state.
    kv: str | float | None
    #: Of the overhead.
    overhead: str | float | None
    #: Of weights.
    weights: str | float | None
    #: Of working memory.
    workspace: str | float | None


class FitHost(Document):
    """What is in main memory."""

    __slots__ = ()

    #: The cache of keys and values.
    kv_bytes: int | None
    #: Weights that are kept rearranged for the processor's kernels, beside those; llama.cpp leaves them out of what it prints of
    #: the host.
    repacked_weights_bytes: int | None
    #: Recurrent state.
    state_bytes: int | None
    #: All of it; `null` where a part is not known.
    total_bytes: int | None
    #: Weights; `null` when there are none to be counted.
    weights_bytes: int | None
    #: Working memory; `null` where it is not known.
    workspace_bytes: int | None


class FitMemoryReport(Document):
    """A memory."""

    __slots__ = ()

    #: The device that was looked at; `null` for a size that was given.
    device: str | None
    #: What nobody holds.
    free_bytes: int
    #: What is held already: by other processes, and on a card by the context that its driver is asked from.
    held_bytes: int
    #: All of it.
    total_bytes: int


class FitModelReport(Document):
    """One model, in a process of its own."""

    __slots__ = ()

    #: How well the figures have been checked.
    accuracy: FitAccuracy
    #: As its files have it; `onnx` for a graph.
    architecture: str
    #: What that computes with.
    backend: str
    #: Tokens of context as the engine rounds them: of all sequences together for llama.cpp, of one for vLLM.
    context: int | None
    #: The same in main memory.
    host: FitHost
    #: The cache of keys and values.
    kv_bytes: int | None
    #: Bytes of it that one more token takes, windows not yet full.
    kv_bytes_per_token: int | None
    #: Tokens in that ("GPU KV cache size").
    kv_cache_tokens: int | None
    #: Layers, the output not counted; `null` for a graph.
    layers: int | None
    #: Layers on the device, the output counted as one.
    layers_on_device: int | None
    #: Sequences at full length that it holds ("Maximum concurrency").
    maximum_concurrency: float | None
    #: The file's or folder's name, without its ending.
    name: str
    #: What contexts of the driver and libraries take, one for each process; `null` where it was not measured.
    overhead_bytes: int | None
    #: The cache that vLLM makes of all that is left to it ("Available KV cache memory"); `null` for others, and without a memory.
    reserved_cache_bytes: int | None
    #: Its engine.
    runtime: str
    #: Sequences at a time.
    sequences: int | None
    #: Recurrent state.
    state_bytes: int | None
    #: All of it; `null` where a part is not known.
    total_bytes: int | None
    #: Weights; `null` when there are none to be counted.
    weights_bytes: int | None
    #: Working memory; `null` where it is not known for an architecture.
    workspace_bytes: int | None

    _nested: ClassVar[Mapping[str, str]] = {"accuracy": "FitAccuracy", "host": "FitHost"}


class FitUncovered(Document):
    """A model of which nothing can be said."""

    __slots__ = ()

    #: Where it is written.
    line: int
    #: Its name.
    name: str
    #: Why.
    reason: str


class FitPromise(Document):
    """A set that a configuration promises."""

    __slots__ = ()

    #: Whether every combination fits; `null` when what is known fits and something is not known.
    fits: bool | None
    #: What that leaves; negative by what is missing.
    headroom_bytes: int | None
    #: Where it is written.
    line: int | None
    #: The largest combination that it allows, as far as is known.
    models: list[str]
    #: What the file calls it.
    name: str
    #: What that takes: at least, where something is not known and the rest does not fit; `null` where `fits` is.
    total_bytes: int | None
    #: Models of it of which nothing can be said.
    unknown: list[str]


class FitSet(Document):
    """Models that fit together."""

    __slots__ = ()

    #: What they leave.
    headroom_bytes: int
    #: Their names.
    models: list[str]
    #: What they take; vLLM its whole part of the device.
    total_bytes: int


class FitStops(Document):
    """Why there is no more than the most."""

    __slots__ = ()

    #: Of `max_context`.
    max_context: str | None
    #: Of `max_layers_on_device`.
    max_layers_on_device: str | None
    #: Of `max_sequences`.
    max_sequences: str | None


class FitSuggestion(Document):
    """A change of the engine's own options."""

    __slots__ = ()

    #: What is changed, in words.
    change: str
    #: Whether it then fits.
    fits: bool | None
    #: The engine's options, each with its value, as they stand on its command line.
    options: list[str]
    #: What is then needed on the device.
    total_bytes: int | None


class FitTooLarge(Document):
    """A model that does not fit even alone."""

    __slots__ = ()

    #: Its name.
    name: str
    #: What it takes.
    total_bytes: int


class FitReport(Answer):
    """Whether models fit: `vramkit.fit/1`. Sizes are in bytes, on the device where they do not say host."""

    __slots__ = ()

    #: How well the figures have been checked.
    accuracy: FitAccuracy
    #: What they may take together, when a memory was given: what is free, or the part of it that the engine confines itself to.
    available_bytes: int | None
    #: What it computes with; `null` where models have several.
    backend: str | None
    #: What they take of it at their start whatever they need, where one is vLLM's, which takes its whole part, and others are
    #: beside it or that part is not free.
    claimed_bytes: int | None
    #: The part that decides, in a sentence.
    decides: str | None
    #: Whether all models fit together; `null` without a memory, or when a part of the need is not known and the rest fits.
    fits: bool | None
    #: What is left of it; negative by what is missing.
    headroom_bytes: int | None
    #: The same in main memory.
    host: FitHost
    #: The cache of keys and values.
    kv_bytes: int | None
    #: Bytes of it that one more token takes, windows not yet full.
    kv_bytes_per_token: int | None
    #: The longest context that fits with all else as asked, in the engine's own counting: tokens of all sequences together for
    #: llama.cpp, of one for vLLM. No longer than the models were trained for.
    max_context: int | None
    #: The most layers on the device that fit, the output counted as one, as llama.cpp counts.
    max_layers_on_device: int | None
    #: The most sequences that fit, each with the context that one has now.
    max_sequences: int | None
    #: The memory that was given.
    memory: FitMemoryReport | None
    #: The models, one process each.
    models: list[FitModelReport]
    #: Models of which nothing can be said. They are in no set.
    not_covered: list[FitUncovered] | None
    #: What rests on a guess, or is not covered, in sentences.
    notes: list[str]
    #: What contexts of the driver and libraries take, one for each process; `null` where it was not measured.
    overhead_bytes: int | None
    #: The sets that the file promises.
    promised: list[FitPromise] | None
    #: The engine; `null` where models have several.
    runtime: str | None
    #: `vramkit.fit/1`.
    schema: str
    #: The maximal sets of models that fit: no other model can be added. Those of the most models first.
    sets: list[FitSet] | None
    #: Whether there are more sets than these.
    sets_truncated: bool | None
    #: Recurrent state.
    state_bytes: int | None
    #: Why there are no more of the three than that: `memory`, `model` or `engine`.
    stopped_by: FitStops
    #: The engine's own options that help, the best first.
    suggestions: list[FitSuggestion]
    #: Models that do not fit even alone.
    too_large: list[FitTooLarge] | None
    #: All of it; `null` where a part is not known.
    total_bytes: int | None
    #: Weights; `null` when there are none to be counted.
    weights_bytes: int | None
    #: Working memory; `null` where it is not known for an architecture.
    workspace_bytes: int | None

    _nested: ClassVar[Mapping[str, str]] = {"accuracy": "FitAccuracy", "host": "FitHost", "memory": "FitMemoryReport", "models": "FitModelReport", "not_covered": "FitUncovered", "promised": "FitPromise", "sets": "FitSet", "stopped_by": "FitStops", "suggestions": "FitSuggestion", "too_large": "FitTooLarge"}


class LikelyToken(Document):
    """A token with the natural logarithm of its probability."""

    __slots__ = ()

    #: ln p, at temperature 1.
    logprob: float
    #: The token.
    token: int


class GenerateReport(Answer):
    """What a model said, and what it took."""

    __slots__ = ()

    #: Most tokens of prompt and output.
    context_tokens: int
    #: From the first token to the last.
    decode_seconds: float
    #: Generated tokens behind the first in a second; 0 when there are none.
    decode_tokens_per_second: float
    #: `stop`: a token that ends a text; `length`: as many as were asked for; `context`: the context is full; `stopped`: whoever
    #: was told the text wanted no more.
    finish: str
    #: Keys and values of one token.
    kv_bytes_per_token: int
    #: From the start until the weights were there.
    load_seconds: float
    #: The model's file.
    model: str
    #: Keys and values of the tokens that were computed, at most.
    peak_kv_bytes: int
    #: The same in whole blocks, as granted.
    peak_kv_granted_bytes: int
    #: Until the first token.
    prefill_seconds: float
    #: Tokens of the prompt in a second.
    prefill_tokens_per_second: float
    #: The prompt.
    prompt_tokens: list[int]
    #: `vramkit.generate/1`.
    schema: str
    #: The same as text, special tokens left out.
    text: str
    #: What was generated, the token that ends it included.
    tokens: list[int]
    #: For each generated token the most probable ones at its place; empty when none were asked for.
    top: list[list[LikelyToken]]
    #: What was granted after the model was unloaded.
    used_after_unload_bytes: int
    #: The weights, as granted.
    weights_bytes: int
    #: What a step's activations share.
    workspace_bytes: int

    _nested: ClassVar[Mapping[str, str]] = {"top": "LikelyToken"}


class ConflictReport(Document):
    """Tensors that alone cannot be placed within the capacity."""

    __slots__ = ()

    #: Whether it is known that without any one of them the others would fit.
    irreducible: bool
    #: No arena for them is smaller.
    needs_bytes: int
    #: The step at which all of them are live, when that is the reason; `null` when no single step is.
    step: int | None
    #: Their names.
    tensors: list[str]


class InPlaceReport(Document):
    """What operators that work in place save: whichever plan has the smaller arena is the answer."""

    __slots__ = ()

    #: Whether they do in this plan.
    is_used: bool
    #: The arena found where they do; `null` where none was found over the pools.
    with_bytes: int | None
    #: The arena found where they do not; a first answer where that could not be the smaller one.
    without_bytes: int | None


class EngineReport(Document):
    """What an engine plans for a model by its own rules, which leave inputs, outputs and weights out."""

    __slots__ = ()

    #: Operators of the graph for which the engine's block may be another one.
    doubts: list[str]
    #: How it optimises the graph first, in words.
    level: str
    #: The engine.
    name: str
    #: The block that it takes for tensors between nodes.
    pattern_bytes: int
    #: The arena that the same tensors take as they are planned here.
    planned_bytes: int


class BoundReport(Document):
    """A tensor whose size depends on data."""

    __slots__ = ()

    #: Its name in the graph.
    id: str
    #: Whether this is where data decides, rather than a tensor that follows from one that it decides.
    is_source: bool
    #: The operator that makes it.
    operator: str


class DerivedReport(Document):
    """A tensor that is computed from parameters alone."""

    __slots__ = ()

    #: How a runtime can do without it, where it can.
    avoidable: str | None
    #: Its name in the graph.
    id: str
    #: The operator that makes it.
    operator: str
    #: Its size.
    size_bytes: int


class GraphReport(Document):
    """What was found out about a model's graph as it was read."""

    __slots__ = ()

    #: Tensors whose sizes depend on data, and are the most that they can be; then those that are computed from them.
    bounds: list[BoundReport]
    #: What is computed from its parameters alone, the largest first.
    derived: list[DerivedReport]
    #: What else the plan rests on, in words.
    notes: list[str]

    _nested: ClassVar[Mapping[str, str]] = {"bounds": "BoundReport", "derived": "DerivedReport"}


class OrderReport(Document):
    """What another order of a model's steps saves, and what doing some of them again saves beyond that."""

    __slots__ = ()

    #: No order of the steps, each done once, has less than this, as far as was shown.
    bound_bytes: int
    #: Most bytes live in the file's order.
    file_peak_bytes: int
    #: Whether no order has less than the one chosen.
    proven: bool
    #: Most bytes live in the order chosen of the steps and some done again.
    recomputed_peak_bytes: int
    #: Most bytes live in the order chosen.
    reordered_peak_bytes: int
    #: How many steps are done again.
    repeated_steps: int


class ModelReport(Document):
    """One model of a plan."""

    __slots__ = ()

    #: Bytes that are computed from the parameters alone, before it runs: they stay beside these, and are not shared.
    derived_bytes: int
    #: What an engine plans for it, where that was asked for.
    engine: EngineReport | None
    #: What is known of its graph, where it comes from one.
    graph: GraphReport | None
    #: Most bytes live at one time.
    live_peak_bytes: int
    #: Its name.
    name: str
    #: What another order of its steps saved, where one was asked for.
    order: OrderReport | None
    #: When it starts, where that was to be chosen.
    start: int | None
    #: Bytes of all of them.
    sum_of_sizes_bytes: int
    #: How many tensors it has.
    tensors: int
    #: Bytes of parameters, as they are stored.
    weights_bytes: int

    _nested: ClassVar[Mapping[str, str]] = {"engine": "EngineReport", "graph": "GraphReport", "order": "OrderReport"}


class PoolReport(Document):
    """One pool of a plan over several."""

    __slots__ = ()

    #: The highest end of any of its tensors.
    arena_bytes: int
    #: Most bytes of its arena.
    capacity_bytes: int
    #: Most bytes of its tensors that are live at one time.
    live_peak_bytes: int
    #: No arena is smaller for the tensors that are in it.
    lower_bound_bytes: int
    #: Its name.
    name: str
    #: How many tensors are in it.
    tensors: int


class SharedPairReport(Document):
    """Two tensors that have addresses in common."""

    __slots__ = ()

    #: The one that starts first.
    first: str
    #: Its model.
    first_model: str
    #: Why that is safe.
    reason: str
    #: The other.
    second: str
    #: Its model.
    second_model: str
    #: Bytes of addresses that both have.
    shared_bytes: int


class StartsReport(Document):
    """What choosing the models' starts saves."""

    __slots__ = ()

    #: No starts have less.
    bound_bytes: int
    #: Most bytes live together with the starts chosen.
    chosen_peak_bytes: int
    #: The first step after all models with the starts given, which may be past the makespan.
    given_end: int
    #: Most bytes live together with the starts given.
    given_peak_bytes: int
    #: The steps within which all models end.
    makespan: int


class PlanStepReport(Document):
    """A moment of planning."""

    __slots__ = ()

    #: The smallest arena of the part that was known then.
    arena_bytes: int
    #: No arena of the part is smaller, as was known then.
    bound_bytes: int
    #: Since planning began.
    elapsed_seconds: float
    #: What was at work.
    method: str
    #: Which part: parts are times between which nothing is live, and models under the concurrent schedule.
    part: int
    #: How many tensors (or alias groups) the part has.
    tensors: int


class TensorReport(Document):
    """One tensor of a plan."""

    __slots__ = ()

    #: Its alignment, in bytes.
    alignment: int
    #: One past the last.
    end: int
    #: Its name, unique in its model.
    id: str
    #: Its model.
    model: str
    #: Its place in the arena.
    offset_bytes: int
    #: The pool that it is in, where there are several.
    pool: str | None
    #: Its size.
    size_bytes: int
    #: The first step of its life.
    start: int


class PlanReport(Answer):
    """A plan: `vramkit.plan/1`."""

    __slots__ = ()

    #: The highest end of any tensor; over pools, the sum of theirs.
    arena_bytes: int
    #: Why the capacity cannot be met, when that is proven.
    conflict: ConflictReport | None
    #: Bytes that are computed from parameters alone, which are beside them.
    derived_bytes: int
    #: Bytes of tensors that are not in the pool that they prefer.
    displaced_bytes: int | None
    #: How long planning took.
    elapsed_seconds: float
    #: Whether the arena is within the capacity, or every pool's within its own: `false` when none can be, `null` when none was
    #: found. `true` where no capacity was given.
    feasible: bool | None
    #: How far the arena is above the bound, as a fraction of the bound.
    gap_ratio: float
    #: What operators that work in place save, where they were allowed to.
    in_place: InPlaceReport | None
    #: Most bytes live at one time; each model for itself under the concurrent schedule, all together.
    live_peak_bytes: int
    #: No arena is smaller, and no sum of arenas over pools: the live peak, or more where alignment, pins or a search have proven
    #: more. The arena itself where it is proven optimal.
    lower_bound_bytes: int
    #: What found the plan.
    method: str
    #: The models.
    models: list[ModelReport]
    #: What the models take by this plan: its arena, and their parameters with what is computed from these.
    planned_total_bytes: int
    #: The pools, where there are several; the arena is then the sum of theirs.
    pools: list[PoolReport] | None
    #: As `lower_bound_bytes`.
    proven_bound_bytes: int
    #: Whether no smaller arena exists; over pools, whether no distribution has smaller arenas together, or every tensor is in the
    #: pool that it prefers and no pool's arena can be smaller.
    proven_optimal: bool
    #: What the plan saves of that; 0 where it takes more.
    reduction_of_separate_total_ratio: float
    #: Why tensors could not be distributed over pools.
    refusal: str | None
    #: What the plan is sound under.
    schedule: str
    #: `vramkit.plan/1`.
    schema: str
    #: What the models take each for itself, at best: their live peaks, and their parameters.
    separate_total_bytes: int
    #: Pairs of tensors of different models that are never live together, and so could have.
    shareable_pairs_across_models: int
    #: Pairs of tensors of one model that are never live together.
    shareable_pairs_within_models: int
    #: Of these pairs, those with most addresses in common: up to 1,000.
    shared: list[SharedPairReport]
    #: Pairs of tensors that have addresses in common.
    shared_pairs: int
    #: What choosing the models' starts saved, where that was asked for.
    starts: StartsReport | None
    #: How planning got on: the first answers, and whatever improved on them.
    steps: list[PlanStepReport]
    #: What these become by alignment, at least: no arenas for each model alone are smaller together.
    sum_of_aligned_peaks_bytes: int
    #: Bytes of all models' live peaks.
    sum_of_peaks_bytes: int
    #: Bytes of all tensors.
    sum_of_sizes_bytes: int
    #: The tensors; left out where a plan is part of something larger.
    tensors: list[TensorReport] | None
    #: Bytes of all models' parameters, which are beside the arena.
    weights_bytes: int

    _nested: ClassVar[Mapping[str, str]] = {"conflict": "ConflictReport", "in_place": "InPlaceReport", "models": "ModelReport", "pools": "PoolReport", "shared": "SharedPairReport", "starts": "StartsReport", "steps": "PlanStepReport", "tensors": "TensorReport"}


class Grown(Document):
    """What one owner holds in two traces."""

    __slots__ = ()

    #: Bytes that it holds in the second.
    after_bytes: int
    #: Bytes that it holds in the first.
    before_bytes: int
    #: Allocations that it has more; less than 0 for fewer.
    grown_allocations: int
    #: How many more; less than 0 for fewer.
    grown_bytes: int
    #: The owner, as in [`Held`].
    owner: str


class DiffReport(Document):
    """What grew from one trace to another."""

    __slots__ = ()

    #: The second file.
    after: str
    #: The moment of both that is compared: `peak`, `end` or the number of an operation.
    at: str
    #: The first file.
    before: str
    #: What an owner is.
    by: str
    #: Bytes that the second holds more than the first; less than 0 for fewer.
    grown_bytes: int
    #: Owners that hold more or less, most grown first.
    owners: list[Grown]

    _nested: ClassVar[Mapping[str, str]] = {"owners": "Grown"}


class Held(Document):
    """What one owner holds at a step of a trace."""

    __slots__ = ()

    #: Allocations.
    allocations: int
    #: Bytes asked for, and not given back.
    bytes: int
    #: The owner; empty for what the recording says nothing of. A stack has its frames here, outermost first, with `;` between
    #: them, without those of the interpreter.
    owner: str


class HeldReport(Document):
    """Who holds what at a moment of a trace."""

    __slots__ = ()

    #: The moment: `peak`, `end`, `failure` or the number of an operation.
    at: str
    #: What an owner is.
    by: str
    #: Bytes asked for and not given back, all owners together.
    bytes: int
    #: The operation after which it is, counted from 0; nothing is held before the first.
    operation: int
    #: Owners, most first.
    owners: list[Held]

    _nested: ClassVar[Mapping[str, str]] = {"owners": "Held"}


class FirstFailure(Document):
    """The first request that a policy refuses."""

    __slots__ = ()

    #: The stack that has asked, innermost frame first.
    frames: list[str]
    #: Bytes that nobody had.
    free_bytes: int
    #: Most of them that could have been had in one piece.
    largest_free_bytes: int
    #: Bytes that were live then, as asked for.
    live_bytes: int
    #: Which operation of the trace, counted from 0.
    operation: int
    #: Whose line of code has asked; empty where the file does not say.
    owner: str
    #: Bytes asked for.
    requested_bytes: int


class PolicyReport(Document):
    """What a policy made of a trace."""

    __slots__ = ()

    #: When most is live: how much of what is free below the arena's end is not in one piece, 0..1.
    external_fragmentation_ratio: float
    #: Requests refused for lack of memory. The first would have ended most programs.
    failures: int
    #: The first of them.
    first_failure: FirstFailure | None
    #: When most is live: how much of what is granted was not asked for, 0..1.
    internal_fragmentation_ratio: float
    #: A capacity with which nothing is refused, and with 2 MiB less of which something is; not looked for in long traces unless
    #: asked for.
    least_capacity_bytes: int | None
    #: The median over runs, after a first one, of a run's time for each operation; of one run where it is long; for `offline`,
    #: planning's.
    nanoseconds_per_operation: float
    #: The highest end of anything placed.
    peak_arena_bytes: int
    #: Most bytes held from the device.
    peak_committed_bytes: int
    #: The policy.
    policy: str
    #: PyTorch's settings, where they are not as they come.
    settings: str

    _nested: ClassVar[Mapping[str, str]] = {"first_failure": "FirstFailure"}


class TraceReport(Document):
    """One trace against policies."""

    __slots__ = ()

    #: The file, with the device where it has several.
    file: str
    #: Who holds what at a moment.
    held: HeldReport
    #: What is odd about the file, and what was made of it.
    notes: list[str]
    #: Allocations, frees and requests that failed.
    operations: int
    #: Most bytes live at once, as asked for.
    peak_live_bytes: int
    #: One for each policy; none where the file has no history.
    policies: list[PolicyReport]
    #: Most bytes that the recorded program held from its device, where the file says.
    recorded_reserved_bytes: int | None
    #: PyTorch's settings under which the program was recorded, where the file says.
    recorded_settings: str

    _nested: ClassVar[Mapping[str, str]] = {"held": "HeldReport", "policies": "PolicyReport"}


class ReplayReport(Pictured):
    """Traces against policies: `vramkit.replay/1`."""

    __slots__ = ()

    #: What grew from the first file to the second, where that was asked for.
    diff: DiffReport | None
    #: `vramkit.replay/1`.
    schema: str
    #: One for each trace.
    traces: list[TraceReport]

    _nested: ClassVar[Mapping[str, str]] = {"diff": "DiffReport", "traces": "TraceReport"}


class TraceEvent(Document):
    """Something that was decided or found."""

    __slots__ = ()

    #: Since the collector was made.
    at_seconds: float
    #: Whether it was done; a dry run only says what would be.
    done: bool
    #: Counted from 0, those that are no longer kept included.
    sequence: int


class DeviceInfo(Document):
    """What a device is."""

    __slots__ = ()

    #: Width of the memory bus, in bits.
    bus_width_bits: Reading2
    #: Compute capability, as `major.minor`.
    compute_capability: Reading4
    #: The unit of committing, in bytes; 0 where this program takes no memory of it.
    granularity_bytes: int
    #: How the command line names it: `host`, `sim`, `cuda:0`.
    id: str
    #: The kind of memory.
    kind: str
    #: Second-level cache, in bytes.
    l2_cache_bytes: Reading3
    #: Processors that compute at once (streaming multiprocessors, cores).
    multiprocessors: Reading2
    #: What its maker calls it.
    name: str
    #: Whether the device shares its memory with the host's processor.
    unified: Reading
    #: Its identity wherever it is plugged in and whatever numbers it has, where the driver gives one: `GPU-…`, `MIG-…`.
    uuid: str | None

    _nested: ClassVar[Mapping[str, str]] = {"bus_width_bits": "Reading2", "compute_capability": "Reading4", "l2_cache_bytes": "Reading3", "multiprocessors": "Reading2", "unified": "Reading"}


class Dropped(Document):
    """How much is no longer there: the oldest."""

    __slots__ = ()

    #: Events.
    events: int
    #: Samples of memory.
    samples: int
    #: Stretches of execution.
    spans: int


class RunPlanReport(Document):
    """A plan: `vramkit.plan/1`."""

    __slots__ = ()

    #: The highest end of any tensor; over pools, the sum of theirs.
    arena_bytes: int
    #: Why the capacity cannot be met, when that is proven.
    conflict: ConflictReport | None
    #: Bytes that are computed from parameters alone, which are beside them.
    derived_bytes: int
    #: Bytes of tensors that are not in the pool that they prefer.
    displaced_bytes: int | None
    #: How long planning took.
    elapsed_seconds: float
    #: Whether the arena is within the capacity, or every pool's within its own: `false` when none can be, `null` when none was
    #: found. `true` where no capacity was given.
    feasible: bool | None
    #: How far the arena is above the bound, as a fraction of the bound.
    gap_ratio: float
    #: What operators that work in place save, where they were allowed to.
    in_place: InPlaceReport | None
    #: Most bytes live at one time; each model for itself under the concurrent schedule, all together.
    live_peak_bytes: int
    #: No arena is smaller, and no sum of arenas over pools: the live peak, or more where alignment, pins or a search have proven
    #: more. The arena itself where it is proven optimal.
    lower_bound_bytes: int
    #: What found the plan.
    method: str
    #: The models.
    models: list[ModelReport]
    #: What the models take by this plan: its arena, and their parameters with what is computed from these.
    planned_total_bytes: int
    #: The pools, where there are several; the arena is then the sum of theirs.
    pools: list[PoolReport] | None
    #: As `lower_bound_bytes`.
    proven_bound_bytes: int
    #: Whether no smaller arena exists; over pools, whether no distribution has smaller arenas together, or every tensor is in the
    #: pool that it prefers and no pool's arena can be smaller.
    proven_optimal: bool
    #: What the plan saves of that; 0 where it takes more.
    reduction_of_separate_total_ratio: float
    #: Why tensors could not be distributed over pools.
    refusal: str | None
    #: What the plan is sound under.
    schedule: str
    #: `vramkit.plan/1`.
    schema: str
    #: What the models take each for itself, at best: their live peaks, and their parameters.
    separate_total_bytes: int
    #: Pairs of tensors of different models that are never live together, and so could have.
    shareable_pairs_across_models: int
    #: Pairs of tensors of one model that are never live together.
    shareable_pairs_within_models: int
    #: Of these pairs, those with most addresses in common: up to 1,000.
    shared: list[SharedPairReport]
    #: Pairs of tensors that have addresses in common.
    shared_pairs: int
    #: What choosing the models' starts saved, where that was asked for.
    starts: StartsReport | None
    #: How planning got on: the first answers, and whatever improved on them.
    steps: list[PlanStepReport]
    #: What these become by alignment, at least: no arenas for each model alone are smaller together.
    sum_of_aligned_peaks_bytes: int
    #: Bytes of all models' live peaks.
    sum_of_peaks_bytes: int
    #: Bytes of all tensors.
    sum_of_sizes_bytes: int
    #: The tensors; left out where a plan is part of something larger.
    tensors: list[TensorReport] | None
    #: Bytes of all models' parameters, which are beside the arena.
    weights_bytes: int

    _nested: ClassVar[Mapping[str, str]] = {"conflict": "ConflictReport", "in_place": "InPlaceReport", "models": "ModelReport", "pools": "PoolReport", "shared": "SharedPairReport", "starts": "StartsReport", "steps": "PlanStepReport", "tensors": "TensorReport"}


class ReleaseMismatch(Document):
    """A release after which not as much less was in use as it gave back."""

    __slots__ = ()

    #: By how much the bytes in use fell.
    fell_bytes: int
    #: What its release gave back.
    freed_bytes: int
    #: The model.
    model: str


class SampleReport(Document):
    """Memory at one time."""

    __slots__ = ()

    #: Since the run began.
    at_seconds: float
    #: Held from the device.
    committed_bytes: int
    #: The level of pressure.
    level: str
    #: Behind the pool's addresses, as the system saw it; `null` where it does not tell.
    system_bytes: int | None
    #: Granted.
    used_bytes: int


class ViolationReport(Document):
    """A tensor that was not intact."""

    __slots__ = ()

    #: The first byte of it that was wrong.
    at_bytes: int
    #: The model.
    model: str
    #: The step that read it.
    step: int
    #: The tensor.
    tensor: str


class UnreadWeights(Document):
    """Weights of a model that stayed in its file."""

    __slots__ = ()

    #: The model.
    model: str
    #: Why they cannot be read.
    reason: str


class RunReport(Answer):
    """A run: `vramkit.run/1`."""

    __slots__ = ()

    #: Reads that found something else than was written.
    aliasing_violations: int
    #: What they would need each for itself, as well as that can be done: their live peaks and all weights.
    apart_bytes: int
    #: Most bytes that the pool might grant.
    capacity_bytes: int
    #: Bytes held from the device after everything was released and trimmed.
    committed_after_trim_bytes: int
    #: What was decided, in order; in a dry run, what would be, each with `"done": false`.
    decisions: list[TraceEvent]
    #: The device that it ran on.
    device: DeviceInfo
    #: How many older decisions and samples are not among these.
    dropped: Dropped
    #: Whether everything was decided and nothing done.
    dry_run: bool
    #: How long the run took.
    elapsed_seconds: float
    #: How often the level changed.
    level_changes: int
    #: How many readings were at each level.
    levels: dict[str, int]
    #: What the workload is called.
    name: str
    #: Most bytes that the pool held from the device.
    peak_committed_bytes: int
    #: Most bytes that the pool granted at one time; in a dry run, that it would have.
    peak_used_bytes: int
    #: The plan that was run.
    plan: RunPlanReport
    #: What being together saves of being apart; 0 where it takes more, as for the ratios below.
    reduction_of_apart_ratio: float
    #: What the arena saves of the sum of the models' live peaks.
    reduction_of_sum_of_peaks_ratio: float
    #: What the arena saves of the sum of all tensors' sizes. No model needs all of its tensors at once: see
    #: `reduction_of_apart_ratio`.
    reduction_of_sum_of_sizes_ratio: float
    #: Models whose release did not make the bytes in use fall by what it gave back.
    release_mismatches: list[ReleaseMismatch]
    #: How often every model ran.
    repetitions: int
    #: Memory over time.
    samples: list[SampleReport]
    #: `vramkit.run/1`.
    schema: str
    #: Time that models waited for memory, all together.
    stall_seconds: float
    #: Most bytes that the system saw behind the pool's addresses; `null` where it does not tell.
    system_peak_bytes: int | None
    #: Why the system does not tell; `null` where it does.
    system_peak_unavailable: str | None
    #: What the models need in one arena: the arena and all weights.
    together_bytes: int
    #: Bytes granted after everything was released.
    used_after_release_bytes: int
    #: Tensors written and found intact at every read, over all repetitions.
    verified_tensors: int
    #: The first of them.
    violations: list[ViolationReport]
    #: The weights of all models.
    weights_bytes: int
    #: Bytes of weights that came into memory as the models' files give them, every time that a model was bound. Memory for other
    #: weights is taken, and filled with a pattern that is checked.
    weights_read_bytes: int
    #: Models whose file's weights were not read, though there is memory for them.
    weights_unread: list[UnreadWeights]

    _nested: ClassVar[Mapping[str, str]] = {"decisions": "TraceEvent", "device": "DeviceInfo", "dropped": "Dropped", "plan": "RunPlanReport", "release_mismatches": "ReleaseMismatch", "samples": "SampleReport", "violations": "ViolationReport", "weights_unread": "UnreadWeights"}


class Check(Document):
    """What one check found."""

    __slots__ = ()

    #: Whether it found the fault.
    caught: bool | None
    #: What was done and seen.
    detail: str
    #: The fault that it was tried with, when asked to prove itself.
    fault: str | None
    #: What it is held to.
    limit: float
    #: What was measured.
    measured: float
    #: Which.
    name: str
    #: Whether what was measured is as it must be.
    passed: bool
    #: Of what both are.
    unit: str


class LengthUse(Document):
    """What a model takes with so many tokens of one sequence in its cache."""

    __slots__ = ()

    #: What the device has committed for it.
    committed_bytes: int
    #: Their keys and values as the ledger says, in whole blocks.
    kv_bytes: int
    #: The same as the system sees it, where it can be asked.
    resident_bytes: int | None
    #: Tokens in the cache.
    tokens: int
    #: All that is granted: weights, workspace, keys and values.
    used_bytes: int


class StressReport(Answer):
    """What a battery of checks found: `vramkit.stress/1`."""

    __slots__ = ()

    #: The checks, in the order in which they ran.
    checks: list[Check]
    #: Tokens of the context.
    context_tokens: int
    #: Bytes of a token in the cache, by the file's header.
    kv_bytes_per_token: int
    #: The model.
    model: str
    #: Whether every check passed, and caught its fault where it was asked to.
    passed: bool
    #: `vramkit.stress/1`.
    schema: str
    #: What the checks were run with.
    seed: int
    #: What is taken at several lengths of a sequence.
    usage: list[LengthUse]

    _nested: ClassVar[Mapping[str, str]] = {"checks": "Check", "usage": "LengthUse"}


class Activity(Document):
    """What a device does beside holding memory: what tells "held but idle" from "at work"."""

    __slots__ = ()

    #: At most, in watts.
    power_limit_watts: float | None
    #: In watts.
    power_watts: float | None
    #: In degrees Celsius.
    temperature_celsius: float | None
    #: The part of the last sampling period in which it computed, 0..1.
    utilization_ratio: float | None


class TopReading(Document):
    """A number that may be missing, with its origin; a missing one says why and is never shown as zero."""

    __slots__ = ()

    #: Who was asked.
    source: str
    #: Why there is no number.
    unavailable: str | None
    #: The number; `None` when the source does not give it.
    value: int | None


class AssignedTo(Document):
    """A container that may use a device, as the node's kubelet says."""

    __slots__ = ()

    #: The container's name in it.
    container: str
    #: `namespace/name`.
    pod: str


class DeviceName(Document):
    """Which device a snapshot is of."""

    __slots__ = ()

    #: As the command line names it: `host`, `cuda:0`.
    id: str
    #: As its maker does.
    name: str
    #: Its identity wherever it is plugged in, where the driver gives one.
    uuid: str | None


class Forecast(Document):
    """When the memory will be full, should it go on as it did."""

    __slots__ = ()

    #: The slope of the tops, in bytes a second; negative when memory empties.
    bytes_per_second: float
    #: See `bytes_per_second_low`.
    bytes_per_second_high: float
    #: Its interval, for 19 times in 20, whether what is random is white, remembers, or walks (Perron and Yabu 2009).
    bytes_per_second_low: float
    #: Until it is full; none when it does not fill.
    full_in_seconds: float | None
    #: Latest, at the lowest rate; none when that does not fill it.
    full_in_seconds_latest: float | None
    #: Soonest, at the highest rate.
    full_in_seconds_soonest: float | None


class Growing(Document):
    """What is known of growth."""

    __slots__ = ()

    #: A second, by the median of slopes.
    bytes_per_second: float
    #: Fast (over five minutes, or much of what is free) or sustained.
    fast: bool
    #: Over the window, of the level at its start.
    growth_ratio: float
    #: What was looked at, in seconds.
    window_seconds: float


class DeviceHolder(Document):
    """Who holds a part of a device, and whose that is."""

    __slots__ = ()

    #: What it holds.
    bytes: int
    #: Its command line, cleaned and cut.
    command: str | None
    #: The container it runs in: the runtime and the first twelve digits of its number.
    container: str | None
    #: The batch job it belongs to: `slurm:1234`.
    job: str | None
    #: A model and purpose of a pool, or a process.
    name: str
    #: The process, where it is one's alone.
    pid: int | None
    #: The Kubernetes pod it runs in: `namespace/name` where the kubelet was asked, else the pod's UID.
    pod: str | None
    #: The user it runs as: a name where there is one, else the number.
    user: str | None


class Decision(Document):
    """Something that a program's orchestrator decided."""

    __slots__ = ()

    #: Whether it was done, or in a dry run only decided.
    done: bool
    #: What kind: `evicted`, `rejected`, …; the kinds of `vramkit run --json`.
    kind: str
    #: The model that it is about, if it is about one.
    model: str | None
    #: Its numbers, by name.
    numbers: dict[str, float] | None
    #: Counted from 0 in its program.
    sequence: int
    #: In words.
    text: str
    #: When, in UTC.
    time: str


class LedgerEntry(Document):
    """What is live of one owner and tag, and what of it has been released."""

    __slots__ = ()

    #: Allocations.
    allocations: int
    #: Of them, by age: below one second, then from 2^(i-1) seconds to below 2^i, the last without an end. All in the first class
    #: when the pool keeps no ages.
    by_age_bytes: list[int]
    #: Bytes granted.
    granted_bytes: int
    #: For whom.
    model: str | None
    #: What for.
    purpose: str
    #: Bytes released ever, by their age at release, in the same classes: how long what is gone has lived. It only rises, for as
    #: long as the pool knows the owner; zeros from a program that does not count it.
    released_by_age_bytes: list[int] | None
    #: The tag; empty when there is none.
    tag: str


class CleanupReport(Document):
    """What a cleanup did."""

    __slots__ = ()

    #: In allocations, before and after.
    allocated_bytes: list[int | None]
    #: Less in allocations than before.
    freed_allocated_bytes: int
    #: Less held from the device than before.
    freed_reserved_bytes: int
    #: Why.
    reason: str
    #: Held from the device, before and after.
    reserved_bytes: list[int | None]


class MonitorStats(Document):
    """A monitor's counts."""

    __slots__ = ()

    #: Cleanups.
    cleanups: int
    #: Readings that gave no number.
    failures: int
    #: Generations.
    generations: int
    #: Checks that found the hard one passed, or about to be, and no cleanup that cured it.
    hard_violations: int
    #: What the last one did; `None` before the first.
    last_cleanup: CleanupReport | None
    #: The level of the last snapshot that had one; `None` before it.
    level: str | None
    #: Changes of level.
    level_changes: int
    #: Mean of used over the snapshots that are kept; `None` before the first.
    mean_used_bytes: int | None
    #: Most in allocations in any snapshot; 0 where that was never known.
    peak_allocated_bytes: int
    #: Most held from the device in any snapshot; 0 where that was never known.
    peak_reserved_bytes: int
    #: Most used in any snapshot.
    peak_used_bytes: int
    #: Since the last cleanup; `None` before the first.
    seconds_since_cleanup: float | None
    #: Snapshots at each level, by [`PressureLevel::ALL`].
    snapshots: list[int]
    #: Crossings of the soft limit.
    soft_violations: int
    #: Those that freed nothing, or less than a thousandth of what was held.
    unhelpful_cleanups: int

    _nested: ClassVar[Mapping[str, str]] = {"last_cleanup": "CleanupReport"}


class OwnerUse(Document):
    """What one owner holds."""

    __slots__ = ()

    #: Allocations that it holds now.
    allocations: int
    #: Most that it may hold; `None` when there is no such limit.
    budget_bytes: int | None
    #: Bytes granted to it now.
    granted_bytes: int
    #: For whom.
    model: str | None
    #: Most bytes ever granted to it.
    peak_bytes: int
    #: The higher, the later it should be asked to make room.
    priority: int
    #: What for.
    purpose: str


class ProcessIdentity(Document):
    """Whose a process is, as the system that runs it says: never what the process says of itself. What is not known, or not readable
    by this user, is absent."""

    __slots__ = ()

    #: Its command line, cleaned and cut.
    command: str | None
    #: The container it runs in: the runtime and the first twelve digits of its number.
    container: str | None
    #: The batch job it belongs to: `slurm:1234`.
    job: str | None
    #: The Kubernetes pod it runs in: `namespace/name` where the kubelet was asked, else the pod's UID.
    pod: str | None
    #: The user it runs as: a name where there is one, else the number.
    user: str | None


class Stall(Document):
    """Time lost of one kind."""

    __slots__ = ()

    #: Of the last 10 seconds, 0..1.
    avg10_ratio: float
    #: Of the last 300.
    avg300_ratio: float
    #: Of the last 60.
    avg60_ratio: float
    #: Ever.
    total_seconds: float


class StallTimes(Document):
    """Time lost waiting for memory."""

    __slots__ = ()

    #: One did, and no worker was doing anything else.
    full: Stall
    #: At least one thread waited.
    some: Stall

    _nested: ClassVar[Mapping[str, str]] = {"full": "Stall", "some": "Stall"}


class PoolStats(Document):
    """A pool at one instant. Every size says its scope: *requested* by the callers, *used* (granted, after rounding), *committed*
    (held from the device)."""

    __slots__ = ()

    #: The highest end of anything ever granted.
    arena_bytes: int
    #: Memory of the program that the pool's book takes. Of its table, the pages that have ever been used.
    book_bytes: int
    #: Most that can be granted.
    capacity_bytes: int
    #: Held from the device.
    committed_bytes: int
    #: Requests refused.
    failures: int
    #: Allocations ever granted.
    granted: int
    #: Grants that needed nothing of the device.
    hits: int
    #: The largest block that could be granted.
    largest_free_bytes: int
    #: Allocations that are live.
    live: int
    #: Grants for which memory was committed.
    misses: int
    #: Allocations moved by compacting, ever.
    moved: int | None
    #: Their bytes.
    moved_bytes: int | None
    #: Most ever held from the device.
    peak_committed_bytes: int
    #: Most ever asked for by what was live.
    peak_requested_bytes: int
    #: Most ever granted.
    peak_used_bytes: int
    #: Of the granted bytes: released on streams whose work is not done.
    pending_bytes: int
    #: Asked for by what is live.
    requested_bytes: int
    #: Granted.
    used_bytes: int
    #: Requests that wait for streams now.
    waiting: int | None


class PoolUse(Document):
    """A pool and who holds it."""

    __slots__ = ()

    #: The last decisions of its program's orchestrator, oldest first, where the program shows them.
    decisions: list[Decision] | None
    #: The device that its memory is on: as its program calls it, and once a reader has found out, as the reader does.
    device: str
    #: By what the reader found it out.
    device_by: str | None
    #: What kind of memory it is.
    device_kind: str | None
    #: That device's identity wherever it is plugged in, and whatever part of the cards the program may see.
    device_uuid: str | None
    #: Who holds what since when, by tag.
    ledger: list[LedgerEntry]
    #: The counts of its program's monitor, where the program shows it.
    monitor: MonitorStats | None
    #: As its program calls it.
    name: str
    #: Who holds what, by model and purpose.
    owners: list[OwnerUse]
    #: The program's process, as whoever reads this numbers it; 0 where it is not visible there.
    pid: int
    #: Whose the program is. What a published document says here is not believed: its reader finds out.
    process: ProcessIdentity | None
    #: Time lost waiting for it.
    stall: StallTimes | None
    #: Its numbers.
    stats: PoolStats

    _nested: ClassVar[Mapping[str, str]] = {"decisions": "Decision", "ledger": "LedgerEntry", "monitor": "MonitorStats", "owners": "OwnerUse", "process": "ProcessIdentity", "stall": "StallTimes", "stats": "PoolStats"}


class Presence(Document):
    """Whether a device is there."""

    __slots__ = ()

    state: str
    #: Why.
    reason: str | None
    #: Since when, in UTC.
    since: str | None


class TopReading3(Document):
    """A number that may be missing, with its origin; a missing one says why and is never shown as zero."""

    __slots__ = ()

    #: Who was asked.
    source: str
    #: Why there is no number.
    unavailable: str | None
    #: The number; `None` when the source does not give it.
    value: str | None


class ProcessUse(Document):
    """What one process holds of a device."""

    __slots__ = ()

    #: Its command line, cleaned and cut.
    command: str | None
    #: The container it runs in: the runtime and the first twelve digits of its number.
    container: str | None
    #: The batch job it belongs to: `slurm:1234`.
    job: str | None
    #: Its program, as far as it can be read.
    name: TopReading3
    #: Most that it ever held.
    peak_bytes: TopReading
    #: As this machine (outside containers) numbers it.
    pid: int
    #: The Kubernetes pod it runs in: `namespace/name` where the kubelet was asked, else the pod's UID.
    pod: str | None
    #: Bytes that it holds.
    used_bytes: TopReading
    #: The user it runs as: a name where there is one, else the number.
    user: str | None

    _nested: ClassVar[Mapping[str, str]] = {"name": "TopReading3", "peak_bytes": "TopReading", "used_bytes": "TopReading"}


class TopReading2(Document):
    """A number that may be missing, with its origin; a missing one says why and is never shown as zero."""

    __slots__ = ()

    #: Who was asked.
    source: str
    #: Why there is no number.
    unavailable: str | None
    #: The number; `None` when the source does not give it.
    value: list[ProcessUse] | None

    _nested: ClassVar[Mapping[str, str]] = {"value": "ProcessUse"}


class SuspectedLeak(Document):
    """A tag or owner of a pool that is suspected to leak."""

    __slots__ = ()

    #: Its live allocations.
    allocations: int
    #: By how much its old bytes grow a second.
    bytes_per_second: float
    #: For whom.
    model: str | None
    #: Bytes of it that are old now.
    old_bytes: int
    #: How old at least, in seconds.
    old_seconds: float
    #: The process that has it.
    pid: int | None
    #: The pool's name.
    pool: str | None
    #: What for.
    purpose: str
    #: The tag; empty when there is none, and for an owner as a whole.
    tag: str
    #: Whether it is the sum of the owner's tags that grows, and none of them by itself.
    whole_owner: bool | None
    #: What was looked at, in seconds.
    window_seconds: float


class DeviceTick(Document):
    """A device in a tick."""

    __slots__ = ()

    #: What it does beside holding memory, where its source says.
    activity: Activity | None
    #: What the tracker (a pool, a framework) has given to allocations.
    allocated_bytes: TopReading
    #: The containers that may use it, on a node of Kubernetes whose kubelet says so.
    assigned: list[AssignedTo] | None
    #: Whose memory it is.
    class_: str | None
    #: Which device.
    device: DeviceName
    #: What the driver keeps for itself.
    driver_bytes: TopReading
    #: What the monitored program was at; empty for a plain look.
    event: str | None
    #: When it will be full, once there is enough to say so.
    forecast: Forecast | None
    #: What could be had now.
    free_bytes: TopReading
    #: Whether it will be full within a quarter of an hour at the latest, as was told and not taken back.
    full_soon: bool | None
    #: Growth that has been told and not taken back.
    growing: Growing | None
    #: Who holds it, most first: owners of pools, then processes with what is not in their pools.
    holders: list[DeviceHolder]
    #: How full; none when that is not known.
    level: str | None
    #: Changes of level so far.
    level_changes: int
    #: Readings at each level so far: normal, elevated, high, critical.
    level_readings: list[int]
    #: What each model holds, where the source knows.
    model_bytes: dict[str, int] | None
    #: The models that were loaded.
    models: list[str] | None
    #: What else is to be known of the numbers, in words: what was guessed and from what, limits that stand beside them.
    notes: list[str] | None
    #: Pools that were published on it.
    pools: list[PoolUse] | None
    #: Whether it is there.
    presence: Presence | None
    #: Who holds it.
    processes: TopReading2
    #: What it holds from the device.
    reserved_bytes: TopReading
    #: What is in use of the machine's memory through it, beside its own, where its source says (AMD's GTT).
    shared_bytes: TopReading | None
    #: Its job's number.
    slot: int | None
    #: Time lost waiting for its memory, where it is measured.
    stall: StallTimes | None
    #: Tags and owners of its pools that are suspected to leak.
    suspected: list[SuspectedLeak] | None
    #: When, in UTC.
    time: str
    #: All of it.
    total_bytes: TopReading
    #: What every process together holds.
    used_bytes: TopReading

    _nested: ClassVar[Mapping[str, str]] = {"activity": "Activity", "allocated_bytes": "TopReading", "assigned": "AssignedTo", "device": "DeviceName", "driver_bytes": "TopReading", "forecast": "Forecast", "free_bytes": "TopReading", "growing": "Growing", "holders": "DeviceHolder", "pools": "PoolUse", "presence": "Presence", "processes": "TopReading2", "reserved_bytes": "TopReading", "shared_bytes": "TopReading", "stall": "StallTimes", "suspected": "SuspectedLeak", "total_bytes": "TopReading", "used_bytes": "TopReading"}
    _renamed: ClassVar[Mapping[str, str]] = {"class_": "class"}


class WatchEvent(Document):
    """Something that changed."""

    __slots__ = ()

    #: On which device; the source's name, or `recorder`, where it is about that.
    device: str
    #: What kind.
    kind: str
    #: In words.
    text: str
    #: When, in UTC.
    time: str


class RecorderTick(Document):
    """How it stands with the recording, and since when."""

    __slots__ = ()

    #: The file.
    file: str
    #: Why it is not written.
    reason: str | None
    #: Since when that is so, in UTC.
    since: str
    #: Whether it is written.
    up: bool


class SourceTick(Document):
    """How it stands with a source, and since when."""

    __slots__ = ()

    #: When it last answered, in UTC; none when it never did.
    answered: str | None
    #: How it stands.
    health: str
    #: Why, where it is not up; what it cannot read, where it is.
    reason: str | None
    #: Since when, in UTC.
    since: str
    #: Which one: `nvml`, `amd`, `host`, `pools`.
    source: str


class Unavailable(Document):
    """Something that was looked for and is not here."""

    __slots__ = ()

    #: Why.
    reason: str
    #: What.
    source: str


class Tick(Answer):
    """Everything at one instant."""

    __slots__ = ()

    #: Every device.
    devices: list[DeviceTick]
    #: What changed since the tick before.
    events: list[WatchEvent]
    #: How it stands with the recording, where there is one.
    recorder: RecorderTick | None
    #: `vramkit.top/1`.
    schema: str
    #: How it stands with each source.
    sources: list[SourceTick] | None
    #: When, in UTC.
    time: str
    #: What was looked for and is not here.
    unavailable: list[Unavailable]

    _nested: ClassVar[Mapping[str, str]] = {"devices": "DeviceTick", "events": "WatchEvent", "recorder": "RecorderTick", "sources": "SourceTick", "unavailable": "Unavailable"}


class Cycle(Document):
    """One cycle: from the step in which all prompts are read to the one in which the k-th sequence ends."""

    __slots__ = ()

    #: What the device said of the pool's memory at the end; `null` where it does not say.
    device_bytes: int | None
    #: What those hold that go on.
    final_tokens: int
    #: Whether there was too little room: a sequence made way, or waited while others decoded. X0 is then the most that was held
    #: before all had begun, if they ever had.
    lacked_room: bool
    #: How often a sequence made way for lack of room.
    preempted: int
    #: Decode steps.
    steps: int
    #: What the pool had granted to sequences at X0.
    x0_bytes: int
    #: X0.
    x0_tokens: int
    #: The most of it.
    xmax_bytes: int
    #: Xmax.
    xmax_tokens: int


class RelativeErrors(Document):
    """|predicted − measured| / measured."""

    __slots__ = ()

    #: Of κ.
    kappa_ratio: float | None
    #: Of X0.
    x0_ratio: float | None
    #: Of Xmax.
    xmax_ratio: float | None


class Errors(Document):
    """How far off each model is."""

    __slots__ = ()

    #: Their correction.
    corrected: RelativeErrors
    #: The simulation.
    exact: RelativeErrors
    #: The published formulas.
    published: RelativeErrors

    _nested: ClassVar[Mapping[str, str]] = {"corrected": "RelativeErrors", "exact": "RelativeErrors", "published": "RelativeErrors"}


class Limit(Document):
    """How often a limited cache had too little room."""

    __slots__ = ()

    #: Most bytes of keys and values.
    kv_limit_bytes: int
    #: The tokens that those are, less half a block for each sequence, since memory is granted in whole ones.
    limit_tokens: float
    #: The share of cycles in which there was too little room: a sequence made way, or waited for room.
    preempting_ratio: float
    #: Its standard error.
    standard_error_ratio: float


class Measurement(Document):
    """A mean over cycles."""

    __slots__ = ()

    #: The mean of what the pool had granted, in whole blocks, bytes.
    mean_bytes: float
    #: The mean, tokens.
    mean_tokens: float
    #: Its standard error, which knows that a cycle is like the one before it: from the series' own autocorrelation, or from how
    #: far means over as many simulated cycles scatter where that is more; `null` of one cycle without a simulation.
    standard_error_tokens: float | None


class Measured(Document):
    """Means over cycles."""

    __slots__ = ()

    #: sup Y = Xmax − X0, whose mean is κ.
    sup_y: Measurement
    #: X0: held as decoding starts, all prompts read.
    x0: Measurement
    #: Xmax: the most held in a cycle, in the step before what ends in it is given back.
    xmax: Measurement

    _nested: ClassVar[Mapping[str, str]] = {"sup_y": "Measurement", "x0": "Measurement", "xmax": "Measurement"}


class Memory(Document):
    """What the experiment took."""

    __slots__ = ()

    #: The most of the pool's memory that the device said is in use; `null` where it does not say.
    device_peak_bytes: int | None
    #: The most that the pool held of the device.
    peak_committed_bytes: int
    #: The most that sequences held, in whole blocks, in warming up and at the end too.
    peak_kv_bytes: int
    #: What was granted after the model was unloaded.
    used_after_unload_bytes: int
    #: The weights, as granted.
    weights_bytes: int


class Parameters(Document):
    """What was asked, and what the requests were."""

    __slots__ = ()

    #: N.
    batch_size: int
    #: Keys and values of a token in a sequence that has reached no window.
    bytes_per_token: int
    #: Most tokens of a sequence: what the longest request needs, at most what was asked for or the model was made for.
    context_tokens: int
    #: Requests of those whose output was cut off.
    cut_off: int
    #: The data set's file.
    data_file: str
    #: Requests that ended with their first token, which were replaced before decoding.
    ended_at_once: int
    #: Requests in the data set that could not be used.
    left_out: int
    #: Outputs are cut off at so many tokens.
    max_output_tokens: int
    #: Most entries of it that were used.
    max_samples: int
    #: Mean tokens written behind them: the token that ends an output is not one.
    mean_output_tokens: float
    #: Mean tokens of the prompts of `requests`.
    mean_prompt_tokens: float
    #: Cycles that count.
    num_cycles: int
    #: Requests in the data set that could be used.
    prompts: int
    #: Requests whose lengths are known: of those that were begun, in warming up too, those that decoded.
    requests: int
    #: What the lengths of a log were multiplied by.
    scale: float
    #: What drew the order of requests.
    seed: int
    #: k.
    switching_threshold: int
    #: p: outputs that ended of themselves, over decode steps; `null` when none did.
    termination: float | None
    #: k / N.
    theta: float
    #: Cycles before those.
    warmup_cycles: int


class Prediction(Document):
    """One model's figures."""

    __slots__ = ()

    #: κ, tokens.
    kappa_tokens: float | None
    #: E\\[X0\\], tokens.
    x0_tokens: float | None
    #: E\\[Xmax\\], tokens.
    xmax_tokens: float | None


class Predicted(Document):
    """By each model of the cache's occupancy."""

    __slots__ = ()

    #: Its correction, for outputs that forget their age.
    corrected: Prediction
    #: By simulation of the lengths that were measured.
    exact: Prediction
    #: As printed in arXiv 2606.00516, § 3.3.
    published: Prediction

    _nested: ClassVar[Mapping[str, str]] = {"corrected": "Prediction", "exact": "Prediction", "published": "Prediction"}


class Threshold(Document):
    """One place of the tail."""

    __slots__ = ()

    #: exp(−r(x − N)) with the exponent r of the measured lengths, or what the simulation shows where that is more.
    corrected: float | None
    #: By the simulation.
    exact: float | None
    #: The share of cycles that rise by more.
    observed: float
    #: exp(−2|d|x/v), v = 2N/p.
    published: float | None
    #: The same with the finite v.
    published_finite: float | None
    #: Its standard error.
    standard_error: float
    #: So much above X0.
    tokens: float


class Tail(Document):
    """How often a cycle rises by more than so much, beside the bounds."""

    __slots__ = ()

    #: Thresholds at which the corrected bound is what the simulation shows, since that is more than the exponential.
    corrected_from_simulation: int
    #: At which the corrected bound is one.
    corrected_valid_ratio: float | None
    #: With the finite v.
    published_finite_valid_ratio: float | None
    #: The share of them at which the published bound is one, with v = 2N/p.
    published_valid_ratio: float | None
    #: At 20 places between the 50th and the 99th percentile of sup Y.
    thresholds: list[Threshold]
    #: Thresholds at which nothing can be told: so few cycles rise by more that two standard errors reach to 0.
    undecided_thresholds: int

    _nested: ClassVar[Mapping[str, str]] = {"thresholds": "Threshold"}


class Verdict(Document):
    """Whether a prediction holds."""

    __slots__ = ()

    #: What it is off; `null` where there is no prediction.
    error_ratio: float | None
    #: What it may be off.
    limit_ratio: float
    #: `holds`, `does_not_hold`, `too_few_cycles`: it is off by less than two standard errors, and those are more than the limit;
    #: `not_known`: there is no prediction.
    outcome: str
    #: Off by no more than the limit or two standard errors.
    passed: bool
    #: Whose: `published`, `published_finite`, `corrected`, `exact`.
    prediction: str
    #: `x0`, `xmax`, `kappa`, or `tail`: the share of thresholds at which the bound is none.
    quantity: str
    #: The standard error of that.
    standard_error_ratio: float | None


class ValidateReport(Answer):
    """What was measured, what is predicted, and how far they are apart. Tokens and steps unless said; a ratio of 0.1 is 10 %. What
    cannot be said is `null`, and a note says why."""

    __slots__ = ()

    #: Reports of other data sets that were asked for at once.
    beside: list[ValidateReport] | None
    #: Each cycle that counts, in order.
    cycles: list[Cycle]
    #: `alpaca`, `sharegpt` or `lengths`.
    dataset: str
    #: How far off that is.
    errors: Errors
    #: How often there was too little room, where that was limited.
    limit: Limit | None
    #: Means over cycles.
    measured: Measured
    #: What the experiment took.
    memory: Memory
    #: The model's file.
    model: str
    #: What a reader has to know: what was left out, cut off, used twice, or cannot be said.
    notes: list[str]
    #: What was asked, and what the requests were.
    parameters: Parameters
    #: What each model of the cache's occupancy says.
    predicted: Predicted
    #: `vramkit.validate/1`.
    schema: str
    #: How often a cycle rises by more than so much, beside the bounds.
    tail: Tail
    #: Which predictions hold.
    verdicts: list[Verdict]

    _nested: ClassVar[Mapping[str, str]] = {"beside": "ValidateReport", "cycles": "Cycle", "errors": "Errors", "limit": "Limit", "measured": "Measured", "memory": "Memory", "parameters": "Parameters", "predicted": "Predicted", "tail": "Tail", "verdicts": "Verdict"}
