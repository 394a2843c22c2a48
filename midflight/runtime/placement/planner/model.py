"""The input of the planner: devices and links, and an application's steps with sources and sinks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from midflight.errors import MidflightError, Place
from midflight.runtime.devices.capabilities import Capabilities

__all__ = ["OBJECTIVES", "Application", "Device", "Flow", "Link", "Network", "Sink", "Source", "Step"]

OBJECTIVES: Mapping[str, str] = {
    "bytes": "bits a second on all links",
    "latency": "nanoseconds from a source to a sink, at most",
    "energy": "watts of the devices, by their load",
    "spare": "of the busiest link or device that is in use",
}
"""The objectives, all of which are minimised, with what they measure."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device of a network, with its sheet, from which what is in use is already subtracted.

    `forwards` is whether traffic that neither begins nor ends at the device may pass it; hosts do not forward.
    """

    name: str
    sheet: Capabilities
    forwards: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    """A link between the devices `one` and `other`, by name, with a free rate and a delay.

    `rate` is in bits a second, for each direction, and `delay` in nanoseconds. What is in use is already subtracted.
    """

    one: str
    other: str
    rate: int = 10**10
    delay: int = 1000


@dataclass(frozen=True, slots=True)
class Network:
    """Devices by name, and links.

    MidflightError if a link's end is not a device, its ends are the same, or its rate or delay is negative.
    """

    devices: Mapping[str, Device]
    links: Sequence[Link]

    def __post_init__(self) -> None:
        for each in self.links:
            for end in (each.one, each.other):
                if end not in self.devices:
                    raise MidflightError(f"link {each.one} {each.other}: there is no device {end}")
            if each.one == each.other:
                raise MidflightError(f"link {each.one} {each.other} has the same device at both ends")
            if each.rate < 0 or each.delay < 0:
                raise MidflightError(f"link {each.one} {each.other}: its rate or delay is negative")


@dataclass(frozen=True, slots=True)
class Source:
    """Where traffic comes from: each of the devices in `at` sends `rate` bits a second.

    `place` is where the user's file lists the devices. MidflightError if `at` is empty or lists a device twice, or if
    the rate is not above 0 and finite.
    """

    name: str
    at: tuple[str, ...]
    rate: float
    place: Place | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check_devices(self)
        if not 0 < self.rate < inf:
            raise MidflightError(f"{self.name} needs a rate above 0 bits a second")


@dataclass(frozen=True, slots=True)
class Sink:
    """Where the result of the step `takes` goes: to one device, or if `at` has several, a copy to each.

    `place` is where the user's file lists the devices. MidflightError if `at` is empty or lists a device twice.
    """

    name: str
    at: tuple[str, ...]
    takes: str
    place: Place | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check_devices(self)


def _check_devices(end: Source | Sink) -> None:
    if not end.at:
        raise MidflightError(f"{end.name} is at no device", place=end.place)
    for at, times in Counter(end.at).items():
        if times > 1:
            raise MidflightError(f"{end.name} lists the device {at} twice", place=end.place)


@dataclass(frozen=True, slots=True)
class Step:
    """A primitive of an application, which gets the traffic of sources and other steps by name (`takes`).

    `keeps` is the part of the incoming bits that it sends on, 0 to 1000. With `split`, the result has the rate of one
    input times `keeps`, and parts of it may be computed on several devices on the way, as sums can. With `returns`, the
    result goes back to where the inputs came from, along the same tree.
    """

    name: str
    takes: tuple[str, ...]
    keeps: float = 1.0
    split: bool = False
    returns: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """Traffic of one rate in bits a second, from `origin` or the step `maker`, to the step `taker` or to `target`."""

    name: str
    rate: float
    origin: str = ""
    maker: str = ""
    taker: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Application:
    """Steps in an order in which each takes only from sources and earlier steps. `packet` is the size of a packet in
    bits.

    MidflightError if a name occurs twice, if a step takes from nothing or from something other than a source or an
    earlier step, if a sink takes from something other than a step, if `keeps` is not 0 to 1000, if a step `returns`
    without `split`, if the inputs of a `split` step have different rates, or if `packet` is not above 0.
    """

    sources: Sequence[Source]
    steps: Sequence[Step]
    sinks: Sequence[Sink] = ()
    packet: int = 8000
    by_name: Mapping[str, Step] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.packet <= 0:
            raise MidflightError(f"a packet has at least 1 bit, not {self.packet}")
        names = [each.name for each in self.sources] + [each.name for each in self.steps]
        names += [each.name for each in self.sinks]
        for name in names:
            if names.count(name) > 1:
                raise MidflightError(f"{name} occurs twice in the application")
        known = {each.name for each in self.sources}
        for step in self.steps:
            for each in step.takes:
                if each not in known:
                    raise MidflightError(
                        f"step {step.name} takes from {each}, which is not a source or an earlier step",
                        hint="list the steps in the order in which traffic passes them",
                    )
            if not step.takes:
                raise MidflightError(f"step {step.name} takes from nothing")
            if not 0 <= step.keeps <= 1000:
                raise MidflightError(f"step {step.name} keeps {step.keeps}, which is not from 0 to 1000")
            if step.returns and not step.split:
                raise MidflightError(f"step {step.name} returns its result, but is not split")
            known.add(step.name)
        steps = {each.name for each in self.steps}
        for sink in self.sinks:
            if sink.takes not in steps:
                raise MidflightError(f"sink {sink.name} takes from {sink.takes}, which is not a step")
        rates = self.rates()
        for step in self.steps:
            if step.split and len({rates[each] for each in step.takes}) > 1:
                raise MidflightError(f"step {step.name} is split, so all that it takes needs the same rate")
        object.__setattr__(self, "by_name", {each.name: each for each in self.steps})

    @property
    def ends(self) -> tuple[Source | Sink, ...]:
        """The sources and sinks."""
        return (*self.sources, *self.sinks)

    def rate_of(self, name: str) -> float:
        """Return the rate in bits a second that a source sends from each of its devices, or that a step sends on.

        KeyError if there is no source or step of this name.
        """
        rates = self.rates()
        return rates[name]

    def rates(self) -> dict[str, float]:
        """Return the rate in bits a second of each source and step, by name.

        For a source, it is the rate that each of its devices sends; for a step, that of its result.
        """
        found = {each.name: each.rate for each in self.sources}
        copies = {each.name: len(each.at) for each in self.sources}
        for step in self.steps:
            inputs = [found[each] for each in step.takes]
            total = sum(found[each] * copies.get(each, 1) for each in step.takes)
            found[step.name] = step.keeps * (max(inputs) if step.split else total)
        return found

    def incoming(self, step: Step) -> float:
        """Return the rate of all inputs of a step, in bits a second."""
        rates, copies = self.rates(), {each.name: len(each.at) for each in self.sources}
        return sum(rates[each] * copies.get(each, 1) for each in step.takes)

    def flows(self) -> tuple[Flow, ...]:
        """Return the flows of the traffic, each with its rate.

        There is one from each device of a source to each step that takes it, one between two steps, and one from a step
        to each device of a sink.
        """
        rates = self.rates()
        sources = {each.name: each for each in self.sources}
        found = []
        for step in self.steps:
            for each in step.takes:
                if each in sources:
                    found += [
                        Flow(f"{each} at {at} to {step.name}", rates[each], origin=at, taker=step.name)
                        for at in sources[each].at
                    ]
                else:
                    found.append(Flow(f"{each} to {step.name}", rates[each], maker=each, taker=step.name))
        for sink in self.sinks:
            found += [
                Flow(f"{sink.takes} to {sink.name} at {at}", rates[sink.takes], maker=sink.takes, target=at)
                for at in sink.at
            ]
        return tuple(found)
