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
from midflight.runtime.checked import Programs
from midflight.runtime.controller import Controller
from midflight.runtime.controller.alerts import Alert, Wanted
from midflight.runtime.controller.maps import ControlledMap
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
    """A running network with a controller, whose switches run a program. A context manager.

        with Net(leaf_spine(2, 2, hosts=4), program=program, fabric="netns", device="bmv2") as net:
            group = net.group("gradients", net.hosts[:4])
            sums = group.allreduce(arrays)

    fabric: `sim` for a simulation in virtual time, or `netns` for network namespaces, processes and sockets (needs
    root). device: the kind of all switches, `host` for the embedded switch or `bmv2`; or a mapping from switches to
    kinds. seed: the seed of all random choices. offload: whether switches may compute, or only forward requests to the
    hosts that compute instead. capabilities: per-switch overrides of the reported capabilities. strategy: how the work
    of a group is spread over switches; by default, one switch computes for a whole group.

    pcap: a folder for captures of every link, h1-s1.pcap and so on; not in simulation. traceable: whether BMv2 logs
    every packet, so that it can be traced. The embedded switch can always be traced.
    Each switch runs the applications that it has room for: see `placements`. The switch and the server are two
    instances of a service, of which the better one is used: see `choices`.
    MidflightError if the program or a parameter is invalid, DeviceError if a device does not start; everything that was
    opened is closed again.
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
        self.topology, programs = topology, Programs()
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
            """The controller of all switches."""
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

    # Parts of the network

    @property
    def program(self) -> Program:
        """The program that the switches run."""
        return self.controller.program

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts, in the topology's order."""
        return tuple(self.fabric.hosts.values())

    def host(self, name: str) -> Host:
        """Return a host by name. MidflightError if there is none."""
        return self._traffic.host(name)

    @property
    def devices(self) -> Mapping[str, Device]:
        """The switches' devices by name."""
        return self.fabric.devices

    @property
    def switches(self) -> Mapping[str, ManagedSwitch]:
        """The switches by name, each with the controller's view of it."""
        return self.controller.switches

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The controller's session with each switch."""
        return self.controller.sessions

    @property
    def steering(self) -> Mapping[str, Offload]:
        """The forwarding and offloading state of each switch."""
        return self.controller.steering

    @property
    def placements(self) -> Mapping[str, Placement]:
        """The applications that each switch has room for, and the reasons why it does not run the others."""
        return self.controller.placements

    @property
    def choices(self) -> Mapping[str, Choice]:
        """By application, the instance that computes for its group, and why. Missing if there was no choice."""
        return self.controller.choices

    # Groups of workers, and hosts that join

    def group(self, application: str, hosts: Sequence[Host], *, server: Host | None = None) -> Group:
        """Start workers of an `Aggregate` on these hosts, worker n on the n-th, and return their group.

        `server` is the host that requests are addressed to, by default the last host outside of the group. The switch
        that computes is the one nearest to the workers that all requests pass and that has a port for each worker. An
        application has one group at a time. If it has an open group of the same hosts, that group is returned.

        MidflightError if the program has no such `Aggregate`, if the hosts do not fit it or are of another network, if
        the application has a group of other hosts, or if no host is left to be the server.
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
            for party in parties:
                party.arrive()
            net.run(lambda: not any(party.waiting() for party in parties))

        The n-th endpoint runs on the n-th host. For a Sequencer, `hosts` run the replicas and `clients` the clients.
        Requests are addressed to `server`, by default the last host that does not take part otherwise. The server
        computes what a switch leaves to it, or everything if no switch computes. The server's own requests have to pass
        the switch that computes, so choose a host on that switch. `switch` is required if several switches run the
        application.

        Joining again clears the state and replaces the earlier endpoints. MidflightError if the program has no such
        application, or if the hosts do not fit it.
        """
        self._by_default.decided(application)
        return self._memberships.join(application, hosts, clients=clients, server=server, switch=switch)

    def leave(self, application: str) -> None:
        """Remove the endpoints of a joined application, and withdraw it from switches.

        MidflightError if the program has no such application.
        """
        self._memberships.leave(application)

    def listen(self, host: Host, endpoint: Endpoint, port: int) -> None:
        """Run an endpoint of your own on a UDP port of a host. It replaces an endpoint that is already there."""
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

    # Requests and their outcome

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

        Returns when the requests and everything that followed from them have passed the network, so that `received`,
        `alerts` and `state` show the outcome. With `timeout=0`, returns immediately.

        If the application has not been admitted, withdrawn or joined, and has no group, it is admitted (unless
        `offload` is False): on the first switch on the path that runs it, for that switch's hosts, which also receive
        multicasts.

        MidflightError if a name is unknown, if no switch on the path runs the application, or if packets are still in
        the network after `timeout` seconds. WireError if a field, the sequence or the payload is invalid.
        """
        given = {**(fields or {}), **values}
        return self._traffic.send(host, application, given, to=to, sequence=sequence, payload=payload, timeout=timeout)

    def received(self, host: Named, application: str = "", *, count: int = 0, timeout: float = 5.0) -> Received:
        """Return the messages that have reached a host, of all applications or of one, in order of arrival.

            net.received("h2")[0].fields["value"]
            net.received("h1").results          # others: `requests`, those `left` to the host, and mirrored `copies`

        Messages for any program on the host are recorded, from the first `send`, `load` or `received` on; the latest
        65,536 are kept. Waits for packets that were sent before the call, and with `count`, until there are that many
        messages. MidflightError if the host is unknown, or if there are fewer than `count` messages after `timeout`
        seconds.
        """
        return self._traffic.received(host, application, count=count, timeout=timeout)

    def alerts(
        self, application: str = "", wanted: Wanted | None = None, *, count: int = 0, timeout: float = 5.0
    ) -> list[Alert]:
        """Return the alerts that kernels have raised, of all applications or of one, filtered by `wanted`.

            assert net.alerts("latency") == [(7, 250)]
            net.alerts("latency", lambda alert: alert.value > 300)

        An alert is a tuple of the numbers that the kernel passed to `packet.alert`, which are also attributes. Alerts
        of one switch are in order. All alerts of packets that were sent before the call are included. With BMv2, this
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
        """Yield alerts as they are raised from now on, until the network's clock passes `timeout` s without one."""
        let = self._traffic.pass_time
        self.fabric.settle(None, min(timeout, 1.0))
        return self.controller.alerts.follow(application, wanted, timeout=timeout, let=let)

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
            print(load)
            load.loss, load.goodput, load.percentiles(50, 99), load.latency

        Fields are as in `send`, or a mapping for each host. Arrays that are shorter than `count` repeat. rate: requests
        per second of each host, above 0 and at most 1e9. pacing: `even`; `poisson`, with random gaps from `seed`, which
        is the network's by default; or an array of sending times in nanoseconds. Sending takes virtual time in a
        simulated network and real time in others. Afterwards, this waits for answers until no more arrive, for at most
        `timeout` seconds.

        MidflightError if a name, the rate or the pacing is invalid, if neither `count` nor an array gives the number of
        requests, or if no switch on the path runs the application. WireError if a field is invalid.
        """
        given = fields if isinstance(fields, Sequence) else {**(fields or {}), **values}
        pace = Pace(rate, pacing, self._seed if seed is None else seed)
        return load(
            self._traffic, hosts, application, given, pace, to=to, count=count, payload=payload, timeout=timeout
        )

    def forget(self) -> None:
        """Clear the records of received messages and alerts."""
        self._traffic.clear()
        self.controller.alerts.clear()

    # Admission and state

    def admit(
        self,
        application: str,
        hosts: Sequence[Host] = (),
        *,
        senders: Sequence[Host] = (),
        switch: str = "",
        port: int | None = None,
    ) -> None:
        """Start computing on an application's requests: see `Controller.admit`. `group` and `join` also do this."""
        self._by_default.decided(application)
        self.controller.admit(application, hosts, senders=senders, switch=switch, port=port)

    def withdraw(self, application: str, switch: str = "") -> None:
        """Stop computing on an application's requests, which are only forwarded from now on. Its state stays."""
        self._by_default.decided(application)
        self.controller.withdraw(application, switch)

    def limit(self, application: str, rate: int) -> None:
        """Limit how many requests per second switches compute on: see `Controller.limit`."""
        self.controller.limit(application, rate)

    def mirror(self, application: str, hosts: Sequence[Host] = (), *, switch: str = "") -> None:
        """Send the packets that a kernel mirrors to these hosts: see `Controller.mirror`."""
        self.controller.mirror(application, hosts, switch=switch)

    def counters(self, application: str, switch: str = "") -> dict[int | None, Count]:
        """Return the packets and bytes that arrived for an application: see `Controller.counters`."""
        return self.controller.counters(application, switch)

    def map(self, application: str, name: str, switch: str = "") -> ControlledMap:
        """Return a map of an application, which can be used like a dict: see `Controller.map`."""
        return self.controller.map(application, name, switch)

    def state(self, application: str, switch: str = "") -> State:
        """Return an application's registers on a switch: see `Controller.state`."""
        return self.controller.state(application, switch)

    # Change, failure and recovery

    def change(self, program: Program) -> None:
        """Change the program of all switches in one transaction: see `Controller.change`.

        `extended`, `without` and `replaced` derive programs from the current one.
        """
        self.controller.change(program)

    def kill(self, switch: str) -> None:
        """Turn a simulated switch off, or kill a switch's process. Packets that reach it are lost."""
        self.controller.power_off(switch)

    def revive(self, switch: str) -> None:
        """Turn a switch on again, with its program and tables and empty state: see `Controller.revive`."""
        self.controller.revive(switch)

    def give_up(self, switch: str) -> None:
        """Remove a switch from the computation until it is revived: see `Controller.give_up`."""
        self.controller.give_up(switch)

    # Time and traffic

    @property
    def now(self) -> int:
        """The time in nanoseconds of the network's clock, which is virtual in a simulation."""
        return self.fabric.now

    def after(self, delay: int, action: Callable[..., object], *arguments: object) -> None:
        """Call `action(*arguments)` after `delay` nanoseconds of virtual time.

        MidflightError if the network is not simulated: there, call the action from another thread.
        """
        if not isinstance(self.fabric, Scheduled):
            raise MidflightError("this network has no virtual time", hint="call the action from another thread")
        self.fabric.after(delay, action, *arguments)

    def uplink(self, host: Host) -> ChannelStatistics:
        """Return the statistics of the link from a host to its switch."""
        return self.fabric.statistics(host.name, self.controller.fleet.neighbour(host))

    def downlink(self, host: Host) -> ChannelStatistics:
        """Return the statistics of the link from its switch to a host."""
        return self.fabric.statistics(self.controller.fleet.neighbour(host), host.name)

    def link(self, host: Host) -> ChannelStatistics:
        """Return the statistics of a host's link, both directions together."""
        return self.uplink(host) + self.downlink(host)

    def totals(self) -> ChannelStatistics:
        """Return the statistics of all links together."""
        total = ChannelStatistics()
        for link in self.topology.links:
            for near, far in (link.ends, link.ends[::-1]):
                total += self.fabric.statistics(near.node, far.node)
        return total

    def settle(self, timeout: float = 5.0) -> None:
        """Send packet-outs that wait in switches, and wait until all packets have passed the network.

        MidflightError if packets are still in the network after `timeout` seconds.
        """
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
