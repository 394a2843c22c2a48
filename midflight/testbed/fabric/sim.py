"""The simulated fabric: a whole network in this process and in virtual time, the same run for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError
from midflight.primitives import Program
from midflight.primitives.kernel.map import Entry
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.devices.base import Device, PacketDevice
from midflight.runtime.endpoint import Endpoint
from midflight.runtime.endpoint.reliable import Address, Timing
from midflight.runtime.endpoint.software import SoftwareServer
from midflight.runtime.endpoint.worker import Worker
from midflight.runtime.engine import Packets
from midflight.testbed.fabric.base import Schedule
from midflight.testbed.fabric.simcrew import SimCrew
from midflight.testbed.sim import ChannelStatistics, Host, Network
from midflight.testbed.sim.host import Socket
from midflight.testbed.sim.switch import Processor
from midflight.testbed.topology import LinkQuality, Topology

__all__ = ["SimFabric"]

# A round trip takes some 10 us here, and some 100 us behind a full window.
_TIMING = Timing(initial=500_000, minimum=30_000, maximum=2_000_000, patience=2_000_000_000)


class SimFabric:
    """A topology in virtual time (a `Fabric`). `device` opens a switch's device, given its name."""

    def __init__(
        self, topology: Topology, device: Callable[[str], Device], *, seed: int = 0, timing: Timing = _TIMING
    ) -> None:
        self.topology = topology
        self.devices: dict[str, Device] = {}
        self.timing = timing
        self._servers: dict[str, SoftwareServer] = {}
        self._sockets: dict[tuple[str, int], Socket] = {}  # of what `listen` has put on hosts
        with ExitStack() as stack:
            processors: dict[str, Processor] = {}
            for name in topology.switches:
                opened = stack.enter_context(device(name))
                self.devices[name] = opened
                processors[name] = _processor(opened)
            self.network = Network(topology, processors, seed=seed)
            self._stack = stack.pop_all()

    @property
    def hosts(self) -> Mapping[str, Host]:
        """The hosts by name."""
        return self.network.hosts

    @property
    def now(self) -> int:
        """The virtual time in nanoseconds."""
        return self.network.simulator.now

    def crew(self, workers: Sequence[Worker]) -> SimCrew:
        """Set workers up on their hosts."""
        return SimCrew(self.network.simulator, self.hosts, workers, self.timing)

    def after(self, delay: int, action: Callable[..., object], *arguments: object) -> None:
        """Call `action(*arguments)` once `delay` nanoseconds have passed."""
        self.network.simulator.alarm(self.now + delay, action, *arguments)

    def power(self, switch: str, *, on: bool) -> None:
        """Switch a switch off or on. What reaches one that is off is lost."""
        if switch not in self.network.switches:
            raise MidflightError(f"there is no switch named {switch}")
        self.network.switches[switch].on = on

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
        """Have a host compute for an application in software, and answer to these members."""
        server = self._servers.get(host)
        if server is None:
            server = self._servers[host] = SoftwareServer(program)
            self.hosts[host].listen(UDP_PORT, server)
        server.serve(application, members, epoch=epoch, maps=maps)

    def write(self, application: str, name: str, entry: Entry, there: bool) -> None:
        """Have the hosts that compute for an application have this entry in a map of it, or not."""
        for server in self._servers.values():
            server.write(application, name, entry, there)

    def adopt(self, program: Program) -> None:
        """Have the hosts that compute in software go by another program, with what they serve that is in it."""
        for server in self._servers.values():
            server.adopt(program)

    def listen(self, host: str, port: int, endpoint: Endpoint) -> None:
        """Put an endpoint behind a UDP port of a host, in place of one that was put there before."""
        self.leave(host, port)
        self._sockets[host, port] = self.hosts[host].listen(port, endpoint)

    def leave(self, host: str, port: int) -> None:
        """Take an endpoint away that was put behind a UDP port of a host, if there is one."""
        if self._sockets.pop((host, port), None) is not None:
            self.hosts[host].release(port)

    def drive(self, until: Callable[[], bool], timeout: float | None = None) -> bool:
        """Let time pass until `until()` holds, for `timeout` virtual seconds at most; return whether it does."""

        def done() -> bool:
            holds = until()
            for each in [*self._sockets.values()]:  # what changes endpoints from outside is seen here
                each.pump()
            return holds

        return self.network.simulator.run(done, None if timeout is None else self.now + round(timeout * 1e9))

    def card(self, host: str) -> Host:
        """Return a host's network card: the simulated host is nothing else."""
        return self.hosts[host]

    def play(self, schedules: Sequence[Schedule]) -> list[NDArray[np.int64]]:
        """Send frames, each host its own, and return the times at which they were sent, once the last was."""
        simulator, start = self.network.simulator, self.now
        times = [np.zeros(len(each.frames), np.int64) for each in schedules]
        left = sum(map(len, times))

        def send(number: int, place: int) -> None:
            nonlocal left
            schedule, host = schedules[number], self.hosts[schedules[number].host]
            host.transmit(schedule.frames[place])
            times[number][place] = simulator.now
            left -= 1
            if place + 1 < len(schedule.frames):
                due = max(start + int(schedule.offsets[place + 1]), host.clear_at)
                simulator.alarm(due, send, number, place + 1)

        for number, each in enumerate(schedules):
            if each.frames:
                simulator.alarm(start + int(each.offsets[0]), send, number, 0)
        simulator.run(lambda: not left)
        return times

    def statistics(self, one: str, other: str) -> ChannelStatistics:
        """Return what has happened on the way from a node to its neighbour."""
        channel = self.network.channels.get(f"{one}->{other}")
        if channel is None:
            raise MidflightError(f"no link leads from {one} to {other}")
        return channel.statistics

    def impair(self, quality: LinkQuality) -> None:
        """Have all links be of this quality from now on."""
        for channel in self.network.channels.values():
            channel.impair(quality)

    def settle(self, senders: Sequence[str] | None = None, timeout: float = 5.0) -> str:  # noqa: ARG002
        """Send what controllers have told the switches to, and let time pass until no frame is under way."""
        for name, device in self.devices.items():
            assert isinstance(device, PacketDevice)
            self.network.switches[name].send(list(device.transmitted()))
        simulator = self.network.simulator
        if simulator.run(lambda: not simulator.under_way, self.now + round(timeout * 1e9)):
            return ""
        return f"{simulator.under_way} frames are still on links and in switches"

    def trace_hash(self) -> str:
        """Return a hash of all that has happened on all links: the same for the same run, bit for bit."""
        return self.network.simulator.trace_hash()

    def close(self) -> None:
        """Close the devices. May be called more than once."""
        self._stack.close()

    def __enter__(self) -> SimFabric:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _processor(device: Device) -> Processor:
    if not isinstance(device, PacketDevice):
        raise MidflightError(f"a {device.capabilities.kind} has ports of its own and cannot be in a simulated network")

    def process(batch: list[tuple[int, bytes]], now: int) -> Iterable[tuple[int, bytes]]:
        return device.process(Packets.from_list(batch), now)

    return process
