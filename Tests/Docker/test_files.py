"""Dockerfile and docker-compose.yml against the binary, without an engine: what they say is run here as an engine would run it."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest
import yaml
from confluent_kafka.admin import AdminClient

from apus_process import BINARY, READY, ROOT
from engine import runtime_packages, why_prebuilt_does_not_run, works

DOCKERFILE = (ROOT / "Docker/Dockerfile").read_text().replace("\\\n", " ")
LAST_STAGE = DOCKERFILE[DOCKERFILE.rindex("\nFROM "):]


def instruction(name):
    found = re.findall(rf"^{name} (.*)$", LAST_STAGE, re.MULTILINE)
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def image_environment():
    return dict(pair.split("=", 1) for pair in instruction("ENV").split())


def service(variables):
    """The service of docker-compose.yml with `${NAME:-default}` filled in."""
    text = (ROOT / "Docker/docker-compose.yml").read_text()
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda match: variables.get(match[1], match[2]), text)
    assert "$" not in text
    return yaml.safe_load(text)["services"]["apus"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Container:
    """Runs ENTRYPOINT and CMD with the environment of the image, its ports and its directory moved to free ones."""

    def __init__(self, environment, data):
        self.ports = {}

        def moved(match):
            return ":" + str(self.ports.setdefault(match[1], free_port()))

        environment = {**environment, "APUS_LOG_DIRS": str(data)}
        self.environment = {key: re.sub(r":(\d+)\b", moved, value) for key, value in environment.items()}
        # The name of the container itself is known only inside it.
        self.environment["APUS_BOOTSTRAP"] = re.sub(r"^apus:", "localhost:", self.environment["APUS_BOOTSTRAP"])
        command = json.loads(instruction("ENTRYPOINT")) + json.loads(instruction("CMD"))
        self.process = subprocess.Popen(
            self.real(command), env=self.full_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.ready = READY.match(self.process.stdout.readline().rstrip("\n"))
        if not self.ready:
            self.process.kill()
        assert self.ready, self.process.stderr.read()

    @staticmethod
    def real(command):
        assert command[0] == "apus"
        return [str(BINARY), *command[1:]]

    @property
    def full_environment(self):
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("APUS_")}
        return {**inherited, **self.environment}

    def health(self):
        command = json.loads(re.search(r"CMD (\[.*\])$", instruction("HEALTHCHECK"))[1])
        return subprocess.run(self.real(command), env=self.full_environment, capture_output=True, timeout=30).returncode

    def advertised(self, port):
        """What a client of one listener is told to connect to."""
        brokers = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"}).list_topics(timeout=20).brokers
        return [f"{broker.host}:{broker.port}" for broker in brokers.values()]


@pytest.fixture
def contain(tmp_path):
    started = []

    def contain(environment):
        started.append(Container(environment, tmp_path / "data"))
        return started[-1]

    yield contain
    for container in started:
        container.process.kill()
        container.process.wait()


def test_the_image_starts_is_healthy_and_stops(contain):
    container = contain(image_environment())
    assert set(container.ports) == {instruction("EXPOSE")}
    port = container.ports[instruction("EXPOSE")]
    assert container.ready["listen"].endswith(f":{port}") and not container.ready["listen"].startswith("127.")
    assert container.advertised(port) == [f"localhost:{port}"]
    assert container.health() == 0
    container.process.send_signal(getattr(signal, instruction("STOPSIGNAL")))
    assert container.process.wait(60) == 0
    assert container.health() == 1


def test_compose_tells_each_side_its_own_address(contain):
    described = service({})
    container = contain({**image_environment(), **described["environment"]})
    (published,) = described["ports"]
    address, outer, inner = published.split(":")
    assert address == "127.0.0.1" and outer == inner == instruction("EXPOSE")
    assert container.advertised(container.ports[inner]) == [f"localhost:{container.ports[outer]}"]
    assert container.advertised(container.ports["19092"]) == [f"apus:{container.ports['19092']}"]
    assert container.health() == 0


def test_compose_builds_this_image_and_keeps_its_data():
    described = service({"BROKER_PORT": "12345"})
    assert described["ports"] == ["127.0.0.1:12345:9092"]
    assert "HOST://localhost:12345" in described["environment"]["APUS_ADVERTISED_LISTENERS"]
    assert (ROOT / "Docker" / described["build"]["context"] / described["build"]["dockerfile"]).samefile(ROOT / "Docker/Dockerfile")
    (volume,) = described["volumes"]
    directory = image_environment()["APUS_LOG_DIRS"]
    assert volume.split(":")[1] == directory == instruction("VOLUME")


def test_what_is_set_for_compose_and_the_tests_does_not_stop_a_broker():
    """`apus start` refuses APUS_ variables that are no key: what people export for the containers must have other names."""
    names = set(re.findall(r"\$\{(\w+)", (ROOT / "Docker/docker-compose.yml").read_text()))
    for file in ["Tests/Docker/engine.py", "Tests/Docker/test_image.py"]:
        names |= set(re.findall(r"environ(?:\.get\(|\[)[\"'](\w+)", (ROOT / file).read_text()))
    assert {"BROKER_IMAGE", "BROKER_PORT", "PRIVATE_ENGINE"} <= names
    assert not [name for name in names if name.startswith("APUS_")]


def test_an_engine_that_hangs_is_none():
    assert works(["sleep", "0"])
    assert not works(["sleep", "30"], timeout=0.2)
    assert not works(["no-such-command-here"])


@pytest.mark.parametrize("codename, runs", [("bookworm", True), ("trixie", False), (None, False)])
def test_a_binary_of_another_system_is_not_tried_in_the_image(monkeypatch, codename, runs):
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"VERSION_CODENAME": codename} if codename else {})
    assert (why_prebuilt_does_not_run() is None) == runs


def test_the_image_runs_as_nobody_in_particular():
    assert instruction("USER") not in ("root", "0")
    directory, copied = LAST_STAGE.index("--create-home"), LAST_STAGE.index("USER ")
    assert directory < copied, "the data directory must belong to the user before it becomes a volume"


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="not a Debian system: what its packages hold cannot be asked")
def test_the_image_has_every_library_of_the_binary():
    linked = re.findall(r"=> (\S+)", subprocess.run(["ldd", BINARY], capture_output=True, text=True, check=True).stdout)
    packages = set(runtime_packages()) | {"libc6", "libgcc-s1"}
    for library in linked:
        names = {library, os.path.realpath(library), re.sub("^/usr", "", os.path.realpath(library)), "/usr" + library}
        owners = [
            line.split(":")[0]
            for name in names
            for line in subprocess.run(["dpkg-query", "--search", name], capture_output=True, text=True).stdout.splitlines()
        ]
        assert packages.intersection(owners), f"{library} is in {owners or 'no package'}, which the Dockerfile does not install"
