"""Hosts of their own for nodes: network namespaces on one bridge, so that a node's network can be cut. Needs root, ip and iptables."""

import os
import shutil
import subprocess


def unavailable():
    """Why there can be no lab on this machine, or None."""
    for program in ["ip", "iptables", "unshare"]:
        if not shutil.which(program):
            return f"{program} is not installed"
    if os.geteuid() != 0:
        return "network namespaces need root"
    probe = subprocess.run(["unshare", "--net", "--mount", "iptables", "-w", "-L", "INPUT"], capture_output=True, text=True)
    if probe.returncode != 0:
        return f"no network namespace with iptables: {probe.stderr.strip()}"
    return None


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")


class Lab:
    """`count` hosts 198.18.7.1 and up. The bridge lies in a namespace of its own: nothing of the machine's network is touched."""

    network = "198.18.7"

    def __init__(self, count, prefix=None):
        self.count = count
        self.prefix = prefix or f"apuslab{os.getpid()}-"

    def name(self, host):
        return f"{self.prefix}{host}"

    def address(self, host):
        return f"{self.network}.{host}"

    def inside(self, host):
        """What a command is to begin with to run on the host."""
        return ["ip", "netns", "exec", self.name(host)]

    def up(self):
        try:
            switch = self.name("sw")
            run("ip", "netns", "add", switch)
            run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
            run("ip", "-n", switch, "link", "set", "br0", "up")
            for host in range(1, self.count + 1):
                name = self.name(host)
                run("ip", "netns", "add", name)
                run("ip", "-n", name, "link", "set", "lo", "up")
                run("ip", "link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", f"p{host}", "netns", switch)
                run("ip", "-n", switch, "link", "set", f"p{host}", "master", "br0", "up")
                run("ip", "-n", name, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
                run("ip", "-n", name, "link", "set", "eth0", "up")
        except BaseException:
            self.down()
            raise
        return self

    def down(self):
        for host in ["sw", *range(1, self.count + 1)]:
            subprocess.run(["ip", "netns", "del", self.name(host)], capture_output=True)

    def cut(self, host):
        """Nothing comes in and nothing goes out any more, without a word to anybody."""
        for chain, interface in [("INPUT", "-i"), ("OUTPUT", "-o")]:
            run(*self.inside(host), "iptables", "-w", "-I", chain, interface, "eth0", "-j", "DROP")

    def heal(self, host):
        run(*self.inside(host), "iptables", "-w", "-F")

    def __enter__(self):
        return self.up()

    def __exit__(self, *_):
        self.down()
