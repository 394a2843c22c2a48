"""Scenarios from YAML files. Those that ship with the package are in `scenarios/`, to copy and to change."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from midflight.errors import MidflightError
from midflight.testbed.steer.scenario import (
    LEAST_LOAD,
    MOST_LOAD,
    SECONDS,
    WARMUP,
    Failure,
    Ingress,
    Instance,
    Metrics,
    Scenario,
    ServiceClass,
    Sessions,
    Site,
    Surge,
)
from midflight.units import LARGEST, RATES, SIZES, TIMES, measured
from midflight.userfiles import read_text
from midflight.yamlfile import Pairs, YamlFile

__all__ = ["SCENARIOS", "load_scenario", "parse_scenario", "shipped"]

SCENARIOS = ("factory", "cloudvr", "v2x", "green", "contention")
"""The scenarios that ship with the package."""

MOST = 20_000  # the instances and ingresses of one line

Kind = Callable[[YamlFile, yaml.Node], Any]


def shipped(name: str) -> str:
    """Return the YAML text of a scenario of `SCENARIOS`. KeyError if there is no such scenario."""
    if name not in SCENARIOS:
        raise KeyError(name)
    return (Path(__file__).parent / "scenarios" / f"{name}.yaml").read_text(encoding="utf-8")


def load_scenario(path: str | Path) -> Scenario:
    """Return the scenario in a YAML file.

    MidflightError if the file cannot be read or, with the place in the file, if it is malformed.
    """
    return parse_scenario(read_text(path), str(path))


def parse_scenario(text: str, file: str = "<string>") -> Scenario:
    """Return the scenario in a YAML text; `file` is its name in errors.

    MidflightError, with the place in the text, if it is malformed.
    """
    source = YamlFile(text, file)
    parts = _known(source, source.root, "a scenario", (*_SCENARIO, *_LISTS))
    for name in ("name", "classes", "ingresses", "sites", "instances"):
        if name not in parts:
            source.fail(source.root, f"a scenario needs {name}", "for an example: midflight steer factory --print-yaml")
    values = _values(source, parts, _SCENARIO)
    classes = source.mapping(parts["classes"][1], "classes")
    values["classes"] = tuple(_service(source, name, node) for name, (_, node) in classes.items())
    values["ingresses"] = tuple(_placed(source, parts["ingresses"][1], Ingress, _INGRESS))
    lines = source.mapping(parts["sites"][1], "sites")
    values["sites"] = tuple(_placed(source, parts["sites"][1], Site, _SITE))
    families = {name: _names(name, _count(source, node)) for name, (_, node) in lines.items()}
    values["instances"] = tuple(_instances(source, parts["instances"][1], families, tuple(classes)))
    ingresses = {each.name for each in values["ingresses"]}
    sites = {each.name for each in values["sites"]}
    known = sites | {each.name for each in values["instances"]}
    for name, kind, fields, names in (
        ("surges", Surge, _SURGE, (classes, ingresses)),
        ("failures", Failure, _FAILURE, (known, ingresses, sites)),
    ):
        if name in parts:
            items = source.sequence(parts[name][1], f"a list of {name}")
            values[name] = tuple(_checked(source, each, kind, name[:-1], fields, names) for each in items)
    if "metrics" in parts:
        values["metrics"] = Metrics(**_fields(source, parts["metrics"][1], "metrics", _METRICS))
    _check_warmup(source, parts, values)
    try:
        return Scenario(**values)
    except MidflightError as error:
        raise source.placed(source.root, error) from None


def _checked(
    source: YamlFile,
    node: yaml.Node,
    kind: Callable[..., Any],
    what: str,
    fields: Mapping[str, Kind],
    names: tuple[Collection[str], ...],
) -> Any:
    made = kind(**_required(source, node, what, fields))
    try:
        made.check(*names)
    except MidflightError as error:
        raise source.placed(node, error) from None
    return made


def _check_warmup(source: YamlFile, parts: Pairs, values: Mapping[str, float]) -> None:
    seconds, warmup = values.get("seconds", SECONDS), values.get("warmup", WARMUP)
    if warmup >= seconds:
        node = parts["warmup" if "warmup" in parts else "duration"][1]
        source.fail(node, f"a warmup of {warmup:g} s is not shorter than the duration of {seconds:g} s")


def _service(source: YamlFile, name: str, node: yaml.Node) -> ServiceClass:
    parts = _known(source, node, f"class {name}", (*_CLASS, "sessions"))
    values = _values(source, parts, _CLASS)
    if "slo" not in values:
        source.fail(node, f"class {name} needs a service level objective", "for example: slo: 20ms")
    if "sessions" in parts:
        values["sessions"] = Sessions(**_required(source, parts["sessions"][1], "sessions", _SESSIONS))
    return ServiceClass(name=name, **values)


def _placed(source: YamlFile, node: yaml.Node, kind: Callable[..., Any], fields: Mapping[str, Kind]) -> list[Any]:
    """Return the nodes of each line: `count` of them from the place `at` on, `step` apart, numbered from 1."""
    made = []
    for name, (_, each) in source.mapping(node, "a mapping of names").items():
        parts = _known(source, each, name, (*fields, "count", "at", "step", "weight"))
        values = _values(source, parts, fields)
        names = _names(name, _count(source, each))
        x, y = _pair(source, parts["at"][1]) if "at" in parts else (0.0, 0.0)
        right, up = _pair(source, parts["step"][1]) if "step" in parts else (0.0, 0.0)
        weights = _weights(source, parts, len(names)) if kind is Ingress else None
        for number, one in enumerate(names):
            extra = {"weight": weights[number]} if weights else {}
            made.append(kind(name=one, x=x + number * right, y=y + number * up, **values, **extra))
    return made


def _weights(source: YamlFile, parts: Pairs, count: int) -> list[float]:
    if "weight" not in parts:
        return [1.0] * count
    node = parts["weight"][1]
    if not isinstance(node, yaml.SequenceNode):
        return [_number(source, node)] * count
    weights = [_number(source, each) for each in node.value]
    if len(weights) != count:
        source.fail(node, f"{len(weights)} weights are given for {count} ingresses")
    return weights


def _instances(
    source: YamlFile, node: yaml.Node, families: Mapping[str, list[str]], classes: tuple[str, ...]
) -> list[Instance]:
    """Return the instances: `count` at each of the sites of a line."""
    made: list[Instance] = []
    for line, each in enumerate(source.sequence(node, "a list of instances"), 1):
        parts = _known(source, each, "an instance", (*_INSTANCE, "count", "site", "name"))
        values = _values(source, parts, _INSTANCE)
        if "site" not in parts or "serves" not in values:
            source.fail(
                each, "an instance needs a site and the classes that it serves", "for example: serves: {plc: 150us}"
            )
        for served, (key, _) in source.mapping(parts["serves"][1], "the classes served").items():
            if served not in classes:
                source.fail(key, f"there is no class {served}", f"there are {', '.join(classes)}")
        site = source.text(parts["site"][1])
        sites = families.get(site) or [one for names in families.values() for one in names if one == site]
        if not sites:
            source.fail(parts["site"][1], f"there is no site {site}", f"there are {', '.join(families)}")
        name = source.text(parts["name"][1]) if "name" in parts else f"i{line}"
        for one in sites:
            made += [Instance(f"{name}.{one}.{number}", one, **values) for number in range(1, _count(source, each) + 1)]
    return made


def _names(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}{number}" for number in range(1, count + 1)]


def _count(source: YamlFile, node: yaml.Node) -> int:
    parts = source.mapping(node, "a mapping")
    if "count" not in parts:
        return 1
    count = _whole(source, parts["count"][1])
    if count > MOST:
        source.fail(parts["count"][1], f"a count is at most {MOST}, not {count}")
    return count


def _known(source: YamlFile, node: yaml.Node | None, what: str, names: tuple[str, ...]) -> Pairs:
    parts = source.mapping(node, what)
    for name, (key, _) in parts.items():
        if name not in names:
            source.fail(key, f"{what} has no {name!r}", f"it has {', '.join(names)}")
    return parts


def _fields(source: YamlFile, node: yaml.Node, what: str, fields: Mapping[str, Kind]) -> dict[str, Any]:
    return _values(source, _known(source, node, what, tuple(fields)), fields)


def _required(source: YamlFile, node: yaml.Node, what: str, fields: Mapping[str, Kind]) -> dict[str, Any]:
    values = _fields(source, node, what, fields)
    optional = ("ingress", "dwell", "state")
    if missing := [each for each in fields if each not in values and each not in optional]:
        source.fail(node, f"{what} needs {missing[0]}")
    return values


def _values(source: YamlFile, parts: Pairs, fields: Mapping[str, Kind]) -> dict[str, Any]:
    renamed = {"duration": "seconds"}
    return {renamed.get(name, name): kind(source, parts[name][1]) for name, kind in fields.items() if name in parts}


def _quantity(units: Mapping[str, int], what: str, example: str, scale: float) -> Kind:
    def read(source: YamlFile, node: yaml.Node) -> float:
        found = measured(source.text(node))
        if found is None or found[1] not in units:
            source.fail(node, f"{source.text(node)!r} is not {what}", f"write it like {example}")
        return found[0] * units[found[1]] * scale

    return read


def _number(source: YamlFile, node: yaml.Node) -> float:
    value = source.scalar(node)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= LARGEST:
        source.fail(node, f"{value!r} is not a number from 0 to {LARGEST:g}")
    return float(value)


def _positive(kind: Kind) -> Kind:
    def read(source: YamlFile, node: yaml.Node) -> float:
        value: float = kind(source, node)
        if value <= 0.0:
            source.fail(node, f"{source.text(node)!r} is not positive")
        return value

    return read


def _load(source: YamlFile, node: yaml.Node) -> float:
    value = _number(source, node)
    if not LEAST_LOAD <= value <= MOST_LOAD:
        source.fail(node, f"a load from {LEAST_LOAD:g} to {MOST_LOAD:g} is expected here, not {value:g}")
    return value


def _part(source: YamlFile, node: yaml.Node) -> float:
    value = _number(source, node)
    if value > 1.0:
        source.fail(node, f"{value} is not a number from 0 to 1")
    return value


def _whole(source: YamlFile, node: yaml.Node) -> int:
    value: object = source.scalar(node)
    if type(value) is not int or value < 1:
        source.fail(node, f"{value!r} is not a positive whole number")
    return value


def _flag(source: YamlFile, node: yaml.Node) -> bool:
    value = source.scalar(node)
    if not isinstance(value, bool):
        source.fail(node, f"{value!r} is not true or false")
    return value


def _pair(source: YamlFile, node: yaml.Node) -> tuple[float, float]:
    items = [source.scalar(each) for each in source.sequence(node, "a place in kilometres")]
    if len(items) != 2 or not all(type(each) in (int, float) and abs(each) <= LARGEST for each in items):
        source.fail(node, "a place has two numbers", "at: [0, 0.5], in kilometres")
    return float(items[0]), float(items[1])


def _serves(source: YamlFile, node: yaml.Node) -> dict[str, float]:
    served = source.mapping(node, "the classes served")
    return {name: _positive(_time)(source, each) for name, (_, each) in served.items()}


def _text(source: YamlFile, node: yaml.Node) -> str:
    return source.text(node)


def _size(source: YamlFile, node: yaml.Node) -> int:
    return int(_bytes(source, node))


_time = _quantity(TIMES, "a time", "150us", 1e-3)
_seconds = _quantity(TIMES, "a time", "5s", 1e-9)
_rate = _quantity(RATES, "a rate", "10Gbit", 1.0)
_bytes = _quantity(SIZES, "a size", "200B", 1.0)

_LISTS = ("classes", "ingresses", "sites", "instances", "surges", "failures", "metrics")
_SCENARIO: Mapping[str, Kind] = {
    "name": _text, "load": _load, "duration": _seconds, "warmup": _seconds, "kilometre": _time,
    "joules_per_megabyte": _number, "network_carbon": _number, "carbon_price": _number,
}  # fmt: skip
_CLASS: Mapping[str, Kind] = {
    "slo": _time, "request": _size, "reply": _size, "cv2": _number, "share": _part,
}  # fmt: skip
_SESSIONS: Mapping[str, Kind] = {"requests": _whole, "interval": _positive(_time), "dwell": _time, "state": _size}
_INGRESS: Mapping[str, Kind] = {}
_SITE: Mapping[str, Kind] = {"access": _time, "rate": _positive(_rate), "hops": _whole, "carbon": _number}
_INSTANCE: Mapping[str, Kind] = {"serves": _serves, "servers": _whole, "watts": _number, "queue": _flag}
_SURGE: Mapping[str, Kind] = {
    "service": _text, "start": _time, "end": _time, "factor": _positive(_number), "ingress": _text,
}  # fmt: skip
_FAILURE: Mapping[str, Kind] = {"name": _text, "start": _time, "end": _time}
_METRICS: Mapping[str, Kind] = {
    "interval": _positive(_time), "delay": _time, "round": _positive(_time), "stale": _part,
    "stale_by": _positive(_time), "detect": _positive(_time),
}  # fmt: skip
