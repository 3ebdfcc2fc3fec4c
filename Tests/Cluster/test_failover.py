"""A few rounds of each fault of `failover.py`: that nothing acknowledged is lost, and that the times are not absurd. The measurement
itself, with many rounds, is `python Tests/Cluster/failover.py`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from failover import FAULTS
from lab import unavailable

ROUNDS = int(os.environ.get("FAILOVER_ROUNDS", 2))
# Of one partition, in any round. Far above what is measured: a loaded machine must not fail the test.
LIMIT_MS = {"cut": 15_000, "cut-leader-and-controller": 15_000, "sigstop": 15_000}


def run(tmp_path, *arguments):
    out = tmp_path / "failover.json"
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("failover.py")), "--rounds", str(ROUNDS), "--json", str(out), *arguments],
        capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    return json.loads(out.read_text())["results"][0]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost(fault, tmp_path):
    if FAULTS[fault].needs_lab and (reason := unavailable()):
        pytest.skip(reason)
    result = run(tmp_path, "--faults", fault)
    assert result["rounds"] == ROUNDS and not result["errors"]
    assert result["unavailable_ms"]["max"] < LIMIT_MS.get(fault, 10_000)


def test_one_broker(tmp_path):
    result = run(tmp_path, "--single")
    assert not result["errors"] and result["records"]["acknowledged"] > 0
    assert result["unavailable_ms"]["p50"] >= result["restart_ms"]["p50"] * 0.5
