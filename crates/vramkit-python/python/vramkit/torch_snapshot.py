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
    """One device of a snapshot that was recorded with a history (`torch.cuda.memory._record_memory_history`).

    Sizes are as they were asked for. Owners are the innermost lines of Python in the stacks.
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

    def owners(self, at: str = "peak") -> list[Owner]:
        """Who holds what, most first: `at` is `"peak"` or `"end"`."""
        if at not in ("peak", "end"):
            raise ValueError(f'at={at!r}: use "peak" or "end"')
        return [Owner(*held) for held in self._trace.held(at == "peak")]

    def diff(self, other: TorchSnapshot, at: str = "end") -> list[Growth]:
        """What `other` holds more than this one, by owner, most first: whoever holds the same in both is left out."""
        before = {owner.owner: owner.bytes for owner in self.owners(at)}
        after = {owner.owner: owner.bytes for owner in other.owners(at)}
        grown = [Growth(owner, before.get(owner, 0), after.get(owner, 0)) for owner in before.keys() | after.keys()]
        return sorted((each for each in grown if each.grown_bytes), key=lambda each: (-each.grown_bytes, each.owner))

    def what_if(self, settings: str, capacity: int | str | None = None) -> WhatIf:
        """What the allocator would have held at most under other settings, written as for PyTorch: `"expandable_segments:True"` or
        `"expandable_segments:False"`. Today's are those of a replay without any.

        Raises `ValueError` for settings that are not known here.
        """
        policy = _policy(settings)
        reserved, refused = self._trace.replay(policy, capacity)
        today, _ = self._trace.replay("pytorch", capacity)
        return WhatIf(settings, reserved, today, refused)

    def least_capacity(self, settings: str = "") -> int:
        """How many bytes of a device are enough for the allocator under these settings: with 2 MiB less something is refused."""
        least = self._trace.least_capacity(_policy(settings))
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


def _policy(settings: str) -> str:
    policy = "pytorch"
    for setting in filter(None, (part.strip() for part in settings.split(","))):
        name, _, value = setting.partition(":")
        if name != "expandable_segments" or value not in ("True", "False"):
            raise ValueError(f'setting `{setting}` is not known here: use "expandable_segments:True" or "expandable_segments:False"')
        policy = "pytorch-expandable" if value == "True" else "pytorch"
    return policy


def snapshot(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Mapping[str, Any] | None = None,
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
        # An ordered one, or another kind, is written as a plain one: readers of ours know no classes.
        source = pickle.dumps(dict(source))
    traces = RecordedTrace.read(source if isinstance(source, bytes) else os.fspath(source), "snapshot")
    if not traces:
        raise ValueError("the snapshot has no history: record one with torch.cuda.memory._record_memory_history()")
    return TorchSnapshot(_chosen(traces, device))


def _chosen(traces: Sequence[RecordedTrace], device: int | None) -> RecordedTrace:
    if device is None:
        return traces[0]
    for trace in traces:
        if device == (trace.device or 0):
            return trace
    there = ", ".join(str(trace.device or 0) for trace in traces)
    raise ValueError(f"the snapshot has no history of device {device}: it has one of device {there}")
