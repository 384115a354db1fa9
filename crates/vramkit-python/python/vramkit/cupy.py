"""CuPy over vramkit: its allocator over our pool of a card.

Nothing here is needed to watch CuPy: monitors and :class:`vramkit.track` read its own pool.
"""

from __future__ import annotations

from typing import Any

from . import _vramkit
from .errors import BackendError

__all__ = ["allocator", "set_limit", "use_as_allocator"]


def _cupy() -> Any:
    try:
        import cupy
    except ImportError as error:
        raise BackendError(f"cupy cannot be imported ({error}): install it") from error
    return cupy


def allocator(device: int = 0, *, capacity: int | str | None = None) -> Any:
    """Our pool of a card as an allocator for `cupy.cuda.set_allocator`: of the whole card, or of `capacity`.

    Memory that CuPy releases goes back on the stream that was current when it was granted. Raises `cupy.cuda.memory.OutOfMemoryError`'s
    kind of error, `OutOfMemoryError`, where there is no room.
    """
    cupy = _cupy()
    pool = _vramkit.DeviceMemoryPool(f"cuda:{device}", capacity if capacity is not None else _total(cupy, device))

    class _Block(cupy.cuda.BaseMemory):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self, size: int) -> None:
            self.size = size
            self.device_id = device
            self._buffer = pool.allocate(size, owner="cupy")
            self.ptr = self._buffer.ptr

    def allocate(size: int) -> Any:
        if size == 0:
            return cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(0, 0, None, device), 0)
        return cupy.cuda.MemoryPointer(_Block(size), 0)

    return allocate


def use_as_allocator(device: int = 0, *, capacity: int | str | None = None) -> None:
    """Lets all of CuPy's memory on a card come from our pool, from now on."""
    _cupy().cuda.set_allocator(allocator(device, capacity=capacity))


def set_limit(size: int | str, device: int = 0) -> None:
    """The most that CuPy's own pool may hold of a card."""
    cupy = _cupy()
    with cupy.cuda.Device(device):
        cupy.get_default_memory_pool().set_limit(size=_vramkit.parse_bytes(size))


def _total(cupy: Any, device: int) -> int:
    with cupy.cuda.Device(device):
        return int(cupy.cuda.runtime.memGetInfo()[1])
