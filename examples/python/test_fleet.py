"""The example over Ray, on this machine alone: it answers, goes on where it was, and asks only what is new."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray")
parquet = pytest.importorskip("pyarrow.parquet")

HERE = Path(__file__).parent


def fleet(folder, *traffic):
    command = [sys.executable, HERE / "fleet.py", "--models", HERE.parent / "llama-3.1-8b", "--cards", "24GiB", "80GiB"]
    done = subprocess.run([*command, "--traffic", *traffic, "--out", folder], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[0]


def test_a_run_goes_on_where_it_was(tmp_path):
    assert fleet(tmp_path, "chat=500:0.004") == "2 asked, 0 there before"
    rows = parquet.read_table(tmp_path / "summary.parquet").to_pylist()
    assert [(row["card"], row["fits"], row["error"]) for row in rows] == [("24GiB", True, None), ("80GiB", True, None)]
    assert 0 < rows[0]["max_batch"] < rows[1]["max_batch"]
    # One answer is lost, as when a run is ended; another traffic is new.
    next((tmp_path / "parts").glob("*.parquet")).unlink()
    assert fleet(tmp_path, "chat=500:0.004", "long=4000:0.002") == "3 asked, 1 there before"
