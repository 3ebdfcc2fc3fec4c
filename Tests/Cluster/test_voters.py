"""A quorum whose voters are kept in its log (KIP-853): controllers join, get a vote, lose it, and are replaced by empty ones."""

import shutil

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


def test_controllers_join_by_themselves_and_an_empty_one_takes_a_place(cluster, topic):
    four = cluster(4, dynamic=True, settings=AUTO_JOIN)
    four.wait_until(lambda: voters(four) == [1, 2, 3, 4], "all have a vote")
    four.apus("topic", "create", topic, "--partitions", 4, "--replication-factor", 3)
    four.apus("produce", topic, input="".join(f"{number}\n" for number in range(100)))
    four.wait_replicated(topic)
    # The disk of one is lost. Its vote was that disk's, and is taken away; the new one gets its own.
    four.nodes[4].kill()
    shutil.rmtree(four.nodes[4].data)
    four.nodes[4].start()
    lost = next(each for each in four.status()["quorum"]["voters"] if each["id"] == 4)["directoryId"]
    four.apus("cluster", "voters", "remove", 4, "--directory-id", lost)

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
