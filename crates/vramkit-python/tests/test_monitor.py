"""The monitor, by the names that people know."""

import gc
import sys
import threading
import warnings

import pytest
import vramkit

GIB = 1 << 30


def test_snapshots_and_averages(device, monitor):
    for gib in (1, 2, 3):
        device.others_hold(gib * GIB)
        monitor.record_snapshot(f"step {gib}", slot=gib, models=["llama"])
    stats = monitor.get_stats()
    assert stats.average_used_mb == 2048 and stats.peak_used_mb == 3072 and stats.snapshots == 3
    last = monitor.history(1)[0]
    assert (last.event, last.slot, last.models) == ("step 3", 3, ["llama"])
    assert last.utilization == 37.5 and last.total_mb == 8192.0 and last.free_bytes == 5 * GIB
    assert last.pressure is vramkit.MemoryPressure.LOW and last.pressure.value == "low"
    assert len(monitor.history()) == 3
    monitor.reset()
    assert len(monitor.history()) == 0 and monitor.get_stats().average_used_mb is None


def test_a_look_is_not_kept(device, monitor):
    device.others_hold("7.9GiB")
    assert monitor.get_memory_snapshot().pressure is vramkit.MemoryPressure.CRITICAL
    assert len(monitor.history()) == 0 and monitor.get_stats().cleanups == 0


def test_allocated_is_what_trackers_of_this_process_hold(device, monitor):
    assert monitor.get_memory_snapshot().allocated_mb == 0.0
    pool = vramkit.get_memory_pool(device)
    buffer = pool.allocate(100)
    snapshot = monitor.record_snapshot()
    assert snapshot.allocated_mb == 100.0 and snapshot.reserved_mb == 100.0 and snapshot.used_mb == 100.0
    pool.release(buffer)
    after = monitor.record_snapshot()
    # It idles in the pool: held from the device, and not allocated.
    assert after.allocated_mb == 0.0 and after.reserved_mb == 100.0
    assert monitor.get_stats().peak_allocated_mb == 100.0


def test_snapshots_are_dictionaries_and_do_not_change(device, monitor):
    snapshot = monitor.record_snapshot("loaded")
    plain = dict(snapshot)
    assert plain == snapshot.to_dict() and plain["pressure"] == "low" and plain["event"] == "loaded"
    with pytest.raises(AttributeError):
        snapshot.event = "other"
    with pytest.raises(KeyError):
        snapshot["nothing"]
    pandas = pytest.importorskip("pandas")
    frame = monitor.history().to_pandas()
    assert isinstance(frame, pandas.DataFrame) and frame["used_bytes"].tolist() == [0]
    assert "<svg" in monitor.history()._repr_svg_() and "loaded" in monitor.history()._repr_html_()


def test_pressure_is_counted_at_every_level(device, monitor):
    device = vramkit.SimulatedDevice("10GiB")
    monitor = vramkit.GPUMemoryMonitor(device, enable_auto_cleanup=False)
    for gib, level in ((1, "low"), (6, "moderate"), (8, "high"), (9.5, "critical")):
        device.others_hold(int(gib * GIB))
        assert monitor.record_snapshot().pressure.value == level
    assert monitor.get_stats().pressure_counts == {"low": 1, "moderate": 1, "high": 1, "critical": 1}
    assert monitor.get_stats().level_changes == 3


def test_whether_memory_could_be_had(device, monitor):
    device.others_hold("4GiB")
    # With the margin of a tenth 4 GiB are too many.
    assert monitor.can_allocate(4096) is False and monitor.can_allocate(4096, 0.0) is True
    assert monitor.can_allocate(3700) is True and monitor.can_allocate_bytes("3GiB") is True
    assert monitor.is_low_memory(0.6) is True and monitor.is_low_memory(0.4) is False
    with pytest.raises(ValueError, match="size_mb=-1"):
        monitor.can_allocate(-1)
    with pytest.raises(ValueError, match="threshold=2"):
        monitor.is_low_memory(2)


def test_a_cleanup_frees_and_says_what(device, monitor, pool):
    kept = [pool.allocate(1000), pool.allocate(500)]
    monitor.register_cleanup_callback(lambda: [pool.release(kept.pop()) for _ in range(len(kept))])
    report = monitor.cleanup_memory()
    assert report["freed_reserved_bytes"] == 1500 << 20 and report["reason"] == "asked"
    assert device.free_bytes == 8 * GIB
    stats = monitor.get_stats()
    assert stats.cleanups == 1 and stats.last_cleanup == report and stats.seconds_since_cleanup < 10


def test_the_automatic_cleanup_begins_at_85_percent_reached(device):
    device = vramkit.SimulatedDevice("100GiB")
    monitor = vramkit.get_memory_monitor(device)
    called = threading.Event()
    monitor.register_cleanup_callback(called.set)
    device.others_hold(85 * GIB - 1)
    monitor.record_snapshot()
    assert not monitor.wait_for_cleanups(timeout=0.2) and not called.is_set()
    device.others_hold(85 * GIB)
    monitor.record_snapshot()
    assert monitor.wait_for_cleanups() and called.is_set()


def test_without_automatic_cleanup_there_is_none(device):
    monitor = vramkit.GPUMemoryMonitor(device, enable_auto_cleanup=False)
    device.others_hold("8GiB")
    monitor.record_snapshot()
    assert not monitor.wait_for_cleanups(timeout=0.1) and monitor.cleanup_threshold is None


def test_callbacks_may_call_the_monitor(device, monitor):
    """No dead-lock: a cleanup that a snapshot began takes snapshots, and asks for another cleanup."""
    seen = []

    def callback():
        seen.append(monitor.record_snapshot("within").used_mb)
        seen.append(monitor.cleanup_memory())
        seen.append(monitor.get_stats().cleanups)

    monitor.register_cleanup_callback(callback)
    device.others_hold("7.5GiB")
    monitor.record_snapshot()
    assert monitor.wait_for_cleanups(timeout=5)
    assert seen == [7680.0, None, 0]
    assert monitor.get_stats().cleanups == 1


def test_an_error_in_a_callback_is_told_and_the_rest_goes_on(device, monitor, monkeypatch):
    told, called = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_value))

    def fails():
        raise RuntimeError("in a callback")

    monitor.register_cleanup_callback(fails)
    monitor.register_cleanup_callback(lambda: called.append(1))
    assert monitor.cleanup_memory() is not None
    assert called == [1] and [str(error) for error in told] == ["in a callback"]
    with pytest.raises(TypeError, match="a callable is needed"):
        monitor.register_cleanup_callback(3)


def test_events_are_told_as_dictionaries(device, monitor):
    told, there = [], threading.Event()

    def listener(event):
        told.append(event)
        there.set()

    monitor.on_event(listener)
    device.others_hold("7.5GiB")
    monitor.record_snapshot()
    assert there.wait(5)
    assert told[0]["kind"] == "pressure_changed", told


def test_there_is_one_monitor_and_one_pool_a_device(device):
    other = vramkit.SimulatedDevice("8GiB")
    assert vramkit.get_memory_monitor(device) is vramkit.get_memory_monitor(device)
    assert vramkit.get_memory_monitor(device) is not vramkit.get_memory_monitor(other)
    assert vramkit.get_memory_pool(device) is vramkit.get_memory_pool(device)
    assert vramkit.get_memory_monitor("host") is vramkit.get_memory_monitor("host")
    with pytest.warns(vramkit.VramkitWarning, match="other settings: they stay"):
        vramkit.get_memory_monitor(device, cleanup_threshold=0.5)
    assert vramkit.get_memory_monitor(device).cleanup_threshold == 0.85
    # Two devices at once: what is held of one is not held of the other.
    device.others_hold("7GiB")
    assert vramkit.get_memory_monitor(other).get_memory_snapshot().utilization == 0.0


def test_what_is_no_device_is_refused():
    for wrong in ("gpu", "cuda:x"):
        with pytest.raises(ValueError, match="is not a device"):
            vramkit.GPUMemoryMonitor(wrong)
    for wrong in (True, 1.5, None.__class__):
        with pytest.raises(TypeError):
            vramkit.GPUMemoryMonitor(wrong)
    with pytest.raises(ValueError, match="no device -1"):
        vramkit.GPUMemoryMonitor(-1)
    with pytest.raises(vramkit.DeviceUnavailableError):
        vramkit.GPUMemoryMonitor("cuda:77")
    for wrong in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="cleanup_threshold"):
            vramkit.GPUMemoryMonitor(vramkit.SimulatedDevice("1GiB"), cleanup_threshold=wrong)


def test_main_memory_is_what_the_system_says():
    snapshot = vramkit.get_memory_monitor("host").get_memory_snapshot()
    assert snapshot.device == "host" and snapshot.total_bytes > snapshot.used_bytes > 0
    assert snapshot.unavailable == {} and snapshot.pressure is not None


def test_frameworks_count_and_are_cleaned_up(monkeypatch):
    """What PyTorch says of a card, with a stand-in for PyTorch."""

    class Cuda:
        emptied = 0
        is_initialized = staticmethod(lambda: True)
        memory_allocated = staticmethod(lambda index: 3 * GIB)
        memory_reserved = staticmethod(lambda index: 4 * GIB)
        max_memory_allocated = staticmethod(lambda index: 5 * GIB)

        @classmethod
        def device(cls, index):
            import contextlib

            assert index == 0
            return contextlib.nullcontext()

        @classmethod
        def empty_cache(cls):
            cls.emptied += 1

    class Torch:
        cuda = Cuda

    monkeypatch.setitem(sys.modules, "torch", Torch)
    device = vramkit.SimulatedDevice("80GiB", id="cuda:0")
    monitor = vramkit.get_memory_monitor(device)
    pool = vramkit.get_memory_pool(device)
    buffer = pool.allocate(100)
    snapshot = monitor.get_memory_snapshot()
    assert snapshot.allocated_mb == 3 * 1024 + 100 and snapshot.reserved_mb == 4 * 1024 + 100
    monitor.cleanup_memory()
    assert Cuda.emptied == 1
    pool.release(buffer)


def test_a_framework_without_statistics_is_left_out(monkeypatch):
    """As PyTorch is under another allocator."""

    class Cuda:
        is_initialized = staticmethod(lambda: True)

        @staticmethod
        def memory_allocated(index):
            raise RuntimeError("CUDAPluggableAllocator does not yet support getDeviceStats")

        memory_reserved = max_memory_allocated = reset_peak_memory_stats = memory_allocated

    class Torch:
        cuda = Cuda

    monkeypatch.setitem(sys.modules, "torch", Torch)
    monkeypatch.setattr(sys, "unraisablehook", lambda what: pytest.fail(str(what.exc_value)))
    device = vramkit.SimulatedDevice("80GiB", id="cuda:0")
    pool = vramkit.get_memory_pool(device)
    with vramkit.track(device=device, reset_peak=True) as tracked:
        pool.release(pool.allocate(100))
    assert tracked.result.peak_bytes == 100 << 20 and tracked.result.peak_is_exact
    assert vramkit.get_memory_monitor(device).record_snapshot().allocated_mb == 0


def test_thirty_two_threads(device, monitor, pool):
    """Counts balance, and nobody waits for ever."""
    errors, barrier = [], threading.Barrier(32)

    def work(number):
        try:
            barrier.wait()
            for step in range(50):
                buffer = pool.allocate(1 + (number + step) % 3)
                monitor.record_snapshot("work", slot=number)
                assert buffer.nbytes == (1 + (number + step) % 3) << 20
                pool.release(buffer)
                if step % 25 == 0:
                    monitor.cleanup_memory()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors and not any(thread.is_alive() for thread in threads)
    stats = pool.get_stats()
    assert stats["hits"] + stats["misses"] == 32 * 50 and stats["in_use_bytes"] == 0
    pool.clear()
    gc.collect()
    assert device.free_bytes == 8 * GIB


def test_names_of_the_process(monkeypatch):
    monkeypatch.setenv("VRAMKIT_DEVICE", "host")
    assert vramkit.get_current_vram_usage() > 0
    before = vramkit.get_vram_stats().snapshots
    assert vramkit.log_vram_snapshot("loaded", 1, ["llama"]).models == ["llama"]
    assert vramkit.get_vram_stats().snapshots == before + 1
    assert vramkit.clear_cuda_cache()["reason"] == "asked"
    assert vramkit.format_bytes(9_633_792) == "9.19 MiB" and vramkit.parse_bytes("1.5GiB") == 1_610_612_736


def test_nothing_warns_when_nothing_is_wrong(device):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vramkit.get_memory_monitor(device).record_snapshot()
        vramkit.get_memory_pool(device)


def test_snapshots_are_copied_pickled_and_compared(device, monitor):
    import copy
    import pickle

    snapshot = monitor.record_snapshot("loaded", slot=1)
    for other in (copy.copy(snapshot), copy.deepcopy(snapshot), pickle.loads(pickle.dumps(snapshot)), monitor.history()[0]):
        assert other == snapshot and other.to_dict() == snapshot.to_dict()
    assert snapshot.get("event") == "loaded" and snapshot.get("nothing", 3) == 3 and "event" in snapshot
    assert dict(snapshot.items()) == snapshot.to_dict()
    stats = monitor.get_stats()
    assert pickle.loads(pickle.dumps(stats)) == stats and stats.to_dict()["snapshots"] == 1
    assert pickle.loads(pickle.dumps(monitor.history()))[0] == snapshot


def test_a_monitor_that_its_callback_refers_to_is_collected():
    import weakref

    class Cache:
        def __init__(self):
            self.monitor = vramkit.VramMonitor(vramkit.SimulatedDevice("1GiB"))
            self.other = vramkit.GPUMemoryMonitor(vramkit.SimulatedDevice("1GiB"))
            for monitor in (self.monitor, self.other):
                monitor.register_cleanup_callback(self.clear)
                monitor.on_event(lambda event: self.clear())

        def clear(self):
            pass

    gone = weakref.ref(Cache())
    gc.collect()
    assert gone() is None


def test_what_idles_can_be_had(device, monitor, pool):
    pool.release(pool.allocate(1000))
    assert monitor.get_memory_snapshot().free_mb == 8192 - 1000
    assert monitor.can_allocate(8000, 0) is True and monitor.can_allocate(8193, 0) is False
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="margin"):
            monitor.can_allocate_bytes(1, wrong)
    with pytest.raises(TypeError, match="the methods that end in _bytes"):
        monitor.can_allocate("1GiB")


def test_ctrl_c_in_a_callback_comes_out(device, monitor):
    def interrupted():
        raise KeyboardInterrupt

    monitor.register_cleanup_callback(interrupted)
    with pytest.raises(KeyboardInterrupt):
        monitor.cleanup_memory()
        for _ in range(1000):
            pass


def test_devices_go_by_the_names_that_people_try():
    class device:
        """As `torch.device` is."""

        index = None

        def __str__(self):
            return "cpu"

    for name in ("host", "cpu", "HOST", device()):
        assert vramkit.GPUMemoryMonitor(name).device == "host"
    with pytest.raises(vramkit.DeviceUnavailableError):
        vramkit.GPUMemoryMonitor("CUDA:7")
    for wrong in ("cuda:+1", "cuda:", "gpu", ""):
        with pytest.raises(ValueError, match="is not a device"):
            vramkit.GPUMemoryMonitor(wrong)
