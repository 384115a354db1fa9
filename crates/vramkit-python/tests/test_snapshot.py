"""PyTorch's snapshots, made by hand."""

import gzip
import pickle
from collections import OrderedDict

import pytest
import vramkit

MIB = 1 << 20


def frame(line):
    return [{"filename": "/home/me/train.py", "line": line, "name": "step"}]


def event(action, address, size, line, stream=0):
    return {"action": action, "addr": address, "size": size, "stream": stream, "time_us": 0, "frames": frame(line)}


def made(*events, device=0):
    return {
        "segments": [],
        "device_traces": [[] for _ in range(device)] + [list(events)],
        "allocator_settings": {},
    }


BEFORE = made(event("alloc", 0x10000, 10 * MIB, 7), event("alloc", 0x2000000, 30 * MIB, 9), event("free_completed", 0x2000000, 30 * MIB, 9))
AFTER = made(
    event("alloc", 0x10000, 10 * MIB, 7), event("alloc", 0x2000000, 30 * MIB, 9), event("alloc", 0x9000000, 5 * MIB, 11)
)


def test_who_held_what_at_the_peak_and_at_the_end():
    snapshot = vramkit.snapshot(BEFORE)
    assert snapshot.peak_live_bytes == 40 * MIB
    peak = snapshot.owners()
    assert [(each.owner, each.bytes // MIB, each.allocations) for each in peak] == [
        ("train.py:9 step", 30, 1),
        ("train.py:7 step", 10, 1),
    ]
    assert [each.owner for each in snapshot.owners(at="end")] == ["train.py:7 step"]
    with pytest.raises(ValueError, match='at="middle"'):
        snapshot.owners(at="middle")
    assert [each.owner for each in snapshot.owners(at=0)] == ["train.py:7 step"]
    with pytest.raises(ValueError, match="at=3: there are operations 0 to 2"):
        snapshot.owners(at=3)
    assert "train.py:9 step" in snapshot._repr_html_() and "40 MiB" in repr(snapshot)


def test_what_grew():
    grown = vramkit.snapshot(BEFORE).diff(vramkit.snapshot(AFTER))
    assert [(each.owner, each.grown_bytes // MIB) for each in grown] == [("train.py:9 step", 30), ("train.py:11 step", 5)]
    assert [each.grown_bytes // MIB for each in vramkit.snapshot(AFTER).diff(vramkit.snapshot(BEFORE))] == [-5, -30]


def test_what_other_settings_would_take_and_how_much_is_enough():
    snapshot = vramkit.snapshot(AFTER)
    expandable = snapshot.what_if("expandable_segments:True")
    assert expandable.peak_reserved_bytes <= expandable.today_bytes and expandable.refused == 0
    assert expandable.saved_bytes == expandable.today_bytes - expandable.peak_reserved_bytes
    least = snapshot.least_capacity()
    assert snapshot.what_if("", capacity=least).refused == 0
    assert snapshot.what_if("", capacity=least - 2 * MIB).refused > 0
    with pytest.raises(ValueError, match="`max_split_size_mb:1`: use a number of MiB, at least 20"):
        snapshot.what_if("max_split_size_mb:1")


def test_any_setting_on_top_of_those_that_were_recorded():
    recorded = made(*[event("alloc", n << 30, 33 * MIB, 7) for n in range(1, 4)])
    recorded["allocator_settings"] = {"PYTORCH_CUDA_ALLOC_CONF": "roundup_power2_divisions:2"}
    snapshot = vramkit.snapshot(recorded)
    assert snapshot.recorded_settings == "roundup_power2_divisions:2"
    # 33 MiB are 48 with two sizes between 32 and 64, and 40 with four.
    what = snapshot.what_if("roundup_power2_divisions:4")
    assert (what.today_bytes, what.peak_reserved_bytes) == (144 * MIB, 120 * MIB)


def test_owners_by_stack_and_by_annotation():
    entry = event("alloc", 0x10000, 10 * MIB, 7) | {"user_metadata": "layer 0"}
    entry["frames"] = [{"filename": "/usr/lib/python3/site-packages/torch/nn.py", "line": 3, "name": "forward"}, *entry["frames"]]
    snapshot = vramkit.snapshot(made(entry))
    assert snapshot.owners()[0].owner == "train.py:7 step"
    assert snapshot.owners(by="annotation")[0].owner == "layer 0"
    assert snapshot.owners(by="stack")[0].owner == "/home/me/train.py:7 step;/usr/lib/python3/site-packages/torch/nn.py:3 forward"
    with pytest.raises(ValueError, match="use line, stack or annotation"):
        snapshot.owners(by="thread")


def test_a_snapshot_without_a_history_says_who_holds_what():
    block = {"size": MIB, "requested_size": MIB - 5, "state": "active_allocated", "address": 0x10000, "frames": frame(3)}
    segment = {"address": 0x10000, "total_size": 2 * MIB, "device": 0, "blocks": [block, {"size": MIB, "state": "inactive"}]}
    for source in ({"segments": [segment]}, [segment]):
        snapshot = vramkit.snapshot(source)
        assert not snapshot.has_history and "no history" in snapshot.notes[0]
        assert snapshot.owners() == [("train.py:3 step", MIB - 5, 1)]
        with pytest.raises(ValueError, match="no history"):
            snapshot.what_if("expandable_segments:True")


@pytest.mark.parametrize("how", ["path", "gzip", "bytes", "bytearray", "file", "dict", "ordered"])
def test_wherever_it_comes_from(how, tmp_path):
    content = pickle.dumps(BEFORE)
    path = tmp_path / "snapshot.pickle"
    path.write_bytes(gzip.compress(content) if how == "gzip" else content)
    source = {"path": path, "gzip": str(path), "bytes": content, "bytearray": bytearray(content), "file": path.open("rb"), "dict": BEFORE, "ordered": OrderedDict(BEFORE)}[how]
    assert vramkit.snapshot(source).peak_live_bytes == 40 * MIB


def test_several_devices(tmp_path):
    two = {"segments": [], "device_traces": [BEFORE["device_traces"][0], AFTER["device_traces"][0]]}
    assert vramkit.snapshot(two, device=1).peak_live_bytes == 45 * MIB
    with pytest.raises(ValueError, match="nothing of device 7: it has device 0, 1"):
        vramkit.snapshot(two, device=7)
    # Of one device alone, and not the first.
    second = {"segments": [], "device_traces": [[], AFTER["device_traces"][0]]}
    assert vramkit.snapshot(second, device=1).peak_live_bytes == vramkit.snapshot(second).peak_live_bytes == 45 * MIB
    with pytest.raises(ValueError, match="nothing of device 0"):
        vramkit.snapshot(second, device=0)


def test_what_is_no_snapshot(tmp_path):
    with pytest.raises(vramkit.QuestionError):
        vramkit.snapshot({"nothing": 1})
    with pytest.raises(ValueError):
        vramkit.snapshot({"segments": [], "device_traces": [[]]})
    with pytest.raises(vramkit.QuestionError):
        vramkit.snapshot(tmp_path / "none.pickle")

    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    with pytest.raises(vramkit.QuestionError):
        vramkit.snapshot(pickle.dumps(Evil()))
