"""The command line as people meet it: brokers that go away, and mistakes that are told for what they are."""

import os
import struct
import subprocess
import time

import pytest

from apus_process import BINARY, apus
from raw import Connection, header, string


class Running:
    """A command that goes on until it is told to end; its streams are read line by line."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [str(BINARY), *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def type(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def finish(self, seconds=60):
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def filled(broker, topic, lines="one\ntwo\n"):
    apus("topic", "create", topic, "--bootstrap", broker.address)
    apus("produce", topic, "--bootstrap", broker.address, input=lines)


def test_consume_tells_of_a_lost_broker_once_and_of_its_return(start, topic):
    broker = start()
    filled(broker, topic)
    with Running("consume", topic, "--from-beginning", "--bootstrap", broker.address) as consumer:
        assert [consumer.process.stdout.readline() for _ in range(2)] == ["one\n", "two\n"]
        broker.kill()
        lost = consumer.process.stderr.readline()
        assert lost.startswith(f"Warning: lost broker {broker.address} (") and "trying again" in lost
        # Long enough for many attempts, of which nothing may be said.
        time.sleep(3)
        broker.start()
        assert consumer.process.stderr.readline() == f"Note: broker {broker.address} is back\n"
        apus("produce", topic, "--bootstrap", broker.address, input="three\n")
        assert consumer.process.stdout.readline() == "three\n"
        assert consumer.process.poll() is None


def test_a_broker_with_two_addresses_is_told_of_by_the_one_it_advertises(start, topic):
    broker = start()
    filled(broker, topic)
    port = broker.address.split(":")[1]
    with Running("consume", topic, "--from-beginning", "--bootstrap", f"localhost:{port}") as consumer:
        assert [consumer.process.stdout.readline() for _ in range(2)] == ["one\n", "two\n"]
        broker.kill()
        assert consumer.process.stderr.readline().startswith(f"Warning: lost broker {broker.address} (")
        time.sleep(3)
        broker.start()
        assert consumer.process.stderr.readline() == f"Note: broker {broker.address} is back\n"
        consumer.process.terminate()
        assert consumer.finish(30)[2] == ""


def test_an_advertised_address_that_cannot_be_reached_comes_with_a_hint(start, topic):
    broker = start()
    filled(broker, topic)
    broker.stop()
    broker.settings["advertised.listeners"] = "PLAINTEXT://127.0.0.1:1"
    broker.start()
    with Running("consume", topic, "--from-beginning", "--timeout", "5s", "--bootstrap", broker.address) as consumer:
        told = consumer.process.stderr.readline()
        assert told.startswith("Warning: cannot reach broker 127.0.0.1:1 (") and "advertised.listeners" in told


@pytest.mark.parametrize("end", [["--count", "60001"], ["--exit-at-end"], ["--exit-at-end", "--count", "60001"]])
def test_consume_to_an_end_gives_up_after_its_timeout(start, topic, end):
    broker = start()
    # More than the client fetches ahead while nobody reads what it prints: the broker is gone before the end is reached.
    lines = [f"{number:07} {'x' * 1_000}\n" for number in range(60_000)]
    filled(broker, topic, "".join(lines))
    arguments = ["consume", topic, "--from-beginning", *end, "--timeout", "2s"]
    with Running(*arguments, "--bootstrap", broker.address) as consumer:
        assert [consumer.process.stdout.readline() for _ in range(2)] == lines[:2]
        # What has been fetched is printed yet, and the rest cannot be had.
        time.sleep(1)
        broker.kill()
        began = time.monotonic()
        code, out, err = consumer.finish(30)
        assert 1.5 < time.monotonic() - began < 15
        assert code == 1
        sent = "".join(lines)
        is_a_part, is_all = out in sent, sent.endswith(out)
        assert out and is_a_part and not is_all
        assert f"lost broker {broker.address}" in err and "no broker could be reached for 2" in err
        assert broker.address.split(":")[1] in err.split("no broker could be reached")[1], "the last reason is named"


def test_produce_tells_of_a_lost_broker_and_fails_in_the_end(start, topic):
    broker = start()
    filled(broker, topic)
    with Running("produce", topic, "--timeout", "2s", "--bootstrap", broker.address) as producer:
        producer.type("three\n")
        deadline = time.monotonic() + 30
        while "three" not in apus("consume", topic, "--from-beginning", "--exit-at-end", "--bootstrap", broker.address).stdout:
            assert time.monotonic() < deadline
        broker.kill()
        producer.type("four\n")
        code, _, err = producer.finish(30)
        assert code == 1
        assert f"lost broker {broker.address}" in err and "1 of 2 records were not delivered" in err


def test_produce_goes_on_when_the_broker_is_back(start, topic):
    broker = start()
    filled(broker, topic)
    with Running("produce", topic, "--bootstrap", broker.address) as producer:
        producer.type("three\n")
        deadline = time.monotonic() + 30
        while "three" not in apus("consume", topic, "--from-beginning", "--exit-at-end", "--bootstrap", broker.address).stdout:
            assert time.monotonic() < deadline
        broker.kill()
        producer.type("four\n")
        assert producer.process.stderr.readline().startswith("Warning: lost broker")
        broker.start()
        code, _, err = producer.finish()
        assert code == 0 and "is back" in err
    assert apus("consume", topic, "--from-beginning", "--exit-at-end", "--bootstrap", broker.address).stdout == "one\ntwo\nthree\nfour\n"


def test_bench_fails_when_the_broker_goes(start, topic):
    broker = start()
    with Running("bench", "produce", "--topic", topic, "--duration", "60s", "--bootstrap", broker.address) as bench:
        deadline = time.monotonic() + 30
        while topic not in apus("topic", "list", "--bootstrap", broker.address).stdout:
            assert time.monotonic() < deadline
        time.sleep(0.5)
        broker.kill()
        code, out, err = bench.finish(30)
        assert (code, out) == (1, "") and broker.address in err


def failed(*arguments, code=1, **more):
    done = apus(*arguments, check=False, **more)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stderr


def test_produce_of_a_file_that_cannot_be_read(broker, topic, tmp_path):
    missing = tmp_path / "missing.txt"
    err = failed("produce", topic, "--file", missing, "--bootstrap", broker.address)
    assert str(missing) in err and "No such file" in err and "Usage" not in err
    err = failed("produce", topic, "--file", tmp_path, "--bootstrap", broker.address)
    assert str(tmp_path) in err and "directory" in err


def test_json_with_an_unknown_field_is_refused(broker, topic):
    lines = '{"key":"a","payload":"1"}\n{"key":"b","valeu":"2"}\n'
    err = failed("produce", topic, "--json", "--bootstrap", broker.address, input=lines)
    for word in ["line 2", "'valeu'", "payload", "headers", "partition"]:
        assert word in err
    assert "Usage" not in err


def test_what_consume_prints_is_taken_by_produce(broker, topic):
    filled(broker, topic)
    printed = apus("consume", topic, "--from-beginning", "--exit-at-end", "--json", "--bootstrap", broker.address).stdout
    apus("produce", topic + "-copy", "--json", "--bootstrap", broker.address, input=printed)
    copy = apus("consume", topic + "-copy", "--from-beginning", "--exit-at-end", "--bootstrap", broker.address).stdout
    assert copy == "one\ntwo\n"


def test_bench_consume_does_not_create_its_topic(broker, topic):
    err = failed("bench", "consume", "--topic", topic, "--bootstrap", broker.address)
    assert topic in err
    assert topic not in apus("topic", "list", "--bootstrap", broker.address).stdout


def test_log_dump_of_other_files(start, topic, tmp_path):
    broker = start()
    filled(broker, topic)
    broker.stop()
    segment = broker.data / f"{topic}-0" / "00000000000000000000.log"
    other = tmp_path / "notes.txt"
    other.write_text("nothing of a broker's")
    done = apus("log", "dump", other, segment, tmp_path, check=False)
    assert done.returncode == 64
    assert "CORRUPT" not in done.stdout and "UNKNOWN" in done.stdout and "one" in done.stdout
    assert str(other) in done.stderr and "directory" in done.stderr
    damaged = bytearray(segment.read_bytes())
    damaged[-1] ^= 1
    broken = tmp_path / "00000000000000000000.log"
    broken.write_bytes(damaged)
    done = apus("log", "dump", other, broken, check=False)
    assert done.returncode == 1 and "CORRUPT" in done.stdout


def test_the_log_directorys_room_is_the_volumes(broker):
    with Connection(broker) as connection:
        # DescribeLogDirs v4, a flexible one: of no topic in particular.
        connection.send(header(35, 4) + b"\0\0\0")
        _, body = connection.receive()
    # The one directory's answer ends with both figures and its tagged fields, the whole with its own.
    total, usable = struct.unpack(">qq", body[-18:-2])
    figures = os.statvfs(broker.data)
    assert total == figures.f_blocks * figures.f_frsize
    assert 0 < usable <= total


def test_the_log_level_is_changed_while_the_broker_runs(start):
    broker = start()

    def opened(seconds):
        """Whether the log tells of a new connection within so many seconds."""
        deadline = time.monotonic() + seconds
        with Connection(broker):
            while "connection opened" not in broker.log_text():
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.05)
        return True

    def alter(level):
        # IncrementalAlterConfigs v0: one resource of type BROKER_LOGGER, one config to set, not only validated.
        body = struct.pack(">ib", 1, 8) + string("1") + struct.pack(">i", 1) + string("root") + b"\0" + string(level) + b"\0"
        with Connection(broker) as connection:
            connection.send(header(44, 0) + body)
            return struct.unpack_from(">iih", connection.receive()[1])[2]

    assert not opened(0.5)
    assert alter("LOUD") == 40, "INVALID_CONFIG"
    assert alter("DEBUG") == 0
    assert opened(10) and "log level changed" in broker.log_text()
