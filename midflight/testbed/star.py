"""A star: hosts around one programmable switch, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Application, Program
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.devices.bmv2 import Bmv2Device
from midflight.runtime.devices.host import HostDevice
from midflight.runtime.engine import Packets
from midflight.runtime.steering import Member, Offload, Route
from midflight.testbed.endpoint import Address, Timing
from midflight.testbed.endpoint.allreduce import AllReduce
from midflight.testbed.endpoint.software import SoftwareServer
from midflight.testbed.group import Group
from midflight.testbed.sim import ChannelStatistics, Host, Network
from midflight.testbed.topology import LinkQuality, star

__all__ = ["Star"]

_SWITCH = "s1"
_DEVICES: Mapping[str, Callable[[], PacketDevice]] = {"host": HostDevice, "bmv2": Bmv2Device}
_WORKER_PORT = 49152  # plus the application's id: each application has a socket of its own on every host
_NOWHERE = "10.0.255.254"  # what requests are addressed to where no host is left to be the server

# A round trip takes some 10 us here, and some 100 us behind a full window. As an answer waits for the slowest worker,
# what one worker waits for a lost packet is in the round trips that the others measure: without a low maximum they
# would drive each other up.
_TIMING = Timing(initial=2_000_000, minimum=200_000, maximum=5_000_000, patience=2_000_000_000)


class Star:
    """Hosts `h1`, `h2`, ... around a switch that runs a program; a context manager.

        with Star(hosts=5, program=program) as net:
            group = net.group("gradients", net.hosts[:4])
            sums = group.allreduce(arrays)

    program: a Program. device: the kind of switch, `host` for the embedded one, `bmv2` for p4lang's. seed: of
    everything random. quality: of all links; loss, duplicate and reorder (probabilities) change that of the default.
    offload: whether the switch computes on the applications' packets or only forwards them, to the host that computes
    instead.

    Raises MidflightError where the program or a parameter is wrong; whatever was opened is closed again.
    """

    def __init__(
        self,
        hosts: int = 5,
        *,
        program: Program,
        device: str = "host",
        seed: int = 0,
        loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        quality: LinkQuality | None = None,
        offload: bool = True,
    ) -> None:
        if device not in _DEVICES:
            raise MidflightError(
                f"a simulated network has no switch of kind {device!r}", hint=f"there is {', '.join(_DEVICES)}"
            )
        if quality is not None and (loss or duplicate or reorder):
            raise MidflightError("loss, duplicate and reorder are part of the quality where one is given")
        topology = star(hosts, quality or LinkQuality(loss=loss, duplicate=duplicate, reorder=reorder))
        self.program = program
        self._offload = offload
        self._groups: dict[str, Group] = {}
        with ExitStack() as stack:
            self.device = stack.enter_context(_DEVICES[device]())
            self.session = stack.enter_context(self.device.session())
            pipeline = self.device.compile(program.p4(), "program.p4")
            self.session.load(pipeline.p4info, pipeline.config)
            self._network = Network(topology, {_SWITCH: self._process}, seed=seed)
            self._steering = Offload(self.session)
            self._steering.install(Route(int(host.address), port, host.mac) for port, host in enumerate(self.hosts, 1))
            self._servers: dict[Host, SoftwareServer] = {}
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Close the controller's session and the device. May be called more than once."""
        self._stack.close()

    def __enter__(self) -> Star:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts, `h1` on port 1 of the switch first."""
        return tuple(self._network.hosts.values())

    @property
    def now(self) -> int:
        """The virtual time in nanoseconds."""
        return self._network.simulator.now

    def group(self, application: str, hosts: Sequence[Host], *, server: Host | None = None) -> Group:
        """Return the group of workers that run an `Aggregate` on these hosts, worker n on the n-th.

        `server` is the host that the requests are addressed to, by default the last that is not in the group. A group
        lasts as long as the network: asked for again with the same hosts, it is the same. MidflightError where the
        program has no such application or the hosts do not fit it.
        """
        found = self._application(application)
        primitive = found.primitive
        if not isinstance(primitive, Aggregate):
            raise MidflightError(f"{application} is a {type(primitive).__name__}, and only an Aggregate has workers")
        hosts = tuple(hosts)
        involved = hosts if server is None else (*hosts, server)
        strangers = [repr(each) for each in involved if self._network.hosts.get(getattr(each, "name", "")) is not each]
        if strangers or len(set(hosts)) != len(hosts):
            raise MidflightError(
                f"a group is of different hosts of its network; {', '.join(strangers) or 'one is twice in'}"
            )
        if len(hosts) != primitive.workers:
            raise MidflightError(
                f"{len(hosts)} hosts for {application}, which sums over {primitive.workers} workers",
                hint=f"pass {primitive.workers} hosts, or make it Aggregate({application!r}, workers={len(hosts)})",
            )
        if application in self._groups:
            if self._groups[application].hosts != hosts:
                raise MidflightError(f"{application} has a group already, of other hosts", hint="add an application")
            return self._groups[application]
        destination = self._destination(found, hosts, server)
        if self._offload:
            self._steering.admit(found.id, self._members(found, hosts))
        workers = []
        for number, host in enumerate(hosts):
            endpoint = AllReduce(
                application=found.id,
                worker=number,
                workers=primitive.workers,
                lanes=primitive.lanes,
                slots=primitive.slots,
                server=destination,
                timing=_TIMING,
            )
            workers.append((endpoint, host.listen(_WORKER_PORT + found.id, endpoint)))
        group = self._groups[application] = Group(self._network.simulator, application, hosts, workers)
        return group

    def uplink(self, host: Host) -> ChannelStatistics:
        """Return the statistics of the way from a host to the switch."""
        return self._network.channels[f"{host.name}->{_SWITCH}"].statistics

    def downlink(self, host: Host) -> ChannelStatistics:
        """Return the statistics of the way from the switch to a host."""
        return self._network.channels[f"{_SWITCH}->{host.name}"].statistics

    def link(self, host: Host) -> ChannelStatistics:
        """Return the statistics of a host's link, both directions together."""
        return self.uplink(host) + self.downlink(host)

    def totals(self) -> ChannelStatistics:
        """Return the statistics of all links together."""
        return self._network.totals()

    def settle(self) -> None:
        """Send what controllers have told the switch to, and let time pass until nothing is under way."""
        self._network.switches[_SWITCH].send(list(self.device.transmitted()))
        self._network.simulator.run()

    def trace_hash(self) -> str:
        """Return a hash of all that has happened on all links: the same for the same run, bit for bit."""
        return self._network.simulator.trace_hash()

    def _process(self, batch: list[tuple[int, bytes]], now: int) -> Iterable[tuple[int, bytes]]:
        return self.device.process(Packets.from_list(batch), now)

    def _application(self, name: str) -> Application:
        found = self.program.applications.get(name)
        if found is None:
            names = ", ".join(self.program.applications)
            raise MidflightError(f"the program has no application {name!r}", hint=f"it has {names}")
        return found

    def _destination(self, application: Application, hosts: Sequence[Host], server: Host | None) -> Address:
        """Return where requests go, with a server behind it where there is a host for one."""
        spare = [each for each in self.hosts if each not in hosts]
        if server in hosts:
            raise MidflightError(f"{server} is a worker of {application.name} and cannot be its server")
        if server is None and not spare:
            if not self._offload:
                raise MidflightError(
                    f"no host is left to compute {application.name}", hint="give the network one host more"
                )
            return _NOWHERE, UDP_PORT
        server = server or spare[-1]
        if server not in self._servers:
            self._servers[server] = SoftwareServer(self.program)
            server.listen(UDP_PORT, self._servers[server])
        self._servers[server].serve(
            application.name, [(str(host.address), _WORKER_PORT + application.id) for host in hosts]
        )
        return str(server.address), UDP_PORT

    def _members(self, application: Application, hosts: Sequence[Host]) -> list[Member]:
        ports = {host: port for port, host in enumerate(self.hosts, 1)}
        return [Member(ports[host], host.mac, int(host.address), _WORKER_PORT + application.id) for host in hosts]
