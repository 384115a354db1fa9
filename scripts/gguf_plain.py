"""Writes a GGUF file again with every weight as a 32-bit number, computed by llama.cpp's own functions.

In: a file, and llama.cpp's library as a single shared file. Out: a file of the same keys and tensors, all of type f32.
"""

import ctypes
import os
import struct

ALIGNMENT = 32
CHUNK = 1 << 20  # numbers at a time, a multiple of every type's block
SIZES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class Traits(ctypes.Structure):
    """How ggml describes a type."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("numbers", ctypes.c_int64),
        ("interleaved", ctypes.c_int64),
        ("bytes", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    ]


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def text(self):
        (length,) = self.take("Q")
        self.at += length
        return self.data[self.at - length:self.at]

    def skip(self, kind):
        if kind == 8:
            self.text()
        elif kind == 9:
            inner, count = self.take("IQ")
            if inner in SIZES:
                self.at += count * struct.calcsize("<" + SIZES[inner])
            else:
                for _ in range(count):
                    self.skip(inner)
        else:
            self.take(SIZES[kind])


def traits_of(library, kind):
    library.ggml_get_type_traits.restype = ctypes.POINTER(Traits)
    library.ggml_blck_size.restype, library.ggml_type_size.restype = ctypes.c_int64, ctypes.c_size_t
    traits = library.ggml_get_type_traits(kind).contents
    said = (library.ggml_blck_size(kind), library.ggml_type_size(kind))
    if (traits.numbers, traits.bytes) != said or kind and not traits.to_float:
        raise ValueError(f"this version describes type {kind} in another way")
    return traits


def aligned(size):
    return -(-size // ALIGNMENT) * ALIGNMENT


def write_plain(source, target, library):
    library = ctypes.CDLL(str(library))
    with open(source, "rb") as file:
        data = file.read()
    reader = Reader(data)
    magic, version, tensors, keys = reader.take("IIQQ")
    begin = reader.at
    for _ in range(keys):
        reader.text()
        reader.skip(*reader.take("I"))
    end = reader.at
    listed = []
    for _ in range(tensors):
        name = reader.text()
        sizes = reader.take("%dQ" % reader.take("I")[0])
        listed.append((name, sizes, *reader.take("IQ")))
    start = aligned(reader.at)

    header = bytearray(struct.pack("<IIQQ", magic, version, tensors, keys)) + data[begin:end]
    offset = 0
    for name, sizes, _, _ in listed:
        header += struct.pack("<Q", len(name)) + name + struct.pack("<I%dQ" % len(sizes), len(sizes), *sizes)
        header += struct.pack("<IQ", 0, offset)
        count = 1
        for size in sizes:
            count *= size
        offset += aligned(4 * count)
    partial = f"{target}.part"
    with open(partial, "wb") as out:
        out.write(header + bytes(aligned(len(header)) - len(header)))
        for _, sizes, kind, at in listed:
            count = 1
            for size in sizes:
                count *= size
            traits = traits_of(library, kind)
            numbers = (ctypes.c_float * min(count, CHUNK))()
            for first in range(0, count, CHUNK):
                some = min(CHUNK, count - first)
                where = start + at + first // traits.numbers * traits.bytes
                blocks = data[where:where + some // traits.numbers * traits.bytes]
                if kind == 0:
                    out.write(blocks)
                else:
                    traits.to_float(blocks, numbers, some)
                    out.write(memoryview(numbers).cast("B")[:4 * some])
            out.write(bytes(aligned(4 * count) - 4 * count))
    os.replace(partial, target)
