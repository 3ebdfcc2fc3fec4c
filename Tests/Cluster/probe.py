"""Clients that write to every partition all the time, and remember what became of each record."""

import bisect
import json
import threading
import time
from array import array

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

# What users set. `default` is librdkafka's own but for acks=all, which is its default as well. `idempotent` adds what makes each record be
# there once and in order. `tuned` does not wait long before it tries again: librdkafka's own waits are 100 ms before a retry, and 100 ms and
# up before it connects again.
CLIENTS = {
    "default": {"acks": "all"},
    "idempotent": {"acks": "all", "enable.idempotence": True},
    "tuned": {
        "acks": "all", "enable.idempotence": True, "linger.ms": 0, "retry.backoff.ms": 5, "retry.backoff.max.ms": 50,
        "reconnect.backoff.ms": 5, "reconnect.backoff.max.ms": 50, "topic.metadata.refresh.fast.interval.ms": 20,
    },
}

INTERVAL = 0.005


class Client:
    """A producer, for one partition or several."""

    def __init__(self, bootstrap, settings):
        self.retries = 0
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "message.timeout.ms": 120_000, "statistics.interval.ms": 500, "stats_cb": self.statistics,
            "error_cb": lambda error: None, "log_level": 0, **settings,
        })

    def statistics(self, text):
        brokers = json.loads(text)["brokers"].values()
        self.retries = sum(broker["txretries"] for broker in brokers)


class Partition:
    """What a client wrote to one partition."""

    def __init__(self, client, topic, number):
        self.producer, self.topic, self.number = client.producer, topic, number
        # By the record's number.
        self.sent = array("d")
        # When it was acknowledged; 0: not yet.
        self.acknowledged = array("d")
        self.offsets = array("q")
        self.errors = []

    def send(self):
        number = len(self.sent)
        self.acknowledged.append(0)
        self.offsets.append(-1)
        # Last: other threads go by its length.
        self.sent.append(time.monotonic())

        def delivered(error, message):
            if error is None:
                # The library's own measure: this runs when somebody polls, which may be later.
                self.acknowledged[number] = self.sent[number] + message.latency()
                self.offsets[number] = message.offset()
            else:
                self.errors.append((number, str(error)))

        try:
            self.producer.produce(self.topic, b"%d" % number, partition=self.number, on_delivery=delivered)
        except BufferError:
            self.errors.append((number, "the client's queue is full"))

    def recovered_since(self, moment):
        """Whether a record that was sent after `moment` has been acknowledged."""
        for number in range(len(self.sent) - 1, -1, -1):
            if self.sent[number] <= moment:
                return False
            if self.acknowledged[number] > 0:
                return True
        return False

    def longest_gap(self, begin, end):
        """The longest time within [begin, end] in which nothing was acknowledged, in seconds. A gap counts whole that is only partly in it."""
        # What was sent long before was answered long before: message.timeout.ms is twice this.
        first = bisect.bisect_left(self.sent, begin - 60)
        moments = sorted(moment for moment in self.acknowledged[first:] if moment > 0)
        longest, before = 0.0, None
        for moment in moments:
            if before is not None and moment > begin and before < end:
                longest = max(longest, moment - before)
            before = moment
        # Nothing more came: it lasts until now.
        if before is None or before < end:
            longest = max(longest, end - (before if before is not None else begin))
        return longest


class Probe:
    """One thread writes a record to each partition every 5 ms, by one client for all of them or by several."""

    def __init__(self, bootstrap, topic, partitions, settings, clients=1):
        self.clients = [Client(bootstrap, settings) for _ in range(clients)]
        self.partitions = [Partition(self.clients[number % clients], topic, number) for number in range(partitions)]
        self.late = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self, timeout=60):
        self.thread.start()
        began = time.monotonic()
        while not all(each.recovered_since(began) for each in self.partitions):
            if time.monotonic() - began > timeout:
                raise RuntimeError(f"nothing was acknowledged within {timeout} s: {self.errors()[:3]}")
            time.sleep(0.05)
        return self

    def run(self):
        due = time.monotonic()
        while not self.stopping.is_set():
            for each in self.partitions:
                each.send()
            for client in self.clients:
                client.producer.poll(0)
            due += INTERVAL
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            else:
                # The machine had no time for us. A burst to make up for it would say nothing.
                self.late += 1
                due = time.monotonic()

    def wait_recovered(self, moment, partitions=None, timeout=90):
        """Waits until every partition has acknowledged something sent after `moment`."""
        deadline = time.monotonic() + timeout
        left = list(partitions if partitions is not None else range(len(self.partitions)))
        while left:
            left = [number for number in left if not self.partitions[number].recovered_since(moment)]
            if left and time.monotonic() > deadline:
                raise AssertionError(f"partitions {left} did not come back within {timeout} s")
            if left:
                time.sleep(0.01)

    def retries(self):
        return sum(each.retries for each in self.clients)

    def errors(self):
        return [(each.number, *error) for each in self.partitions for error in each.errors]

    def stop(self):
        self.stopping.set()
        self.thread.join(30)
        for client in self.clients:
            left = client.producer.flush(120)
            if left:
                raise AssertionError(f"{left} records were neither acknowledged nor refused")


def read_all(bootstrap, topic, partition, timeout=60):
    """The records of a partition, committed ones, as (offset, number)."""
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False, "enable.partition.eof": True,
        "auto.offset.reset": "error", "log_level": 0,
    })
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
    records, deadline = [], time.monotonic() + timeout
    try:
        while True:
            for message in consumer.consume(10_000, 1.0):
                if message.error() is None:
                    records.append((message.offset(), int(message.value())))
                elif message.error().code() == -191:  # the end of the partition
                    return records
                elif not message.error().retriable() and message.error().fatal():
                    raise KafkaException(message.error())
                deadline = time.monotonic() + timeout
            if time.monotonic() > deadline:
                raise AssertionError(f"partition {partition}: nothing within {timeout} s after {len(records)} records")
    finally:
        consumer.close()


def check(probe, bootstrap, topic, once):
    """Holds what the cluster has against what it acknowledged. Returns counts; raises at the first violation.

    once: the clients were idempotent, so that every record is there once and in the order in which it was sent.
    """
    totals = {"sent": 0, "acknowledged": 0, "stored": 0, "duplicates": 0, "failed": 0, "reordered": 0}
    for each in probe.partitions:
        records = read_all(bootstrap, topic, each.number)
        at = dict(records)
        numbers = [number for _, number in records]
        first_seen = list(dict.fromkeys(numbers))
        acknowledged = [number for number, moment in enumerate(each.acknowledged) if moment > 0]
        stored = set(numbers)
        lost = [number for number in acknowledged if number not in stored]
        assert not lost, f"partition {each.number}: {len(lost)} acknowledged records are lost, such as {lost[:5]}"
        for number in acknowledged:
            # The offset of a duplicate is not told when the first answer was lost.
            if each.offsets[number] >= 0:
                found = at.get(each.offsets[number])
                assert found == number, f"partition {each.number}: record {number} was acknowledged at {each.offsets[number]}, where {found} is"
        offsets = [offset for offset, _ in records]
        assert offsets == sorted(set(offsets)), f"partition {each.number}: the consumer saw offsets twice or out of order"
        reordered = sum(1 for before, after in zip(first_seen, first_seen[1:]) if after < before)
        duplicates = len(numbers) - len(first_seen)
        if once:
            assert duplicates == 0, f"partition {each.number}: {duplicates} records are there twice"
            assert reordered == 0, f"partition {each.number}: records are out of order in {reordered} places"
        totals["sent"] += len(each.sent)
        totals["acknowledged"] += len(acknowledged)
        totals["stored"] += len(numbers)
        totals["duplicates"] += duplicates
        totals["failed"] += len(each.errors)
        totals["reordered"] += reordered
    return totals
