#!/usr/bin/env python3
"""Writes the record batches that other people's encoders make, and what is in them, for RecordsTests to read.

    pip install kafka-python aiokafka confluent-kafka lz4 zstandard python-snappy cramjam
    ./generate.py            # rewrites *.batch and batches.json beside this script
    ./generate.py --check D  # decodes with kafka-python and aiokafka what RecordsTests wrote into directory D

kafka-python and aiokafka encode here; librdkafka produces to its own mock broker, which is then asked for the stored bytes.
The test reads the committed files: none of these packages is needed to run it. What RecordsTests writes (with APUS_GOLDEN_OUT=D
in its environment) is one `.batch` file per codec and set, so that the check runs in the other direction too.
"""
import json
import os
import socket
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
START = 1_700_000_000_000


def pattern(count):
    """Bytes that the Swift side can make again: neither random nor one byte repeated."""
    return bytes((i * 7 + i // 251) & 0xFF for i in range(count))


def record_sets():
    """name -> (batch fields, [(timestamp, key, value, headers)])."""
    plain = dict(producer_id=-1, producer_epoch=-1, base_sequence=-1, transactional=False)
    yield "simple", plain, [(START + i, b"key-%d" % i, b"value-%d" % i, []) for i in range(3)]
    yield "nulls", plain, [
        (START, None, b"v", []), (START, b"k", None, []), (START, None, None, []), (START, b"", b"", []), (START, b"k", b"", []),
    ]
    headers = [("trace", b"\x00\x01\xff"), ("trace", b"again"), ("", b""), ("nothing", None), ("gr\u00fc\u00dfe \u2713", b"utf-8 name")]
    yield "headers", plain, [(START + i, b"k", b"v" * 40, headers[: i % 6]) for i in range(24)]
    # Timestamps go back and forth, lengths cross the one-byte and two-byte varints, deltas reach past 63.
    yield "many", plain, [
        (START + (i * 37) % 1000, b"user-%d" % (i % 50), b"event " * (i % 30) + b"%d" % i, []) for i in range(300)
    ]
    yield "big", plain, [(START, b"k", pattern(70_000), []), (START + 1, b"k", b"x" * 40_000, [])]
    yield "transactional", dict(producer_id=4711, producer_epoch=3, base_sequence=2147483640, transactional=True), [
        (START + i, b"k%d" % i, b"value " * 20, []) for i in range(10)
    ]


def text(data):
    if data is None:
        return None
    if len(data) > 1000:
        return {"pattern": len(data)} if data == pattern(len(data)) else {"repeat": data[0], "count": len(data)}
    return data.hex()


def skips(encoder, codec, name):
    """Tiny batches do not get smaller, so that the Python encoders leave them as they are; one big one without codec is enough."""
    return codec != "none" and name in ("simple", "nulls") or codec == "none" and name == "big" and encoder != "kafka-python"


def describe_set(fields, records):
    return {
        "producerId": fields["producer_id"], "producerEpoch": fields["producer_epoch"], "baseSequence": fields["base_sequence"],
        "transactional": fields["transactional"],
        "records": [[t, text(k), text(v), [[n, text(d)] for n, d in h]] for t, k, v, h in records],
    }


def build(builder_type, codec, fields, records):
    builder = builder_type(
        magic=2, compression_type=CODECS.index(codec), is_transactional=fields["transactional"], producer_id=fields["producer_id"],
        producer_epoch=fields["producer_epoch"], base_sequence=fields["base_sequence"], batch_size=10_000_000)
    for offset, (timestamp, key, value, headers) in enumerate(records):
        assert builder.append(offset, timestamp, key, value, headers) is not None
    return bytes(builder.build())


def fetch_raw(host, port, topic):
    """The stored batches of partition 0, by a Fetch request of version 4 written out by hand."""
    name = topic.encode()
    body = struct.pack(">iiiib", -1, 1000, 1, 1 << 26, 0)
    body += struct.pack(">ih", 1, len(name)) + name + struct.pack(">iiqi", 1, 0, 0, 1 << 26)
    request = struct.pack(">hhih", 1, 4, 1, -1) + body
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        reader = connection.makefile("rb")
        size, = struct.unpack(">i", reader.read(4))
        answer = reader.read(size)
    at = 4 + 4 + 4 + 2 + len(name) + 4  # correlation, throttle, topics, name, partitions
    partition, error, high, stable, aborted = struct.unpack_from(">ihqqi", answer, at)
    assert error == 0 and aborted <= 0, (error, aborted)
    size, = struct.unpack_from(">i", answer, at + 26)
    return answer[at + 30:at + 30 + size]


def librdkafka_batches():
    from confluent_kafka import Producer

    base = {"test.mock.num.brokers": 1, "linger.ms": 500, "batch.num.messages": 100_000, "message.max.bytes": 10_000_000}
    for codec in CODECS:
        for name, fields, records in record_sets():
            if fields["transactional"] or skips("librdkafka", codec, name):
                continue
            producer = Producer(dict(base, **{"compression.codec": codec}))
            broker = next(iter(producer.list_topics(timeout=10).brokers.values()))
            topic = "t"
            producer.list_topics(topic, timeout=10)
            for timestamp, key, value, headers in records:
                producer.produce(topic, value, key, 0, timestamp=timestamp, headers=headers)
            assert producer.flush(20) == 0
            stored = fetch_raw(broker.host, broker.port, topic)
            length, = struct.unpack_from(">i", stored, 8)
            if length + 12 == len(stored):  # all went into one batch
                # As produced, not as stored: the mock broker wrote the base offset, which is 0 in both.
                yield codec, name, stored


def generate():
    from aiokafka.record.default_records import DefaultRecordBatchBuilder as AioBuilder
    from kafka.record.default_records import DefaultRecordBatchBuilder as PythonBuilder

    index = []

    def add(encoder, codec, name, batch):
        attributes, = struct.unpack_from(">h", batch, 21)
        assert CODECS[attributes & 7] == codec, f"{encoder} left {name} uncompressed"
        file_name = f"{encoder}-{codec}-{name}.batch"
        with open(os.path.join(HERE, file_name), "wb") as file:
            file.write(batch)
        index.append({"file": file_name, "encoder": encoder, "codec": codec, "set": name})

    for encoder, builder in (("kafka-python", PythonBuilder), ("aiokafka", AioBuilder)):
        for codec in CODECS:
            for name, fields, records in record_sets():
                if not skips(encoder, codec, name):
                    add(encoder, codec, name, build(builder, codec, fields, records))
    for codec, name, batch in librdkafka_batches():
        add("librdkafka", codec, name, batch)
    sets = [f"{json.dumps(name)}: " + json.dumps(describe_set(*rest), separators=(",", ":")) for name, *rest in record_sets()]
    with open(os.path.join(HERE, "batches.json"), "w") as file:
        file.write('{"sets": {\n' + ",\n".join(sets) + '\n},\n"batches": [\n')
        file.write(",\n".join(json.dumps(entry) for entry in index) + "\n]}\n")
    print(f"{len(index)} batches, {sum(os.path.getsize(os.path.join(HERE, e['file'])) for e in index)} bytes")


def check(directory):
    from aiokafka.record.default_records import DefaultRecordBatch as AioBatch
    from kafka.record.default_records import DefaultRecordBatch as PythonBatch

    sets = {name: (fields, records) for name, fields, records in record_sets()}
    count = 0
    for file in sorted(os.listdir(directory)):
        if not file.endswith(".batch"):
            continue
        _, codec, name = file[: -len(".batch")].split("-")
        fields, records = sets[name]
        data = open(os.path.join(directory, file), "rb").read()
        for reader in (PythonBatch, AioBatch):
            batch = reader(data)
            assert batch.validate_crc(), file
            assert batch.compression_type == CODECS.index(codec), file
            assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (
                fields["producer_id"], fields["producer_epoch"], fields["base_sequence"]), file
            assert batch.is_transactional == fields["transactional"], file
            found = [(r.timestamp, r.key, r.value, [tuple(h) for h in r.headers]) for r in batch]
            assert found == [(t, k, v, [tuple(h) for h in hs]) for t, k, v, hs in records], file
        count += 1
    assert count > 0, "nothing to check"
    print(f"{count} batches decoded by kafka-python and by aiokafka: all as expected")


if __name__ == "__main__":
    check(sys.argv[2]) if len(sys.argv) == 3 and sys.argv[1] == "--check" else generate()
