"""Devices for the tests: every one of a test is its own."""

import pytest
import vramkit

pytest_plugins = ["pytester"]


@pytest.fixture
def device():
    return vramkit.SimulatedDevice("8GiB")


@pytest.fixture
def monitor(device):
    return vramkit.get_memory_monitor(device)


@pytest.fixture
def pool(device):
    return vramkit.get_memory_pool(device)
