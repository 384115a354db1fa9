"""PyTorch's CUDA memory snapshots, asked: who holds what, what grew from one to another, what other settings would take, how much is
enough. No card is needed, and nothing in a file is run.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from ._vramkit import RecordedTrace, format_bytes

__all__ = ["Growth", "Owner", "TorchSnapshot", "WhatIf", "snapshot"]


class Owner(NamedTuple):
    """What one line of code holds. `owner` is empty for what the recording says nothing of."""

    owner: str
    bytes: int
    allocations: int


class Growth(NamedTuple):
    """What one line of code holds in two snapshots."""

    owner: str
    before_bytes: int
    after_bytes: int

    @property
    def grown_bytes(self) -> int:
        """How much more; less than 0 for less."""
        return self.after_bytes - self.before_bytes


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What an allocator's settings take for a recording, in bytes held from the device at most."""

    settings: str
    peak_reserved_bytes: int
    #: The same with the settings of today.
    today_bytes: int
    #: Requests that are refused, where a capacity was given.
    refused: int

    @property
    def saved_bytes(self) -> int:
        """How much less than today; less than 0 for more."""
        return self.today_bytes - self.peak_reserved_bytes


class TorchSnapshot:
    """One device of a snapshot. Without a history (`torch.cuda.memory._record_memory_history`) it says what is held at its end alone.

    Sizes are as they were asked for. Owners are one's own lines of code (`by="line"`: the innermost in a stack that belongs to neither
    Python nor a package), whole stacks (`by="stack"`) or the texts that a program gives what it asks for (`by="annotation"`).
    """

    def __init__(self, trace: RecordedTrace) -> None:
        self._trace = trace

    @property
    def name(self) -> str:
        """The file, and the device where there are several."""
        return self._trace.name

    @property
    def peak_live_bytes(self) -> int:
        """Most that was allocated at once."""
        return self._trace.peak_live_bytes

    @property
    def recorded_reserved_bytes(self) -> int | None:
        """Most that the program held from the device; `None` where the recording does not say."""
        return self._trace.recorded_reserved_bytes

    @property
    def has_history(self) -> bool:
        """Whether it says in which order memory was asked for."""
        return self._trace.has_history

    @property
    def recorded_settings(self) -> str:
        """The allocator's settings of the recorded program, as `PYTORCH_CUDA_ALLOC_CONF` has them."""
        return self._trace.recorded_settings

    @property
    def notes(self) -> list[str]:
        """What is odd about the file, and what was made of it."""
        return self._trace.notes

    def owners(self, at: str | int = "peak", by: str = "line") -> list[Owner]:
        """Who holds what, most first: `at` is `"peak"`, `"end"` or the number of an operation, counted from 0."""
        return [Owner(*held) for held in self._trace.held(str(at), by)]

    def diff(self, other: TorchSnapshot, at: str | int = "end", by: str = "line") -> list[Growth]:
        """What `other` holds more than this one, by owner, most first: whoever holds the same in both is left out."""
        return [Growth(*grown) for grown in self._trace.grown(other._trace, str(at), by)]

    def what_if(self, settings: str, capacity: int | str | None = None) -> WhatIf:
        """What the allocator would have held at most under other settings, written as for `PYTORCH_CUDA_ALLOC_CONF`:
        `"expandable_segments:True"`, `"max_split_size_mb:128,roundup_power2_divisions:4"`. They are put on top of the recorded ones, which are
        today's.

        Raises `ValueError` for settings that PyTorch would refuse, and for a snapshot without a history.
        """
        self._needs_history()
        reserved, refused = self._trace.replay(settings, capacity)
        today, _ = self._trace.replay("", capacity)
        return WhatIf(settings, reserved, today, refused)

    def _needs_history(self) -> None:
        if not self.has_history:
            raise ValueError("the snapshot has no history: record one with torch.cuda.memory._record_memory_history()")

    def least_capacity(self, settings: str = "") -> int:
        """How many bytes of a device are enough for the allocator under these settings: with 2 MiB less something is refused."""
        self._needs_history()
        least = self._trace.least_capacity(settings)
        if least is None:
            raise ValueError("no capacity is enough for this recording")
        return least

    def _repr_html_(self) -> str:
        import html

        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(each.owner or 'not recorded')}</td><td>{format_bytes(each.bytes)}</td>"
            f"<td>{each.allocations}</td></tr>"
            for each in self.owners()[:20]
        )
        peak = format_bytes(self.peak_live_bytes)
        return f"<table><caption>at the peak of {peak}</caption><tr><th>owner</th><th>holds</th><th>allocations</th></tr>{rows}</table>"

    def __repr__(self) -> str:
        return f"TorchSnapshot({self.name!r}: {self._trace.operations} operations, peak {format_bytes(self.peak_live_bytes)})"


def snapshot(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Mapping[str, Any] | list[Any] | None = None,
    device: int | None = None,
) -> TorchSnapshot:
    """A snapshot: a file that `torch.cuda.memory._dump_snapshot` wrote (gzip or not) or whatever else `replay` reads, its content, what
    `torch.cuda.memory._snapshot()` returned, or, without any, what it returns now. Bytes and open files are its content.

    `device` is which of several devices; without it, the one that has a recording, or the first of them.
    """
    if source is None:
        import torch

        source = torch.cuda.memory._snapshot()
    if hasattr(source, "read"):
        # An open file.
        source = source.read()
    if isinstance(source, bytearray | memoryview):
        source = bytes(source)
    if isinstance(source, Mapping):
        # Kinds of dictionaries that nobody knows are written as a plain one.
        source = dict(source)
    if isinstance(source, dict | list):
        source = pickle.dumps(source)
    traces = RecordedTrace.read(source if isinstance(source, bytes) else os.fspath(source), "snapshot")
    return TorchSnapshot(_chosen(traces, device))


def _chosen(traces: Sequence[RecordedTrace], device: int | None) -> RecordedTrace:
    if device is None:
        return next((trace for trace in traces if trace.has_history), traces[0])
    for trace in traces:
        if device == (trace.device or 0):
            return trace
    there = ", ".join(str(trace.device or 0) for trace in traces)
    raise ValueError(f"the snapshot has nothing of device {device}: it has device {there}")
