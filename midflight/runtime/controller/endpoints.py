"""What a controller is given: switches to manage, hosts to serve, and whoever computes in place of a switch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from midflight.errors import MidflightError
from midflight.runtime.devices.base import Device
from midflight.runtime.steering import IPAddress

if TYPE_CHECKING:
    from midflight.primitives import Program
    from midflight.primitives.kernel.map import Entry
    from midflight.runtime.endpoint import Address
    from midflight.runtime.p4runtime.client.session import Session

__all__ = ["FixedEndpoint", "Host", "HostSoftware", "NoSoftware", "SwitchEndpoint"]


class Host(Protocol):
    """A host of the network."""

    @property
    def name(self) -> str:
        """Its name in the graph."""

    @property
    def mac(self) -> int:
        """The MAC address of its network card, 48 bits."""

    @property
    def address(self) -> IPAddress:
        """Its IPv4 or IPv6 address."""


class SwitchEndpoint(Protocol):
    """A switch that somebody else made, and the controller's way to it."""

    @property
    def name(self) -> str:
        """Its name in the graph."""

    @property
    def device(self) -> Device:
        """The device. It may be another object after `power`."""

    def session(self) -> Session:
        """Open the controller's session with the switch. DeviceError if that does not answer, or is another's."""

    def power(self, *, on: bool) -> None:
        """Turn the switch off or on; its state is lost. MidflightError if the controller cannot do that here."""


class FixedEndpoint:
    """A switch whose process or hardware the controller cannot turn off or on (a `SwitchEndpoint`)."""

    def __init__(self, name: str, device: Device) -> None:
        self.name = name
        self.device = device

    def session(self) -> Session:
        """Open a session with the switch."""
        return self.device.session()

    def power(self, *, on: bool) -> None:  # noqa: ARG002
        """Raise MidflightError: only the switch's owner can do that."""
        raise MidflightError(
            f"the controller cannot turn {self.name} off or on", hint="restart it yourself; the controller restores it"
        )


class HostSoftware(Protocol):
    """Hosts that compute an application in software where no switch does."""

    def serve(
        self,
        host: str,
        program: Program,
        application: str,
        members: Sequence[Address],
        *,
        epoch: int = 0,
        maps: Mapping[str, Sequence[Entry]] | None = None,
    ) -> None:
        """Start computing an application on a host, from its initial state, and answer to these members.

        `epoch` is newer than that of whatever computed for the members before. `maps` holds the entries by map.
        """

    def write(self, application: str, name: str, entry: Entry, there: bool) -> None:
        """Add an entry to a map of an application, or remove it, on every host that computes the application."""

    def adopt(self, program: Program) -> None:
        """Continue with another program; applications that it lacks are no longer computed."""


class NoSoftware:
    """No host computes in place of a switch (a `HostSoftware` that does nothing)."""

    def serve(
        self,
        host: str,
        program: Program,
        application: str,
        members: Sequence[Address],
        *,
        epoch: int = 0,
        maps: Mapping[str, Sequence[Entry]] | None = None,
    ) -> None:
        """Do nothing."""

    def write(self, application: str, name: str, entry: Entry, there: bool) -> None:
        """Do nothing."""

    def adopt(self, program: Program) -> None:
        """Do nothing."""
