"""What goes wrong and what is worth knowing, as classes: each says what happened, its attributes are the numbers.

Every error is a `VramkitError`, every warning a `VramkitWarning`.
"""

from __future__ import annotations

import enum
from typing import Any

__all__ = [
    "AdmissionError",
    "BackendError",
    "DeviceUnavailableError",
    "DoesNotFitError",
    "MemoryLeakWarning",
    "MemoryPressure",
    "MemoryPressureError",
    "MemoryPressureWarning",
    "OutOfMemoryError",
    "PoolError",
    "QuestionError",
    "ReleasedError",
    "VramkitError",
    "VramkitWarning",
]


class MemoryPressure(enum.Enum):
    """How full a device is: from 0.6, 0.8 and 0.9 of it in use on."""

    LOW = "low"
    MODERATE = "moderate"
    HIGH = "high"
    CRITICAL = "critical"


class _WithNumbers(Exception):
    """Keyword arguments become attributes."""

    def __init__(self, text: str = "", **numbers: Any) -> None:
        super().__init__(text)
        self.__dict__.update(numbers)


class VramkitError(_WithNumbers):
    """Every error of vramkit."""


class PoolError(VramkitError):
    """A pool did not do what it was asked for."""


class OutOfMemoryError(PoolError, MemoryError):
    """A pool has no room for a request. `report` says who holds the memory and what would help."""

    device: str
    requested_bytes: int
    largest_free_bytes: int
    free_bytes: int
    capacity_bytes: int
    #: The most that could have been asked for.
    most_bytes: int
    report: str


class ReleasedError(PoolError, BufferError):
    """A buffer was released before."""


class BackendError(VramkitError, ValueError):
    """A framework that is not known, not installed, or not for this device."""


class DeviceUnavailableError(VramkitError):
    """A device or its driver is not here."""


class QuestionError(VramkitError, ValueError):
    """A question that has no answer: an option that makes no sense, or a file that cannot be read."""

    #: The program's exit status for it.
    status: int


class DoesNotFitError(VramkitError):
    """A model does not fit into the memory that it may have."""

    status: int


class MemoryPressureError(VramkitError):
    """More is held than the hard limit allows, or what is held is not known."""

    context: str
    current_bytes: int
    requested_bytes: int
    limit_bytes: int
    excess_bytes: int


class AdmissionError(VramkitError):
    """A model cannot be started beside what is there."""

    model: str
    required_bytes: int
    available_bytes: int


class VramkitWarning(_WithNumbers, UserWarning):
    """Every warning of vramkit."""


class MemoryPressureWarning(VramkitWarning):
    """More is held than the soft limit allows."""

    context: str
    current_bytes: int
    requested_bytes: int
    limit_bytes: int
    excess_bytes: int


class MemoryLeakWarning(VramkitWarning):
    """Memory grew over generations of work."""

    generations: int
    baseline_bytes: int
    current_bytes: int
    growth_bytes: int
