"""A broker needs no privilege: not root's, and no capability, which is what it has in a container."""

import os

import pytest

from apus_process import apus


@pytest.mark.parametrize("records", [1, 1000])
def test_connections_are_served_without_capabilities(start, topic, records):
    wrapper = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"] if os.geteuid() == 0 else []
    running = start(wrapper=wrapper)
    sent = "".join(f"record {number}\n" for number in range(records))
    apus("produce", topic, "--bootstrap", running.address, input=sent)
    assert apus("consume", topic, "--from-beginning", "--exit-at-end", "--bootstrap", running.address).stdout == sent
    assert running.stop() == 0
