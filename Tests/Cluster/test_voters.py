"""A quorum whose voters are kept in its log (KIP-853): controllers join, get a vote, lose it, and are replaced by empty ones."""

import shutil
import struct

from raw import Connection

AUTO_JOIN = {"controller.quorum.auto.join.enable": "true"}


def voters(cluster):
    """The nodes with a vote, as the leader of the quorum tells; none if it does not answer."""
    quorum = cluster.status().get("quorum") or {"voters": []}
    return sorted(each["id"] for each in quorum["voters"])


def observers(cluster):
    quorum = cluster.status().get("quorum") or {"observers": []}
    return sorted(each["id"] for each in quorum["observers"])


def controller_port(cluster, node):
    return cluster.nodes[node].settings["listeners"].rsplit(":", 1)[1]


def test_votes_are_given_and_taken(cluster, topic):
    three = cluster(3, dynamic=True)
    assert voters(three) == [1] and observers(three) == [2, 3]
    for node in (2, 3):
        three.apus("cluster", "voters", "add", node, "--endpoint", f"127.0.0.1:{controller_port(three, node)}")
    assert voters(three) == [1, 2, 3] and observers(three) == []
    again = three.apus("cluster", "voters", "add", 2, "--endpoint", f"127.0.0.1:{controller_port(three, 2)}", check=False)
    assert again.returncode == 1 and "a voter already" in again.stderr
    # Any of them may go now, the first one too.
    three.apus("topic", "create", topic, "--partitions", 3, "--replication-factor", 3)
    three.nodes[1].kill()
    three.wait_until(lambda: three.controller() in (2, 3), "another controller")
    three.apus("topic", "create", f"{topic}-more", "--partitions", 1, "--replication-factor", 2)
    three.nodes[1].start()
    three.wait_healthy()
    three.apus("cluster", "voters", "remove", 1)
    three.wait_until(lambda: voters(three) == [2, 3] and observers(three) == [1], "node 1 follows without a vote")
    gone = three.apus("cluster", "voters", "remove", 1, check=False)
    assert gone.returncode == 1 and "not a voter" in gone.stderr


def flexible(key, version, body):
    """A request in the flexible encoding: header version 2."""
    return struct.pack(">hhih", key, version, 1, 3) + b"raw" + b"\0" + body


def compact(text):
    return bytes([len(text) + 1]) + text.encode()


class Reader:
    def __init__(self, data):
        self.data, self.place = data, 0

    def take(self, form):
        value = struct.unpack_from(form, self.data, self.place)
        self.place += struct.calcsize(form)
        return value[0] if len(value) == 1 else value

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(">B")
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def text(self):
        length = self.varint()
        if length == 0:
            return None
        self.place += length - 1
        return self.data[self.place - length + 1:self.place].decode()

    def skip_tags(self):
        for _ in range(self.varint()):
            self.varint()
            self.place += self.varint()


def features(cluster):
    """{feature: level} as a broker tells clients (ApiVersions v3)."""
    with Connection(next(node for node in cluster.nodes.values() if node.is_running)) as connection:
        connection.send(flexible(18, 3, compact("raw") + compact("1") + b"\0"))
        reader = Reader(connection.receive()[1])
    assert reader.take(">h") == 0
    for _ in range(reader.varint() - 1):
        reader.take(">hhh")
        reader.skip_tags()
    reader.take(">i")
    found = {}
    for _ in range(reader.varint()):
        tag, length = reader.varint(), reader.varint()
        end = reader.place + length
        if tag == 2:
            for _ in range(reader.varint() - 1):
                name = reader.text()
                found[name] = reader.take(">hh")[0]
                reader.skip_tags()
        reader.place = end
    return found


def update_feature(cluster, name, level, upgrade_type=1, validate_only=False):
    """The error code and message of UpdateFeatures v1 for one feature."""
    body = struct.pack(">i", 30_000) + b"\2" + compact(name) + struct.pack(">hb", level, upgrade_type) + b"\0"
    with Connection(cluster.nodes[1], timeout=60) as connection:
        connection.send(flexible(57, 1, body + struct.pack(">?", validate_only) + b"\0"))
        reader = Reader(connection.receive()[1])
    reader.skip_tags()
    reader.take(">i")
    return reader.take(">h"), reader.text()


INVALID_UPDATE_VERSION = 95


def test_a_static_quorum_becomes_a_dynamic_one(cluster, topic):
    three = cluster(3)
    assert features(three).get("kraft.version", 0) == 0
    refused = three.apus("cluster", "voters", "remove", 3, check=False)
    assert refused.returncode == 1
    assert update_feature(three, "kraft.version", 2)[0] == INVALID_UPDATE_VERSION
    assert update_feature(three, "kraft.version", 1, validate_only=True) == (0, None)
    assert features(three).get("kraft.version", 0) == 0
    assert update_feature(three, "kraft.version", 1) == (0, None)
    three.wait_until(lambda: features(three).get("kraft.version", 0) == 1, "all know of it")
    assert update_feature(three, "kraft.version", 1) == (0, None)
    assert update_feature(three, "kraft.version", 0, upgrade_type=3)[0] == INVALID_UPDATE_VERSION
    # The voters are the log's now, each with its directory, and can change.
    found = three.status()["quorum"]["voters"]
    assert sorted(each["id"] for each in found) == [1, 2, 3] and all(each["directoryId"] for each in found)
    three.apus("cluster", "voters", "remove", 3)
    three.wait_until(lambda: voters(three) == [1, 2], "node 3 follows without a vote")
    # And it stays so through restarts, whatever the configuration says of voters.
    for node in three.nodes.values():
        node.kill()
    three.start()
    assert voters(three) == [1, 2] and features(three).get("kraft.version", 0) == 1
    three.apus("topic", "create", topic, "--partitions", 2, "--replication-factor", 3)


def test_controllers_join_by_themselves_and_an_empty_one_takes_a_place(cluster, topic):
    four = cluster(4, dynamic=True, settings=AUTO_JOIN)
    four.wait_until(lambda: voters(four) == [1, 2, 3, 4], "all have a vote")
    four.apus("topic", "create", topic, "--partitions", 4, "--replication-factor", 3)
    four.apus("produce", topic, input="".join(f"{number}\n" for number in range(100)))
    four.wait_replicated(topic)
    # The disk of one is lost. Its vote was that disk's, and is taken away; the new one gets its own.
    lost = next(each for each in four.status()["quorum"]["voters"] if each["id"] == 4)["directoryId"]
    four.nodes[4].kill()
    shutil.rmtree(four.nodes[4].data)
    four.nodes[4].start()
    # Unless the new one, which joins by itself, has asked for that already.
    four.apus("cluster", "voters", "remove", 4, "--directory-id", lost, check=False)

    def has_joined():
        found = [each["directoryId"] for each in (four.status().get("quorum") or {"voters": []})["voters"] if each["id"] == 4]
        return len(found) == 1 and found != [lost]

    four.wait_until(has_joined, "the new disk of node 4 has a vote")
    four.wait_replicated(topic)
    four.wait_healthy()


def test_voters_of_the_configuration_stay(cluster):
    three = cluster(3)
    done = three.apus("cluster", "voters", "remove", 2, check=False)
    assert done.returncode == 1 and "controller.quorum.voters" in done.stderr
    assert voters(three) == [1, 2, 3]
