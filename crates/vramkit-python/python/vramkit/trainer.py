"""What trainers call: memory of every step and epoch, in Hugging Face's Trainer and in Lightning.

`vramkit.trainer.hugging_face()` and `vramkit.trainer.lightning()` make the callback; either framework is imported only then.
"""

from __future__ import annotations

from typing import Any

from ._vramkit import GPUMemoryMonitor, SimulatedDevice, VramMonitor
from .errors import BackendError
from .tracking import Tracked, track

__all__ = ["MemoryLog", "hugging_face", "lightning"]

Device = int | str | SimulatedDevice


class MemoryLog:
    """Follows a training: a snapshot at its beginning and end, numbers of each step and epoch, and whether epochs grow.

    `metrics()` is what to log, in bytes. It is the same for every trainer, and can be called by one of your own.
    """

    def __init__(self, device: Device = 0, leak_threshold: int | str = "100MB") -> None:
        self._device = device
        self.monitor = GPUMemoryMonitor(device, False)
        self._generations = VramMonitor(
            device, cleanup_threshold=None, leak_threshold=leak_threshold, leak_warm_up=2, leak_every=1
        )
        self._step: track | None = None
        self.last: Tracked | None = None
        self.peak_bytes = 0

    def begin(self) -> None:
        """The training begins."""
        self.monitor.record_snapshot("training begins")

    def step_begins(self) -> None:
        """A step begins."""
        self._step = track("step", device=self._device).__enter__()

    def step_ends(self) -> Tracked | None:
        """A step has ended: what it took; `None` where it never began."""
        if self._step is None:
            return None
        self._step.__exit__(None, None, None)
        self.last, self._step = self._step.result, None
        self.peak_bytes = max(self.peak_bytes, self.last.peak_bytes)
        return self.last

    def epoch_ends(self, epoch: float) -> None:
        """An epoch has ended: warns with `MemoryLeakWarning` where memory grows from epoch to epoch."""
        self.monitor.record_snapshot("epoch ends", slot=int(epoch))
        self._generations.increment_generation_count()
        self._generations.detect_memory_leak()

    def end(self) -> None:
        """The training has ended."""
        self.monitor.record_snapshot("training ends")

    def metrics(self) -> dict[str, float]:
        """Bytes of the last step, and the most of any."""
        if self.last is None:
            return {}
        return {
            "vramkit/step_peak_bytes": self.last.peak_bytes,
            "vramkit/allocated_bytes": self.last.allocated_after_bytes,
            "vramkit/reserved_bytes": self.last.reserved_after_bytes,
            "vramkit/peak_bytes": self.peak_bytes,
        }


def hugging_face(device: Device = 0) -> Any:
    """A `transformers.TrainerCallback` that logs :meth:`MemoryLog.metrics` with the trainer's own logs. Its `memory` is the `MemoryLog`."""
    try:
        from transformers import TrainerCallback
    except ImportError as error:
        raise BackendError(f"transformers cannot be imported ({error}): install it") from error

    class VramkitCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            self.memory = MemoryLog(device)

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.memory.begin()

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.memory.step_begins()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.memory.step_ends()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            metrics = self.memory.metrics()
            if logs is not None:
                logs.update(metrics)
            # The trainer has put its own into the history by now.
            if history := getattr(state, "log_history", None):
                history[-1].update(metrics)

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.memory.epoch_ends(state.epoch or 0)

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.memory.end()

    return VramkitCallback()


def lightning(device: Device = 0) -> Any:
    """A Lightning `Callback` that logs :meth:`MemoryLog.metrics` at every step. Its `memory` is the `MemoryLog`."""
    try:
        from lightning.pytorch.callbacks import Callback
    except ImportError as error:
        try:
            from pytorch_lightning.callbacks import Callback
        except ImportError:
            raise BackendError(f"lightning cannot be imported ({error}): install it") from error

    class VramkitCallback(Callback):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            self.memory = MemoryLog(device)

        def on_train_start(self, trainer: Any, module: Any) -> None:
            self.memory.begin()

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            self.memory.step_begins()

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.memory.step_ends()
            module.log_dict(self.memory.metrics())

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            self.memory.epoch_ends(trainer.current_epoch)

        def on_train_end(self, trainer: Any, module: Any) -> None:
            self.memory.end()

    return VramkitCallback()
