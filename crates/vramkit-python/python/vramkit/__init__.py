"""vramkit: who holds GPU memory, will it fit, how likely is it to run out, what grew.

Everything works on a machine without a card: device 0 is then main memory, and a `SimulatedDevice` is of any size.

>>> monitor = vramkit.get_memory_monitor(vramkit.SimulatedDevice("24GiB"))
>>> monitor.get_memory_snapshot().total_mb
24576.0

Sizes are bytes, or text with a unit such as `"24GiB"` (2^30) and `"700MB"` (10^6); names ending `_mb` are MiB (2^20 bytes), `_gb` are GB
(10^9). Questions of the command line (`plan`, `run`, `fit`, `capacity`, `replay`, `stress`, `validate`, `generate`, `devices`, `top`) are
functions with the options' names; what they return is the program's JSON with a type.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import errors
from ._vramkit import (
    Buffer,
    DeviceMemoryPool,
    GPUMemoryMonitor,
    GPUMemoryPool,
    MemorySnapshot,
    MemoryStats,
    Sampling,
    SimulatedDevice,
    VramMonitor,
    VramSnapshot,
    __version__,
    format_bytes,
    parse_bytes,
)
from .errors import (
    AdmissionError,
    BackendError,
    DeviceUnavailableError,
    DoesNotFitError,
    MemoryLeakWarning,
    MemoryPressure,
    MemoryPressureError,
    MemoryPressureWarning,
    OutOfMemoryError,
    PoolError,
    QuestionError,
    ReleasedError,
    VramkitError,
    VramkitWarning,
)

if TYPE_CHECKING:
    from . import cupy, reports, torch, trainer
    from .ask import capacity, devices, fit, generate, plan, replay, run, stress, top, validate
    from .history import History
    from .torch_snapshot import TorchSnapshot, snapshot
    from .tracking import Tracked, track

# Where what is rarely needed is, and is imported from when it is.
_LATER = {
    **dict.fromkeys(
        ("capacity", "devices", "fit", "generate", "plan", "replay", "run", "stress", "top", "validate"), "ask"
    ),
    "History": "history",
    "Tracked": "tracking",
    "track": "tracking",
    "TorchSnapshot": "torch_snapshot",
    "snapshot": "torch_snapshot",
}
_MODULES = ("ask", "cupy", "history", "reports", "torch", "tracking", "trainer")

__all__ = [
    "AdmissionError",
    "BackendError",
    "Buffer",
    "DeviceMemoryPool",
    "DeviceUnavailableError",
    "DoesNotFitError",
    "GPUMemoryMonitor",
    "GPUMemoryPool",
    "History",
    "MemoryLeakWarning",
    "MemoryPressure",
    "MemoryPressureError",
    "MemoryPressureWarning",
    "MemorySnapshot",
    "MemoryStats",
    "OutOfMemoryError",
    "PoolError",
    "QuestionError",
    "ReleasedError",
    "Sampling",
    "SimulatedDevice",
    "TorchSnapshot",
    "Tracked",
    "VramMonitor",
    "VramSnapshot",
    "VramkitError",
    "VramkitWarning",
    "__version__",
    "capacity",
    "clear_cuda_cache",
    "cupy",
    "devices",
    "errors",
    "fit",
    "format_bytes",
    "generate",
    "get_current_vram_usage",
    "get_memory_monitor",
    "get_memory_pool",
    "get_vram_stats",
    "log_vram_snapshot",
    "parse_bytes",
    "plan",
    "replay",
    "reports",
    "run",
    "snapshot",
    "stress",
    "top",
    "torch",
    "track",
    "trainer",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        value = getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    elif name in _MODULES:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def get_memory_monitor(
    device_id: int | str | SimulatedDevice = 0,
    enable_auto_cleanup: bool = True,
    cleanup_threshold: float = 0.85,
) -> GPUMemoryMonitor:
    """The process's one monitor of a device, made when it is first asked for.

    Asked for with other settings than it was made with, it is returned as it is, with a `VramkitWarning`.

    >>> device = vramkit.SimulatedDevice("8GiB")
    >>> vramkit.get_memory_monitor(device) is vramkit.get_memory_monitor(device)
    True
    """
    return GPUMemoryMonitor.of_device(device_id, enable_auto_cleanup, cleanup_threshold)


def get_memory_pool(device_id: int | str | SimulatedDevice = 0, max_pool_size_mb: float = 2048.0) -> GPUMemoryPool:
    """The process's one pool of a device, made when it is first asked for; it keeps up to `max_pool_size_mb` MiB that idle.

    Asked for with another size than it was made with, it is returned as it is, with a `VramkitWarning`.

    >>> pool = vramkit.get_memory_pool(vramkit.SimulatedDevice("8GiB"))
    >>> pool.release(pool.allocate(1.5))
    >>> pool.get_stats()["cached_mb"]
    2.0
    """
    return GPUMemoryPool.of_device(device_id, max_pool_size_mb)


def _process_monitor() -> GPUMemoryMonitor:
    """The monitor of the device that `VRAMKIT_DEVICE` names, or of the first one."""
    import os

    name = os.environ.get("VRAMKIT_DEVICE")
    return GPUMemoryMonitor.of_device(name or 0)


def get_current_vram_usage() -> int | None:
    """Bytes that every process together holds of the device that `VRAMKIT_DEVICE` names, or of the first; `None` when not known."""
    return _process_monitor().get_memory_snapshot().used_bytes


def get_vram_stats() -> MemoryStats:
    """Counts and peaks of that device's monitor."""
    return _process_monitor().get_stats()


def log_vram_snapshot(event: str, slot: int | None = None, models: list[str] | None = None) -> MemorySnapshot:
    """A snapshot of that device, kept in its monitor's history."""
    return _process_monitor().record_snapshot(event, slot=slot, models=models or [])


def clear_cuda_cache() -> dict[str, Any] | None:
    """Gives back what frameworks and pools keep of that device without using it: what came of it, or `None` while another cleanup is under
    way."""
    return _process_monitor().cleanup_memory()
