"""Benchmark of the planner: traffic of all-reduce on a fat-tree, and the time of a plan."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from midflight.errors import MidflightError
from midflight.runtime.devices.sheetfile import load_sheet
from midflight.runtime.placement.planner import Application, Device, Link, Network, Source, Step, plan

__all__ = ["PlacementBench", "Way", "fat_tree", "measure"]

_RATE = 10**11


@dataclass(frozen=True, slots=True)
class Way:
    """One way to sum a vector of every host: its name, the bytes in the busiest direction of a link (`busiest`), and
    the bytes on all links (`total`).
    """

    name: str
    busiest: float
    total: float


@dataclass(frozen=True, slots=True)
class PlacementBench:
    """Ways to sum `size` bytes of each of `hosts` on a fat-tree of `switches`, and the seconds that the plan took."""

    hosts: int
    switches: int
    size: int
    ways: tuple[Way, ...]
    seconds: float

    def json(self) -> dict[str, object]:
        """Return the figures as data for JSON."""
        return {
            "hosts": self.hosts,
            "switches": self.switches,
            "bytes": self.size,
            "seconds": self.seconds,
            "ways": {each.name: {"busiest": each.busiest, "total": each.total} for each in self.ways},
        }


def fat_tree(arity: int) -> Network:
    """Return a fat-tree of switches with `arity` ports and `arity` ** 3 / 4 hosts (Al-Fares et al., SIGCOMM 2008).

    MidflightError if the arity is not an even number from 2 to 128.
    """
    if arity % 2 or not 2 <= arity <= 128:
        raise MidflightError(f"a fat-tree has an even arity from 2 to 128, not {arity}")
    half, chip, host = arity // 2, load_sheet("tofino"), load_sheet("cpu")
    devices: dict[str, Device] = {}
    links: list[Link] = []
    for core in range(half * half):
        devices[f"core{core}"] = Device(f"core{core}", chip)
    for pod in range(arity):
        for upper in range(half):
            name = f"pod{pod}up{upper}"
            devices[name] = Device(name, chip)
            links += [Link(name, f"core{upper * half + n}", _RATE) for n in range(half)]
        for edge in range(half):
            name = f"pod{pod}edge{edge}"
            devices[name] = Device(name, chip)
            links += [Link(name, f"pod{pod}up{upper}", _RATE) for upper in range(half)]
            for n in range(half):
                member = f"h{(pod * half + edge) * half + n}"
                devices[member] = Device(member, host, forwards=False)
                links.append(Link(name, member, _RATE))
    return Network(devices, tuple(links))


def measure(arity: int = 16, size: int = 10**8, clock: Callable[[], float] = time.perf_counter) -> PlacementBench:
    """Return the traffic of a sum of `size` bytes over all hosts of a fat-tree, in three ways.

    Hierarchically, the planner splits the sum over switches, and results return by the same tree. At a server, every
    host sends to one host, which sends the result to every other. In a ring, each host sends 2 (n - 1) / n of the bytes
    to the next. Paths are shortest ones. `clock` is in seconds. MidflightError for an invalid arity.
    """
    network = fat_tree(arity)
    hosts = tuple(name for name, each in network.devices.items() if not each.forwards)
    workers = Source("workers", hosts, float(8 * size))
    tree = Application([workers], [Step("sum", ("workers",), split=True, returns=True)])
    # Rates stand for bytes here, so nothing may be too slow.
    begun = clock()
    found = plan(_unlimited(network), tree, method="heuristic")
    seconds = clock() - begun
    ways = [Way("hierarchical", max(found.loads.links.values()) / 8, sum(found.loads.links.values()) / 8)]
    server = _routed(network, [(host, hosts[0], float(size)) for host in hosts[1:]])
    both = dict(server)
    for (one, other), load in server.items():
        both[other, one] = both.get((other, one), 0.0) + load
    ways.append(Way("server", max(both.values()), sum(both.values())))
    share = 2 * (len(hosts) - 1) / len(hosts) * size
    ring = _routed(network, [(host, hosts[(n + 1) % len(hosts)], share) for n, host in enumerate(hosts)])
    ways.append(Way("ring", max(ring.values()), sum(ring.values())))
    return PlacementBench(len(hosts), len(network.devices) - len(hosts), size, tuple(ways), seconds)


def _unlimited(network: Network) -> Network:
    links = tuple(Link(each.one, each.other, 1 << 60, each.delay) for each in network.links)
    sheets = {kind: replace(load_sheet(kind), packets_per_second=None) for kind in ("tofino", "cpu")}
    devices = {name: Device(name, sheets[each.sheet.kind], each.forwards) for name, each in network.devices.items()}
    return Network(devices, links)


def _routed(network: Network, flows: list[tuple[str, str, float]]) -> dict[tuple[str, str], float]:
    """Return the bytes on each direction of each link, with every flow on one shortest path."""
    after: dict[str, list[str]] = {name: [] for name in network.devices}
    for link in network.links:
        after[link.one].append(link.other)
        after[link.other].append(link.one)
    loads: dict[tuple[str, str], float] = {}
    targets: dict[str, list[tuple[str, float]]] = {}
    for start, end, amount in flows:
        targets.setdefault(end, []).append((start, amount))
    for end, starts in targets.items():
        wanted = {start for start, _ in starts}
        toward = {end: end}
        queue = [end]
        for name in queue:
            if wanted <= toward.keys():
                break
            for other in after[name]:
                if other not in toward:
                    toward[other] = name
                    queue.append(other)
        for start, amount in starts:
            name = start
            while name != end:
                arc = name, toward[name]
                loads[arc] = loads.get(arc, 0.0) + amount
                name = toward[name]
    return loads
