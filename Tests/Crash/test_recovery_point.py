"""How much is read again after `kill -9` with flush.policy=os: what came after the last full segments, not all that the process wrote."""

import re
import time

from apus_process import apus

RECOVERED = re.compile(r"log recovered .*?end=(?P<end>\d+).*?from=(?P<point>\d+).*?partition=(?P<partition>\S+).*?scannedBytes=(?P<bytes>\d+)")


def recovered(running, topic):
    """{partition: (recovery point, end, bytes read)} of the last start."""
    found = {}
    for match in RECOVERED.finditer(running.log_text()):
        if match["partition"].startswith(topic):
            found[match["partition"]] = tuple(int(match[name]) for name in ("point", "end", "bytes"))
    return found


def test_a_start_reads_what_came_after_the_full_segments(start, topic):
    running = start({"flush.policy": "os", "log.segment.bytes": 1 << 20, "replica.high.watermark.checkpoint.interval.ms": 200})
    apus("topic", "create", topic, "--bootstrap", running.address)
    apus("produce", topic, "--bootstrap", running.address, input="".join(f"{n:08d}" + "x" * 1015 + "\n" for n in range(30_000)))
    # In the background: the syncs, the checkpoints, and their file.
    time.sleep(2)
    running.kill()
    running.start()
    point, end, scanned = recovered(running, topic)[f"{topic}-0"]
    assert end == 30_000 and point > 26_000, (point, end)
    assert scanned < 4 << 20, f"{scanned} bytes were read again, of 30 MB"
    records = apus("consume", topic, "--from-beginning", "--exit-at-end", "--bootstrap", running.address).stdout.splitlines()
    assert [int(record[:8]) for record in records] == list(range(30_000))
    assert running.stop() == 0
