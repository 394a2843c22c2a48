"""Script for Mininet's Python: a network of two hosts and a Midflight switch, with traffic through it.

traffic.py FILE KIND PROGRAM: FILE defines the switches, and is loaded like the argument of `mn --custom`.
"""

from __future__ import annotations

import socket
import sys
from functools import partial
from typing import Any

from mininet.net import Mininet
from mininet.topo import SingleSwitchTopo

SERVER = """
import socket
with socket.create_server(("10.0.0.2", 7000)) as listening:
    print("ready", flush=True)
    accepted, _ = listening.accept()
    with accepted:
        accepted.sendall(bytes(200_000))
"""
CLIENT = """
import socket
with socket.create_connection(("10.0.0.2", 7000), 30) as connection:
    received = 0
    while data := connection.recv(65536):
        received += len(data)
print("received", received)
"""


def main(file: str, kind: str, program: str) -> None:
    """Start the network, send a TCP stream through it, and stop it."""
    custom: dict[str, Any] = {}
    with open(file) as text:  # noqa: PTH123
        exec(compile(text.read(), file, "exec"), custom, custom)
    switch = partial(custom["switches"][kind], program=program)
    net = Mininet(topo=SingleSwitchTopo(2), switch=switch, controller=None, autoSetMacs=True, autoStaticArp=True)
    try:
        net.start()
        h1, h2, s1 = net.get("h1", "h2", "s1")
        server = h2.popen([sys.executable, "-c", SERVER])
        assert server.stdout.readline() == b"ready\n"
        sys.stdout.write(h1.cmd([sys.executable, "-c", f"'{CLIENT}'"]).strip() + "\n")
        host, _, port = s1.grpc.rpartition(":")
        socket.create_connection((host, int(port)), 5).close()
        sys.stdout.write(f"{s1.name} on {s1.grpc}, device {s1.device_id}\n")
        server.wait(30)
    finally:
        net.stop()
    sys.stdout.write("stopped\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
