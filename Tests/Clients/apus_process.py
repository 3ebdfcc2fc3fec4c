"""A real broker process for the tests: started on a free port and an own directory, always stopped."""

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("BROKER_BINARY", ROOT / ".build/release/apus"))
READY = re.compile(r"^apus ready node=(?P<node>\d+) listen=(?P<listen>\S+) cluster=(?P<cluster>\S+)$")


class Apus:
    """`apus start`, from the ready line to its exit."""

    def __init__(self, data, settings=None, listen="127.0.0.1:0", environment=None, wrapper=()):
        self.data = Path(data)
        self.settings = dict(settings or {})
        self.listen = listen
        self.environment = {**os.environ, **(environment or {})}
        self.wrapper = list(wrapper)
        self.process = None
        self.log = []
        self.ready_line = None

    def start(self, timeout=60):
        return self.spawn().wait_until_ready(timeout)

    def spawn(self):
        """Starts the process without waiting for it: a node of a cluster is not ready before others are there."""
        command = [*self.wrapper, str(BINARY), "start", "--data", str(self.data)]
        if self.listen:
            command += ["--listen", self.listen]
        for key, value in self.settings.items():
            command += ["--set", f"{key}={value}"]
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment
        )
        process, self.log = self.process, []
        threading.Thread(target=lambda: self.log.extend(process.stderr), daemon=True).start()
        return self

    def wait_until_ready(self, timeout=60):
        process = self.process
        watchdog = threading.Timer(timeout, process.kill)
        watchdog.start()
        line = process.stdout.readline().rstrip("\n")
        watchdog.cancel()
        self.seconds_to_ready = time.monotonic() - self.began
        match = READY.match(line)
        if not match:
            process.kill()
            process.wait()
            time.sleep(0.1)
            raise RuntimeError(f"no ready line but {line!r}, exit {process.returncode}, log:\n{''.join(self.log)}")
        self.ready_line = line
        self.node, self.address, self.cluster = int(match[1]), match[2], match[3]
        # A restart keeps the port, so that clients find the broker again.
        if self.listen:
            self.listen = self.address
        return self

    @property
    def host_port(self):
        host, port = self.address.rsplit(":", 1)
        return host, int(port)

    def stop(self, timeout=60):
        """SIGTERM; returns the exit status, which is 0 for a clean stop."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def kill(self):
        self.process.kill()
        self.process.wait()

    def resident_kib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def log_text(self):
        return "".join(self.log)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()


def apus(*arguments, input=None, check=True, timeout=120, environment=None, text=True):
    """Runs one command of the binary and returns the finished process."""
    done = subprocess.run(
        [str(BINARY), *map(str, arguments)],
        input=input,
        capture_output=True,
        text=text,
        timeout=timeout,
        env={**os.environ, **(environment or {})},
    )
    if check and done.returncode != 0:
        raise AssertionError(f"apus {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done
