import pytest

from cluster import Cluster


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    # A cluster that is used by a failed test shows its logs with the failure.
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for cluster in getattr(item, "clusters", []):
            report.sections.append(("logs of the cluster", cluster.logs(200)))


@pytest.fixture
def cluster(tmp_path, request):
    """Starts clusters with settings of the test's own; all are gone at its end."""
    request.node.clusters = []

    def start(count=3, settings=None, name="cluster", **more):
        cluster = Cluster(tmp_path / name, count, settings, **more)
        request.node.clusters.append(cluster)
        return cluster.start()

    yield start
    for each in request.node.clusters:
        each.end()
