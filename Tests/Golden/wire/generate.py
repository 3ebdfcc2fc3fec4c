#!/usr/bin/env python3
"""Writes the wire fixtures of this folder with kafka-python's encoder, which shares no code with ours.

    pip install kafka-python==3.0.12 aiokafka==0.14.0
    python3 Tests/Golden/wire/generate.py

Where aiokafka has the same message, in versions that are not flexible, both encoders must agree.

One file per API. For each direction and version there are two messages: `full` sets every field and has two elements in
every array, `sparse` has null wherever null is allowed, nothing in any array and no tagged field. An entry is three lines: direction, version and kind; the
message in hex (`-` for none), without header and length; its values as JSON with sorted keys, holding exactly the fields of that version.
In the JSON bytes and records are hex, and a uuid is Kafka's text (22 characters of URL-safe base64). `frames.txt` has whole frames of
messages with nothing set.
"""
import base64
import hashlib
import json
import pathlib
import uuid

import aiokafka.protocol.admin
import aiokafka.protocol.commit
import aiokafka.protocol.coordination
import aiokafka.protocol.fetch
import aiokafka.protocol.group
import aiokafka.protocol.metadata
import aiokafka.protocol.offset
import aiokafka.protocol.produce
import aiokafka.protocol.transaction
import kafka
import kafka.protocol.admin as admin
import kafka.protocol.consumer as consumer
import kafka.protocol.metadata as metadata
import kafka.protocol.producer as producer
import kafka.protocol.sasl as sasl

from aiokafka.protocol.types import Array, Schema

KAFKA_PYTHON = (metadata, producer, consumer, admin, sasl)
AIOKAFKA = tuple(
    getattr(aiokafka.protocol, name) for name in ("admin", "commit", "coordination", "fetch", "group", "metadata", "offset", "produce", "transaction"))
HERE = pathlib.Path(__file__).resolve().parent
SCHEMAS = HERE.parents[2] / "Sources" / "Formats" / "Wire" / "Schemas"

# kafka-python renames these fields and makes sets of bit positions of them.
RENAMED = {
    ("MetadataResponse", "MetadataResponse"): "clusterAuthorizedOperations",
    ("MetadataResponse", "topics"): "topicAuthorizedOperations",
    ("DescribeClusterResponse", "DescribeClusterResponse"): "clusterAuthorizedOperations",
    ("DescribeGroupsResponse", "groups"): "authorizedOperations",
}

# aiokafka never sends these, and has them wrong: `current_leader_epoch` takes 64 bits there, 32 in Kafka.
WRONG_IN_AIOKAFKA = {"OffsetRequest_v4", "OffsetRequest_v5"}


class Values:
    """A fixed sequence of numbers for one message: the same text gives the same values on every machine."""

    def __init__(self, seed):
        self.seed, self.count = seed, 0

    def draw(self, below):
        self.count += 1
        digest = hashlib.sha256(f"{self.seed}/{self.count}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % below

    def integer(self, bits, signed=True):
        value = self.draw(1 << bits)
        return value - (1 << (bits - 1)) if signed else value

    def bytes(self, count):
        return bytes(self.draw(256) for _ in range(count))

    def text(self):
        words = ["orders", "é-ü-ß", "日本語", "a\"quote\\", "x" * 130, "-", "payments.eu_1"]
        return words[self.draw(len(words))] + str(self.draw(1000))


def lower_camel(name):
    return name[0].lower() + name[1:]


def sample(field, values, version, kind, message, owner):
    """The value of one field twice: as kafka-python takes it, and as JSON."""
    nullable = field.nullable_for_version_q(version)
    if kind == "sparse" and nullable:
        return None, None
    if field.is_struct_array():
        count = 2 if kind == "full" else 0
        pairs = [structure(field.array_of, values, version, kind, message, owner) for _ in range(count)]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if field.is_array():
        count = 2 if kind == "full" else 0
        pairs = [scalar(field._type_str[2:], "", values) for _ in range(count)]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if field.is_struct():
        return structure(field, values, version, kind, message, owner)
    return scalar(field._type_str, field._name, values)


def scalar(kind, name, values):
    if kind == "int16" and name.endswith("ErrorCode"):
        value = 1 + values.draw(98)
        return value, value
    if kind in ("int8", "int16", "int32", "int64"):
        value = values.integer(int(kind[3:]))
        return value, value
    if kind == "uint16":
        value = values.integer(16, signed=False)
        return value, value
    if kind == "float64":
        # Exact in binary and in decimal.
        value = values.integer(20) / 8
        return value, value
    if kind == "bool":
        value = values.draw(2) == 1
        return value, value
    if kind == "string":
        value = values.text()
        return value, value
    if kind == "uuid":
        raw = values.bytes(16)
        return uuid.UUID(bytes=raw), base64.urlsafe_b64encode(raw).decode().rstrip("=")
    if kind in ("bytes", "records"):
        raw = values.bytes(90 + values.draw(80))
        return raw, raw.hex()
    if kind == "bitfield":
        bits = {position for position in range(20) if values.draw(2) == 1} | {1}
        return bits, sum(1 << position for position in bits)
    raise ValueError(f"no sample for {kind}")


def structure(struct, values, version, kind, message, owner):
    """A structure as keyword arguments of its class, and as JSON."""
    arguments, view = {}, {}
    for field in struct._fields:
        if not field.for_version_q(version):
            continue
        name = RENAMED.get((message, owner)) if field.name == "authorized_operations" else lower_camel(field._name)
        if kind == "sparse" and field.tagged_field_q(version):
            # Left out: the reader must supply the default, which the JSON does not repeat.
            continue
        native, plain = sample(field, values, version, kind, message, field.name)
        arguments[field.name], view[name] = native, plain
    if struct.has_data_class():
        return struct.data_class(version=version, **arguments), view
    return arguments, view


def positional(struct, value, version):
    """The fields of kafka-python's object in the order of their bytes, as aiokafka takes them."""
    fields = []
    for field in struct._fields:
        if not field.for_version_q(version):
            continue
        native = getattr(value, field.name)
        if field.is_struct_array() and native is not None:
            native = [tuple(positional(field.array_of, element, version)) for element in native]
        elif field._type_str == "bitfield":
            native = sum(1 << position for position in native)
        fields.append(native)
    return fields


def fitted(values, kind):
    """The same values grouped as aiokafka groups them: it has more structures in some places and fewer in others, over the same bytes."""
    if isinstance(kind, Schema):
        return tuple(fitted(values, field) for field in kind.fields)
    value = next(values)
    if isinstance(kind, Array) and value is not None:
        return [fitted(iter(element if isinstance(element, tuple) else (element,)), kind.array_of) for element in value]
    return value


def check_with_aiokafka(cls, message, encoded, version):
    """Holds kafka-python, whose schemas are Kafka's own, against aiokafka, whose schemas were written by hand. False: it has none."""
    name = cls._json["name"].replace("ApiVersions", "ApiVersion").replace("ListOffsets", "Offset")
    other = None if cls.flexible_version_q(version) else find_in(AIOKAFKA, f"{name}_v{version}")
    if other is None or other.__name__ in WRONG_IN_AIOKAFKA:
        return False
    if other.SCHEMA.encode(fitted(iter(positional(cls._struct, message, version)), other.SCHEMA)) != encoded:
        raise AssertionError(f"aiokafka and kafka-python disagree on {name} v{version}")
    return True


CHECKED = set()


def entries(cls, direction, versions):
    for version in versions:
        for kind in ("full", "sparse"):
            name = cls._json["name"]
            values = Values(f"{name}/{version}/{kind}")
            arguments = {}
            view = {}
            for field in cls._struct._fields:
                if not field.for_version_q(version) or (kind == "sparse" and field.tagged_field_q(version)):
                    continue
                renamed = field.name == "authorized_operations"
                native, plain = sample(field, values, version, kind, name, field.name)
                arguments[field.name] = native
                view[RENAMED[(name, name)] if renamed else lower_camel(field._name)] = plain
            instance = cls(version=version, **arguments)
            encoded = bytes(instance.encode(version=version))
            if check_with_aiokafka(cls, instance, encoded, version):
                CHECKED.add((name, version))
            text = json.dumps(view, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
            yield f"{direction} v{version} {kind}\n{encoded.hex() or '-'}\n{text}\n"


def frames():
    """Whole frames: length, header, message. The header's version follows from the API's, and ApiVersions is the exception."""
    cases = [("ApiVersions", metadata, version) for version in (0, 3, 4)] + [("Metadata", metadata, version) for version in (8, 9)]
    cases += [("Produce", producer, version) for version in (8, 9)] + [("Fetch", consumer, version) for version in (11, 12)]
    for api, module, version in cases:
        for client in (None, "apus-é"):
            request = getattr(module, api + "Request")(version=version)
            request.with_header(correlation_id=77 + version, client_id=client)
            encoded = bytes(request.encode(header=True, framed=True))
            yield f"request {api} v{version} {77 + version} {client}\n{encoded.hex()}\n"
        response = getattr(module, api + "Response")(version=version)
        response.with_header(correlation_id=-5 - version)
        encoded = bytes(response.encode(header=True, framed=True))
        yield f"response {api} v{version} {-5 - version}\n{encoded.hex()}\n"


def served_versions(path):
    for line in path.read_text().splitlines():
        if line.startswith("versions "):
            first, _, last = line.split()[1].partition("-")
            return range(int(first), int(last or first) + 1)
    raise ValueError(f"{path}: no versions")


def find_in(modules, name):
    return next((getattr(module, name) for module in modules if hasattr(module, name)), None)


def main():
    assert kafka.__version__ == "3.0.12", f"the fixtures are made with kafka-python 3.0.12, not {kafka.__version__}"
    for old in HERE.glob("*.txt"):
        old.unlink()
    for path in sorted(SCHEMAS.glob("*.wire")):
        api, versions = path.stem, served_versions(path)
        request, response = find_in(KAFKA_PYTHON, api + "Request"), find_in(KAFKA_PYTHON, api + "Response")
        if request is None or response is None:
            print(f"{api}: kafka-python has no such API")
            continue
        text = []
        for cls, direction in ((request, "request"), (response, "response")):
            missing = [version for version in versions if version > cls.max_version]
            if missing:
                print(f"{api} {direction}: kafka-python lacks versions {missing}")
            text += entries(cls, direction, [version for version in versions if version not in missing])
        (HERE / f"{api}.txt").write_text("\n".join(text))
    print(f"aiokafka agrees on {len(CHECKED)} pairs of message and version")
    (HERE / "frames.txt").write_text("\n".join(frames()))


main()
