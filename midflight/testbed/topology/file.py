"""Topologies from YAML files.

    hosts: [h1, h2, h3]            # may be left out: nodes called h and a number are hosts,
    switches: [s1]                 # all others switches
    defaults: {delay: 5us, rate: 1Gbit}
    links:
      - h1 s1                      # ports are numbered in this order, from 1,
      - h2 s1:7                    # but for those that are told
      - {ends: h3 s1, loss: 1%, delay: 2ms}

or, with one of the builders' names and parameters:

    leaf_spine: {leaves: 2, spines: 2, hosts: 4}
    defaults: {delay: 5us}
    ipv6: true                     # for all hosts; or for some, [h1, h2]; or {h1: "2001:db8::1"}, to tell addresses
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from midflight.errors import MidflightError, Place
from midflight.testbed.topology import builders
from midflight.testbed.topology.quality import LinkQuality
from midflight.testbed.topology.topology import Ends, Topology
from midflight.testbed.topology.units import QUALITIES, quantity

__all__ = ["load_topology", "parse_topology"]

_BUILDERS: dict[str, Callable[..., Topology]] = {name: getattr(builders, name) for name in builders.__all__}
_KEYS = ("hosts", "switches", "links", "defaults", "ipv6")


def load_topology(path: str | Path) -> Topology:
    """Return the topology that a YAML file describes. MidflightError, with the place, for what is wrong in it."""
    try:
        return parse_topology(Path(path).read_text(), str(path))
    except UnicodeDecodeError:
        raise MidflightError(f"{path} is not text in UTF-8") from None


def parse_topology(text: str, file: str = "<string>") -> Topology:
    """Return the topology that a YAML text describes; `file` is its name in errors."""
    return _Reader(text, file).topology()


class _Reader:
    """Reads the tree of a YAML text, whose nodes know their places."""

    def __init__(self, text: str, file: str) -> None:
        self._lines = text.splitlines()
        self._file = file
        try:
            self._root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = str(error.problem)
            if problem.startswith("but"):
                problem = f"{error.context}, {problem}"
            raise MidflightError(
                f"not YAML: {problem}", place=self._place(mark.line, mark.column) if mark else None
            ) from None
        except RecursionError:
            raise MidflightError("nested too deeply", place=Place(file, 1, 1)) from None
        except yaml.YAMLError as error:
            raise MidflightError(f"not YAML: {error}", place=self._place(0, 0)) from None

    def topology(self) -> Topology:
        parts = self._mapping(self._root, "a topology")
        for name, (key, _) in parts.items():
            if name not in (*_KEYS, *_BUILDERS):
                self._fail(key, f"a topology has no {name!r}", f"it has {', '.join((*_KEYS, *_BUILDERS))}")
        quality = self._quality(parts["defaults"][1], LinkQuality()) if "defaults" in parts else LinkQuality()
        built = [name for name in parts if name in _BUILDERS]
        if built:
            for name, (key, _) in parts.items():
                if name not in ("defaults", "ipv6", built[0]):
                    self._fail(key, f"{built[0]} is the whole topology, with nothing but defaults and ipv6 beside it")
            return self._addressed(self._build(built[0], parts[built[0]], quality), parts)
        if "links" not in parts:
            self._fail(self._root, "a topology needs links", "links: [h1 s1, h2 s1], say, or star: {hosts: 2}")
        nodes = {each: self._names(parts[each][1]) if each in parts else [] for each in ("hosts", "switches")}
        links = [self._link(each, quality) for each in self._sequence(parts["links"][1], "a list of links")]
        try:
            made = Topology.of(links, **nodes)
        except MidflightError as error:
            raise self._placed(parts["links"][1], error) from None
        return self._addressed(made, parts)

    def _addressed(self, topology: Topology, parts: Mapping[str, tuple[yaml.Node, yaml.Node]]) -> Topology:
        """Return a topology with the IPv6 addresses that the file tells."""
        if "ipv6" not in parts:
            return topology
        _, node = parts["ipv6"]
        hosts: list[str] | dict[str, str] | None = None
        if isinstance(node, yaml.MappingNode):
            hosts = {name: str(self._scalar(each)) for name, (_, each) in self._mapping(node, "ipv6").items()}
        elif isinstance(node, yaml.SequenceNode):
            hosts = self._names(node)
        elif (told := self._scalar(node)) is not True:
            if told is not False:
                self._fail(node, f"ipv6 is not {told!r}", "true, or the hosts that have it, [h1, h2]")
            return topology
        try:
            return topology.with_ipv6(hosts)
        except MidflightError as error:
            raise self._placed(node, error) from None

    def _build(self, name: str, part: tuple[yaml.Node, yaml.Node], quality: LinkQuality) -> Topology:
        key, value = part
        builder = _BUILDERS[name]
        known = [each for each in inspect.signature(builder).parameters if each != "quality"]
        arguments = {}
        for argument, (where, node) in self._mapping(value, name).items():
            if argument not in known:
                self._fail(where, f"{name} has no {argument!r}", f"it has {', '.join(known)}")
            arguments[argument] = self._scalar(node)
            if type(arguments[argument]) is not int:
                self._fail(node, f"{argument} is a whole number, not {arguments[argument]!r}")
        required = [
            each.name
            for each in inspect.signature(builder).parameters.values()
            if each.default is inspect.Parameter.empty and each.name not in arguments
        ]
        if required:
            self._fail(key, f"{name} needs {' and '.join(required)}", f"{name}: {{{required[0]}: 2}}, say")
        try:
            return builder(**arguments, quality=quality)
        except MidflightError as error:
            raise self._placed(key, error) from None

    def _link(self, node: yaml.Node, quality: LinkQuality) -> Ends:
        values: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        ends = node
        if isinstance(node, yaml.MappingNode):
            values = self._mapping(node, "a link")
            if "ends" not in values:
                self._fail(node, "a link needs ends", "{ends: h1 s1, loss: 1%}, say")
            ends = values.pop("ends")[1]
        if isinstance(ends, yaml.SequenceNode):
            found = [str(self._scalar(each)) for each in ends.value]
        else:
            found = str(self._scalar(ends)).split()
        if len(found) != 2:
            self._fail(ends, "a link has two ends", 'h1 s1, or, to a certain port, "h1 s1:3"')
        for key in values:
            if key not in QUALITIES:
                self._fail(values[key][0], f"a link has no {key!r}", f"it has ends, {', '.join(QUALITIES)}")
        return found[0], found[1], self._changed(node, values, quality)

    def _quality(self, node: yaml.Node, base: LinkQuality) -> LinkQuality:
        return self._changed(node, self._mapping(node, "a link's quality"), base)

    def _changed(
        self, node: yaml.Node, values: dict[str, tuple[yaml.Node, yaml.Node]], base: LinkQuality
    ) -> LinkQuality:
        changes: dict[str, Any] = {name: getattr(base, name) for name in QUALITIES}
        for name, (key, value) in values.items():
            try:
                changes[name] = quantity(name, self._scalar(value))
            except MidflightError as error:
                raise self._placed(value if name in QUALITIES else key, error) from None
        try:
            return LinkQuality(**changes)
        except MidflightError as error:
            raise self._placed(node, error) from None

    def _names(self, node: yaml.Node) -> list[str]:
        return [str(self._scalar(each)) for each in self._sequence(node, "a list of names")]

    def _mapping(self, node: yaml.Node | None, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return a mapping's keys, each with its own node and its value's."""
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, f"{what} is a mapping, of names to values", "such as links: [h1 s1, h2 s1]")
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = str(self._scalar(key))
            if name in found:
                self._fail(key, f"{name} is there twice")
            found[name] = key, value
        return found

    def _sequence(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, f"{what} is expected here", "[one, another], or lines that begin with -")
        items: list[yaml.Node] = node.value
        return items

    def _scalar(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            self._fail(node, "one value is expected here")
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError):
            self._fail(node, f"{node.value!r} is not what its tag says")

    def _place(self, line: int, column: int, length: int = 1) -> Place:
        text = self._lines[line] if line < len(self._lines) else ""
        return Place(self._file, line + 1, column + 1, max(1, length), text)

    def _placed(self, node: yaml.Node | None, error: MidflightError) -> MidflightError:
        """Return an error with the place of a node."""
        if node is None:
            return MidflightError(error.message, place=self._place(0, 0), hint=error.hint)
        start, end = node.start_mark, node.end_mark
        text = self._lines[start.line] if start.line < len(self._lines) else ""
        last = end.column if end.line == start.line else len(text)
        place = self._place(start.line, start.column, last - start.column)
        return MidflightError(error.message, place=place, hint=error.hint)

    def _fail(self, node: yaml.Node | None, message: str, hint: str = "") -> NoReturn:
        raise self._placed(node, MidflightError(message, hint=hint)) from None
