"""Snapshots of a monitor in a row, with a picture and a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, overload

from ._vramkit import MemorySnapshot, format_bytes

if TYPE_CHECKING:
    import pandas

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720, 240, 80, 28, 28
_LINES = (("used_bytes", "used", "#1f6fb4"), ("reserved_bytes", "reserved", "#d9822b"), ("allocated_bytes", "allocated", "#2e8b57"))


class History(Sequence[MemorySnapshot]):
    """Snapshots, oldest first.

    >>> monitor = vramkit.GPUMemoryMonitor(vramkit.SimulatedDevice("8GiB"))
    >>> _ = monitor.record_snapshot("loaded")
    >>> [snapshot.event for snapshot in monitor.history()]
    ['loaded']
    """

    def __init__(self, snapshots: Iterable[MemorySnapshot]) -> None:
        self._snapshots = tuple(snapshots)

    @overload
    def __getitem__(self, index: int) -> MemorySnapshot: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: int | slice) -> MemorySnapshot | History:
        if isinstance(index, slice):
            return History(self._snapshots[index])
        return self._snapshots[index]

    def __len__(self) -> int:
        return len(self._snapshots)

    def __repr__(self) -> str:
        return f"History({len(self)} snapshots)"

    def to_dicts(self) -> list[dict[str, Any]]:
        """The snapshots as plain values."""
        return [snapshot.to_dict() for snapshot in self]

    def to_pandas(self) -> pandas.DataFrame:
        """A row a snapshot, by time."""
        import pandas

        frame = pandas.DataFrame(self.to_dicts())
        if len(frame):
            frame.index = pandas.to_datetime(frame.pop("timestamp"), unit="s", utc=True)
        return frame

    def _repr_html_(self) -> str:
        names = ("time", "event", "used", "free", "allocated", "utilization", "pressure")
        head = "".join(f"<th>{name}</th>" for name in names)
        shown = self[-20:]
        rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(snapshot))}</tr>" for snapshot in shown)
        left_out = f"<caption>the last {len(shown)} of {len(self)}</caption>" if len(shown) < len(self) else ""
        return f"<table>{left_out}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def _repr_svg_(self) -> str:
        """Bytes over time, and how much there is."""
        known = [snapshot for snapshot in self if snapshot.used_bytes is not None]
        if not known:
            return f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="40"><text x="8" y="24">no snapshot that has a number</text></svg>'
        first, last = known[0].timestamp, known[-1].timestamp
        totals = [snapshot.total_bytes or 0 for snapshot in known]
        most = max(*totals, *(snapshot.used_bytes or 0 for snapshot in known), 1)

        def x(time: float) -> float:
            return _LEFT + (time - first) / ((last - first) or 1) * (_WIDTH - _LEFT - 12)

        def y(size: int) -> float:
            return _HEIGHT - _BOTTOM - size / most * (_HEIGHT - _TOP - _BOTTOM)

        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
            'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        ]
        for part in (0, 0.25, 0.5, 0.75, 1):
            size = int(most * part)
            parts.append(
                f'<line x1="{_LEFT}" x2="{_WIDTH - 12}" y1="{y(size):.1f}" y2="{y(size):.1f}" stroke="#ddd"/>'
                f'<text x="{_LEFT - 6}" y="{y(size) + 4:.1f}" text-anchor="end" fill="#444">{format_bytes(size)}</text>'
            )
        at = _LEFT
        for name, label, colour in _LINES:
            points = [(x(each.timestamp), getattr(each, name)) for each in known]
            line = " ".join(f"{at_x:.1f},{y(size):.1f}" for at_x, size in points if size is not None)
            if line:
                parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{line}"/>')
                parts.append(f'<text x="{at}" y="16" fill="{colour}">{label}</text>')
                at += 8 * len(label) + 24
        parts.append(
            f'<text x="{_LEFT}" y="{_HEIGHT - 8}" fill="#444">0 s</text>'
            f'<text x="{_WIDTH - 12}" y="{_HEIGHT - 8}" text-anchor="end" fill="#444">{last - first:.3g} s</text></svg>'
        )
        return "".join(parts)


def _cells(snapshot: MemorySnapshot) -> tuple[str, ...]:
    import html

    def size(number: int | None) -> str:
        return "not available" if number is None else format_bytes(number)

    share = "not available" if snapshot.utilization is None else f"{snapshot.utilization:.1f} %"
    level = "not known" if snapshot.pressure is None else str(snapshot.pressure.value)
    return (
        snapshot.time,
        html.escape(snapshot.event),
        size(snapshot.used_bytes),
        size(snapshot.free_bytes),
        size(snapshot.allocated_bytes),
        share,
        level,
    )
