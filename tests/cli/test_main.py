"""The command line as a whole: fast help, one message for each error, exit statuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from midflight import __version__
from midflight.cli.group import LazyGroup
from midflight.cli.root import MODULES
from midflight.errors import DeviceError, Place
from tests.cli.run import midflight, process

HEAVY = ["numpy", "grpc", "finsy", "rich", "lark", "llvmlite", "pcpp", "matplotlib", "sklearn", "google.protobuf"]


COMMANDS = [*([name] for name in MODULES), ["demo", "allreduce"], ["bench", "engine"]]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([*each, "--help"] for each in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import json, sys
from midflight.cli import main
try:
    main({arguments!r})
except SystemExit as error:
    assert error.code == 0, error.code
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_help_names_every_command() -> None:
    text = midflight("--help").output
    for name in MODULES:
        assert f"\n  {name} " in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples(command: list[str]) -> None:
    text = midflight(*command, "--help").output
    assert "Examples:" in text
    assert f"  midflight {' '.join(command)}" in text


def test_version() -> None:
    done = process("--version")
    assert (done.returncode, done.stdout) == (0, f"midflight {__version__}\n")


def test_an_unknown_command_is_reported() -> None:
    result = midflight("chekc")
    assert result.exit_code == 2
    assert "No such command 'chekc'" in result.stderr


def _group(error: BaseException) -> LazyGroup:
    group = LazyGroup(name="midflight")

    @group.command()
    def fail() -> None:
        raise error

    return group


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (
            DeviceError("the switch is gone", hint="Start it again."),
            1,
            "midflight: the switch is gone\n    Start it again.\n",
        ),
        (DeviceError("no", place=Place("a.p4", 3, 2, 1, "x y")), 1, "a.p4:3:2: no\n    x y\n     ^\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            ModuleNotFoundError("No module named 'sklearn'", name="sklearn.datasets"),
            1,
            "midflight: scikit-learn is not installed: pip install 'midflight[demo]'\n",
        ),
        (
            ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib"),
            1,
            "midflight: matplotlib is not installed: pip install 'midflight[demo]'\n",
        ),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "midflight: /x/y: Permission denied\n"),
        (click.BadParameter("not so"), 2, "Error: Invalid value: not so\n"),
    ],
)
def test_an_error_is_one_message(
    error: BaseException, status: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIDFLIGHT_DEBUG", raising=False)
    result = CliRunner().invoke(_group(error), ["fail"])
    assert result.exit_code == status
    assert result.stdout == ""
    assert result.stderr.strip("\n").endswith(message.strip("\n"))
    assert "Traceback" not in result.stderr


def test_tracebacks_can_be_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDFLIGHT_DEBUG", "1")
    error = DeviceError("the switch is gone")
    assert CliRunner().invoke(_group(error), ["fail"]).exception is error


def test_internal_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIDFLIGHT_DEBUG", raising=False)
    for error in (ModuleNotFoundError("No module named 'midflight.oops'", name="midflight.oops"), KeyError("x")):
        assert CliRunner().invoke(_group(error), ["fail"]).exception is error


def test_a_closed_output_pipe_is_not_an_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "midflight", "--help"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert done.stderr == ""
