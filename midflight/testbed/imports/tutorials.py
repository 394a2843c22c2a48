"""Networks of p4lang's tutorials: `topology.json` with `sX-runtime.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from midflight.errors import MidflightError
from midflight.testbed.imports.imported import Addresses, Imported, beside, listed, read_json, usual_quality
from midflight.testbed.topology.topology import Ends, Topology

__all__ = ["read_topology"]

_PORT = re.compile(r"(.+)-p(\d+)")


def read_topology(path: Path) -> Imported:
    """Return the network in a `topology.json` of p4lang's tutorials.

    A switch runs the P4 file of the compiled program that the file names for it (`program`), or else that its runtime
    file names (`bmv2_json`). The P4 file has the same name with `.p4`, in the folder of `path` or one of the two above;
    without it, the switch is absent from `programs`. MidflightError if the file cannot be read, is not of this form, or
    names a file of entries that does not exist.
    """
    document = read_json(path)
    hosts, switches = (_mapping(document, each, path) for each in ("hosts", "switches"))
    links = [_link(each, path) for each in listed(document, "links", path)]
    made = Topology.of(links, hosts=list(hosts), switches=list(switches))
    addresses = Addresses()
    notes: dict[str, None] = {}
    for name, options in hosts.items():
        addresses.set(name, str(options.get("ip", "")), str(options.get("mac", "")))
        if options.get("commands"):
            notes[f"{path}: the commands of hosts are not run; hosts have a default route and its neighbour"] = None
    programs, entries = {}, {}
    for name, options in switches.items():
        if runtime := options.get("runtime_json"):
            entries[name] = [beside(str(runtime), path)]
        if commands := options.get("cli_input"):
            entries.setdefault(name, []).append(beside(str(commands), path))
        if (found := _program(options, entries.get(name, []), path)) is not None:
            programs[name] = found
    return Imported(made.with_addresses(addresses.ipv4, addresses.macs), programs, entries, notes=tuple(notes))


def _program(options: Mapping[str, Any], entries: Sequence[Path], path: Path) -> Path | None:
    """Return the P4 file for a compiled program that a switch or its entries name, such as build/basic.json."""
    compiled = options.get("program")
    for each in entries:
        if not compiled and each.suffix == ".json":
            compiled = read_json(each).get("bmv2_json")
    if not compiled:
        return None
    try:
        return beside(f"{Path(str(compiled)).stem}.p4", path)
    except MidflightError:
        return None


def _mapping(document: Mapping[str, Any], key: str, path: Path) -> dict[str, Mapping[str, Any]]:
    found = document.get(key)
    if isinstance(found, Sequence) and not isinstance(found, str):
        found = {str(name): {} for name in found}
    if not isinstance(found, Mapping):
        raise MidflightError(f"{path}: there are no {key}")
    return {str(name): each if isinstance(each, Mapping) else {} for name, each in found.items()}


def _link(link: Any, path: Path) -> Ends:
    if not isinstance(link, Sequence) or isinstance(link, str) or not 2 <= len(link) <= 4:
        raise MidflightError(
            f"{path}: {link!r} is not a link", hint='a link is ["h1", "s1-p1"], or has delay and bandwidth'
        )
    ends = [found.expand(r"\1:\2") if (found := _PORT.fullmatch(str(each))) else str(each) for each in link[:2]]
    delay = link[2] if len(link) > 2 and str(link[2]) != "0" else None
    return ends[0], ends[1], usual_quality(delay, link[3] if len(link) > 3 else None)
