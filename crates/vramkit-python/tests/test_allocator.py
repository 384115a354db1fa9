"""The allocator under PyTorch, over the stand-in driver: granted and released as PyTorch does it, with its numbers and its history.

`VRAMKIT_STANDIN` names the stand-in (`libvramkit_standin.so`); without it there is no card to try this on.
"""

import os
import pickle
import subprocess
import sys
import textwrap

import pytest

STANDIN = os.environ.get("VRAMKIT_STANDIN")
pytestmark = pytest.mark.skipif(not STANDIN, reason="VRAMKIT_STANDIN names no stand-in driver")

HEAD = """
import ctypes, vramkit
from vramkit import _vramkit
library = ctypes.CDLL(_vramkit.__file__)
malloc, free = library.vramkit_malloc, library.vramkit_free
malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p]
free.restype, free.argtypes = None, [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p]
MIB = 1 << 20
"""


def python(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "VRAMKIT_CUDA_DRIVER": STANDIN, "VRAMKIT_NVML": STANDIN},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_card_is_device_0_and_memory_of_it_is_counted(tmp_path):
    code = """
    import json, os, sys
    card = {"name": "Card", "uuid": "GPU-1", "total": 1 << 30, "free": 700 << 20, "used": 324 << 20, "reserved": 0, "processes": []}
    with open(sys.argv[1], "w") as script:
        json.dump({"cards": [card]}, script)
    os.environ["VRAMKIT_STANDIN_NVML"] = sys.argv[1]
    monitor = vramkit.GPUMemoryMonitor(0)
    pool = vramkit.GPUMemoryPool(0)
    before = monitor.get_memory_snapshot()
    buffer = pool.allocate(64)
    after = monitor.get_memory_snapshot()
    print(monitor.device, after.allocated_bytes - before.allocated_bytes, after.used_mb)
    print(buffer.__dlpack_device__(), buffer.__cuda_array_interface__["shape"])
    try:
        memoryview(buffer)
    except BufferError as error:
        print(error)
    pool.release(buffer)
    """
    assert python(code, tmp_path / "nvml.json").splitlines() == [
        f"cuda:0 {70 << 20} 324.0",
        f"(2, 0) ({64 << 20},)",
        "the buffer is on cuda:0: this process has no view of it",
    ]


def test_a_driver_without_a_card_is_said():
    code = """
    import warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        print(vramkit.GPUMemoryMonitor(0).device, caught[0].message)
    """
    assert python(code).startswith("host main memory stands in for device 0: the NVIDIA management library refuses")


def test_memory_is_granted_released_and_counted(tmp_path):
    code = """
    import sys
    _vramkit.allocator_setup("cuda:0", 64 * MIB, 1000)
    first, second = malloc(10 * MIB, 0, None), malloc(20 * MIB, 0, None)
    assert first and second and first != second
    free(first, 10 * MIB, 0, None)
    again = malloc(10 * MIB, 0, None)
    stats = vramkit.torch.memory_stats(0)
    assert stats["allocated_bytes.all.current"] == 30 * MIB and stats["allocation.all.allocated"] == 3
    assert stats["reserved_bytes.all.current"] >= 30 * MIB
    # What was never granted is nobody's to release, and no device or size is no memory.
    free(12345, 1, 0, None)
    assert malloc(0, 0, None) is None and malloc(-1, 0, None) is None and malloc(1, 7, None) is None
    vramkit.torch.dump_snapshot(sys.argv[1])
    free(second, 20 * MIB, 0, None)
    free(again, 10 * MIB, 0, None)
    assert vramkit.torch.memory_stats(0)["allocated_bytes.all.current"] == 0
    assert vramkit.torch.last_refusal(0) is None
    print("done")
    """
    path = tmp_path / "snapshot.pickle"
    assert python(code, path) == "done\n"
    snapshot = pickle.loads(path.read_bytes())
    actions = [event["action"] for event in snapshot["device_traces"][0]]
    assert actions == ["alloc", "alloc", "free_completed", "alloc"]
    (segment,) = snapshot["segments"]
    assert segment["allocated_size"] == 30 << 20
    assert sum(block["size"] for block in segment["blocks"]) == segment["total_size"]
    import vramkit

    read = vramkit.snapshot(path)
    assert read.peak_live_bytes == 30 << 20
    viewer = pytest.importorskip("torch.cuda._memory_viz", reason="PyTorch's own reader is not here")
    assert "20.0MiB" in viewer.segsum(snapshot) or "30.0MiB" in viewer.segsum(snapshot)
    assert viewer.trace(snapshot).count("alloc") >= 3


def test_what_is_live_outlives_the_history_and_its_peak_is_seen():
    code = """
    _vramkit.allocator_setup("cuda:0", 256 * MIB, 10)
    live = [malloc(MIB, 0, None) for _ in range(20)]
    watch = _vramkit.PeakWatch("cuda:0")
    more = malloc(50 * MIB, 0, None)
    free(more, 50 * MIB, 0, None)
    print(watch.peak_bytes // MIB, watch.allocated_bytes // MIB)
    (segment,) = vramkit.torch.memory_snapshot(0)["segments"]
    print(segment["allocated_size"] // MIB, vramkit.torch.memory_stats(0)["allocated_bytes.all.current"] // MIB)
    """
    assert python(code) == "70 20\n20 20\n"


def test_no_room_is_an_exception_of_c_plus_plus():
    """Where C++'s library is loaded: a frame of C++ may catch it, and one of Python's ends the process as any such would."""
    code = """
    _vramkit.allocator_setup("cuda:0", 16 * MIB, 10)
    assert malloc(10 * MIB, 0, None)
    ctypes.CDLL("libstdc++.so.6", mode=ctypes.RTLD_GLOBAL)
    import os, sys
    if os.fork() == 0:
        os.close(2)
        malloc(10 * MIB, 0, None)
        os._exit(0)
    _, status = os.wait()
    print(os.WIFSIGNALED(status))
    """
    assert python(code) == "True\n"


def test_without_c_plus_plus_no_room_is_null():
    code = """
    _vramkit.allocator_setup("cuda:0", 16 * MIB, 10)
    assert malloc(10 * MIB, 0, None)
    print(malloc(10 * MIB, 0, None))
    print(vramkit.torch.last_refusal(0).split(";")[0][:13])
    print([moment["action"] for moment in vramkit.torch.memory_snapshot(0)["device_traces"][0]])
    """
    out = python(code).splitlines()
    assert out[0] == "None" and out[1] == "out of memory" and out[2] == "['alloc', 'oom']"


def test_before_it_is_set_up():
    code = """
    for call in (vramkit.torch.memory_stats, vramkit.torch.last_refusal):
        try:
            call(0)
        except vramkit.VramkitError as error:
            print(error)
    try:
        _vramkit.allocator_setup("host")
    except vramkit.DeviceUnavailableError as error:
        print(error)
    """
    lines = python(code).splitlines()
    assert lines[0] == lines[1] == "cuda:0 has no allocator of ours: call vramkit.torch.use_as_allocator(0) first"
    assert lines[2] == "host is no card: the allocator is for memory of a card"
