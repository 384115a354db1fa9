"""The program's questions as functions: the options' names are the keywords'.

Written by `scripts/python-documents` from the program itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal

from . import reports
from ._document import answer

__all__ = [
    "capacity",
    "devices",
    "fit",
    "generate",
    "plan",
    "replay",
    "run",
    "stress",
    "top",
    "validate",
]

StrPath = str | os.PathLike[str]


def capacity(
    *,
    batch: int | None = None,
    threshold: int | None = None,
    continuous: bool = False,
    prompt_mean: float | None = None,
    termination: float | None = None,
    lengths: StrPath | None = None,
    columns: str | int | float | None = None,
    order: Literal["any", "as-logged"] | None = None,
    skip_bad_rows: bool = False,
    max_output: int | None = None,
    max_model_len: int | None = None,
    shared_prefix: int | None = None,
    arrival_rate: float | None = None,
    replicas: int | None = None,
    cold_start: bool = False,
    capacity_tokens: int | None = None,
    engine_text: StrPath | None = None,
    gpu_memory: int | str | None = None,
    gpu_memory_utilization: str | int | float | None = None,
    capacity: int | str | None = None,
    model: StrPath | None = None,
    layers: int | None = None,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    cache_type: str | None = None,
    block: int | None = None,
    risk: float | None = None,
    horizon: int | str | None = None,
    step_seconds: float | None = None,
    replay: bool = False,
    watermark: float | None = None,
    token_budget: int | None = None,
    cycles: int | None = None,
    seed: int | None = None,
    deadline: float | None = None,
    print_flags: str | int | float | None = None,
    svg: StrPath | None = None,
) -> reports.CapacityReport:
    """How likely a KV cache is to run out, and the largest batch for a risk Traffic is a log of lengths (a table, JSON Lines, JSON
    or Parquet, of benchmarks, gateways and tracers, packed by gzip or not; Alpaca or ShareGPT text at 4 characters a token),
    or prompts of one length with geometric outputs. Batching is continuous (a seat is refilled as soon as its sequence ends)
    unless a threshold is given. A peak counts what a step writes before anything it ends is freed. Each figure says by which
    method it was found; the largest batch and the memory needed are confirmed by other random numbers before they are told;
    what nothing can stand behind is null, with the reason. Exit status 0 when the risk is within --risk, 1 when it is above,
    2 when nothing says.

    Options, `None` for what the program does without:

    * `batch`: Sequences in the batch [default: the largest for --risk]
    * `threshold`: Replace ended sequences when so many have ended
    * `continuous`: Replace each ended sequence at once (the default)
    * `prompt_mean`: Exact length of every prompt, tokens
    * `termination`: Probability that an output ends after a token: one over its mean length
    * `lengths`: A log of lengths; `-` is standard input
    * `columns`: Its columns of lengths, or paths in JSON, where they have no name that is known
    * `order`: Requests come in the log's own order, from any place of it [default: any at any time] [default: any]
    * `skip_bad_rows`: Leave rows of no or impossibly many tokens out instead of refusing the file
    * `max_output`: Outputs are cut off at so many tokens
    * `max_model_len`: The model's context, tokens: prompts that fill it are refused, outputs end where it is full
    * `shared_prefix`: Tokens with which all prompts begin alike, held once for all of them [default: 0]
    * `arrival_rate`: Requests that come in a second, each by itself; --batch is then the most that are served at once [default: always one for
        a free seat]
    * `replicas`: Machines among which requests are shared out; risks are those of any of them [default: 1]
    * `cold_start`: All sequences begin at once when the horizon begins, as after a restart or with a fixed number of clients
    * `capacity_tokens`: Memory, tokens
    * `engine_text`: Memory, block and context as an engine says in its log or its /metrics: vLLM, SGLang, llama.cpp, TensorRT-LLM, TGI; `-` is
        standard input
    * `gpu_memory`: A card's memory, of which vLLM leaves for the KV cache what the model does not take; needs --model
    * `gpu_memory_utilization`: The part of --gpu-memory that vLLM takes [default: 0.9]
    * `capacity`: Memory of the KV cache; needs a model's shape
    * `model`: The model whose tokens it holds: config.json, the folder that has it, or GGUF
    * `layers`: Layers, for a model without a file
    * `kv_heads`: KV heads of a layer
    * `head_dim`: Numbers in a head's key, and in its value
    * `cache_type`: How the cache's numbers are stored: f32, f16, bf16, fp8, q8_0, q5_1, q5_0, q4_1, q4_0 [default: f16]
    * `block`: Tokens of a block that memory is granted in (continuous batching) [default: the engine's, or 1]
    * `risk`: The risk of running out that would do
    * `horizon`: For how long: cycle (a step drawn at random when continuous), decode steps, or a time such as 1h [default: an hour where
        time matters (--step-seconds, --arrival-rate, --cold-start, --print-flags), else cycle]
    * `step_seconds`: Seconds that a decode step takes [default: 0.025 is assumed where it matters]
    * `replay`: Also replay the log through a scheduler (first come first served, preempt and recompute)
    * `watermark`: Part of the memory that the scheduler's admission leaves free [default: 0]
    * `token_budget`: Most tokens that the scheduler computes in a step [default: 8192]
    * `cycles`: Cycles to simulate; samples are drawn in proportion [default: 20000]
    * `seed`: Where the random numbers start [default: 0]
    * `deadline`: Seconds in which to answer; what is not found by then is null, with the reason [default: 10]
    * `print_flags`: Also print the options with which an engine serves this: vllm, sglang, llama.cpp
    * `svg`: Draw risk against batch: published, exact, simulated
    """
    return answer(
        "capacity",
        reports.CapacityReport,
        (),
        {
            "batch": batch,
            "threshold": threshold,
            "continuous": continuous,
            "prompt-mean": prompt_mean,
            "termination": termination,
            "lengths": lengths,
            "columns": columns,
            "order": order,
            "skip-bad-rows": skip_bad_rows,
            "max-output": max_output,
            "max-model-len": max_model_len,
            "shared-prefix": shared_prefix,
            "arrival-rate": arrival_rate,
            "replicas": replicas,
            "cold-start": cold_start,
            "capacity-tokens": capacity_tokens,
            "engine-text": engine_text,
            "gpu-memory": gpu_memory,
            "gpu-memory-utilization": gpu_memory_utilization,
            "capacity": capacity,
            "model": model,
            "layers": layers,
            "kv-heads": kv_heads,
            "head-dim": head_dim,
            "cache-type": cache_type,
            "block": block,
            "risk": risk,
            "horizon": horizon,
            "step-seconds": step_seconds,
            "replay": replay,
            "watermark": watermark,
            "token-budget": token_budget,
            "cycles": cycles,
            "seed": seed,
            "deadline": deadline,
            "print-flags": print_flags,
            "svg": svg,
        },
        ("continuous", "skip-bad-rows", "cold-start", "replay"),
    )


def devices(
) -> reports.DevicesReport:
    """Show what is here and how much memory it has Main memory, cards that memory can be taken of, and every other card that
    `vramkit top` sees: AMD's, parts of a card, cards without CUDA's driver. Each card once.
    """
    return answer(
        "devices",
        reports.DevicesReport,
        (),
        {
        },
    )


def fit(
    *models: StrPath,
    ctx: int | None = None,
    seqs: int | None = None,
    memory: int | str | None = None,
    device: str | None = None,
    cache_type: str | None = None,
    cache_type_k: str | None = None,
    cache_type_v: str | None = None,
    batch: int | None = None,
    ubatch: int | None = None,
    flash_attn: Literal["on", "off", "auto"] | None = None,
    kv_unified: bool = False,
    swa_full: bool = False,
    gpu_layers: int | str | None = None,
    runtime: Literal["vramkit", "llama.cpp", "vllm"] | None = None,
    backend: Literal["cpu", "vulkan", "cuda", "metal"] | None = None,
    gpu_memory_utilization: float | None = None,
    max_num_batched_tokens: int | None = None,
    max_num_seqs: int | None = None,
    tensor_parallel: int | None = None,
    draft_tokens: int | None = None,
    overhead: int | str | None = None,
    max_buffer_range: int | str | None = None,
    dim: Mapping[str, int] | None = None,
    sets: StrPath | None = None,
    model_dir: StrPath | None = None,
    write: Literal["llama-swap"] | None = None,
    svg: StrPath | None = None,
) -> reports.FitReport:
    """Whether models fit on a device under an engine, and the most that does Models are GGUF files (of a split one the first),
    folders or config.json of Hugging Face, and ONNX graphs; only their headers are read. The engine is llama.cpp for GGUF,
    vLLM for Hugging Face, vramkit for ONNX, unless another is named; options have the engine's own defaults, and go by its
    own names, too (--ctx-size, --n-gpu-layers, --max-model-len …). Each figure says how well it has been checked. Several
    models are several processes on one device. Exit status 1 when they do not fit, or when that is asked and cannot be said.
    With --sets: when a set does not fit, or is not known to, that the file promises; where it promises none, when a model of
    it does not fit alone or nothing can be said of one.

    Options, `None` for what the program does without:

    * `ctx`: Tokens of context: of all sequences together under llama.cpp, of one under vLLM [default: the engine's]
    * `seqs`: Sequences at a time, each of the whole length [default: 1; a llama-server without --parallel has 4, and one cache for all]
    * `memory`: The memory that they are to fit in
    * `device`: The device that they are to fit on: host, sim or cuda:N. What it has free now counts
    * `cache_type`: How the cache's numbers are stored, by the engine's name: f16, q8_0, q4_0 …; auto, fp8 …
    * `cache_type_k`: How cached keys are stored
    * `cache_type_v`: How cached values are stored
    * `batch`: Logical batch, tokens (llama.cpp) [default: 2048]
    * `ubatch`: Micro-batch, tokens (llama.cpp) [default: 512]
    * `flash_attn`: Flash attention [default: auto]
    * `kv_unified`: One cache for all sequences
    * `swa_full`: Layers with a sliding window keep everything
    * `gpu_layers`: The last so many layers on the device, the output counted as one [default: all]
    * `runtime`: The engine
    * `backend`: What it computes with [default: cuda with --device cuda:N and for vLLM, else vulkan; cpu for ONNX]
    * `gpu_memory_utilization`: The part of the device that vLLM takes [default: 0.9]
    * `max_num_batched_tokens`: Most tokens of a step (vLLM)
    * `max_num_seqs`: Most sequences in a step, whatever their lengths (vLLM) [default: the engine's]
    * `tensor_parallel`: Devices that share each layer (vLLM); figures are for each of them [default: 1]
    * `draft_tokens`: Tokens drafted by the model's own prediction layers [default: 0]
    * `overhead`: What a process's context of the driver takes on the device [default: as measured for the back end]
    * `max_buffer_range`: Most bytes that Vulkan binds at a time (maxStorageBufferRange) [default: 4 GiB, as cards have, with --memory or --device;
        else the 128 MiB that every device has]
    * `dim`: Size of a graph's symbolic dimension; repeat for several
    * `sets`: Models of a configuration (llama-swap, llama.cpp's presets, a Modelfile, commands, TOML), with the options that it has:
        which fit together
    * `model_dir`: A folder in which models of --sets are looked for first, by their path or their name
    * `write`: Print the configuration with the sets that fit in it
    * `svg`: Draw where the bytes go
    """
    return answer(
        "fit",
        reports.FitReport,
        models,
        {
            "ctx": ctx,
            "seqs": seqs,
            "memory": memory,
            "device": device,
            "cache-type": cache_type,
            "cache-type-k": cache_type_k,
            "cache-type-v": cache_type_v,
            "batch": batch,
            "ubatch": ubatch,
            "flash-attn": flash_attn,
            "kv-unified": kv_unified,
            "swa-full": swa_full,
            "gpu-layers": gpu_layers,
            "runtime": runtime,
            "backend": backend,
            "gpu-memory-utilization": gpu_memory_utilization,
            "max-num-batched-tokens": max_num_batched_tokens,
            "max-num-seqs": max_num_seqs,
            "tensor-parallel": tensor_parallel,
            "draft-tokens": draft_tokens,
            "overhead": overhead,
            "max-buffer-range": max_buffer_range,
            "dim": dim,
            "sets": sets,
            "model-dir": model_dir,
            "write": write,
            "svg": svg,
        },
        ("kv-unified", "swa-full"),
    )


def generate(
    model: StrPath,
    *,
    prompt: str | None = None,
    chat: str | None = None,
    tokens: StrPath | Sequence[StrPath] | None = None,
    max_output_tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    ctx: int | None = None,
    threads: int | None = None,
    ubatch: int | None = None,
    cache_type: str | None = None,
    capacity: int | str | None = None,
    top: int | None = None,
) -> reports.GenerateReport:
    """Text from a model, with its memory accounted A GGUF model of the architectures llama, mistral, phi3, qwen2, qwen3 or gemma3
    runs on the processor. Weights, keys and values, and activations all come from one pool: what they take is in the result,
    and is zero again at the end.

    Options, `None` for what the program does without:

    * `prompt`: Text to continue as it is written; special tokens are recognised
    * `chat`: What a user says, put into the file's chat template; special tokens in it are recognised too
    * `tokens`: Tokens to continue
    * `max_output_tokens`: Most tokens to generate [default: 256]
    * `temperature`: Divides logits before a token is drawn; 0 takes the most probable one [default: 0]
    * `top_k`: Draw from this many of the most probable tokens; 0 for all [default: 0]
    * `top_p`: Draw from the fewest most probable tokens that have this probability together [default: 1]
    * `seed`: The same seed draws the same tokens [default: 0]
    * `ctx`: Most tokens of prompt and output [default: the model's]
    * `threads`: Threads that compute [default: all processors]
    * `ubatch`: Most tokens of a prompt that are read at once [default: 512]; fewer take less working memory
    * `cache_type`: How keys and values are stored: f16, f32 or q8_0 [default: f16]
    * `capacity`: Most bytes that weights, workspace and cache take together [default: what the context needs]; it is enough when the prompt
        and --max-output-tokens fit, be the context longer
    * `top`: Report this many of the most probable tokens at each place, with --json [default: 0]
    """
    return answer(
        "generate",
        reports.GenerateReport,
        (model,),
        {
            "prompt": prompt,
            "chat": chat,
            "tokens": tokens,
            "max-output-tokens": max_output_tokens,
            "temperature": temperature,
            "top-k": top_k,
            "top-p": top_p,
            "seed": seed,
            "ctx": ctx,
            "threads": threads,
            "ubatch": ubatch,
            "cache-type": cache_type,
            "capacity": capacity,
            "top": top,
        },
    )


def plan(
    *files: StrPath,
    schedule: Literal["fixed", "sequential", "concurrent"] | None = None,
    capacity: int | str | None = None,
    deadline: float | None = None,
    seed: int | None = None,
    threads: int | None = None,
    alignment: int | None = None,
    dim: Mapping[str, int] | None = None,
    shapes: StrPath | None = None,
    engine: Literal["ort", "ort-extended", "ort-basic"] | None = None,
    order: Literal["file", "memory"] | None = None,
    recompute: bool = False,
    makespan: int | None = None,
    in_place: bool = False,
    output: StrPath | None = None,
    svg: StrPath | None = None,
    export: StrPath | None = None,
    explain: bool = False,
) -> reports.PlanReport:
    """Place the tensors of one or several models in one arena Files are ONNX graphs, lifetime tables (MiniMalloc CSV:
    id,lower,upper,size, where upper is the first step after a life; or id,start,end,size, where end is the last step of it;
    with a counter for each of several clocks where there are several, as in 3;0;5) and workloads (TOML, JSON). Takes no
    memory: the answer is an offset for each tensor, the arena that holds them, and a lower bound that says how far it can be
    from the optimum.

    Options, `None` for what the program does without:

    * `schedule`: How the models run beside one another [default: the workload's; else fixed for one file, sequential for several]
    * `capacity`: Stop at the first plan that fits; exit with 1 if there is none, or none was found
    * `deadline`: How long to search for better orders and a better plan than the first answers; Ctrl-C and SIGTERM end it with the best so
        far [default: 1]
    * `seed`: Where the search's random choices start [default: 0]
    * `threads`: Threads that search, up to 64 [default: as many as there are]
    * `alignment`: Alignment of tensors without one of their own [default: 1 in lifetime tables, else 256]
    * `dim`: Size of a graph's symbolic dimension, by its name or its place (`input[0]`), of any tensor; repeat for several
    * `shapes`: Shapes that a runtime measured, for tensors of graphs whose sizes depend on data: JSON ({"tensor": [1, 300, 4]}), or a
        profile of ONNX Runtime
    * `engine`: Say besides what an engine plans for ONNX graphs by its own rules, at one of its levels of optimisation
    * `order`: Run the nodes of ONNX graphs in the file's order, or in the one found that has least live at most [default: file]
    * `recompute`: As --order memory, and cheap operators of ONNX graphs run again rather than keep what they made, where that has less live
        at most
    * `makespan`: Choose when each model starts, so that all end within so many steps and least is live at most (fixed schedule)
    * `in_place`: Let operators of ONNX graphs that can work in place write over their input, where the arena is then no larger
    * `output`: Write the lifetimes with their offsets as a table
    * `svg`: Draw the plan
    * `export`: Write the lifetimes as a workload, to be run or edited
    * `explain`: Say how the plan came about, where the bound comes from, and why a capacity cannot be met
    """
    return answer(
        "plan",
        reports.PlanReport,
        files,
        {
            "schedule": schedule,
            "capacity": capacity,
            "deadline": deadline,
            "seed": seed,
            "threads": threads,
            "alignment": alignment,
            "dim": dim,
            "shapes": shapes,
            "engine": engine,
            "order": order,
            "recompute": recompute,
            "makespan": makespan,
            "in-place": in_place,
            "output": output,
            "svg": svg,
            "export": export,
            "explain": explain,
        },
        ("recompute", "in-place", "explain"),
    )


def replay(
    *traces: StrPath,
    policy: str | Sequence[str] | None = None,
    capacity: int | str | None = None,
    alloc_conf: str | int | float | None = None,
    least_capacity: bool = False,
    by: str | int | float | None = None,
    at: str | int | float | None = None,
    diff: bool = False,
    svg: StrPath | None = None,
    flame: StrPath | None = None,
    folded: StrPath | None = None,
) -> reports.ReplayReport:
    """Replay allocation traces against pool policies Traces are text (a ID BYTES, f ID), RMM's CSV logs, what vramkit's pools record
    (JSON Lines) and PyTorch's CUDA memory snapshots (pickles of any protocol, JSON, torch.save's archives, read without
    running anything in them), gzip or not, whatever they are called. Takes no memory: each policy says how much it would have
    taken, where it would have run out, and with how much it gets through. Policies: default, exact, stepped, pow2 (vramkit's
    pool), best-fit, first-fit, pytorch, pytorch-expandable, offline (a plan of the whole trace, the floor), all.

    Options, `None` for what the program does without:

    * `policy`: Policies to replay against; several with commas [default: default,best-fit,pytorch, and offline for up to 20,000
        operations]
    * `capacity`: Most bytes that there are; exit with 1 if no policy gets through a trace with them. Without it nothing is refused
    * `alloc_conf`: PyTorch's settings, as PYTORCH_CUDA_ALLOC_CONF has them, on top of those in the snapshot [default: ]
    * `least_capacity`: Look for the least capacity of each policy in traces of over 200,000 operations too
    * `by`: What an owner is: line (one's own line of code, or the name that was recorded), stack or annotation [default: line]
    * `at`: When what is held is told: peak, end, failure (of the first policy that fails) or the number of an operation [default:
        peak; end with --diff]
    * `diff`: Say what the second of two traces holds more than the first, and replay nothing
    * `svg`: Draw addresses over time, for the first trace and the first policy
    * `flame`: Draw what stacks of code hold as a flame graph, for the first trace
    * `folded`: Write what stacks of code hold as folded stacks, for the first trace
    """
    return answer(
        "replay",
        reports.ReplayReport,
        traces,
        {
            "policy": policy,
            "capacity": capacity,
            "alloc-conf": alloc_conf,
            "least-capacity": least_capacity,
            "by": by,
            "at": at,
            "diff": diff,
            "svg": svg,
            "flame": flame,
            "folded": folded,
        },
        ("least-capacity", "diff"),
    )


def run(
    workload: StrPath,
    *,
    schedule: Literal["fixed", "sequential", "concurrent"] | None = None,
    device: str | None = None,
    capacity: int | str | None = None,
    verify: Literal["stride", "full"] | None = None,
    trace: StrPath | None = None,
    perfetto: StrPath | None = None,
    report: StrPath | None = None,
    record: StrPath | None = None,
    explain: bool = False,
    dry_run: bool = False,
) -> reports.RunReport:
    """Plan a workload, bind it to real memory, execute and verify it Every step of every model writes its tensors' patterns and
    checks those that it reads, on the memory that the plan gives them, models on threads under the plan's schedule.

    Options, `None` for what the program does without:

    * `schedule`: How the models run beside one another [default: the workload's]
    * `device`: Where the memory comes from: host, sim or cuda:N [default: host]
    * `capacity`: Most bytes of the pool [default: the workload's, else what the device has free]
    * `verify`: Check every byte of every tensor, or some of each page [default: stride]
    * `trace`: Write every decision as it is made, a JSON object a line
    * `perfetto`: Write a trace for ui.perfetto.dev
    * `report`: Write a page with the plan, memory over time and decisions
    * `record`: Write every allocation and release of the pool, for `vramkit replay`
    * `explain`: Say which tensors share addresses, how many bytes, and why they may
    * `dry_run`: Decide everything, take no memory
    """
    return answer(
        "run",
        reports.RunReport,
        (workload,),
        {
            "schedule": schedule,
            "device": device,
            "capacity": capacity,
            "verify": verify,
            "trace": trace,
            "perfetto": perfetto,
            "report": report,
            "record": record,
            "explain": explain,
            "dry-run": dry_run,
        },
        ("explain", "dry-run"),
    )


def stress(
    model: StrPath | None = None,
    *,
    capacity: int | str | None = None,
    ctx: int | None = None,
    threads: int | None = None,
    seed: int | None = None,
    prove: bool = False,
    report: StrPath | None = None,
) -> reports.StressReport:
    """Put a model's memory under pressure: ten checks, each able to fail Limits that must be kept, growth by exactly the bytes of a
    token, cycles that leave nothing, sequences side by side, a full pool, every allocation failed in turn, eviction and
    reload, a neighbour process. Without a model one of Phi-3's shape is made: 393,216 bytes a token.

    Options, `None` for what the program does without:

    * `capacity`: Most bytes that a check may take [default: what the machine has]
    * `ctx`: Tokens of the context [default: 4096, or the model's where that is less]
    * `threads`: Threads that compute [default: all processors]
    * `seed`: Prompts are drawn by this, and the weights of a model that is made [default: 0]
    * `prove`: Run each check once more with its fault put in; one that is not caught fails
    * `report`: Write a report in Markdown
    """
    return answer(
        "stress",
        reports.StressReport,
        () if model is None else (model,),
        {
            "capacity": capacity,
            "ctx": ctx,
            "threads": threads,
            "seed": seed,
            "prove": prove,
            "report": report,
        },
        ("prove",),
    )


def top(
    *addresses: StrPath,
    token_file: StrPath | None = None,
    levels: str | int | float | None = None,
) -> reports.Tick:
    """Watch who holds the memory of every device, how full it is and whether it leaks Reads NVIDIA's and AMD's cards, this machine's
    memory (within its control group) and every pool that a process publishes, by model and purpose; with addresses, what
    `vramkit serve` says there instead. A screen on a terminal (keys: ?), one reading as text or JSON otherwise, also where
    TERM is dumb or not set. Exit status with --once: 1 when a device that a driver or the system speaks of is lost or at
    level critical, or a leak is suspected on one (devices of programs alone, simulated ones too, do not count), else 3 when a
    source, such as a driver, or one of the addresses does not answer. A signal that ends the screen puts the terminal back
    first.

    Options, `None` for what the program does without:

    * `token_file`: A file with the token that those servers want (as of vramkit serve --token-file); it is sent as it is, over plain HTTP
    * `levels`: Fractions from which on memory is elevated, high, critical
    """
    return answer(
        "top",
        reports.Tick,
        addresses,
        {
            "token-file": token_file,
            "levels": levels,
            "once": True,
        },
        ("once",),
    )


def validate(
    *,
    model: StrPath,
    dataset: Literal["alpaca", "sharegpt", "lengths"] | None = None,
    alpaca_path: StrPath | None = None,
    sharegpt_path: StrPath | None = None,
    lengths_path: StrPath | None = None,
    skip_bad_rows: bool = False,
    scale: float | None = None,
    tensor_parallel_size: int | None = None,
    max_samples: int | None = None,
    batch_size: int | None = None,
    switching_threshold: int | None = None,
    num_cycles: int | None = None,
    warmup_cycles: int | None = None,
    max_output_tokens: int | None = None,
    output_dir: StrPath | None = None,
    run_both: bool = False,
    seed: int | None = None,
    ctx: int | None = None,
    threads: int | None = None,
    capacity: int | str | None = None,
    kv_limit: int | str | None = None,
) -> reports.ValidateReport:
    """Hold the model of a KV cache's occupancy against real inference A batch decodes until so many of its sequences have ended;
    those are replaced, and so on: threshold batching, on vramkit's engine. What the cache holds is read at every step and
    held against the published formulas, their correction, and a simulation of the lengths that were met. `published` is arXiv
    2606.00516, section 3.3, as printed; `corrected` the same without its faults; `exact` the simulation. A run that is
    interrupted goes on where it was when the same command is given again. Exit status 1: the simulation, or the corrected
    bound, does not hold.

    Options, `None` for what the program does without:

    * `model`: A GGUF file
    * `dataset`: Where requests come from: texts of Alpaca or ShareGPT, whose answers the model ends, or a log of lengths [default: alpaca]
    * `alpaca_path`: Alpaca's data set: JSON with instruction, input and output
    * `sharegpt_path`: ShareGPT's data set: JSON with conversations
    * `lengths_path`: A log of lengths: CSV or JSON Lines with prompt_tokens and output_tokens, or what `capacity --lengths` reads
    * `skip_bad_rows`: Leave rows of no or impossibly many tokens out instead of refusing the log
    * `scale`: Multiply the lengths of a log by this [default: 1]
    * `tensor_parallel_size`: Devices that the model is split over; the engine computes on one [default: 1]
    * `max_samples`: Most entries of the data set, from its beginning [default: 5000]
    * `batch_size`: Sequences that decode together [default: 32]
    * `switching_threshold`: Sequences that must have ended before they are replaced [default: a fifth of the batch]
    * `num_cycles`: Cycles that count [default: 100]
    * `warmup_cycles`: Cycles before those, to warm up [default: until at most 2 % of the sequences that began the run still run]
    * `max_output_tokens`: Outputs are cut off at so many tokens [default: 256]
    * `output_dir`: Where results are written (JSON, PDF, HTML, the measured lengths as CSV), and what a run can go on from [default:
        ./memory_validation_results]
    * `run_both`: Run Alpaca and ShareGPT, and draw them side by side
    * `seed`: Draws the order of requests [default: 0]
    * `ctx`: Most tokens of a sequence [default: what the longest request needs, up to the model's]
    * `threads`: Threads that compute [default: all processors]
    * `capacity`: Most bytes that weights, workspace and cache may take together [default: what the machine has]
    * `kv_limit`: Most bytes of keys and values: where there are too few, sequences make way or wait, and how often is counted
    """
    return answer(
        "validate",
        reports.ValidateReport,
        (),
        {
            "model": model,
            "dataset": dataset,
            "alpaca-path": alpaca_path,
            "sharegpt-path": sharegpt_path,
            "lengths-path": lengths_path,
            "skip-bad-rows": skip_bad_rows,
            "scale": scale,
            "tensor-parallel-size": tensor_parallel_size,
            "max-samples": max_samples,
            "batch-size": batch_size,
            "switching-threshold": switching_threshold,
            "num-cycles": num_cycles,
            "warmup-cycles": warmup_cycles,
            "max-output-tokens": max_output_tokens,
            "output-dir": output_dir,
            "run-both": run_both,
            "seed": seed,
            "ctx": ctx,
            "threads": threads,
            "capacity": capacity,
            "kv-limit": kv_limit,
        },
        ("skip-bad-rows", "run-both"),
    )
