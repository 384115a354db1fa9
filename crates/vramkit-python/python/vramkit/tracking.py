"""How much memory a part of a program took: `with vramkit.track("epoch") as t`, or as a decorator of functions, async ones too."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar, cast

from . import frameworks
from ._vramkit import GPUMemoryMonitor, PeakWatch, SimulatedDevice, format_bytes

_F = TypeVar("_F", bound=Callable[..., Any])
Device = int | str | SimulatedDevice


@dataclass(frozen=True, slots=True)
class Tracked:
    """What a part of a program took of a device, in bytes. Allocated and reserved are those of this process's trackers: vramkit's pools
    that Python made, PyTorch, CuPy.

    `peak_is_exact` is false where PyTorch's own peak was reached before: then nothing is known of what was between the beginning and the
    end, and `peak_bytes` is the greater of both. `vramkit.track(reset_peak=True)` resets it, and always knows.
    """

    name: str
    device: str
    seconds: float
    allocated_before_bytes: int
    allocated_after_bytes: int
    reserved_before_bytes: int
    reserved_after_bytes: int
    peak_bytes: int
    peak_is_exact: bool

    @property
    def grown_bytes(self) -> int:
        """How much more is allocated than before; less than 0 for less."""
        return self.allocated_after_bytes - self.allocated_before_bytes

    @property
    def peak_growth_bytes(self) -> int:
        """The peak over what was allocated before."""
        return self.peak_bytes - self.allocated_before_bytes

    def __str__(self) -> str:
        sign = "-" if self.grown_bytes < 0 else "+"
        about = "" if self.peak_is_exact else "at least "
        return (
            f"{self.name or 'tracked'} on {self.device}: peak {about}{format_bytes(self.peak_bytes)}, "
            f"{sign}{format_bytes(abs(self.grown_bytes))} afterwards, {self.seconds:.3f} s"
        )


class _Watching:
    """One entry into a tracked part."""

    __slots__ = ("_allocated", "_device", "_name", "_peak", "_reserved", "_reset", "_started", "_watch")

    def __init__(self, name: str, device: str, place: Device, reset_peak: bool) -> None:
        from time import perf_counter

        self._name, self._device, self._reset = name, device, reset_peak
        self._watch = PeakWatch(place)
        self._allocated, self._reserved = self._now()
        if reset_peak:
            frameworks.reset_peak(device)
        self._peak = frameworks.peak(device)
        self._started = perf_counter()

    def _now(self) -> tuple[int, int]:
        theirs = frameworks.held(self._device) if self._device.startswith("cuda:") else None
        allocated, reserved = theirs or (0, 0)
        return allocated + self._watch.allocated_bytes, reserved + self._watch.reserved_bytes

    def end(self) -> Tracked:
        from time import perf_counter

        seconds = perf_counter() - self._started
        allocated, reserved = self._now()
        ours = self._watch.peak_bytes
        peak, exact = max(ours, allocated, self._allocated), True
        theirs = frameworks.peak(self._device)
        if theirs is not None:
            exact = self._reset or self._peak is None or theirs > self._peak
            # Both at their highest: no less than what both were together at any time.
            peak = max(peak, ours + theirs) if exact else peak
        return Tracked(
            self._name, self._device, seconds, self._allocated, allocated, self._reserved, reserved, peak, exact
        )


class track:  # noqa: N801 - it is used as a function
    """Tracks what a part of a program takes of a device: a context manager and a decorator, nested and from several threads or tasks at
    once as you like. `result` is the last entry's :class:`Tracked`, `results` all of them; a decorated function has its `track` as
    `tracked`.

    `device` is 0, `"cuda:1"`, `"host"` or a simulated one. `on_result` is called with each. `reset_peak` resets PyTorch's own peak, which
    others may read.

    >>> device = vramkit.SimulatedDevice("8GiB")
    >>> pool = vramkit.get_memory_pool(device)
    >>> with vramkit.track("step", device=device) as t:
    ...     pool.release(pool.allocate(100))
    >>> t.result.peak_bytes, t.result.grown_bytes
    (104857600, 0)
    """

    def __init__(
        self,
        name: str = "",
        *,
        device: Device = 0,
        reset_peak: bool = False,
        on_result: Callable[[Tracked], object] | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a name is text, not {type(name).__name__}: a decorator is written @vramkit.track()")
        self._name, self._place, self._reset, self._on_result = name, device, reset_peak, on_result
        self._device = _id_of(device)
        # Of each thread and task its own: others may come and go meanwhile.
        self._open: dict[tuple[int, int], list[_Watching]] = {}
        self.results: list[Tracked] = []

    @property
    def result(self) -> Tracked:
        """The last entry's numbers.

        Raises `LookupError` before the first has ended.
        """
        if not self.results:
            raise LookupError("nothing was tracked yet: the part has not ended")
        return self.results[-1]

    def _begin(self) -> _Watching:
        return _Watching(self._name, self._device, self._place, self._reset)

    def _end(self, watching: _Watching, error: BaseException | None = None) -> None:
        tracked = watching.end()
        self.results.append(tracked)
        if self._on_result is None:
            return
        try:
            self._on_result(tracked)
        except Exception as other:
            # What went wrong in the part itself is not lost.
            if error is None:
                raise
            error.add_note(f"on_result raised {other!r}")

    def __enter__(self) -> track:
        self._open.setdefault(_who(), []).append(self._begin())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        who = _who()
        opened = self._open[who]
        watching = opened.pop()
        if not opened:
            del self._open[who]
        self._end(watching, error)

    async def __aenter__(self) -> track:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: _F) -> _F:
        if not callable(function) or isinstance(function, type):
            what = "a class" if isinstance(function, type) else type(function).__name__
            raise TypeError(f"functions are tracked, not {what}: decorate its methods, or use `with vramkit.track():`")
        name = self._name or getattr(function, "__qualname__", "")

        def began() -> _Watching:
            return _Watching(name, self._device, self._place, self._reset)

        @contextmanager
        def tracked() -> Iterator[None]:
            watching = began()
            try:
                yield
            except BaseException as error:
                self._end(watching, error)
                raise
            self._end(watching)

        wrapped: Any
        # What it is to be called for: a coroutine is awaited, a generator is run to its end.
        called: Any = function if inspect.isroutine(function) else type(function).__call__
        if inspect.isasyncgenfunction(called):

            @functools.wraps(function)
            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                with tracked():
                    async for each in function(*args, **kwargs):
                        yield each

        elif inspect.iscoroutinefunction(called):

            @functools.wraps(function)
            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                with tracked():
                    return await function(*args, **kwargs)

        elif inspect.isgeneratorfunction(called):

            @functools.wraps(function)
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                with tracked():
                    return (yield from function(*args, **kwargs))

        else:

            @functools.wraps(function)
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                with tracked():
                    return function(*args, **kwargs)

        wrapped.tracked = self
        return cast("_F", wrapped)


@functools.cache
def _of_name(device: int | str) -> str:
    return GPUMemoryMonitor(device, False).device


def _id_of(device: Device) -> str:
    """A device's id, as monitors name it; of one that is not here, their error."""
    return device.id if isinstance(device, SimulatedDevice) else _of_name(device)


def _who() -> tuple[int, int]:
    """The thread, and the task in it."""
    asyncio = sys.modules.get("asyncio")
    task = None
    if asyncio is not None:
        try:
            task = asyncio.current_task()
        except RuntimeError:
            # No loop is running here.
            task = None
    return threading.get_ident(), id(task)
