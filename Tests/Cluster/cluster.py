"""A cluster of real processes for the tests: started on free ports and own directories, looked at from outside, always stopped."""

import json
import os
import signal
import socket
import time
from pathlib import Path

from apus_process import Apus, apus


def free_ports(count):
    """Ports that nobody listens on now. All are held at once, so that none is given twice."""
    held = []
    try:
        for _ in range(count):
            held.append(socket.socket())
            # As the processes bind them: a port that lies in TIME_WAIT can be used again.
            held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held[-1].bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


class Node(Apus):
    """One process of a cluster. Its ports are in its settings, so that the others find it again."""

    def __init__(self, data, settings, address, wrapper=(), arguments=()):
        super().__init__(data, settings, listen=None, wrapper=wrapper, arguments=arguments)
        # Where clients reach it, known before it runs.
        self.address = address

    def wait_until_ready(self, timeout=60):
        # Of several listeners the ready line names all.
        known = self.address
        super().wait_until_ready(timeout)
        self.address = known
        return self

    @property
    def pid(self):
        """Of the node itself, whatever it was started by."""
        return self.process.pid

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def pause(self):
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)

    def terminate(self):
        """SIGTERM, without waiting."""
        self.process.send_signal(signal.SIGTERM)


class Cluster:
    """`count` nodes that are broker and controller at once. Use it in a `with`."""

    # Of a quorum whose voters may change: the first node begins it, the others are told where they belong.
    cluster_id = "clusterOfTheTests00001"

    def __init__(self, directory, count=3, settings=None, per_node=None, hosts=None, wrappers=None, dynamic=False):
        """
        dynamic: the voters are in the log (KIP-853), not in the configuration.
        settings: of every node; per_node: {node id: settings}, which win.
        hosts: the address of each node; 127.0.0.1 with free ports if not given.
        wrappers: what each node is started by, such as ["ip", "netns", "exec", "lab1"].
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        if hosts:
            ports = [(9092, 9093)] * count
        else:
            flat = free_ports(2 * count)
            ports, hosts = list(zip(flat[::2], flat[1::2])), ["127.0.0.1"] * count
        voters = ",".join(f"{n + 1}@{hosts[n]}:{ports[n][1]}" for n in range(count))
        bootstrap = ",".join(f"{hosts[n]}:{ports[n][1]}" for n in range(count))
        self.voters = voters
        self.nodes = {}
        for n in range(count):
            client, controller = (f"{hosts[n]}:{port}" for port in ports[n])
            node_settings = {
                "process.roles": "broker,controller",
                "node.id": n + 1,
                **({"controller.quorum.bootstrap.servers": bootstrap} if dynamic else {"controller.quorum.voters": voters}),
                "listeners": f"PLAINTEXT://{client},CONTROLLER://{controller}",
                "controller.listener.names": "CONTROLLER",
                "default.replication.factor": min(3, count),
                **(settings or {}),
                **((per_node or {}).get(n + 1, {})),
            }
            wrapper = wrappers[n] if wrappers else ()
            # Both are only heard by a new data directory.
            arguments = (["--standalone"] if n == 0 else []) + ["--cluster-id", self.cluster_id] if dynamic else ()
            self.nodes[n + 1] = Node(directory / f"node-{n + 1}", node_settings, client, wrapper, arguments)

    # Starting and stopping

    def start(self, *nodes, timeout=60):
        """Starts these nodes, or all, and waits until they are ready and the cluster is healthy."""
        chosen = [self.nodes[node] for node in nodes] or list(self.nodes.values())
        deadline = time.monotonic() + timeout
        try:
            # All at once: none is ready before a majority is there.
            for node in chosen:
                node.spawn()
            for node in chosen:
                node.wait_until_ready(max(1, deadline - time.monotonic()))
            self.wait_healthy(max(1, deadline - time.monotonic()))
        except BaseException:
            self.end()
            raise
        return self

    def end(self):
        """Kills what still runs."""
        for node in self.nodes.values():
            if node.is_running:
                # A paused process dies of it as well.
                node.kill()

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        self.end()

    # Looking at it

    @property
    def bootstrap(self):
        """All of them: clients go on when one is gone."""
        return ",".join(node.address for node in self.nodes.values())

    def others(self, *nodes):
        """The addresses of all but these."""
        return ",".join(node.address for number, node in self.nodes.items() if number not in nodes)

    def apus(self, *arguments, bootstrap=None, **more):
        return apus(*arguments, "--bootstrap", bootstrap or self.bootstrap, **more)

    def status(self, timeout="5s", bootstrap=None):
        """What `apus cluster status --json` says, whatever its exit status."""
        done = self.apus("cluster", "status", "--json", "--timeout", timeout, check=False, bootstrap=bootstrap)
        try:
            return json.loads(done.stdout)
        except json.JSONDecodeError:
            return {"health": "unavailable", "reasons": [done.stderr.strip() or f"exit {done.returncode}"]}

    def controller(self):
        """The node that leads the quorum, or None."""
        quorum = self.status().get("quorum") or {}
        return quorum.get("leader")

    def partitions(self, topic):
        """{partition: {leader, leaderEpoch, isr, ...}}"""
        found = json.loads(self.apus("cluster", "leaders", "--topic", topic, "--json").stdout)
        return {each["partition"]: each for each in found}

    def leader(self, topic, partition):
        """The node that leads, or None."""
        return self.partitions(topic)[partition]["leader"]

    # Waiting for it

    def wait_until(self, condition, what, timeout=60, interval=0.1):
        """Waits until `condition()` is true; fails with `what` and the logs."""
        deadline = time.monotonic() + timeout
        while True:
            if condition():
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout} s: {what}\n{self.logs()}")
            time.sleep(interval)

    def wait_healthy(self, timeout=60):
        state = {}

        def is_healthy():
            nonlocal state
            state = self.status()
            brokers = [each["id"] for each in state.get("brokers", []) if not each["fenced"]]
            wanted = [number for number, node in self.nodes.items() if node.is_running]
            # With nodes missing it cannot be healthy; then it is enough that the others are all there.
            expected = {"healthy"} if len(wanted) == len(self.nodes) else {"healthy", "degraded"}
            return state["health"] in expected and set(wanted) <= set(brokers)

        try:
            self.wait_until(is_healthy, "healthy", timeout)
        except AssertionError as error:
            raise AssertionError(f"{state.get('health')}: {state.get('reasons')}\n{error}") from None

    def wait_replicated(self, topic, timeout=60):
        """Waits until every partition has a leader and all its replicas in sync."""
        def is_whole():
            return all(each["leader"] is not None and set(each["isr"]) == set(each["replicas"])
                       for each in self.partitions(topic).values())
        self.wait_until(is_whole, f"all replicas of {topic} in sync", timeout)

    def log_text(self):
        return self.logs(10_000)

    def logs(self, lines=60):
        """The ends of all logs."""
        parts = []
        for number, node in self.nodes.items():
            state = "running" if node.is_running else f"exit {node.process.poll() if node.process else None}"
            parts.append(f"--- node {number} ({state})\n" + "".join(node.log[-lines:]))
        return "\n".join(parts)
