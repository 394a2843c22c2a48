"""p4runtime-shell in a separate environment, because its dependencies conflict with current protobuf."""

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
from midflight.runtime.p4runtime.tls import ClientTls

__all__ = ["VERSION", "ShellSession", "environment"]

VERSION = "0.0.6"
"""The version of p4runtime-shell."""

# Messages of pip when it cannot reach an index.
_NO_INDEX = re.compile(r"connection broken|NewConnectionError|Could not find a version|No matching distribution", re.I)
_QUOTED = 5  # lines that an error quotes


@dataclass(frozen=True, slots=True)
class ShellSession:
    """The settings of a shell.

    `address` is a switch's P4Runtime endpoint in gRPC's form, "host:port" or "unix:/path". `election_id` is below
    2**128; the controller with the highest may write. `config` are the files of a program to load first: P4Info as
    text, and the device-specific config. `tls` is None without TLS; its `server_name` is not used. `script` is a Python
    file to run instead of an interactive shell, "-" for standard input, and `arguments` are its `sys.argv[1:]`.
    """

    address: str
    device_id: int = 1
    election_id: int = 1 << 64
    role: str = ""
    config: tuple[Path, Path] | None = None
    tls: ClientTls | None = None
    script: str = ""
    arguments: tuple[str, ...] = ()

    def command(self, python: Path) -> list[str]:
        """Return the command that starts the shell with an environment's interpreter."""
        high, low = divmod(self.election_id, 1 << 64)
        options = ["--device-id", str(self.device_id), "--grpc-addr", self.address, "--election-id", f"{high},{low}"]
        if self.role:
            options += ["--role-name", self.role]
        if self.config:
            options += ["--config", ",".join(map(str, self.config))]
        if self.tls:
            named = {"--cacert": self.tls.ca, "--cert": self.tls.certificate, "--private-key": self.tls.key}
            files = {option: path for option, path in named.items() if path is not None}
            options += ["--ssl", *(word for option, path in files.items() for word in (option, str(path)))]
        return [str(python), "-I", shell_runner.__file__, *options, "--", self.script, *self.arguments]


def environment(
    say: Callable[[str], object],
    *,
    reinstall: bool = False,
    variables: Mapping[str, str] = os.environ,
    install: Callable[[Path, Callable[[str], object], Mapping[str, str]], None] | None = None,
) -> Path:
    """Return the interpreter of the environment with p4runtime-shell, which is created in the user's cache if missing.

    Creation is atomic. With `reinstall`, the existing environment is replaced once the new one is complete. `say` is
    called with a message before slow steps. `install` creates the environment in a folder that does not exist yet, by
    default with venv and pip. MidflightError if the environment cannot be created; an existing one is kept then.
    """
    cache = Path(variables.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "midflight"
    place = cache / f"p4runtime-shell-{VERSION}"
    python = place / "bin" / "python"
    if python.exists() and not reinstall:
        return python
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f"{place.name}.lock", say):
            if python.exists() and not reinstall:  # another process created it while this one waited for the lock
                return python
            for leftover in cache.glob(f"{place.name}.part-*"):  # from a process that was killed
                shutil.rmtree(leftover)
            with tempfile.TemporaryDirectory(prefix=f"{place.name}.part-", dir=cache) as part:
                say(f"p4runtime-shell {VERSION} needs an environment of its own: making it in {place}, once")
                made = Path(part, "new")
                (install or _install)(made, say, variables)
                if place.exists():
                    place.rename(Path(part, "old"))
                made.rename(place)
            say("done")
    except OSError as error:
        raise MidflightError(f"no environment for p4runtime-shell in {cache}: {error.strerror}") from None
    return python


def _install(place: Path, say: Callable[[str], object], variables: Mapping[str, str]) -> None:
    _run([sys.executable, "-I", "-m", "venv", str(place)], "a virtual environment cannot be made", variables)
    say("installing it with pip")
    pip = [str(place / "bin" / "python"), "-I", "-m", "pip", "install", "--no-input", "--prefer-binary"]
    _run([*pip, f"p4runtime-shell=={VERSION}"], "pip cannot install p4runtime-shell", variables)


@contextmanager
def _locked(path: Path, say: Callable[[str], object]) -> Iterator[None]:
    with path.open("w") as file:  # closing the file releases the lock, also if the process is killed
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
        hint = "\n    ".join(["the end of its output:", *lines])
        if _NO_INDEX.search(done.stdout):
            failure = f"p4runtime-shell {VERSION} is not installed yet, and pip reaches no index that has it"
            hint += "\n    connect this machine once, or let PIP_INDEX_URL or PIP_FIND_LINKS lead to the packages"
        elif "ensurepip" in done.stdout:
            hint += "\n    on Debian and Ubuntu: apt install python3-venv"
        raise MidflightError(failure, hint=hint)
