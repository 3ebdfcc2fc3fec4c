"""Several nodes on this machine as one cluster, each a process of its own."""

import socket

from apus_process import Apus


def free_ports(count):
    """Ports that nobody has now. They are taken all together, so that no two are the same."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Cluster:
    """Nodes 1 to `size`, broker and controller each, with fixed voters."""

    def __init__(self, directory, size=3, settings=None):
        ports = free_ports(2 * size)
        self.brokers = dict(zip(range(1, size + 1), ports[:size]))
        self.controllers = dict(zip(range(1, size + 1), ports[size:]))
        self.voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in self.controllers.items())
        self.nodes = {}
        for node in self.brokers:
            own = {
                "node.id": node,
                "listeners": f"PLAINTEXT://127.0.0.1:{self.brokers[node]},CONTROLLER://127.0.0.1:{self.controllers[node]}",
                "controller.listener.names": "CONTROLLER",
                "controller.quorum.voters": self.voters,
            }
            self.nodes[node] = Apus(directory / f"node-{node}", {**own, **(settings or {})}, listen=None)

    @property
    def bootstrap(self):
        return [f"127.0.0.1:{port}" for port in self.brokers.values()]

    def start(self, *nodes):
        chosen = [self.nodes[node] for node in nodes] or list(self.nodes.values())
        for each in chosen:
            each.spawn()
        for each in chosen:
            each.wait_until_ready()
        return self

    def log_text(self):
        return "\n".join(f"--- node {node}\n{each.log_text()}" for node, each in self.nodes.items())

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        for each in self.nodes.values():
            if each.process and each.process.poll() is None:
                each.kill()
