"""Discovery of running switches on this machine: their names in networks and their P4Runtime addresses."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from midflight.errors import DeviceError
from midflight.testbed.fabric.janitor import NETNS
from midflight.testbed.fabric.runs import find

__all__ = ["RunningSwitch", "find_switch", "running_switches"]

_ADDRESS = "--grpc-server-addr"
_ID = re.compile(r"--device-id[= ](\d+)")
# A port that is an interface of a Mininet switch: Mininet calls the interfaces of s1 s1-eth1 and so on.
_MININET = re.compile(r"\d+@(?P<name>\S+)-eth\d+")


@dataclass(frozen=True, slots=True)
class RunningSwitch:
    """A switch that is a process in a network running on this machine. Switches of simulations are not processes.

    `name` is the switch's name in its network, `network` a description such as "network 1a2b3c" or "Mininet", and
    `address` that of its P4Runtime server, HOST:PORT or unix:PATH, with `device_id`.
    """

    name: str
    network: str
    address: str
    device_id: int


def find_switch(name: str) -> RunningSwitch:
    """Return the switch of this name that runs on this machine. DeviceError if there is none, or more than one."""
    switches = running_switches()
    named = [each for each in switches if each.name == name]
    if len(named) == 1:
        return named[0]
    if named:
        where = ", ".join(f"{each.address} in {each.network}" for each in named)
        raise DeviceError(f"several networks have a switch {name}", hint=f"use its address: {where}")
    there = ", ".join(sorted(each.name for each in switches))
    hint = f"running switches: {there}" if there else "no network with switches as processes is running"
    if os.geteuid():
        hint += "; only root sees those of other users"
    raise DeviceError(f"no switch named {name} is running", hint=hint)


def running_switches(proc: Path = Path("/proc")) -> list[RunningSwitch]:
    """Return the switches of networks of namespaces and of Mininet, found by their processes in `proc`.

    A switch is a process with the option --grpc-server-addr. Its name is part of the name of its namespace, or of the
    names that Mininet has given to its interfaces. Processes that this user may not inspect are left out.
    """
    nodes = {}
    for run in find():
        for namespace in run.namespaces:
            with suppress(OSError):
                name = namespace.removeprefix(f"mf-{run.id}-")
                nodes[(NETNS / namespace).stat().st_ino] = name, f"network {run.id}"
    found = {}
    for process, command in _processes(proc):
        if _ADDRESS not in command:
            continue
        with suppress(OSError, IndexError):
            known = nodes.get((process / "ns/net").stat().st_ino) or _mininet(command)
            if known is None:
                continue
            name, network = known
            address = command[command.index(_ADDRESS) + 1]
            number = _ID.search(" ".join(command))
            found[network, name, address] = RunningSwitch(name, network, address, int(number[1]) if number else 1)
    return list(found.values())


def _processes(proc: Path) -> Iterator[tuple[Path, list[str]]]:
    for process in proc.iterdir():
        if process.name.isdecimal():
            with suppress(OSError):
                yield process, os.fsdecode((process / "cmdline").read_bytes()).split("\0")


def _mininet(command: list[str]) -> tuple[str, str] | None:
    names = {name["name"] for each in command if (name := _MININET.fullmatch(each))}
    return (min(names), "Mininet") if len(names) == 1 else None
