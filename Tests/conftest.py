import itertools

import pytest

from apus_process import BINARY, Apus


def pytest_sessionstart(session):
    if not BINARY.exists():
        pytest.exit(f"{BINARY} is missing: build it with `make build`", returncode=3)


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """One broker with default settings, except that large records are let in, shared by the tests that only need topics of their own."""
    settings = {"message.max.bytes": 32 << 20, "socket.request.max.bytes": 128 << 20}
    with Apus(tmp_path_factory.mktemp("broker") / "data", settings) as running:
        yield running
        assert running.process.poll() is None, f"the broker died during the tests:\n{running.log_text()}"
        assert running.stop() == 0, running.log_text()


@pytest.fixture
def start(tmp_path):
    """Starts brokers with settings of the test's own; all are gone at its end."""
    started = []

    def start(settings=None, name="data", **more):
        process = Apus(tmp_path / name, settings, **more)
        started.append(process)
        return process.start()

    yield start
    for process in started:
        if process.process and process.process.poll() is None:
            process.kill()


_numbers = itertools.count()


@pytest.fixture
def topic(request):
    """A topic name that no other test uses."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)[:80]
    return f"{name}-{next(_numbers)}"
