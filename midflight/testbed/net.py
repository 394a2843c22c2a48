"""Test networks that run a program, of any topology, fabric and kind of switch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any
from weakref import proxy

import numpy as np
from numpy.typing import NDArray

from midflight.closing import Closer
from midflight.errors import MidflightError
from midflight.primitives import Program
from midflight.primitives.state import State
from midflight.runtime.checked import user_programs
from midflight.runtime.controller import Controller
from midflight.runtime.controller.alerts import Alert, Wanted
from midflight.runtime.controller.maps import ControlledMap
from midflight.runtime.controller.services import Services
from midflight.runtime.controller.strategy import Strategy
from midflight.runtime.controller.switch import ManagedSwitch
from midflight.runtime.devices.base import Device
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.endpoint import Endpoint
from midflight.runtime.endpoint.membership import Joined
from midflight.runtime.p4runtime.client.results import Count
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.placement import Placement
from midflight.runtime.steering import Choice, Offload
from midflight.testbed.fabric.base import Host, Scheduled
from midflight.testbed.fabric.endpoints import FabricEndpoint
from midflight.testbed.fabric.registry import open_fabric
from midflight.testbed.group import Group
from midflight.testbed.membership import Memberships
from midflight.testbed.services import steer
from midflight.testbed.sim.link import ChannelStatistics
from midflight.testbed.software import ServerHosts
from midflight.testbed.topology import Topology
from midflight.testbed.traffic.admission import DefaultAdmission
from midflight.testbed.traffic.arrivals import Received
from midflight.testbed.traffic.load import Load, Pace, Pacing, load
from midflight.testbed.traffic.traffic import Named, Traffic
from midflight.testbed.waiting import overdue

__all__ = ["Net"]


class Net:
    """A running network with a controller, whose switches run a program. A context manager: leaving it calls `close`.

    fabric: `sim` for a simulation in virtual time, or `netns` for network namespaces, processes and sockets (needs
    root). device: the kind of all switches, `host` for the embedded switch, `bmv2`, `xdp` or a kind of another package;
    or a mapping with a kind for each switch. seed: of links, of `load`, and in simulation of tokens; `packet.random`
    ignores it. offload: False makes hosts compute, unless `admit` is called. capabilities: by switch name, limits and
    features to assume instead of the device's. strategy: how the work of a group is spread over switches; None lets one
    switch compute for the whole group. pcap: a folder for captures of every link, h1-s1.pcap and so on; not in
    simulation. traceable: makes BMv2 log every packet, for traces, which the embedded switch gives without it.

    Each switch runs the applications that it has room for (`placements`). One switch or server is chosen to compute for
    a group (`choices`). MidflightError if the program or a parameter is invalid, DeviceError if a device does not
    start; everything that was opened is closed again.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        program: Program,
        device: str | Mapping[str, str] = "host",
        fabric: str = "sim",
        seed: int = 0,
        pcap: Path | None = None,
        traceable: bool = False,
        offload: bool = True,
        capabilities: Mapping[str, Capabilities] | None = None,
        strategy: Strategy | None = None,
    ) -> None:
        self.topology, programs = topology, user_programs(eager=(fabric, device) == ("sim", "host"))
        with ExitStack() as stack:
            self.fabric = made = stack.enter_context(
                open_fabric(fabric, topology, device, seed=seed, pcap=pcap, traceable=traceable, programs=programs)
            )
            servers = ServerHosts(made)
            self.controller = stack.enter_context(
                Controller(
                    program,
                    [FabricEndpoint(made, name) for name in made.devices],
                    topology.graph(),
                    strategy=strategy,
                    software=servers,
                    offload=offload,
                    capabilities=capabilities,
                    now=lambda: made.now,
                    random=Random(f"{seed}/tokens") if isinstance(made, Scheduled) else None,
                    mtu=topology.mtu,
                    programs=programs,
                )
            )
            self._groups: dict[str, Group] = {}  # by application
            self._memberships = Memberships(made, self.controller, servers)
            self._seed = seed
            self._by_default = DefaultAdmission(self.controller)
            me, admit, token = proxy(self), self._by_default.ensure, self.controller.token  # a proxy: see `Closer`
            self._traffic = Traffic(made, lambda: me.program, lambda name: me._server(name), admit, token)
            self._close = Closer(self, stack.pop_all().close)

    def close(self) -> None:
        """Close the controller and the network, and remove everything they created. May be called more than once."""
        self._close()

    def __enter__(self) -> Net:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def program(self) -> Program:
        """The program that the switches run now; `change` replaces it."""
        return self.controller.program

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts, in the topology's order."""
        return tuple(self.fabric.hosts.values())

    def host(self, name: str) -> Host:
        """Return the host of this name. MidflightError if there is none."""
        return self._traffic.host(name)

    @property
    def devices(self) -> Mapping[str, Device]:
        """The switches' devices by switch name. `revive` may replace a device by a new object."""
        return self.fabric.devices

    @property
    def switches(self) -> Mapping[str, ManagedSwitch]:
        """By name, the controller's object for each switch: its session, its configuration, and whether it is on."""
        return self.controller.switches

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The controller's P4Runtime session with each switch, by switch name."""
        return self.controller.sessions

    @property
    def steering(self) -> Mapping[str, Offload]:
        """By switch name, the routes, admissions and mirrors that the controller has written to the switch."""
        return self.controller.steering

    @property
    def placements(self) -> Mapping[str, Placement]:
        """By switch, the applications that it has room for, and reasons against others but those planned elsewhere."""
        return self.controller.placements

    @property
    def choices(self) -> Mapping[str, Choice]:
        """By application, the switch or server last chosen to compute for its group; kept when that closes."""
        return self.controller.choices

    def group(self, application: str, hosts: Sequence[Host], *, server: Host | None = None) -> Group:
        """Start workers of an `Aggregate` on these hosts, worker n on the n-th, and return their group.

        `server` is the host that requests are addressed to, by default the last host outside of the group. The switch
        that computes is the one nearest to the workers that all requests pass and that has a port for each worker. An
        application has one group at a time. If it has an open group of the same hosts, that group is returned.
        MidflightError if the program has no such `Aggregate`, if the hosts do not fit it or are of another network, if
        the application has a group of other hosts, or if no host is left for a server and there are several switches.
        """
        with self.controller.fleet.lock:
            jobs, hosts, open_group = self.controller.jobs, tuple(hosts), self._groups.get(application)
            primitive = jobs.check(application, hosts, server)
            involved = hosts if server is None else (*hosts, server)
            if strangers := [repr(each) for each in involved if self.fabric.hosts.get(each.name) is not each]:
                raise MidflightError(
                    f"a group needs distinct hosts of its network; not of this network: {', '.join(strangers)}"
                )
            if open_group is not None and not open_group.closed:
                if open_group.hosts != hosts:
                    raise MidflightError(
                        f"{application} already has a group of other hosts",
                        hint="close that group, or add another application to the program",
                    )
                return open_group
            self._by_default.decided(application)
            server = server or self._default_server(application, hosts)
            workers = jobs.enlist(application, hosts, server)
            try:
                crew = self.fabric.crew(workers)
            except BaseException:
                jobs.leave(application)
                raise
            self._groups[application] = made = Group(primitive, hosts, server, crew, jobs, workers[0].job, self)
            return made

    def join(
        self,
        application: str,
        hosts: Sequence[Host],
        *,
        clients: Sequence[Host] = (),
        server: Host | None = None,
        switch: str = "",
    ) -> Joined:
        """Run the endpoints of a Barrier, Cache, GroupBy, Lock, Quorum or Sequencer on hosts, and return them.

            parties = net.join("steps", net.hosts[:4])
            parties[0].arrive()

        The n-th endpoint runs on the n-th host. For a Sequencer, `hosts` run the replicas and `clients` the clients.
        Requests are addressed to `server`, by default the last host that does not take part. It computes what a switch
        leaves to it, or everything if no switch computes. Its own requests must pass the switch that computes, so
        choose a host on that switch. Name `switch` if several run the application. Joining again clears the state and
        replaces the endpoints. MidflightError if the program has no such application, or the hosts do not fit it.
        """
        self._by_default.decided(application)
        return self._memberships.join(application, hosts, clients=clients, server=server, switch=switch)

    def leave(self, application: str) -> None:
        """Remove the endpoints of `join`, and withdraw their application. MidflightError if it is unknown."""
        self._memberships.leave(application)

    def listen(self, host: Host, endpoint: Endpoint, port: int) -> None:
        """Run an endpoint on a host's UDP port, replacing an earlier one. MidflightError if the port is in use."""
        self.fabric.listen(host.name, port, endpoint)

    def run(self, until: Callable[[], bool], timeout: float = 60.0) -> None:
        """Drive the endpoints that `join` and `listen` have put on hosts, until `until()` returns True.

        `until` is called after every event, and may give endpoints new work. Exceptions of endpoints are raised here.
        MidflightError, with the condition's place in the source, if it does not return True within `timeout` seconds of
        the network's clock, or before a simulated network has no more events.
        """
        start = self.now
        if not self.fabric.drive(until, timeout):
            raise overdue(until, None if self.now - start < round(timeout * 1e9) else timeout)

    def send(
        self,
        host: Named,
        application: str,
        /,
        *,
        to: Named | None = None,
        sequence: int | Sequence[int] | NDArray[Any] | None = None,
        payload: bytes = b"",
        fields: Mapping[str, Any] | None = None,
        timeout: float = 5.0,
        **values: Any,
    ) -> NDArray[np.uint32]:
        """Send requests of an application from a host, and return their sequence numbers.

            net.send("h1", "latency", flow=7, value=250)
            net.send("h1", "latency", to="h3", flow=np.arange(100), value=250)      # a hundred

        Fields are keyword arguments, or in `fields` if their name is that of a parameter. A field is a whole number for
        all requests, or an array with an element for each. A field with lanes is a number, an array of lanes, or an
        array of shape (requests, lanes). Missing fields are 0. `to` is the host that requests are addressed to: by
        default the server of the application's group or of the hosts that have joined it, or else the next host.
        `sequence` is the number of the first request, or an array of all; by default, numbers continue after the last
        request of the application. `payload` follows the fields.

        Sends batches of 32, and waits after each until it and what followed from it have passed the network, for at
        most `timeout` seconds; 0 sends all at once. An application that has not been admitted, withdrawn or joined, and
        has no group, is admitted first (unless `offload` is False): on the first switch on the path that runs it, for
        that switch's hosts, which also receive multicasts. MidflightError if a name is unknown, if no switch on the
        path runs the application, or if a batch has not passed in time: the rest is not sent. WireError, before any is
        sent, if a field, the sequence or the payload is invalid.
        """
        given = {**(fields or {}), **values}
        return self._traffic.send(host, application, given, to=to, sequence=sequence, payload=payload, timeout=timeout)

    def received(self, host: Named, application: str = "", *, count: int = 0, timeout: float = 5.0) -> Received:
        """Return the messages that have reached a host, of all applications or of one, in order of arrival.

            net.received("h1").results          # others: `requests`, those `left` to the host, and mirrored `copies`

        Messages for any program on the host are recorded, from the first `send`, `load` or `received` on; the latest
        65,536 are kept. Waits at most a second for packets on their way, and with `count`, until there are that many
        messages. MidflightError if the host is unknown, or if fewer have arrived after `timeout` seconds.
        """
        return self._traffic.received(host, application, count=count, timeout=timeout)

    def alerts(
        self, application: str = "", wanted: Wanted | None = None, *, count: int = 0, timeout: float = 5.0
    ) -> list[Alert]:
        """Return the alerts that kernels have raised, of all applications or of one, filtered by `wanted`.

            net.alerts("latency", lambda alert: alert.value > 300)

        An alert is a tuple of the numbers that the kernel passed to `packet.alert`, which are also attributes. Alerts
        of one switch are in order; the latest 65,536 stay. Waits up to a second for packets on their way; with BMv2,
        waits for 1.2 s without an alert, unless `count` alerts have arrived. MidflightError if the application is
        unknown, or if there are fewer than `count` alerts after `timeout` seconds.
        """
        if application:
            self.controller.fleet.application(application)
        alerts = self.controller.alerts
        self.fabric.settle(None, min(timeout, 1.0))
        if count:
            return alerts.wait(count, application, wanted, timeout=timeout, let=self._traffic.pass_time)
        return alerts.heard(application, wanted)

    def follow(self, application: str = "", wanted: Wanted | None = None, *, timeout: float = 5.0) -> Iterator[Alert]:
        """Yield alerts as they are raised from now on, until `timeout` seconds of the network's clock pass without one.

        `application` and `wanted` select as for `alerts`. Also ends when a simulated network has no more events.
        """
        if application:
            self.controller.fleet.application(application)
        self.fabric.settle(None, min(timeout, 1.0))
        return self.controller.alerts.follow(application, wanted, timeout=timeout, let=self._traffic.pass_time)

    def load(
        self,
        hosts: Named | Sequence[Named],
        application: str,
        /,
        *,
        fields: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        to: Named | None = None,
        rate: float = 10_000.0,
        pacing: Pacing = "even",
        count: int | None = None,
        payload: bytes = b"",
        seed: int | None = None,
        timeout: float = 5.0,
        **values: Any,
    ) -> Load:
        """Send many requests from one or several hosts at a rate, and return the outcome as arrays.

            load = net.load("h1", "latency", fields={"flow": np.arange(1000), "value": 5}, rate=20_000)

        Fields, `to` and `payload` are as in `send`; `fields` may also be a mapping for each host. count: requests of
        each host, by default the length of the fields' arrays, which repeat if it is more. rate: requests per second of
        each host, above 0 and at most 1e9. pacing: `even`; `poisson`, with random gaps from `seed` (by default the
        network's); or an array of sending times in nanoseconds from the start. Sending takes virtual time in a
        simulated network and real time in others. Then waits for answers until no more arrive, for at most `timeout`
        seconds. MidflightError if a name, the rate or the pacing is invalid, if neither `count` nor an array gives the
        number of requests, or if no switch on the path runs the application. WireError if a field is invalid.
        """
        given = fields if isinstance(fields, Sequence) else {**(fields or {}), **values}
        pace = Pace(rate, pacing, self._seed if seed is None else seed)
        return load(
            self._traffic, hosts, application, given, pace, to=to, count=count, payload=payload, timeout=timeout
        )

    def forget(self) -> None:
        """Clear the records of received messages and alerts, which `received` and `alerts` return."""
        self._traffic.clear()
        self.controller.alerts.clear()

    def admit(
        self,
        application: str,
        hosts: Sequence[Host] = (),
        *,
        senders: Sequence[Host] = (),
        switch: str = "",
        port: int | None = None,
    ) -> None:
        """Make a switch compute on an application's requests from these hosts and senders; without any, from all ports.

        `hosts` get the multicasts, on UDP port `port`: by default 49152 plus the application's id. Idempotent. Name
        `switch` if several run the application. MidflightError if it does not run there or a host is out of reach.
        """
        self._by_default.decided(application)
        self.controller.admit(application, hosts, senders=senders, switch=switch, port=port)

    def withdraw(self, application: str, switch: str = "") -> None:
        """Make a switch only forward an application's requests. Its registers keep their contents. Idempotent.

        Name `switch` if several run the application, unless it has a group, whose job ends on all. Errors as `admit`.
        """
        self._by_default.decided(application)
        self.controller.withdraw(application, switch)

    def limit(self, application: str, rate: int) -> None:
        """Compute on at most `rate` requests per second of an application from each port of a switch; 0 is no limit.

        More are only forwarded. MidflightError if application or rate is invalid; DeviceError if a switch refuses.
        """
        self.controller.limit(application, rate)

    def mirror(self, application: str, hosts: Sequence[Host] = (), *, switch: str = "") -> None:
        """Send the copies that a kernel makes with `packet.mirror` to these hosts of its switch, and to no others.

        Name `switch` if several run it. MidflightError if it does not run there, mirrors nothing, or for remote hosts.
        """
        self.controller.mirror(application, hosts, switch=switch)

    def counters(self, application: str, switch: str = "") -> dict[int | None, Count]:
        """Return the packets and bytes that arrived for an application, by switch port; None stands for all ports.

        Name `switch` if several run the application. MidflightError if it is not admitted there.
        """
        return self.controller.counters(application, switch)

    def map(self, application: str, name: str, switch: str = "") -> ControlledMap:
        """Return a map (match-action table) of an application by its name in the kernel, to use like a dict.

        Name `switch` if several run the application. MidflightError if there is no such map or switch.
        """
        return self.controller.map(application, name, switch)

    def steer(self, service: str, address: str, weights: Mapping[str, float]) -> Services:
        """Steer requests to a service's address to hosts, by weight, and return what changes the weights.

        weights: by the host's name. These hosts also receive packets for the address; for a prefix, call `accept` of
        each host. After an error there is no service. MidflightError for an IPv6 address and a host that has only IPv4;
        DeviceError if a host does not take the address. See `Services.add` for other errors.
        """
        steer(self.controller.services, self.fabric.hosts, service, address, weights)
        return self.controller.services

    def state(self, application: str, switch: str = "") -> State:
        """Return an application's registers on a switch: `net.state("gradients").total.read()` is an array.

        Name `switch` if several run the application. MidflightError if it does not run there.
        """
        return self.controller.state(application, switch)

    def change(self, program: Program) -> None:
        """Change the program of all switches in one transaction: all run the new one, or all keep what they have.

        Applications that both programs have keep groups and admissions, and registers of the same shape. MidflightError
        if the program is invalid or does not fit an open group; DeviceError if a switch rejects it.
        """
        self.controller.change(program)

    def kill(self, switch: str) -> None:
        """Turn a switch off: its state and the packets that reach it are lost. MidflightError if it is unknown."""
        self.controller.power_off(switch)

    def revive(self, switch: str) -> None:
        """Start a switch, or restart a running one, with its program and entries, empty registers and a new epoch.

        MidflightError if there is no such switch. DeviceError if it does not start; it then stays off.
        """
        self.controller.revive(switch)

    def give_up(self, switch: str) -> None:
        """Turn a switch off, and give its jobs to another switch or the server until `revive`. Routes avoid the switch.

        If it is the only path between some hosts, it is restarted and only forwards. MidflightError if it is unknown.
        """
        self.controller.give_up(switch)

    @property
    def now(self) -> int:
        """The time of the network's clock in nanoseconds: virtual in a simulation, monotonic system time otherwise."""
        return self.fabric.now

    def after(self, delay: int, action: Callable[..., object], *arguments: object) -> None:
        """Call `action(*arguments)` in `delay` ns of virtual time. MidflightError if the network is not simulated."""
        if not isinstance(self.fabric, Scheduled):
            raise MidflightError("this network has no virtual time", hint="call the action from another thread")
        self.fabric.after(delay, action, *arguments)

    def uplink(self, host: Host) -> ChannelStatistics:
        """Return the counters of a host's link, from the host to its switch. MidflightError if it has no link."""
        return self.fabric.statistics(host.name, self.controller.fleet.neighbour(host))

    def downlink(self, host: Host) -> ChannelStatistics:
        """Return the counters of a host's link, from its switch to the host. MidflightError if it has no link."""
        return self.fabric.statistics(self.controller.fleet.neighbour(host), host.name)

    def link(self, host: Host) -> ChannelStatistics:
        """Return the counters of a host's link, summed over both directions. MidflightError if it has no link."""
        return self.uplink(host) + self.downlink(host)

    def totals(self) -> ChannelStatistics:
        """Return the counters of packets and bytes summed over both directions of all links."""
        ends = [each for link in self.topology.links for each in (link.ends, link.ends[::-1])]
        return sum((self.fabric.statistics(near.node, far.node) for near, far in ends), ChannelStatistics())

    def settle(self, timeout: float = 5.0) -> None:
        """Wait until all packets are delivered or lost. MidflightError if some are not after `timeout` seconds."""
        self._traffic.settle(None, timeout)

    def trace_hash(self) -> str:
        """Return a hash of all events on all links, equal for equal runs; empty if the network is not simulated."""
        return self.fabric.trace_hash()

    def _server(self, application: str) -> Host | None:
        """Return the host that an application's requests are addressed to, or None without a group or members."""
        group = self._groups.get(application)
        return self._memberships.server(application) if group is None or group.closed else group.server

    def _default_server(self, application: str, hosts: Sequence[Host]) -> Host | None:
        """Return the default server of a group; None if no host is left and the only switch computes."""
        version = hosts[0].address.version if hosts else 4
        spare = [each for each in self.hosts if each not in hosts and each.address.version == version]
        if not spare and (not self.controller.fleet.offload or len(self.devices) > 1):
            raise MidflightError(f"no host is left to compute {application}", hint="add a host to the network")
        return spare[-1] if spare else None
