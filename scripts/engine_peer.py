#!/usr/bin/env python3
"""What llama.cpp says of a model, as JSON: the independent implementation that the engine is compared with.

In: a shared library of llama.cpp (the file in the Python package `xllamacpp`, or the folder of shared libraries in the npm package
`@node-llama-cpp/linux-x64`), a GGUF file, a task. Out: JSON on standard output. Needs Python 3.9; numpy makes `logits` faster.

    engine_peer.py --library LIB info
    engine_peer.py --library LIB --model M tokenize texts.json      # ["text", ...] or {"texts": [...], "special": true, "begin": true}
    engine_peer.py --library LIB --model M logits lists.json --top 5 [--raw FILE]   # [[token, ...], ...]
    engine_peer.py --library LIB --model M greedy prompts.json -n 64 # ["text" or [token, ...], ...]
    engine_peer.py --library LIB --model M chat "What is the capital of France?" -n 32
    engine_peer.py --library LIB --model M speed [--seconds 2]       # every setting in a process of its own, the best of each

Parameters are structures that differ between versions of llama.cpp. Here they are bytes as the library's own defaults fill them; the
few fields that are set are found by what stands around them, and read back through the library where it has a function for it.
"""

import argparse
import ctypes
import glob
import json
import math
import os
import statistics
import struct
import subprocess
import sys
import time

STARTED = time.perf_counter()

try:
    import numpy
except ImportError:
    numpy = None


class Peer(Exception):
    """What cannot be done, in words."""


class Parameters(ctypes.Structure):
    """A structure passed by value, larger than any version's: it lies last on the stack, so what is behind it is not looked at."""

    _fields_ = [("bytes", ctypes.c_uint8 * 512)]

    def words(self, count):
        return struct.unpack(f"<{count}i", bytes(self.bytes)[: 4 * count])

    def put(self, offset, kind, value):
        struct.pack_into(kind, self.bytes, offset, value)


class Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    ]


class Message(ctypes.Structure):
    _fields_ = [("role", ctypes.c_char_p), ("content", ctypes.c_char_p)]


LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
POINTER, INT, BOOL, TEXT = ctypes.c_void_p, ctypes.c_int32, ctypes.c_bool, ctypes.c_char_p
INTS = ctypes.POINTER(INT)
FUNCTIONS = {
    "llama_backend_init": (None, []),
    "llama_log_set": (None, [LOG, POINTER]),
    "llama_print_system_info": (TEXT, []),
    "llama_model_default_params": (Parameters, []),
    "llama_context_default_params": (Parameters, []),
    "llama_model_load_from_file": (POINTER, [TEXT, Parameters]),
    "llama_init_from_model": (POINTER, [POINTER, Parameters]),
    "llama_free": (None, [POINTER]),
    "llama_model_free": (None, [POINTER]),
    "llama_model_get_vocab": (POINTER, [POINTER]),
    "llama_model_chat_template": (TEXT, [POINTER, TEXT]),
    "llama_model_n_swa": (INT, [POINTER]),
    "llama_vocab_n_tokens": (INT, [POINTER]),
    "llama_vocab_is_eog": (BOOL, [POINTER, INT]),
    "llama_n_ctx": (ctypes.c_uint32, [POINTER]),
    "llama_n_batch": (ctypes.c_uint32, [POINTER]),
    "llama_n_ubatch": (ctypes.c_uint32, [POINTER]),
    "llama_n_seq_max": (ctypes.c_uint32, [POINTER]),
    "llama_n_threads": (INT, [POINTER]),
    "llama_n_threads_batch": (INT, [POINTER]),
    "llama_tokenize": (INT, [POINTER, TEXT, INT, INTS, INT, BOOL, BOOL]),
    "llama_token_to_piece": (INT, [POINTER, INT, TEXT, INT, INT, BOOL]),
    "llama_chat_apply_template": (INT, [TEXT, ctypes.POINTER(Message), ctypes.c_size_t, BOOL, TEXT, INT]),
    "llama_batch_init": (Batch, [INT, INT, INT]),
    "llama_batch_free": (None, [Batch]),
    "llama_decode": (INT, [POINTER, Batch]),
    "llama_synchronize": (None, [POINTER]),
    "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), [POINTER, INT]),
    "llama_get_memory": (POINTER, [POINTER]),
    "llama_memory_clear": (None, [POINTER, BOOL]),
    "llama_memory_seq_rm": (BOOL, [POINTER, INT, INT, INT]),
}


class Library:
    """llama.cpp, opened, with what it logs kept."""

    def __init__(self, path, variant=None):
        self.log = []
        self.handle = self._open(path)
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(self.handle, name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name[len("llama_"):], function)
        self._keep = LOG(lambda level, text, _: self.log.append((text or b"").decode(errors="replace")))
        self.log_set(self._keep, None)
        if os.path.isdir(path) and variant:
            load = self.ggml.ggml_backend_load
            load.restype, load.argtypes = POINTER, [TEXT]
            if not load(os.fsencode(os.path.join(path, f"libggml-cpu-{variant}.so"))):
                raise Peer(f"`{path}` has no variant `{variant}` that this processor runs")
        elif os.path.isdir(path):
            load = self.ggml.ggml_backend_load_all_from_path
            load.restype, load.argtypes = None, [TEXT]
            load(os.fsencode(path))
        elif variant:
            raise Peer("a single library has no variants")
        self.backend_init()

    def _open(self, path):
        if os.path.isfile(path):
            return ctypes.CDLL(path)
        found = lambda *patterns: [f for p in patterns for f in sorted(glob.glob(os.path.join(path, p)))]
        base, llama = found("libggml-base.so*", "libggml-base.*"), found("libllama.so", "libllama.v*.so", "libllama.*")
        ggml = found("libggml.so", "libggml.v*.so", "libggml.*")
        if not (base and ggml and llama):
            raise Peer(f"`{path}` is neither a library nor a folder with libggml-base, libggml and libllama")
        ctypes.CDLL(base[0], mode=ctypes.RTLD_GLOBAL)
        self.ggml = ctypes.CDLL(ggml[0], mode=ctypes.RTLD_GLOBAL)
        return ctypes.CDLL(llama[0])

    def info(self):
        """The features that it says it uses, and the processor's variant where it has several."""
        said = self.print_system_info().decode()
        features = [part.split("=")[0].strip().split(":")[-1].strip() for part in said.split("|") if part.strip().endswith("= 1")]
        with open("/proc/self/maps") as maps:
            variants = {os.path.basename(line.split()[-1]) for line in maps if "libggml-cpu" in line}
        return {"system_info": said, "features": features, "variant": sorted(variants)}

    def model_parameters(self, repack):
        parameters = self.model_default_params()
        # Booleans are kept together; the last one that is set by default is `use_extra_bufts`, which repacks weights.
        start = 72
        flags = bytes(parameters.bytes)[start:start + 8]
        if any(flag > 1 for flag in flags) or 1 not in flags:
            raise Peer(f"this version's model parameters are laid out in another way: {flags.hex()} at {start}")
        parameters.put(start + flags.rindex(1), "<B", int(repack))
        parameters.put(16, "<i", 0)  # no layer on another device
        return parameters

    def context_parameters(self, context, batch, sequences, threads, flash, cache):
        parameters = self.context_default_params()
        words = parameters.words(40)
        run = next((at for at in range(8, 20) if words[at:at + 4] == (-1,) * 4 and words[at + 4:at + 6] == (0, 0)), None)
        both = next((at for at in range(4, 12) if words[at] == words[at + 1] == 4), None)
        types = next((at for at in range(20, 32) if words[at] == words[at + 1] == 1), None)
        if words[:4] != (512, 2048, 512, 1) or None in (run, both, types):
            raise Peer(f"this version's context parameters are laid out in another way: {words}")
        for at, value in enumerate((context, batch, min(batch, 512), sequences)):
            parameters.put(4 * at, "<I", value)
        parameters.put(4 * both, "<i", threads)
        parameters.put(4 * both + 4, "<i", threads)
        parameters.put(4 * (run + 3), "<i", {"auto": -1, "off": 0, "on": 1}[flash])
        kind = {"f32": 0, "f16": 1, "q8_0": 8}[cache]
        parameters.put(4 * types, "<i", kind)
        parameters.put(4 * types + 4, "<i", kind)
        return parameters


class Model:
    """A file, loaded."""

    def __init__(self, library, path, repack=True):
        self.library = library
        if not os.path.isfile(path):
            raise Peer(f"there is no file `{path}`")
        self.handle = library.model_load_from_file(os.fsencode(path), library.model_parameters(repack))
        if not self.handle:
            raise Peer("llama.cpp does not load it: " + " ".join("".join(library.log).split("\n")[-4:]))
        self.repacked = any("REPACK" in line or "AMX" in line for line in library.log)
        self.vocab = library.model_get_vocab(self.handle)
        self.size = library.vocab_n_tokens(self.vocab)

    def tokens(self, text, begin=True, special=True):
        text = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        room = len(text) + 16
        tokens = (INT * room)()
        count = self.library.tokenize(self.vocab, text, len(text), tokens, room, begin, special)
        if count < 0:
            raise Peer(f"a text of {len(text)} bytes has more than {room} tokens")
        return list(tokens[:count])

    def text(self, tokens, special=False):
        text = b""
        for token in tokens:
            buffer = ctypes.create_string_buffer(512)
            count = self.library.token_to_piece(self.vocab, token, buffer, 512, 0, special)
            text += buffer.raw[:max(count, 0)]
        return text.decode(errors="replace")

    def chat(self, question):
        template = self.library.model_chat_template(self.handle, None)
        message = (Message * 1)(Message(b"user", question.encode()))
        buffer = ctypes.create_string_buffer(len(question) * 4 + 4096)
        count = self.library.chat_apply_template(template, message, 1, True, buffer, len(buffer))
        if count < 0:
            raise Peer("llama.cpp does not know the model's chat template")
        return buffer.raw[:count].decode()


class Context:
    """A cache and what computes in it."""

    def __init__(self, model, context, threads, batch=512, sequences=1, flash="auto", cache="f16"):
        library = self.library = model.library
        self.model = model
        context = max(context, batch)
        parameters = library.context_parameters(context, batch, sequences, threads, flash, cache)
        self.handle = library.init_from_model(model.handle, parameters)
        if not self.handle:
            raise Peer("llama.cpp makes no context: " + " ".join("".join(library.log).split("\n")[-4:]))
        read = {name: getattr(library, name)(self.handle) for name in ("n_batch", "n_seq_max", "n_threads", "n_threads_batch")}
        asked = {"n_batch": batch, "n_seq_max": sequences, "n_threads": threads, "n_threads_batch": threads}
        if read != asked or library.n_ctx(self.handle) < context:
            raise Peer(f"parameters did not arrive: asked for {asked}, found {read}")
        self.room = batch
        self.batch = library.batch_init(batch, 0, 1)

    def close(self):
        self.library.batch_free(self.batch)
        self.library.free(self.handle)

    def clear(self):
        self.library.memory_clear(self.library.get_memory(self.handle), True)

    def cut(self, position):
        """Forgets what is at a position and behind it, of all sequences."""
        self.library.memory_seq_rm(self.library.get_memory(self.handle), -1, position, -1)

    def decode(self, entries):
        """Entries of (token, position, sequence, whether its logits are wanted)."""
        batch = self.batch
        batch.n_tokens = len(entries)
        for at, (token, position, sequence, wanted) in enumerate(entries):
            batch.token[at], batch.pos[at], batch.logits[at] = token, position, int(wanted)
            batch.n_seq_id[at] = 1
            batch.seq_id[at][0] = sequence
        result = self.library.decode(self.handle, batch)
        if result:
            raise Peer(f"llama_decode answers {result}")

    def read(self, tokens, sequence=0, start=0, wanted="last"):
        """Reads tokens in pieces of the batch's size; yields each piece's first position and length."""
        for at in range(0, len(tokens), self.room):
            piece = tokens[at:at + self.room]
            last = at + len(piece) == len(tokens)
            entries = [(token, start + at + i, sequence, wanted == "all" or last and i == len(piece) - 1) for i, token in enumerate(piece)]
            self.decode(entries)
            yield at, len(piece)

    def logits(self, at):
        pointer = self.library.get_logits_ith(self.handle, at)
        if not pointer:
            raise Peer(f"there are no logits at {at}")
        if numpy is not None:
            return numpy.ctypeslib.as_array(pointer, (self.model.size,)).copy()
        return pointer[:self.model.size]


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


def tokenize(model, options):
    given = json.load(open(options.file))
    given = given if isinstance(given, dict) else {"texts": given}
    begin, special = given.get("begin", True), given.get("special", True)
    return {"tokens": [model.tokens(text, begin, special) for text in given["texts"]]}


def logits(model, options):
    lists = json.load(open(options.file))
    context = Context(model, max(map(len, lists)) + 8, options.threads, flash=options.flash, cache=options.cache)
    raw = open(options.raw, "wb") if options.raw else None
    found = []
    for tokens in lists:
        context.clear()
        positions = []
        for start, count in context.read(tokens, wanted="all"):
            for at in range(count):
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
    prompts = json.load(open(options.file))
    lists = [model.tokens(prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
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
    """Median tokens per second of repeated work, three times at least."""
    rates, until = [], time.perf_counter() + seconds
    while len(rates) < 3 or time.perf_counter() < until:
        start = time.perf_counter()
        work()
        rates.append(tokens / (time.perf_counter() - start))
    return statistics.median(rates)


def one_setting(model, options, loaded):
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
    for sequence in range(16):
        for _ in context.read(some(128, sequence), sequence):
            pass

    def together():
        context.cut(128)
        steps(128, 16, 4)

    together()
    found["decode_16_at_128"] = rate(together, 64, options.seconds)
    context.close()
    return {"tokens_per_second": found, "repacked": model.repacked, **model.library.info()}


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
