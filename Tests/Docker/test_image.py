"""The image, built from the release binary and run by compose: a broker for this machine and for other containers that keeps its
data through a kill and stops cleanly. Skipped where there is no engine (see engine.py)."""

import os
import re
import socket
import time

import pytest

from apus_process import BINARY, ROOT
from engine import NoEngine, find_engine, run, why_prebuilt_does_not_run

IMAGE, PROJECT = "apus-test", f"apus-test-{os.getpid()}"
pytestmark = pytest.mark.timeout(900)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def engine():
    try:
        found = find_engine()
    except NoEngine as reason:
        pytest.skip(f"skipped: {reason}")
    yield found
    found.close()


@pytest.fixture(scope="module")
def image(engine):
    if reason := why_prebuilt_does_not_run():
        pytest.skip(f"skipped: {reason}")
    staged = ROOT / ".build/image"
    staged.mkdir(parents=True, exist_ok=True)
    run(["strip", "-o", staged / "apus", BINARY])
    build = ["build", "--build-arg", "BINARY_FROM=prebuilt", "--file", ROOT / "Docker/Dockerfile", "--tag", IMAGE, ROOT]
    run([engine.docker_command, *build], {**engine.environment, "DOCKER_BUILDKIT": "1"}, timeout=600)
    yield IMAGE
    engine.docker("image", "rm", "--force", IMAGE, check=False)


class Service:
    """The broker of docker-compose.yml."""

    def __init__(self, engine, image):
        self.engine, self.port = engine, free_port()
        self.environment = {**engine.environment, "BROKER_IMAGE": image, "BROKER_PORT": str(self.port)}

    def compose(self, *arguments, **more):
        return run(
            [*self.engine.compose_command, "-f", ROOT / "Docker/docker-compose.yml", "-p", PROJECT, *arguments], self.environment, **more)

    @property
    def container(self):
        # Stopped ones, too: Compose 2 leaves them out otherwise.
        return self.compose("ps", "-a", "-q", "apus").stdout.strip()

    def inspect(self, what):
        return self.engine.docker("inspect", "--format", what, self.container).stdout.strip()

    def wait_until_healthy(self, seconds=60):
        deadline = time.monotonic() + seconds
        while (health := self.inspect("{{.State.Health.Status}}")) != "healthy":
            assert time.monotonic() < deadline, f"{health}\n{self.compose('logs').stdout}"
            time.sleep(0.2)

    def from_this_machine(self, *arguments, **more):
        return run([*self.engine.inside, BINARY, *arguments, "--bootstrap", f"localhost:{self.port}"], **more).stdout

    def from_a_container(self, *arguments, **more):
        network = f"{PROJECT}_default"
        command = ["run", "--rm", "--interactive", "--network", network, IMAGE, *arguments, "--bootstrap", "apus:19092"]
        return self.engine.docker(*command, **more).stdout


@pytest.fixture
def service(engine, image):
    running = Service(engine, image)
    try:
        running.compose("up", "--detach", "--no-build")
        running.wait_until_healthy()
        yield running
    finally:
        running.compose("down", "--volumes", check=False)


READ_ALL = ["consume", "records", "--from-beginning", "--exit-at-end"]


def test_records_survive_a_kill_and_a_stop_is_clean(service):
    service.from_this_machine("topic", "create", "records")
    service.from_this_machine("produce", "records", input="from this machine\n")
    service.from_a_container("produce", "records", input="from a container\n")
    sent = "from this machine\nfrom a container\n"
    assert service.from_this_machine(*READ_ALL) == sent
    assert service.from_a_container(*READ_ALL) == sent

    service.engine.docker("kill", "--signal", "KILL", service.container)
    assert service.inspect("{{.State.ExitCode}}") == "137"
    service.engine.docker("start", service.container)
    service.wait_until_healthy()
    service.from_this_machine("produce", "records", input="after the kill\n")
    assert service.from_a_container(*READ_ALL) == sent + "after the kill\n"

    service.compose("stop")
    assert service.inspect("{{.State.ExitCode}}") == "0", service.compose("logs").stdout
    mark = ["run", "--rm", "--volumes-from", service.container, "--entrypoint", "ls", IMAGE, "-A", "/var/lib/apus"]
    assert ".kafka_cleanshutdown" in service.engine.docker(*mark).stdout.split()
    service.compose("start")
    service.wait_until_healthy()
    assert service.from_this_machine(*READ_ALL) == sent + "after the kill\n"


def test_the_broker_is_not_root_and_its_health_is_its_own(service):
    assert service.compose("exec", "-T", "apus", "id", "-un").stdout.strip() == "apus"
    done = service.engine.docker("run", "--rm", "--entrypoint", "apus", IMAGE, "topic", "list", check=False)
    assert done.returncode == 1 and "cannot connect" in done.stderr, "the health check must fail where no broker is"


def test_the_image_alone_is_configured_by_its_environment(engine, image):
    """`docker run`, without compose: the port it publishes is the one that clients are told."""
    name, port = f"{PROJECT}-alone", free_port()
    engine.docker(
        "run", "--detach", "--name", name, "--publish", f"127.0.0.1:{port}:9092",
        "--env", f"APUS_ADVERTISED_LISTENERS=PLAINTEXT://localhost:{port}", "--env", "APUS_NUM_PARTITIONS=3", image)
    try:
        client = [*engine.inside, BINARY]
        deadline = time.monotonic() + 30
        while run([*client, "topic", "create", "one", "--bootstrap", f"localhost:{port}"], check=False).returncode != 0:
            assert time.monotonic() < deadline, engine.docker("logs", name).stderr
            time.sleep(0.2)
        run([*client, "produce", "one", "--bootstrap", f"localhost:{port}"], input="one record\n")
        described = run([*client, "topic", "describe", "one", "--bootstrap", f"localhost:{port}"]).stdout
        assert re.search(r"^ *2 ", described, re.MULTILINE), f"three partitions were configured:\n{described}"
        engine.docker("stop", name)
        assert engine.docker("inspect", "--format", "{{.State.ExitCode}}", name).stdout.strip() == "0"
    finally:
        engine.docker("rm", "--force", "--volumes", name, check=False)
