"""`.ci/run` on machines with different users and tools, which are stubs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "run"
BASH = shutil.which("bash") or "bash"
EVERYTHING = ("make", "ip", "mn", "ping", "python3", "env")
STUB = """#!{bash}
echo "{name} $*" >> "{log}"
{body}
"""
BODIES = {
    "sudo": '[ "$1" = -n ] || exit 1\nshift\n"$@"',
    "env": 'while [[ "$1" == *=* ]]; do shift; done\n"$@"',
    "true": "exit 0",
}


def run(tmp_path: Path, user: int, commands: tuple[str, ...], **bodies: str) -> tuple[int, list[str], str]:
    """Run the script with only these commands on PATH. Return its status, the commands that it ran, and its errors."""
    place, log = tmp_path / "bin", tmp_path / "calls"
    place.mkdir()
    (tmp_path / ".ci").mkdir()
    shutil.copy(SCRIPT, tmp_path / ".ci" / "run")
    for name in (*commands, "id"):
        body = bodies.get(name.replace("-", "_")) or (f"echo {user}" if name == "id" else BODIES.get(name, "exit 0"))
        (place / name).write_text(STUB.format(bash=BASH, name=name, log=log, body=body))
        (place / name).chmod(0o755)
    done = subprocess.run(
        [BASH, tmp_path / ".ci" / "run"], env={"PATH": str(place)}, capture_output=True, text=True, check=False
    )
    calls = log.read_text().splitlines() if log.exists() else []
    return (
        done.returncode,
        [each for each in calls if not each.startswith(("id", "env", "true", "python3"))],
        done.stderr,
    )


TARGETS = ["make install", "make check", "make test"]


@pytest.mark.parametrize("user", [0, 1000])
def test_nothing_is_installed_if_everything_is_present(tmp_path: Path, user: int) -> None:
    assert run(tmp_path, user, EVERYTHING) == (0, TARGETS, "")


def test_root_installs_without_sudo(tmp_path: Path) -> None:
    status, calls, _ = run(tmp_path, 0, ("make", "ip", "ping", "python3", "env", "apt-get"))
    assert status == 0
    assert calls == ["apt-get update -qq", "apt-get install -y -qq --no-install-recommends mininet", *TARGETS]


def test_others_install_with_sudo(tmp_path: Path) -> None:
    status, calls, errors = run(tmp_path, 1000, ("make", "ip", "ping", "python3", "env", "apt-get", "sudo", "true"))
    assert (status, errors) == (0, "")
    assert [each for each in calls if not each.startswith("sudo")] == [
        "apt-get update -qq",
        "apt-get install -y -qq --no-install-recommends mininet",
        *TARGETS,
    ]
    assert sum(each.startswith("sudo -n") for each in calls) == 3


@pytest.mark.parametrize(
    ("extra", "bodies", "reason"),
    [
        ((), {}, "there is no apt-get"),
        (("apt-get",), {}, "this is not root, and there is no sudo that works without a password"),
        (("apt-get", "sudo", "true"), {"sudo": "exit 1"}, "this is not root, and there is no sudo that works"),
        (("apt-get", "sudo", "true"), {"apt_get": "exit 100"}, "apt-get failed"),
    ],
)
def test_packages_that_cannot_be_installed_are_reported_and_the_tests_run(
    tmp_path: Path, extra: tuple[str, ...], bodies: dict[str, str], reason: str
) -> None:
    status, calls, errors = run(tmp_path, 1000, ("make", "ip", "ping", "python3", "env", *extra), **bodies)
    assert status == 0
    assert calls[-3:] == TARGETS
    assert f"cannot install mininet: {reason}" in errors
    assert "tests that need mn are skipped" in errors


def test_without_make_it_fails_with_the_reason(tmp_path: Path) -> None:
    status, calls, errors = run(tmp_path, 1000, ("ip", "mn", "ping", "python3", "env", "apt-get"))
    assert (status, calls) == (1, [])
    assert "cannot install make: this is not root" in errors
    assert "make is needed" in errors
