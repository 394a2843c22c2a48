"""Interface of what moves packets between the ports of a switch and its engine."""

from __future__ import annotations

from typing import Protocol

from midflight.runtime.engine.backend import Backend

__all__ = ["Carrier"]


class Carrier(Protocol):
    """Carries packets between ports and a switch's engine in native code, so that they do not pass `Switch.process`."""

    @property
    def now(self) -> int:
        """The time of the program's clock, in microseconds."""

    @property
    def down(self) -> frozenset[int]:
        """The ports that cannot send now."""

    def use(self, engine: Backend | None) -> None:
        """Process packets with this engine from now on; with None, drop them."""

    def packets_in(self) -> list[bytes]:
        """Remove and return the packets that the program sent to the CPU port."""

    def send(self, port: int, packet: bytes) -> None:
        """Send a packet that a controller has sent through a port of the switch, immediately."""

    def wake(self) -> None:
        """Process packets whose time to leave their queues has come earlier, after a change of settings."""
