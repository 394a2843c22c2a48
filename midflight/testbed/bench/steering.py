"""The cost of compute-aware forwarding: a program with and without `Steering`, on the embedded switch in this process.

Both process the same packets in turns, so that other load on the machine affects both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

import numpy as np

from midflight.errors import MidflightError
from midflight.primitives import REQUEST, UDP_PORT, Message, Program, Steering, Threshold
from midflight.primitives.steering import bucket_of
from midflight.primitives.wire import Schema
from midflight.runtime.devices.host import HostDevice
from midflight.runtime.endpoint.frames import UdpFlow
from midflight.runtime.engine import Engine, Packets
from midflight.runtime.steering import Graph, Host, Link, Offload, Switch, routes
from midflight.runtime.steering.mapped import mapped
from midflight.runtime.steering.routes import Route
from midflight.runtime.steering.service import Pool, Service, steering_entries
from midflight.runtime.steering.ways import find_ways
from midflight.testbed.bench.rate import Clock, Progress, silent

__all__ = ["SteeringBench", "SteeringCost", "bench_steering"]

_APPLICATION = "pressure"
_SERVICE = IPv4Address("10.9.0.1")
_NAME, _SWITCH, _TRUNK = "vision", "s1", 9
_HERE = 4
"""The number of the instance that is attached to the measured switch. The others are behind another switch."""


@dataclass(frozen=True, slots=True)
class SteeringCost:
    """The packets per second of one kind of packets, without and with `Steering` in the program, by run."""

    packets: str
    without: tuple[float, ...]
    with_steering: tuple[float, ...]

    @property
    def cost(self) -> float:
        """The share of the packet rate that `Steering` costs, the median over neighbouring runs; below 0 for a gain."""
        pairs = zip(self.without, self.with_steering, strict=True)
        return 1 - statistics.median(after / before for before, after in pairs)

    @property
    def nanoseconds(self) -> float:
        """How many nanoseconds longer a packet takes with `Steering`: the median over neighbouring runs."""
        pairs = zip(self.without, self.with_steering, strict=True)
        return statistics.median(1e9 / after - 1e9 / before for before, after in pairs)


@dataclass(frozen=True, slots=True)
class SteeringBench:
    """The costs of steering by kind of packets; `size` is the number of packets in a batch."""

    costs: tuple[SteeringCost, ...]
    size: int

    def json(self) -> dict[str, object]:
        """Return the figures as data for JSON."""
        rows = [
            {
                "packets": each.packets,
                "without": list(each.without),
                "with_steering": list(each.with_steering),
                "cost": each.cost,
                "nanoseconds": each.nanoseconds,
            }
            for each in self.costs
        ]
        return {"size": self.size, "costs": rows}


def bench_steering(
    *, runs: int = 41, packets: int = 8192, progress: Progress | None = None, clock: Clock = time.thread_time
) -> SteeringBench:
    """Measure the packets per second of a program with a Threshold, without and with `Steering`.

    A batch has `packets` packets, each of a flow of its own. It is processed `runs` times by each program. Both
    programs have the same routes; the service has four instances, one of them behind the measured switch. `progress` is
    called after every run. `clock` returns seconds; by default, only the thread's own processor time counts.
    MidflightError if a packet leaves by another port than it should.
    """
    report = progress or silent
    with ExitStack() as stack:
        report(0, 1, "compiling")
        steering = Steering()
        plain, steered = (
            _opened(stack, Program(Threshold(_APPLICATION, above=900, clear=850), *parts))
            for parts in ((), (steering,))
        )
        batches = _batches(packets, steering.buckets)
        for batch, ports in batches.values():
            for engine, expected in ((plain, np.full(packets, 2)), (steered, ports)):
                if engine.process(batch).ports.tolist() != expected.tolist():
                    raise MidflightError("a packet was sent to the wrong port")
        found = []
        for number, (name, (batch, _)) in enumerate(batches.items()):
            rates: tuple[list[float], list[float]] = ([], [])
            for run in range(runs):
                for engine, into in zip((plain, steered), rates, strict=True):
                    start = clock()
                    engine.process(batch)
                    into.append(packets / max(clock() - start, 1e-9))
                report(number * runs + run + 1, len(batches) * runs, name)
            found.append(SteeringCost(name, tuple(rates[0]), tuple(rates[1])))
        return SteeringBench(tuple(found), packets)


def _opened(stack: ExitStack, program: Program) -> Engine:
    """Return the embedded switch's engine with a program and its entries, which `stack` closes."""
    device = stack.enter_context(HostDevice(program.p4()))
    session = stack.enter_context(device.session())
    offload = Offload(session)
    offload.admit(program.applications[_APPLICATION].id, [])
    graph = _graph()
    offload.install((*routes(graph)[_SWITCH], Route(_SERVICE, 2, 0x0200_0000_0002)))
    if program.steering is not None:
        pool = Pool.of(1, {1: 1, 2: 1, 3: 1, _HERE: 1}, program.steering.buckets)
        instances = {1: "h2", 2: "h3", 3: "h5", _HERE: "h4"}
        service = Service(_NAME, IPv4Network(_SERVICE), pool)
        offload.steer(steering_entries([service], instances, find_ways(graph, instances), program.steering)[_SWITCH])
    assert device.switch.pipeline is not None
    engine = device.switch.pipeline.engine
    assert isinstance(engine, Engine)
    return engine


def _graph() -> Graph:
    """Return h1, h4 and h6 at the measured switch, and the hosts of the other instances at another one."""
    ends = {"h1": (_SWITCH, 1), "h6": (_SWITCH, 2), "h4": (_SWITCH, 4)} | {f"h{n}": ("s2", n) for n in (2, 3, 5)}
    hosts = tuple(Host(name, 0x0200_0000_0000 + int(name[1]), IPv4Address(f"10.0.0.{name[1]}")) for name in ends)
    links = tuple(Link(name, 0, *end) for name, end in ends.items())
    switches = Switch(_SWITCH, 0x0600_0000_0001), Switch("s2", 0x0600_0000_0002)
    return Graph(hosts, switches, (*links, Link(_SWITCH, _TRUNK, "s2", _TRUNK)))


def _batches(packets: int, buckets: int) -> Mapping[str, tuple[Packets, np.ndarray[tuple[int], np.dtype[np.int64]]]]:
    """Return the batches by name, each with the ports that its packets leave by in a program that steers."""
    schema = Schema(Program(Threshold(_APPLICATION, above=900, clear=850)).schema())
    payloads = [
        bytes(schema.encode(Message(REQUEST, _APPLICATION, n, {"sensor": n % 1024, "value": 500})))
        for n in range(packets)
    ]
    plain = [bytes(len(payloads[0]))] * packets
    table = Pool.of(1, {1: 1, 2: 1, 3: 1, _HERE: 1}, buckets).table
    found = {}
    for name, contents, port in (("of a primitive", payloads, UDP_PORT), ("plain UDP", plain, 7000)):
        flows = [(IPv4Address(0x0A01_0000 + n // 512), 1024 + n % 512) for n in range(packets)]
        for steered, destination in ((False, IPv4Address("10.0.0.6")), (True, _SERVICE)):
            frames = [
                UdpFlow(
                    source_mac=1,
                    destination_mac=0x0600_0000_0001,
                    source=source,
                    destination=destination,
                    source_port=source_port,
                    destination_port=port,
                ).encode(content)
                for (source, source_port), content in zip(flows, contents, strict=True)
            ]
            chosen = [table[bucket_of(mapped(source), each, port, buckets)] for source, each in flows]
            ports = [4 if each == _HERE else _TRUNK for each in chosen] if steered else [2] * packets
            batch = Packets.from_list((1, frame) for frame in frames)
            found[f"{name}, {'' if steered else 'not '}steered"] = batch, np.array(ports)
    return found
