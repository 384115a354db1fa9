"""What frameworks of this process hold of a card, and how they give back what they do not use. None is imported here: what is not
loaded holds nothing.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from typing import Any


def _index(device: str) -> int:
    return int(device.removeprefix("cuda:"))


def _torch() -> Any:
    """PyTorch, where it has a card in use."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return torch if cuda is not None and cuda.is_initialized() else None


def _cupy_pool(device: str) -> Any:
    """CuPy's pool on a device."""
    cupy = sys.modules.get("cupy")
    if cupy is None or not hasattr(cupy, "get_default_memory_pool"):
        return None
    with cupy.cuda.Device(_index(device)):
        return cupy.get_default_memory_pool()


def held(device: str) -> tuple[int, int] | None:
    """Bytes that frameworks have given to tensors on a device, and bytes that they hold from it; `None` where none is in use."""
    allocated = reserved = 0
    found = False
    if torch := _torch():
        index = _index(device)
        # Under another allocator PyTorch has no statistics; those of ours are in its pool.
        with contextlib.suppress(RuntimeError):
            allocated += int(torch.cuda.memory_allocated(index))
            reserved += int(torch.cuda.memory_reserved(index))
            found = True
    pool = _cupy_pool(device)
    if pool is not None:
        allocated += int(pool.used_bytes())
        reserved += int(pool.total_bytes())
        found = True
    return (allocated, reserved) if found else None


def peak(device: str) -> int | None:
    """The most that PyTorch had given to tensors on a device since its own peak was last reset; `None` where it is not in use."""
    torch = _torch() if device.startswith("cuda:") else None
    if torch is None:
        return None
    with contextlib.suppress(RuntimeError):
        return int(torch.cuda.max_memory_allocated(_index(device)))
    return None


def release(device: str) -> None:
    """Collects garbage, which may hold tensors, and gives back what frameworks keep of a device without using it."""
    gc.collect()
    if not device.startswith("cuda:"):
        return
    if torch := _torch():
        with torch.cuda.device(_index(device)), contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()
    pool = _cupy_pool(device)
    if pool is not None:
        pool.free_all_blocks()


def reset_peak(device: str) -> None:
    """Lets PyTorch's peak on a device begin anew."""
    torch = _torch() if device.startswith("cuda:") else None
    if torch:
        with contextlib.suppress(RuntimeError):
            torch.cuda.reset_peak_memory_stats(_index(device))
