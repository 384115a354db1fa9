"""Tracked parts of a program."""

import asyncio
import threading

import pytest
import vramkit

MIB = 1 << 20


@pytest.fixture
def track(device):
    return lambda name="part", **more: vramkit.track(name, device=device, **more)


def test_a_part_has_a_peak_and_a_difference(track, pool):
    with track("epoch") as tracked:
        kept = pool.allocate(100)
        pool.release(pool.allocate(300))
    result = tracked.result
    assert (result.name, result.device) == ("epoch", "sim")
    assert (result.peak_bytes, result.grown_bytes, result.peak_is_exact) == (400 * MIB, 100 * MIB, True)
    assert result.allocated_before_bytes == 0 and result.reserved_after_bytes == 400 * MIB
    assert str(result).startswith("epoch on sim: peak 400 MiB, +100 MiB afterwards, ")
    with track() as again:
        pool.release(kept)
    assert again.result.peak_bytes == 100 * MIB and again.result.grown_bytes == -100 * MIB


def test_before_the_end_there_is_no_result(track):
    with track() as tracked, pytest.raises(LookupError):
        _ = tracked.result
    assert tracked.result.peak_bytes == 0


def test_parts_within_parts(track, pool):
    with track("outer") as outer:
        kept = pool.allocate(100)
        with track("inner") as inner:
            pool.release(pool.allocate(50))
        pool.release(kept)
    assert (inner.result.peak_bytes, inner.result.peak_growth_bytes) == (150 * MIB, 50 * MIB)
    assert outer.result.peak_bytes == 150 * MIB and outer.result.grown_bytes == 0


def test_an_error_is_not_lost(track, pool):
    with pytest.raises(KeyError, match="gone"), track() as tracked:
        pool.release(pool.allocate(10))
        raise KeyError("gone")
    assert tracked.result.peak_bytes == 10 * MIB


def test_functions_and_coroutines(track, pool, device):
    seen = []

    @vramkit.track(device=device, on_result=seen.append)
    def step(size):
        """Takes memory."""
        pool.release(pool.allocate(size))
        return size

    assert [step(10), step(20)] == [10, 20] and step.__doc__ == "Takes memory."
    assert [result.peak_bytes // MIB for result in seen] == [10, 20], "what idles is not allocated"
    assert seen[0].name.endswith("step")


def test_tasks_at_once(device, pool):
    marked = vramkit.track("task", device=device)

    @marked
    async def task(size):
        buffer = pool.allocate(size)
        await asyncio.sleep(0.01)
        pool.release(buffer)

    async def run():
        async with vramkit.track("all", device=device) as together:
            await asyncio.gather(task(10), task(20), task(30))
        return together.result

    assert asyncio.run(run()).peak_bytes == 60 * MIB
    assert len(marked.results) == 3 and marked.results[-1].peak_bytes == 60 * MIB


def test_threads_at_once(device, pool):
    part = vramkit.track("part", device=device)
    errors = []

    def work():
        try:
            for _ in range(50):
                with vramkit.track(device=device) as own:
                    pool.release(pool.allocate(1))
                assert own.result.peak_bytes >= MIB
        except BaseException as error:
            errors.append(error)

    with part:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors and MIB <= part.result.peak_bytes <= 8 * MIB


def test_one_of_two_threads_at_once_is_its_own(device, pool):
    part, entered = vramkit.track("part", device=device), threading.Barrier(2)

    def work(size, first):
        if not first:
            entered.wait()
        with part:
            buffer = pool.allocate(size)
            if first:
                entered.wait()
                other.join(10)
            pool.release(buffer)

    other = threading.Thread(target=work, args=(20, False))
    other.start()
    work(100, True)
    # The second began with what the first had, and ended first.
    assert [(each.allocated_before_bytes // MIB, each.peak_bytes // MIB) for each in part.results] == [(100, 120), (0, 120)]


def test_generators_are_tracked_while_they_run(device, pool):
    seen = []

    @vramkit.track(device=device, on_result=seen.append)
    def numbers():
        buffer = pool.allocate(50)
        yield 1
        pool.release(buffer)

    @vramkit.track(device=device, on_result=seen.append)
    async def asynchronous():
        buffer = pool.allocate(70)
        yield 2
        pool.release(buffer)

    async def run():
        return [each async for each in asynchronous()]

    assert list(numbers()) == [1] and asyncio.run(run()) == [2]
    assert [each.peak_bytes // MIB for each in seen] == [50, 70]


def test_what_cannot_be_tracked_is_said(device):
    with pytest.raises(TypeError, match=r"@vramkit.track\(\)"):

        @vramkit.track
        def function():
            pass

    with pytest.raises(TypeError, match="decorate its methods"):

        @vramkit.track(device=device)
        class Class:
            pass

    with pytest.raises(vramkit.DeviceUnavailableError):
        vramkit.track(device="cuda:77")


def test_what_goes_wrong_in_the_part_comes_first(device):
    def fails(_):
        raise RuntimeError("too much")

    with pytest.raises(ValueError, match="in the part") as raised, vramkit.track(device=device, on_result=fails):
        raise ValueError("in the part")
    assert raised.value.__notes__ == ["on_result raised RuntimeError('too much')"]
    with pytest.raises(RuntimeError, match="too much"), vramkit.track(device=device, on_result=fails):
        pass
