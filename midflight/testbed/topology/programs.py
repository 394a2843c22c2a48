"""The parts of a topology file about what switches run: programs and entries.

    program: l3.p4                          # of all switches,
    programs: {s1: l3.p4, s2: firewall.p4}  # or by switch
    entries: {s1: s1-runtime.json, s2: [commands.txt, more.txt]}

Paths are relative to the file's folder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from midflight.errors import MidflightError
from midflight.testbed.topology.topology import Topology
from midflight.userfiles import read_text
from midflight.yamlfile import YamlFile

__all__ = ["KEYS", "SwitchFiles", "load_switch_files"]

KEYS = ("program", "programs", "entries")
"""The keys of this module's parts, which `load_topology` skips."""


@dataclass(frozen=True, slots=True)
class SwitchFiles:
    """What the switches of a network run, by switch: the file of the program, and the files of entries."""

    programs: dict[str, Path] = field(default_factory=dict)
    entries: dict[str, list[Path]] = field(default_factory=dict)


def load_switch_files(path: Path, topology: Topology) -> SwitchFiles:
    """Return the programs and entries in the topology file at `path`, in the format of the module's docstring.

    MidflightError if the file cannot be read; with the place in it, if these parts are malformed or name a switch that
    `topology` does not have. Whether the files that it names exist is not checked.
    """
    file = YamlFile(read_text(path), str(path))
    parts = file.mapping(file.root, "a topology", "such as links: [h1 s1, h2 s1]")
    found = SwitchFiles()
    if "program" in parts and "programs" in parts:
        file.fail(parts["program"][0], "a topology has either a program or programs")
    if "program" in parts:
        found.programs.update(dict.fromkeys(topology.switches, path.parent / str(file.scalar(parts["program"][1]))))
    for key in ("programs", "entries"):
        if key not in parts:
            continue
        for name, (place, node) in file.mapping(parts[key][1], key, f"such as {key}: {{s1: FILE}}").items():
            if name not in topology.switches:
                raise file.placed(place, MidflightError(f"there is no switch named {name}"))
            if key == "programs":
                found.programs[name] = path.parent / str(file.scalar(node))
            else:
                several = isinstance(node, yaml.SequenceNode)
                names = file.names(node) if several else [str(file.scalar(node))]
                found.entries[name] = [path.parent / each for each in names]
    return found
