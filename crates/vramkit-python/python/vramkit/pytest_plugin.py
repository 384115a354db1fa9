"""For pytest: how much memory of a device a test takes, with a limit where it has one.

    @pytest.mark.gpu_peak("2GiB")                      the test fails when its peak passes 2 GiB more than before it
    @pytest.mark.gpu_peak("2GiB", device="cuda:1")     of another device; "host" and a SimulatedDevice work too
    pytest --gpu-peak-report                           a table of every test's peak, most first
    pytest --gpu-leak-check                            a test fails that leaves more allocated than it found
    def test_it(gpu_device): ...                       the device that the options name

What counts is what vramkit's pools, PyTorch and CuPy have allocated in this process.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from . import SimulatedDevice

_KEY = pytest.StashKey[Any]()


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
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Looks at a test's memory, where it is asked for."""
    mark = item.get_closest_marker("gpu_peak")
    config = item.config
    leak_check = config.getoption("--gpu-leak-check")
    if mark is None and not leak_check and not config.getoption("--gpu-peak-report"):
        return (yield)
    from ._vramkit import format_bytes, parse_bytes
    from .tracking import track

    limit, device = _limit(mark)
    if limit is not None:
        # A limit that cannot be read is an error of the test, before it runs.
        limit = parse_bytes(limit)
    place = _device(config) if device is None else device
    gc.collect()
    with track(item.nodeid, device=place, reset_peak=True) as tracked:
        outcome = yield
    gc.collect()
    result = tracked.result
    config.stash[_KEY].append((item.nodeid, result))
    if limit is not None and result.peak_growth_bytes > limit:
        pytest.fail(
            f"memory of {result.device}: {format_bytes(result.peak_growth_bytes)} at most, {format_bytes(limit)} allowed",
            pytrace=False,
        )
    if leak_check:
        with track(device=place) as after:
            pass
        left = after.result.allocated_after_bytes - result.allocated_before_bytes
        if left > 0:
            pytest.fail(f"memory of {result.device}: {format_bytes(left)} are still allocated after the test", pytrace=False)
    return outcome


def _limit(mark: pytest.Mark | None) -> tuple[Any, int | str | SimulatedDevice | None]:
    if mark is None:
        return None, None
    if len(mark.args) != 1 or set(mark.kwargs) - {"device"}:
        raise pytest.UsageError('gpu_peak takes a size, and a device: @pytest.mark.gpu_peak("2GiB", device="cuda:0")')
    return mark.args[0], mark.kwargs.get("device")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The table."""
    if not config.getoption("--gpu-peak-report"):
        return
    from ._vramkit import format_bytes

    terminalreporter.section("memory at most, beside what was there")
    for name, tracked in sorted(config.stash[_KEY], key=lambda each: -each[1].peak_growth_bytes):
        about = "" if tracked.peak_is_exact else "at least "
        terminalreporter.write_line(f"{about + format_bytes(tracked.peak_growth_bytes):>14}  {tracked.device:<8} {name}")
