"""The P4Runtime server of a switch in this process: started after its ports were opened, and ended after them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from midflight.runtime.p4runtime.server.server import Server
from midflight.runtime.p4runtime.server.switch import Switch

__all__ = ["serve"]


class _Ports(Protocol):
    def close(self) -> None: ...


def serve(switch: Switch, address: str, ports: _Ports | None) -> tuple[Server, Callable[[], None]]:
    """Start the P4Runtime server of a switch, and return it with a function that closes the ports and then the server.

    `address` is "host:port", with port 0 for a free one, or "unix:/path"; `ports` is None for a switch without
    interfaces. If the server does not start, the ports are closed and the error is raised.
    """
    try:
        server = Server(switch, address).start()
    except BaseException:
        if ports is not None:
            ports.close()
        raise
    return server, partial(_close, ports, server)


def _close(ports: _Ports | None, server: Server) -> None:
    try:
        if ports is not None:
            ports.close()
    finally:
        server.stop()
