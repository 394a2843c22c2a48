"""Interfaces between a controller and its environment: switch endpoints, hosts and host software."""

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
    """A switch that exists already, and how the controller reaches it."""

    @property
    def name(self) -> str:
        """Its name in the graph."""

    @property
    def device(self) -> Device:
        """The device. `power` may replace it by another object."""

    def session(self) -> Session:
        """Open a session as the primary controller of the switch.

        DeviceError if the switch does not answer or has another primary.
        """

    def power(self, *, on: bool) -> None:
        """Turn the switch off or on. It loses its state. MidflightError if the endpoint cannot be power-controlled."""


class FixedEndpoint:
    """A `SwitchEndpoint` for a switch that the controller cannot turn off or on."""

    def __init__(self, name: str, device: Device) -> None:
        self.name = name
        self.device = device

    def session(self) -> Session:
        """Open a session with the switch."""
        return self.device.session()

    def power(self, *, on: bool) -> None:  # noqa: ARG002
        """Raise MidflightError: only the switch's owner can turn it off or on."""
        raise MidflightError(
            f"the controller cannot turn {self.name} off or on", hint="restart it yourself; the controller restores it"
        )


class HostSoftware(Protocol):
    """Computes applications in software on hosts, as a fallback where no switch computes them."""

    def serve(
        self,
        host: str,
        program: Program,
        application: str,
        members: Sequence[Address],
        *,
        epoch: int = 0,
        maps: Mapping[str, Sequence[Entry]] | None = None,
        token: int = 0,
    ) -> None:
        """Start computing an application on a host, from its initial state, and send results to `members`.

        The epoch must be newer than any in which a switch or host computed for these members before. `maps` holds the
        initial entries by map name. Requests with another token are refused.
        """

    def write(self, application: str, name: str, entry: Entry, there: bool) -> None:
        """Add an entry to map `name` (`there` True) or remove it, on every host that computes the application."""

    def adopt(self, program: Program) -> None:
        """Continue with another program. Stop computing the applications that it lacks."""


class NoSoftware:
    """A `HostSoftware` that does nothing, for networks in which only switches compute."""

    def serve(
        self,
        host: str,
        program: Program,
        application: str,
        members: Sequence[Address],
        *,
        epoch: int = 0,
        maps: Mapping[str, Sequence[Entry]] | None = None,
        token: int = 0,
    ) -> None:
        """Do nothing."""

    def write(self, application: str, name: str, entry: Entry, there: bool) -> None:
        """Do nothing."""

    def adopt(self, program: Program) -> None:
        """Do nothing."""
