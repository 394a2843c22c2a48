"""The throughput of TCP between two hosts, measured by two processes on them.

    python -m midflight.testbed.host.throughput serve ADDRESS PORT
    python -m midflight.testbed.host.throughput send ADDRESS PORT SECONDS

The server accepts one connection, and prints bytes and seconds when it ends.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress

from midflight.errors import MidflightError
from midflight.testbed.fabric.base import Host

__all__ = ["main", "measure"]

_PORT = 5201
_PATIENCE = 10.0  # seconds until a connection is there


def measure(one: Host, other: Host, *, seconds: float = 3.0) -> float:
    """Send TCP from host `one` to `other` for some seconds, and return the throughput in bits a second.

    Port 5201 of `other` must be free. MidflightError if no connection comes about within 10 s, and for simulated hosts,
    which run no commands; DeviceError if a process does not start or does not end.
    """
    me = [sys.executable, "-m", __name__]
    address, limit = str(other.address), 2 * _PATIENCE + seconds
    printed: list[str] = []
    errors: list[BaseException] = []

    def serve() -> None:
        try:
            printed.append(other.run([*me, "serve", address, str(_PORT)], timeout=limit, check=False))
        except MidflightError as error:
            errors.append(error)

    server = threading.Thread(target=serve, name="throughput")
    server.start()
    try:
        sent = one.run([*me, "send", address, str(_PORT), str(seconds)], timeout=limit, check=False)
    finally:
        server.join()
    if errors:
        raise errors[0]
    try:
        count, took = printed[0].split()
        return int(count) * 8 / float(took)
    except ValueError:
        said = (sent.strip() or printed[0].strip()).rpartition("\n")[2]
        raise MidflightError(f"no connection from {one.name} to {other.name}: {said}") from None


def main(arguments: list[str]) -> int:
    """Serve or send as the module's docstring says, and return the exit status."""
    what, address, port, *rest = arguments
    if what == "serve":
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.create_server((address, int(port)), family=family) as listening:
            listening.settimeout(_PATIENCE)
            connection, _ = listening.accept()
        with connection:
            begun, total = time.monotonic(), 0
            while data := connection.recv(1 << 20):
                total += len(data)
            sys.stdout.write(f"{total} {time.monotonic() - begun:.6f}\n")
        return 0
    with _connected(address, int(port)) as connection, suppress(ConnectionError):
        until, data = time.monotonic() + float(rest[0]), bytes(1 << 16)
        while time.monotonic() < until:
            connection.sendall(data)
    return 0


def _connected(address: str, port: int) -> socket.socket:
    """Connect to the server, which may not listen yet."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return socket.create_connection((address, port), timeout=_PATIENCE)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
