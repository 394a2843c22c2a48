"""The GitHub Action and the GitLab component: their steps run here, with a stub in place of pip."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.testing.projects import plugin_options

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
WORKFLOW = yaml.safe_load(next((ROOT / ".github" / "workflows").glob("*.yml")).read_text())

PROGRAM = """
from midflight.primitives import Header, Packet, Primitive, bit


class Doubled(Primitive):
    class Wire(Header):
        value = bit[8]

    def ingress(self, packet: Packet, wire: Wire) -> None:
        wire.value = wire.value + wire.value
        packet.reply()
"""
WRONG = (
    PROGRAM
    + """

def oracle(parameters, requests):
    from midflight.primitives import Verdict
    from midflight.testbed.conformance.subject import Answer
    return [Answer(Verdict.REPLY, {"value": each.fields["value"]}) for each in requests]
"""
)
TESTS = """
from doubled import Doubled
from midflight.primitives import Program


def test_it(p4_switch):
    p4_switch(Program(Doubled("app"))).send(1, b"too short")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a primitive, and a folder of commands: this environment's, and a pip that only records."""
    place = tmp_path / "bin"
    place.mkdir()
    record = f'if [ "$1 $2" = "-m pip" ]; then echo "$@" >> "{tmp_path}/pip"; exit; fi'
    (place / "python").write_text(f'#!/bin/sh\n{record}\nexec {sys.executable} "$@"\n')
    (place / "python").chmod(0o755)
    (place / "midflight").write_text(f'#!/bin/sh\nexec {sys.executable} -m midflight "$@"\n')
    (place / "midflight").chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    (work / "doubled.py").write_text(PROGRAM)
    (work / "test_doubled.py").write_text(TESTS)
    return work


def environment(project: Path, **more: str) -> dict[str, str]:
    place = project.parent
    return os.environ | {
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": f"{ROOT}:.", "GITHUB_ACTION_PATH": str(ROOT),
        "GITHUB_STEP_SUMMARY": str(place / "summary.md"), **more,
    }  # fmt: skip


def act(project: Path, **inputs: str) -> list[int]:
    """Run the steps of the action that have commands, as GitHub does, and return their exit statuses."""
    given = {name: each.get("default", "") for name, each in ACTION["inputs"].items()} | inputs
    known = {f"inputs.{name}": value for name, value in given.items()} | {"github.workspace": str(project)}

    def filled(text: str) -> str:
        return re.sub(r"\$\{\{ *(.*?) *\}\}", lambda found: known[found[1]], text)

    statuses: list[int] = []
    for step in ACTION["runs"]["steps"]:
        condition = str(step.get("if", ""))
        if "run" not in step or ("inputs.pytest" in condition and not given["pytest"]):
            continue
        assert "${{" not in step["run"], "inputs pass through the environment, so that they are no commands"
        if statuses and statuses[-1] and "cancelled()" not in condition:
            continue
        variables = {name: filled(value) for name, value in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=project / filled(step.get("working-directory", ".")),
            env=environment(project, **variables),
            check=False,
        )
        statuses.append(done.returncode)
    return statuses


def test_the_action_tests_a_primitive_and_runs_pytest(project: Path) -> None:
    plugin = " ".join(["-p", "no:cacheprovider", *plugin_options()])
    assert act(project, arguments="doubled.py --cases 2", pytest=f"{plugin} test_doubled.py") == [0, 0, 0]
    assert (project.parent / "pip").read_text() == f"-m pip install {ROOT} pytest\n"
    report = project / "midflight-report"
    assert sorted(each.name for each in report.iterdir()) == [
        "conformance.html", "conformance.txt", "conformance.xml", "pytest.xml",
    ]  # fmt: skip
    assert "2 cases pass" in (project.parent / "summary.md").read_text()


def test_the_action_fails_with_the_tests_and_keeps_the_reports(project: Path) -> None:
    (project / "doubled.py").write_text(WRONG)
    assert act(project, arguments="doubled.py --cases 2") == [0, 1]
    assert "failed" in (project.parent / "summary.md").read_text()
    assert "must be" in (project / "midflight-report" / "conformance.html").read_text()


def test_our_workflow_uses_the_action() -> None:
    (step,) = [each for each in WORKFLOW["jobs"]["test"]["steps"] if each.get("uses") == "./"]
    assert step["with"].keys() <= ACTION["inputs"].keys()


def component(**inputs: str) -> dict[str, Any]:
    """Return the GitLab component's job with these inputs."""
    head, body = (ROOT / "templates" / "conformance.yml").read_text().split("\n---\n")
    spec = yaml.safe_load(head)["spec"]["inputs"]
    given = {name: each["default"] for name, each in spec.items() if "default" in each} | inputs
    assert given.keys() == spec.keys()
    jobs = yaml.safe_load(re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda found: given[found[1]], body))
    (job,) = jobs.values()
    assert isinstance(job, dict)
    return job


@pytest.mark.parametrize(("text", "status"), [(PROGRAM, 0), (WRONG, 1)])
def test_the_gitlab_component(project: Path, text: str, status: int) -> None:
    (project / "doubled.py").write_text(text)
    job = component(package="./midflight", arguments="doubled.py --cases 2")
    script = "\n".join([*job["before_script"], *job["script"]])
    done = subprocess.run(["bash", "-e", "-c", script], cwd=project, env=environment(project), check=False)
    assert done.returncode == status
    assert (project.parent / "pip").read_text() == "-m pip install ./midflight pytest\n"
    assert job["artifacts"]["when"] == "always"
    assert [each.name for each in project.glob(job["artifacts"]["reports"]["junit"])] == ["conformance.xml"]
