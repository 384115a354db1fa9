"""Pools and buffers: classes, hits, backends, views, and everything that is refused."""

import gc
import threading
import time

import pytest
import vramkit

MIB = 1 << 20


def test_hit_miss_and_rounding_in_the_documented_sequence(pool):
    pool.release(pool.allocate(1.5))
    assert pool.get_stats()["cached_mb"] == 2.0
    pool.release(pool.allocate(1.8))
    buffer = pool.allocate(15)
    stats = pool.get_stats()
    assert (stats["hits"], stats["misses"]) == (1, 2) and round(stats["hit_rate"], 1) == 33.3
    assert stats["in_use_mb"] == 20.0 and buffer.size_mb == 15.0
    assert stats["utilization"] == pytest.approx(100 * 20 / 8192)


@pytest.mark.parametrize(("asked", "granted"), [(0.5, 0.5), (1.5, 2), (15, 20), (150, 150), (101, 150), (9.1, 10)])
def test_sizes_are_rounded_up_in_steps(pool, asked, granted):
    pool.release(pool.allocate(asked))
    assert pool.get_stats()["cached_mb"] == pytest.approx(granted, abs=0.001)


@pytest.mark.parametrize("size", [0.001, 0.05, 0.1, 0.2, 0.3, 0.6, 0.7, 0.8, 0.95, 1.1])
def test_what_is_released_is_not_in_use(device, pool, size):
    for _ in range(3):
        buffers = [pool.allocate(size) for _ in range(5)]
        for buffer in buffers:
            pool.release(buffer)
        assert pool.get_stats()["in_use_bytes"] == 0 and pool.get_stats()["idle_blocks"] == 5
    assert vramkit.get_memory_monitor(device).get_memory_snapshot().allocated_bytes == 0


def test_backends_are_kept_apart(pool):
    pool.release(pool.allocate(10, backend="pytorch"), backend="pytorch")
    other = pool.allocate(10, backend="cupy")
    assert pool.get_stats()["hits"] == 0 and other.backend == "cupy"
    again = pool.allocate(10, backend="torch")
    assert pool.get_stats()["hits"] == 1 and again.backend == "pytorch" and again.ptr != other.ptr
    with pytest.raises(vramkit.BackendError, match="allocated for pytorch, not for cupy"):
        pool.release(again, backend="cupy")
    pool.release(again, backend="pytorch")


def test_what_is_in_use_is_never_granted_again(pool):
    buffers = [pool.allocate(3) for _ in range(20)]
    assert len({buffer.ptr for buffer in buffers}) == 20
    for buffer in buffers[::2]:
        pool.release(buffer)
    live = {buffer.ptr for buffer in buffers[1::2]}
    assert not live & {pool.allocate(3).ptr for _ in range(15)}


def test_a_full_pool_of_young_idle_blocks_still_serves():
    device = vramkit.SimulatedDevice("100MiB")
    pool = vramkit.GPUMemoryPool(device)
    for buffer in [pool.allocate(10) for _ in range(10)]:
        pool.release(buffer)
    assert pool.get_stats()["idle_blocks"] == 10
    buffer = pool.allocate(80)
    assert pool.get_stats()["in_use_mb"] == 80 and pool.get_stats()["evicted"] == 8
    pool.release(buffer)


def test_idle_blocks_go_by_time():
    device = vramkit.SimulatedDevice("1GiB")
    pool = vramkit.GPUMemoryPool(device, idle_timeout=0.05)
    pool.release(pool.allocate(100))
    assert device.free_bytes == (1024 - 100) * MIB
    until = time.monotonic() + 10
    while device.free_bytes < 1 << 30 and time.monotonic() < until:
        time.sleep(0.01)
    assert device.free_bytes == 1 << 30 and pool.get_stats()["expired"] == 1


def test_what_idles_is_bounded():
    pool = vramkit.GPUMemoryPool(vramkit.SimulatedDevice("8GiB"), max_pool_size_mb=100)
    for buffer in [pool.allocate(50) for _ in range(4)]:
        pool.release(buffer)
    assert pool.get_stats()["cached_mb"] == 100 and pool.max_pool_size_mb == 100.0


def test_no_room_is_an_error_with_the_numbers(device, pool):
    held = pool.allocate_bytes("6GiB")
    with pytest.raises(vramkit.OutOfMemoryError, match="out of memory") as raised:
        pool.allocate_bytes("3GiB")
    error = raised.value
    assert error.requested_bytes == 3 << 30 and error.capacity_bytes == 8 << 30 and "who holds it" in error.report
    assert isinstance(error, MemoryError) and pool.get_stats()["failures"] == 1
    # What the text says would fit, fits.
    assert pool.allocate_bytes(error.most_bytes).nbytes == error.most_bytes
    del held


def test_buffers_know_that_they_are_released(pool):
    buffer = pool.allocate(1)
    pool.release(buffer)
    with pytest.raises(vramkit.ReleasedError, match="released before"):
        pool.release(buffer)
    with pytest.raises(vramkit.ReleasedError):
        buffer.release()
    with pytest.raises(vramkit.ReleasedError, match="was released: allocate another"):
        _ = buffer.ptr
    assert buffer.released and "released" in repr(buffer)
    assert pool.get_stats()["in_use_bytes"] == 0 and pool.get_stats()["idle_blocks"] == 1


def test_buffers_belong_to_their_pool(pool):
    other = vramkit.GPUMemoryPool(vramkit.SimulatedDevice("1GiB"))
    buffer = other.allocate(1)
    with pytest.raises(vramkit.PoolError, match="of another pool"):
        pool.release(buffer)
    other.release(buffer)
    with pytest.raises(TypeError):
        pool.release("a buffer")


def test_wrong_sizes_units_and_backends_are_refused(pool):
    for wrong in (-1, float("nan"), float("inf"), 1e300):
        with pytest.raises(ValueError, match="size_mb="):
            pool.allocate(wrong)
    for wrong in ("3MiB", True, None):
        with pytest.raises(TypeError, match="the methods that end in _bytes"):
            pool.allocate(wrong)
    for wrong in ("3 apples", "", -1, 1 << 64):
        with pytest.raises(ValueError):
            pool.allocate_bytes(wrong)
    for wrong in (True, 1.5, None):
        with pytest.raises(TypeError):
            pool.allocate_bytes(wrong)
    with pytest.raises(vramkit.PoolError, match="0 bytes"):
        pool.allocate(0)
    with pytest.raises(vramkit.BackendError, match="`jax` is not a backend: use numpy, pytorch or cupy"):
        pool.allocate(1, backend="jax")
    with pytest.raises(vramkit.BackendError, match="not available on host; available: numpy"):
        vramkit.get_memory_pool("host").allocate(1, backend="cupy")


def test_memory_is_looked_into_without_a_copy():
    numpy = pytest.importorskip("numpy")
    pool = vramkit.GPUMemoryPool("host")
    buffer = pool.allocate(1)
    array = buffer.array("float32")
    assert array.nbytes == MIB and array.ctypes.data == buffer.ptr
    array[:] = 3.0
    assert numpy.from_dlpack(buffer)[:4].tobytes() == numpy.float32(3).tobytes()
    assert memoryview(buffer)[:4].tobytes() == numpy.float32(3).tobytes() and len(buffer) == MIB
    assert buffer.__dlpack_device__() == (1, 0)
    with pytest.raises(BufferError, match="never copied"):
        buffer.__dlpack__(copy=True)
    with pytest.raises(BufferError, match="is on host"):
        buffer.__dlpack__(dl_device=(2, 0))
    with pytest.raises(AttributeError):
        _ = buffer.__cuda_array_interface__


@pytest.mark.parametrize("look", ["array", "from_dlpack", "memoryview", "capsule"])
def test_a_look_outlives_the_release_and_nobody_else_gets_its_memory(look):
    numpy = pytest.importorskip("numpy")
    pool = vramkit.GPUMemoryPool("host")
    buffer = pool.allocate(2)
    numpy.frombuffer(buffer, "uint8")[:] = 7
    view = {
        "array": buffer.array,
        "from_dlpack": lambda: numpy.from_dlpack(buffer),
        "memoryview": lambda: memoryview(buffer),
        "capsule": buffer.__dlpack__,
    }[look]()
    gc.collect()
    pool.release(buffer)
    assert pool.get_stats()["in_use_mb"] == 2, "it is still looked into"
    other = pool.allocate(2)
    other.array()[:] = 9
    if look != "capsule":
        assert view[0] == 7 and view[-1] == 7
    del view, buffer
    gc.collect()
    assert pool.get_stats()["in_use_mb"] == 2 and pool.get_stats()["idle_blocks"] == 1
    del other
    gc.collect()
    assert pool.get_stats()["in_use_mb"] == 0


def test_a_buffer_that_nobody_has_goes_back():
    pool = vramkit.GPUMemoryPool("host")
    array = pool.allocate(1).array()
    gc.collect()
    assert pool.get_stats()["in_use_mb"] == 1
    array[:] = 1
    del array
    gc.collect()
    assert pool.get_stats()["in_use_mb"] == 0


def test_simulated_memory_cannot_be_looked_into(pool):
    buffer = pool.allocate(1)
    for look in (lambda: memoryview(buffer), buffer.__dlpack__, buffer.__dlpack_device__):
        with pytest.raises(BufferError, match="sim"):
            look()


def test_numpy_says_why_it_cannot_look():
    numpy = pytest.importorskip("numpy")
    buffer = vramkit.GPUMemoryPool("host").allocate(1)
    assert numpy.asarray(buffer).nbytes == MIB
    buffer.release()
    with pytest.raises(vramkit.ReleasedError):
        numpy.asarray(buffer)
    with pytest.raises(vramkit.ReleasedError), buffer:
        pass
    with pytest.raises(BufferError, match="sim"):
        numpy.asarray(vramkit.GPUMemoryPool(vramkit.SimulatedDevice("1GiB")).allocate(1))


def test_owners_purposes_and_tags(device):
    pool = vramkit.DeviceMemoryPool(device, "4GiB")
    weights = pool.allocate("2GiB", owner="llama", purpose="weights", tag="layer 0")
    pool.allocate("1GiB", owner="llama", purpose="kv").release()
    (owner,) = [each for each in pool.owners() if each["granted_bytes"]]
    assert (owner["model"], owner["purpose"], owner["granted_bytes"]) == ("llama", "weights", 2 << 30)
    assert pool.used_fraction == 0.5 and pool.get_stats()["peak_used_bytes"] == 3 << 30
    assert pool.live()["leaks"][0]["tag"] == "layer 0"
    assert pool.trim()["freed_bytes"] == 1 << 30
    pool.release(weights)
    assert pool.used_bytes == 0
    with pytest.raises(ValueError, match="purpose `cache`"):
        pool.allocate(1, purpose="cache")
    with pytest.raises(vramkit.PoolError, match="power of two"):
        pool.allocate(1, alignment=3)


def test_many_threads_look_and_release():
    numpy = pytest.importorskip("numpy")
    pool, errors = vramkit.GPUMemoryPool("host"), []

    def work(number):
        try:
            for _ in range(200):
                buffer = pool.allocate(1)
                array = buffer.array("uint8")
                array[:64] = number
                pool.release(buffer)
                # It stays ours until the array is gone.
                assert (array[:64] == number).all()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert not errors and pool.get_stats()["in_use_bytes"] == 0 and numpy is not None
