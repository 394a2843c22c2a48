"""Networks of p4-utils: `p4app.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from midflight.errors import MidflightError
from midflight.testbed.imports.imported import Addresses, Imported, beside, listed, read_json, usual_quality
from midflight.testbed.topology.topology import Ends, Topology

__all__ = ["read_p4app"]

_STRATEGIES = ("l2", "mixed", "l3", "manual")
_KNOWN = ("p4_src", "topology")
_QUIET = ("cli", "pcap_dump", "enable_log", "program", "switch", "compiler", "options", "switch_cli", "cli_enabled")
"""Keys about tools of p4-utils that have no meaning here."""


def read_p4app(path: Path) -> Imported:
    """Return the network in a `p4app.json`.

    Hosts get the addresses that the file gives, or else those of the assignment strategy: `l2` (by default), `mixed` or
    `l3`; with `manual`, the usual ones of a `Topology`. Ports are numbered in the order of the links, from 1. A switch
    runs its own `p4_src`, or else that of the file, and is absent from `programs` without either. MidflightError if the
    file cannot be read, is not of this form, or names a file that is not there.
    """
    document = read_json(path)
    topology = document.get("topology")
    if not isinstance(topology, Mapping):
        raise MidflightError(f"{path}: there is no topology")
    hosts, switches = _named(topology, "hosts", path), _named(topology, "switches", path)
    strategy = topology.get("assignment_strategy", "l2")
    if strategy not in _STRATEGIES:
        raise MidflightError(f"{path}: unknown assignment_strategy {strategy!r}", hint=f"it is one of {_STRATEGIES}")
    given = topology.get("default", {})
    if not isinstance(given, Mapping):
        raise MidflightError(f"{path}: default is not a mapping of options")
    defaults = {**given, **{k[8:]: v for k, v in topology.items() if k.startswith("default_")}}
    links = [_link(each, defaults, path) for each in listed(topology, "links", path)]
    made = Topology.of(links, hosts=list(hosts), switches=list(switches))
    addresses = Addresses()
    for number, name in enumerate(hosts, 1):
        _assign(addresses, made, strategy, number, name)
        addresses.set(name, _given(hosts[name], "ip"), _given(hosts[name], "mac"))
    programs, entries = {}, {}
    for name, options in switches.items():
        if source := options.get("p4_src", document.get("p4_src")):
            programs[name] = beside(str(source), path)
        if commands := options.get("cli_input"):
            entries[name] = [beside(str(commands), path)]
    skipped = [each for each in document if each not in (*_KNOWN, *_QUIET)]
    notes = tuple(f"{path}: {each!r} is not imported" for each in skipped)
    made = made.with_addresses(addresses.ipv4, addresses.macs)
    return Imported(made, programs, entries, strategy in ("l2", "mixed"), notes)


def _named(topology: Mapping[str, Any], key: str, path: Path) -> dict[str, Mapping[str, Any]]:
    found = topology.get(key, {})
    if isinstance(found, Sequence):
        found = {str(name): {} for name in found}
    if not isinstance(found, Mapping):
        raise MidflightError(f"{path}: {key} is not a mapping of names")
    return {str(name): options if isinstance(options, Mapping) else {} for name, options in found.items()}


def _link(link: Any, defaults: Mapping[str, Any], path: Path) -> Ends:
    if not isinstance(link, Sequence) or len(link) < 2:
        raise MidflightError(
            f"{path}: {link!r} is not a link", hint='a link is ["h1", "s1"], or has options after them'
        )
    options = {**defaults, **(link[2] if len(link) > 2 and isinstance(link[2], Mapping) else {})}
    quality = usual_quality(options.get("delay"), options.get("bw"), options.get("loss"))
    return str(link[0]), str(link[1]), quality


def _assign(addresses: Addresses, topology: Topology, strategy: str, number: int, host: str) -> None:
    """Set the addresses that p4-utils would assign; the MAC address has the IP address in its last four bytes."""
    switch = next((_number(far.node) for far, _ in topology.ports(host).values()), 0)
    own = _number(host) or number
    ip = {
        "l2": f"10.0.{number // 256}.{number % 256}",
        "mixed": f"10.0.{switch}.{own}",
        "l3": f"10.{switch}.{own}.2",
    }.get(strategy, "")
    if ip:
        parts = [int(each) for each in ip.split(".")]
        if max(parts) > 255:
            raise MidflightError(f"{host}: the assignment strategy {strategy} gives {ip}, which is not an address")
        addresses.set(host, ip, f"0000{bytes(parts).hex()}")


def _number(name: str) -> int:
    found = re.search(r"\d+$", name)
    return int(found[0]) if found else 0


def _given(options: Mapping[str, Any], key: str) -> str:
    value = str(options.get(key, ""))
    return "" if value in ("auto", "dhcp") else value
