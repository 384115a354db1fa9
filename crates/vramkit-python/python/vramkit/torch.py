"""PyTorch over vramkit: its allocator over our pool, its statistics and history from there, and the peak of a model before it runs.

Nothing here is needed to watch PyTorch: monitors and :class:`vramkit.track` read its own statistics.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from . import _vramkit
from .errors import BackendError, VramkitError

__all__ = [
    "Lifetime",
    "allocator",
    "dump_snapshot",
    "last_refusal",
    "lifetimes",
    "mem_pool",
    "memory_snapshot",
    "memory_stats",
    "plan",
    "use_as_allocator",
]

_HISTORY = 100_000


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise BackendError(f"torch cannot be imported ({error}): install it") from error
    return torch


def allocator(device: int = 0, *, capacity: int | str | None = None, history: int = _HISTORY) -> Any:
    """Our pool of a card as `torch.cuda.memory.CUDAPluggableAllocator`: of the whole card, or of `capacity`. `history` is how many of the
    last grants and releases are kept.

    Raises `DeviceUnavailableError` where there is no such card.
    """
    torch = _torch()
    _vramkit.allocator_setup(f"cuda:{device}", capacity, history)
    return torch.cuda.memory.CUDAPluggableAllocator(_vramkit.__file__, "vramkit_malloc", "vramkit_free")


def use_as_allocator(device: int = 0, *, capacity: int | str | None = None, history: int = _HISTORY) -> None:
    """Lets all of PyTorch's memory on a card come from our pool, from now on; before PyTorch has taken any, as it asks itself.

    `torch.cuda.memory_stats` has no numbers then; :func:`memory_stats` has them in the same shape.
    """
    made = allocator(device, capacity=capacity, history=history)
    _torch().cuda.memory.change_current_allocator(made)


def mem_pool(device: int = 0, *, capacity: int | str | None = None, history: int = _HISTORY) -> Any:
    """A `torch.cuda.MemPool` over our pool: `with torch.cuda.use_mem_pool(vramkit.torch.mem_pool()): ...` takes memory from it."""
    made = allocator(device, capacity=capacity, history=history)
    return _torch().cuda.MemPool(made.allocator())


def _state(device: int) -> tuple[Any, str | None, list[tuple[str, int, int, int, int]]]:
    state = _vramkit.allocator_pool(device)
    if state is None:
        raise VramkitError(f"cuda:{device} has no allocator of ours: call vramkit.torch.use_as_allocator({device}) first")
    return state


def last_refusal(device: int = 0) -> str | None:
    """Why our pool last refused PyTorch memory: who holds it, and what would help. `None` where it never did."""
    return _state(device)[1]


def memory_stats(device: int = 0) -> dict[str, int]:
    """Our pool's statistics in the shape of `torch.cuda.memory_stats`: `allocated_bytes.all.current` and its like."""
    pool, _, history = _state(device)
    stats = pool.get_stats()
    used, peak, held = stats["used_bytes"], stats["peak_used_bytes"], stats["committed_bytes"]
    table = {
        "allocated_bytes.all.current": used,
        "allocated_bytes.all.peak": peak,
        "active_bytes.all.current": used,
        "active_bytes.all.peak": peak,
        "requested_bytes.all.current": stats["requested_bytes"],
        "requested_bytes.all.peak": stats["peak_requested_bytes"],
        "reserved_bytes.all.current": held,
        "reserved_bytes.all.peak": stats["peak_committed_bytes"],
        "allocation.all.current": stats["live"],
        "allocation.all.allocated": stats["granted"],
        "allocation.all.freed": stats["granted"] - stats["live"],
        "inactive_split_bytes.all.current": max(0, held - used),
        "num_ooms": stats["failures"],
        "num_alloc_retries": 0,
    }
    return table


def memory_snapshot(device: int = 0) -> dict[str, Any]:
    """Our pool in the shape of `torch.cuda.memory._snapshot()`, which PyTorch's viewer opens: one segment, what is live in it, and the
    history. There are no stacks in it: the allocator is called without the interpreter.
    """
    pool, _, history = _state(device)
    live: dict[int, tuple[int, int]] = {}
    entries: list[dict[str, Any]] = []
    for action, address, size, stream, microseconds in history:
        if action == "alloc":
            live[address] = (size, stream)
        elif action == "free_completed":
            live.pop(address, None)
        kind = {"oom": {"device_free": 0}}.get(action, {})
        entries.append(
            {
                "action": action,
                "addr": address,
                "size": size,
                "stream": stream,
                "time_us": microseconds,
                "frames": [],
                "device": device,
                **kind,
            }
        )
    blocks: list[dict[str, Any]] = [
        {
            "address": address,
            "size": size,
            "requested_size": size,
            "state": "active_allocated",
            "frames": [],
        }
        for address, (size, _) in sorted(live.items())
    ]
    first = blocks[0]["address"] if blocks else 0
    segments = []
    if blocks:
        whole: list[dict[str, Any]] = []
        at: Any = first
        for block in blocks:
            if block["address"] > at:
                gap = block["address"] - at
                whole.append({"address": at, "size": gap, "requested_size": 0, "state": "inactive", "frames": []})
            whole.append(block)
            at = block["address"] + block["size"]
        allocated = sum(size for size, _ in live.values())
        segments.append(
            {
                "device": device,
                "address": first,
                "total_size": at - first,
                "allocated_size": allocated,
                "active_size": allocated,
                "requested_size": allocated,
                "stream": 0,
                "segment_type": "large",
                "segment_pool_id": (0, 0),
                "is_expandable": True,
                "frames": [],
                "blocks": whole,
            }
        )
    traces: list[list[dict[str, Any]]] = [[] for _ in range(device)] + [entries]
    return {"segments": segments, "device_traces": traces, "allocator_settings": {"expandable_segments": True}}


def dump_snapshot(path: str | os.PathLike[str], device: int = 0) -> None:
    """Writes :func:`memory_snapshot` as PyTorch does: for its viewer, and for :func:`vramkit.snapshot`."""
    with open(path, "wb") as file:
        pickle.dump(memory_snapshot(device), file)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A tensor of a graph: the steps in which its memory is needed, from `start` up to and without `end`."""

    name: str
    start: int
    end: int
    size_bytes: int


# What looks into its first input's memory and has none of its own.
_VIEWS = frozenset(
    "view reshape _unsafe_view expand permute transpose t squeeze unsqueeze select slice alias detach as_strided unbind split "
    "split_with_sizes chunk flatten unflatten narrow diagonal view_as expand_as numpy_T movedim swapaxes getitem".split()
)


def lifetimes(program: Any) -> tuple[list[Lifetime], int]:
    """The tensors that a graph makes, step by step, and the bytes of its weights: of `torch.export.ExportedProgram`, or of a
    `torch.fx.GraphModule` whose nodes have `meta["val"]` or `meta["tensor_meta"]` (`torch.fx.passes.shape_prop.ShapeProp`).

    A tensor lives from its own step to the last one that reads it, or reads a view of it; outputs to the end. Inputs are in memory that
    the caller has, and are left out, as weights are. What a kernel needs beside its output is not in a graph, and not in here.

    Raises `VramkitError` for a node whose size is not known: export it with example inputs, or run ShapeProp.
    """
    torch = _torch()
    exported = hasattr(program, "graph_signature")
    module = program.graph_module if exported else program
    graph = module.graph
    nodes = list(graph.nodes)
    if exported:
        weights = sum(_bytes_of(tensor) for tensor in _distinct([*program.state_dict.values(), *program.constants.values()]))
    else:
        weights = sum(_bytes_of(tensor) for tensor in _distinct([*module.parameters(), *module.buffers()]))
    home: dict[Any, Any] = {}
    first: dict[Any, int] = {}
    last: dict[Any, int] = {}
    sizes: dict[Any, int] = {}
    for step, node in enumerate(nodes):
        sources = [home[source] for source in node.all_input_nodes if source in home]
        for source in sources:
            last[source] = step
        if node.op in ("placeholder", "get_attr", "output"):
            continue
        if sources and _is_view(torch, node):
            home[node] = home[node.all_input_nodes[0]] if node.all_input_nodes[0] in home else sources[0]
            continue
        if node.all_input_nodes and _is_view(torch, node):
            # Of an input, or a weight.
            continue
        size = _size_of(node)
        if size == 0:
            continue
        home[node], first[node], last[node], sizes[node] = node, step, step, size
    end = len(nodes)
    for node in nodes:
        if node.op == "output":
            for source in node.all_input_nodes:
                if source in home:
                    last[home[source]] = end - 1
    made = [Lifetime(str(node), first[node], last[node] + 1, sizes[node]) for node in first]
    return made, weights


def _distinct(tensors: Iterable[Any]) -> list[Any]:
    """Tensors of separate memory, each once."""
    found: dict[Any, Any] = {}
    for tensor in tensors:
        if hasattr(tensor, "untyped_storage"):
            found.setdefault((tensor.device, tensor.untyped_storage()._cdata), tensor)
    return list(found.values())


def _bytes_of(tensor: Any) -> int:
    return int(tensor.untyped_storage().nbytes())


def _is_view(torch: Any, node: Any) -> bool:
    target = node.target
    if node.op == "call_method":
        return str(target) in _VIEWS
    if node.op != "call_function":
        return False
    # An operator that says of an output that it may be its input.
    schema = getattr(target, "_schema", None)
    if schema is not None:
        returns = [each.alias_info for each in schema.returns]
        return bool(returns) and all(alias is not None and not alias.is_write for alias in returns)
    return getattr(target, "__name__", "") in _VIEWS


def _size_of(node: Any) -> int:
    """Bytes of a node's outputs."""
    value = node.meta.get("val", node.meta.get("tensor_meta"))
    if value is None and "type" in node.meta:
        # ShapeProp has been there, and it is no tensor.
        return 0
    if value is None:
        raise VramkitError(
            f"the size of `{node}` is not known: export the model with example inputs, or run torch.fx.passes.shape_prop.ShapeProp"
        )
    outputs: Sequence[Any] = value if isinstance(value, list | tuple) and not hasattr(value, "dtype") else [value]
    total = 0
    for output in outputs:
        if output is None or isinstance(output, int | float | bool):
            continue
        if not hasattr(output, "shape"):
            continue
        elements = 1
        for size in output.shape:
            # A size by symbol would be guessed from the example's.
            if type(size) is not int:
                raise VramkitError(f"`{node}` has a size that depends on its input ({size}): export it with fixed shapes")
            elements *= size
        total += elements * int(output.dtype.itemsize)
    return total


def plan(program: Any, **options: Any) -> Any:
    """The least memory that a graph's tensors need at once, and a place for each, before the model runs: :func:`lifetimes`, planned as
    :func:`vramkit.plan` does, with its options.

    What is returned is its :class:`vramkit.reports.PlanReport`: `arena_bytes` for the tensors, `lower_bound_bytes` for the most that is
    live, `models[0].weights_bytes` for the weights.
    """
    import json
    import tempfile
    from pathlib import Path

    from .ask import plan as ask_plan

    tensors, weights = lifetimes(program)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph.json")
        model = {
            "name": "graph",
            "weights": weights,
            "tensors": [
                {"id": each.name, "start": each.start, "end": each.end, "size": each.size_bytes} for each in tensors
            ],
        }
        path.write_text(json.dumps({"name": "graph", "models": [model]}))
        return ask_plan(path, **options)
