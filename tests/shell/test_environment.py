"""The environment of p4runtime-shell is created once, atomically, and by one process at a time."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from midflight.errors import MidflightError
from midflight.runtime.p4runtime.client.shell import ShellSession, environment
from tests.cli.run import midflight, process

NAME = "p4runtime-shell-0.0.6"


class Installer:
    """Creates an environment that consists of a number in a file."""

    def __init__(self, *, failing: bool = False) -> None:
        self.failing = failing
        self.calls = 0

    def __call__(self, place: Path, say: Callable[[str], object], variables: Mapping[str, str]) -> None:
        self.calls += 1
        (place / "bin").mkdir(parents=True)
        (place / "bin" / "python").write_text(str(self.calls))
        if self.failing:
            raise MidflightError("no")


def names(cache: Path) -> set[str]:
    return {each.name for each in (cache / "midflight").iterdir()}


def test_the_environment_is_created_once_and_again_on_request(tmp_path: Path) -> None:
    install, said = Installer(), list[str]()
    variables = {"XDG_CACHE_HOME": str(tmp_path)}
    for reinstall, expected in ((False, "1"), (False, "1"), (True, "2")):
        python = environment(said.append, reinstall=reinstall, variables=variables, install=install)
        assert python == tmp_path / "midflight" / NAME / "bin" / "python"
        assert python.read_text() == expected
    assert len(said) == 4
    assert str(tmp_path) in said[0]
    assert names(tmp_path) == {NAME, f"{NAME}.lock"}


def test_a_failed_installation_has_no_effect(tmp_path: Path) -> None:
    variables = {"XDG_CACHE_HOME": str(tmp_path)}
    with pytest.raises(MidflightError):
        environment(str, variables=variables, install=Installer(failing=True))
    assert names(tmp_path) == {f"{NAME}.lock"}
    python = environment(str, variables=variables, install=Installer())
    failing = Installer(failing=True)
    failing.calls = 7
    with pytest.raises(MidflightError):
        environment(str, reinstall=True, variables=variables, install=failing)
    assert python.read_text() == "1"
    assert names(tmp_path) == {NAME, f"{NAME}.lock"}


def test_a_cache_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MidflightError, match=r"no environment for p4runtime-shell in .*Not a directory"):
        environment(str, variables={"XDG_CACHE_HOME": str(tmp_path / "file")}, install=Installer())


def test_leftovers_of_a_killed_installation_are_removed(tmp_path: Path) -> None:
    (tmp_path / "midflight" / f"{NAME}.part-x" / "new").mkdir(parents=True)
    environment(str, variables={"XDG_CACHE_HOME": str(tmp_path)}, install=Installer())
    assert names(tmp_path) == {NAME, f"{NAME}.lock"}


def test_a_second_process_waits_for_the_first_and_uses_its_environment(tmp_path: Path) -> None:
    install, waiting, done = Installer(), threading.Event(), list[Path]()

    def second() -> None:
        done.append(environment(lambda _: waiting.set(), variables=variables, install=install))

    variables = {"XDG_CACHE_HOME": str(tmp_path)}
    (tmp_path / "midflight").mkdir()
    with (tmp_path / "midflight" / f"{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(20)
        made = tmp_path / "midflight" / NAME / "bin" / "python"
        made.parent.mkdir(parents=True)
        made.touch()
    thread.join(20)
    assert done == [made]
    assert install.calls == 0


def test_without_an_index_the_error_says_so_and_nothing_remains(tmp_path: Path) -> None:
    shut = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": str(tmp_path)}
    done = process("shell", XDG_CACHE_HOME=str(tmp_path), **shut)
    assert done.returncode == 1
    assert "pip reaches no index that has it" in done.stderr
    assert "PIP_INDEX_URL" in done.stderr
    assert "Traceback" not in done.stderr
    assert names(tmp_path) == {f"{NAME}.lock"}


def test_an_election_id_has_two_halves() -> None:
    command = ShellSession("unix:/x", election_id=(3 << 64) + 5).command(Path("python"))
    assert command[command.index("--election-id") + 1] == "3,5"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--device-of", "s1", "--grpc-addr", "x:1"), 2, "use either --device-of or --grpc-addr"),
        (("--device-id", "0"), 2, "not between 1"),
        (("--election-id", str(2**128)), 2, "not between 1"),
        (("--config", "one"), 2, "not P4INFO,CONFIG"),
        (("--config", "/nowhere/one,/nowhere/two"), 1, "/nowhere/one: there is no such file"),
        (("--", "/nowhere/script.py"), 1, "/nowhere/script.py: No such file"),
        (("--device-of", "nobody"), 1, "no switch named nobody is running"),
    ],
)
def test_errors_are_reported_before_the_installation(
    arguments: tuple[str, ...], status: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = midflight("shell", *arguments)
    assert (result.exit_code, words in result.stderr) == (status, True), result.stderr
    assert not any(tmp_path.iterdir())
