"""`apus cluster` against a cluster of processes: what it shows, what it changes, and its exit codes."""

import json
import os
import subprocess
import threading
import time

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource

from apus_process import BINARY, apus
from cluster import Cluster


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("three")) as cluster:
        yield cluster


def fill(cluster, topic, partitions=3, records=200, **options):
    cluster.apus("topic", "create", topic, "--partitions", partitions, "--replication-factor", options.get("replicas", 3))
    cluster.apus("produce", topic, input="".join(f"record {number}\n" for number in range(records)))
    cluster.wait_replicated(topic)


def test_a_whole_cluster_is_healthy(three):
    done = three.apus("cluster", "status")
    assert done.stdout.startswith("cluster ") and ": healthy" in done.stdout.splitlines()[0]
    status = three.status()
    quorum = status["quorum"]
    assert quorum["leader"] in {1, 2, 3} and sorted(each["id"] for each in quorum["voters"]) == [1, 2, 3]
    assert all(each["lag"] is not None for each in quorum["voters"])
    assert [each["id"] for each in status["brokers"]] == [1, 2, 3] and not any(each["fenced"] for each in status["brokers"])


def test_leaders_have_reasons_and_times(three, topic):
    fill(three, topic)
    found = three.partitions(topic)
    assert sorted(found) == [0, 1, 2]
    for each in found.values():
        assert each["leader"] in each["isr"] and sorted(each["replicas"]) == [1, 2, 3]
        # Followers that were asked for their first fetch may have joined since.
        assert each["reason"] in {"created", "isrExpand"} and each["offlineSince"] is None
        assert abs(each["changed"] / 1000 - time.time()) < 600
    assert three.apus("cluster", "leaders", "--topic", topic, "--unhealthy", "--json").stdout.strip() == "[]"
    done = three.apus("cluster", "leaders", "--topic", "no-such-topic", check=False)
    assert done.returncode == 1 and "no-such-topic" in done.stderr


def test_the_metadata_log_tells_the_same_from_every_broker_and_from_the_disk(three, topic):
    fill(three, topic, partitions=1)
    stories = []
    for node in three.nodes.values():
        told = json.loads(apus("cluster", "explain", topic, 0, "--only", "--json", "--bootstrap", node.address).stdout)
        stories.append(told["events"])
    assert stories[0] == stories[1] == stories[2]
    assert [each["event"] for each in stories[0]][:2] == ["topicCreated", "partition"]
    for node in three.nodes.values():
        told = json.loads(apus("cluster", "explain", topic, 0, "--only", "--json", "--log-dir", node.data).stdout)
        assert told["events"] == stories[0]
    done = three.apus("cluster", "explain", topic, 7, check=False)
    assert done.returncode == 1 and "no partition 7" in done.stderr


class Watch:
    """`apus cluster leaders --watch` in the background."""

    def __init__(self, cluster, *arguments):
        self.process = subprocess.Popen(
            [str(BINARY), "cluster", "leaders", "--watch", "--json", *arguments, "--bootstrap", cluster.bootstrap],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.events = []
        assert "watching" in self.process.stderr.readline()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.events.append((time.time(), json.loads(line)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def test_a_failover_is_seen_and_explained(cluster, topic):
    three = cluster()
    fill(three, topic)
    victim = three.leader(topic, 0)
    with Watch(three) as watch:
        three.nodes[victim].kill()
        three.wait_until(lambda: three.leader(topic, 0) not in (None, victim), "another leader")
        status = three.apus("cluster", "status", check=False)
        assert status.returncode == 1 and f"broker {victim}" in status.stdout and "degraded" in status.stdout.splitlines()[0]
        three.wait_until(
            lambda: any(event["event"] == "partition" and event["partition"] == 0 and event["topic"] == topic
                        and event["after"]["leader"] not in (None, victim) for _, event in watch.events),
            "the watch tells of the new leader")
    told = json.loads(three.apus("cluster", "explain", topic, 0, "--json").stdout)
    changes = [event for event in told["events"] if event["event"] == "partition" and event["before"]]
    moved = [event for event in changes if event["before"]["leader"] == victim and event["after"]["leader"] not in (None, victim)]
    assert moved and moved[0]["reason"] == "brokerFenced" and f"broker {victim} was fenced" in moved[0]["text"]
    fencings = [event for event in told["events"] if event["event"] == "broker" and event["change"] == "fenced" and event["node"] == victim]
    # The partitions come first in the log, and the fencing behind them in the same decision.
    assert [each["cause"] for each in fencings] == ["processDead"] and fencings[0]["time"] == moved[0]["time"]
    assert "its process is dead" in moved[0]["text"] and "its process is dead" in fencings[0]["text"]
    three.nodes[victim].start()
    three.wait_healthy()
    three.wait_replicated(topic)
    assert three.apus("cluster", "elect", "--preferred", "--topic", topic, check=False).returncode == 0
    three.wait_until(lambda: three.leader(topic, 0) == three.partitions(topic)[0]["replicas"][0], "the preferred leader leads")


def test_without_a_majority_it_is_unavailable(cluster):
    three = cluster()
    for node in (1, 2):
        three.nodes[node].kill()
    three.wait_until(
        lambda: three.apus("cluster", "status", "--timeout", "2s", check=False, timeout=60).returncode == 2, "unavailable", timeout=60)
    three.nodes[3].kill()
    done = three.apus("cluster", "status", "--json", "--timeout", "2s", check=False)
    assert done.returncode == 2 and json.loads(done.stdout)["health"] == "unavailable" and "Error" in done.stderr


def test_an_election_is_previewed(three, topic):
    fill(three, topic, partitions=1, records=50)
    preview = json.loads(three.apus("cluster", "elect", "--unclean", "--topic", topic, "--preview", "--json").stdout)[0]
    assert preview["outcome"].startswith("nothing")
    assert [each["endOffset"] for each in preview["candidates"]] == [50, 50, 50]
    assert all(each["losesCommitted"] == 0 for each in preview["candidates"])
    assert preview["highWatermark"] == 50
    assert three.apus("cluster", "elect", "--preferred", "--topic", topic).stdout.strip() == "no election was needed"


def test_replicas_are_planned_moved_and_put_back(cluster, topic, tmp_path):
    four = cluster(4)
    four.apus("topic", "create", topic, "--partitions", 6, "--replication-factor", 2)
    four.apus("produce", topic, input="x" * 1000 + "\n")
    four.wait_replicated(topic)
    plan, rollback = tmp_path / "plan.json", tmp_path / "rollback.json"
    before = {number: each["replicas"] for number, each in four.partitions(topic).items()}
    four.apus("cluster", "reassign", "plan", "--topic", topic, "--drain", "4", "--out", plan, "--rollback", rollback)
    four.apus("cluster", "reassign", "apply", plan, "--wait")
    assert all(4 not in each["replicas"] for each in four.partitions(topic).values())
    assert "every partition of the plan" in four.apus("cluster", "reassign", "status", plan).stdout
    four.apus("cluster", "reassign", "apply", rollback, "--wait")
    assert {number: each["replicas"] for number, each in four.partitions(topic).items()} == before
    done = four.apus("cluster", "reassign", "status", plan, check=False)
    assert done.returncode == 1 and "nothing moves it" in done.stderr
    assert "no reassignment" in four.apus("cluster", "reassign", "cancel", "--all").stdout


def throttles(cluster, topic):
    """What is set of KIP-73's configs on the topic and on each broker, by Kafka's own client."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic)]
    resources += [ConfigResource(ConfigResource.Type.BROKER, str(node)) for node in cluster.nodes]
    found = {}
    # Of brokers it takes one for each call.
    for resource in resources:
        for name, entry in admin.describe_configs([resource])[resource].result(30).items():
            if ".replication.throttled." in name and not entry.is_default:
                found[(resource.name, name)] = entry.value
    return found


def test_a_move_is_throttled(cluster, topic, tmp_path):
    four = cluster(4)
    four.apus("topic", "create", topic, "--partitions", 1, "--replication-factor", 2, "--config", "flush.policy=os")
    four.apus("produce", topic, input="".join(f"{number:05d}" + "x" * 1019 + "\n" for number in range(8_000)))
    four.wait_replicated(topic)
    now = four.partitions(topic)[0]["replicas"]
    target = [now[0], next(node for node in four.nodes if node not in now)]
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": target}]}))
    began = time.monotonic()
    four.apus("cluster", "reassign", "apply", plan, "--throttle", "1MB")
    set_ = throttles(four, topic)
    assert set_[(topic, "leader.replication.throttled.replicas")] == ",".join(f"0:{node}" for node in now)
    assert set_[(topic, "follower.replication.throttled.replicas")] == f"0:{target[1]}"
    assert {value for (_, name), value in set_.items() if name.endswith("rate")} <= {"1000000", "1048576"}
    assert "under way" in four.apus("cluster", "reassign", "status", plan).stdout
    assert throttles(four, topic) == set_, "a move that is under way keeps its limit"
    # Meanwhile what is in sync is as fast as ever.
    slowest = 0
    for _ in range(10):
        sent = time.monotonic()
        four.apus("produce", topic, input="y\n")
        slowest = max(slowest, time.monotonic() - sent)
    four.wait_until(lambda: four.partitions(topic)[0]["replicas"] == target, "the move is complete", interval=0.2)
    took = time.monotonic() - began
    assert 5 < took < 25, f"8 MB at 1 MB/s took {took:.1f} s"
    assert slowest < 2, f"a produce of one record took {slowest:.1f} s"
    # As kafka-reassign-partitions.sh --verify: whoever looks at a finished plan takes the limit off.
    four.apus("cluster", "reassign", "status", plan, "--preserve-throttles")
    assert throttles(four, topic) == set_
    four.apus("cluster", "reassign", "status", plan)
    assert throttles(four, topic) == {}
    print(f"8 MB at 1 MB/s took {took:.1f} s, the slowest produce meanwhile {slowest:.2f} s")


def test_a_cancelled_move_loses_its_throttle(cluster, topic, tmp_path):
    three = cluster(3)
    three.apus("topic", "create", topic, "--partitions", 1, "--replication-factor", 1)
    three.apus("produce", topic, input="".join(f"{number:05d}" + "x" * 1019 + "\n" for number in range(4_000)))
    now = three.partitions(topic)[0]["replicas"]
    plan = tmp_path / "plan.json"
    target = [now[0] % 3 + 1]
    plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": target}]}))
    three.apus("cluster", "reassign", "apply", plan, "--throttle", "10KB")
    assert throttles(three, topic)
    three.apus("cluster", "reassign", "cancel", plan)
    assert throttles(three, topic) == {} and three.partitions(topic)[0]["replicas"] == now
    bad = three.apus("topic", "alter", topic, "--config", "leader.replication.throttled.replicas=0-1", check=False)
    assert bad.returncode == 1 and "literal '*' or a list of replicas" in bad.stderr


def test_a_broker_is_drained(cluster, topic):
    four = cluster(4)
    fill(four, topic, partitions=6)
    four.apus("cluster", "drain", 2, "--leaders-only")
    assert all(each["leader"] != 2 for each in four.partitions(topic).values())
    assert any(2 in each["replicas"] for each in four.partitions(topic).values())
    four.apus("cluster", "drain", 2)
    assert all(2 not in each["replicas"] for each in four.partitions(topic).values())
    done = four.apus("cluster", "drain", 9, check=False)
    assert done.returncode == 1 and "no broker 9" in done.stderr


def test_a_lost_broker_is_forgotten(cluster):
    four = cluster(4)
    four.nodes[4].stop()
    refused = four.apus("cluster", "unregister", 9, check=False)
    assert refused.returncode == 1 and "9" in refused.stderr
    four.wait_until(lambda: four.apus("cluster", "unregister", 4, check=False).returncode == 0, "broker 4 unregistered")
    assert [each["id"] for each in four.status()["brokers"]] == [1, 2, 3]


def test_mistakes_on_the_command_line():
    for arguments in [["elect"], ["elect", "--preferred"], ["explain", "topic"], ["reassign", "cancel"], ["no-such-command"]]:
        assert apus("cluster", *arguments, check=False).returncode == 64


def test_make_cluster(tmp_path):
    """The script's ports are fixed, so that it needs them free."""
    script = os.path.join(os.path.dirname(__file__), "three.sh")
    environment = {**os.environ, "APUS": str(BINARY), "CLUSTER_DATA": str(tmp_path / "data")}
    up = subprocess.run([script, "up"], capture_output=True, text=True, timeout=120, env=environment)
    try:
        if "in use" in up.stderr:
            pytest.skip(up.stderr.strip())
        assert up.returncode == 0, up.stdout + up.stderr
        assert ": healthy" in up.stdout and "APUS_BOOTSTRAP=" in up.stdout
        again = subprocess.run([script, "up"], capture_output=True, text=True, timeout=60, env=environment)
        assert again.returncode == 0, again.stderr
    finally:
        down = subprocess.run([script, "down"], capture_output=True, text=True, timeout=120, env=environment)
    assert down.returncode == 0, down.stderr
    assert not list((tmp_path / "data").glob("*.pid"))
