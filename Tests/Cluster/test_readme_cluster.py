"""The cluster that README.md shows, from its start to its end, as it is written there."""

import os
import re
import subprocess

import pytest

from apus_process import BINARY, ROOT

SCRIPT = ROOT / "Tests/Cluster/three.sh"


def test_the_cluster_of_the_readme(tmp_path):
    """Its ports are fixed, so that it needs them free."""
    blocks = re.findall(r"^```sh cluster\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    # The same script, but with the binary that is tested.
    text = "".join(blocks).replace("make cluster-down", f"'{SCRIPT}' down").replace("make cluster", f"'{SCRIPT}' up")
    environment = {**os.environ, "APUS": str(BINARY), "PATH": f"{BINARY.parent}:{os.environ['PATH']}"}
    try:
        done = subprocess.run(["bash", "-euxo", "pipefail", "-c", text], cwd=tmp_path, env=environment, capture_output=True, text=True,
                              timeout=240)
    finally:
        subprocess.run([SCRIPT, "down"], cwd=tmp_path, env=environment, timeout=120)
    if "in use" in done.stderr:
        pytest.skip("a port of the cluster is in use")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert ": healthy" in done.stdout and re.search(r"^\s*2000$", done.stdout, re.MULTILINE), done.stdout
    assert "exit 1: 0 is healthy" in done.stdout and "its process is dead" in done.stdout
