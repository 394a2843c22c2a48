"""The parts of a topology file about switches: queues and clocks."""

from __future__ import annotations

from dataclasses import fields
from typing import TypeVar

import yaml

from midflight.errors import MidflightError
from midflight.runtime.engine.queues import QueueOptions
from midflight.testbed.topology.clocks import SwitchClock
from midflight.testbed.topology.topology import Topology
from midflight.units import TIMES, measured
from midflight.yamlfile import Pairs, YamlFile

__all__ = ["with_clocks", "with_queues"]

T = TypeVar("T")

_OPTIONS = tuple(each.name for each in fields(QueueOptions))
_DRIFTS = {"ppm": 1_000, "ppb": 1}
_QUEUES = "such as {depth: 32, rate: 100pps}"
_CLOCKS = "such as {s1: {drift: 40ppm}}"


def with_queues(file: YamlFile, topology: Topology, parts: Pairs) -> Topology:
    """Return the topology with the queues of a file: of all switches, or by switch.

    MidflightError, with the place in the file, if they are malformed.
    """
    if "queues" not in parts:
        return topology
    _, node = parts["queues"]
    given = file.mapping(node, "queues", _QUEUES)
    try:
        if given and all(isinstance(each, yaml.MappingNode) for _, each in given.values()):
            return topology.with_queues({name: _options(file, each) for name, (_, each) in given.items()})
        return topology.with_queues(_options(file, node))
    except MidflightError as error:
        raise file.placed(node, error) from None


def with_clocks(file: YamlFile, topology: Topology, parts: Pairs) -> Topology:
    """Return the topology with the clocks of a file. MidflightError, with the place in the file, if they are
    malformed.
    """
    if "clocks" not in parts:
        return topology
    _, node = parts["clocks"]
    try:
        clocks = {name: _clock(file, each) for name, (_, each) in file.mapping(node, "clocks", _CLOCKS).items()}
        return topology.with_clocks(clocks)
    except MidflightError as error:
        raise file.placed(node, error) from None


def _options(file: YamlFile, node: yaml.Node) -> QueueOptions:
    values = {}
    for name, (key, each) in file.mapping(node, "queues", _QUEUES).items():
        if name not in _OPTIONS:
            file.fail(key, f"queues have no {name!r}", f"they have {', '.join(_OPTIONS)}")
        value = file.scalar(each)
        if name in ("queues", "depth"):
            if type(value) is not int:
                file.fail(each, f"{name} is a whole number, not {value!r}")
        else:
            value = str(value)
        values[name] = value
    return QueueOptions(**values)


def _clock(file: YamlFile, node: yaml.Node) -> SwitchClock:
    values = {}
    for name, (key, each) in file.mapping(node, "a clock", _CLOCKS).items():
        units = {"offset": TIMES, "drift": _DRIFTS}.get(name)
        if units is None:
            file.fail(key, f"a clock has no {name!r}", "it has offset and drift")
        text = str(file.scalar(each))
        found = measured(text.removeprefix("-"))
        if found is None or found[1] not in units or (text.startswith("-") and name == "offset"):
            file.fail(each, f"{text!r} is not a valid {name} of a clock", f"write it like 1{', 1'.join(units)}")
        values[name] = round(found[0] * units[found[1]]) * (-1 if text.startswith("-") else 1)
    return SwitchClock(**values)
