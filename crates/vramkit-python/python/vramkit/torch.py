"""PyTorch over vramkit: its allocator over our pool, its statistics and history from there, and the peak of a model before it runs.

Nothing here is needed to watch PyTorch: monitors and :class:`vramkit.track` read its own statistics.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable
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


def _state(device: int) -> tuple[Any, str | None, list[tuple[str, int, int, int, int]], list[tuple[int, int]]]:
    state = _vramkit.allocator_pool(device)
    if state is None:
        raise VramkitError(f"cuda:{device} has no allocator of ours: call vramkit.torch.use_as_allocator({device}) first")
    return state


def last_refusal(device: int = 0) -> str | None:
    """Why our pool last refused PyTorch memory: who holds it, and what would help. `None` where it never did."""
    return _state(device)[1]


def memory_stats(device: int = 0) -> dict[str, int]:
    """Our pool's statistics in the shape of `torch.cuda.memory_stats`: `allocated_bytes.all.current` and its like."""
    stats = _state(device)[0].get_stats()
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
    _, _, history, live = _state(device)
    entries: list[dict[str, Any]] = []
    for action, address, size, stream, microseconds in history:
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
        for address, size in sorted(live)
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
        allocated = sum(size for _, size in live)
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


def lifetimes(program: Any) -> tuple[list[Lifetime], int]:
    """The tensors that a graph makes, operator by operator, and the bytes of its weights: of `torch.export.ExportedProgram`, or of a
    `torch.fx.GraphModule` whose inputs' shapes are known (`torch.fx.passes.shape_prop.ShapeProp`).

    The graph is run over shapes alone, so that what shares memory is what does: views, operators in place, outputs that are inputs. A
    step is an operator of ATen, as composed ones are taken apart. Memory lives from the operator that makes it to the last one that
    reads or writes it; that of outputs to the end. Inputs are in memory that the caller has, and are left out, as weights are. What a
    kernel needs beside its outputs is in no graph, and not in here.

    Raises `VramkitError` for shapes that are not fixed, for operators with graphs of their own (`torch.cond`), and for graphs that cannot
    be run so.
    """
    torch = _torch()
    from torch._subclasses.fake_tensor import FakeTensorMode

    exported = hasattr(program, "graph_signature")
    module = program.graph_module if exported else program
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    inputs = [_input_of(torch, fake, node) for node in module.graph.nodes if node.op == "placeholder"]
    recorder = _recorder(torch)
    tensors: Iterable[Any]
    if exported:
        tensors = [*program.state_dict.values(), *program.constants.values()]

        def run() -> Any:
            return module(*inputs)
    else:
        state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        tensors = state.values()
        given = {name: fake.from_tensor(tensor) for name, tensor in state.items()}
        recorder.outside(given.values())

        def run() -> Any:
            return torch.func.functional_call(module, given, tuple(inputs))

    recorder.outside(inputs)
    try:
        with torch.no_grad(), fake, recorder:
            outputs = run()
    except VramkitError:
        raise
    except Exception as error:
        raise VramkitError(f"the graph cannot be run over shapes alone: {type(error).__name__}: {error}") from error
    return recorder.lifetimes(outputs), sum(_bytes_of(tensor) for tensor in _distinct(tensors))


def _input_of(torch: Any, fake: Any, node: Any) -> Any:
    """An input of a graph's, without memory behind it."""
    value = node.meta.get("val", node.meta.get("tensor_meta"))
    if value is None and "val" not in node.meta:
        raise VramkitError(
            f"the shape of input `{node}` is not known: export the model with example inputs, or run torch.fx.passes.shape_prop.ShapeProp"
        )
    if not hasattr(value, "shape"):
        return value
    for size in value.shape:
        # A size by symbol would be guessed from the example's.
        if type(size) is not int:
            raise VramkitError(f"input `{node}` has a size that is not fixed ({size}): export the model with fixed shapes")
    strides = value.stride if not callable(value.stride) else value.stride()
    with fake:
        return torch.empty_strided(tuple(value.shape), tuple(strides), dtype=value.dtype, device=getattr(value, "device", "cpu"))


def _recorder(torch: Any) -> Any:
    """What sees every operator that is run below it, and which memory it makes, reads and writes."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Recorder(TorchDispatchMode):  # type: ignore[misc, unused-ignore]
        supports_higher_order_operators = True

        def __init__(self) -> None:
            super().__init__()
            self.steps = 0
            # By storage, which is kept so that no other gets its number.
            self.known: dict[int, Any] = {}
            self.made: dict[int, list[Any]] = {}

        def outside(self, tensors: Iterable[Any]) -> None:
            """Memory that the graph does not make."""
            for tensor in self.tensors(tensors):
                self.known.setdefault(tensor.untyped_storage()._cdata, tensor)

        @staticmethod
        def tensors(tree: Any) -> list[Any]:
            return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if not isinstance(func, torch._ops.OpOverload):
                raise VramkitError(f"`{func}` has a graph of its own, and what it needs is not known: take it out of the graph")
            read = self.tensors((args, kwargs or {}))
            out = func(*args, **(kwargs or {}))
            self.steps += 1
            for tensor in read:
                storage = tensor.untyped_storage()._cdata
                # What is read and was not made is a constant of the graph's.
                self.known.setdefault(storage, tensor)
                if storage in self.made:
                    self.made[storage][2] = self.steps
            for tensor in self.tensors(out):
                storage = tensor.untyped_storage()._cdata
                if storage in self.made:
                    self.made[storage][2] = self.steps
                elif storage not in self.known and (size := _fixed(tensor, func)):
                    self.known[storage] = tensor
                    name = f"{func.overloadpacket.__name__}.{len(self.made)}"
                    self.made[storage] = [name, self.steps - 1, self.steps, size]
            return out

        def lifetimes(self, outputs: Any) -> list[Lifetime]:
            for tensor in self.tensors(outputs):
                storage = tensor.untyped_storage()._cdata
                if storage in self.made:
                    self.made[storage][2] = self.steps
            return [Lifetime(*made) for made in self.made.values()]

    return Recorder()


def _fixed(tensor: Any, func: Any) -> int:
    """Bytes of a tensor's memory."""
    size = tensor.untyped_storage().nbytes()
    if type(size) is not int:
        raise VramkitError(f"`{func}` makes a tensor whose size depends on values ({size}): take it out of the graph")
    return size


def _distinct(tensors: Iterable[Any]) -> list[Any]:
    """Tensors of separate memory, each once."""
    found: dict[Any, Any] = {}
    for tensor in tensors:
        if hasattr(tensor, "untyped_storage"):
            found.setdefault((tensor.device, tensor.untyped_storage()._cdata), tensor)
    return list(found.values())


def _bytes_of(tensor: Any) -> int:
    return int(tensor.untyped_storage().nbytes())


def plan(program: Any, **options: Any) -> Any:
    """The least memory that a graph's tensors need at once, and a place for each, before the model runs: :func:`lifetimes`, planned as
    :func:`vramkit.plan` does, with its options.

    What is returned is its :class:`vramkit.reports.PlanReport`: `arena_bytes` for the tensors, `live_peak_bytes` for the most that is
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
