"""kcat from Debian: the tool that people reach for first."""

import json
import subprocess

import pytest


def kcat(broker, *arguments, input=None, timeout=60):
    done = subprocess.run(["kcat", "-b", broker.address, *arguments], input=input, capture_output=True, timeout=timeout)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_produce_and_consume(broker, topic, codec):
    lines = b"".join(b"line %d %s\n" % (n, b"-" * (n % 100)) for n in range(1_000))
    kcat(broker, "-P", "-t", topic, "-p", "0", "-z", codec, input=lines)
    assert kcat(broker, "-C", "-t", topic, "-p", "0", "-e", "-q") == lines


def test_keys_headers_and_format(broker, topic):
    kcat(broker, "-P", "-t", topic, "-p", "0", "-K", ":", "-H", "a=1", "-H", "b=2", input=b"k1:v1\nk2:v2\n")
    out = kcat(broker, "-C", "-t", topic, "-e", "-q", "-f", "%t|%p|%o|%k|%s|%h\n")
    assert out.decode() == f"{topic}|0|0|k1|v1|a=1,b=2\n{topic}|0|1|k2|v2|a=1,b=2\n"


def test_nulls_in_json(broker, topic):
    kcat(broker, "-P", "-t", topic, "-p", "0", "-Z", "-K", ":", input=b"gone:\n")
    (envelope,) = [json.loads(line) for line in kcat(broker, "-C", "-t", topic, "-e", "-q", "-J").splitlines()]
    assert (envelope["key"], envelope["payload"], envelope["offset"]) == ("gone", None, 0)


def test_offsets_from_the_end_and_by_time(broker, topic):
    kcat(broker, "-P", "-t", topic, "-p", "0", input=b"".join(b"%d\n" % n for n in range(100)))
    assert kcat(broker, "-C", "-t", topic, "-p", "0", "-o", "-3", "-e", "-q") == b"97\n98\n99\n"
    assert kcat(broker, "-C", "-t", topic, "-p", "0", "-o", "40", "-c", "2", "-q") == b"40\n41\n"
    assert kcat(broker, "-C", "-t", topic, "-p", "0", "-o", "s@0", "-c", "1", "-q") == b"0\n"
    assert kcat(broker, "-Q", "-t", f"{topic}:0:-1").strip() == f"{topic} [0] offset 100".encode()


def test_metadata_listing(broker, topic):
    kcat(broker, "-P", "-t", topic, input=b"x\n")
    listing = json.loads(kcat(broker, "-L", "-J", "-t", topic))
    assert [b["name"] for b in listing["brokers"]] == [broker.address]
    assert listing["controllerid"] == broker.node
    (described,) = listing["topics"]
    assert described["partitions"][0]["leader"] == broker.node
    assert described["partitions"][0]["isrs"] == [{"id": broker.node}]


def test_a_binary_file_comes_back_whole(broker, topic, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 3_000)
    kcat(broker, "-P", "-t", topic, "-p", "0", str(file))
    assert kcat(broker, "-C", "-t", topic, "-p", "0", "-e", "-q", "-f", "%s") == file.read_bytes()
