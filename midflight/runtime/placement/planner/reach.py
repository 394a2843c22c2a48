"""Reachability of devices in a network, whatever the rates."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from midflight.runtime.placement.planner.model import Application, Network

__all__ = ["unconnected"]

_SHOWN = 3  # devices that a message lists

Neighbours = Mapping[str, Sequence[str]]


def unconnected(network: Network, application: Application, able: Mapping[str, Sequence[str]]) -> str:
    """Return which source has no path to a sink or to a step's devices, as a text; empty if every source has.

    `able` has the devices that can run each step. A host passes traffic on only where it runs a step.
    """
    near: dict[str, list[str]] = {name: [] for name in network.devices}
    for link in network.links:
        near[link.one].append(link.other)
        near[link.other].append(link.one)
    alike = _alike(network, near)
    senders = {each.name: _one_of_each(each.at, alike) for each in application.sources}
    for source in application.sources:
        for at in senders[source.name]:
            places: dict[str, list[str]] = {source.name: [at]}
            for step in application.steps:
                starts = [name for each in step.takes for name in places.get(each, ())]
                if not starts:
                    continue
                reached = _reached(network, near, starts)
                places[step.name] = [name for name in able[step.name] if name in reached]
                if not places[step.name]:
                    return f"there is no path from {source.name} at {at} to {_devices(step.name, able)}"
            for sink in application.sinks:
                if sink.takes in places:
                    reached = _reached(network, near, places[sink.takes])
                    for end in sink.at:
                        if end not in reached:
                            return f"there is no path from {source.name} at {at} to {sink.name} at {end}"
    return _apart(network, near, application, able, senders)


def _apart(
    network: Network,
    near: Neighbours,
    application: Application,
    able: Mapping[str, Sequence[str]],
    senders: Mapping[str, Sequence[str]],
) -> str:
    """Return which step no single device can run because its inputs do not meet; empty if all meet."""
    places: dict[str, list[list[str]]] = {name: [[at] for at in ats] for name, ats in senders.items()}
    for step in application.steps:
        found = list(able[step.name])
        for each in step.takes:
            for starts in places[each]:
                reached = _reached(network, near, starts)
                found = [name for name in found if name in reached]
        if not found:
            inputs = ", ".join(step.takes)
            return f"there is no path from all of {inputs} to the same one of {_devices(step.name, able)}"
        places[step.name] = [found]
    return ""


def _one_of_each(names: Iterable[str], alike: Mapping[str, Hashable]) -> list[str]:
    """Return the first of all names that reach the same devices, so that the work does not grow with the hosts."""
    first: dict[Hashable, str] = {}
    for name in names:
        first.setdefault(alike[name], name)
    return list(first.values())


def _alike(network: Network, near: Neighbours) -> dict[str, Hashable]:
    """Return a key for each device. Devices with equal keys reach the same devices."""
    zone: dict[str, str] = {}  # by forwarding device: the one that stands for all it reaches over such devices
    for name, device in network.devices.items():
        if device.forwards and name not in zone:
            reached = _reached(network, near, [name])
            zone.update((other, name) for other in reached if network.devices[other].forwards)
    keys: dict[str, Hashable] = {}
    for name in network.devices:
        zones = {zone[each] for each in (name, *near[name]) if each in zone}
        hosts = {each for each in near[name] if each not in zone}
        keys[name] = tuple(sorted(zones)), tuple(sorted(hosts)), "" if zones else name
    return keys


def _devices(step: str, able: Mapping[str, Sequence[str]]) -> str:
    shown = ", ".join(able[step][:_SHOWN])
    more = len(able[step]) - _SHOWN
    return f"the devices that can run {step}: {shown}{f' and {more} more' if more > 0 else ''}"


def _reached(network: Network, near: Neighbours, starts: Iterable[str]) -> dict[str, None]:
    """Return the devices with a path from one of `starts` that crosses only devices that forward."""
    found = dict.fromkeys(starts)
    queue = list(found)
    for name in queue:
        for other in near[name]:
            if other not in found:
                found[other] = None
                if network.devices[other].forwards:
                    queue.append(other)
    return found
