"""Topologies from YAML files.

    hosts: [h1, h2, h3]            # optional: by default, nodes called h and a number are hosts,
    switches: [s1]                 # and all others are switches
    defaults: {delay: 5us, rate: 1Gbit}
    links:
      - h1 s1                      # ports are numbered in this order, from 1,
      - h2 s1:7                    # except for those that are given
      - {ends: h3 s1, loss: 1%, delay: 2ms}

or, with one of the builders' names and parameters:

    leaf_spine: {leaves: 2, spines: 2, hosts: 4}
    defaults: {delay: 5us}
    ipv6: true                     # for all hosts; for some: [h1, h2]; with addresses: {h1: "2001:db8::1"}
    queues: {depth: 32, rate: 100pps}                   # of all switches; for some: {leaf1: {queues: 2}}
    clocks: {leaf1: {offset: 2ms, drift: 40ppm}}

The keys of `topology.programs` may be there as well.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from midflight.errors import MidflightError
from midflight.testbed.topology import builders
from midflight.testbed.topology.fileswitches import with_clocks, with_queues
from midflight.testbed.topology.programs import KEYS
from midflight.testbed.topology.quality import LinkQuality
from midflight.testbed.topology.topology import Ends, Topology
from midflight.testbed.topology.units import QUALITIES, quantity
from midflight.userfiles import read_text
from midflight.yamlfile import Pairs, YamlFile

__all__ = ["load_topology", "parse_topology"]

_BUILDERS: dict[str, Callable[..., Topology]] = {name: getattr(builders, name) for name in builders.__all__}
_EXAMPLE = "such as links: [h1 s1, h2 s1]"
_BESIDE = ("defaults", "ipv6", "queues", "clocks", *KEYS)
_KEYS = ("hosts", "switches", "links", *_BESIDE)


def load_topology(path: str | Path) -> Topology:
    """Return the topology in a YAML file, in the format that this module's docstring shows.

    MidflightError, with the place in the file, if the file cannot be read or is malformed.
    """
    return parse_topology(read_text(path), str(path))


def parse_topology(text: str, file: str = "<string>") -> Topology:
    """Return the topology in a YAML text, in the format of `load_topology`. `file` names the text in errors.

    MidflightError, with the place in the text, if it is malformed.
    """
    return _Reader(text, file).topology()


class _Reader:
    """Builds a topology from the node tree of a YAML text."""

    def __init__(self, text: str, file: str) -> None:
        self._yaml = YamlFile(text, file)

    def topology(self) -> Topology:
        parts = self._yaml.mapping(self._yaml.root, "a topology", _EXAMPLE)
        for name, (key, _) in parts.items():
            if name not in (*_KEYS, *_BUILDERS):
                self._yaml.fail(key, f"a topology has no {name!r}", f"it has {', '.join((*_KEYS, *_BUILDERS))}")
        quality = self._quality(parts["defaults"][1], LinkQuality()) if "defaults" in parts else LinkQuality()
        built = [name for name in parts if name in _BUILDERS]
        if built:
            for name, (key, _) in parts.items():
                if name not in (*_BESIDE, built[0]):
                    known = f"{', '.join(_BESIDE[:-1])} and {_BESIDE[-1]}"
                    self._yaml.fail(key, f"{built[0]} is the whole topology, with nothing but {known} beside it")
            return self._finished(self._build(built[0], parts[built[0]], quality), parts)
        if "links" not in parts:
            self._yaml.fail(
                self._yaml.root, "a topology needs links", "for example: links: [h1 s1, h2 s1], or star: {hosts: 2}"
            )
        nodes = {each: self._yaml.names(parts[each][1]) if each in parts else [] for each in ("hosts", "switches")}
        links = [self._link(each, quality) for each in self._yaml.sequence(parts["links"][1], "a list of links")]
        try:
            made = Topology.of(links, **nodes)
        except MidflightError as error:
            raise self._yaml.placed(parts["links"][1], error) from None
        return self._finished(made, parts)

    def _finished(self, topology: Topology, parts: Pairs) -> Topology:
        """Return the topology with the addresses, queues and clocks that the file gives."""
        return with_clocks(self._yaml, with_queues(self._yaml, self._addressed(topology, parts), parts), parts)

    def _addressed(self, topology: Topology, parts: Pairs) -> Topology:
        """Return the topology with the IPv6 addresses that the file gives."""
        if "ipv6" not in parts:
            return topology
        _, node = parts["ipv6"]
        hosts: list[str] | dict[str, str] | None = None
        if isinstance(node, yaml.MappingNode):
            hosts = {
                name: str(self._yaml.scalar(each))
                for name, (_, each) in self._yaml.mapping(node, "ipv6", _EXAMPLE).items()
            }
        elif isinstance(node, yaml.SequenceNode):
            hosts = self._yaml.names(node)
        elif (given := self._yaml.scalar(node)) is not True:
            if given is not False:
                self._yaml.fail(node, f"ipv6 cannot be {given!r}", "write true, or the hosts that have it: [h1, h2]")
            return topology
        try:
            return topology.with_ipv6(hosts)
        except MidflightError as error:
            raise self._yaml.placed(node, error) from None

    def _build(self, name: str, part: tuple[yaml.Node, yaml.Node], quality: LinkQuality) -> Topology:
        key, value = part
        builder = _BUILDERS[name]
        known = [each for each in inspect.signature(builder).parameters if each != "quality"]
        arguments = {}
        for argument, (where, node) in self._yaml.mapping(value, name, _EXAMPLE).items():
            if argument not in known:
                self._yaml.fail(where, f"{name} has no {argument!r}", f"it has {', '.join(known)}")
            arguments[argument] = self._yaml.scalar(node)
            if type(arguments[argument]) is not int:
                self._yaml.fail(node, f"{argument} is a whole number, not {arguments[argument]!r}")
        required = [
            each.name
            for each in inspect.signature(builder).parameters.values()
            if each.default is inspect.Parameter.empty and each.name not in arguments
        ]
        if required:
            self._yaml.fail(key, f"{name} needs {' and '.join(required)}", f"for example: {name}: {{{required[0]}: 2}}")
        try:
            return builder(**arguments, quality=quality)
        except MidflightError as error:
            raise self._yaml.placed(key, error) from None

    def _link(self, node: yaml.Node, quality: LinkQuality) -> Ends:
        values: Pairs = {}
        ends = node
        if isinstance(node, yaml.MappingNode):
            values = self._yaml.mapping(node, "a link", _EXAMPLE)
            if "ends" not in values:
                self._yaml.fail(node, "a link needs ends", "for example: {ends: h1 s1, loss: 1%}")
            ends = values.pop("ends")[1]
        if isinstance(ends, yaml.SequenceNode):
            found = [str(self._yaml.scalar(each)) for each in ends.value]
        else:
            found = str(self._yaml.scalar(ends)).split()
        if len(found) != 2:
            self._yaml.fail(ends, "a link has two ends", 'h1 s1, or, to a certain port, "h1 s1:3"')
        for key in values:
            if key not in QUALITIES:
                self._yaml.fail(values[key][0], f"a link has no {key!r}", f"it has ends, {', '.join(QUALITIES)}")
        return found[0], found[1], self._changed(node, values, quality)

    def _quality(self, node: yaml.Node, base: LinkQuality) -> LinkQuality:
        return self._changed(node, self._yaml.mapping(node, "a link's quality", _EXAMPLE), base)

    def _changed(self, node: yaml.Node, values: Pairs, base: LinkQuality) -> LinkQuality:
        changes: dict[str, Any] = {name: getattr(base, name) for name in QUALITIES}
        for name, (key, value) in values.items():
            try:
                changes[name] = quantity(name, self._yaml.scalar(value))
            except MidflightError as error:
                raise self._yaml.placed(value if name in QUALITIES else key, error) from None
        try:
            return LinkQuality(**changes)
        except MidflightError as error:
            raise self._yaml.placed(node, error) from None
