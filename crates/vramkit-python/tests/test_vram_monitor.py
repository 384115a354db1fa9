"""Limits, generations, leaks and sampling."""

import threading
import time
import warnings

import pytest
import vramkit

GIB = 1 << 30


@pytest.fixture
def plain(device):
    return vramkit.DeviceMemoryPool(device, "8GiB")


def test_past_the_soft_limit_one_warning_and_past_the_hard_one_an_error(plain):
    monitor = vramkit.VramMonitor(plain, soft_limit="4GiB", hard_limit="6GiB", cleanup_threshold=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert monitor.check_limits("empty") is None
    held = plain.allocate("5GiB")
    with pytest.warns(vramkit.MemoryPressureWarning, match="soft limit passed: decode: 5 GiB held") as told:
        found = monitor.check_limits("decode")
    assert found is told[0].message and found.excess_bytes == GIB and found.context == "decode"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert monitor.check_limits("decode") is None, "once a crossing"
    with pytest.raises(vramkit.MemoryPressureError, match="hard limit passed") as raised:
        monitor.preflight("2GiB", "prefill")
    assert raised.value.requested_bytes == 2 * GIB and raised.value.limit_bytes == 6 * GIB
    more = plain.allocate("2GiB")
    for _ in range(2):
        with pytest.raises(vramkit.MemoryPressureError):
            monitor.check_limits("decode")
    stats = monitor.get_stats()
    assert stats.soft_violations == 1 and stats.hard_violations == 3
    del held, more


def test_a_cleanup_cures_the_hard_limit(plain):
    monitor = vramkit.VramMonitor(plain, soft_limit="4GiB", hard_limit="6GiB", cleanup_threshold=None)
    held = [plain.allocate("4GiB"), plain.allocate("3GiB")]
    monitor.register_cleanup_callback(lambda: held.clear() or monitor.check_limits("within"))
    assert monitor.check_limits("decode") is None
    assert monitor.get_stats().cleanups == 1 and plain.used_bytes == 0


def test_limits_that_make_no_sense(plain):
    with pytest.raises(ValueError, match="below the hard one"):
        vramkit.VramMonitor(plain, soft_limit="6GiB", hard_limit="4GiB")
    with pytest.raises(TypeError, match="go together"):
        vramkit.VramMonitor(plain, soft_limit="6GiB")
    with pytest.raises(ValueError, match="limit_hold"):
        vramkit.VramMonitor(plain, limit_hold=-1)


def run_generations(plain, grows, count=60):
    monitor = vramkit.VramMonitor(plain, leak_warm_up=10, leak_every=5, leak_threshold="100MB", cleanup_threshold=None)
    kept, told = [], []
    for generation in range(count):
        work = plain.allocate("500MiB")
        if grows:
            kept.append(plain.allocate("10MiB"))
        work.release()
        assert monitor.increment_generation_count() == generation + 1
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            monitor.detect_memory_leak()
        told += [each.message for each in caught]
    return told


def test_a_leak_over_generations_is_found_once_and_no_false_one(plain):
    (warning,) = run_generations(plain, grows=True)
    assert isinstance(warning, vramkit.MemoryLeakWarning) and warning.growth_bytes > 100_000_000
    assert run_generations(vramkit.DeviceMemoryPool(vramkit.SimulatedDevice("8GiB"), "8GiB"), grows=False) == []


def test_lines_of_a_log(plain):
    monitor = vramkit.VramMonitor(plain)
    held = plain.allocate(3_000_000_000)
    line = monitor.log_snapshot("loaded", slot=2, models=["llama"])
    assert set(line.to_dict()) == {
        "timestamp",
        "event",
        "slot",
        "vram_usage_gb",
        "vram_allocated_gb",
        "vram_reserved_gb",
        "models",
    }
    assert line.vram_allocated_gb == pytest.approx(3.0, abs=1e-6) and (line.event, line.slot) == ("loaded", 2)
    assert '"models":["llama"]' in line.to_json()
    del held


def test_it_looks_by_itself_until_it_is_closed(device):
    monitor = vramkit.VramMonitor(device)
    told, full = [], threading.Event()
    monitor.on_event(lambda event: (told.append(event["kind"]), full.set()))
    with monitor.start(0.02) as sampling:
        device.others_hold("7.9GiB")
        assert full.wait(5)
    sampling.close()
    count = len(monitor.history())
    assert count > 0 and "pressure_changed" in told
    time.sleep(0.1)
    assert len(monitor.history()) == count
    # One that nobody has ends too.
    monitor.start(0.02)
    time.sleep(0.05)
    count = len(monitor.history())
    time.sleep(0.1)
    assert len(monitor.history()) == count


def test_models_are_admitted_and_compared(plain):
    monitor = vramkit.VramMonitor(plain)
    monitor.register_model("llama", "5GiB")
    with pytest.raises(vramkit.AdmissionError, match="cannot be started: needs 4 GiB") as raised:
        monitor.register_model("qwen", "4GiB")
    assert raised.value.available_bytes == 3 * GIB
    held = plain.allocate("6GiB", owner="llama", purpose="weights")
    (model,) = monitor.models()
    assert model["difference_bytes"] == GIB
    assert monitor.forget_model("llama") and not monitor.forget_model("llama")
    del held
