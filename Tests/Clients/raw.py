"""Frames by hand, for what no well-behaved client sends."""

import socket
import struct


class Connection:
    def __init__(self, broker, timeout=20):
        self.socket = socket.create_connection(broker.host_port, timeout)

    def send(self, payload):
        """Sends a frame: the length, then the payload."""
        self.socket.sendall(struct.pack(">i", len(payload)) + payload)

    def send_raw(self, data):
        self.socket.sendall(data)

    def receive_exactly(self, count):
        parts = b""
        while len(parts) < count:
            piece = self.socket.recv(count - len(parts))
            if not piece:
                raise EOFError(f"closed after {len(parts)} of {count} bytes")
            parts += piece
        return parts

    def receive(self):
        """One answer: (correlation id, the rest)."""
        (length,) = struct.unpack(">i", self.receive_exactly(4))
        body = self.receive_exactly(length)
        return struct.unpack(">i", body[:4])[0], body[4:]

    def is_closed_by_peer(self):
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def header(key, version, correlation=1, client=b"raw"):
    """Request header version 1: what every non-flexible version has."""
    return struct.pack(">hhih", key, version, correlation, len(client)) + client


def api_versions(connection, correlation=77):
    """Asks ApiVersions v0 and returns {key: (min, max)}."""
    connection.send(header(18, 0, correlation))
    answered, body = connection.receive()
    assert answered == correlation
    error, count = struct.unpack_from(">hi", body)
    assert error == 0
    return {
        key: (low, high) for key, low, high in (struct.unpack_from(">hhh", body, 6 + 6 * n) for n in range(count))
    }


def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def produce_v3(topic, records, acks=-1, correlation=1, partition=0, version=3):
    return (
        header(0, version, correlation)
        + struct.pack(">hhi", -1, acks, 10_000)
        + struct.pack(">i", 1) + string(topic)
        + struct.pack(">i", 1) + struct.pack(">i", partition)
        + struct.pack(">i", len(records)) + records
    )


def produce_error(body):
    """The error code of the only partition in a Produce v3 answer."""
    (name_length,) = struct.unpack_from(">h", body, 4)
    return struct.unpack_from(">h", body, 4 + 2 + name_length + 4 + 4)[0]
