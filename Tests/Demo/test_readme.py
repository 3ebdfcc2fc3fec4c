"""The commands that README.md and ARCHITECTURE.md show are run here, as they are written there."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from apus_process import BINARY, ROOT

DOCUMENTS = ["README.md", "ARCHITECTURE.md"]


def blocks(document):
    """The shell blocks of a document. A block marked `sh no-test` is one that installs or starts something for good."""
    text = (ROOT / document).read_text()
    return re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_demo():
    done = subprocess.run([ROOT / "Tests/Demo/demo.sh"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "came back as they were sent" in done.stdout and "exit 0" in done.stdout


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_of(document, start, tmp_path):
    """Runs every `sh` block in order against one broker, with `apus` on the PATH; each must succeed."""
    running = start(settings={"offsets.topic.replication.factor": "1"})
    environment = {
        **os.environ,
        "APUS_BOOTSTRAP": running.address,
        "PATH": f"{BINARY.parent}:{os.environ['PATH']}",
    }
    assert document != "README.md" or blocks(document), "README.md shows no command"
    for block in blocks(document):
        block = block.replace("127.0.0.1:9092", running.address)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def test_make_targets_named_in_the_readme_exist():
    named = set(re.findall(r"\bmake ([a-z]+)(?:`|  +#)", (ROOT / "README.md").read_text()))
    assert {"demo", "test", "run", "bench"} <= named
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= known


def test_help_of_every_command():
    top = subprocess.run([BINARY, "--help"], capture_output=True, text=True, timeout=20)
    assert top.returncode == 0
    for command in ["start", "topic", "produce", "consume", "log", "bench"]:
        assert re.search(rf"^  {command}\b", top.stdout, re.MULTILINE), command
        help = subprocess.run([BINARY, command, "--help"], capture_output=True, text=True, timeout=20)
        assert help.returncode == 0 and "USAGE:" in help.stdout and "OVERVIEW:" in help.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    script = subprocess.run([BINARY, f"--generate-completion-script={shell}"], capture_output=True, text=True, timeout=20)
    assert script.returncode == 0 and "produce" in script.stdout
