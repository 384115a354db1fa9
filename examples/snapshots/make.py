#!/usr/bin/env python3
"""Makes the snapshots of `docs/replay.md`: a model that is trained on texts of varying length, and one whose program keeps too much.

    examples/snapshots/make.py [FOLDER]     writes varying.pickle.gz, epoch-1.pickle.gz and epoch-2.pickle.gz there

Addresses and segments are those that PyTorch's allocator would give (`scripts/pytorch_allocator.py`); entries have the form that
`torch.cuda.memory._dump_snapshot` writes. The same files every time.
"""

from __future__ import annotations

import gzip
import pickle
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

from pytorch_allocator import Allocation, Allocator  # noqa: E402

MIB = 1 << 20
BASE = 0x7F0000000000
TORCH = "/opt/venv/lib/python3.12/site-packages/torch"


def frame(file: str, line: int, name: str) -> dict[str, Any]:
    return {"filename": file, "line": line, "name": name}


MAIN = frame("/home/me/train.py", 88, "<module>")
STEP = frame("/home/me/train.py", 61, "step")
LINEAR = frame(f"{TORCH}/nn/modules/linear.py", 125, "forward")
SOFTMAX = frame(f"{TORCH}/nn/functional.py", 2140, "softmax")
ADAM = frame(f"{TORCH}/optim/adam.py", 175, "_init_group")
WEIGHTS = [LINEAR, frame("/home/me/model.py", 14, "__init__"), MAIN]
OPTIMIZER = [ADAM, frame("/home/me/train.py", 66, "step"), MAIN]
HIDDEN = [LINEAR, frame("/home/me/model.py", 31, "mlp"), STEP, MAIN]
SCORES = [SOFTMAX, frame("/home/me/model.py", 24, "attention"), STEP, MAIN]
LOGITS = [LINEAR, frame("/home/me/model.py", 44, "forward"), STEP, MAIN]
LOSSES = [frame(f"{TORCH}/_tensor.py", 570, "clone"), frame("/home/me/train.py", 72, "log"), STEP, MAIN]


class Recorded:
    """A program as PyTorch would record it."""

    def __init__(self, capacity: int) -> None:
        self._allocator = Allocator(capacity=capacity)
        self._entries: list[dict[str, Any]] = []
        self._live: dict[int, tuple[Allocation, list[dict[str, Any]]]] = {}
        self._sizes: dict[int, int] = {}

    def _note(self, action: str, address: int, size: int, frames: Sequence[dict[str, Any]]) -> None:
        self._entries.append({"action": action, "addr": address, "size": size, "stream": 0, "frames": frames})

    def alloc(self, size: int, frames: list[dict[str, Any]]) -> int:
        before = self._allocator.reserved
        given = self._allocator.malloc(size)
        assert given is not None, "the card is large enough"
        address = BASE + given.block.address
        if self._allocator.reserved > before:
            self._note("segment_alloc", address, self._allocator.reserved - before, frames)
        self._note("alloc", address, size, frames)
        self._live[address], self._sizes[address] = (given, frames), size
        return address

    def free(self, address: int) -> None:
        given, frames = self._live.pop(address)
        self._note("free_requested", address, self._sizes[address], frames)
        self._note("free_completed", address, self._sizes[address], frames)
        self._allocator.free(given)

    def fail(self, size: int, frames: list[dict[str, Any]]) -> None:
        self._entries.append({"action": "oom", "size": size, "device_free": 0, "stream": 0, "frames": frames})

    def snapshot(self) -> dict[str, Any]:
        blocks = [
            {"address": address, "size": size, "requested_size": size, "state": "active_allocated", "frames": self._live[address][1]}
            for address, size in sorted(self._sizes.items())
            if address in self._live
        ]
        segment = {
            "device": 0,
            "address": BASE,
            "total_size": self._allocator.reserved,
            "segment_type": "large",
            "stream": 0,
            "blocks": blocks,
        }
        settings = {"PYTORCH_CUDA_ALLOC_CONF": "", "expandable_segments": False, "max_split_size": -1}
        return {"segments": [segment], "device_traces": [self._entries], "allocator_settings": settings}


def varying() -> Recorded:
    """Sixty steps of twelve layers on texts of 400 to 4,300 tokens, of which the program keeps a little each time."""
    chance = random.Random(7)
    program = Recorded(capacity=80 << 30)
    for _ in range(12):
        for rows in (3072, 8192, 8192):
            program.alloc(4 * 3072 * rows, WEIGHTS)
    for step in range(60):
        tokens = chance.choice([400, 700, 1100, 1700, 2500, 4000]) + chance.randrange(300)
        held = []
        for _ in range(12):
            held.append(program.alloc(4 * tokens * 3072, HIDDEN))
            held.append(program.alloc(2 * 24 * tokens * tokens, SCORES))
            held.append(program.alloc(4 * tokens * 8192, HIDDEN))
        held.append(program.alloc(4 * tokens * 32000, LOGITS))
        for _ in range(4):
            # What the program keeps of each step lies wherever there is room, in blocks that are much larger.
            program.alloc(5 * MIB // 2, LOSSES)
        if step == 0:
            for _ in range(24):
                program.alloc(4 * 3072 * (3072 + 16384), OPTIMIZER)
        for address in reversed(held):
            program.free(address)
        program.alloc(5 * MIB // 2, LOSSES)
    return program


def keeps(epochs: int) -> Recorded:
    """A program that keeps a loss with all it was computed from, once in twenty steps."""
    program = Recorded(capacity=80 << 30)
    for _ in range(12):
        program.alloc(4 * 3072 * 8192, WEIGHTS)
    for step in range(100 * epochs):
        held = [program.alloc(4 * 1024 * 3072, HIDDEN) for _ in range(12)]
        kept = program.alloc(4 * 1024 * 8192, LOSSES)
        for address in held:
            program.free(address)
        if step % 20:
            program.free(kept)
    return program


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for name, program in (("varying", varying()), ("epoch-1", keeps(1)), ("epoch-2", keeps(2))):
        with open(folder / f"{name}.pickle.gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
            packed.write(pickle.dumps(program.snapshot(), protocol=4))


if __name__ == "__main__":
    main()
