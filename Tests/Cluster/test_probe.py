"""The measurement measured: what `probe.py` says of records whose fate is known."""

from array import array
from types import SimpleNamespace

import pytest

import probe


def partition(acknowledged, offsets=None, sent=None):
    """A client with records whose acknowledgement came at these moments; 0: never."""
    made = probe.Partition.__new__(probe.Partition)
    made.number, made.errors = 0, []
    made.acknowledged = array("d", acknowledged)
    made.sent = array("d", sent or [moment or 0 for moment in acknowledged])
    made.offsets = array("q", offsets if offsets is not None else range(len(acknowledged)))
    return made


def test_the_longest_time_without_an_acknowledgement_is_found():
    client = partition([100.0, 100.005, 100.010, 100.510, 100.515, 103.0])
    assert client.longest_gap(100.008, 100.6) == pytest.approx(2.485), "a gap counts whole that began in the window"
    assert client.longest_gap(100.008, 100.512) == pytest.approx(0.5)
    assert client.longest_gap(99.0, 100.006) == pytest.approx(0.005)
    # Out of order, as answers of a batch and of one that was sent again may come.
    assert partition([100.0, 100.4, 100.2]).longest_gap(100.0, 100.4) == pytest.approx(0.2)


def test_a_partition_that_does_not_come_back_is_unavailable_to_the_end():
    assert partition([100.0, 100.005, 0, 0], sent=[100, 100, 101, 102]).longest_gap(100.0, 107.0) == pytest.approx(6.995)
    assert partition([0, 0], sent=[100, 101]).longest_gap(100.0, 107.0) == pytest.approx(7)


def test_recovery_is_of_records_that_were_sent_afterwards():
    client = partition([10.5, 0, 12.5], sent=[10, 11, 12])
    assert client.recovered_since(11.5) and not client.recovered_since(12)


@pytest.mark.parametrize("stored, words", [
    ([(0, 0), (1, 1)], "1 acknowledged records are lost"),
    ([(0, 0), (1, 1), (2, 1), (3, 2)], "was acknowledged at 2"),
    ([(0, 0), (1, 1), (2, 2), (3, 2)], "there twice"),
    ([(0, 0), (2, 2), (3, 1)], "acknowledged at 1"),
    ([(0, 0), (1, 1), (2, 2), (2, 2)], "offsets twice or out of order"),
])
def test_violations_are_found(stored, words, monkeypatch):
    monkeypatch.setattr(probe, "read_all", lambda *_: stored)
    with pytest.raises(AssertionError, match=words):
        probe.check(SimpleNamespace(partitions=[partition([1, 1, 1])]), "", "", once=True)


def test_records_out_of_order_are_found(monkeypatch):
    monkeypatch.setattr(probe, "read_all", lambda *_: [(0, 1), (1, 0), (2, 2)])
    client = partition([1, 1, 1], offsets=[1, 0, 2])
    with pytest.raises(AssertionError, match="out of order"):
        probe.check(SimpleNamespace(partitions=[client]), "", "", once=True)
    # Without idempotence librdkafka's own retries may do that: counted, and no violation.
    totals = probe.check(SimpleNamespace(partitions=[client]), "", "", once=False)
    assert totals["reordered"] == 1 and totals["acknowledged"] == 3


def test_a_whole_log_passes(monkeypatch):
    # Offset 1 is a control record's; record 2 was refused, and is there all the same, which is allowed.
    monkeypatch.setattr(probe, "read_all", lambda *_: [(0, 0), (2, 1), (3, 2), (4, 3)])
    client = partition([1, 1, 0, 1], offsets=[0, 2, -1, -1])
    totals = probe.check(SimpleNamespace(partitions=[client]), "", "", once=True)
    assert totals == {"sent": 4, "acknowledged": 3, "stored": 4, "duplicates": 0, "failed": 0, "reordered": 0}
