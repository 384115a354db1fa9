"""llama.cpp's shared libraries in Python, by ctypes alone: a library, a model, a context.

Parameters are structures that differ between versions of llama.cpp. Here they are bytes as the library's own defaults fill them; the
few fields that are set are found by what stands around them, and read back through the library where it has a function for it.
"""

import ctypes
import glob
import os
import re
import struct

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
    "llama_memory_seq_cp": (None, [POINTER, INT, INT, INT, INT]),
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
        if any(flag > 1 for flag in flags) or 1 not in flags or parameters.words(5)[4] != -1:
            raise Peer(f"this version's model parameters are laid out in another way: {bytes(parameters.bytes)[:80].hex()}")
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
        found = re.findall(r"(\S+) model buffer size = +([\d.]+) MiB", "".join(library.log))
        self.buffers = {name: float(size) for name, size in found}  # in MiB; weights that are not `CPU_Mapped` are repacked
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

    def copy(self, sequence):
        """Gives another sequence what the first has read."""
        self.library.memory_seq_cp(self.library.get_memory(self.handle), 0, sequence, -1, -1)

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
