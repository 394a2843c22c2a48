"""The forwarding rate of an XDP device, compared with an XDP program written by hand and with the embedded switch.

The benchmark runs in a network namespace of its own with two veth pairs: a generator, the forwarder between the pairs,
and an interface at which the kernel counts packets. All forwarders run the same IPv4 router. They take turns, and
figures are medians.

*Live*: the generator sends as fast as it can, and packets at the far end are counted. *Run*: the kernel runs the
program on one packet over and over (BPF_PROG_TEST_RUN), without sending it, and says how long that takes.
"""

from __future__ import annotations

import os
import socket
import statistics
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
from midflight.testbed.bench.ports import FORWARDER, NEXT_HOP, Course
from midflight.testbed.bench.rate import Progress

__all__ = ["XdpBench", "bench_xdp"]

_BY_HAND = Path(__file__).with_name("router.ll")
_LPM_TRIE, _NO_PREALLOC = 11, 1
_REPEAT = 200_000
# bpf_link needs an XDP program at the far end of a veth pair, or else the pair takes no redirected packets.
_PASS = 'define i32 @main(ptr %frame) section "xdp" {\n  ret i32 2\n}\n'


@dataclass(frozen=True, slots=True)
class XdpBench:
    """The figures of each forwarder, run by run: `live` in packets a second, `run` in nanoseconds a packet.

    The forwarders are `xdp`, `by hand` and `embedded`; the embedded switch has no `run`.
    """

    live: dict[str, tuple[float, ...]]
    run: dict[str, tuple[float, ...]]
    packet_bytes: int

    @property
    def to_hand(self) -> float:
        """The live rate divided by that of the program written by hand: the median of neighbouring runs' ratios."""
        return _ratio(self.live["xdp"], self.live["by hand"])

    @property
    def to_embedded(self) -> float:
        """The live rate divided by the embedded switch's: the median of neighbouring runs' ratios."""
        return _ratio(self.live["xdp"], self.live["embedded"])

    def json(self) -> dict[str, object]:
        """Return the figures and both ratios as data for JSON."""
        return {**asdict(self), "to_hand": self.to_hand, "to_embedded": self.to_embedded}


def bench_xdp(
    *, runs: int = 9, seconds: float = 0.3, packet_bytes: int = 64, progress: Progress | None = None
) -> XdpBench:
    """Measure forwarding between two veth pairs, `runs` times for each forwarder, live for `seconds` each time.

    `packet_bytes` is the size of the Ethernet frames. `progress` is called with the number of steps done, their total
    and a description. Needs root. DeviceError if the kernel refuses; MidflightError for packets forwarded wrongly.
    """
    live: dict[str, list[float]] = {"xdp": [], "by hand": [], "embedded": []}
    took: dict[str, list[float]] = {"xdp": [], "by hand": []}
    with Course(packet_bytes) as course, ExitStack() as opened:
        programs = {"xdp": _compiled(course, opened), "by hand": _by_hand(course, opened)}
        forwarders = {
            "xdp": lambda: _attached(course, programs["xdp"]),
            "by hand": lambda: _attached(course, programs["by hand"]),
            "embedded": course.switch,
        }
        for each in forwarders.values():
            with each():
                course.check(course.routed)
        for number in range(runs):
            for name, forwarder in forwarders.items():
                if progress is not None:
                    progress(number, runs, name)
                with forwarder():
                    live[name].append(course.live(seconds))
                if name in programs:
                    took[name].append(run(programs[name], course.packet, repeat=_REPEAT).nanoseconds)
    return XdpBench(
        {name: tuple(each) for name, each in live.items()},
        {name: tuple(float(each) for each in numbers) for name, numbers in took.items()},
        packet_bytes,
    )


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
def _attached(course: Course, program: int) -> Iterator[None]:
    """Attach a program to the forwarder's interfaces, and one that passes everything to the far ends of their pairs."""
    passing = _loaded(_PASS, {})

    def attach_all() -> list[int]:
        links = [attach(program, socket.if_nametoindex(each), "native") for each in ("s1", "s2")]
        return links + [attach(passing, socket.if_nametoindex(each), "native") for each in ("g", "k")]

    links = course.inside(attach_all)
    try:
        yield
    finally:
        for each in (*links, passing):
            os.close(each)
