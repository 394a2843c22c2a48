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

__all__ = ["FixedEndpoint", "Host", "HostSoftware", "NoSoftware", "SwitchEndpoint", "check_distinct"]


class Host(Protocol):
    """A host of the network, as the controller needs to know it."""

    @property
    def name(self) -> str:
        """The host's name, which is also that of its node in the network's graph."""

    @property
    def mac(self) -> int:
        """The MAC address of the host's network card, a 48-bit integer."""

    @property
    def address(self) -> IPAddress:
        """The host's IPv4 or IPv6 address, to which results are sent."""


class SwitchEndpoint(Protocol):
    """A switch that exists already, and the means by which the controller reaches it."""

    @property
    def name(self) -> str:
        """The switch's name, which is also that of its node in the network's graph."""

    @property
    def device(self) -> Device:
        """The switch's device: its capabilities and its compiler. `power` may replace it by another object."""

    def session(self) -> Session:
        """Open a P4Runtime session with the switch, which the caller closes.

        If another controller is the primary, the session is a backup (see `Session.was_primary`), or DeviceError is
        raised, as by `DeployedSwitch`. DeviceError if the switch does not answer.
        """

    def power(self, *, on: bool) -> None:
        """Turn the switch off (`on` False) or on. It loses its program, entries and registers.

        MidflightError if this endpoint cannot do that, DeviceError if the switch does not start.
        """


class FixedEndpoint:
    """A `SwitchEndpoint` for a running device that the controller cannot turn off or on. `name` is its node in the
    graph.
    """

    def __init__(self, name: str, device: Device) -> None:
        self.name = name
        self.device = device

    def session(self) -> Session:
        """Open a P4Runtime session with the switch, which the caller closes. DeviceError if it does not answer."""
        return self.device.session()

    def power(self, *, on: bool) -> None:  # noqa: ARG002
        """Raise MidflightError in any case: only the switch's owner can turn it off or on."""
        raise MidflightError(
            f"the controller cannot turn {self.name} off or on", hint="restart it yourself; the controller restores it"
        )


class HostSoftware(Protocol):
    """The controller's interface to software on hosts that computes applications where no switch does."""

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
        """Start computing an application on the host of this name, from its initial state, and send results to
        `members`.

        `members` are pairs of an IP address, as text, and a UDP port. `epoch` is a 16-bit serial number, which results
        carry: it must be newer than any in which a switch or host computed for these members before. `maps` holds the
        initial entries by name of the map; other maps have those that the primitive defines. Requests that do not carry
        `token` are refused.
        """

    def write(self, application: str, name: str, entry: Entry, present: bool) -> None:
        """Add an entry to an application's map `name` if `present`, else remove it, on every host that computes the
        application.

        DeviceError if the process of such a host has ended.
        """

    def adopt(self, program: Program) -> None:
        """Continue with a changed program: stop computing the applications that it lacks, and go on with the others."""


class NoSoftware:
    """A `HostSoftware` whose methods do nothing, for networks in which only switches compute."""

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
        """Do nothing, and ignore all parameters: in this network no host computes in place of a switch."""

    def write(self, application: str, name: str, entry: Entry, present: bool) -> None:
        """Do nothing, and ignore all parameters: no host of this network has maps."""

    def adopt(self, program: Program) -> None:
        """Do nothing: no host runs a program."""


def check_distinct(hosts: Sequence[Host]) -> None:
    """Check that no host is named twice. MidflightError if one is."""
    seen: dict[str, None] = {}
    for each in hosts:
        if each.name in seen:
            raise MidflightError(f"{each.name} is named twice", hint="name each host once")
        seen[each.name] = None
