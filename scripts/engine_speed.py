"""How fast the engine is beside llama.cpp's libraries: same file, same threads, one after the other in one run.

Out: tables of medians and ratios. Nothing here fails: what a shared machine measures is of use as a ratio, with its load beside it.
"""

import os
from statistics import median

from engine_setup import has_amx

CELLS = ["decode_1_at_128", "decode_1_at_512", "decode_16_at_128", "prefill_512", "first_token_ms"]
NAMES = ["batch 1 at 128", "at 512", "batch 16 at 128", "prefill 512", "first token, ms"]
KINDS = ["q8_0", "q4_0", "q4_K", "f16"]


def libraries(sides):
    """Name, library, and the variant where it is not the one that the library chooses itself."""
    found = [("wheel", sides.library, None)]
    if sides.npm:
        found.append(("npm", sides.npm, None))
        if has_amx():
            found.append(("npm, icelake (no AMX)", sides.npm, "icelake"))
    return found


def measured(sides, model, threads, library, variant, seconds):
    if library is None:
        return sides.engine(model, "speed", seconds, threads=threads)["tokens_per_second"]
    best = sides.peer(model, "speed", "--seconds", seconds, library=library, variant=variant, threads=threads)["best"]
    return {cell: each["value"] for cell, each in best.items()}


def compare(sides, report, name, model, threads, rounds, seconds):
    rivals = libraries(sides)
    found = {"engine": []} | {rival: [] for rival, _, _ in rivals}
    before = os.getloadavg()[0]
    for _ in range(rounds):
        for rival, library, variant in rivals:
            found["engine"].append(measured(sides, model, threads, None, None, seconds))
            found[rival].append(measured(sides, model, threads, library, variant, seconds))
    middle = {who: {cell: median(each[cell] for each in answers) for cell in CELLS} for who, answers in found.items()}
    rows = [[who, *(f"{values[cell]:.0f}" for cell in CELLS)] for who, values in middle.items()]
    for rival, _, _ in rivals:
        # More is better, of milliseconds less.
        ratio = lambda cell: middle["engine"][cell] / middle[rival][cell] if cell != "first_token_ms" else middle[rival][cell] / middle["engine"][cell]
        rows.append([f"engine ÷ {rival}", *(f"{ratio(cell):.2f} ×" for cell in CELLS)])
    load = f"load {before:.1f} before, {os.getloadavg()[0]:.1f} after"
    report.table(f"{name}, {threads} thread{'s' if threads > 1 else ''} (tokens per second; {load})", ["", *NAMES], rows, parity=False)


def speed(sides, report, quick, rounds, seconds):
    if sides.npm is None:
        report.say(f"Without the npm library: {sides.npm_missing}.", parity=False)
    if quick:
        return compare(sides, report, "real model, Q4_1", sides.model, sides.threads, 1, seconds)
    files = [("real model, Q4_1", sides.model)]
    files += [(f"130 M, {kind}", sides.make(f"bench-{kind}", "--preset", "bench-130m", "--type", kind)) for kind in KINDS]
    for threads in dict.fromkeys((sides.threads, 1)):
        for name, model in files:
            compare(sides, report, name, model, threads, rounds, seconds)
