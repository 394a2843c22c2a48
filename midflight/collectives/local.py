"""A switch of one machine, without root: a process with UDP ports, its controller, and restarts when it ends."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import TracebackType
from typing import TypeVar

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Program
from midflight.runtime.checked import user_programs
from midflight.runtime.controller.controller import Controller
from midflight.runtime.devices.hostprocess import HostProcessDevice
from midflight.runtime.endpoint import Address
from midflight.runtime.endpoint.framelink import FrameLink
from midflight.runtime.endpoint.worker import Worker
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.steering import Graph, Host, Link, Switch

__all__ = ["GATEWAY", "LocalSwitch", "card"]

T = TypeVar("T")

GATEWAY = 0x0200_0001_0001
"""The MAC address of the switch, which the cards of all ranks send to."""

_SWITCH = "s1"
# How often a request to load the program may time out: the first time that it is compiled takes long on a busy machine.
_ATTEMPTS = 10
_FIRST_MAC = 0x0200_0000_0001
_FIRST_ADDRESS = IPv4Address("10.0.0.1")


def card(rank: int) -> FrameLink:
    """Return the network card of a rank, with its address in the switch's network; `plug` connects it to the switch.

    DeviceError if no UDP socket can be bound on loopback.
    """
    return FrameLink(mac=_FIRST_MAC + rank, address=_FIRST_ADDRESS + rank, gateway=GATEWAY)


@dataclass(slots=True)
class _Endpoint:
    """The switch as its controller reaches it (a `SwitchEndpoint`): turning it on starts another process."""

    name: str
    interfaces: dict[int, str]
    device: HostProcessDevice

    def session(self) -> Session:
        return self.device.session()

    def power(self, *, on: bool) -> None:
        self.device.close()
        if on:
            self.device = HostProcessDevice(interfaces=self.interfaces)


class LocalSwitch:
    """A switch with one UDP port for each rank, which runs a program for all of them. A context manager.

    program: its applications are all `Aggregate`s with a worker for each rank. cards: the addresses of the ranks' cards
    (`FrameLink.bound`), in the order of their ranks.

    The switch runs in a process of its own, which ends with this one. MidflightError if there are not as many cards as
    workers, or no free UDP ports; DeviceError if the switch does not start or refuses its program.
    """

    def __init__(self, program: Program, cards: Sequence[Address]) -> None:
        self.addresses = _free_addresses(len(cards))
        """The address of the port of each rank, which it plugs its card into; they stay the same after a restart."""
        interfaces = {
            number: "udp:{}:{},{}:{}".format(*own, *peer)
            for number, (own, peer) in enumerate(zip(self.addresses, cards, strict=True), 1)
        }
        hosts = tuple(
            Host(f"rank{number}", _FIRST_MAC + number, _FIRST_ADDRESS + number) for number in range(len(cards))
        )
        links = tuple(Link(each.name, 0, _SWITCH, number) for number, each in enumerate(hosts, 1))
        with ExitStack() as stack:
            self._endpoint = _Endpoint(_SWITCH, interfaces, HostProcessDevice(interfaces=interfaces))
            stack.callback(lambda: self._endpoint.device.close())
            graph = Graph(hosts, (Switch(_SWITCH, GATEWAY),), links)
            programs = user_programs()
            self._controller = stack.enter_context(
                self._again(
                    lambda: Controller(program, [self._endpoint], graph, now=time.monotonic_ns, programs=programs)
                )
            )
            self.workers: dict[str, list[Worker]] = {
                name: self._controller.jobs.enlist(name, hosts) for name in program.applications
            }
            """By application, the parameters of each rank's worker."""
            self._close = stack.pop_all().close

    @property
    def pid(self) -> int:
        """The process id of the switch, which `restart` changes."""
        return self._endpoint.device.pid

    def ended(self, within: float) -> bool:
        """Wait up to `within` seconds for the end of the switch's process, and return whether it has ended."""
        return self._endpoint.device.ends(within)

    def restart(self) -> None:
        """Start the switch again, with the same program and jobs and in a new epoch, from which the ranks notice that
        it has lost its sums.

        DeviceError if it does not start or refuses its program; it is then off.
        """
        self._again(lambda: self._controller.revive(_SWITCH))

    def _again(self, load: Callable[[], T]) -> T:
        """Load the program, again if that timed out and the switch is still at work."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return load()
            except DeviceError:
                if not self._endpoint.device.alive:
                    raise
        return load()

    def close(self) -> None:
        """Stop the switch. Idempotent."""
        self._close()

    def __enter__(self) -> LocalSwitch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _free_addresses(count: int) -> list[Address]:
    """Return loopback addresses with distinct UDP ports that nothing uses. MidflightError if there are too few."""
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(count)]
        try:
            for each in sockets:
                each.bind(("127.0.0.1", 0))
        except OSError as error:
            raise MidflightError(f"cannot bind {count} UDP ports on loopback: {error.strerror}") from None
        return [("127.0.0.1", each.getsockname()[1]) for each in sockets]
