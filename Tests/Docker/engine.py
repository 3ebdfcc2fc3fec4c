"""A container engine for the tests: the one that answers, or a private one in a network of its own.

The private engine needs root and Debian's packages docker.io, docker-compose, iptables and mmdebstrap; it is started only if
PRIVATE_ENGINE=1 asks for it. It has no way out of this machine, so its base image is made from Debian's packages and tagged
like the official one.
"""

import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASE_IMAGE = "debian:bookworm-slim"
# What the tests reserve for benchmarks between networks (RFC 2544), so that nothing real is shadowed.
RESOLVER, BRIDGE, POOL = "198.18.255.53", "198.18.0.1/24", "base=198.18.128.0/17,size=24"
PRIVATE_TOOLS = ["dockerd", "mmdebstrap", "ip", "iptables", "nsenter"]


class NoEngine(Exception):
    """Why there is no engine to test with."""


def run(command, environment=None, check=True, timeout=300, **more):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=timeout,
        env={**os.environ, **(environment or {})}, **more
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


def works(command, environment=None, timeout=30):
    try:
        return run(command, environment, check=False, timeout=timeout).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def why_prebuilt_does_not_run():
    """Why a binary of this machine is not expected to run in the image; None where it is. A newer C library would be missing there."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    here, there = release.get("VERSION_CODENAME"), re.match("debian:([a-z]+)", BASE_IMAGE)[1]
    if here == there:
        return None
    return f"the binary was built on {here or 'an unknown system'} and the image is Debian {there}: `make image` compiles in the image"


def runtime_packages():
    """The packages that the Dockerfile's last stage installs."""
    text = (ROOT / "Docker/Dockerfile").read_text().replace("\\\n", " ")
    return re.search(r"apt-get install --yes --no-install-recommends ([^&]+)", text)[1].split()


class Engine:
    """Commands for one engine. `inside` is put before a client that uses ports the engine publishes."""

    def __init__(self, docker, environment=None, inside=()):
        self.docker_command, self.environment, self.inside = docker, environment or {}, list(inside)
        plugin = works([docker, "compose", "version"], self.environment)
        if not plugin and not shutil.which("docker-compose"):
            raise NoEngine("there is an engine, but neither `docker compose` nor `docker-compose`")
        self.compose_command = [docker, "compose"] if plugin else ["docker-compose"]

    def docker(self, *arguments, **more):
        return run([self.docker_command, *arguments], self.environment, **more)

    def close(self):
        pass


class PrivateEngine(Engine):
    """dockerd in a network namespace and directories of its own; gone without a trace after `close`."""

    def __init__(self):
        missing = [tool for tool in PRIVATE_TOOLS if not shutil.which(tool)]
        if missing:
            raise NoEngine(f"a private engine needs {', '.join(missing)}: apt-get install docker.io docker-compose iptables mmdebstrap")
        if os.geteuid() != 0 or not works(["unshare", "--net", "--mount", "true"]):
            raise NoEngine("a private engine needs the rights to make namespaces")
        self.directory = Path(tempfile.mkdtemp(prefix="apus-engine."))
        self.namespace = f"apus-engine-{os.getpid()}"
        self.processes = []
        inside = ["nsenter", f"--net=/run/netns/{self.namespace}"]
        try:
            run(["ip", "netns", "add", self.namespace])
            run(["ip", "-n", self.namespace, "link", "set", "lo", "up"])
            run(["ip", "-n", self.namespace, "addr", "add", f"{RESOLVER}/32", "dev", "lo"])
            # Names that are not there must be denied at once: without an answer every look-up would wait for its limit.
            self._spawn([*inside, "/usr/bin/python3", __file__, "deny-names"])
            self._start_engine(inside)
            # The engine's own client, as another one on the PATH may be too new for it.
            super().__init__("/usr/bin/docker", {"DOCKER_HOST": f"unix://{self.directory}/docker.sock"}, inside)
            self._make_base_image()
        except BaseException:
            self.close()
            raise

    def _spawn(self, command):
        log = open(self.directory / f"{len(self.processes)}.log", "w")
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def _start_engine(self, inside):
        socket_url = f"unix://{self.directory}/docker.sock"
        # nsenter rather than `ip netns exec`, which would hide the control groups.
        process = self._spawn(
            [*inside, "dockerd", "--data-root", self.directory / "data", "--exec-root", self.directory / "exec", "--pidfile",
             self.directory / "dockerd.pid", "--host", socket_url, "--bip", BRIDGE, "--default-address-pool", POOL, "--dns", RESOLVER,
             "--log-level", "warn"])
        deadline = time.monotonic() + 60
        while not works(["/usr/bin/docker", "info"], {"DOCKER_HOST": socket_url}):
            if process.poll() is not None or time.monotonic() > deadline:
                raise NoEngine(f"a private engine does not start: {(self.directory / '1.log').read_text()[-800:].strip()}")
            time.sleep(0.2)

    def _make_base_image(self):
        """The same packages as the official slim image, and those that the Dockerfile would fetch."""
        archive = self.directory / "base.tar"
        run(["mmdebstrap", "--variant=minbase", "--quiet", f"--include={','.join(runtime_packages())}",
             "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "bookworm", archive],
            {"TMPDIR": str(self.directory)})
        self.docker("import", "--change", 'CMD ["bash"]', archive, BASE_IMAGE)
        archive.unlink()

    def close(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        run(["ip", "netns", "delete", self.namespace], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


def find_engine():
    """An engine, with the base image in reach; raises `NoEngine`."""
    docker = os.environ.get("DOCKER", "docker")
    if works([docker, "info"]):
        engine = Engine(docker)
        if not works([docker, "image", "inspect", BASE_IMAGE]) and not works(
            [docker, "pull", "--quiet", BASE_IMAGE], timeout=300
        ):
            raise NoEngine(f"the engine has no {BASE_IMAGE} and cannot fetch it")
        return engine
    if os.environ.get("PRIVATE_ENGINE") != "1":
        raise NoEngine("no container engine answers; PRIVATE_ENGINE=1 starts a private one")
    return PrivateEngine()


def deny_names():
    """Answers every DNS query with NXDOMAIN (RFC 1035, section 4.1.1): the header and the question back, with the code 3."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((RESOLVER, 53))
    while True:
        query, peer = server.recvfrom(4096)
        if len(query) < 17:
            continue
        question_end = query.find(b"\0", 12) + 5
        server.sendto(query[:2] + b"\x81\x83" + query[4:6] + bytes(6) + query[12:question_end], peer)


if __name__ == "__main__":
    deny_names()
