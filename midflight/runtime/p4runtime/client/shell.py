"""p4runtime-shell in an environment of its own: what it needs cannot be installed beside current protobuf."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from midflight.errors import MidflightError
from midflight.runtime.p4runtime.client import shell_runner

__all__ = ["VERSION", "ShellSession", "environment"]

VERSION = "0.0.6"
"""The version of p4runtime-shell."""

# What pip says when it has no index to ask.
_NO_INDEX = re.compile(r"connection broken|NewConnectionError|Could not find a version|No matching distribution", re.I)
_QUOTED = 5  # lines that an error quotes


@dataclass(frozen=True, slots=True)
class ShellSession:
    """What a shell is opened with.

    `address` is a switch's P4Runtime endpoint as gRPC takes it, "host:port" or "unix:/path". `election_id` is below
    2**128; who bids most may write. `config` are the files of a program to load first: P4Info as text, and what the
    device takes with it. `script` is a Python file to run instead of a dialogue, "-" for standard input, and
    `arguments` are what it finds in `sys.argv`.
    """

    address: str
    device_id: int = 1
    election_id: int = 1 << 64
    role: str = ""
    config: tuple[Path, Path] | None = None
    script: str = ""
    arguments: tuple[str, ...] = ()

    def command(self, python: Path) -> list[str]:
        """Return the command that opens it with an environment's interpreter."""
        high, low = divmod(self.election_id, 1 << 64)
        options = ["--device-id", str(self.device_id), "--grpc-addr", self.address, "--election-id", f"{high},{low}"]
        if self.role:
            options += ["--role-name", self.role]
        if self.config:
            options += ["--config", ",".join(map(str, self.config))]
        return [str(python), "-I", shell_runner.__file__, *options, "--", self.script, *self.arguments]


def environment(
    say: Callable[[str], object],
    *,
    reinstall: bool = False,
    variables: Mapping[str, str] = os.environ,
    install: Callable[[Path, Callable[[str], object], Mapping[str, str]], None] | None = None,
) -> Path:
    """Return the interpreter of the environment that has p4runtime-shell, made in the user's cache where it is not yet.

    It appears whole or not at all, and `reinstall` leaves the one that is there until the new one is. `say` is told
    what takes its time. `install` makes the environment, in a folder that is not there yet; by default with venv and
    pip. MidflightError where it cannot be made.
    """
    cache = Path(variables.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "midflight"
    place = cache / f"p4runtime-shell-{VERSION}"
    python = place / "bin" / "python"
    if python.exists() and not reinstall:
        return python
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f"{place.name}.lock", say):
        if python.exists() and not reinstall:  # somebody else has made it while we waited
            return python
        for leftover in cache.glob(f"{place.name}.part-*"):  # of one that was killed
            shutil.rmtree(leftover)
        with tempfile.TemporaryDirectory(prefix=f"{place.name}.part-", dir=cache) as part:
            say(f"p4runtime-shell {VERSION} needs an environment of its own: making it in {place}, once")
            made = Path(part, "new")
            (install or _install)(made, say, variables)
            if place.exists():
                place.rename(Path(part, "old"))
            made.rename(place)
        say("done")
    return python


def _install(place: Path, say: Callable[[str], object], variables: Mapping[str, str]) -> None:
    _run([sys.executable, "-I", "-m", "venv", str(place)], "a virtual environment cannot be made", variables)
    say("installing it with pip")
    pip = [str(place / "bin" / "python"), "-I", "-m", "pip", "install", "--no-input", "--prefer-binary"]
    _run([*pip, f"p4runtime-shell=={VERSION}"], "pip cannot install p4runtime-shell", variables)


@contextmanager
def _locked(path: Path, say: Callable[[str], object]) -> Iterator[None]:
    with path.open("w") as file:  # its lock goes when the file is closed, also by the kernel
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is making the environment of p4runtime-shell: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str], failure: str, variables: Mapping[str, str]) -> None:
    done = subprocess.run(
        command,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stdout.strip().splitlines() if line.strip()][-_QUOTED:]
        hint = "\n    ".join(["the end of what it says:", *lines])
        if _NO_INDEX.search(done.stdout):
            failure = f"p4runtime-shell {VERSION} is not installed yet, and pip reaches no index that has it"
            hint += "\n    connect this machine once, or let PIP_INDEX_URL or PIP_FIND_LINKS lead to the packages"
        elif "ensurepip" in done.stdout:
            hint += "\n    on Debian and Ubuntu: apt install python3-venv"
        raise MidflightError(failure, hint=hint)
