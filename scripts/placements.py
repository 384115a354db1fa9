"""Checks placements from the definition: no two tensors that are live together overlap in addresses."""

from bisect import bisect_left, insort


def clash(tensors):
    """The first two spans that clash, by a sweep over time with a sorted list; None when all is well. Each tensor is
    (start, end, offset, size, name), half-open in time and in bytes."""
    events = []
    for start, end, offset, size, name in tensors:
        if size > 0 and end > start:
            span = (offset, offset + size, name)
            events += [(end, 0, span), (start, 1, span)]
    live = []
    for _, starts, span in sorted(events):
        at = bisect_left(live, span)
        if not starts:
            del live[at]
            continue
        if at > 0 and live[at - 1][1] > span[0]:
            return live[at - 1], span
        if at < len(live) and live[at][0] < span[1]:
            return live[at], span
        insort(live, span)
    return None
