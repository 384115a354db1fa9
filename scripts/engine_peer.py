#!/usr/bin/env python3
"""What llama.cpp says of a model, as JSON: the independent implementation that the engine is compared with.

In: a shared library of llama.cpp (the file in the Python package `xllamacpp`, or the folder of shared libraries in the npm package
`@node-llama-cpp/linux-x64`), a GGUF file, a task. Out: JSON on standard output. Needs Python 3.9; numpy makes `logits` faster.

    engine_peer.py --library LIB info
    engine_peer.py --library LIB --model M tokenize texts.json      # ["text", ...] or {"texts": [...], "special": true, "begin": true}
    engine_peer.py --library LIB --model M logits lists.json --top 5 [--raw FILE]
        # [[token, ...], ...]; {"tokens": [...], "from": 8} for a list's places from the ninth token on
    engine_peer.py --library LIB --model M greedy prompts.json -n 64 # ["text" or [token, ...], ...]
    engine_peer.py --library LIB --model M chat "What is the capital of France?" -n 32
    engine_peer.py --library LIB --model M speed [--seconds 2]       # every setting in a process of its own, the best of each
"""

import argparse
import json
import math
import os
import statistics
import struct
import subprocess
import sys
import time

from llama_library import Context, Library, Model, Peer, numpy

STARTED = time.perf_counter()


class Row:
    """Logits of one position."""

    def __init__(self, logits):
        self.logits = logits
        if numpy is not None:
            wide = logits.astype(numpy.float64)
            self.total = float(wide.max() + math.log(numpy.exp(wide - wide.max()).sum()))
        else:
            most = max(logits)
            self.total = most + math.log(math.fsum(math.exp(value - most) for value in logits))

    def of(self, token):
        return float(self.logits[token]) - self.total

    def top(self, count):
        if numpy is not None:
            best = numpy.argsort(-self.logits, kind="stable")[:count].tolist()
        else:
            best = sorted(range(len(self.logits)), key=lambda token: -self.logits[token])[:count]
        return [[token, self.of(token)] for token in best]

    def bytes(self):
        return self.logits.astype("<f4").tobytes() if numpy is not None else struct.pack(f"<{len(self.logits)}f", *self.logits)

    def spread(self):
        return statistics.pstdev(map(float, self.logits))


def given(path):
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise Peer(f"`{path}` cannot be read as JSON: {error}") from error


def not_empty(lists):
    if not lists or not all(lists):
        raise Peer("a list of tokens is empty: there is nothing to read")
    return lists


def tokenize(model, options):
    texts = given(options.file)
    texts = texts if isinstance(texts, dict) else {"texts": texts}
    begin, special = texts.get("begin", True), texts.get("special", True)
    return {"tokens": [model.tokens(text, begin, special) for text in texts["texts"]]}


def logits(model, options):
    asked = [each if isinstance(each, dict) else {"tokens": each} for each in given(options.file)]
    lists = not_empty([each["tokens"] for each in asked])
    context = Context(model, max(map(len, lists)) + 8, options.threads, flash=options.flash, cache=options.cache)
    raw = open(options.raw, "wb") if options.raw else None
    found = []
    for tokens, first in zip(lists, [each.get("from", 0) for each in asked]):
        context.clear()
        positions = []
        for start, count in context.read(tokens, wanted="all"):
            for at in range(max(first - start, 0), count):
                row = Row(context.logits(at))
                following = tokens[start + at + 1] if start + at + 1 < len(tokens) else None
                positions.append({"next": None if following is None else row.of(following), "top": row.top(options.top)})
                if raw:
                    raw.write(row.bytes())
        found.append({"positions": positions, "deviation": row.spread()})
    if raw:
        raw.close()
    return {"lists": found, "vocabulary": model.size, "raw": options.raw}


def follow(context, model, tokens, most, stop):
    steps = []
    context.clear()
    for _, count in context.read(tokens):
        pass
    row = Row(context.logits(count - 1))
    for position in range(len(tokens), len(tokens) + most):
        steps.append(row.top(2))
        token = steps[-1][0][0]
        if stop and model.library.vocab_is_eog(model.vocab, token):
            break
        context.decode([(token, position, 0, True)])
        row = Row(context.logits(0))
    return steps


def greedy(model, options):
    prompts = given(options.file)
    lists = not_empty([model.tokens(prompt) if isinstance(prompt, str) else prompt for prompt in prompts])
    context = Context(model, max(map(len, lists)) + options.number + 8, options.threads, flash=options.flash, cache=options.cache)
    found = []
    for tokens in lists:
        steps = follow(context, model, tokens, options.number, options.stop)
        chosen = [step[0][0] for step in steps]
        found.append({"prompt": tokens, "tokens": chosen, "text": model.text(chosen), "top2": steps})
    return {"continuations": found}


def chat(model, options):
    prompt = model.chat(options.question)
    tokens = model.tokens(prompt)
    context = Context(model, len(tokens) + options.number + 8, options.threads, flash=options.flash, cache=options.cache)
    steps = follow(context, model, tokens, options.number, True)
    return {"prompt": prompt, "tokens": tokens, "answer": model.text([step[0][0] for step in steps])}


def rate(work, tokens, seconds):
    """Median tokens per second of repeated work, twice at least."""
    rates, until = [], time.perf_counter() + seconds
    while len(rates) < 2 or time.perf_counter() < until:
        start = time.perf_counter()
        work()
        rates.append(tokens / (time.perf_counter() - start))
    return statistics.median(rates)


def busy():
    """Seconds that all processors together have worked, for anybody, since the machine started."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, *interrupts = map(int, stat.readline().split()[1:8])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def one_setting(model, options, loaded):
    worked, own, began = busy(), time.process_time(), time.perf_counter()
    threads, flash, size = options.threads, options.flash, model.size
    some = lambda count, seed=1: [(at * 7919 + seed * 104729) % (size - 512 if size > 2048 else size // 2) for at in range(count)]
    context = Context(model, 640, threads, flash=flash, cache=options.cache)
    for _ in context.read(some(16)):
        pass
    context.logits(15)
    first = time.perf_counter()
    found = {"first_token_ms": 1e3 * (first - STARTED), "load_ms": 1e3 * (loaded - STARTED)}

    def steps(position, sequences, count):
        for at in range(count):
            context.decode([(some(1, at + s)[0], position + at, s, True) for s in range(sequences)])
            context.logits(sequences - 1)

    def prefill():
        context.clear()
        for _ in context.read(some(512)):
            pass
        context.logits(511)

    prefill()
    found["prefill_512"] = rate(prefill, 512, options.seconds)
    for depth in (128, 512):
        context.clear()
        for _ in context.read(some(depth)):
            pass

        def decode():
            context.cut(depth)
            steps(depth, 1, 16)

        decode()
        found[f"decode_1_at_{depth}"] = rate(decode, 16, options.seconds)
    context.close()

    context = Context(model, 16 * 160, threads, sequences=16, flash=flash, cache=options.cache)
    for _ in context.read(some(128)):
        pass
    for sequence in range(1, 16):
        context.copy(sequence)

    def together():
        context.cut(128)
        steps(128, 16, 4)

    together()
    found["decode_16_at_128"] = rate(together, 64, options.seconds)
    context.close()
    others = busy() - worked - (time.process_time() - own)
    used = round(max(others, 0) / (time.perf_counter() - began), 2)
    return {"tokens_per_second": found, "processors_that_others_used": used, "buffers_mib": model.buffers, **model.library.info()}


def speed(options):
    """The best of all settings, each in a process of its own."""
    settings = []
    for flash in ("on", "off"):
        for repack in ("on", "off"):
            command = [sys.executable, __file__, "--library", options.library, "--model", options.model, "--threads", str(options.threads)]
            command += ["--flash", flash, "--repack", repack, "--cache", options.cache, "speed", "--seconds", str(options.seconds), "--one"]
            command[2:2] = ["--variant", options.variant] if options.variant else []
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise Peer(f"with flash attention {flash} and repacking {repack}: {done.stderr.strip()[-400:]}")
            settings.append({"flash": flash, "repack": repack, **json.loads(done.stdout)})
    best = {}
    for cell in settings[0]["tokens_per_second"]:
        pick = min if cell.endswith("_ms") else max
        chosen = pick(settings, key=lambda setting: setting["tokens_per_second"][cell])
        best[cell] = {"value": chosen["tokens_per_second"][cell], "flash": chosen["flash"], "repack": chosen["repack"]}
    return {"threads": options.threads, "best": best, "settings": settings}


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True, help="a shared library, or a folder of them")
    parser.add_argument("--variant", help="of a folder: this processor's libraries rather than the best, such as haswell or icelake")
    parser.add_argument("--model", help="a GGUF file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--flash", choices=["auto", "on", "off"], default="auto")
    parser.add_argument("--repack", choices=["on", "off"], default="on")
    parser.add_argument("--cache", choices=["f32", "f16", "q8_0"], default="f16")
    tasks = parser.add_subparsers(dest="task", required=True)
    tasks.add_parser("info")
    tasks.add_parser("tokenize").add_argument("file")
    task = tasks.add_parser("logits")
    task.add_argument("file")
    task.add_argument("--top", type=int, default=5)
    task.add_argument("--raw", help="all logits as 32-bit numbers, position after position")
    task = tasks.add_parser("greedy")
    task.add_argument("file")
    task.add_argument("-n", "--number", type=int, default=64)
    task.add_argument("--stop", action="store_true", help="where the model ends its text")
    task = tasks.add_parser("chat")
    task.add_argument("question")
    task.add_argument("-n", "--number", type=int, default=64)
    task = tasks.add_parser("speed")
    task.add_argument("--seconds", type=float, default=2.0, help="for each figure")
    task.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = read_options()
    if options.task == "speed" and not options.one:
        return speed(options)
    library = Library(options.library, options.variant)
    if options.task == "info":
        return library.info()
    if not options.model:
        raise Peer("--model is missing")
    model = Model(library, options.model, options.repack == "on")
    loaded = time.perf_counter()
    if options.task == "speed":
        return one_setting(model, options, loaded)
    return {"tokenize": tokenize, "logits": logits, "greedy": greedy, "chat": chat}[options.task](model, options)


if __name__ == "__main__":
    try:
        json.dump(main(), sys.stdout)
        print()
        sys.stdout.flush()
        os._exit(0)  # the libraries' own threads are not waited for
    except Peer as error:
        sys.exit(f"error: {error}")
