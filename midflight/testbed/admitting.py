"""A network that admits applications to its switches: for whom they compute, how fast, and what that came to."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Unpack

from midflight.errors import MidflightError
from midflight.primitives import Application, Program
from midflight.runtime.p4runtime.client.results import Count
from midflight.runtime.steering import members
from midflight.testbed.change import Guest
from midflight.testbed.controlled import Controlled, Opening
from midflight.testbed.fabric.base import Host
from midflight.testbed.jobs import WORKER_PORT
from midflight.testbed.maps import Book
from midflight.testbed.topology import Topology

__all__ = ["Admitting"]

_Told = tuple[Program, Book, dict[tuple[str, str], Guest], dict[str, int], dict[tuple[str, str], tuple[Host, ...]]]


class Admitting(Controlled):
    """A controlled network whose switches compute on what they are told to. See `Net`."""

    def __init__(self, topology: Topology, *, program: Program, **opening: Unpack[Opening]) -> None:
        self._epoch = 1  # of what computes, newer each time that something has forgotten what it knew
        self._guests: dict[tuple[str, str], Guest] = {}  # by application and switch
        self._rates: dict[str, int] = {}  # by application
        self._used: set[tuple[str, str]] = set()  # applications whose state may not be empty, and their switches
        self._mirrors: dict[tuple[str, str], tuple[Host, ...]] = {}  # by application and switch
        super().__init__(topology, program=program, **opening)

    def admit(
        self,
        application: str,
        hosts: Sequence[Host] = (),
        *,
        senders: Sequence[Host] = (),
        switch: str = "",
        port: int | None = None,
    ) -> None:
        """Have a switch compute on an application's requests from these hosts, or from everybody where none are told.

        What the kernel multicasts goes to the hosts' UDP port `port`, 49152 and the application's id unless told; not
        to the `senders`, whose requests are computed on as well. A group admits its application by itself, and so does
        `join`. `switch` is needed where several have the application. MidflightError where none has, or where a host
        has no way to it.
        """
        with self._lock:
            found, switch = self._application(application), self._running(application, switch)
            behind = WORKER_PORT + found.id if port is None else port
            guest = Guest(found, switch, tuple(hosts), behind, tuple(senders))
            self._welcome(guest)
            self._guests[application, switch] = guest
            self._used.add((application, switch))

    def withdraw(self, application: str, switch: str = "") -> None:
        """Have a switch only forward an application's requests again. Its state stays, for when it is admitted."""
        with self._lock:
            switch = self._running(application, switch)
            if self.switches[switch].on:
                self.switches[switch].steering.withdraw(self._application(application).id)
            self._guests.pop((application, switch), None)

    def limit(self, application: str, rate: int) -> None:
        """Have switches compute on at most `rate` requests a second of an application from each port; 0 for no limit.

        What comes faster passes by, towards the host that it is addressed to. Where a switch refuses, none is changed.
        """
        with self._lock:
            number = self._application(application).id
            with ExitStack() as undo:
                for switch in self.switches.values():
                    if switch.on and number in switch.steering.admitted:
                        undo.callback(switch.steering.limit, number, switch.steering.admitted[number].rate)
                        switch.steering.limit(number, rate)
                undo.pop_all()
            self._rates[application] = rate

    def mirror(self, application: str, hosts: Sequence[Host] = (), *, switch: str = "") -> None:
        """Have a switch send the copies that an application's kernel mirrors to these hosts; to nobody without any.

        They are hosts on the switch itself, as a copy is addressed to whom the packet was. `switch` is needed where
        several have the application. MidflightError where none has, or where its kernel mirrors nothing.
        """
        with self._lock:
            found, switch = self._application(application), self._running(application, switch)
            if not found.primitive.kernel.mirrors:
                raise MidflightError(f"{application} mirrors nothing", hint="a kernel does by `packet.mirror()`")
            self._reflect(found, switch, hosts)
            self._mirrors[application, switch] = tuple(hosts)

    def counters(self, application: str, switch: str = "") -> dict[int | None, Count]:
        """Return the packets and bytes that came for an application, by the ports that it is admitted on.

        Under None where all ports may bring them; what came too fast for its limit is counted, too. `switch` is needed
        where several have the application. MidflightError where it is not admitted.
        """
        return self.switches[self._running(application, switch)].steering.counters(self._application(application).id)

    def _welcome(self, guest: Guest) -> None:
        """Admit an application that has no group, where its switch is on."""
        of, switch = guest.application, self.switches[guest.switch]
        ports = {self._graph.port_towards(guest.switch, each.name) for each in (*guest.hosts, *guest.senders)} or None
        those = members(self._graph, guest.switch, {each.name: guest.port for each in guest.hosts})
        if switch.on:
            switch.steering.admit(of.id, those, epoch=self._epoch, ports=ports, rate=self._rates.get(of.name, 0))

    def _reflect(self, application: Application, switch: str, hosts: Sequence[Host]) -> None:
        """Set an application's mirror, where its switch is on."""
        ports = [self._graph.port_towards(switch, each.name) for each in hosts]
        if self.switches[switch].on:
            self.switches[switch].steering.mirror(application.id, ports)

    def _told(self) -> _Told:
        """Return what there is to go by: the program, and what has been said of its applications."""
        return self.program, self._book, self._guests, self._rates, self._mirrors

    def _remember(self, told: _Told) -> None:
        """Go by this from now on."""
        self.program, self._book, self._guests, self._rates, self._mirrors = told

    def _staying(self, program: Program) -> _Told:
        """Return what there is to go by once all switches have another program."""
        ids = {name: each.id for name, each in program.applications.items()}
        same = {name for name, each in self.program.applications.items() if ids.get(name) == each.id}

        def there(application: str, switch: str) -> bool:
            return application in same and application in self.switches[switch].running.placed

        return (
            program,
            Book(program, self._book),
            {key: each for key, each in self._guests.items() if there(*key)},
            {name: rate for name, rate in self._rates.items() if name in program.applications},
            {key: each for key, each in self._mirrors.items() if there(*key)},
        )
