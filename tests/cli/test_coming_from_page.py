"""docs/coming-from.md: the pairs of files describe the same network."""

from __future__ import annotations

import re
from pathlib import Path

from midflight.cli.foreign import read_foreign
from midflight.testbed.topology.file import load_topology
from midflight.testbed.topology.programs import load_switch_files
from tests.cli.run import midflight

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```\n", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def test_p4app_and_yaml_are_the_same_network(tmp_path: Path) -> None:
    for name in ("l3.p4", "s1-commands.txt", "s2-commands.txt"):
        (tmp_path / name).touch()
    (tmp_path / "p4app.json").write_text(block("json"))
    (tmp_path / "net.yaml").write_text(block("yaml"))
    imported, ours = read_foreign(tmp_path / "p4app.json"), load_topology(tmp_path / "net.yaml")
    assert imported.topology.links == ours.links
    files = load_switch_files(tmp_path / "net.yaml", ours)
    assert (imported.programs, imported.entries) == (files.programs, files.entries)


def test_the_script_of_mininet_is_read(tmp_path: Path) -> None:
    (tmp_path / "pair.py").write_text(block("python"))
    topology = read_foreign(tmp_path / "pair.py").topology
    assert (topology.hosts, topology.switches) == (("h1", "h2"), ("s1",))


def test_the_commands_of_the_prompt_exist() -> None:
    shown = midflight("net", "--help").output
    assert "--from" in shown
    for option in ("--entries", "--program", "--fabric"):
        assert option in shown
