"""Topologies of Mininet scripts: classes derived from `mininet.topo.Topo`, without Mininet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from midflight.errors import MidflightError
from midflight.testbed.imports.imported import Addresses, Imported, usual_quality
from midflight.testbed.topology.topology import Ends, Topology

__all__ = ["mininet_stubs", "read_names"]

_MODULES = ("cli", "clean", "link", "log", "net", "node", "nodelib", "topo", "topolib", "util")


class Topo:
    """Records what a script's topology adds.

    Of the methods of `mininet.topo.Topo`, it has those that add hosts, switches and links. `build` gets the arguments
    of the constructor.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.added_hosts: dict[str, Mapping[str, Any]] = {}
        self.added_switches: dict[str, Mapping[str, Any]] = {}
        self.added_links: list[tuple[str, str, Mapping[str, Any]]] = []
        self.build(*arguments, **options)

    def build(self, *arguments: Any, **options: Any) -> None:
        """Add nodes and links, which scripts do here or in their constructor."""

    def addHost(self, name: str, **options: Any) -> str:  # noqa: N802 - Mininet's name
        """Record a host, and return its name."""
        self.added_hosts[name] = options
        return name

    def addSwitch(self, name: str, **options: Any) -> str:  # noqa: N802
        """Record a switch, and return its name."""
        self.added_switches[name] = options
        return name

    def addLink(self, node1: str, node2: str, port1: Any = None, port2: Any = None, **options: Any) -> None:  # noqa: N802
        """Record a link between two nodes, with the ports that are given."""
        given = {"port1": port1, "port2": port2, **options}
        self.added_links.append((node1, node2, {key: value for key, value in given.items() if value is not None}))


class _Nothing:
    """Stands for everything of Mininet that a topology does not need."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass


@contextmanager
def mininet_stubs() -> Iterator[None]:
    """Let a script import Mininet while the context lasts, whether or not it is installed.

    `Topo` records a topology. Every other name in Mininet's modules is a class that does nothing.
    """
    before = {name: each for name, each in sys.modules.items() if name.partition(".")[0] == "mininet"}
    for name in before:
        del sys.modules[name]
    root = ModuleType("mininet")
    root.__path__ = []
    made = {"mininet": root}
    for each in _MODULES:
        module = made[f"mininet.{each}"] = ModuleType(f"mininet.{each}")
        module.__dict__.update(__getattr__=_anything, Topo=Topo)
        setattr(root, each, module)
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def _anything(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Nothing


def read_names(names: Mapping[str, Any], file: str) -> Imported:
    """Return the network of a script, whose global names are given, after it ran within `mininet_stubs`.

    It is the only entry of `topos`, as for `mn --custom`; without `topos`, the only class derived from `Topo`. It is
    created without arguments. Of hosts, the options `ip` and `mac` count, and of links `port1`, `port2`, `delay`, `bw`
    and `loss`; others are ignored. MidflightError if there is no such topology, if there are several, if it cannot be
    created, or if its nodes, links or options are not valid.
    """
    topos = names.get("topos")
    makers: dict[str, Callable[[], Any]] = dict(topos) if isinstance(topos, Mapping) else {}
    if not makers:
        makers = {
            name: each
            for name, each in names.items()
            if isinstance(each, type) and issubclass(each, Topo) and each is not Topo
        }
    if len(makers) != 1:
        found = f"several topologies: {', '.join(makers)}" if makers else "no topology"
        hint = (
            "the script needs one class derived from Topo, or one entry in topos; nodes added to a Mininet are not read"
        )
        raise MidflightError(f"{file} has {found}", hint=hint)
    ((name, make),) = makers.items()
    try:
        made = make()
    except Exception as error:
        raise MidflightError(f"{file}: {name} cannot be created: {type(error).__name__}: {error}") from error
    if not isinstance(made, Topo):
        raise MidflightError(f"{file}: {name} is not a Topo")
    addresses = Addresses()
    for host, options in made.added_hosts.items():
        addresses.set(host, str(options.get("ip") or ""), str(options.get("mac") or ""))
    links = [_ends(made, *each) for each in made.added_links]
    topology = Topology.of(links, hosts=list(made.added_hosts), switches=list(made.added_switches))
    return Imported(topology.with_addresses(addresses.ipv4, addresses.macs), direct=True)


def _ends(topo: Topo, one: str, other: str, options: Mapping[str, Any]) -> Ends:
    nodes = ((one, options.get("port1")), (other, options.get("port2")))
    ends = [name if port is None or name in topo.added_hosts else f"{name}:{port}" for name, port in nodes]
    return ends[0], ends[1], usual_quality(options.get("delay"), options.get("bw"), options.get("loss"))
