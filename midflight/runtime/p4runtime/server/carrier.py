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
        """The switch ports that cannot send now, because their interface is down or has no link."""

    def use(self, engine: Backend | None) -> None:
        """Process packets with this engine from now on.

        None stands for no program: packets are dropped, or, if the program runs in the kernel, pass to the system.
        """

    def packets_in(self) -> list[bytes]:
        """Remove and return the packets that the program sent to the CPU port."""

    def send(self, port: int, packet: bytes) -> None:
        """Send a packet of a controller through a switch port, immediately. It is dropped if there is no such port."""

    def wake(self) -> None:
        """Process packets whose time to leave their queues has come earlier, after a change of settings."""
