"""Updates as JSON by a YANG model (RFC 7951). Reading validates against the model, and needs the extra `yang`.

The model is `midflight-cats-metrics.yang` beside this file. It is our own text: it keeps the structure of
draft-ietf-cats-data-model (services by CS-ID, instances by CSCI-ID, metrics of each instance) and the fields of
draft-ietf-cats-metric-definition, section 4.1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from importlib.resources import as_file, files
from typing import Any

from midflight.errors import MidflightError, UnsupportedError, WireError
from midflight.runtime.steering.metrics.binary import TYPES
from midflight.runtime.steering.metrics.levels import Metric, RawMetric, Source, Statistics
from midflight.runtime.steering.metrics.update import Update

__all__ = ["MODULE", "dumps", "loads"]

MODULE = "midflight-cats-metrics"
"""The name of the YANG module; its file has the suffix `.yang`."""

_TOP = f"{MODULE}:cats"
_REVISION, _NAMESPACE = "2026-11-30", "urn:midflight:yang:cats-metrics"
# What the model knows, by list; everything else is removed from a text before it is validated.
_KNOWN = {
    "cats": ("service",),
    "service": ("cs-id", "instance"),
    "instance": ("csci-id", "sequence", "measured-at", "valid-for", "score", "raw"),
    "score": ("metric-type", "level", "value"),
    "raw": ("metric-type", "statistics", "format", "unit", "source", "value"),
}


def dumps(updates: Iterable[Update], indent: int | None = 1) -> str:
    """Return updates as JSON, sorted by CS-ID and CSCI-ID. Of several updates of an instance, the last one counts.

    `indent` is the number of spaces by which each level is indented; None puts everything on one line. Values of raw
    metrics are rounded to six decimal places. WireError if one is 9.2e12 or more, or -9.2e12 or less.
    """
    services: dict[str, dict[str, Any]] = {}
    for each in updates:
        services.setdefault(each.cs_id, {})[each.csci_id] = _instance(each)
    listed = [
        {"cs-id": cs_id, "instance": [instances[csci_id] for csci_id in sorted(instances)]}
        for cs_id, instances in sorted(services.items())
    ]
    return json.dumps({_TOP: {"service": listed}}, indent=indent)


def loads(text: str) -> tuple[Update, ...]:
    """Return the updates in a JSON text, in its order.

    Members that the model does not know and scores of unknown types are ignored. WireError if the text is not JSON or
    does not conform to the model; UnsupportedError if the extra `yang` is not installed.
    """
    try:
        read = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"metrics are not JSON: {error}") from None
    top = read.get(_TOP) if isinstance(read, dict) else None
    if not isinstance(top, dict):
        raise WireError(f"metrics have no object {_TOP}")
    known = _without_unknown("cats", top)
    _validate({_TOP: known})
    try:
        return tuple(
            _update(service["cs-id"], each)
            for service in known.get("service", [])
            for each in service.get("instance", [])
        )
    except MidflightError as error:
        raise WireError(error.message) from error


def _instance(update: Update) -> dict[str, Any]:
    return {
        "csci-id": update.csci_id,
        "sequence": update.sequence,
        # RFC 7951, section 6.1: numbers of 64 bits are strings.
        "measured-at": str(update.at),
        "valid-for": str(update.valid_for),
        "score": [{"metric-type": each.kind, "level": each.level, "value": each.value} for each in update.scores],
        "raw": [
            {
                "metric-type": each.kind,
                "statistics": each.statistics.value,
                "format": "int" if isinstance(each.value, int) else "float",
                "unit": each.unit,
                "source": each.source.value,
                "value": _decimal64(each),
            }
            for each in update.raw
        ],
    }


def _update(cs_id: str, instance: dict[str, Any]) -> Update:
    return Update(
        cs_id,
        instance["csci-id"],
        instance["sequence"],
        int(instance["measured-at"]),
        int(instance["valid-for"]),
        tuple(Metric(each["metric-type"], each["level"], each["value"]) for each in instance.get("score", [])),
        tuple(
            RawMetric(
                each["metric-type"],
                _number(each),
                each.get("unit", "none"),
                Source(each["source"]),
                Statistics(each["statistics"]),
            )
            for each in instance.get("raw", [])
        ),
    )


def _decimal64(metric: RawMetric) -> str:
    """Return a value with six decimal places. WireError if it is larger than a decimal64 can be."""
    if abs(metric.value) >= 9.2e12:
        raise WireError(f"{metric.kind} is {metric.value}; the model allows values below 9.2e12")
    return format(Decimal(metric.value).quantize(Decimal("0.000001")), "f")


def _number(metric: dict[str, Any]) -> float:
    value = Decimal(metric["value"])
    if metric["format"] != "int":
        return float(value)
    if value != int(value):
        raise WireError(f"{metric['metric-type']} is {value}, but its format says that it is an integer")
    return int(value)


def _without_unknown(name: str, node: Any) -> Any:
    """Return a node of the list or container `name` without what the model does not know.

    The depth of the recursion is that of the model.
    """
    if isinstance(node, list):
        entries = [_without_unknown(name, each) for each in node if not isinstance(each, list)]
        if len(entries) < len(node):
            raise WireError(f"{name} contains a list, where the model has an object")
        if name == "score":
            return [each for each in entries if not isinstance(each, dict) or each.get("metric-type") in [*TYPES]]
        return entries
    if not isinstance(node, dict):
        return node
    return {
        member: _without_unknown(member, value) if member in _KNOWN else value
        for member, value in node.items()
        if member in _KNOWN[name]
    }


def _validate(tree: dict[str, Any]) -> None:
    try:
        import yangson.exceptions
        from yangson.enumerations import ContentType
    except ImportError:
        raise UnsupportedError("reading metrics in JSON needs yangson", hint="pip install 'midflight[yang]'") from None
    library = {
        "ietf-yang-library:modules-state": {
            "module-set-id": _REVISION,
            "module": [
                {"name": MODULE, "revision": _REVISION, "namespace": _NAMESPACE, "conformance-type": "implement"}
            ],
        }
    }
    with as_file(files(__package__)) as folder:
        model = yangson.DataModel(json.dumps(library), [str(folder)])
    try:
        model.from_raw(tree).validate(ctype=ContentType.all)
    except yangson.exceptions.YangsonException as error:
        raise WireError(f"metrics do not conform to {MODULE}: {error}") from None
