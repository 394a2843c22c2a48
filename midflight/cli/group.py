"""A click group that imports commands on demand, and reports users' mistakes without a traceback."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from midflight.errors import MidflightError

__all__ = ["LazyGroup"]

DEBUG = "MIDFLIGHT_DEBUG"

# The optional extra of Midflight that installs a module.
EXTRAS = {
    "matplotlib": "demo",
    "sklearn": "demo",
    "scapy": "scapy",
    "psutil": "sma",
    "cryptography": "trust",
    "yangson": "yang",
}
PACKAGES = {"sklearn": "scikit-learn"}

# The errors of writing to standard output, which name no file: it is full, closed, or not there any more.
STREAM_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EBADF, errno.EIO)


class _Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, which end a command in the same orderly way as an interrupt. `number` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def _terminated() -> Iterator[None]:
    """Turn the first SIGTERM or SIGHUP of the block into an exception; the second one ends the process.

    Signals that are ignored, as by nohup, remain ignored. Only in the main thread.
    """
    numbers = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        numbers = []

    def end(number: int, _: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)
        raise _Terminated(number)

    for each in numbers:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)


class LazyGroup(click.Group):
    """A click group that imports its commands on demand. `modules` maps commands to modules.

        {"check": "midflight.cli.check"}

    The command is the module's attribute with the command's name. These modules must not import anything slow at the
    top, because `--help` imports all of them.
    """

    def __init__(self, *args: Any, modules: Mapping[str, str] | None = None, **extra: Any) -> None:
        super().__init__(*args, **extra)
        self._modules = dict(modules or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the group's commands in the order of `modules`, as click's help lists them."""
        return [*self._modules, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of the command of this name and return the command; None if the name is unknown."""
        if cmd_name not in self._modules:
            return super().get_command(ctx, cmd_name)
        command = getattr(importlib.import_module(self._modules[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and exit the process with a status.

        The status is 0 for success, 1 for an error that the user can correct, 2 for an invalid command line, 130 after
        an interrupt, and 143 or 129 after SIGTERM or SIGHUP; a command may return another. If the environment variable
        MIDFLIGHT_DEBUG is set, errors have a traceback. The parameters are click's; with `standalone_mode` False,
        errors are raised and nothing exits.
        """

        def run() -> Any:
            return super(LazyGroup, self).main(args, prog_name, complete_var, standalone_mode=False, **extra)

        if not standalone_mode:
            return run()
        if not os.environ.get(DEBUG):
            os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC would log what our errors explain
        _occupy_standard_streams()
        with _terminated():
            status = _exit_status(run)
        sys.exit(status)


def _occupy_standard_streams() -> None:
    """Open those of the standard streams that are closed, or the next files that are opened would take their numbers.

    Input is empty, and errors are lost. Writing to standard output fails, as it should.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            if number == 0:
                sys.stdin = open(number, closefd=False)  # noqa: SIM115
            else:
                setattr(sys, ("", "stdout", "stderr")[number], open(number, "w", closefd=False))  # noqa: SIM115


def _silence(stream: TextIO) -> None:
    """Discard the rest of a stream that cannot be written to, so that Python does not complain at its exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        return


def _exit_status(run: Callable[[], Any]) -> int:
    try:
        result = run()
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as ended:
        cause = ended.__cause__ or ended  # click turns all interrupts into Abort
        return 128 + (cause.number if isinstance(cause, _Terminated) else signal.SIGINT)
    except BrokenPipeError:
        _silence(sys.stdout)  # the reader of our output has ended, as `| head` does
        return 1
    except (MidflightError, ModuleNotFoundError, OSError, MemoryError) as error:
        message = _explain(error)
        if message is None or os.environ.get(DEBUG):
            raise
        try:
            sys.stdout.flush()
        except OSError:
            _silence(sys.stdout)
        try:
            click.echo(message, err=True)
        except OSError:
            _silence(sys.stderr)
        return 1
    return result if isinstance(result, int) else 0


def _is_full(stream: TextIO) -> bool:
    """Return whether a stream is closed, /dev/full, or a file on a full disk."""
    try:
        found, disk = os.fstat(stream.fileno()), os.fstatvfs(stream.fileno())
        stream.flush()
    except (OSError, ValueError):
        return True
    return found.st_rdev == os.makedev(1, 7) or (stat.S_ISREG(found.st_mode) and disk.f_bavail == 0)


def _has_folder() -> bool:
    """Return whether the working directory exists."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _explain(error: Exception) -> str | None:
    if isinstance(error, MidflightError):
        return str(error) if error.place else f"midflight: {error}"
    if isinstance(error, FileNotFoundError) and not _has_folder():
        return "midflight: the working directory no longer exists"
    if isinstance(error, ModuleNotFoundError):
        module = (error.name or "").partition(".")[0]
        if module in EXTRAS:
            package = PACKAGES.get(module, module)
            return f"midflight: {package} is not installed: pip install 'midflight[{EXTRAS[module]}]'"
    if isinstance(error, MemoryError):
        return "midflight: there is not enough memory for this"
    if isinstance(error, OSError):
        from midflight.userfiles import failed

        if error.filename is not None:
            return f"midflight: {failed(error, os.fsdecode(error.filename))}"
        if error.errno in STREAM_ERRORS:
            known = error.errno not in (errno.ENOSPC, errno.EDQUOT) or _is_full(sys.stdout)
            place = "standard output" if known else f"a file in {os.environ.get('TMPDIR', '/tmp')}"
            return f"midflight: {failed(error, place)}"
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return f"midflight: {failed(error, 'this takes more files')}"
    return None
