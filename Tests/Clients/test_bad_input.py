"""Input that no client should send: the broker answers or closes, says why, and everybody else goes on undisturbed."""

import random
import socket
import struct
import time

import kafka.protocol.admin as admin
import kafka.protocol.consumer as consumer
import kafka.protocol.producer as producer
import kafka.protocol.sasl as sasl
import pytest
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.util import calc_crc32c

from apus_process import apus
from raw import Connection, api_versions, header, produce_error, produce_v3, string

CORRUPT_MESSAGE, REQUEST_TIMED_OUT, UNSUPPORTED_VERSION, KAFKA_STORAGE_ERROR, INVALID_RECORD = 2, 7, 35, 56, 87


@pytest.fixture
def healthy(broker, topic):
    """A topic with one record, and the proof at the end that the broker still serves it."""
    apus("topic", "create", topic, "--bootstrap", broker.address)
    apus("produce", topic, "--bootstrap", broker.address, input="before\n")
    yield topic
    apus("produce", topic, "--bootstrap", broker.address, input="after\n")
    lines = apus("consume", topic, "--from-beginning", "--exit-at-end", "--bootstrap", broker.address).stdout.splitlines()
    assert lines[0] == "before" and lines[-1] == "after"


def batch(values=(b"value",), **more):
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 30
    )
    for offset, value in enumerate(values):
        builder.append(offset, 1_700_000_000_000, b"key", value, [])
    return bytes(builder.build())


def test_a_good_batch_by_hand_is_taken(broker, healthy):
    with Connection(broker) as connection:
        connection.send(produce_v3(healthy, batch()))
        assert produce_error(connection.receive()[1]) == 0


def test_a_batch_broken_inside_is_refused(broker, healthy):
    """A right checksum over compressed records that are none: acknowledged, it would stop every consumer."""
    good = DefaultRecordBatchBuilder(
        magic=2, compression_type=1, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 30
    )
    good.append(0, 1_700_000_000_000, b"key", b"value" * 100, [])
    broken = bytearray(good.build())
    broken[-9] ^= 0xFF
    struct.pack_into(">I", broken, 17, calc_crc32c(bytes(broken[21:])))
    with Connection(broker) as connection:
        connection.send(produce_v3(healthy, bytes(broken)))
        assert produce_error(connection.receive()[1]) == INVALID_RECORD


@pytest.mark.parametrize("position", [17, 21, 30, 61, -1])
def test_wrong_crc(broker, healthy, position):
    damaged = bytearray(batch())
    damaged[position] ^= 0x10
    with Connection(broker) as connection:
        connection.send(produce_v3(healthy, bytes(damaged)))
        assert produce_error(connection.receive()[1]) == CORRUPT_MESSAGE
        connection.send(produce_v3(healthy, batch()))
        assert produce_error(connection.receive()[1]) == 0


@pytest.mark.parametrize(
    "magic, code", [(0, INVALID_RECORD), (1, INVALID_RECORD), (3, CORRUPT_MESSAGE), (0x7F, CORRUPT_MESSAGE), (0xFF, CORRUPT_MESSAGE)]
)
def test_wrong_magic(broker, healthy, magic, code):
    damaged = bytearray(batch())
    damaged[16] = magic
    with Connection(broker) as connection:
        connection.send(produce_v3(healthy, bytes(damaged)))
        assert produce_error(connection.receive()[1]) == code


def test_truncated_batch_at_every_length(broker, healthy):
    whole = batch()
    with Connection(broker) as connection:
        for length in range(len(whole)):
            connection.send(produce_v3(healthy, whole[:length], correlation=length))
            correlation, body = connection.receive()
            # As in Kafka: what is no whole batch is none at all, for good, however much of it there is.
            assert (correlation, produce_error(body)) == (length, INVALID_RECORD), length
        connection.send(produce_v3(healthy, whole))
        assert produce_error(connection.receive()[1]) == 0


def test_two_batches_in_one_partition_are_refused(broker, healthy):
    with Connection(broker) as connection:
        connection.send(produce_v3(healthy, batch() + batch()))
        assert produce_error(connection.receive()[1]) == INVALID_RECORD
        connection.send(produce_v3(healthy, batch()))
        assert produce_error(connection.receive()[1]) == 0


def test_unknown_versions_of_api_versions_are_answered_as_kafka_does(broker):
    for version in [5, 99, 32_767]:
        with Connection(broker) as connection:
            # Versions from 3 on have a flexible header, which ends with its tagged fields.
            connection.send(header(18, version, 5) + b"\0")
            correlation, body = connection.receive()
            error, count = struct.unpack_from(">hi", body)
            assert (correlation, error) == (5, UNSUPPORTED_VERSION)
            keys = [struct.unpack_from(">hhh", body, 6 + 6 * n) for n in range(count)]
            assert (18, 0, 4) in keys


def test_what_is_advertised(broker):
    with Connection(broker) as connection:
        versions = api_versions(connection)
    assert versions[0] == (0, 13) and versions[1] == (4, 18) and versions[3] == (0, 13)
    # Advertising these would make clients use them (KIP-848, telemetry) although nothing is behind them.
    assert not {68, 71, 72} & set(versions)


def test_unknown_keys_do_not_disturb(broker, healthy):
    for key in [-1, 4, 93, 1_000, 32_767, -32_768]:
        with Connection(broker) as connection:
            connection.send(header(key, 0))
            assert connection.is_closed_by_peer()


@pytest.mark.parametrize("version", [0, 1, 2])
def test_produce_versions_that_are_advertised_but_gone(broker, healthy, version):
    """Kafka 4 lists Produce from 0 on for librdkafka's sake, and refuses what is below 3 in the form of its version."""
    records = batch()
    body = (
        struct.pack(">hi", 1, 10_000)
        + struct.pack(">i", 1) + string(healthy)
        + struct.pack(">iii", 1, 0, len(records)) + records
    )
    with Connection(broker) as connection:
        connection.send(header(0, version, 6) + body)
        correlation, answer = connection.receive()
        assert correlation == 6 and produce_error(answer) == UNSUPPORTED_VERSION


def test_a_produce_version_of_the_future_is_closed(broker, healthy):
    with Connection(broker) as connection:
        connection.send(produce_v3(healthy, batch(), version=99))
        assert connection.is_closed_by_peer()


@pytest.mark.parametrize("length", [-1, -(1 << 31), 0, 1, 3, (1 << 31) - 1, 200 << 20])
def test_frame_lengths(broker, healthy, length):
    before = broker.resident_kib()
    with Connection(broker) as connection:
        connection.send_raw(struct.pack(">i", length) + b"x" * 64)
        if length > 64 and length < (128 << 20):
            time.sleep(0.2)
        else:
            assert connection.is_closed_by_peer()
    assert broker.resident_kib() - before < 64 << 10


def test_claimed_but_never_sent_bytes_cost_nothing(broker, healthy):
    """Fifty connections each promise 100 MiB and send a few bytes of it."""
    before = broker.resident_kib()
    connections = [Connection(broker) for _ in range(50)]
    for connection in connections:
        connection.send_raw(struct.pack(">i", 100 << 20) + header(0, 3))
    time.sleep(0.5)
    assert broker.resident_kib() - before < 200 << 10
    for connection in connections:
        connection.close()


# What a test's garbage may leave behind in the broker's memory: its buffers, and what the allocator keeps.
GARBAGE_KIB_MAX = 64 << 10


def test_garbage(broker, healthy):
    generator = random.Random(20_240_611)
    before = broker.resident_kib()
    for _ in range(300):
        with Connection(broker) as connection:
            try:
                connection.send_raw(generator.randbytes(generator.randrange(1, 2_000)))
            except OSError:
                pass
    assert broker.resident_kib() - before < GARBAGE_KIB_MAX


def test_garbage_behind_a_good_header(broker, healthy):
    """Every advertised API and version, with a body of random bytes."""
    generator = random.Random(7)
    with Connection(broker) as connection:
        advertised = api_versions(connection)
    before = broker.resident_kib()
    for key, (low, high) in advertised.items():
        for version in range(low, high + 1):
            for _ in range(4):
                with Connection(broker) as connection:
                    body = generator.randbytes(generator.randrange(0, 200))
                    connection.send(header(key, version) + body)
                    connection.socket.shutdown(socket.SHUT_WR)
    assert broker.resident_kib() - before < GARBAGE_KIB_MAX


def unserved_requests():
    """A request without content for every API that kafka-python has and this broker does not serve, in every version: (class, version)."""
    served = {0, 1, 2, 3, 18, 19, 20, 21, 22, 23, 32, 33, 35, 37, 44, 60, 74, 75}
    for module in (admin, consumer, producer, sasl):
        for name in sorted(vars(module)):
            cls = getattr(module, name)
            if name.endswith("Request") and hasattr(cls, "API_KEY") and cls.API_KEY not in served:
                low, _, high = cls._json["validVersions"].partition("-")
                for version in range(int(low), int(high or low) + 1):
                    yield pytest.param(cls, version, id=f"{name}-v{version}")


@pytest.mark.parametrize("cls, version", unserved_requests())
def test_what_is_not_served_is_answered_in_its_own_form(broker, cls, version):
    """The connection stays open, and what comes behind is answered in its turn."""
    request = cls(version=version)
    request.with_header(correlation_id=41, client_id="raw")
    with Connection(broker) as connection:
        connection.send_raw(bytes(request.encode(header=True, framed=True)))
        connection.send(header(18, 0, 42))
        correlation, _ = connection.receive()
        assert correlation == 41
        correlation, body = connection.receive()
        assert (correlation, struct.unpack_from(">h", body)[0]) == (42, 0)


def test_groups_are_refused_item_by_item(broker):
    """DescribeGroups v0 has no error of its own: each group has one."""
    with Connection(broker) as connection:
        connection.send(header(15, 0, 5) + struct.pack(">i", 2) + string("one") + string("two"))
        correlation, body = connection.receive()
        assert (correlation, struct.unpack_from(">ih", body)) == (5, (2, UNSUPPORTED_VERSION))
        assert body[6:].startswith(string("one")) and struct.pack(">h", UNSUPPORTED_VERSION) + string("two") in body
        # Heartbeat v0: only an error.
        connection.send(header(12, 0, 6) + string("one") + struct.pack(">i", 1) + string("member"))
        assert connection.receive() == (6, struct.pack(">h", UNSUPPORTED_VERSION))


def test_protocols_of_others(broker, healthy):
    for hello in [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)]:
        with Connection(broker) as connection:
            connection.send_raw(hello)
            assert connection.is_closed_by_peer()


def test_a_client_that_reads_nothing(broker, topic):
    """It asks for the same megabyte a thousand times and never reads: the broker stops serving it, not growing."""
    apus("topic", "create", topic, "--bootstrap", broker.address)
    apus("produce", topic, "--bootstrap", broker.address, input="".join("x" * 1_000 + "\n" for _ in range(2_000)))
    fetch = (
        header(1, 4, 9)
        + struct.pack(">iiiib", -1, 100, 1, 1 << 20, 0)
        + struct.pack(">i", 1) + struct.pack(">h", len(topic)) + topic.encode()
        + struct.pack(">iiqi", 1, 0, 0, 1 << 20)
    )
    before = broker.resident_kib()
    connections = [Connection(broker) for _ in range(10)]
    for connection in connections:
        connection.socket.settimeout(2)
        try:
            for _ in range(1_000):
                connection.send(fetch)
        except TimeoutError:
            pass
    time.sleep(0.5)
    assert broker.resident_kib() - before < 100 << 10
    # Others are served meanwhile.
    lines = apus("consume", topic, "--from-beginning", "--count", 3, "--bootstrap", broker.address, timeout=20).stdout
    assert lines == ("x" * 1_000 + "\n") * 3
    for connection in connections:
        connection.close()


def test_ten_thousand_idle_connections(start, topic):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, 11_000), max(hard, 11_000)))
    except (ValueError, PermissionError) as error:
        pytest.skip(
            f"not tested: 10,000 connections need 11,000 open files in this process and in the broker; the hard limit here is {hard}, and "
            f"there is no right to raise it ({error}). Run as root, or raise it with `ulimit -Hn 11000`."
        )
    running = start()
    before = running.resident_kib()
    # The kernel gives about 28,000 source ports for one pair of addresses.
    connections = [socket.create_connection(running.host_port, 20) for _ in range(10_000)]
    try:
        for connection in connections[::1000]:
            connection.sendall(struct.pack(">i", len(header(18, 0))) + header(18, 0))
            assert connection.recv(4)
        grown = running.resident_kib() - before
        print(f"10,000 idle connections: {grown / 1024:.0f} MiB")
        assert grown < 300 << 10
        apus("produce", topic, "--bootstrap", running.address, input="still here\n")
    finally:
        for connection in connections:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert running.stop() == 0


def test_a_producer_that_vanishes_in_the_middle_of_a_request(broker, healthy):
    frame = produce_v3(healthy, batch([b"x" * 100_000]))
    for cut in [1, 3, 4, 5, 20, 1_000, 90_000]:
        with Connection(broker) as connection:
            connection.send_raw((struct.pack(">i", len(frame)) + frame)[:cut])


def test_requests_on_one_connection_are_answered_in_order(broker, healthy):
    """A fetch that waits is answered before the requests behind it, as the protocol demands."""
    with Connection(broker) as connection:
        wait = (
            header(1, 4, 1)
            + struct.pack(">iiiib", -1, 700, 1 << 20, 1 << 20, 0)
            + struct.pack(">i", 1) + struct.pack(">h", len(healthy)) + healthy.encode()
            + struct.pack(">iiqi", 1, 0, 0, 1 << 20)
        )
        began = time.monotonic()
        connection.send(wait)
        for correlation in range(2, 50):
            connection.send(header(18, 0, correlation))
        assert [connection.receive()[0] for _ in range(49)] == list(range(1, 50))
        assert time.monotonic() - began > 0.6


def test_running_out_of_file_descriptors(start, topic):
    """Nobody can be let in and no file opened for a while: what fails may be tried again, and nothing goes out of service."""
    running = start(wrapper=["prlimit", "--nofile=120:120"])
    apus("topic", "create", topic, "--config", "segment.bytes=1000", "--bootstrap", running.address)
    taken, refused = [], 0
    with Connection(running) as connection:
        # More than the limit: the last ones wait in the listener's queue.
        crowd = [socket.create_connection(running.host_port, 20) for _ in range(200)]
        time.sleep(0.5)
        for number in range(30):
            connection.send(produce_v3(topic, batch([b"%03d" % number + b"x" * 300]), correlation=number))
            correlation, body = connection.receive()
            assert correlation == number
            code = produce_error(body)
            assert code in (0, KAFKA_STORAGE_ERROR, REQUEST_TIMED_OUT), code
            if code == 0:
                taken.append(number)
            else:
                refused += 1
        for other in crowd:
            other.close()
        deadline = time.monotonic() + 20
        while True:
            connection.send(produce_v3(topic, batch([b"last"])))
            if produce_error(connection.receive()[1]) == 0:
                break
            assert time.monotonic() < deadline, running.log_text()
            time.sleep(0.2)
    lines = apus("consume", topic, "--from-beginning", "--exit-at-end", "--bootstrap", running.address).stdout.splitlines()
    found = [int(line[:3]) for line in lines if line != "last"]
    assert set(taken) <= set(found) and found == sorted(found)
    log = running.log_text()
    assert "partition offline" not in log
    # Said once, and once more if something went through in between.
    assert log.count("append refused") + log.count("flush put off") < 6, log
    print(f"{refused} of 30 produces were refused while no descriptor was left")
    # Else nothing of this was put to the test.
    assert "cannot accept connections" in log, log
    assert refused > 0, log
    assert running.stop() == 0
