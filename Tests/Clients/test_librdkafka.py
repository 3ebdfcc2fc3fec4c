"""confluent-kafka (librdkafka) against a broker: what its users do every day, unchanged."""

import re
import time

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from apus_process import apus

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def admin_for(broker):
    return AdminClient({"bootstrap.servers": broker.address})


def create(broker, topic, partitions=1, config=None):
    admin = admin_for(broker)
    admin.create_topics([NewTopic(topic, partitions, 1, config=config or {})])[topic].result(30)


def producer_for(broker, **settings):
    return Producer({"bootstrap.servers": broker.address, **settings})


def read(broker, topic, count, partition=0, offset=OFFSET_BEGINNING, seconds=60, **settings):
    """The first `count` messages from `offset`, or a failure that says how many came."""
    consumer = Consumer(
        {"bootstrap.servers": broker.address, "group.id": "none", "enable.auto.commit": False, "auto.offset.reset": "error",
         **settings}
    )
    consumer.assign([TopicPartition(topic, partition, offset)])
    messages, deadline = [], time.monotonic() + seconds
    try:
        while len(messages) < count and time.monotonic() < deadline:
            for message in consumer.consume(min(count - len(messages), 10_000), 1.0):
                if message.error():
                    raise KafkaException(message.error())
                messages.append(message)
    finally:
        consumer.close()
    assert len(messages) == count, f"{len(messages)} of {count} messages after {seconds} s"
    return messages


def send(producer, topic, items, **more):
    """Produces (key, value, headers) items and returns the offset each was acknowledged with."""
    failures, offsets = [], {}

    def delivered(position):
        def callback(error, message):
            if error is None:
                offsets[position] = message.offset()
            else:
                failures.append(error)
        return callback

    for position, (key, value, headers) in enumerate(items):
        producer.produce(topic, value, key, headers=headers, on_delivery=delivered(position), **more)
        producer.poll(0)
    assert producer.flush(60) == 0
    assert not failures, failures[:3]
    return [offsets[position] for position in range(len(items))]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_every_codec_and_acks(broker, topic, codec, acks):
    create(broker, topic)
    items = [(f"key-{n}".encode(), f"value {n} ".encode() * 20, [("n", str(n).encode())]) for n in range(500)]
    producer = producer_for(broker, **{"compression.type": codec, "acks": acks, "linger.ms": 20})
    offsets = send(producer, topic, items, partition=0)
    if acks != "0":
        assert offsets == list(range(500))
    messages = read(broker, topic, 500)
    assert [(m.key(), m.value(), m.headers()) for m in messages] == items
    assert [m.offset() for m in messages] == list(range(500))


def test_idempotent_producer_keeps_order(broker, topic):
    create(broker, topic)
    producer = producer_for(broker, **{"enable.idempotence": True, "linger.ms": 1, "batch.num.messages": 10})
    items = [(None, f"{n}".encode(), None) for n in range(2_000)]
    assert send(producer, topic, items, partition=0) == list(range(2_000))
    assert [m.value() for m in read(broker, topic, 2_000)] == [value for _, value, _ in items]


def test_nulls_tombstones_and_headers(broker, topic):
    create(broker, topic)
    items = [
        (None, None, None),
        (b"key", None, None),
        (None, b"value", None),
        (b"", b"", [("empty", b""), ("null", None), ("twice", b"1"), ("twice", b"2")]),
        ("ключ".encode(), "値".encode(), [("ü", bytes(range(256)))]),
    ]
    send(producer_for(broker), topic, items, partition=0)
    assert [(m.key(), m.value(), m.headers()) for m in read(broker, topic, len(items))] == items


def test_record_sizes_from_one_byte_to_20_mib(broker, topic):
    create(broker, topic, config={"max.message.bytes": str(24 << 20)})
    sizes = [1, 100, 1 << 10, 64 << 10, 1 << 20, (1 << 20) + 1, 5 << 20, 20 << 20]
    values = [bytes([n & 0xFF]) * size for n, size in enumerate(sizes, 1)]
    producer = producer_for(broker, **{"message.max.bytes": 24 << 20})
    send(producer, topic, [(None, value, None) for value in values], partition=0)
    messages = read(
        broker, topic, len(values),
        **{"fetch.message.max.bytes": 1 << 20, "receive.message.max.bytes": 64 << 20, "fetch.max.bytes": 50 << 20,
           "message.max.bytes": 24 << 20},
    )
    assert [len(m.value()) for m in messages] == sizes
    assert all(m.value() == value for m, value in zip(messages, values))


def test_record_over_the_topics_limit_is_refused(broker, topic):
    create(broker, topic, config={"max.message.bytes": "1000"})
    producer = producer_for(broker)
    failures = []
    producer.produce(topic, b"x" * 2_000, partition=0, on_delivery=lambda error, _: failures.append(error))
    producer.flush(30)
    assert failures[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    send(producer, topic, [(None, b"small", None)], partition=0)
    assert [m.value() for m in read(broker, topic, 1)] == [b"small"]


def test_one_million_records_round_trip(broker, topic):
    create(broker, topic)
    producer = producer_for(
        broker, **{"linger.ms": 50, "queue.buffering.max.messages": 2_000_000, "compression.type": "lz4"}
    )
    failures = []
    for n in range(1_000_000):
        producer.produce(topic, b"record %d" % n, b"%d" % (n % 1000), partition=0,
                         on_delivery=lambda error, _: error and failures.append(error))
        if n % 10_000 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0
    assert not failures, failures[:3]
    for n, message in enumerate(read(broker, topic, 1_000_000, seconds=120)):
        assert (message.offset(), message.value(), message.key()) == (n, b"record %d" % n, b"%d" % (n % 1000))


def test_seek_by_timestamp(broker, topic):
    create(broker, topic)
    producer = producer_for(broker, **{"linger.ms": 0})
    base = 1_700_000_000_000
    for n in range(300):
        producer.produce(topic, f"{n}".encode(), partition=0, timestamp=base + n * 1_000)
        if n % 7 == 0:
            producer.flush(30)
    producer.flush(30)
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "none"})
    for time_asked, wanted in [(base - 1, 0), (base, 0), (base + 1, 1), (base + 123_000, 123), (base + 123_456, 124),
                               (base + 299_000, 299)]:
        found = consumer.offsets_for_times([TopicPartition(topic, 0, time_asked)], 30)[0]
        assert found.offset == wanted, time_asked
    assert consumer.offsets_for_times([TopicPartition(topic, 0, base + 299_001)], 30)[0].offset == -1
    assert consumer.get_watermark_offsets(TopicPartition(topic, 0), 30) == (0, 300)
    consumer.close()


def test_list_offsets_kinds(broker, topic):
    create(broker, topic)
    producer = producer_for(broker)
    base = 1_700_000_000_000
    for n, stamp in enumerate([base, base + 5_000, base + 2_000]):
        producer.produce(topic, f"{n}".encode(), partition=0, timestamp=stamp)
        producer.flush(30)
    admin = admin_for(broker)
    partition = TopicPartition(topic, 0)

    def ask(spec):
        return admin.list_offsets({partition: spec})[partition].result(30)

    assert ask(OffsetSpec.earliest()).offset == 0
    assert ask(OffsetSpec.latest()).offset == 3
    newest = ask(OffsetSpec.max_timestamp())
    assert (newest.offset, newest.timestamp) == (1, base + 5_000)
    assert ask(OffsetSpec.for_timestamp(base + 1_000)).offset == 1


def test_delete_records(broker, topic):
    create(broker, topic)
    send(producer_for(broker), topic, [(None, f"{n}".encode(), None) for n in range(100)], partition=0)
    admin = admin_for(broker)
    partition = TopicPartition(topic, 0, 60)
    assert admin.delete_records([partition])[partition].result(30).low_watermark == 60
    assert [m.value() for m in read(broker, topic, 40)] == [f"{n}".encode() for n in range(60, 100)]
    with pytest.raises(KafkaException) as failure:
        beyond = TopicPartition(topic, 0, 1_000)
        admin.delete_records([beyond])[beyond].result(30)
    assert failure.value.args[0].code() == KafkaError.OFFSET_OUT_OF_RANGE


def test_offset_out_of_range_is_said(broker, topic):
    create(broker, topic)
    send(producer_for(broker), topic, [(None, b"only", None)], partition=0)
    with pytest.raises(KafkaException) as failure:
        read(broker, topic, 1, offset=17, seconds=10)
    assert failure.value.args[0].code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)


def test_configs_described_and_altered(broker, topic):
    create(broker, topic, config={"retention.ms": "86400000", "compression.type": "zstd"})
    admin = admin_for(broker)

    def described():
        resource = ConfigResource(ResourceType.TOPIC, topic)
        return admin.describe_configs([resource])[resource].result(30)

    before = described()
    assert before["retention.ms"].value == "86400000"
    assert before["compression.type"].value == "zstd"
    assert before["cleanup.policy"].value == "delete" and before["cleanup.policy"].is_default

    change = ConfigResource(
        ResourceType.TOPIC, topic,
        incremental_configs=[
            ConfigEntry("retention.ms", "3600000", incremental_operation=AlterConfigOpType.SET),
            ConfigEntry("compression.type", None, incremental_operation=AlterConfigOpType.DELETE),
            ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND),
        ],
    )
    admin.incremental_alter_configs([change])[change].result(30)
    after = described()
    assert after["retention.ms"].value == "3600000"
    assert after["compression.type"].value == "producer"
    assert after["cleanup.policy"].value == "delete,compact"

    wrong = ConfigResource(
        ResourceType.TOPIC, topic,
        incremental_configs=[ConfigEntry("retention.ms", "soon", incremental_operation=AlterConfigOpType.SET)],
    )
    with pytest.raises(KafkaException) as failure:
        admin.incremental_alter_configs([wrong])[wrong].result(30)
    assert failure.value.args[0].code() == KafkaError.INVALID_CONFIG
    assert "retention.ms" in failure.value.args[0].str()
    assert described()["retention.ms"].value == "3600000"


def test_partitions_are_added(broker, topic):
    create(broker, topic, partitions=2)
    admin = admin_for(broker)
    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(30)
    assert sorted(admin.list_topics(topic, timeout=30).topics[topic].partitions) == [0, 1, 2, 3, 4]
    with pytest.raises(KafkaException) as failure:
        admin.create_partitions([NewPartitions(topic, 3)])[topic].result(30)
    assert failure.value.args[0].code() == KafkaError.INVALID_PARTITIONS
    send(producer_for(broker), topic, [(None, b"in the new one", None)], partition=4)
    assert read(broker, topic, 1, partition=4)[0].value() == b"in the new one"


def test_topics_are_refused_with_kafkas_errors(broker, topic):
    admin = admin_for(broker)
    create(broker, topic)
    for name, partitions, replicas, wanted in [
        (topic, 1, 1, KafkaError.TOPIC_ALREADY_EXISTS),
        ("a/b", 1, 1, KafkaError.TOPIC_EXCEPTION),
        ("..", 1, 1, KafkaError.TOPIC_EXCEPTION),
        ("x" * 250, 1, 1, KafkaError.TOPIC_EXCEPTION),
        (topic + "-r", 1, 3, KafkaError.INVALID_REPLICATION_FACTOR),
    ]:
        with pytest.raises(KafkaException) as failure:
            admin.create_topics([NewTopic(name, partitions, replicas)])[name].result(30)
        assert failure.value.args[0].code() == wanted, name
    checked = admin.create_topics([NewTopic(topic + "-v", 3, 1)], validate_only=True)
    checked[topic + "-v"].result(30)
    assert topic + "-v" not in admin.list_topics(timeout=30).topics
    with pytest.raises(KafkaException) as failure:
        admin.delete_topics([topic + "-absent"])[topic + "-absent"].result(30)
    assert failure.value.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_deleted_topic_is_gone_and_can_come_back_empty(broker, topic):
    create(broker, topic)
    send(producer_for(broker), topic, [(None, b"old", None)], partition=0)
    admin = admin_for(broker)
    admin.delete_topics([topic])[topic].result(30)
    assert topic not in admin.list_topics(timeout=30).topics
    create(broker, topic)
    send(producer_for(broker), topic, [(None, b"new", None)], partition=0)
    assert [m.value() for m in read(broker, topic, 1)] == [b"new"]


def test_a_hundred_topics_of_ten_partitions(start, topic):
    running = start()
    admin = admin_for(running)
    names = [f"{topic}.{n:03}" for n in range(100)]
    for name, created in admin.create_topics([NewTopic(name, 10, 1) for name in names]).items():
        created.result(60)
    listed = admin.list_topics(timeout=30).topics
    assert sorted(listed) == names
    assert all(len(listed[name].partitions) == 10 and listed[name].partitions[9].leader == running.node for name in names)
    described = admin.describe_topics(TopicCollection(names))
    assert all(len(described[name].result(30).partitions) == 10 for name in names)
    assert running.stop() == 0
    running.start()
    assert sorted(admin_for(running).list_topics(timeout=30).topics) == names


def test_missing_topic_is_made_on_first_use_only_where_allowed(start, topic):
    open_broker = start(name="open", settings={"num.partitions": 3})
    send(producer_for(open_broker), topic, [(None, b"first", None)], partition=2)
    assert len(admin_for(open_broker).list_topics(topic, timeout=30).topics[topic].partitions) == 3

    closed = start(name="closed", settings={"auto.create.topics.enable": "false"})
    producer = producer_for(closed, **{"message.timeout.ms": 3000, "topic.metadata.propagation.max.ms": 500})
    failures = []
    producer.produce(topic, b"lost", on_delivery=lambda error, _: failures.append(error))
    producer.flush(30)
    assert failures[0].code() in (KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._MSG_TIMED_OUT)


def test_log_append_time(broker, topic):
    create(broker, topic, config={"message.timestamp.type": "LogAppendTime"})
    before = int(time.time() * 1000)
    send(producer_for(broker, **{"compression.type": "zstd"}), topic, [(None, b"x", None)] * 10, partition=0, timestamp=1_000)
    after = int(time.time() * 1000)
    from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

    for message in read(broker, topic, 10):
        kind, stamp = message.timestamp()
        assert kind == TIMESTAMP_LOG_APPEND_TIME and before <= stamp <= after


def test_many_partitions_consumed_at_once(broker, topic):
    create(broker, topic, partitions=12)
    producer = producer_for(broker, **{"linger.ms": 5})
    for n in range(12_000):
        producer.produce(topic, f"{n}".encode(), partition=n % 12)
        producer.poll(0)
    assert producer.flush(60) == 0
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(12)])
    seen = {partition: [] for partition in range(12)}
    deadline = time.monotonic() + 60
    while sum(map(len, seen.values())) < 12_000 and time.monotonic() < deadline:
        for message in consumer.consume(1_000, 1.0):
            assert not message.error(), message.error()
            seen[message.partition()].append(int(message.value()))
    consumer.close()
    for partition, values in seen.items():
        assert values == list(range(partition, 12_000, 12))


def test_a_waiting_consumer_is_woken(broker, topic):
    create(broker, topic)
    consumer = Consumer(
        {"bootstrap.servers": broker.address, "group.id": "none", "fetch.wait.max.ms": 10_000, "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    assert consumer.poll(2.0) is None
    began = time.monotonic()
    send(producer_for(broker, **{"linger.ms": 0}), topic, [(None, b"wake", None)], partition=0)
    message = consumer.poll(8.0)
    assert message is not None and message.value() == b"wake"
    # The fetch was waiting for up to ten seconds; it must come back because of the record, not because of its own time limit.
    assert time.monotonic() - began < 5
    consumer.close()


@pytest.mark.parametrize("target", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
def test_the_topics_compression_type_counts(broker, topic, target):
    create(broker, topic, config={"compression.type": target})
    items = [(f"key-{n}".encode(), f"value {n} ".encode() * 20, [("n", str(n).encode())]) for n in range(200)]
    for codec in CODECS:
        producer = producer_for(broker, **{"compression.type": codec, "linger.ms": 20, "enable.idempotence": True})
        send(producer, topic, items, partition=0)
    messages = read(broker, topic, 200 * len(CODECS))
    assert [(m.key(), m.value(), m.headers()) for m in messages] == items * len(CODECS)
    segment = broker.data / f"{topic}-0" / "00000000000000000000.log"
    codecs = set(re.findall(r" codec (\S+) ", apus("log", "dump", "--batches-only", segment).stdout))
    assert codecs == {"none" if target == "uncompressed" else target}
