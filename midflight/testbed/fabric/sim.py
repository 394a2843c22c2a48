"""The simulated fabric: a network in this process and in virtual time. The same seed gives the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from midflight.closing import Closer
from midflight.errors import MidflightError
from midflight.primitives import Program
from midflight.primitives.kernel.map import Entry
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.devices.base import Device, PacketDevice, QueueingDevice
from midflight.runtime.devices.switchprocess import SwitchProcess
from midflight.runtime.endpoint import Endpoint
from midflight.runtime.endpoint.reliable import Address, Timing
from midflight.runtime.endpoint.software import SoftwareServer
from midflight.runtime.endpoint.worker import Worker
from midflight.testbed.fabric.base import Schedule
from midflight.testbed.fabric.simcrew import SimCrew
from midflight.testbed.sim import ChannelStatistics, Host, Network
from midflight.testbed.sim.host import Socket
from midflight.testbed.sim.processor import DeviceProcessor
from midflight.testbed.topology import LinkQuality, SwitchClock, Topology

__all__ = ["SimFabric"]

# A round trip takes about 10 us here, and about 100 us behind a full window.
_TIMING = Timing(initial=500_000, minimum=30_000, maximum=2_000_000, patience=2_000_000_000)


class SimFabric:
    """A simulated network in virtual time (a `Fabric`). The same seed and calls give the same run, bit for bit.

    `device` opens a switch's device, given the switch's name. `seed` determines the random choices of links. `timing`
    has the timers of endpoints. MidflightError if a device cannot be simulated because it has ports of its own.
    """

    def __init__(
        self, topology: Topology, device: Callable[[str], Device], *, seed: int = 0, timing: Timing = _TIMING
    ) -> None:
        self.topology = topology
        self.devices: dict[str, Device] = {}
        self._opener = device
        self.timing = timing
        self._servers: dict[str, SoftwareServer] = {}
        self._sockets: dict[tuple[str, int], Socket] = {}  # of endpoints, by host and UDP port
        with ExitStack() as stack:
            processors = {name: self._open(name, stack) for name in topology.switches}
            self.network = Network(topology, processors, seed=seed)
            self._stack = stack.pop_all()
        self._close = Closer(self, self._stack.close)

    @property
    def hosts(self) -> Mapping[str, Host]:
        """The simulated hosts by name, in the topology's order."""
        return self.network.hosts

    @property
    def now(self) -> int:
        """The current virtual time in nanoseconds, from 0 at the start."""
        return self.network.simulator.now

    def crew(self, workers: Sequence[Worker]) -> SimCrew:
        """Start workers of an all-reduce on the simulated hosts that they name, and return them.

        MidflightError if a worker's UDP port is in use, or if its lanes do not fit its MTU.
        """
        return SimCrew(self.network.simulator, self.hosts, workers, self.timing)

    def after(self, delay: int, action: Callable[..., object], *arguments: object) -> None:
        """Call `action(*arguments)` once, `delay` nanoseconds of virtual time from now."""
        self.network.simulator.alarm(self.now + delay, action, *arguments)

    def power(self, switch: str, *, on: bool) -> None:
        """Turn a switch off (`on` False) or on. While it is off, packets that reach it are lost, and its device keeps
        running.

        So the switch keeps its program and state. Turning it on restarts a device process that has died. MidflightError
        if there is no such switch.
        """
        if switch not in self.network.switches:
            raise MidflightError(f"there is no switch named {switch}")
        device, simulated = self.devices[switch], self.network.switches[switch]
        if on and isinstance(device, SwitchProcess) and not device.alive:  # it has died by itself
            device.close()
            simulated.processor = self._open(switch, self._stack)
        simulated.on = on

    def _open(self, switch: str, stack: ExitStack) -> DeviceProcessor:
        """Open a switch's device, which the stack closes, and return what processes its packets."""
        opened = self.devices[switch] = stack.enter_context(self._opener(switch))
        if isinstance(opened, SwitchProcess):
            opened.name = switch
        if not isinstance(opened, PacketDevice):
            kind = opened.capabilities.kind
            raise MidflightError(f"a {kind} has ports of its own and cannot be in a simulated network")
        clock = dict(self.topology.clocks).get(switch, SwitchClock())
        if isinstance(opened, QueueingDevice):
            me = ref(self)  # a weak reference: see `Closer`
            opened.follow(partial(_time, me, clock), partial(_wake, me, switch))
        return DeviceProcessor(opened, clock)

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
        """Start computing an application on a simulated host, for a group whose workers have the addresses `members`.

        `epoch` is the epoch that results carry, and `token` the number that the group's packets carry. `maps` are the
        entries of maps, by map name; None for those that the primitive defines.
        """
        server = self._servers.get(host)
        if server is None:
            server = self._servers[host] = SoftwareServer(program)
            self.hosts[host].listen(UDP_PORT, server)
        server.serve(application, members, epoch=epoch, maps=maps, token=token)

    def write(self, application: str, name: str, entry: Entry, present: bool) -> None:
        """Add an entry to an application's map `name` on every host that computes; remove it unless `present`."""
        for server in self._servers.values():
            server.write(application, name, entry, present)

    def adopt(self, program: Program) -> None:
        """Continue with another program on all hosts that compute. They stop computing applications that it does not
        have.
        """
        for server in self._servers.values():
            server.adopt(program)

    def listen(self, host: str, port: int, endpoint: Endpoint) -> None:
        """Run an endpoint on a UDP port of a host, in place of an earlier one, while the fabric is driven.

        MidflightError if a worker uses the port.
        """
        self.leave(host, port)
        self._sockets[host, port] = self.hosts[host].listen(port, endpoint)

    def leave(self, host: str, port: int) -> None:
        """Remove the endpoint that `listen` has put on a UDP port of a host. Does nothing if there is none."""
        if self._sockets.pop((host, port), None) is not None:
            self.hosts[host].release(port)

    def drive(self, until: Callable[[], bool], timeout: float | None = None) -> bool:
        """Run the simulation until `until()` returns True, and return whether it did.

        `until` is called first and after every event. False after `timeout` seconds of virtual time (None: no limit),
        or if no event is left. Exceptions of endpoints are raised here. DeviceError if the process of a switch that is
        on has ended by itself before the call, or during it and `until()` does not hold.
        """

        def done() -> bool:
            holds = until()
            for each in [*self._sockets.values()]:  # `until` may have given endpoints something to send
                each.pump()
            return holds

        self._demand_processes()
        held = self.network.simulator.run(done, None if timeout is None else self.now + round(timeout * 1e9))
        if not held:
            self._demand_processes()
        return held

    def _demand_processes(self) -> None:
        for name, device in self.devices.items():
            if isinstance(device, SwitchProcess) and self.network.switches[name].on and not device.alive:
                raise device.lost()

    def card(self, host: str) -> Host:
        """Return a host's network card, which is the simulated host itself. KeyError if there is no such host."""
        return self.hosts[host]

    def play(self, schedules: Sequence[Schedule]) -> list[NDArray[np.int64]]:
        """Send the frames of each schedule in virtual time, and return when each was sent, in nanoseconds.

        Offsets count from the call, which returns once the last frame was sent.
        """
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
        """Return the counters of the link from node `one` to its neighbour `other`, in that direction only.

        MidflightError if there is no such link.
        """
        channel = self.network.channels.get(f"{one}->{other}")
        if channel is None:
            raise MidflightError(f"no link leads from {one} to {other}")
        return channel.statistics

    def impair(self, quality: LinkQuality) -> None:
        """Set the quality of all links from now on. Frames in flight are not affected."""
        for channel in self.network.channels.values():
            channel.impair(quality)

    def connect(self, one: str, other: str, *, up: bool) -> None:
        """Cut the link between two nodes (`up` False), so that frames sent on it are lost, or join it again.

        Frames in flight are not affected. MidflightError if there is no such link.
        """
        for near, far in ((one, other), (other, one)):
            channel = self.network.channels.get(f"{near}->{far}")
            if channel is None:
                raise MidflightError(f"there is no link between {one} and {other}")
            channel.up = up

    def settle(self, senders: Sequence[str] | None = None, timeout: float = 5.0) -> str:  # noqa: ARG002
        """Run the simulation until no frame is in flight, for at most `timeout` seconds of virtual time.

        First sends packet-outs that wait in switches. Returns a description of what is still in flight; empty if
        nothing is. `senders` is ignored.
        """
        for name, device in self.devices.items():
            assert isinstance(device, PacketDevice)
            self.network.switches[name].send(list(device.transmitted()))
            self.network.switches[name].wake()
        simulator = self.network.simulator
        if simulator.run(lambda: not simulator.under_way, self.now + round(timeout * 1e9)):
            return ""
        return f"{simulator.under_way} frames are still on links and in switches"

    def trace_hash(self) -> str:
        """Return a hash of all events on all links so far, as hexadecimal text. Equal runs have equal hashes."""
        return self.network.simulator.trace_hash()

    def close(self) -> None:
        """Close the devices of the switches. May be called more than once."""
        self._close()

    def __enter__(self) -> SimFabric:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _time(fabric: ref[SimFabric], clock: SwitchClock) -> int:
    """Return the time that a switch's clock shows now, in nanoseconds."""
    network = getattr(fabric(), "network", None)
    return clock.read(network.simulator.now if network is not None else 0)


def _wake(fabric: ref[SimFabric], switch: str) -> None:
    """Look at a switch's queues again before the next event, after a change of their settings."""
    if (network := getattr(fabric(), "network", None)) is not None:
        network.simulator.post(network.switches[switch].wake)
