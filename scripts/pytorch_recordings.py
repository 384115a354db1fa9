"""Recordings as a program could leave them, drawn from a seed, and settings of the allocator: what `check-replay` compares on."""

import random
from dataclasses import dataclass
from typing import Any

from pytorch_allocator import DEFAULT_POOL, KIB, MIB, MIN_BLOCK, PoolId, round_up


@dataclass
class _Live:
    address: int
    size: int
    stream: int
    pool: PoolId


class _Recorder:
    """Writes the entries of a recorded program."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.entries: list[dict[str, Any]] = []
        self.operations = 0
        self.live: list[_Live] = []
        self.waiting: list[tuple[int, _Live]] = []
        others = [1, 2, 3, 4096, 94837293056, 139637976727552]
        self.streams = [0, *chance.sample(others, chance.choice([0, 0, 1, 1, 2, 3]))]
        self.pools: list[PoolId] = []
        if chance.random() < 0.35:
            self.pools = chance.sample([(0, 1), (0, 2), (1, 0), (2, 0), (1, 1)], chance.randint(1, 3))
        self.writes_pool = bool(self.pools) or chance.random() < 0.5
        self.writes_requests = chance.random() < 0.9  # `free_requested` may be left out of a recording
        self.reuses_addresses = chance.random() < 0.7
        self.next_address = 0x7F0000000000
        self.gaps: dict[int, list[int]] = {}
        self.time = 1_700_000_000_000_000

    def write(self, action: str, address_key: str, address: int, live: _Live) -> None:
        self.time += self.chance.randint(1, 500)
        entry: dict[str, Any] = {"action": action, address_key: address, "size": live.size, "stream": live.stream}
        entry |= {"time_us": self.time, "frames": []}
        if self.writes_pool:
            entry["pool_id"] = live.pool
        self.entries.append(entry)

    def where(self) -> tuple[int, PoolId]:
        stream = self.streams[0] if self.chance.random() < 0.6 else self.chance.choice(self.streams)
        pool = self.chance.choice(self.pools) if self.pools and self.chance.random() < 0.4 else DEFAULT_POOL
        return stream, pool

    def alloc(self, size: int, place: tuple[int, PoolId] | None = None) -> _Live:
        stream, pool = self.where() if place is None else place
        room = round_up(size, MIN_BLOCK)
        gaps = self.gaps.get(room, [])
        if gaps and self.reuses_addresses:
            address = gaps.pop()
        else:
            address = self.next_address
            self.next_address += room
        live = _Live(address, size, stream, pool)
        self.write("alloc", "addr", address, live)
        self.live.append(live)
        self.operations += 1
        return live

    def fail(self, size: int) -> None:
        stream, pool = self.where()
        self.write("oom", "device_free", self.chance.randint(0, 2 * 2**30), _Live(0, round_up(size, MIN_BLOCK), stream, pool))
        self.operations += 1

    def free(self, live: _Live, wait: int | None = None) -> None:
        """`wait`: how many operations later other streams are done with it."""
        self.live.remove(live)
        if self.writes_requests:
            self.write("free_requested", "addr", live.address, live)
            if wait is not None:
                self.waiting.append((self.operations + wait, live))
                return
        self.complete(live)

    def complete(self, live: _Live) -> None:
        self.write("free_completed", "addr", live.address, live)
        self.gaps.setdefault(round_up(live.size, MIN_BLOCK), []).append(live.address)
        self.operations += 1

    def complete_waiting(self) -> None:
        for item in [item for item in self.waiting if item[0] <= self.operations]:
            self.waiting.remove(item)
            self.complete(item[1])


def _random_size(chance: random.Random, kind: str) -> int:
    if kind == "edge":
        near = chance.choice([MIN_BLOCK, *(mib * MIB for mib in (1, 2, 10, 20, 21, 32, 50, 64, 100, 128, 200, 256))])
        return max(1, near + chance.choice([-MIB, -513, -512, -1, 0, 1, 512, 513, MIB, MIB + 512]))
    low, high = {"small": (1, MIB), "middle": (MIB + 1, 20 * MIB), "large": (20 * MIB, 500 * MIB)}[kind]
    size = int(low * (high / low) ** chance.random())
    step = chance.choice([1, 1, 4, MIN_BLOCK, 64 * KIB, MIB, 2 * MIB])
    return min(max(round_up(size, step), low), high)


def random_snapshot(seed: int) -> dict[str, Any]:
    """A snapshot such as PyTorch writes, of a program that never ran."""
    chance = random.Random(f"snapshot {seed}")
    recorder = _Recorder(chance)
    length = int(50 * 40 ** (chance.random() ** 1.5))
    kinds = ["small", "middle", "large", "edge", "repeated", "growing"]
    weights = [chance.random() ** 2 + 0.02 for _ in kinds]
    repeated = [_random_size(chance, chance.choice(kinds[:4])) for _ in range(chance.randint(2, 8))]
    # Sizes that fit into each other all but for the least that is split off.
    near = [-MIB - 512, -MIB, -MIB + 512, -512, 512, MIB]
    repeated += [max(1, size + chance.choice(near)) for size in repeated if chance.random() < 0.5]
    growing: list[tuple[_Live, float]] = []
    goal = int(3 * 30 ** chance.random())
    # How the program frees: the newest, the oldest, any, or each of them at times.
    habit = chance.choice(["newest", "oldest", "any", "mixed"])
    record_stream = chance.choice([0.0, 0.0, 0.05, 0.3]) if recorder.writes_requests else 0.0
    oom = chance.choice([0.0, 0.0, 0.01, 0.05])

    def grown_now() -> list[_Live]:
        return [buffer for buffer, _ in growing]

    def free(live: _Live) -> None:
        wait = None
        if chance.random() < record_stream:
            wait = 10**9 if chance.random() < 0.1 else chance.randint(1, 40)
        recorder.free(live, wait)

    while recorder.operations < length:
        recorder.complete_waiting()
        freeable = [live for live in recorder.live if live not in grown_now()]
        if chance.random() < oom:
            recorder.fail(_random_size(chance, chance.choice(["middle", "large", "large", "edge"])))
        elif freeable and chance.random() < 0.01:
            share = chance.choice([0.5, 0.9, 1.0])
            for live in freeable if chance.random() < 0.5 else freeable[::-1]:
                if chance.random() < share:
                    free(live)
        elif freeable and chance.random() < (0.65 if len(freeable) > goal else 0.3):
            how = chance.choice(["newest", "oldest", "any"]) if habit == "mixed" else habit
            index = {"newest": len(freeable) - 1, "oldest": 0, "any": chance.randrange(len(freeable))}[how]
            free(freeable[index])
        else:
            kind = chance.choices(kinds, weights)[0]
            if kind == "growing":
                if len(growing) < 3:
                    start = _random_size(chance, chance.choice(["small", "middle", "large"]))
                    growing.append((recorder.alloc(start), chance.choice([1.01, 1.1, 1.25, 1.5, 2.0])))
                else:
                    old, factor = growing.pop(chance.randrange(len(growing)))
                    size = int(old.size * factor) + 1
                    if size <= 500 * MIB:
                        growing.append((recorder.alloc(size, (old.stream, old.pool)), factor))
                    free(old)
            elif kind == "repeated":
                recorder.alloc(chance.choice(repeated))
            else:
                recorder.alloc(_random_size(chance, kind))
    if chance.random() < 0.4:
        for live in list(recorder.live):
            free(live)
        recorder.complete_waiting()
    return {"segments": [], "device_traces": [recorder.entries]}


def random_conf(seed: int) -> str:
    chance = random.Random(f"conf {seed}")
    parts: list[str] = []
    often = chance.choice([0.0, 0.3, 0.3, 0.6])
    if chance.random() < max(often, 0.15):
        parts.append(f"expandable_segments:{chance.choice(['True', 'True', 'True', 'False'])}")
    if chance.random() < often:
        parts.append(f"max_split_size_mb:{chance.choice([21, 22, 32, 50, 64, 100, 128, 200, 256, 512])}")
    if chance.random() < often * 0.7:
        parts.append(f"max_non_split_rounding_mb:{chance.choice([21, 24, 40, 64, 100, 256])}")
    if chance.random() < often * 0.8:
        if chance.random() < 0.5:
            parts.append(f"roundup_power2_divisions:{chance.choice([1, 2, 4, 8, 16, 64])}")
        else:
            intervals = sorted(chance.sample([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], chance.randint(1, 4)))
            items = [f"{interval}:{chance.choice([0, 1, 2, 4, 8, 16])}" for interval in intervals]
            if chance.random() < 0.7:
                items.append(f">:{chance.choice([1, 2, 4, 8])}")
            parts.append(f"roundup_power2_divisions:[{','.join(items)}]")
    if chance.random() < often:
        parts.append(f"garbage_collection_threshold:{chance.choice([0.1, 0.3, 0.5, 0.6, 0.75, 0.8, 0.9, 0.95])}")
    if chance.random() < often * 0.7:
        parts.append(f"per_process_memory_fraction:{chance.choice([0.3, 0.5, 0.75, 0.8, 0.9, 0.95, 0.99])}")
    chance.shuffle(parts)
    return ", ".join(parts) if chance.random() < 0.1 else ",".join(parts)
