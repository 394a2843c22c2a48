"""A click group that imports a command when it is called for, and says every user's mistake in one message."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from midflight.errors import MidflightError

__all__ = ["LazyGroup"]

DEBUG = "MIDFLIGHT_DEBUG"

# What an optional extra of ours brings, by the name it is imported under.
EXTRAS = {"matplotlib": "demo", "sklearn": "demo", "scapy": "scapy"}
PACKAGES = {"sklearn": "scikit-learn"}


class LazyGroup(click.Group):
    """A group whose commands are named by module: `{"check": "midflight.cli.check"}`.

    The module's attribute of the command's name is the command. Modules of commands import nothing heavy at
    their top, so that `--help`, which reads them all, stays quick.
    """

    def __init__(self, *args: Any, modules: Mapping[str, str] | None = None, **extra: Any) -> None:
        super().__init__(*args, **extra)
        self._modules = dict(modules or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order they were given in: the order of a first acquaintance."""
        return [*self._modules, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return the command; None for a name that is not known."""
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
        """Run a command line and exit: 0 done, 1 a mistake of the user, 2 a command line that makes no sense.

        130 after an interrupt. With MIDFLIGHT_DEBUG set, a mistake keeps its traceback.
        """

        def run() -> Any:
            return super(LazyGroup, self).main(args, prog_name, complete_var, standalone_mode=False, **extra)

        if not standalone_mode:
            return run()
        sys.exit(_exit_status(run))


def _exit_status(run: Callable[[], Any]) -> int:
    try:
        result = run()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Who read our output has gone, as `| head` does; Python must not complain about it when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (MidflightError, ModuleNotFoundError, OSError) as error:
        message = _explain(error)
        if message is None or os.environ.get(DEBUG):
            raise
        click.echo(message, err=True)
        return 1
    return result if isinstance(result, int) else 0


def _explain(error: Exception) -> str | None:
    if isinstance(error, MidflightError):
        return str(error) if error.place else f"midflight: {error}"
    if isinstance(error, ModuleNotFoundError):
        module = (error.name or "").partition(".")[0]
        if module in EXTRAS:
            return f"midflight: this needs {PACKAGES.get(module, module)}: pip install 'midflight[{EXTRAS[module]}]'"
    if isinstance(error, OSError) and error.filename is not None:
        return f"midflight: {error.filename}: {error.strerror}"
    return None
