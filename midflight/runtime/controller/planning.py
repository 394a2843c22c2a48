"""Plans of a deployment: which of its switches runs which step of an application, on the routes that there are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from midflight.errors import MidflightError
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.controller.network import Network
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.sheetfile import load_sheet
from midflight.runtime.placement.plan import reasons_against_applications
from midflight.runtime.placement.planner import Costs, Device, Link, Plan, plan
from midflight.runtime.placement.planner import Network as Devices
from midflight.runtime.placement.planner.files import ApplicationFile, parse_application
from midflight.runtime.steering import Graph
from midflight.userfiles import read_text

__all__ = ["PlanSource", "Planner"]

_LEFT = "the controller starts nothing on hosts"


@dataclass(frozen=True, slots=True)
class PlanSource:
    """The file of an application for the planner: its absolute path, and its text when it was read.

    `rates` are those of sources, in bits a second, that replace the rates in the text.
    """

    file: Path
    text: str
    rates: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> PlanSource:
        """Read the file at a relative or absolute path. MidflightError if it cannot be read or is not UTF-8."""
        return cls(file.absolute(), read_text(file))

    @property
    def parsed(self) -> ApplicationFile:
        """The application of the text, with its rates replaced.

        MidflightError, with file and line, if the text is wrong, and if there is no source of a name in `rates`, or if
        a rate is not above 0 and finite.
        """
        found = parse_application(self.text, str(self.file))
        names = [each.name for each in found.application.sources]
        if unknown := [each for each in self.rates if each not in names]:
            raise MidflightError(f"the application has no source {unknown[0]}", hint=f"it has {', '.join(names)}")
        sources = tuple(replace(it, rate=self.rates.get(it.name, it.rate)) for it in found.application.sources)
        return replace(found, application=replace(found.application, sources=sources))

    def document(self) -> dict[str, Any]:
        """Return the source as a JSON object, for `of`."""
        return {"file": str(self.file), "text": self.text, "rates": dict(self.rates)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> PlanSource:
        """Return the source that a JSON object describes: one that `document` returned. KeyError if it is damaged."""
        return cls(Path(document["file"]), document["text"], document.get("rates", {}))


class Planner:
    """Plans an application of `source` over the switches of `network`.

    Traffic takes the controller's routes, so a step is planned on a switch of the routes between the ends of the
    application, which are hosts of the network. A step that no such switch can run is left to the hosts. MidflightError
    if the application is wrong, or if a switch has neither a kind nor a sheet.
    """

    def __init__(self, source: PlanSource, network: Network) -> None:
        self.source = source
        self.application = source.parsed.application
        """The application, with the rates of the source."""
        self._sheets: dict[str, Capabilities] = {}
        for name, each in network.switches.items():
            if each.sheet is None:
                raise MidflightError(
                    f"switch {name} needs a capability sheet for a plan", hint="give it a kind or a sheet"
                )
            self._sheets[name] = each.sheet
        self._hosts = tuple(each.name for each in network.graph.hosts)
        self._host = load_sheet("cpu")
        self._idle = replace(self._host, kind="idle")  # another object, by which `_costs` recognises it

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the steps, which are those of applications of the program."""
        return tuple(each.name for each in self.application.steps)

    def expect(self, rates: Mapping[str, float]) -> None:
        """Expect these rates of sources, in bits a second, and those of the text for the others.

        MidflightError if there is no source of a name, or if a rate is not above 0 and finite.
        """
        source = replace(self.source, rates=dict(rates))
        self.application = source.parsed.application
        self.source = source

    def plan(
        self,
        program: CheckedProgram,
        graph: Graph,
        absent: Collection[str] = (),
        idle: Collection[str] = (),
        full: Collection[tuple[str, str]] = (),
    ) -> Plan:
        """Return the best plan for a program on the routes of a graph.

        The switches that are `absent` are on no route, and those that are `idle` only forward. Each of `full` is a step
        and a switch that has no room for it. A step is left to the hosts only if no plan has it on a switch beside the
        others. MidflightError if a step is not an application of the
        program or an end no host of the network, if there is no route between two ends of the application that avoids
        the absent switches, or if no plan keeps all limits.
        """
        known = program.footprint.applications
        for step in self.steps:
            if step not in known:
                raise MidflightError(f"the program has no application {step}", hint=f"it has {', '.join(known)}")
        barred = {name: frozenset(step for step, at in full if at == name) for _, name in full}
        sheets = {name: replace(each) if name in barred else each for name, each in self._sheets.items()}
        devices = self._devices(graph, absent, idle, sheets)
        without = {id(sheets[name]): steps for name, steps in barred.items()}

        def planned(left: Collection[str]) -> Plan:
            return plan(devices, self.application, self._costs(program, left, without))

        try:
            return planned(())
        except MidflightError:
            left = [*self.steps]
            best = planned(left)
        for step in self.steps:
            fewer = [each for each in left if each != step]
            try:
                best = planned(fewer)
            except MidflightError:
                continue
            left = fewer
        return best

    def _costs(self, program: CheckedProgram, left: Collection[str], without: Mapping[int, frozenset[str]]) -> Costs:
        """Return the costs if the hosts may run the steps `left`. `without` has the steps that the switches with sheets
        of these identities have no room for.
        """

        def reasons(sheet: Capabilities, steps: frozenset[str]) -> tuple[str, ...]:
            if sheet is self._host:
                return () if steps <= set(left) else (_LEFT,)
            if sheet is self._idle:
                return ("it is left out of the plan",)
            if found := sorted(steps & without.get(id(sheet), frozenset())):
                return (f"it has no more room for {', '.join(found)}",)
            return reasons_against_applications(program, sheet, steps)

        return Costs(reasons)

    def _devices(
        self, graph: Graph, absent: Collection[str], idle: Collection[str], sheets: Mapping[str, Capabilities]
    ) -> Devices:
        """Return the hosts, and the switches and links on the routes between the ends."""
        ends = [*dict.fromkeys(at for each in self.application.ends for at in each.at)]
        for each in ends:
            if each not in self._hosts:
                raise MidflightError(f"the network has no host {each}", hint=f"it has {', '.join(self._hosts)}")
        pairs: dict[tuple[str, str], None] = {}
        for target in ends:
            hops = graph.towards(target)
            for source in ends:
                nodes = [source]
                while nodes[-1] != target and nodes[-1] in hops:
                    nodes.append(hops[nodes[-1]].node)
                if nodes[-1] == target and not set(absent) & set(nodes):
                    pairs.update({_ordered(*pair): None for pair in pairwise(nodes)})
        delays: dict[tuple[str, str], int] = {}
        for link in graph.links:
            pair = _ordered(link.left, link.right)
            if pair in pairs:
                delays[pair] = min(link.delay, delays.get(pair, link.delay))
        links = tuple(Link(one, other, delay=delay) for (one, other), delay in delays.items())
        devices = {name: Device(name, self._host, forwards=False) for name in self._hosts}
        for name, sheet in sheets.items():
            if any(name in pair for pair in pairs):
                devices[name] = Device(name, self._idle if name in idle else sheet)
        return Devices(devices, links)


def _ordered(one: str, other: str) -> tuple[str, str]:
    return min(one, other), max(one, other)
