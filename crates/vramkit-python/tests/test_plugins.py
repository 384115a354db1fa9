"""Pytest's plugin, in tests of tests, and the trainers' callbacks, with stand-ins for the trainers."""

import sys
import types

import pytest
import vramkit

TESTS = """
import pytest, vramkit

DEVICE = vramkit.SimulatedDevice("8GiB")
POOL = vramkit.get_memory_pool(DEVICE)
KEPT = []

@pytest.mark.gpu_peak("100MiB", device=DEVICE)
def test_within():
    POOL.release(POOL.allocate(100))

@pytest.mark.gpu_peak("100MiB", device=DEVICE)
def test_beyond():
    POOL.release(POOL.allocate(150))

@pytest.mark.gpu_peak(200 << 20, device=DEVICE)
class TestOfAClass:
    def test_in_a_class(self):
        POOL.release(POOL.allocate(150))

@pytest.mark.gpu_peak("much", device=DEVICE)
def test_of_no_size():
    pass
"""


def test_a_peak_is_held_to_its_limit(pytester):
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-rA", "--gpu-device=host")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["*memory of sim: 150 MiB at most, 100 MiB allowed*", "*`much` is not a size*"])


def test_every_mark_counts_and_one_of_a_card_that_is_not_here_fails(pytester):
    pytester.makepyfile(
        """
        import pytest, vramkit
        A, B = vramkit.SimulatedDevice("1GiB", id="a"), vramkit.SimulatedDevice("1GiB", id="b")

        @pytest.mark.gpu_peak("10MiB", device=A)
        @pytest.mark.gpu_peak("100MiB", device=B)
        def test_of_two():
            pool = vramkit.get_memory_pool(A)
            pool.release(pool.allocate(20))

        @pytest.mark.gpu_peak(size="10MiB", device="cuda:77")
        def test_of_none():
            pass

        @pytest.mark.gpu_peak(None)
        def test_of_nothing():
            pass
        """
    )
    result = pytester.runpytest_subprocess("--gpu-device=host", "--gpu-peak-report")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["*memory of a: 20 MiB at most, 10 MiB allowed*", "*gpu_peak takes a size, and a device*", "*20 MiB  a *test_of_two"])
    assert "DeviceUnavailableError" in result.stdout.str()


def test_peaks_are_shown_most_first(pytester):
    pytester.makepyfile(
        """
        import vramkit
        POOL = vramkit.get_memory_pool("host")
        def test_small():
            POOL.release(POOL.allocate(1))
        def test_large():
            POOL.release(POOL.allocate(10))
        def test_none():
            pass
        """
    )
    result = pytester.runpytest_subprocess("--gpu-peak-report", "--gpu-device=host")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*10 MiB  host *test_large", "*1 MiB  host *test_small", "*0 B  host *test_none"])


def test_what_is_left_is_found(pytester):
    pytester.makepyfile(
        """
        import pytest, vramkit
        POOL, KEPT = vramkit.get_memory_pool("host"), []
        def test_leaves(gpu_device):
            assert gpu_device == "host"
            KEPT.append(POOL.allocate(3))
        def test_leaves_nothing():
            POOL.release(POOL.allocate(3))

        @pytest.fixture
        def freed():
            kept = []
            yield kept
            kept.clear()

        def test_leaves_it_with_a_fixture(freed):
            freed.append(POOL.allocate(3))

        @pytest.fixture(scope="module")
        def shared():
            return POOL.allocate(5)

        def test_uses_what_is_shared(shared):
            assert shared.nbytes
        """
    )
    result = pytester.runpytest_subprocess("--gpu-leak-check", "--gpu-device=host")
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*memory of host: 3 MiB are still allocated after the test*"])


def test_without_options_it_does_nothing(pytester):
    pytester.makepyfile("import sys\ndef test_it():\n    assert 'vramkit.tracking' not in sys.modules")
    pytester.runpytest_subprocess("--strict-markers").assert_outcomes(passed=1)


def test_hugging_faces_trainer(monkeypatch):
    device = vramkit.SimulatedDevice("8GiB")
    pool = vramkit.get_memory_pool(device)
    module = types.ModuleType("transformers")
    module.TrainerCallback = type("TrainerCallback", (), {})
    monkeypatch.setitem(sys.modules, "transformers", module)
    callback = vramkit.trainer.hugging_face(device)
    state, logs, kept = types.SimpleNamespace(epoch=0), {"loss": 1.0}, []
    callback.on_train_begin(None, state, None)
    with pytest.warns(vramkit.MemoryLeakWarning):
        for epoch in range(6):
            state.epoch = epoch + 1
            callback.on_step_begin(None, state, None)
            kept.append(pool.allocate(100))
            pool.release(pool.allocate(300))
            callback.on_step_end(None, state, None)
            callback.on_epoch_end(None, state, None)
    callback.on_log(None, state, None, logs=logs)
    callback.on_train_end(None, state, None)
    assert logs["loss"] == 1.0 and logs["vramkit/step_peak_bytes"] == 900 << 20
    assert [snapshot.event for snapshot in callback.memory.monitor.history()][-1] == "training ends"


def test_lightning(monkeypatch):
    device = vramkit.SimulatedDevice("8GiB")
    pool = vramkit.get_memory_pool(device)
    names = ("lightning", "lightning.pytorch", "lightning.pytorch.callbacks")
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules[names[-1]].Callback = type("Callback", (), {})
    callback, logged = vramkit.trainer.lightning(device), {}
    module = types.SimpleNamespace(log_dict=logged.update)
    trainer = types.SimpleNamespace(current_epoch=1)
    callback.on_train_start(trainer, module)
    callback.on_train_batch_start(trainer, module, None, 0)
    pool.release(pool.allocate(20))
    callback.on_train_batch_end(trainer, module, None, None, 0)
    callback.on_train_epoch_end(trainer, module)
    callback.on_train_end(trainer, module)
    assert logged["vramkit/peak_bytes"] == 20 << 20
