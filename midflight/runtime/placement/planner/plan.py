"""Plans: a placement with its paths, its value, and the reasons for each choice in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from midflight.errors import MidflightError, UnsupportedError
from midflight.runtime.placement.planner.costs import Costs
from midflight.runtime.placement.planner.heuristic import rerouted, search
from midflight.runtime.placement.planner.model import OBJECTIVES, Application, Network
from midflight.runtime.placement.planner.reach import unconnected
from midflight.runtime.placement.planner.solution import Loads, Solution, loads, value, violations

__all__ = ["Choice", "Plan", "moved", "plan", "without"]

_EXACT = 60_000  # variables, up to which the exact search is tried
_ALTERNATIVES = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a step runs, also in parts on `helpers`, and why.

    `reasons` has a text for the choice and one for each group of devices that were not chosen.
    """

    step: str
    device: str
    helpers: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan that keeps all limits.

    `value` is that of the objective, and `exact` is whether it is proven that no plan is better. `solution` has the
    device of each step and the path of each flow, `loads` the traffic on links and devices, and `choices` the reasons.
    """

    objective: str
    value: float
    exact: bool
    solution: Solution
    loads: Loads
    choices: tuple[Choice, ...]

    def on(self, device: str) -> tuple[str, ...]:
        """Return the steps that a device runs, in the application's order; empty for none."""
        found = self.solution.on(device)
        return tuple(each.step for each in self.choices if each.step in found)

    @property
    def amount(self) -> str:
        """The value as text, with its unit."""
        return _amount(self.value, self.objective)

    @property
    def busiest(self) -> tuple[str, str, float]:
        """The direction of a link with the most traffic, as its two devices and bits a second; empty names without
        traffic.
        """
        links = self.loads.links
        if not links:
            return "", "", 0.0
        one, other = max(links, key=lambda arc: (links[arc], arc))
        return one, other, links[one, other]

    def explain(self) -> str:
        """Return the choices as readable text, with the reasons below each."""
        lines = []
        for each in self.choices:
            with_ = f", with parts on {', '.join(each.helpers)}" if each.helpers else ""
            lines.append(f"{each.step}: {each.device}{with_}")
            lines += [f"    {reason}" for reason in each.reasons]
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        """Return the plan as data for JSON."""
        return {
            "objective": self.objective,
            "value": self.value,
            "exact": self.exact,
            "steps": {
                each.step: {"device": each.device, "helpers": list(each.helpers), "reasons": list(each.reasons)}
                for each in self.choices
            },
            "paths": {name: list(path) for name, path in self.solution.paths.items()},
            "trees": {step: dict(tree) for step, tree in self.solution.trees.items()},
            "links": [
                {"from": one, "to": other, "bits_per_second": load} for (one, other), load in self.loads.links.items()
            ],
            "devices": {name: {"packets_per_second": each} for name, each in self.loads.devices.items()},
            "latency_ns": self.loads.latency,
        }


def plan(
    network: Network,
    application: Application,
    costs: Costs | None = None,
    objective: str = "bytes",
    *,
    method: str = "auto",
    patience: float = 60.0,
) -> Plan:
    """Return the best plan for an application, or the best that the search has found (`Plan.exact` says which).

    `costs` decide what fits a device; None lets everything fit. `objective` is one of `OBJECTIVES`. `method` is
    "exact", "heuristic", or "auto": exact if the problem is small enough and scipy is installed. `patience` limits the
    exact search, in seconds; if it does not end by then, the heuristic is tried as well. MidflightError if no plan that
    keeps all limits is found, for an unknown objective or method, or if a source or sink names a device that the
    network does not have. UnsupportedError if `method` is "exact" and scipy is not installed.
    """
    costs = costs or Costs.free()
    if objective not in OBJECTIVES:
        raise MidflightError(f"there is no objective {objective!r}", hint=f"use {', '.join(OBJECTIVES)}")
    if method not in ("auto", "exact", "heuristic"):
        raise MidflightError(f"there is no method {method!r}", hint="use auto, exact or heuristic")
    solver = find_spec("scipy") is not None
    if method == "exact" and not solver:
        raise UnsupportedError("the exact method needs scipy", hint="pip install 'midflight[fit]'")
    for each in application.ends:
        for at in each.at:
            if at not in network.devices:
                raise MidflightError(f"{each.name} is at {at}, which is not a device of the network", place=each.place)
    found: Solution | None = None
    exact = False
    size = len(application.flows()) * 2 * len(network.links) + len(application.steps) * len(network.devices)
    if method == "exact" or (method == "auto" and size <= _EXACT and solver):
        from midflight.runtime.placement.planner.exact import solve

        found, exact = solve(network, application, costs, objective, patience)
        if found is None and exact:
            raise _impossible(network, application, costs)
    if found is None or not exact:
        quick = search(network, application, costs, objective)
        if quick is not None and (
            found is None
            or value(network, application, quick, objective) < value(network, application, found, objective)
        ):
            found = quick
    if found is None:
        raise _impossible(network, application, costs)
    return _made(network, application, costs, objective, found, exact)


def _made(
    network: Network, application: Application, costs: Costs, objective: str, found: Solution, exact: bool
) -> Plan:
    worth = value(network, application, found, objective)
    choices = tuple(
        Choice(
            step.name,
            found.at[step.name],
            tuple(name for name in network.devices if name in found.helpers.get(step.name, ())),
            _reasons(network, application, costs, objective, found, worth, step.name),
        )
        for step in application.steps
    )
    return Plan(objective, worth, exact, found, loads(network, application, found), choices)


def _impossible(network: Network, application: Application, costs: Costs) -> MidflightError:
    """Return the error that names the step that fits nowhere, the ends without a path, or else the limits."""
    able: dict[str, list[str]] = {}
    for step in application.steps:
        refused = _refused(network, application, costs, step.name)
        cannot = {name for names in refused.values() for name in names}
        able[step.name] = [name for name in network.devices if name not in cannot]
        if not able[step.name]:
            words = "; ".join(f"{_several(names)}: {reason}" for reason, names in refused.items())
            return MidflightError(f"step {step.name} fits on no device: {words}")
    if gap := unconnected(network, application, able):
        return MidflightError(gap, hint="hosts do not forward traffic; check the links")
    return MidflightError(
        "no plan keeps all limits: each step fits somewhere, but links or devices cannot carry all of them",
        hint="reduce the rates, or add a host that computes",
    )


def _refused(network: Network, application: Application, costs: Costs, step: str) -> dict[str, list[str]]:
    """Return the devices on which a step cannot be, by reason."""
    found: dict[str, list[str]] = {}
    packets = application.incoming(application.by_name[step]) / application.packet
    if application.by_name[step].split:
        packets = 0.0
    for name, device in network.devices.items():
        reasons = costs.reasons(device.sheet, [step])
        rate = device.sheet.packets_per_second
        if reasons:
            found.setdefault("; ".join(reasons), []).append(name)
        elif rate is not None and packets > rate:
            words = f"gets {packets:,.0f} packets a second, and processes {rate:,.0f}"
            found.setdefault(words, []).append(name)
    return found


def _reasons(
    network: Network, application: Application, costs: Costs, objective: str, found: Solution, worth: float, step: str
) -> tuple[str, ...]:
    """Return why a step is where it is: what others cannot do, and what it would cost there."""
    place = found.at[step]
    kind = network.devices[place].sheet.kind
    texts = [f"on a {kind}: {_amount(worth, objective)} in all"]
    refused = _refused(network, application, costs, step)
    texts += [f"not {_several(names)}: {reason}" for reason, names in refused.items()]
    cannot = {name for names in refused.values() for name in names}
    others = [name for name in network.devices if name not in cannot and name != place]
    if len(others) > 200:
        texts.append(f"{len(others):,} other devices could run it")
        return tuple(texts)
    dearer: list[tuple[float, str]] = []
    for name in others:
        moved = rerouted(network, application, costs, {**found.at, step: name}, objective)
        if moved is None:
            texts.append(f"not {name}: no path leads there, or none leads on from there")
            continue
        if broken := violations(network, application, moved, costs):
            texts.append(f"not {name}: {broken[0]}")
            continue
        dearer.append((value(network, application, moved, objective), name))
    for cost, name in sorted(dearer)[:_ALTERNATIVES]:
        if cost > worth * (1 + 1e-9):
            more = f"{(cost / worth - 1):.0%} more" if worth else "more"
            texts.append(f"not {name}: {_amount(cost, objective)}, {more}")
        else:
            texts.append(f"{name} would be as good")
    if len(dearer) > _ALTERNATIVES:
        texts.append(f"not the other {len(dearer) - _ALTERNATIVES} that could run it: they cost as much or more")
    return tuple(texts)


def _amount(worth: float, objective: str) -> str:
    if objective == "bytes":
        return f"{worth / 1e6:,.1f} Mbit/s on links"
    if objective == "latency":
        return f"{worth / 1e3:,.1f} us at most"
    if objective == "energy":
        return f"{worth:,.3g} W"
    return f"{worth:.1%} of the busiest"


def _several(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def without(network: Network, failed: str) -> Network:
    """Return a network without the device `failed` and its links. MidflightError if there is no such device."""
    if failed not in network.devices:
        raise MidflightError(f"there is no device {failed}")
    devices = {name: each for name, each in network.devices.items() if name != failed}
    return replace(
        network, devices=devices, links=tuple(each for each in network.links if failed not in (each.one, each.other))
    )


def moved(before: Plan, after: Plan) -> Mapping[str, tuple[str, str]]:
    """Return the steps that are on another device in a later plan of the same application, with both devices.

    Of a split step, only the device that completes it is compared. KeyError if the later plan lacks a step.
    """
    there = after.solution.at
    return {step: (at, there[step]) for step, at in before.solution.at.items() if there[step] != at}
