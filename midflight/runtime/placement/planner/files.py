"""Applications and networks for the planner, from YAML files.

    program: app.py                # a Python file; its applications have the names of the steps
    packet: 1000B
    sources:
      sensors: {at: [h1, h2], rate: 100Mbit}           # the rate of each
    steps:                         # in the order in which traffic passes them
      hot: {takes: sensors, keeps: 20%}
      sum: {takes: hot, keeps: 0.1}
      gradients: {takes: workers, split: true, returns: true}
    sinks:
      store: {takes: sum, at: h9}

A network has devices with capability sheets, by name or as a file, hosts, and links:

    devices:
      edge: xdp
      spine: {sheet: mine.toml, in_use: {stages: 4, register_bits: 100000}}
    hosts: [h1, h2, h9]            # with the sheet cpu, or {h1: dpu}
    defaults: {rate: 10Gbit, delay: 1us}
    links:
      - h1 edge
      - {ends: edge spine, rate: 100Gbit, in_use: 2Gbit}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from midflight.errors import MidflightError, Place
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.sheetfile import SHEETS, load_sheet
from midflight.runtime.placement.planner.model import Application, Device, Link, Network, Sink, Source, Step
from midflight.units import LARGEST, RATES, SIZES, TIMES, measured
from midflight.userfiles import read_text
from midflight.yamlfile import Pairs, YamlFile

__all__ = ["ApplicationFile", "load_application", "load_network", "parse_application", "parse_network"]

_RATE, _DELAY = 10**10, 1000


@dataclass(frozen=True, slots=True)
class ApplicationFile:
    """An application from a file, and the path of its Python program, or None."""

    application: Application
    program: Path | None = None


def load_application(path: str | Path) -> ApplicationFile:
    """Read an application from a YAML file; see the module for the format.

    MidflightError if the file cannot be read, or, with file and line, if it is wrong.
    """
    return parse_application(read_text(path), str(path))


def load_network(path: str | Path) -> Network:
    """Read a network from a YAML file; see the module for the format.

    MidflightError if the file cannot be read, or, with file and line, if it or a capability sheet is wrong.
    """
    return parse_network(read_text(path), str(path))


def parse_application(text: str, file: str = "<string>") -> ApplicationFile:
    """Return the application in a YAML text; `file` is its name in errors, and relative paths start from its folder.

    MidflightError, with file and line, if it is wrong.
    """
    reader = _Reader(text, file)
    parts = reader.parts(reader.root, "an application", ("program", "packet", "sources", "steps", "sinks"))
    if "sources" not in parts or "steps" not in parts:
        reader.fail(reader.root, "an application needs sources and steps")
    sources = []
    for name, node in reader.named(parts["sources"][1], "sources"):
        inner = reader.parts(node, f"source {name}", ("at", "rate"))
        at, place = reader.at(inner, name, node)
        rate = reader.quantity(inner, "rate", RATES, node)
        try:
            sources.append(Source(name, at, rate, place))
        except MidflightError as error:
            raise (error if error.place else reader.placed(inner["rate"][1], error)) from None
    steps = []
    for name, node in reader.named(parts["steps"][1], "steps"):
        inner = reader.parts(node, f"step {name}", ("takes", "keeps", "split", "returns"))
        steps.append(
            Step(
                name,
                reader.names(inner["takes"][1]) if "takes" in inner else (),
                reader.share(inner["keeps"][1]) if "keeps" in inner else 1.0,
                reader.flag(inner, "split"),
                reader.flag(inner, "returns"),
            )
        )
    sinks = []
    for name, node in reader.named(parts["sinks"][1], "sinks") if "sinks" in parts else ():
        inner = reader.parts(node, f"sink {name}", ("takes", "at"))
        if "takes" not in inner:
            reader.fail(node, f"sink {name} needs takes: the step whose result it gets")
        at, place = reader.at(inner, name, node)
        sinks.append(Sink(name, at, reader.text(inner["takes"][1]), place))
    packet = round(8 * reader.quantity(parts, "packet", SIZES, reader.root)) if "packet" in parts else 8000
    if packet <= 0:
        reader.fail(parts["packet"][1], "a packet has at least one byte")
    try:
        made = Application(sources, steps, sinks, packet)
    except MidflightError as error:
        raise reader.placed(parts["steps"][1], error) from None
    program = Path(file).parent / reader.text(parts["program"][1]) if "program" in parts else None
    return ApplicationFile(made, program)


def parse_network(text: str, file: str = "<string>") -> Network:
    """Return the network in a YAML text; `file` is its name in errors, and relative paths start from its folder.

    MidflightError, with file and line, if it is wrong.
    """
    reader = _Reader(text, file)
    parts = reader.parts(reader.root, "a network", ("devices", "hosts", "defaults", "links"))
    devices: dict[str, Device] = {}
    for name, node in reader.named(parts["devices"][1], "devices") if "devices" in parts else ():
        devices[name] = Device(name, reader.sheet(node))
    if "hosts" in parts:
        node = parts["hosts"][1]
        if isinstance(node, yaml.SequenceNode):
            sheet = load_sheet("cpu")
            hosts = [(name, sheet) for name in reader.names(node)]
        else:
            hosts = [(name, reader.sheet(each)) for name, each in reader.named(node, "hosts")]
        for name, sheet in hosts:
            if name in devices:
                reader.fail(node, f"{name} is both a device and a host")
            devices[name] = Device(name, sheet, forwards=False)
    base = parts["defaults"][1] if "defaults" in parts else None
    usual = reader.quality(base, "defaults", _RATE, _DELAY) if base is not None else (_RATE, _DELAY)
    links = []
    for node in reader.items(parts["links"][1]) if "links" in parts else ():
        rate, delay = usual
        ends = node
        if isinstance(node, yaml.MappingNode):
            inner = reader.parts(node, "a link", ("ends", "rate", "delay", "in_use"))
            if "ends" not in inner:
                reader.fail(node, "a link needs ends", "for example {ends: h1 s1, delay: 2ms}")
            ends = inner["ends"][1]
            rate, delay = reader.quality(node, "a link", rate, delay)
        names = reader.names(ends)
        if len(names) != 2:
            reader.fail(ends, "a link has two ends", "write h1 s1")
        try:
            Network(devices, (Link(*names, rate, delay),))
        except MidflightError as error:
            raise reader.placed(ends, error) from None
        links.append(Link(names[0], names[1], rate, delay))
    return Network(devices, tuple(links))


class _Reader:
    """Reads values of a YAML text, with their places in errors."""

    def __init__(self, text: str, file: str) -> None:
        self._yaml = YamlFile(text, file)
        self._folder = Path(file).parent
        self._sheets: dict[str, Capabilities] = {}
        self.root = self._yaml.root
        self.fail = self._yaml.fail
        self.placed = self._yaml.placed
        self.text = self._yaml.text

    def parts(self, node: yaml.Node | None, what: str, known: tuple[str, ...]) -> Pairs:
        found = self._yaml.mapping(node, what)
        for name, (key, _) in found.items():
            if name not in known:
                self.fail(key, f"{what} has no {name!r}", f"it has {', '.join(known)}")
        return found

    def named(self, node: yaml.Node, what: str) -> list[tuple[str, yaml.Node]]:
        return [(name, each) for name, (_, each) in self._yaml.mapping(node, what).items()]

    def items(self, node: yaml.Node) -> list[yaml.Node]:
        return self._yaml.sequence(node, "a list of links")

    def names(self, node: yaml.Node) -> tuple[str, ...]:
        """Return names from a list, or from a text with blanks between them."""
        if isinstance(node, yaml.SequenceNode):
            return tuple(self._yaml.names(node))
        return tuple(self.text(node).split())

    def at(self, parts: Pairs, name: str, node: yaml.Node) -> tuple[tuple[str, ...], Place]:
        """Return the devices of a source or sink, and where they are listed."""
        if "at" not in parts:
            self.fail(node, f"{name} needs at: the devices where it is")
        return self.names(parts["at"][1]), self._yaml.place(parts["at"][1])

    def flag(self, parts: Pairs, name: str) -> bool:
        value = self._yaml.scalar(parts[name][1]) if name in parts else False
        if type(value) is not bool:
            self.fail(parts[name][1], f"{name} must be true or false")
        return value

    def share(self, node: yaml.Node) -> float:
        """Return a part, written as 0.2 or 20%."""
        value = self._yaml.scalar(node)
        found = measured(value) if isinstance(value, str) else None
        if found is not None and found[1] == "%":
            return found[0] / 100
        if type(value) not in (int, float) or not 0 <= value <= 1000:
            self.fail(node, f"keeps must be a number such as 0.2 or 20%, not {value!r}")
        return float(value)

    def quantity(self, parts: Pairs, name: str, units: Mapping[str, int], node: yaml.Node | None) -> float:
        if name not in parts:
            self.fail(node, f"{name} is missing")
        value = self._yaml.scalar(parts[name][1])
        bare = type(value) is int and 0 <= value <= LARGEST
        number, unit = (float(value), "") if bare else measured(value) or (0.0, "?")
        if (unit and unit not in units) or number * units.get(unit, 1) > LARGEST:
            self.fail(parts[name][1], f"{value!r} is not a valid {name}", f"write it like 1{next(iter(units))}")
        return number * units.get(unit, 1)

    def quality(self, node: yaml.Node, what: str, rate: int, delay: int) -> tuple[int, int]:
        """Return the free rate and the delay of a link."""
        parts = self.parts(node, what, ("ends", "rate", "delay", "in_use"))
        if "rate" in parts:
            rate = round(self.quantity(parts, "rate", RATES, node))
        if "delay" in parts:
            delay = round(self.quantity(parts, "delay", TIMES, node))
        used = round(self.quantity(parts, "in_use", RATES, node)) if "in_use" in parts else 0
        if used > rate:
            self.fail(parts["in_use"][1], "more of the link is in use than it has")
        return rate - used, delay

    def sheet(self, node: yaml.Node) -> Capabilities:
        """Return a sheet by name or file, with what is in use taken from it. Devices with equal texts share one."""
        if isinstance(node, yaml.MappingNode):
            parts = self.parts(node, "a device", ("sheet", "in_use"))
            if "sheet" not in parts:
                self.fail(node, "a device needs a sheet", "for example {sheet: tofino}")
            whole = self.sheet(parts["sheet"][1])
            return self._left(whole, parts["in_use"][1]) if "in_use" in parts else whole
        name = self.text(node)
        if name not in self._sheets:
            try:
                self._sheets[name] = load_sheet(name if name in SHEETS else self._folder / name)
            except MidflightError as error:
                raise (error if error.place else self.placed(node, error)) from None
        return self._sheets[name]

    def _left(self, sheet: Capabilities, node: yaml.Node) -> Capabilities:
        changes: dict[str, Any] = {}
        known = {each.name for each in fields(Capabilities)}
        for name, (key, value) in self._yaml.mapping(node, "in_use").items():
            has = getattr(sheet, name) if name in known else None
            if not isinstance(has, int | float) or isinstance(has, bool):
                self.fail(key, f"{sheet.kind} has no limit of {name}")
            used = self._yaml.scalar(value)
            if type(used) is not int or not 0 <= used <= has:
                self.fail(value, f"{name} must be an integer from 0 to {has:,}")
            changes[name] = has - used
        return replace(sheet, **changes)
