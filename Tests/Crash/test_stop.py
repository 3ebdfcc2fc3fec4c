"""Stopping: under load, twice, after deletions. The mark of a clean shutdown is there, and nothing acknowledged is missing."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from apus_process import BINARY, apus
from test_kill import Load, payload, read_all


def marked_as_clean(running):
    return (Path(running.data) / ".kafka_cleanshutdown").exists()


@pytest.mark.parametrize("policy", ["fsync", "os"])
def test_a_stop_under_load_is_clean(start, topic, policy):
    running = start({"flush.policy": policy})
    apus("topic", "create", topic, "--partitions", 4, "--bootstrap", running.address)
    loads = [Load(running.address, topic, partition, idempotent=True) for partition in range(4)]
    for _ in range(3):
        time.sleep(0.7)
        assert running.stop() == 0
        assert marked_as_clean(running), running.log_text()
        running.start()
        assert "log recovered" not in running.log_text()
    for load in loads:
        load.stop()
    for partition, load in enumerate(loads):
        values = [value for _, value in read_all(running.address, topic, partition)]
        assert values == [payload(number) for number in range(load.sent)]


def test_a_topic_deleted_under_load_does_not_spoil_the_stop(start, topic):
    running = start()
    for name in [topic, topic + "-stays"]:
        apus("topic", "create", name, "--bootstrap", running.address)
    producer = subprocess.Popen(
        [BINARY, "bench", "produce", "--topic", topic, "--duration", "3s", "--acks", "all", "--connections", "2",
         "--bootstrap", running.address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    apus("topic", "delete", topic, "--bootstrap", running.address)
    assert producer.wait(30) == 1, "the benchmark should say that its topic is gone"
    apus("produce", topic + "-stays", "--bootstrap", running.address, input="still served\n")
    assert running.stop() == 0
    assert marked_as_clean(running), running.log_text()


def test_two_signals_stop_as_cleanly_as_one(start, topic):
    for gap in [0, 0.005, 0.05]:
        running = start(name=f"data-{gap}")
        apus("produce", topic, "--bootstrap", running.address, input="one\n")
        running.process.send_signal(signal.SIGTERM)
        time.sleep(gap)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0, running.log_text()
        assert marked_as_clean(running)


def test_a_server_properties_of_kafka_is_taken(tmp_path):
    """What Kafka's own distribution configures for a single node, in our words: combined roles and a controller's listener."""
    file = tmp_path / "server.properties"
    file.write_text(
        "# a node that is broker and controller\n"
        "process.roles=broker,controller\n"
        "node.id=7\n"
        "controller.quorum.voters=7@localhost:19093\n"
        "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:19093\n"
        "inter.broker.listener.name=PLAINTEXT\n"
        "advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:19093\n"
        "controller.listener.names=CONTROLLER\n"
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL\n"
        "num.network.threads=3\nnum.io.threads=8\nsocket.send.buffer.bytes=102400\nsocket.request.max.bytes=104857600\n"
        f"log.dirs={tmp_path}/data\n"
        "num.partitions=1\noffsets.topic.replication.factor=1\nlog.retention.hours=168\nlog.segment.bytes=1073741824\n"
    )
    process = subprocess.Popen([BINARY, "start", "--config", file], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("apus ready node=7 listen="), process.stderr.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()


@pytest.mark.parametrize(
    "arguments, wanted",
    [
        (["--set", "log.retention.hour=1"], "log.retention.hours"),
        (["--set", "num.partitions=many"], "num.partitions"),
        (["--config", "/nonexistent/server.properties"], "/nonexistent/server.properties"),
        (["--listen", "nowhere"], "nowhere"),
        (["--data", "/proc/apus"], "/proc/apus"),
    ],
)
def test_bad_settings_are_named(tmp_path, arguments, wanted):
    data = [] if "--data" in arguments else ["--data", tmp_path / "data"]
    done = apus("start", *data, *arguments, check=False, timeout=20)
    assert done.returncode in (64, 69, 74, 78) and done.stdout == ""
    assert wanted in done.stderr and len(done.stderr.strip().splitlines()) <= 5
