#!/usr/bin/env python3
"""A second, independent model of PyTorch's CUDA caching allocator, to compare the replay's with.

It follows `c10/cuda/CUDACachingAllocator.cpp` function by function as it was about PyTorch 2.10 (later ones take the oldest among
blocks of equal size, not the one at the lowest address), is written to be read rather than to be fast, and knows nothing of this
repository's Rust code.

    pytorch_allocator.py                 the cases worked out by hand
    pytorch_allocator.py FILE [--conf CONF] [--capacity BYTES]
        a pickled snapshot, or a text of lines `a ID BYTES` and `f ID`: bytes reserved after every operation, `ok` or `refused`

In: operations, numbered from 0 in their order. `Alloc`, `Free` and `Attempt` count as operations. `Attempt` is a request that
failed in the recorded program; where it is granted it is given back in the same operation. `Pending` stands between operations:
the program has given the allocation back, other streams still use it, and it becomes free at its `Free`, or earlier when memory
runs out.

What the source leaves to CUDA is fixed here: a segment of `cudaMalloc` lies at the lowest gap of one address space from 0; the
k-th expandable segment of a run begins at k * 2**50; memory is refused when more than `capacity` bytes would be reserved, and
never without a capacity. Garbage collection, which PyTorch does only below a memory fraction, is done whenever there is a
capacity.
"""

import bisect
import pickle
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

KIB = 2**10
MIB = 2**20
MIN_BLOCK = 512  # every size is a multiple of it
SMALL_SIZE = MIB  # up to this a request is a small one, and lives in segments of its own
SMALL_SEGMENT = 2 * MIB
MIN_LARGE = 10 * MIB  # from here on a large request gets a segment of its own size
LARGE_SEGMENT = 20 * MIB
LARGE_STEP = 2 * MIB  # what segments of a request's own size are multiples of
UNLIMITED = 2**64 - 1
EXPANDABLE_APART = 2**50
EXPANDABLE_SPACE = 2**47  # PyTorch takes an eighth more than the device has, of which a capacity may be a part

PoolId = tuple[int, int]
DEFAULT_POOL: PoolId = (0, 0)


@dataclass(frozen=True)
class Alloc:
    number: int
    size: int
    stream: int = 0
    pool: PoolId = DEFAULT_POOL


@dataclass(frozen=True)
class Free:
    number: int


@dataclass(frozen=True)
class Attempt:
    number: int
    size: int
    stream: int = 0
    pool: PoolId = DEFAULT_POOL


@dataclass(frozen=True)
class Pending:
    number: int


Operation = Alloc | Free | Attempt | Pending


def round_up(size: int, step: int) -> int:
    return -(-size // step) * step


# ----------------------------------------------------------------------------------------------------------------------- settings


ROUNDUP_INTERVALS = 16  # sizes of 1 MiB and less, 2 MiB, ..., 32 GiB and more


class Settings:
    """What `PYTORCH_CUDA_ALLOC_CONF` says."""

    # Of no influence on which memory is handed out.
    IGNORED: ClassVar = {
        "pinned_use_cuda_host_register",
        "pinned_use_hip_host_register",
        "pinned_num_register_threads",
        "pinned_use_background_threads",
        "pinned_reserve_segment_size_mb",
        "release_lock_on_cudamalloc",
        "release_lock_on_hipmalloc",
        "graph_capture_record_stream_reuse",
    }

    def __init__(self, conf: str = "") -> None:
        self.expandable_segments = False
        self.max_split_size = UNLIMITED
        self.max_non_split_rounding = LARGE_SEGMENT
        self.garbage_collection_threshold = 0.0
        self.memory_fraction: float | None = None
        self.roundup_divisions = [0] * ROUNDUP_INTERVALS
        words = self._words(conf)
        at = 0
        while at < len(words):
            if at > 0:
                at = self._expect(words, at, ",")
                if at == len(words):
                    break  # a comma may end the list
            key = words[at]
            at = self._expect(words, at + 1, ":")
            values, at = self._values(words, at)
            self._set(key, values)

    @staticmethod
    def _words(conf: str) -> list[str]:
        words = [""]
        for character in conf:
            if character in ",:[]":
                words += [character, ""]
            elif not character.isspace():
                words[-1] += character
        return [word for word in words if word]

    @staticmethod
    def _expect(words: list[str], at: int, word: str) -> int:
        if at >= len(words) or words[at] != word:
            raise ValueError(f"expected {word!r} as word {at} of {''.join(words)!r}")
        return at + 1

    @staticmethod
    def _values(words: list[str], at: int) -> tuple[list[str], int]:
        """One word, or the words between brackets (those included); and where they end."""
        if at >= len(words):
            raise ValueError(f"a value is missing at the end of {''.join(words)!r}")
        if words[at] != "[":
            return [words[at]], at + 1
        if "]" not in words[at:]:
            raise ValueError(f"no ] in {''.join(words)!r}")
        end = words.index("]", at) + 1
        return words[at:end], end

    def _set(self, key: str, values: list[str]) -> None:
        value = values[0]
        if key == "roundup_power2_divisions":
            self._set_roundup(values)
        elif len(values) != 1:
            raise ValueError(f"{key} takes one value")
        elif key == "expandable_segments":
            if value not in ("True", "False"):
                raise ValueError(f"{key} is True or False, not {value}")
            self.expandable_segments = value == "True"
        elif key in ("max_split_size_mb", "max_non_split_rounding_mb"):
            size = min(int(value) * MIB, UNLIMITED)
            if size < LARGE_SEGMENT:
                raise ValueError(f"{key} is at least {LARGE_SEGMENT // MIB}, not {value}")
            if key == "max_split_size_mb":
                self.max_split_size = size
            else:
                self.max_non_split_rounding = size
        elif key == "garbage_collection_threshold":
            self.garbage_collection_threshold = float(value)
            if not 0 < self.garbage_collection_threshold < 1:
                raise ValueError(f"{key} is between 0 and 1, not {value}")
        elif key == "per_process_memory_fraction":
            self.memory_fraction = float(value)
            if not 0 <= self.memory_fraction <= 1:
                raise ValueError(f"{key} is from 0 to 1, not {value}")
        elif key == "backend":
            if value != "native":
                raise ValueError(f"backend {value} is another allocator")
        elif key not in self.IGNORED:
            raise ValueError(f"unknown setting {key}")

    def _set_roundup(self, values: list[str]) -> None:
        if values[0] != "[":
            divisions = int(values[0])
            if not is_power_of_2(divisions):
                raise ValueError("roundup_power2_divisions is a power of 2")
            self.roundup_divisions = [divisions] * ROUNDUP_INTERVALS
            return
        last = 0
        first = True
        items = "".join(values[1:-1]).split(",")
        for item in items:
            name, colon, number = item.partition(":")
            if not colon:
                raise ValueError(f"roundup_power2_divisions: no colon in {item!r}")
            divisions = int(number)
            if divisions != 0 and not is_power_of_2(divisions):
                raise ValueError("roundup_power2_divisions are powers of 2, or 0")
            if name == ">":
                # Before 2.9 this began at `last` itself, and so undid the entry in front of it.
                for index in range(last + 1, ROUNDUP_INTERVALS):
                    self.roundup_divisions[index] = divisions
                continue
            boundary = int(name)
            if not is_power_of_2(boundary):
                raise ValueError("roundup_power2_divisions: intervals begin at powers of 2")
            last = min(boundary.bit_length() - 1, ROUNDUP_INTERVALS - 1)
            if first:
                # What is below the first interval is treated like it. Gaps between intervals stay without divisions.
                for index in range(last):
                    self.roundup_divisions[index] = divisions
                first = False
            self.roundup_divisions[last] = divisions

    def round_size(self, size: int) -> int:
        if size < MIN_BLOCK:
            return MIN_BLOCK
        interval = min(max(size.bit_length() - MIB.bit_length(), 0), ROUNDUP_INTERVALS - 1)
        divisions = self.roundup_divisions[interval]
        if divisions > 1 and size > MIN_BLOCK * divisions:
            return roundup_power2(size, divisions)
        return round_up(size, MIN_BLOCK)


def is_power_of_2(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def roundup_power2(size: int, divisions: int) -> int:
    """The next of so many equal steps between the powers of two around `size`."""
    if is_power_of_2(size):
        return size
    floor = 1 << (size.bit_length() - 1)
    step = floor // divisions
    return floor * 2 if step == 0 else round_up(size, step)


def allocation_size(size: int) -> int:
    """The segment to ask CUDA for on behalf of a (rounded) request."""
    if size <= SMALL_SIZE:
        return SMALL_SEGMENT
    if size < MIN_LARGE:
        return LARGE_SEGMENT
    return round_up(size, LARGE_STEP)


# ------------------------------------------------------------------------------------------------------------------------- blocks


@dataclass(frozen=True)
class ExpandableSegment:
    """A range of addresses, parts of which have memory behind them; only whole pages do."""

    base: int
    size: int
    page: int


class Block:
    """A part of a segment. The blocks of a segment are chained in order of addresses and leave no gaps."""

    __slots__ = ("address", "age_base", "allocated", "mapped", "next", "pool", "previous", "segment", "size", "stream", "waiting")

    def __init__(self, stream: int, size: int, address: int, pool: "BlockPool", segment: ExpandableSegment | None) -> None:
        self.stream = stream
        self.size = size
        self.address = address
        self.pool = pool
        self.segment = segment
        self.allocated = False
        self.waiting = False  # given back by the program, still in use by other streams
        self.mapped = True
        self.previous: Block | None = None
        self.next: Block | None = None
        self.age_base = 0

    def is_split(self) -> bool:
        return self.previous is not None or self.next is not None

    def is_free(self) -> bool:
        return not self.allocated and not self.waiting

    def expandable_size(self) -> int:
        """What the block could grow to by mapping what follows it."""
        if self.next is not None and not self.next.mapped:
            return self.size + self.next.size
        return self.size

    def insert_between(self, before: "Block | None", after: "Block | None") -> None:
        self.previous = before
        self.next = after
        if before is not None:
            before.next = self
        if after is not None:
            after.previous = self


Key = tuple[int, int, int]


class BlockPool:
    """The free blocks of one kind, best fit first: by stream, size and address; and unmapped ones, by stream and address."""

    def __init__(self, small: bool) -> None:
        self.small = small
        self.searches = 0  # the clock by which garbage collection tells ages
        self.order: list[Key] = []
        self.at_address: dict[int, Block] = {}
        self.unmapped_order: list[tuple[int, int]] = []
        self.unmapped_at_address: dict[int, Block] = {}

    def insert(self, block: Block) -> None:
        assert block.mapped and block.is_free() and block.address not in self.at_address
        block.age_base = self.searches
        bisect.insort(self.order, (block.stream, block.size, block.address))
        self.at_address[block.address] = block

    def remove(self, block: Block) -> None:
        index = bisect.bisect_left(self.order, (block.stream, block.size, block.address))
        assert self.order[index] == (block.stream, block.size, block.address)
        del self.order[index]
        del self.at_address[block.address]

    def insert_unmapped(self, block: Block) -> None:
        assert not block.mapped and block.address not in self.unmapped_at_address
        bisect.insort(self.unmapped_order, (block.stream, block.address))
        self.unmapped_at_address[block.address] = block

    def remove_unmapped(self, block: Block) -> None:
        index = bisect.bisect_left(self.unmapped_order, (block.stream, block.address))
        assert self.unmapped_order[index] == (block.stream, block.address)
        del self.unmapped_order[index]
        del self.unmapped_at_address[block.address]

    def block(self, index: int) -> Block:
        return self.at_address[self.order[index][2]]

    def blocks(self) -> list[Block]:
        return [self.at_address[address] for _, _, address in self.order]

    def first_at_least(self, stream: int, size: int) -> int:
        return bisect.bisect_left(self.order, (stream, size, 0))

    def unmapped_of(self, stream: int) -> Iterator[Block]:
        for index in range(bisect.bisect_left(self.unmapped_order, (stream, 0)), len(self.unmapped_order)):
            if self.unmapped_order[index][0] != stream:
                return
            yield self.unmapped_at_address[self.unmapped_order[index][1]]

    def age(self, block: Block) -> int:
        return self.searches - block.age_base


class AddressSpace:
    """Where segments of `cudaMalloc` lie: at the lowest gap that holds them."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, int]] = []

    def take(self, size: int) -> int:
        end = 0
        for start, after in self.taken:
            if start - end >= size:
                break
            end = after
        bisect.insort(self.taken, (end, end + size))
        return end

    def give_back(self, start: int, size: int) -> None:
        self.taken.remove((start, start + size))


# ---------------------------------------------------------------------------------------------------------------------- allocator


@dataclass
class Allocation:
    block: Block
    freed: bool = False


@dataclass
class Request:
    size: int
    stream: int
    pool: BlockPool
    segment_size: int


@dataclass
class Pools:
    small: BlockPool = field(default_factory=lambda: BlockPool(small=True))
    large: BlockPool = field(default_factory=lambda: BlockPool(small=False))


class Allocator:
    def __init__(self, conf: str = "", capacity: int | None = None) -> None:
        self.settings = Settings(conf)
        self.capacity = capacity
        self.reserved = 0
        # What garbage collection measures against, and what is checked before CUDA is asked at all.
        self.allowed: int | None = capacity
        self.checked: int | None = None
        fraction = self.settings.memory_fraction
        if capacity is not None and fraction is not None and fraction < 1:  # a fraction of 1 is no limit in PyTorch
            self.allowed = self.checked = int(fraction * float(capacity))
        self.collects = self.allowed is not None and self.settings.garbage_collection_threshold > 0
        self.pools: dict[PoolId, Pools] = {DEFAULT_POOL: Pools()}
        self.addresses = AddressSpace()
        self.expandable_made = 0
        self.waiting: list[Allocation] = []

    # What a program calls.

    def malloc(self, size: int, stream: int = 0, pool: PoolId = DEFAULT_POOL) -> Allocation | None:
        rounded = self.settings.round_size(size)
        pools = self.pools.setdefault(pool, Pools())
        blocks = pools.small if rounded <= SMALL_SIZE else pools.large
        request = Request(rounded, stream, blocks, allocation_size(rounded))
        block = self._get_free_block(request)
        if block is None:
            if self.collects:
                self._collect_garbage()
            block = self._new_block(request)
        if block is None and self._release_available(request):
            block = self._new_block(request)
        if block is None:
            self._release_cached()
            block = self._new_block(request)
        if block is None:
            return None
        return Allocation(self._hand_out(block, request))

    def pending(self, allocation: Allocation) -> None:
        """The program has given it back, but other streams still work with it."""
        if not allocation.freed and not allocation.block.waiting:
            allocation.block.allocated = False
            allocation.block.waiting = True
            self.waiting.append(allocation)

    def free(self, allocation: Allocation) -> None:
        if allocation.freed:
            return
        if allocation.block.waiting:
            allocation.block.waiting = False
            self.waiting.remove(allocation)
        allocation.block.allocated = False
        allocation.freed = True
        self._free_block(allocation.block)

    # Finding a cached block.

    def _get_free_block(self, request: Request) -> Block | None:
        pool = request.pool
        if self.collects:
            pool.searches += 1
        index = pool.first_at_least(request.stream, request.size)
        if index == len(pool.order) or pool.order[index][0] != request.stream:
            return None
        block = pool.block(index)
        if block.segment is not None:
            # The best fit is the block that can grow least, which need not be the smallest as it is.
            while index + 1 < len(pool.order) and pool.order[index + 1][0] == request.stream:
                following = pool.block(index + 1)
                if following.expandable_size() >= block.expandable_size():
                    break
                index += 1
                block = following
        limit = self.settings.max_split_size
        if request.size < limit <= block.size:
            return None  # oversize blocks are kept for oversize requests
        if request.size >= limit and block.size >= request.size + self.settings.max_non_split_rounding:
            return None
        pool.remove(block)
        return block

    def _should_split(self, block: Block, size: int) -> bool:
        remaining = block.size - size
        if block.pool.small or self.settings.expandable_segments:
            return remaining >= MIN_BLOCK
        return size < self.settings.max_split_size and remaining > SMALL_SIZE

    def _hand_out(self, block: Block, request: Request) -> Block:
        if self._should_split(block, request.size):
            rest = block
            block = Block(rest.stream, request.size, rest.address, rest.pool, rest.segment)
            block.insert_between(rest.previous, rest)
            rest.address += request.size
            rest.size -= request.size
            rest.pool.insert(rest)
        block.allocated = True
        return block

    # New memory.

    def _new_block(self, request: Request) -> Block | None:
        if self.checked is not None and self.reserved + request.segment_size > self.checked:
            return None
        if self.settings.expandable_segments:
            return self._new_expandable_block(request)
        if not self._has_room(request.segment_size):
            return None
        self.reserved += request.segment_size
        address = self.addresses.take(request.segment_size)
        return Block(request.stream, request.segment_size, address, request.pool, None)

    def _has_room(self, more: int) -> bool:
        return self.capacity is None or self.reserved + more <= self.capacity

    def _new_expandable_block(self, request: Request) -> Block | None:
        block = self._find_expandable(request)
        # `block` begins a run of free and unmapped blocks that is long enough together. Each is mapped only as far as needed, and
        # what has been mapped stays so when a later one fails.
        if not block.mapped and not self._map(block, min(block.size, request.size)):
            return None
        while block.size < request.size:
            following = block.next
            assert following is not None and not following.mapped
            if not self._map(following, min(request.size - block.size, following.size)):
                return None
            block = following  # which has taken in what was before it
        request.pool.remove(block)
        return block

    def _find_expandable(self, request: Request) -> Block:
        """Where a request fits at the lowest address, over free and unmapped blocks."""
        for block in request.pool.unmapped_of(request.stream):
            if block.previous is not None and block.previous.is_free():
                block = block.previous
            room = 0
            at: Block | None = block
            while at is not None and at.is_free() and room < request.size:
                room += at.size
                at = at.next
            if room >= request.size:
                return block
        page = SMALL_SEGMENT if request.pool.small else LARGE_SEGMENT
        segment = ExpandableSegment(self.expandable_made * EXPANDABLE_APART, round_up(EXPANDABLE_SPACE, page), page)
        self.expandable_made += 1
        block = Block(request.stream, segment.size, segment.base, request.pool, segment)
        block.mapped = False
        request.pool.insert_unmapped(block)
        return block

    def _map(self, block: Block, size: int) -> bool:
        """Puts memory behind the first `size` bytes of an unmapped block, which then is free, together with its neighbours."""
        segment = block.segment
        assert segment is not None and not block.mapped and 0 < size <= block.size
        assert (block.address - segment.base) % segment.page == 0
        mapped = round_up(size, segment.page)
        if not self._has_room(mapped):
            return False
        pool = block.pool
        pool.remove_unmapped(block)
        block.mapped = True
        if mapped < block.size:
            rest = Block(block.stream, block.size - mapped, block.address + mapped, pool, segment)
            rest.mapped = False
            rest.insert_between(block, block.next)
            pool.insert_unmapped(rest)
            block.size = mapped
        self._merge(block, block.previous)
        self._merge(block, block.next)
        pool.insert(block)
        self.reserved += mapped
        return True

    # Giving back.

    def _free_block(self, block: Block) -> None:
        self._merge(block, block.previous)
        self._merge(block, block.next)
        block.pool.insert(block)

    def _merge(self, block: Block, other: Block | None) -> None:
        """Takes a free neighbour in, when it is mapped like the block is."""
        if other is None or not other.is_free() or other.mapped != block.mapped:
            return
        if other.mapped:
            other.pool.remove(other)
        else:
            other.pool.remove_unmapped(other)
        if block.previous is other:
            block.address = other.address
            block.insert_between(other.previous, block.next)
        else:
            block.insert_between(block.previous, other.next)
        block.size += other.size

    def _release(self, block: Block) -> None:
        """Gives a whole segment back to CUDA."""
        assert block.segment is None and not block.is_split()
        block.pool.remove(block)
        self.addresses.give_back(block.address, block.size)
        self.reserved -= block.size

    def _unmap(self, block: Block) -> None:
        """Takes the memory away from a free block's whole pages. What is left before and after them stays free."""
        segment = block.segment
        assert segment is not None
        first = round_up(block.address - segment.base, segment.page) + segment.base
        end = (block.address + block.size - segment.base) // segment.page * segment.page + segment.base
        if first >= end:
            return
        pool = block.pool
        pool.remove(block)
        if first > block.address:
            before = Block(block.stream, first - block.address, block.address, pool, segment)
            before.insert_between(block.previous, block)
            pool.insert(before)
        if block.address + block.size > end:
            after = Block(block.stream, block.address + block.size - end, end, pool, segment)
            after.insert_between(block, block.next)
            pool.insert(after)
        block.address = first
        block.size = end - first
        block.mapped = False
        self._merge(block, block.previous)
        self._merge(block, block.next)
        pool.insert_unmapped(block)
        self.reserved -= end - first

    def _collect_garbage(self) -> None:
        """Gives back the whole segments that have been free for longest, as measured in searches of their pool."""
        assert self.allowed is not None
        threshold = int(self.settings.garbage_collection_threshold * float(self.allowed))
        if self.reserved <= threshold:
            return
        target = self.reserved - threshold
        pool = self.pools[DEFAULT_POOL].large
        whole = [block for block in pool.blocks() if not block.is_split()]
        total_age = sum(pool.age(block) for block in whole)
        count = len(whole)
        reclaimed = 0
        released = True
        while reclaimed < target and released and count > 0:
            average = total_age / count
            released = False
            # Everything of at least the average age goes, even past the target, so that this isn't needed again soon.
            for block in pool.blocks():
                if not block.is_split() and block.segment is None and pool.age(block) >= average:
                    released = True
                    reclaimed += block.size
                    total_age -= pool.age(block)
                    count -= 1
                    self._release(block)

    def _release_available(self, request: Request) -> bool:
        """Gives back oversize blocks of the request's own stream and pool: one that suffices, or else the largest ones."""
        limit = self.settings.max_split_size
        if limit == UNLIMITED:
            return False
        pool = request.pool
        wanted = max(request.size, limit)
        index = pool.first_at_least(request.stream, wanted)
        if index < len(pool.order) and pool.order[index][0] == request.stream and pool.block(index).segment is None:
            self._release(pool.block(index))
            return True
        released = 0
        index -= 1
        while index >= 0 and released < wanted:
            block = pool.block(index)
            if block.size < limit or block.stream != request.stream:
                break
            if block.segment is None:
                released += block.size
                self._release(block)
            index -= 1
        return released >= wanted

    def _release_cached(self) -> None:
        """Waits for all other streams, then gives back whatever is whole in the default pools."""
        for allocation in self.waiting:
            allocation.freed = True
            allocation.block.waiting = False
            self._free_block(allocation.block)
        self.waiting = []
        default = self.pools[DEFAULT_POOL]
        for pool in (default.large, default.small):
            for block in pool.blocks():
                if block.segment is not None:
                    self._unmap(block)
                    if not block.mapped and not block.is_split():
                        pool.remove_unmapped(block)  # nothing is left of the segment
                elif not block.is_split():
                    self._release(block)


def replay(operations: Sequence[Operation], conf: str = "", capacity: int | None = None) -> list[tuple[int, bool]]:
    """Reserved bytes after every operation, and whether it was refused."""
    allocator = Allocator(conf, capacity)
    for operation in operations:
        if isinstance(operation, (Alloc, Attempt)):
            allocator.pools.setdefault(operation.pool, Pools())
    granted: dict[int, Allocation] = {}
    steps: list[tuple[int, bool]] = []
    for operation in operations:
        refused = False
        if isinstance(operation, Alloc):
            allocation = allocator.malloc(operation.size, operation.stream, operation.pool)
            if allocation is None:
                refused = True
            else:
                granted[operation.number] = allocation
        elif isinstance(operation, Attempt):
            allocation = allocator.malloc(operation.size, operation.stream, operation.pool)
            if allocation is None:
                refused = True
            else:
                allocator.free(allocation)
        elif operation.number in granted:
            if isinstance(operation, Pending):
                allocator.pending(granted[operation.number])
            else:
                allocator.free(granted.pop(operation.number))
        if not isinstance(operation, Pending):
            steps.append((allocator.reserved, refused))
    return steps


# ---------------------------------------------------------------------------------------------------------------- reading a trace


def operations_of(snapshot: dict[str, Any]) -> list[Operation]:
    """The operations of a snapshot as `torch.cuda.memory._snapshot()` gives it, of the first device."""
    operations: list[Operation] = []
    number_at: dict[int, int] = {}
    number = 0
    for entry in snapshot["device_traces"][0]:
        action = entry["action"]
        if action in ("alloc", "oom"):
            stream = int(entry.get("stream", 0)) % 2**64
            pool_id = entry.get("pool_id") or DEFAULT_POOL
            pool = (int(pool_id[0]), int(pool_id[1]))
            if action == "alloc":
                number_at[entry["addr"]] = number
                operations.append(Alloc(number, entry["size"], stream, pool))
            else:
                operations.append(Attempt(number, entry["size"], stream, pool))
            number += 1
        elif action == "free_requested":
            operations.append(Pending(number_at[entry["addr"]]))
        elif action == "free_completed":
            freed = number_at.pop(entry["addr"])
            if operations[-1] == Pending(freed):
                operations.pop()
            operations.append(Free(freed))
    return operations


def operations_of_lines(text: str) -> list[Operation]:
    """The operations of lines `a ID BYTES` and `f ID`."""
    operations: list[Operation] = []
    for line in text.splitlines():
        words = line.split()
        if words and words[0] == "a":
            operations.append(Alloc(int(words[1]), int(words[2])))
        elif words and words[0] == "f":
            operations.append(Free(int(words[1])))
    return operations


# ------------------------------------------------------------------------------------------------------------------ cases by hand


EXPANDABLE = "expandable_segments:True"


def _steps(text: str, conf: str = "", capacity: int | None = None) -> list[str]:
    """MiB reserved after each of `a0:20` (MiB; then `@1`: on stream 1, or `#1`: in a pool), `t:20` (an attempt), `p0`, `f0`."""
    operations: list[Operation] = []
    for word in text.split():
        what, _, size = word.partition(":")
        if what[0] in "at":
            size, _, pool = size.partition("#")
            size, _, stream = size.partition("@")
            make = Alloc if what[0] == "a" else Attempt
            number = int(what[1:] or -1)
            operations.append(make(number, int(float(size) * MIB), int(stream or 0), (0, int(pool or 0))))
        else:
            operations.append((Free if what[0] == "f" else Pending)(int(what[1:])))
    return [f"{reserved / MIB:g}" + ("!" if refused else "") for reserved, refused in replay(operations, conf, capacity)]


def hand_cases() -> None:
    """Each case follows from a sentence of the source; `!` marks a refusal."""

    def expect(text: str, expected: str, conf: str = "", capacity: int | None = None) -> None:
        got = " ".join(_steps(text, conf, capacity))
        assert got == expected, f"{text} ({conf}, {capacity}): {got}, expected {expected}"

    # A free page in the middle of an expandable segment is unmapped and used at its end.
    expect("a0:20 a1:20 f0 a2:40", "20 40 40 60", EXPANDABLE, 60 * MIB)
    # Without expandable segments too, but not where the first is split off a larger segment.
    expect("a0:20 a1:20 f0 a2:40", "20 40 40 60", "", 60 * MIB)
    expect("a0:5 a1:5 f0 a2:20", "20 20 20 20!", "", 39 * MIB)
    # Streams share no memory.
    expect("a0:100 f0 a1:100@1 f1", "100 100 200 200")
    # 11 MiB take a segment of 12 MiB whole, as a rest of 1 MiB is no block of its own. One of 2 MiB, after 10 MiB, is.
    expect("a0:11 a1:1.5", "12 32")
    expect("a0:11 f0 a1:11 a2:1.5", "12 12 12 32")
    expect("a0:11 f0 a1:10 a2:1.5", "12 12 12 12")
    # 1 MiB is small, more is large; 10 MiB and more have a segment of their own.
    expect("a0:1 a1:1 a2:1.0005 a3:9.99 a4:10", "2 2 22 22 32")
    # A split segment isn't given back, a whole one is; and a pool of its own is kept.
    expect("a0:12 f0 a1:12#1 f1 a2:30", "12 12 24 24 42", "", 42 * MIB)
    expect("a0:12 f0 a1:12#1 f1 a2:31", "12 12 24 24 12!", "", 42 * MIB)
    # What waits for other streams is free only when memory runs out, and its own free does nothing then.
    expect("a0:20 p0 a1:20 f0 a2:20", "20 40 40 40")
    expect("a0:20 p0 a1:20 f0", "20 20 20", "", 20 * MIB)
    # An attempt that is granted leaves its memory cached.
    expect("t:30 a0:30 t:30", "30 30 30!", "", 40 * MIB)
    # Oversize blocks aren't split and not used for smaller requests, nor for oversize ones that leave too much.
    expect("a0:100 f0 a1:30", "100 100 130", "max_split_size_mb:64")
    expect("a0:100 f0 a1:79", "100 100 180", "max_split_size_mb:64")
    expect("a0:100 f0 a1:81", "100 100 100", "max_split_size_mb:64")
    expect("a0:100 f0 a1:70", "100 100 100", "max_split_size_mb:64,max_non_split_rounding_mb:40")
    # Of oversize blocks the one that suffices is given back, rather than all.
    expect("a0:64 a1:80 f0 f1 a2:20", "64 144 144 144 100", "max_split_size_mb:64", 150 * MIB)
    # Expandable segments: pages of 20 MiB; what follows a free block is added to it.
    expect("a0:25 f0 a1:50 a2:9.5 a3:1", "40 40 60 60 62", EXPANDABLE)
    # Free pages are unmapped before the last try, and stay so when that fails too.
    expect("a0:20 a1:20 f1 f0 a2:70", "20 40 40 40 0!", EXPANDABLE, 60 * MIB)
    # The limit counts whole steps of 2 MiB even where only part of a page would be mapped.
    expect("a0:15 a1:15", "20 20!", EXPANDABLE + ",per_process_memory_fraction:0.5", 60 * MIB)
    # Above the threshold what has been free at least as long as on average goes, before CUDA is asked for more.
    expect("a0:40 a1:40 f0 a2:50", "40 80 80 90", "garbage_collection_threshold:0.5", 100 * MIB)
    expect("a0:40 a1:40 f0 a2:50", "40 80 80 130", "garbage_collection_threshold:0.5", 200 * MIB)
    # Rounding: 260 MiB in eighths of 256 MiB; nothing in lists' gaps; what is below the first interval is treated like it.
    for conf, size, rounded in (
        ("roundup_power2_divisions:8", 260 * MIB, 288 * MIB),
        ("roundup_power2_divisions:4", 1200, 1536),
        ("roundup_power2_divisions:2", 1200, 1536),
        ("roundup_power2_divisions:4", 5000, 5120),
        ("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]", 300 * MIB, 300 * MIB),
        ("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]", 600 * MIB, 768 * MIB),
        ("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]", 1100 * MIB, 1280 * MIB),
        ("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]", 2100 * MIB, 2304 * MIB),
        ("roundup_power2_divisions:[4:2,16:4]", 3 * MIB // 2 + 1, 2 * MIB),
        ("roundup_power2_divisions:[4:2,16:4]", 9 * MIB + 1, 9 * MIB + 512),
    ):
        got = Settings(conf).round_size(size)
        assert got == rounded, f"{conf}: {size} is rounded to {got}, expected {rounded}"
    for conf in ("nonsense:1", "max_split_size_mb", "max_split_size_mb:19", "backend:other", "garbage_collection_threshold:1"):
        try:
            Settings(conf)
        except ValueError:
            continue
        raise AssertionError(f"{conf} was taken")


def main(arguments: list[str]) -> None:
    if not arguments:
        hand_cases()
        print("all cases hold")
        return
    content = Path(arguments[0]).read_bytes()
    options = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    is_pickle = content[:1] in (b"\x80", b"(", b"}")
    operations = operations_of(pickle.loads(content)) if is_pickle else operations_of_lines(content.decode())
    capacity = int(options["--capacity"]) if "--capacity" in options else None
    for reserved, refused in replay(operations, options.get("--conf", ""), capacity):
        print(reserved, "refused" if refused else "ok")


if __name__ == "__main__":
    main(sys.argv[1:])
