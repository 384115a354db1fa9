"""Which card for which model, under which traffic: `fit` and `capacity` for every combination, over the machines of a Ray cluster.

    python examples/python/fleet.py --models examples/llama-3.1-8b --cards 24GiB 48GiB 80GiB --traffic chat=500:0.004 --out fleet

Each combination's answer is a Parquet file in the folder, named by what was asked, so a run that was ended goes on where it was and
another traffic asks only what is new. `fleet/summary.parquet` is all of them. Without a cluster Ray starts on this machine alone.

Needs `pip install vramkit ray pyarrow`.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import ray
import vramkit

Cell = dict[str, Any]


def name_of(cell: Cell) -> str:
    """A file's name from what is asked, and of which version."""
    text = json.dumps({**cell, "version": vramkit.__version__}, sort_keys=True)
    return f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.parquet"


def answer(cell: Cell) -> Cell:
    """What one card takes of one model, and the largest batch that its cache holds under one traffic."""
    row: Cell = {**cell, "fits": None, "total_bytes": None, "headroom_bytes": None, "max_batch": None, "error": None}
    try:
        fit = vramkit.fit(cell["model"], memory=cell["card"], ctx=cell["ctx"], runtime=cell["runtime"])
        row.update(fits=fit.fits, total_bytes=fit.total_bytes, headroom_bytes=fit.headroom_bytes)
        # What the cache may take: what is left, and what the fit has counted for it.
        cache = (fit.headroom_bytes or 0) + (fit.kv_bytes or 0)
        if fit.kv_bytes_per_token and cache > 0:
            traffic = vramkit.capacity(
                capacity_tokens=cache // fit.kv_bytes_per_token,
                prompt_mean=cell["prompt_tokens"],
                termination=cell["termination"],
                risk=cell["risk"],
            )
            row["max_batch"] = traffic.max_batch
    except vramkit.VramkitError as error:
        row["error"] = str(error)
    return row


@ray.remote(num_cpus=1)
def answered(cell: Cell) -> Cell:
    """One combination, on whatever machine has a processor free."""
    return answer(cell)


def write(path: Path, rows: list[Cell]) -> None:
    """Whole or not at all."""
    schema = pyarrow.schema(
        [
            ("model", pyarrow.string()),
            ("card", pyarrow.string()),
            ("runtime", pyarrow.string()),
            ("ctx", pyarrow.int64()),
            ("traffic", pyarrow.string()),
            ("prompt_tokens", pyarrow.float64()),
            ("termination", pyarrow.float64()),
            ("risk", pyarrow.float64()),
            ("fits", pyarrow.bool_()),
            ("total_bytes", pyarrow.int64()),
            ("headroom_bytes", pyarrow.int64()),
            ("max_batch", pyarrow.int64()),
            ("error", pyarrow.string()),
        ]
    )
    beside = path.with_suffix(".part")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), beside)
    beside.rename(path)


def run(cells: list[Cell], folder: Path) -> tuple[int, int]:
    """Answers what is not in the folder yet; how many were there, and how many were asked."""
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    missing = [cell for cell in cells if not (parts / name_of(cell)).exists()]
    waiting = {answered.remote(cell): cell for cell in missing}
    while waiting:
        done, _ = ray.wait(list(waiting), num_returns=1)
        for each in done:
            write(parts / name_of(waiting.pop(each)), [ray.get(each)])
    rows = [row for cell in cells for row in pyarrow.parquet.read_table(parts / name_of(cell)).to_pylist()]
    write(folder / "summary.parquet", rows)
    return len(cells) - len(missing), len(missing)


def traffic_of(text: str) -> tuple[str, float, float]:
    """`chat=500:0.004`: prompts of 500 tokens, outputs that end after each token with a probability of 0.004."""
    name, _, numbers = text.partition("=")
    prompt, _, termination = numbers.partition(":")
    return name, float(prompt), float(termination)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True, help="what fit reads: GGUF, config.json, a folder")
    parser.add_argument("--cards", nargs="+", default=["24GiB", "80GiB"], help="their memory")
    parser.add_argument("--traffic", nargs="+", type=traffic_of, default=[("chat", 500.0, 0.004)])
    parser.add_argument("--ctx", type=int, default=8192)
    parser.add_argument("--runtime", default="vllm")
    parser.add_argument("--risk", type=float, default=1e-3)
    parser.add_argument("--out", type=Path, default=Path("fleet"))
    options = parser.parse_args()
    cells = [
        {
            "model": str(Path(model).resolve()),
            "card": card,
            "runtime": options.runtime,
            "ctx": options.ctx,
            "traffic": name,
            "prompt_tokens": prompt,
            "termination": termination,
            "risk": options.risk,
        }
        for model, card, (name, prompt, termination) in itertools.product(options.models, options.cards, options.traffic)
    ]
    ray.init(ignore_reinit_error=True, include_dashboard=False, log_to_driver=False)
    there, asked = run(cells, options.out)
    print(f"{asked} asked, {there} there before")
    for row in pyarrow.parquet.read_table(options.out / "summary.parquet").to_pylist():
        batch = row["error"] or ("does not fit" if not row["fits"] else f"{row['max_batch']} sequences")
        print(f"{Path(row['model']).name:<24} {row['card']:>8}  {row['traffic']:<10} {batch}")


if __name__ == "__main__":
    main()
