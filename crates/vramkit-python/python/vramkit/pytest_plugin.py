"""For pytest: how much memory of a device a test takes, with a limit where it has one.

    @pytest.mark.gpu_peak("2GiB")                      the test fails when its peak passes 2 GiB more than before it
    @pytest.mark.gpu_peak("2GiB", device="cuda:1")     of another device; "host" and a SimulatedDevice work too; several marks all count
    pytest --gpu-peak-report                           a table of every test's peak, most first
    pytest --gpu-leak-check                            a test fails that leaves more allocated than it found
    def test_it(gpu_device): ...                       the device that the options name

What counts is what vramkit's pools, PyTorch and CuPy have allocated in this process while the test itself runs: what its fixtures took
before counts as there. What a test leaves with a fixture that frees it afterwards is no leak; what a fixture itself leaves is not looked for.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from typing import Any

import pytest

# Of a session: tests with what they took.
_KEY = pytest.StashKey[Any]()
# Of a test: what was allocated before its fixtures were made, and how much more there was behind it than before it.
_BEFORE = pytest.StashKey[Any]()
_LEFT = pytest.StashKey[Any]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    group = parser.getgroup("vramkit", "GPU memory")
    group.addoption("--gpu-device", default="0", help="the device whose memory is looked at: 0, cuda:1, host [default: 0]")
    group.addoption("--gpu-peak-report", action="store_true", help="show how much memory each test took at most")
    group.addoption("--gpu-leak-check", action="store_true", help="fail a test that leaves memory allocated")


def pytest_configure(config: pytest.Config) -> None:
    """The marker, and where peaks are kept."""
    config.addinivalue_line(
        "markers",
        'gpu_peak(size, device=None): fail when the test allocates more than so much at once ("2GiB", bytes) beside what was there',
    )
    config.stash[_KEY] = []


def _device(config: pytest.Config) -> int | str:
    name = str(config.getoption("--gpu-device"))
    return int(name) if name.isdigit() else name


@pytest.fixture
def gpu_device(request: pytest.FixtureRequest) -> int | str:
    """The device that `--gpu-device` names."""
    return _device(request.config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """What is allocated before a test's fixtures are made."""
    if item.config.getoption("--gpu-leak-check"):
        gc.collect()
        item.stash[_BEFORE] = _allocated(_places(item))
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Looks at a test's memory, where it is asked for."""
    marks = list(item.iter_markers("gpu_peak"))
    options = item.config
    if not marks and not options.getoption("--gpu-leak-check") and not options.getoption("--gpu-peak-report"):
        return (yield)
    from ._vramkit import format_bytes
    from .tracking import track

    limits = _limits(item, marks)
    parts = [(track(item.nodeid, device=place, reset_peak=True), limit) for place, limit in limits]
    gc.collect()
    before = _allocated(_places(item))
    for part, _ in parts:
        part.__enter__()
    try:
        outcome = yield
    finally:
        # Also of a test that fails: the one that ran out of memory is what one looks for.
        for part, _ in parts:
            part.__exit__(None, None, None)
        item.config.stash[_KEY] += [(item.nodeid, part.result) for part, _ in parts]
    gc.collect()
    if _BEFORE in item.stash:
        item.stash[_LEFT] = [now - then for now, then in zip(_allocated(_places(item)), before, strict=True)]
    for part, limit in parts:
        result = part.result
        if limit is not None and result.peak_growth_bytes > limit:
            pytest.fail(
                f"memory of {result.device}: {format_bytes(result.peak_growth_bytes)} at most, {format_bytes(limit)} allowed",
                pytrace=False,
            )
    return outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """What a test has left behind, once its fixtures are gone."""
    outcome = yield
    if _LEFT in item.stash:
        from ._vramkit import format_bytes

        gc.collect()
        places = _places(item)
        whole = [now - then for now, then in zip(_allocated(places), item.stash[_BEFORE], strict=True)]
        for place, of_the_test, in_all in zip(places, item.stash[_LEFT], whole, strict=True):
            left = min(of_the_test, in_all)
            if left > 0:
                name = getattr(place, "id", place)
                pytest.fail(f"memory of {name}: {format_bytes(left)} are still allocated after the test", pytrace=False)
    return outcome


def _places(item: pytest.Item) -> list[Any]:
    """The devices that are looked at: the options', and those of marks."""
    places: list[Any] = [_device(item.config)]
    for mark in item.iter_markers("gpu_peak"):
        place = mark.kwargs.get("device")
        if place is not None and place not in places:
            places.append(place)
    return places


def _allocated(places: list[Any]) -> list[int]:
    from .tracking import track

    found = []
    for place in places:
        with track(device=place) as now:
            pass
        found.append(now.result.allocated_after_bytes)
    return found


def _limits(item: pytest.Item, marks: list[pytest.Mark]) -> list[tuple[Any, int | None]]:
    """The devices and the least that a test may take of each; a mark that makes no sense fails its test."""
    from ._vramkit import parse_bytes

    limits: list[tuple[Any, int | None]] = [(place, None) for place in _places(item)]
    if marks and all(mark.kwargs.get("device") is not None for mark in marks):
        # The options' device was not asked about.
        asked = item.config.getoption("--gpu-leak-check") or item.config.getoption("--gpu-peak-report")
        limits = limits if asked else limits[1:]
    for mark in marks:
        given = {"size": mark.args[0] if len(mark.args) == 1 else None, **mark.kwargs}
        if len(mark.args) > 1 or set(given) - {"size", "device"} or given["size"] is None:
            pytest.fail('gpu_peak takes a size, and a device: @pytest.mark.gpu_peak("2GiB", device="cuda:0")', pytrace=False)
        try:
            limit = parse_bytes(given["size"])
        except (TypeError, ValueError) as error:
            pytest.fail(f"gpu_peak: {error}", pytrace=False)
        place = given.get("device")
        place = _device(item.config) if place is None else place
        limits = [(each, limit if before is None else min(before, limit)) if each == place else (each, before) for each, before in limits]
    return limits


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The table."""
    if not config.getoption("--gpu-peak-report"):
        return
    from ._vramkit import format_bytes

    terminalreporter.section("memory at most, beside what was there")
    for name, tracked in sorted(config.stash[_KEY], key=lambda each: -each[1].peak_growth_bytes):
        about = "" if tracked.peak_is_exact else "at least "
        terminalreporter.write_line(f"{about + format_bytes(tracked.peak_growth_bytes):>14}  {tracked.device:<8} {name}")
