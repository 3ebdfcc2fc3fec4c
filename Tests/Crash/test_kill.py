"""`kill -9` under load: what was acknowledged is there, in order, exactly as sent."""

import os
import random
import re
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

from apus_process import apus

ROUNDS = int(os.environ.get("KILL_ROUNDS", 20))


def payload(number):
    """Bytes that can be told from any other record's, of varying length."""
    return b"%d:" % number + random.Random(number).randbytes(number % 400)


def read_all(address, topic, partition):
    consumer = Consumer({"bootstrap.servers": address, "group.id": "none", "enable.auto.commit": False,
                         "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
    records = []
    try:
        while True:
            message = consumer.poll(20)
            assert message is not None, f"nothing within 20 s after {len(records)} records"
            if message.error():
                if message.error().code() == -191:  # the end of the partition
                    return records
                raise KafkaException(message.error())
            records.append((message.offset(), message.value()))
    finally:
        consumer.close()


class Load:
    """One producer that sends numbered records for as long as it is let, and remembers what was acknowledged where."""

    def __init__(self, address, topic, partition, idempotent):
        self.acknowledged = {}
        self.failed = []
        self.sent = 0
        self.topic, self.partition = topic, partition
        self.producer = Producer({
            "bootstrap.servers": address, "acks": "all", "enable.idempotence": idempotent, "linger.ms": 1,
            "max.in.flight.requests.per.connection": 5 if idempotent else 1, "message.timeout.ms": 120_000,
            "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100, "retry.backoff.ms": 20, "batch.num.messages": 100,
        })
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping.is_set():
            if len(self.producer) > 2_000:
                self.producer.poll(0.01)
                continue
            number = self.sent
            self.producer.produce(self.topic, payload(number), partition=self.partition, on_delivery=self.delivered(number))
            self.sent += 1
            self.producer.poll(0)

    def delivered(self, number):
        def callback(error, message):
            if error is None:
                self.acknowledged[number] = message.offset()
            else:
                self.failed.append((number, str(error)))
        return callback

    def stop(self):
        self.stopping.set()
        self.thread.join(30)
        assert self.producer.flush(90) == 0


@pytest.mark.timeout(900)
@pytest.mark.parametrize("idempotent", [True, False], ids=["idempotent", "plain"])
def test_kill_under_load(start, topic, idempotent):
    generator = random.Random(11)
    # Small segments, so that the kills also fall on rolls.
    running = start({"flush.policy": "fsync", "log.segment.bytes": 1 << 20})
    apus("topic", "create", topic, "--partitions", 2, "--bootstrap", running.address)
    loads = [Load(running.address, topic, partition, idempotent) for partition in range(2)]
    for _ in range(ROUNDS):
        before = sum(len(load.acknowledged) for load in loads)
        deadline = time.monotonic() + 30
        while sum(len(load.acknowledged) for load in loads) < before + 500 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert sum(len(load.acknowledged) for load in loads) > before, running.log_text()
        time.sleep(generator.random() * 0.3)
        running.kill()
        running.start()
    for load in loads:
        load.stop()
    for partition, load in enumerate(loads):
        records = read_all(running.address, topic, partition)
        assert [offset for offset, _ in records] == list(range(len(records)))
        held = {offset: value for offset, value in records}
        for number, offset in load.acknowledged.items():
            # A duplicate is acknowledged with offset -1 by librdkafka when the first answer was lost.
            if offset >= 0:
                assert held.get(offset) == payload(number), f"record {number}, acknowledged at offset {offset}"
        numbers = [int(value.split(b":", 1)[0]) for _, value in records]
        assert all(value == payload(number) for number, (_, value) in zip(numbers, records))
        assert not load.failed, load.failed[:3]
        if idempotent:
            assert numbers == list(range(load.sent))
        else:
            assert set(numbers) == set(range(load.sent))
            first_seen = list(dict.fromkeys(numbers))
            assert first_seen == sorted(first_seen)
        print(f"partition {partition}: {load.sent} sent, {len(records)} stored, {len(load.acknowledged)} acknowledged")
    assert running.stop() == 0


def test_clean_stop_needs_no_recovery(start, topic):
    running = start()
    apus("produce", topic, "--bootstrap", running.address, input="one\ntwo\n")
    assert running.stop() == 0
    assert (Path(running.data) / ".kafka_cleanshutdown").exists()
    running.start()
    assert not (Path(running.data) / ".kafka_cleanshutdown").exists()
    out = apus("consume", topic, "--from-beginning", "--exit-at-end", "--bootstrap", running.address).stdout
    assert out == "one\ntwo\n"


def test_a_torn_tail_is_cut_and_said(start, topic):
    running = start()
    apus("produce", topic, "--bootstrap", running.address, input="one\ntwo\n")
    running.kill()
    (segment,) = Path(running.data).glob(f"{topic}-0/*.log")
    good = segment.read_bytes()
    segment.write_bytes(good + good[:50])
    running.start()
    out = apus("consume", topic, "--from-beginning", "--exit-at-end", "--bootstrap", running.address).stdout
    assert out == "one\ntwo\n"
    assert re.search(rf"log recovered .*partition={topic}-0 removedBytes=50 ", running.log_text()), running.log_text()
    apus("produce", topic, "--bootstrap", running.address, input="three\n")
    out = apus("consume", topic, "--from-beginning", "--exit-at-end", "--bootstrap", running.address).stdout
    assert out == "one\ntwo\nthree\n"


def test_a_corrupt_index_is_rebuilt(start, topic):
    running = start()
    lines = "".join(f"{n:04} {'-' * 200}\n" for n in range(2_000))
    apus("produce", topic, "--bootstrap", running.address, input=lines)
    assert running.stop() == 0
    for suffix in ["index", "timeindex"]:
        for file in Path(running.data).glob(f"{topic}-0/*.{suffix}"):
            file.write_bytes(b"\xff" * 1_201)
    running.start()
    out = apus("consume", topic, "--offset", 1_500, "--exit-at-end", "--bootstrap", running.address).stdout
    assert out.splitlines() == lines.splitlines()[1_500:]


def test_a_second_process_on_the_directory_is_refused(start, topic):
    running = start()
    second = apus("start", "--data", running.data, "--listen", "127.0.0.1:0", check=False, timeout=20)
    assert second.returncode not in (0, -6, -11)
    assert "another process" in second.stderr and str(running.data) in second.stderr
    assert second.stdout == ""
    apus("produce", topic, "--bootstrap", running.address, input="fine\n")


def test_a_full_disk_refuses_and_keeps(tmp_path, start, topic):
    """A file system of 24 MiB: what was acknowledged before it was full stays readable, and space makes it work again."""
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(
            "not tested: a disk that is full needs the right to mount a small tmpfs (root, or CAP_SYS_ADMIN), which is missing here: "
            + mounted.stderr.decode().strip()
        )
    try:
        running = start(name="small/data")
        apus("topic", "create", topic, "--bootstrap", running.address)
        acknowledged, refused = {}, []

        def delivered(number):
            def callback(error, message):
                if error is None:
                    acknowledged[number] = message.offset()
                else:
                    refused.append(error)
            return callback

        producer = Producer({"bootstrap.servers": running.address, "acks": "all", "message.timeout.ms": 5_000,
                             "linger.ms": 0, "batch.num.messages": 1})
        for number in range(40):
            producer.produce(topic, bytes([number]) * 900_000, partition=0, on_delivery=delivered(number))
            producer.poll(0.01)
        producer.flush(30)
        assert acknowledged and refused
        assert running.process.poll() is None, running.log_text()
        assert "no space" in running.log_text().lower()
        held = dict(read_all(running.address, topic, 0))
        assert all(held[offset] == bytes([number]) * 900_000 for number, offset in acknowledged.items())
        running.kill()
    finally:
        subprocess.run(["umount", "-l", str(small)], capture_output=True)
