"""The forwarding rate of an XDP device, compared with an XDP program written by hand and with the embedded switch.

The benchmark runs in a network namespace of its own with two veth pairs: a generator, the forwarder between the pairs,
and an interface at which the kernel counts packets. All forwarders run the same IPv4 router. They take turns, with
real-time priority, and figures are medians.

*Live*: packets come from the kernel's own generator (`FrameGenerator`) as fast as they are forwarded, and the system
receives them at the far end. *Ending*: the same, but the far end drops the packets at once, so that less of the time
is not the forwarder's. *Socket*: packets come from a packet socket, as in `bench ports`, which takes longer than
forwarding by XDP. *Run*: the kernel runs the program on one packet over and over (BPF_PROG_TEST_RUN), without sending
it, and says how long that takes.
"""

from __future__ import annotations

import os
import socket
import statistics
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from midflight.p4 import ir
from midflight.p4.frontend import check_file
from midflight.runtime.engine import Entry
from midflight.runtime.engine.bpf.codegen import emit_apart
from midflight.runtime.engine.bpf.elf import read_object
from midflight.runtime.engine.bpf.engine import XdpEngine
from midflight.runtime.engine.bpf.linking import link
from midflight.runtime.engine.bpf.syscall import DEVMAP, attach, create_map, load, run, update
from midflight.testbed.bench.frames import FrameGenerator, program_text
from midflight.testbed.bench.ports import FORWARDER, NEXT_HOP, Course
from midflight.testbed.bench.rate import Progress
from midflight.testbed.bench.state import bench_state

__all__ = ["XdpBench", "bench_xdp"]

_BY_HAND = Path(__file__).with_name("router.ll")
_LPM_TRIE, _NO_PREALLOC = 11, 1
_REPEAT = 200_000
_END = 'define i32 @main(ptr %frame) section "xdp" {{\n  ret i32 {}\n}}\n'
_DROP, _PASS = 1, 2


@dataclass(frozen=True, slots=True)
class XdpBench:
    """The figures of each forwarder, run by run: `run` in nanoseconds a packet, all others in packets a second.

    The forwarders are `xdp`, `by hand` and `embedded`. The embedded switch has neither `ending` nor `run`; for it,
    `live` and `socket` count packets that it forwards while it gets more. `state` is what `bench_state` returns.
    """

    live: dict[str, tuple[float, ...]]
    ending: dict[str, tuple[float, ...]]
    socket: dict[str, tuple[float, ...]]
    run: dict[str, tuple[float, ...]]
    state: dict[str, tuple[float, float]]
    packet_bytes: int

    @property
    def to_hand(self) -> float:
        """The `ending` rate divided by the handwritten program's: the median of the ratios of neighbouring runs."""
        return _ratio(self.ending["xdp"], self.ending["by hand"])

    @property
    def to_embedded(self) -> float:
        """The live rate divided by the embedded switch's: the median of the ratios of neighbouring runs.

        There is one ratio with the embedded switch's `live` rate and one with its `socket` rate; this is the smaller.
        """
        return min(_ratio(self.live["xdp"], of["embedded"]) for of in (self.live, self.socket))

    def json(self) -> dict[str, object]:
        """Return the figures and both ratios as data for JSON."""
        return {**asdict(self), "to_hand": self.to_hand, "to_embedded": self.to_embedded}


def bench_xdp(
    *,
    runs: int = 9,
    seconds: float = 0.2,
    count: int = 1_000_000,
    packet_bytes: int = 64,
    progress: Progress | None = None,
) -> XdpBench:
    """Measure forwarding between two veth pairs, `runs` times for each forwarder.

    Each time takes `count` frames, or `seconds` of packets from a socket. `packet_bytes` is the size of the Ethernet
    frames. `progress` is called with the number of steps done, their total and a description. Needs root. DeviceError
    if the kernel refuses; MidflightError for packets forwarded wrongly.
    """
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in ("live", "ending", "socket", "run")}

    def note(what: str, name: str, figure: float) -> None:
        figures[what].setdefault(name, []).append(figure)

    with Course(packet_bytes) as course, ExitStack() as opened:
        programs = {"xdp": _compiled(course, opened), "by hand": _by_hand(course, opened)}
        passing, dropping = (_opened(opened, _loaded(_END.format(verdict), {})) for verdict in (_PASS, _DROP))
        index = course.inside(lambda: socket.if_nametoindex("g"))
        frames = FrameGenerator(_opened(opened, _loaded(program_text(course.packet, index), {})), course.packet)

        def live() -> float:
            before = course.arrived()
            took = course.inside(lambda: frames.run(count))
            return (course.arrived() - before) / took

        for program in programs.values():
            with _attached(course, {"s1": program, "s2": program, "g": passing, "k": passing}):
                course.check(course.routed)
        with course.switch():
            course.check(course.routed)
        for number in range(runs):
            for name, program in programs.items():
                if progress is not None:
                    progress(number, runs, name)
                note("run", name, float(run(program, course.packet, repeat=_REPEAT).nanoseconds))
                ends = {"s1": program, "s2": program, "g": passing}
                with _first(), _attached(course, {**ends, "k": passing}):
                    note("socket", name, course.live(seconds))
                    note("live", name, live())
                with _first(), _attached(course, {**ends, "k": dropping}):
                    note("ending", name, live())
            if progress is not None:
                progress(number, runs, "embedded")
            with _first(), course.switch():
                note("socket", "embedded", course.live(seconds))
            with _first(), course.switch(), _attached(course, {"g": passing, "s1": passing}):
                note("live", "embedded", live())
    whole = {what: {name: tuple(each) for name, each in of.items()} for what, of in figures.items()}
    return XdpBench(**whole, state=bench_state(runs=runs), packet_bytes=packet_bytes)


@contextmanager
def _first() -> Iterator[None]:
    """Give this thread, and those that it starts, priority over all ordinary ones, if the system permits it."""
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, param)


def _opened(opened: ExitStack, program: int) -> int:
    opened.callback(os.close, program)
    return program


def _ratio(ours: tuple[float, ...], theirs: tuple[float, ...]) -> float:
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def _compiled(course: Course, opened: ExitStack) -> int:
    """Load the P4 router into the kernel, and return its program's file descriptor."""
    engine = XdpEngine(check_file(FORWARDER))
    opened.callback(lambda: engine.close())  # which keeps the engine
    route = ir.EntryKey(int(IPv4Address("10.0.0.0")), 0xFF00_0000)
    engine.tables["ingress.route"].insert(Entry((route,), "ingress.to_port", (2, NEXT_HOP)))
    engine.commit()
    for port in (1, 2):
        course.inside(partial(_connect, engine, port))
    return engine.program


def _connect(engine: XdpEngine, port: int) -> None:
    engine.connect(port, socket.if_nametoindex(f"s{port}"))


def _by_hand(course: Course, opened: ExitStack) -> int:
    """Load the router written by hand, and return its program's file descriptor."""
    routes = create_map(_LPM_TRIE, "routes", key=8, value=12, entries=65536, flags=_NO_PREALLOC)
    ports = create_map(DEVMAP, "ports", key=4, value=4, entries=512)
    value = struct.pack("=I", 2) + NEXT_HOP.to_bytes(6, "big") + bytes(2)
    update(routes, struct.pack("=I", 8) + bytes([10, 0, 0, 0]), value)
    index = course.inside(lambda: socket.if_nametoindex("s2"))
    course.inside(lambda: update(ports, struct.pack("=I", 2), struct.pack("=I", index)))
    program = _loaded(_BY_HAND.read_text(), {"routes": routes, "ports": ports})
    for each in (routes, ports, program):
        opened.callback(os.close, each)
    return program


def _loaded(text: str, maps: dict[str, int]) -> int:
    file, _ = emit_apart(text, 0)
    code, _ = link(read_object(file, "xdp"), "main", maps)
    return load(code, "main")


@contextmanager
def _attached(course: Course, programs: Mapping[str, int]) -> Iterator[None]:
    """Attach programs to interfaces of the course, by their names.

    A veth interface takes frames only if the one at the other end has a program, too.
    """

    def attach_all() -> list[int]:
        return [attach(program, socket.if_nametoindex(name), "native") for name, program in programs.items()]

    links = course.inside(attach_all)
    try:
        yield
    finally:
        for each in links:
            os.close(each)
