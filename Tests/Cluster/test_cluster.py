"""Three nodes that elect, register, replicate and fail over, with a real client."""

import time

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaConnectionError

from apus_process import Apus
from cluster import Cluster


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path) as running:
        try:
            yield running
        except BaseException:
            print(running.log_text())
            raise


def admin(cluster):
    return KafkaAdminClient(bootstrap_servers=cluster.bootstrap, request_timeout_ms=20_000)


def producer(cluster):
    return KafkaProducer(bootstrap_servers=cluster.bootstrap, acks="all", retries=100, retry_backoff_ms=20, linger_ms=0,
                         request_timeout_ms=5_000, max_block_ms=20_000, metadata_max_age_ms=1_000)


def leaders(cluster, topic):
    """By partition."""
    return {each["partition_index"]: each["leader_id"] for each in described_partitions(cluster, topic)}


def described_partitions(cluster, topic, seconds=20):
    """As kafka-python's admin client says. It gives up when the broker that it asks has just died, which is listed for a moment still."""
    deadline = time.monotonic() + seconds
    while True:
        client = admin(cluster)
        try:
            (described,) = client.describe_topics([topic])
            return described["partitions"]
        except KafkaConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        finally:
            client.close()


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def consume_all(cluster, topic, partitions, count):
    consumer = KafkaConsumer(bootstrap_servers=cluster.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=15_000,
                             enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, partition) for partition in range(partitions)])
    values = []
    for record in consumer:
        values.append(record.value)
        if len(values) == count:
            break
    consumer.close()
    return values


def create(cluster, topic, partitions=6):
    client = admin(cluster)
    client.create_topics([NewTopic(topic, partitions, 3, topic_configs={"min.insync.replicas": "2"})])
    client.close()
    assert wait_for(lambda: len(leaders(cluster, topic)) == partitions and min(leaders(cluster, topic).values()) > 0)


def test_a_node_that_dies_costs_nothing_that_was_acknowledged(cluster, topic):
    assert len({each.cluster for each in cluster.nodes.values()}) == 1, "equal voters make one cluster"
    create(cluster, topic)
    assert set(leaders(cluster, topic).values()) == {1, 2, 3}, "each node leads a part"
    sender = producer(cluster)
    sent = []

    def send(count):
        futures = []
        for _ in range(count):
            value = str(len(sent)).encode()
            sent.append(value)
            futures.append(sender.send(topic, value))
        for future in futures:
            future.get(timeout=30)

    send(200)
    # In good order: nothing that is sent meanwhile fails.
    assert cluster.nodes[1].stop() == 0, cluster.nodes[1].log_text()
    send(200)
    assert 1 not in leaders(cluster, topic).values()
    cluster.start(1)
    # Back in sync before the next is gone, or there would be too few.
    assert wait_for(lambda: in_sync(cluster, topic, 1))
    cluster.nodes[2].kill()
    send(200)
    assert wait_for(lambda: 2 not in leaders(cluster, topic).values())
    cluster.start(2)
    send(100)
    sender.close()
    assert sorted(consume_all(cluster, topic, 6, len(sent)), key=int) == sent


def in_sync(cluster, topic, node):
    return all(node in each["isr_nodes"] for each in described_partitions(cluster, topic))


def test_another_cluster_is_refused(cluster, tmp_path):
    settings = cluster.nodes[1].settings
    assert cluster.nodes[1].stop() == 0
    other = Apus(tmp_path / "node-1", settings, listen=None, arguments=["--cluster-id", "ZZZZZZZZQyGZZZZZZZZZZw"]).spawn()
    assert other.process.wait(20) == 78
    time.sleep(0.2)
    assert "belongs to cluster" in other.log_text(), other.log_text()


def test_a_node_waits_for_its_quorum_and_can_be_stopped_meanwhile(tmp_path):
    cluster = Cluster(tmp_path)
    alone = cluster.nodes[1].spawn()
    time.sleep(1.5)
    assert alone.process.poll() is None
    assert alone.stop(timeout=20) == 0, alone.log_text()
