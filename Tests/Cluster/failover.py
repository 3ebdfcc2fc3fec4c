#!/usr/bin/env python3
"""Measures how long partitions cannot be written to when something fails, as clients see it, and checks that nothing acknowledged is lost.

Three brokers, a topic of 12 partitions with three replicas, a librdkafka client that writes to each every 5 ms with acks=all. For each
fault a number of rounds: wait until every replica is in sync and every preferred leader leads, do it, wait until every partition takes
records again, repair it. Unavailability is the longest time between two acknowledgements of a partition around the fault. At the end every
acknowledged record must be there, once and in order with clients that are idempotent.

  python Tests/Cluster/failover.py --rounds 30 --json failover.json
  python Tests/Cluster/failover.py --single          one broker, killed and started again
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent / "Clients")]

from apus_process import Apus, apus  # noqa: E402
from cluster import Cluster  # noqa: E402
from lab import Lab, unavailable  # noqa: E402
from probe import CLIENTS, INTERVAL, Probe, check  # noqa: E402

TOPIC = "failover"


def percentile(values, share):
    """The smallest value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * share // 100) - 1))]


def summary(values):
    milliseconds = [value * 1000 for value in values]
    return {"count": len(values), **{name: round(percentile(milliseconds, share), 1) for name, share in [("p50", 50), ("p99", 99)]},
            "max": round(max(milliseconds), 1)} if values else {"count": 0}


class Setting:
    """A cluster with its topic, in the state in which each round begins."""

    def __init__(self, cluster, partitions, lab=None):
        self.cluster, self.partitions, self.lab = cluster, partitions, lab
        self.generator = random.Random(7)

    def create_topic(self):
        self.cluster.apus("topic", "create", TOPIC, "--partitions", self.partitions, "--replication-factor", 3,
                          "--config", "min.insync.replicas=2")

    def settle(self):
        """Every replica in sync, and every partition led by its preferred leader: each node leads as many as the others."""
        self.cluster.wait_healthy()
        self.cluster.wait_replicated(TOPIC)

        def is_even():
            self.cluster.apus("cluster", "elect", "--preferred", "--topic", TOPIC, check=False)
            return all(each["leader"] == each["replicas"][0] for each in self.cluster.partitions(TOPIC).values())

        self.cluster.wait_until(is_even, "every preferred leader leads", interval=0.3)

    def roles(self):
        """The active controller, and {node: partitions it leads}, as they are now."""
        led = {node: [] for node in self.cluster.nodes}
        for number, each in self.cluster.partitions(TOPIC).items():
            led[each["leader"]].append(number)
        return self.cluster.controller(), led


class Fault:
    """What is done to a node, and how it is undone. `partitions` are those whose unavailability is measured."""

    name = ""
    description = ""
    # Which node: the active controller, or another one.
    hits_controller = False
    # Whose clients are measured: of the partitions that the node led, followed, or all.
    concerns = "led"
    needs_lab = False

    def do(self, setting, node):
        setting.cluster.nodes[node].process.kill()

    def undo(self, setting, node):
        process = setting.cluster.nodes[node]
        process.process.wait()
        process.start()


class KillLeader(Fault):
    name, description = "kill-leader", "kill -9 of a leader that is not the active controller"


class KillFollower(Fault):
    name, description = "kill-follower", "kill -9 of a follower in the ISR that is not the active controller"
    concerns = "followed"


class KillController(Fault):
    name, description = "kill-controller", "kill -9 of the active controller, seen by partitions that it does not lead"
    hits_controller, concerns = True, "followed"


class KillBoth(Fault):
    name, description = "kill-leader-and-controller", "kill -9 of the node that is both, seen by the partitions that it leads"
    hits_controller = True


class Stop(Fault):
    name, description = "sigstop", "SIGSTOP of a leader for 5 s"

    def do(self, setting, node):
        process = setting.cluster.nodes[node]
        process.pause()
        # Whether the clients have come back by then or not: some wait for an answer of the stopped node for a minute.
        self.timer = threading.Timer(5, process.resume)
        self.timer.start()

    def undo(self, setting, node):
        self.timer.join()


class Terminate(Fault):
    name, description = "sigterm", "SIGTERM of a node, the active controller in every third round; all partitions"
    concerns = "all"

    def do(self, setting, node):
        process = setting.cluster.nodes[node]
        assert process.stop() == 0, f"it did not stop cleanly:\n{process.log_text()[-4000:]}"


class Cut(Fault):
    name, description = "cut", "the network of a leader is cut without a word"
    needs_lab = True

    def do(self, setting, node):
        setting.lab.cut(node)

    def undo(self, setting, node):
        setting.lab.heal(node)


class CutBoth(Cut):
    name, description = "cut-leader-and-controller", "the network of the node that is both is cut without a word"
    hits_controller = True


FAULTS = {each.name: each for each in [KillLeader, KillFollower, KillController, KillBoth, Stop, Terminate, Cut, CutBoth]}


def run_round(setting, probe, fault, number):
    """One round; {partition: seconds} of the fault, and of the time in which it was repaired."""
    setting.settle()
    # A client may still wait before it connects again to what came back: that belongs to the round before.
    probe.wait_recovered(time.monotonic())
    controller, led = setting.roles()
    others = sorted(node for node in setting.cluster.nodes if node != controller)
    wants_controller = fault.hits_controller or (fault.name == "sigterm" and number % 3 == 2)
    node = controller if wants_controller else others[number % len(others)]
    concerned = {
        "led": led[node], "followed": [each for other, many in led.items() if other != node for each in many],
        "all": list(range(setting.partitions)),
    }[fault.concerns]
    # So that rounds do not fall in step with anything in the cluster.
    time.sleep(0.5 + setting.generator.random())
    retries = probe.retries()
    began = time.monotonic()
    fault.do(setting, node)
    probe.wait_recovered(time.monotonic())
    time.sleep(1)
    repair = time.monotonic()
    fault.undo(setting, node)
    setting.settle()
    probe.wait_recovered(time.monotonic())
    done = time.monotonic()
    # Only now, for it takes time from the clients.
    gaps = {each: probe.partitions[each].longest_gap(began, repair) for each in concerned}
    returning = {each.number: each.longest_gap(repair, done) for each in probe.partitions}
    time.sleep(0.6)  # the clients count twice a second
    return {"node": node, "controller": controller, "unavailable": gaps, "during return": returning,
            "retried requests": probe.retries() - retries}


def run_fault(options, fault, lab=None):
    hosts, wrappers = None, None
    if lab:
        hosts = [lab.address(host) for host in (1, 2, 3)]
        wrappers = [lab.inside(host) for host in (1, 2, 3)]
    with tempfile.TemporaryDirectory(prefix="apus-failover-", dir=options.directory) as directory:
        settings = dict(pair.split("=", 1) for pair in options.set)
        cluster = Cluster(directory, 3, settings, hosts=hosts, wrappers=wrappers)
        with cluster:
            setting = Setting(cluster, options.partitions, lab)
            setting.create_topic()
            setting.settle()
            client = CLIENTS[options.client]
            probe = Probe(cluster.bootstrap, TOPIC, options.partitions, client, options.clients).start()
            rounds = []
            try:
                for number in range(options.rounds):
                    rounds.append(run_round(setting, probe, fault, number))
                    worst = max(rounds[-1]["unavailable"].values())
                    print(f"  {fault.name} {number + 1}/{options.rounds}: node {rounds[-1]['node']}, {worst * 1000:.0f} ms", flush=True)
                setting.settle()
                probe.stop()
                totals = check(probe, cluster.bootstrap, TOPIC, once=client.get("enable.idempotence", False))
            except BaseException:
                print(cluster.logs(100), file=sys.stderr)
                raise
    gaps = [value for each in rounds for value in each["unavailable"].values()]
    return {
        "fault": fault.name, "description": fault.description, "client": options.client, "rounds": len(rounds),
        "unavailable_ms": summary(gaps),
        "during_return_ms": summary([value for each in rounds for value in each["during return"].values()]),
        "retried_requests": sum(each["retried requests"] for each in rounds), "records": totals, "errors": probe.errors()[:10],
        "late_ticks": probe.late, "details": rounds,
    }


def run_pauses(options):
    """Random pauses of 200 ms are no failures: nobody may be elected."""
    with tempfile.TemporaryDirectory(prefix="apus-failover-", dir=options.directory) as directory:
        with Cluster(directory, 3, dict(pair.split("=", 1) for pair in options.set)) as cluster:
            setting = Setting(cluster, options.partitions)
            setting.create_topic()
            setting.settle()

            def epochs():
                return (cluster.status()["quorum"]["epoch"], {number: each["leaderEpoch"] for number, each in cluster.partitions(TOPIC).items()})

            probe = Probe(cluster.bootstrap, TOPIC, options.partitions, CLIENTS[options.client], options.clients).start()
            before, pauses = epochs(), 0
            began = time.monotonic()
            while time.monotonic() - began < options.pause_seconds:
                node = cluster.nodes[setting.generator.choice(sorted(cluster.nodes))]
                node.pause()
                time.sleep(0.2)
                node.resume()
                pauses += 1
                time.sleep(setting.generator.random())
            after = epochs()
            gaps = [each.longest_gap(began, time.monotonic()) for each in probe.partitions]
            probe.stop()
            totals = check(probe, cluster.bootstrap, TOPIC, once=CLIENTS[options.client].get("enable.idempotence", False))
            elections = sum(after[1][number] - before[1][number] for number in before[1])
            return {
                "fault": "pauses", "description": f"{pauses} pauses of 200 ms of random nodes in {options.pause_seconds} s",
                "client": options.client, "rounds": pauses, "unavailable_ms": summary(gaps), "partition_elections": elections,
                "quorum_elections": after[0] - before[0], "records": totals, "errors": probe.errors()[:10], "late_ticks": probe.late,
            }


def run_single(options):
    """One broker that is killed and started again at once: what there is to compare with, and a test of the measurement itself."""
    with tempfile.TemporaryDirectory(prefix="apus-failover-", dir=options.directory) as directory:
        with Apus(Path(directory) / "data", dict(pair.split("=", 1) for pair in options.set)) as broker:
            apus("topic", "create", TOPIC, "--partitions", options.partitions, "--bootstrap", broker.address)
            client = CLIENTS[options.client]
            probe = Probe(broker.address, TOPIC, options.partitions, client).start()
            generator, gaps, restarts = random.Random(7), [], []
            for _ in range(options.rounds):
                time.sleep(0.5 + generator.random())
                began = time.monotonic()
                broker.kill()
                broker.start()
                restarts.append(time.monotonic() - began)
                probe.wait_recovered(began)
                time.sleep(0.2)
                gaps += [each.longest_gap(began, time.monotonic()) for each in probe.partitions]
            probe.stop()
            totals = check(probe, broker.address, TOPIC, once=client.get("enable.idempotence", False))
            return {
                "fault": "single-restart", "description": "kill -9 of the only broker, started again at once", "client": options.client,
                "rounds": options.rounds, "unavailable_ms": summary(gaps), "restart_ms": summary(restarts), "records": totals,
                "errors": probe.errors()[:10], "late_ticks": probe.late,
            }


def show(results):
    print(f"\n{'fault':<28}{'client':<12}{'rounds':>7}{'n':>6}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'retried':>9}{'acked':>9}")
    for each in results:
        if "skipped" in each:
            print(f"{each['fault']:<28}skipped: {each['skipped']}")
            continue
        gaps = each["unavailable_ms"]
        print(f"{each['fault']:<28}{each['client']:<12}{each['rounds']:>7}{gaps['count']:>6}{gaps['p50']:>9}{gaps['p99']:>9}{gaps['max']:>9}"
              f"{each.get('retried_requests', 0):>9}{each['records']['acknowledged']:>9}")
        if "partition_elections" in each:
            print(f"{'':<28}elections: {each['partition_elections']} of partitions, {each['quorum_elections']} of controllers")


def run_in_lab(options, names):
    """The clients have to be on the nodes' network: the rest happens in a process on a fourth host."""
    with Lab(4) as lab, tempfile.NamedTemporaryFile(suffix=".json", dir=options.directory) as out:
        command = [*lab.inside(4), sys.executable, __file__, *sys.argv[1:], "--inside-lab", lab.prefix, "--json", out.name,
                   "--faults", *names]
        subprocess.run(command, check=True)
        return json.loads(Path(out.name).read_text())["results"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--faults", nargs="+", choices=[*FAULTS, "pauses"], default=[*FAULTS, "pauses"])
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--client", choices=CLIENTS, default="idempotent")
    parser.add_argument("--clients", type=int, default=1, help="producers, each for its share of the partitions; default: one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every node")
    parser.add_argument("--pause-seconds", type=int, default=600)
    parser.add_argument("--single", action="store_true", help="one broker, killed and started again")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--directory", help="where the data goes; default: the system's place for temporary files")
    parser.add_argument("--inside-lab", metavar="PREFIX", help=argparse.SUPPRESS)
    options = parser.parse_args()

    results = []
    if options.single:
        results.append(run_single(options))
    elif options.inside_lab:
        lab = Lab(4, options.inside_lab)
        results = [run_fault(options, FAULTS[name](), lab) for name in options.faults]
    else:
        results = [run_fault(options, FAULTS[name]()) for name in options.faults if name != "pauses" and not FAULTS[name].needs_lab]
        if "pauses" in options.faults:
            results.append(run_pauses(options))
        in_lab = [name for name in options.faults if name != "pauses" and FAULTS[name].needs_lab]
        if in_lab and (reason := unavailable()):
            results += [{"fault": name, "skipped": reason} for name in in_lab]
        elif in_lab:
            results += run_in_lab(options, in_lab)
    if options.json:
        document = {"client": options.client, "settings": CLIENTS[options.client], "interval_ms": INTERVAL * 1000,
                    "partitions": options.partitions, "node_settings": options.set, "processors": os.cpu_count(), "results": results}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if not options.inside_lab:
        show(results)


if __name__ == "__main__":
    main()
