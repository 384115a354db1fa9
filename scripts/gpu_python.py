"""The Python package on a real card, with the PyTorch and CuPy that are there: each part in a process of its own, what was seen printed.

Started by `target/gpu-check/run`; needs the package (a folder on PYTHONPATH will do), and nothing else that is not there.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap

PARTS = {
    "the monitor and a pool": (
        (),
        """
        import vramkit
        monitor, pool = vramkit.get_memory_monitor(0), vramkit.get_memory_pool(0)
        before = monitor.record_snapshot("before")
        buffer = pool.allocate(512)
        after = monitor.record_snapshot("after")
        print(monitor, before, after, sep="\\n")
        assert after.used_bytes - before.used_bytes >= 512 << 20 and after.allocated_bytes >= 512 << 20
        pool.release(buffer)
        pool.clear()
        """,
    ),
    "PyTorch beside it": (
        ("torch",),
        """
        import gc, torch, vramkit
        monitor, pool = vramkit.get_memory_monitor(0), vramkit.get_memory_pool(0)
        with vramkit.track("tensors", device="cuda:0", reset_peak=True) as t:
            x = torch.ones(64 << 20, device="cuda")
            y = x * 2
            del y
        print(t.result)
        assert t.result.peak_bytes >= 512 << 20 and t.result.grown_bytes >= 256 << 20
        assert monitor.get_memory_snapshot().allocated_bytes >= 256 << 20
        buffer = pool.allocate(64, backend="pytorch")
        tensor = buffer.array(torch.float32)
        tensor.fill_(3)
        assert tensor.is_cuda and float(tensor.sum()) == 3 * tensor.numel()
        pool.release(buffer)
        assert float(tensor[-1]) == 3
        del tensor, x, buffer
        gc.collect()
        assert pool.get_stats()["in_use_bytes"] == 0
        print(monitor.cleanup_memory())
        """,
    ),
    "PyTorch's memory from our pool": (
        ("torch",),
        """
        import torch, vramkit
        vramkit.torch.use_as_allocator(0, capacity="4GiB")
        layer = torch.nn.Linear(4096, 4096, device="cuda")
        out = layer(torch.ones(256, 4096, device="cuda"))
        out.sum().backward()
        torch.cuda.synchronize()
        stats = vramkit.torch.memory_stats(0)
        print({name: stats[name] for name in ("allocated_bytes.all.current", "allocated_bytes.all.peak", "reserved_bytes.all.current")})
        assert stats["allocated_bytes.all.current"] >= 2 * 4096 * 4096 * 4
        try:
            torch.empty(8 << 30, dtype=torch.uint8, device="cuda")
            raise SystemExit("8 GiB of 4 were granted")
        except (RuntimeError, MemoryError) as error:
            print(type(error).__name__, "|", vramkit.torch.last_refusal(0))
        vramkit.torch.dump_snapshot("/tmp/vramkit-snapshot.pickle")
        print(vramkit.snapshot("/tmp/vramkit-snapshot.pickle"))
        """,
    ),
    "a MemPool over our pool": (
        ("torch",),
        """
        import torch, vramkit
        pool = vramkit.torch.mem_pool(0, capacity="2GiB")
        with torch.cuda.use_mem_pool(pool):
            x = torch.ones(16 << 20, device="cuda")
        print(vramkit.torch.memory_stats(0)["allocated_bytes.all.current"])
        assert vramkit.torch.memory_stats(0)["allocated_bytes.all.current"] >= 64 << 20
        """,
    ),
    "CuPy's memory from our pool": (
        ("cupy",),
        """
        import cupy, vramkit
        vramkit.cupy.use_as_allocator(0, capacity="2GiB")
        x = cupy.arange(1 << 20, dtype=cupy.float32)
        assert float(x.sum()) == float(cupy.asnumpy(x).sum())
        pool = vramkit.get_memory_pool(0)
        buffer = pool.allocate(64, backend="cupy")
        array = buffer.array(cupy.float32)
        array[:] = 2
        assert float(array.sum()) == 2 * array.size
        print("a sum over memory of ours:", float(array.sum()))
        """,
    ),
}


def main() -> int:
    failed = 0
    for name, (needed, code) in PARTS.items():
        missing = [each for each in needed if importlib.util.find_spec(each) is None]
        if missing:
            print(f"{name}: not tried, {', '.join(missing)} is not here")
            continue
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=180)
        print(f"{name}: {'as it should be' if done.returncode == 0 else f'FAILED ({done.returncode})'}")
        print(textwrap.indent((done.stdout + (done.stderr[-2000:] if done.returncode else "")).rstrip(), "  "))
        failed += done.returncode != 0
    return failed


sys.exit(main())
