"""A broker whose disk fails: nothing is acknowledged on top of it, the controller is told, others lead, and the process ends (KIP-858)."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("failing_disk.c")


@pytest.fixture(scope="session")
def failing_disk(tmp_path_factory):
    """The library that makes syncs fail; skipped where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("clang")
    if not compiler:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("failing") / "failing_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def test_others_lead_when_a_disk_fails(cluster, topic, tmp_path, failing_disk):
    trigger = tmp_path / "broken"
    wrapper = ["env", f"LD_PRELOAD={failing_disk}", f"FAILING_DISK_TRIGGER={trigger}"]
    three = cluster(wrappers=[wrapper, [], []])
    three.apus("topic", "create", topic, "--partitions", 3, "--replication-factor", 3, "--config", "min.insync.replicas=2")
    three.apus("produce", topic, input="".join(f"before {number}\n" for number in range(300)))
    three.wait_replicated(topic)
    trigger.touch()
    began = time.monotonic()
    # Through the failure: what is acknowledged is kept by the others.
    three.apus("produce", topic, input="".join(f"after {number}\n" for number in range(300)))
    took = time.monotonic() - began
    assert three.nodes[1].process.wait(20) != 0
    log = three.nodes[1].log_text()
    assert "log directory failed" in log and "no other to serve from" in log, log
    assert took < 10, f"producing through the failure took {took:.1f} s"
    found = three.partitions(topic)
    assert all(each["leader"] in (2, 3) and 1 not in each["isr"] for each in found.values()), found
    led = next(each["partition"] for each in found.values() if each["replicas"][0] == 1)
    told = json.loads(three.apus("cluster", "explain", topic, led, "--json").stdout)["events"]
    fencings = [each for each in told if each["event"] == "broker" and each["change"] == "fenced" and each["node"] == 1]
    assert fencings[-1]["cause"] == "directoriesFailed" and "its log directory failed" in fencings[-1]["text"]
    moved = [each for each in told if each["event"] == "partition" and each["reason"] == "logDirectoryFailed"]
    assert moved and moved[-1]["before"]["leader"] == 1 and "a log directory failed on broker 1" in moved[-1]["text"]
    # Put right, it takes part again and has everything.
    trigger.unlink()
    three.nodes[1].start()
    three.wait_replicated(topic)
    records = three.apus("consume", topic, "--from-beginning", "--exit-at-end").stdout.splitlines()
    assert sorted(records) == sorted([f"before {n}" for n in range(300)] + [f"after {n}" for n in range(300)])


def test_a_single_broker_ends_and_comes_back(start, topic, tmp_path, failing_disk):
    trigger = tmp_path / "broken"
    running = start(environment={"LD_PRELOAD": str(failing_disk), "FAILING_DISK_TRIGGER": str(trigger)})
    from apus_process import apus
    apus("topic", "create", topic, "--bootstrap", running.address)
    apus("produce", topic, "--bootstrap", running.address, input="kept\n")
    trigger.touch()
    refused = apus("produce", topic, "--bootstrap", running.address, "--timeout", "3s", input="lost\n", check=False)
    assert refused.returncode != 0
    assert running.process.wait(20) not in (0, None)
    trigger.unlink()
    running.start()
    records = apus("consume", topic, "--from-beginning", "--exit-at-end", "--bootstrap", running.address).stdout.splitlines()
    assert records[0] == "kept"
