"""The program's questions as functions: the same documents, with types, and the same refusals in Python's words."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import vramkit

WORKLOAD = """
name = "two"
capacity = "1GiB"
[[models]]
name = "A"
tensors = [ { id = "a", size = "100MiB", start = 0, end = 2 }, { id = "b", size = "50MiB", start = 1, end = 3 } ]
[[models]]
name = "B"
tensors = [ { id = "c", size = "200MiB", start = 3, end = 5 } ]
"""


@pytest.fixture
def workload(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(WORKLOAD)
    return path


def program(*arguments):
    return subprocess.run([sys.executable, "-m", "vramkit", *map(str, arguments)], capture_output=True, text=True)


def timeless(document):
    """A document without how long things took."""
    if isinstance(document, dict):
        return {name: timeless(value) for name, value in document.items() if name != "elapsed_seconds"}
    return [timeless(each) for each in document] if isinstance(document, list) else document


def test_a_plan_is_the_programs_document(workload):
    report = vramkit.plan(workload, capacity="1GiB")
    assert report.is_yes and bool(report) and report.feasible is True and report.proven_optimal is True
    assert report.arena_bytes == 200 << 20 and [model.name for model in report.models] == ["A", "B"]
    assert isinstance(report.models[0], vramkit.reports.ModelReport) and report.tensors[0].id == "a"
    printed = json.loads(program("plan", workload, "--capacity", "1GiB", "--json").stdout)
    assert timeless(report.to_dict()) == timeless(printed)
    with pytest.raises(AttributeError, match="no field 'arena'"):
        _ = report.arena
    assert report._repr_svg_().startswith("<svg") and "200 MiB" in report._repr_html_()


def test_no_is_an_answer(workload):
    report = vramkit.plan(workload, capacity="100MiB")
    assert not report and report.feasible is False and report.conflict.needs_bytes == 200 << 20


def test_files_are_written_where_options_name_them(workload, tmp_path):
    vramkit.plan(workload, svg=tmp_path / "plan.svg", output=tmp_path / "offsets.csv")
    assert (tmp_path / "plan.svg").read_text().startswith("<svg")
    assert "offset" in (tmp_path / "offsets.csv").read_text()


def test_a_run_binds_and_verifies(workload):
    report = vramkit.run(workload, device="sim", verify="full")
    assert report.verified_tensors == 3 and report.aliasing_violations == 0 and report.used_after_release_bytes == 0
    assert isinstance(report.levels, dict)


def test_capacity_is_a_risk_with_a_picture():
    report = vramkit.capacity(batch=32, prompt_mean=100, termination=0.01, capacity_tokens=10_000, risk=1e-3)
    assert 0 <= report.probability <= 1 and report.max_batch > 0 and report._repr_svg_().startswith("<svg")
    assert not vramkit.capacity(batch=64, prompt_mean=100, termination=0.01, capacity_tokens=5_000, risk=1e-3)


def test_recorded_allocations_are_replayed(tmp_path):
    trace = tmp_path / "small.trace"
    trace.write_text("a 1 1048576\na 2 2097152\nf 1\na 3 1048576\nf 2\nf 3\n")
    report = vramkit.replay(trace, policy=["default", "best-fit"])
    assert [policy.policy for policy in report.traces[0].policies] == ["default", "best-fit"]
    assert report.traces[0].peak_live_bytes == 3 << 20 and report._repr_svg_().startswith("<svg")
    assert not vramkit.replay(trace, capacity="2MiB")


def test_devices_and_who_holds_them():
    assert any(device.id == "host" for device in vramkit.devices().devices)
    tick = vramkit.top()
    assert tick.schema == "vramkit.top/1" and tick.devices[0].to_dict()


def test_options_are_keywords_in_refusals(workload, tmp_path):
    with pytest.raises(vramkit.QuestionError, match=r"^makespan chooses when models start on one clock") as raised:
        vramkit.plan(workload, makespan=10, schedule="sequential")
    assert raised.value.status == 2 and "--" not in str(raised.value) and "schedule fixed" in str(raised.value)
    with pytest.raises(vramkit.QuestionError, match="give lengths, or prompt_mean with termination"):
        vramkit.capacity(batch=3)
    with pytest.raises(vramkit.QuestionError, match="No such file"):
        vramkit.plan(tmp_path / "none.onnx")
    with pytest.raises(vramkit.QuestionError):
        vramkit.plan(workload, capacity="3 apples")
    with pytest.raises(vramkit.DeviceUnavailableError):
        vramkit.run(workload, device="cuda:77")
    with pytest.raises(TypeError):
        vramkit.plan(workload, nonsense=1)
    # A value that begins with a dash is a value.
    with pytest.raises(vramkit.QuestionError):
        vramkit.plan(workload, capacity="-1")
    with pytest.raises(vramkit.QuestionError, match="`--help` is of no known kind"):
        vramkit.plan("--help")


def test_values_that_are_none(workload, tmp_path):
    for wrong in ([], {}):
        with pytest.raises(ValueError, match="batch is empty"):
            vramkit.capacity(batch=wrong)
    with pytest.raises(TypeError, match="batch=True: a value is needed"):
        vramkit.capacity(batch=True)
    with pytest.raises(TypeError, match="in_place=3: True or False"):
        vramkit.plan(workload, in_place=3)
    with pytest.raises(TypeError, match="give several as arguments of their own"):
        vramkit.plan([workload])
    assert vramkit.plan(str(workload).encode()).is_yes
    # What is wrong is said in keywords alone.
    with pytest.raises(vramkit.QuestionError) as raised:
        vramkit.capacity(batch="many")
    assert "<" not in str(raised.value) and "--" not in str(raised.value) and "help" not in str(raised.value)


def test_documents_do_not_change(workload):
    report = vramkit.plan(workload)
    report.to_dict()["models"].clear()
    assert len(report.models) == 2 and report["arena_bytes"] == report.arena_bytes and dict(report) == report.to_dict()
    with pytest.raises(AttributeError, match="does not change"):
        report.arena_bytes = 1


def test_notes_are_warnings_and_nothing_is_printed(workload, capfd):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vramkit.plan(workload, capacity="1GiB")
        vramkit.capacity(batch=32, prompt_mean=100, termination=0.01, capacity_tokens=10_000)
    assert caught == []
    assert capfd.readouterr() == ("", "")


def test_a_fit_of_a_configuration(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "architectures": ["LlamaForCausalLM"],
                "model_type": "llama",
                "hidden_size": 2048,
                "intermediate_size": 5632,
                "num_hidden_layers": 22,
                "num_attention_heads": 32,
                "num_key_value_heads": 4,
                "vocab_size": 32000,
                "max_position_embeddings": 2048,
                "torch_dtype": "bfloat16",
                "rms_norm_eps": 1e-5,
                "tie_word_embeddings": False,
            }
        )
    )
    fit = vramkit.fit(tmp_path, runtime="vllm", memory="24GiB", ctx=2048)
    # 22 layers, 4 heads of 64 numbers for keys and as many for values, of two bytes.
    assert fit.kv_bytes_per_token == 22 * 4 * 64 * 2 * 2 and fit.models[0].architecture == "llama"
    assert fit.total_bytes == fit.weights_bytes + fit.kv_bytes + fit.state_bytes + fit.workspace_bytes + fit.overhead_bytes


def test_the_program_comes_with_the_package(workload):
    shown = program("plan", workload)
    assert shown.returncode == 0 and "200 MiB arena" in shown.stdout
    assert program("plan", workload, "--capacity", "1MiB").returncode == 1
    assert program("plan", "/none").returncode == 2
    assert program("--version").stdout.strip() == f"vramkit {vramkit.__version__}"
    assert program("nonsense").returncode == 2
    assert Path(sys.prefix, "bin", "vramkit").exists()
