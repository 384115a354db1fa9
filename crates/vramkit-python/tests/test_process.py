"""What becomes of it in other processes and at the end: imports, forks, shutdown, sub-interpreters, Ctrl-C."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest


def python(code, *arguments, **more):
    return subprocess.run(
        [sys.executable, *arguments, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, **more
    )


def test_importing_it_imports_no_framework():
    code = """
    import sys
    before = set(sys.modules)
    import vramkit
    new = {name.partition(".")[0] for name in set(sys.modules) - before}
    print(sorted(new & {"torch", "cupy", "numpy", "pandas", "pytest", "json", "dataclasses", "importlib.metadata"}))
    vramkit.get_memory_monitor().record_snapshot()
    print("torch" in sys.modules)
    """
    assert python(code).stdout == "[]\nFalse\n"


def test_a_fork_has_pools_and_monitors_of_its_own_account():
    code = """
    import os, warnings, vramkit
    warnings.simplefilter("ignore", DeprecationWarning)
    pool = vramkit.get_memory_pool("host")
    monitor = vramkit.VramMonitor("host")
    sampling = monitor.start(0.02)
    kept = pool.allocate(1)
    memoryview(kept)[0] = 7
    pid = os.fork()
    if pid == 0:
        assert memoryview(kept)[0] == 7
        memoryview(kept)[0] = 9
        pool.release(kept)
        pool.release(pool.allocate(1))
        sampling.close()
        vramkit.get_memory_monitor("host").cleanup_memory()
        os._exit(0 if pool.get_stats()["in_use_bytes"] == 0 else 3)
    _, status = os.waitpid(pid, 0)
    assert memoryview(kept)[0] == 7 and pool.get_stats()["in_use_mb"] == 1
    print(os.waitstatus_to_exitcode(status))
    """
    done = python(code)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_the_interpreter_ends_with_buffers_callbacks_and_threads_alive():
    code = """
    import numpy, vramkit
    pool = vramkit.get_memory_pool("host")
    buffer = pool.allocate(1)
    array = numpy.from_dlpack(buffer)
    capsule = buffer.__dlpack__()
    view = memoryview(buffer)
    device = vramkit.SimulatedDevice("1GiB")
    monitor = vramkit.VramMonitor(device)
    monitor.on_event(print)
    monitor.register_cleanup_callback(print)
    sampling = monitor.start(0.01)
    device.others_hold("1GiB")
    monitor.log_snapshot("last")
    """
    pytest.importorskip("numpy")
    # Threads are at different places each time.
    for _ in range(5):
        done = python(code)
        assert (done.returncode, done.stderr) == (0, "")


def test_other_interpreters_are_refused():
    try:
        import _interpreters
    except ImportError:
        pytest.skip("this Python has no sub-interpreters to try it with")
    del _interpreters
    code = """
    import _interpreters
    interpreter = _interpreters.create()
    failure = _interpreters.exec(interpreter, "import vramkit")
    print(failure.type.__name__, failure.msg)
    """
    done = python(code)
    assert done.stdout.startswith("ImportError"), (done.stdout, done.stderr)
    assert "subinterpreter" in done.stdout


def test_ctrl_c_ends_a_question(tmp_path):
    code = """
    import sys, vramkit
    print("ready", flush=True)
    try:
        vramkit.capacity(batch=64, threshold=8, prompt_mean=500, termination=0.001, capacity_tokens=100_000, cycles=100_000_000, deadline=60)
    except KeyboardInterrupt:
        print("interrupted")
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    rest, _ = process.communicate(timeout=30)
    assert rest.strip() in ("interrupted", "") and time.monotonic() - begun < 20
    assert rest.strip() == "interrupted" or process.returncode == 0


def test_the_lock_of_the_interpreter_is_given_up_while_it_works():
    """A second thread goes on while a question is answered."""
    code = """
    import threading, vramkit
    done = threading.Event()
    def ask():
        vramkit.capacity(batch=64, prompt_mean=500, termination=0.002, capacity_tokens=60_000, cycles=200_000)
        done.set()
    threading.Thread(target=ask).start()
    count = 0
    while not done.is_set():
        count += 1
    print(count > 1000)
    """
    assert python(code).stdout == "True\n"


def test_python_without_assertions_and_docstrings():
    assert python("import vramkit; print(vramkit.parse_bytes('1KiB'))", "-OO").stdout == "1024\n"


def test_it_says_what_is_wrong_where_pytorch_or_cupy_is_missing():
    code = """
    import sys
    sys.modules["torch"] = None
    sys.modules["cupy"] = None
    import vramkit
    for call in (vramkit.torch.use_as_allocator, vramkit.cupy.use_as_allocator, vramkit.GPUMemoryPool("host").allocate(1).torch):
        try:
            call()
        except vramkit.BackendError as error:
            print(str(error).split(" (")[0])
    """
    assert python(code).stdout == "torch cannot be imported\ncupy cannot be imported\ntorch cannot be imported\n"
    assert os.environ is not None
