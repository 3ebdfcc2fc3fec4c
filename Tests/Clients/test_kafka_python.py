"""kafka-python and aiokafka: the clients written in Python, each with an encoder of its own."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as AioTopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin import NewTopic as AioNewTopic
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError

CODECS = [None, "gzip", "snappy", "lz4", "zstd"]


def read(broker, topic, count, partition=0):
    consumer = KafkaConsumer(bootstrap_servers=broker.address, group_id=None, enable_auto_commit=False, consumer_timeout_ms=20_000)
    where = TopicPartition(topic, partition)
    consumer.assign([where])
    consumer.seek_to_beginning(where)
    records = []
    for record in consumer:
        records.append(record)
        if len(records) == count:
            break
    consumer.close()
    assert len(records) == count
    return records


@pytest.fixture
def admin(broker):
    client = KafkaAdminClient(bootstrap_servers=broker.address)
    yield client
    client.close()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_kafka_python_produces_and_consumes(broker, admin, topic, codec, acks):
    admin.create_topics([NewTopic(topic, 1, 1)])
    producer = KafkaProducer(
        bootstrap_servers=broker.address, compression_type=codec, acks=acks, linger_ms=10, enable_idempotence=acks == "all"
    )
    for n in range(300):
        producer.send(topic, f"value {n}".encode() * 10, f"key {n}".encode(), headers=[("h", b"%d" % n)], partition=0)
    producer.flush(60)
    producer.close()
    records = read(broker, topic, 300)
    assert [r.offset for r in records] == list(range(300))
    assert [(r.key, r.value, list(r.headers)) for r in records] == [
        (f"key {n}".encode(), f"value {n}".encode() * 10, [("h", b"%d" % n)]) for n in range(300)
    ]


def test_kafka_python_admin(broker, admin, topic):
    admin.create_topics([NewTopic(topic, 3, 1, topic_configs={"retention.ms": "1000000"})])
    with pytest.raises(TopicAlreadyExistsError):
        admin.create_topics([NewTopic(topic, 3, 1)])
    assert topic in admin.list_topics()
    (described,) = admin.describe_topics([topic])
    assert sorted(p["partition_index"] for p in described["partitions"]) == [0, 1, 2]
    admin.delete_topics([topic])
    assert topic not in admin.list_topics()


def test_kafka_python_offsets_for_times(broker, admin, topic):
    admin.create_topics([NewTopic(topic, 1, 1)])
    producer = KafkaProducer(bootstrap_servers=broker.address)
    for n in range(100):
        producer.send(topic, b"%d" % n, partition=0, timestamp_ms=1_700_000_000_000 + n * 10)
    producer.flush(30)
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=broker.address, group_id=None)
    where = TopicPartition(topic, 0)
    found = consumer.offsets_for_times({where: 1_700_000_000_000 + 505})[where]
    assert (found.offset, found.timestamp) == (51, 1_700_000_000_510)
    assert consumer.beginning_offsets([where])[where] == 0
    assert consumer.end_offsets([where])[where] == 100
    consumer.close()


@pytest.mark.parametrize("codec", CODECS)
def test_aiokafka_produces_and_consumes(broker, topic, codec):
    async def run():
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
        await admin.start()
        await admin.create_topics([AioNewTopic(topic, 2, 1)])
        await admin.close()
        producer = AIOKafkaProducer(bootstrap_servers=broker.address, compression_type=codec, acks="all", linger_ms=5)
        await producer.start()
        sent = [await producer.send(topic, b"value %d" % n * 20, key=b"%d" % n, partition=n % 2) for n in range(400)]
        for delivery in sent:
            await delivery
        await producer.stop()
        consumer = AIOKafkaConsumer(bootstrap_servers=broker.address, group_id=None, enable_auto_commit=False)
        await consumer.start()
        consumer.assign([AioTopicPartition(topic, p) for p in range(2)])
        await consumer.seek_to_beginning()
        seen = {0: [], 1: []}
        while sum(map(len, seen.values())) < 400:
            record = await asyncio.wait_for(consumer.getone(), 20)
            seen[record.partition].append((record.offset, record.key, record.value))
        await consumer.stop()
        for partition, records in seen.items():
            numbers = range(partition, 400, 2)
            assert records == [(at, b"%d" % n, b"value %d" % n * 20) for at, n in enumerate(numbers)]

    asyncio.run(run())


def test_aiokafka_idempotent_producer(broker, topic):
    async def run():
        producer = AIOKafkaProducer(bootstrap_servers=broker.address, enable_idempotence=True)
        await producer.start()
        for n in range(50):
            metadata = await producer.send_and_wait(topic, b"%d" % n, partition=0)
            assert metadata.offset == n
        await producer.stop()

    asyncio.run(run())


@pytest.mark.parametrize("target", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
def test_the_topics_compression_type_counts(broker, admin, topic, target):
    admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"compression.type": target})])
    for codec in CODECS:
        producer = KafkaProducer(bootstrap_servers=broker.address, compression_type=codec, linger_ms=10)
        for n in range(100):
            producer.send(topic, f"value {n}".encode() * 10, f"key {n}".encode(), headers=[("h", b"%d" % n)], partition=0)
        producer.flush(60)
        producer.close()
    records = read(broker, topic, 100 * len(CODECS))
    assert [r.offset for r in records] == list(range(100 * len(CODECS)))
    assert [(r.key, r.value, list(r.headers)) for r in records] == [
        (f"key {n}".encode(), f"value {n}".encode() * 10, [("h", b"%d" % n)]) for n in range(100)
    ] * len(CODECS)
