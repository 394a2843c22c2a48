"""The embedded switch's forwarding rate between two interfaces, compared with a bare loop and simple_switch.

The benchmark runs in a network namespace of its own with two veth pairs: a generator, the forwarder between the pairs,
and an interface at which the kernel counts packets. All forwarders run the same IPv4 router, except the bare loop,
which only copies packets. They take turns, and figures are medians.

Two things are measured. *Backlog*: packets are already waiting when the forwarder starts, and the processor time of its
thread until the last one has left is measured. This is the forwarder's capacity, independent of other load on the
machine. *Live*: the generator sends as fast as it can, and packets at the far end are counted. Generator and forwarder
share the machine, as in a lab. simple_switch drops most packets that arrive too fast, so several rates are tried for it
and the best one counts.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

from midflight.errors import DeviceError, MidflightError
from midflight.p4 import ir
from midflight.p4.frontend import check_file
from midflight.runtime.devices.bmv2 import Bmv2Device
from midflight.runtime.devices.toolchain import P4C, SIMPLE_SWITCH_GRPC
from midflight.runtime.endpoint.frames import UdpFlow
from midflight.runtime.engine import Engine, Entry, Gate
from midflight.runtime.engine.ports import linux
from midflight.runtime.engine.ports.interface import Interface
from midflight.runtime.engine.ports.namespace import Namespace
from midflight.runtime.engine.ports.packetloop import PacketLoop
from midflight.testbed.bench.rate import Progress
from midflight.testbed.bench.traffic import BareForwarder, Generator

__all__ = ["FORWARDER", "NEXT_HOP", "Course", "Figures", "PortsBench", "bench_ports"]

Result = TypeVar("Result")

FORWARDER = Path(__file__).with_name("forwarder.p4")
NEXT_HOP = 0x0200_0000_0002
# At most as many as a ring holds.
_BACKLOG = 4000
_RATES = (10e3, 20e3, 40e3, 80e3, 160e3, None)
_HEADERS = 42
# Packets that are checked before anything is measured, and the timeout for them in seconds.
_PROBES = 8
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Figures:
    """The rates of one forwarder in packets a second, run by run: `backlog` by processor time, `live` by the clock.

    `rate` is the generator's rate in packets a second. None means as fast as possible.
    """

    name: str
    backlog: tuple[float, ...]
    live: tuple[float, ...]
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class PortsBench:
    """The figures of one benchmark of forwarding between two interfaces: of a bare loop, the switch and simple_switch.

    `simple_switch` is None if it is not installed; `missing` then says what is missing. `packet_bytes` is the size of
    the packets.
    """

    bare: Figures
    switch: Figures
    simple_switch: Figures | None
    missing: str
    packet_bytes: int

    @property
    def to_bare(self) -> float:
        """The switch's backlog rate divided by the bare loop's: the median of the ratios of neighbouring runs."""
        return _ratio(self.switch.backlog, self.bare.backlog)

    @property
    def to_bare_live(self) -> float:
        """The switch's live rate divided by the bare loop's: the median of the ratios of neighbouring runs."""
        return _ratio(self.switch.live, self.bare.live)

    @property
    def to_simple_switch(self) -> float | None:
        """The switch's live rate divided by simple_switch's; None if simple_switch is not installed."""
        return None if self.simple_switch is None else _ratio(self.switch.live, self.simple_switch.live)

    def json(self) -> dict[str, object]:
        """Return the figures and the three ratios as data for JSON."""
        ratios = {name: getattr(self, name) for name in ("to_bare", "to_bare_live", "to_simple_switch")}
        return {**asdict(self), **ratios}


def bench_ports(
    *, runs: int = 15, seconds: float = 0.3, packet_bytes: int = 64, progress: Progress | None = None
) -> PortsBench:
    """Measure forwarding between two veth pairs, `runs` times each, live for `seconds` each time. Needs root.

    `packet_bytes` is the size of the Ethernet frames. `progress` is called with the number of steps done, their total
    and a description. DeviceError if the process may not create a namespace. MidflightError if packets are forwarded
    wrongly.
    """
    report = progress or _silent
    missing = next(filter(None, (P4C.missing, SIMPLE_SWITCH_GRPC.missing)), "")
    rates: tuple[float | None, ...] = () if missing else _RATES
    total = 3 * runs + len(rates)
    with Course(packet_bytes) as course:
        report(0, total, "compiling")
        with course.bare():
            course.check(course.packet)
        with course.switch():
            course.check(course.routed)
        tried: dict[float | None, float] = {}
        for number, rate in enumerate(rates):
            report(number, total, f"simple_switch at {rate or 'any'} packets a second")
            with course.simple_switch():
                course.check(course.routed)
                tried[rate] = course.live(seconds, rate)
        best = max(tried, key=tried.__getitem__, default=None)
        backlog: dict[str, list[float]] = {"bare": [], "switch": []}
        live: dict[str, list[float]] = {"bare": [], "switch": [], "simple": []}
        for number in range(runs):
            done = len(rates) + 3 * number
            report(done, total, "a backlog")
            backlog["bare"].append(course.bare_backlog())
            backlog["switch"].append(course.switch_backlog())
            report(done + 1, total, "live")
            with course.bare():
                live["bare"].append(course.live(seconds))
            with course.switch():
                live["switch"].append(course.live(seconds))
            report(done + 2, total, "simple_switch")
            if not missing:
                with course.simple_switch():
                    live["simple"].append(course.live(seconds, best))
        report(total, total, "done")
    simple = None if missing else Figures("simple_switch", (), tuple(live["simple"]), best)
    bare = Figures("bare loop", tuple(backlog["bare"]), tuple(live["bare"]))
    switch = Figures("midflight", tuple(backlog["switch"]), tuple(live["switch"]))
    return PortsBench(bare, switch, simple, missing, packet_bytes)


def _silent(done: int, total: int, what: str) -> None:
    pass


def _ratio(ours: tuple[float, ...], theirs: tuple[float, ...]) -> float:
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


class Course:
    """The namespace with its interfaces: the generator's g, the forwarder's s1 and s2, and k, which counts packets.

    `packet` is the frame that the generator sends, of `packet_bytes` bytes. A context manager, which creates and
    removes the namespace. Entering raises DeviceError without root.
    """

    def __init__(self, packet_bytes: int) -> None:
        self._open = ExitStack()
        self._gate = Gate()
        flow = UdpFlow(
            source_mac=1,
            destination_mac=2,
            source=IPv4Address("192.0.2.1"),
            destination=IPv4Address("10.1.2.3"),
            source_port=1000,
            destination_port=1001,
        )
        self.packet = flow.encode(bytes(max(packet_bytes - _HEADERS, 0)))
        self._engine = Engine(check_file(FORWARDER), gate=self._gate)
        route = ir.EntryKey(int(IPv4Address("10.0.0.0")), 0xFF00_0000)
        self._engine.tables["ingress.route"].insert(Entry((route,), "ingress.to_port", (2, NEXT_HOP)))

    def __enter__(self) -> Course:
        with self._open:
            self._namespace = self._open.enter_context(Namespace())
            self._namespace.run(self._lay_out)
            self._generator = self._open.enter_context(self._namespace.run(lambda: Generator("g", [self.packet])))
            self._open = self._open.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @staticmethod
    def _lay_out() -> None:
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        lines = ["link add g type veth peer name s1", "link add s2 type veth peer name k"]
        lines += [f"link set {each} up" for each in ("g", "s1", "s2", "k")]
        try:
            subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, capture_output=True)
        except FileNotFoundError:
            raise DeviceError("the command ip is not installed", hint="install the package iproute2") from None
        except subprocess.CalledProcessError as error:
            raise DeviceError(f"cannot make interfaces: {error.stderr.strip()}") from None

    def inside(self, do: Callable[[], Result]) -> Result:
        """Run a function inside the namespace, in a thread of its own, and return its result; its exceptions
        propagate.
        """
        return self._namespace.run(do)

    # Forwarders

    @contextmanager
    def bare(self) -> Iterator[None]:
        """Forward packets from s1 to s2 with the bare loop, while the body of the `with` runs."""
        with self._namespace.run(lambda: BareForwarder("s1", "s2")) as forwarder:
            forwarder.start()
            yield

    @contextmanager
    def switch(self) -> Iterator[None]:
        """Forward packets between s1 and s2 with the embedded switch, while the body of the `with` runs."""
        with self._loop() as loop:
            loop.start()
            yield
            loop.stop()

    @contextmanager
    def _loop(self) -> Iterator[PacketLoop]:
        with ExitStack() as opened:
            ports = self._namespace.run(lambda: [opened.enter_context(Interface(each)) for each in ("s1", "s2")])
            loop = PacketLoop(self._gate, {1: ports[0], 2: ports[1]})
            opened.callback(loop.close)
            loop.use(self._engine)
            yield loop

    @contextmanager
    def simple_switch(self) -> Iterator[None]:
        """Forward packets between s1 and s2 with BMv2, while the body of the `with` runs.

        DeviceError if simple_switch or its compiler is missing.
        """
        interfaces = {1: "s1", 2: "s2"}
        with self._namespace.run(lambda: Bmv2Device(FORWARDER.read_text(), interfaces=interfaces)) as device:
            with device.session() as session:
                match, action = {"hdr.ipv4.destination": "10.0.0.0/8"}, {"port": 2, "mac": NEXT_HOP}
                session.insert("ingress.route", match, "ingress.to_port", action)
            yield

    # Measures

    def arrived(self) -> int:
        """Return the number of packets that have arrived at k, the far end, since the namespace was created."""
        text = self._namespace.run(lambda: Path("/proc/thread-self/net/dev").read_text())
        line = next(each for each in text.splitlines() if each.strip().startswith("k:"))
        return int(line.partition(":")[2].split()[1])

    @property
    def routed(self) -> bytes:
        """The packet as a router forwards it: new MAC addresses, a smaller TTL, and an updated checksum."""
        before = self.packet
        header = bytearray(before[14:34])
        header[8] -= 1
        header[10:12] = bytes(2)
        total = sum(int.from_bytes(header[each : each + 2], "big") for each in range(0, 20, 2))
        header[10:12] = (0xFFFF - (total + total // 0x10000 & 0xFFFF)).to_bytes(2, "big")
        return NEXT_HOP.to_bytes(6, "big") + before[:6] + before[12:14] + header + before[34:]

    def check(self, expected: bytes) -> None:
        """Send a few packets and check the output. MidflightError if it is wrong."""
        with self._namespace.run(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)) as seen:
            self._namespace.run(lambda: seen.bind(("k", linux.ETH_P_ALL)))
            seen.settimeout(_PATIENCE)
            self._generator.run(_PATIENCE, limit=_PROBES)
            try:
                got = {seen.recv(len(expected) + 1) for _ in range(_PROBES)}
            except TimeoutError:
                raise MidflightError("nothing is forwarded") from None
            if got != {expected}:
                raise MidflightError(
                    f"{expected.hex()} was expected, not {', '.join(sorted(each.hex() for each in got))}"
                )

    def live(self, seconds: float, rate: float | None = None) -> float:
        """Return the packets a second that arrive while the generator sends for `seconds`.

        `rate` is the generator's, in packets a second; None is as fast as possible.
        """
        before, start = self.arrived(), time.perf_counter()
        self._generator.run(seconds, rate=rate)
        return (self.arrived() - before) / (time.perf_counter() - start)

    def bare_backlog(self) -> float:
        """Return the bare loop's packets a second of processor time for a backlog.

        MidflightError if not all packets of the backlog are forwarded.
        """
        with self._namespace.run(lambda: BareForwarder("s1", "s2")) as forwarder:
            before = self._fill()
            forwarder.start()
            forwarder.stop()
            return self._rate(before, forwarder.cpu_seconds)

    def switch_backlog(self) -> float:
        """Return the switch's packets a second of processor time for a backlog.

        MidflightError if not all packets of the backlog are forwarded.
        """
        with self._loop() as loop:
            before = self._fill()
            loop.start()
            loop.stop()
            return self._rate(before, loop.cpu_seconds)

    def _fill(self) -> int:
        before = self.arrived()
        if self._generator.run(60.0, limit=_BACKLOG).packets != _BACKLOG:
            raise MidflightError("the generator could not send a backlog")
        return before

    def _rate(self, before: int, seconds: float) -> float:
        count = self.arrived() - before
        if count != _BACKLOG:
            raise MidflightError(f"only {count} of {_BACKLOG} waiting packets were forwarded")
        return count / max(seconds, 1e-9)
