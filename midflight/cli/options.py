"""Options that several commands share, as decorators."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from midflight.runtime.p4runtime.tls import ClientTls

__all__ = [
    "ENTRIES_HELP",
    "DeviceKind",
    "FiniteRange",
    "SvgFile",
    "client_tls",
    "cluster_options",
    "cpu_port_option",
    "defines",
    "entries_option",
    "json_file_option",
    "junit_option",
    "p4_options",
    "queue_options",
    "sheet_option",
    "tls_options",
    "writable",
    "writable_folder",
]  # fmt: skip

Command = TypeVar("Command", bound=Callable[..., object])

ENTRIES_HELP = "Table entries: JSON as in p4lang's tutorials, or commands of simple_switch_CLI. May be repeated."


class FiniteRange(click.FloatRange):
    """A range of numbers. Unlike click's, it refuses nan, which is neither too small nor too large, and infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number that `value` is. click.BadParameter if it is not a finite number in the range."""
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return found


class DeviceKind(click.ParamType[str]):
    """A kind of device that can be started: one of Midflight's, or one of another package."""

    name = "kind"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name of a kind of device. click.BadParameter if there is none."""
        from midflight.runtime.devices.registry import kinds

        if value not in kinds():
            self.fail(f"{value!r} is not one of {', '.join(kinds())}.", param, ctx)
        return str(value)


class SvgFile(click.Path):
    """The path of a picture that is written as SVG. A suffix for another format is refused; none is accepted."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path that `value` is. click.BadParameter if it is a folder, or has another suffix than .svg."""
        if Path(value).suffix.lower() not in ("", ".svg"):
            self.fail(f"{value}: the picture is SVG; use a name such as {Path(value).with_suffix('.svg')}", param, ctx)
        return super().convert(value, param, ctx)


def writable(_: click.Context, __: click.Parameter, value: Any) -> Any:
    """A callback of an option for an output file, which refuses it before the command's work if it cannot be written.

    Returns the value, which may be None, or "-" for standard output. MidflightError if the file cannot be written.
    """
    from midflight.cli.output import check_writable

    check_writable(value)
    return value


def writable_folder(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """A callback like `writable` for a folder in which files may be written. A default is not checked."""
    from midflight.cli.output import check_writable

    if value is not None and context.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT:
        check_writable(Path(value) / "file")
    return value


def cluster_options(scope: str = "") -> Callable[[Command], Command]:
    """Return a decorator that adds `--workers` (an int from 1) and `--cluster` (an address, or None).

    `scope` ends the help of `--workers`, such as ", for simulated schedules".
    """

    def add(command: Command) -> Command:
        cluster = click.option(
            "--cluster", metavar="ADDRESS", help="A Dask cluster that runs already, such as tcp://host:8786."
        )
        workers = click.option(
            "--workers",
            metavar="N",
            type=click.IntRange(1, 256),
            default=1,
            show_default=True,
            help=f"Processes of a local Dask cluster{scope}; 1 is this process alone.",
        )
        return workers(cluster(command))

    return add


def json_file_option(what: str) -> Callable[[Command], Command]:
    """Add the option `--json FILE` to a command that writes `what`, as the parameter `json_to`: a path, "-" or None.

    The file is checked as by `writable`.
    """
    return click.option(
        "--json",
        "json_to",
        metavar="FILE",
        callback=writable,
        help=f"Write the {what} as JSON; - is standard output.",
    )


def junit_option(command: Command) -> Command:
    """Add the option `--junit FILE` to a command, as the parameter `junit`: a path, checked by `writable`, or None."""
    return click.option(
        "--junit",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        callback=writable,
        help="Write JUnit XML.",
    )(command)


def tls_options(command: Command) -> Command:
    """Add the options of a client's TLS to a command: the parameters `ca`, `certificate` and `key`, paths or None."""
    pem = {"metavar": "PEM", "type": click.Path(path_type=Path)}
    for name, parameter, words in (
        ("--tls-key", "key", "The private key of your certificate."),
        ("--tls-cert", "certificate", "Your certificate, for servers that require one."),
        ("--tls-ca", "ca", "Use TLS; this authority must have signed the server's certificate."),
    ):
        command = click.option(name, parameter, help=words, **pem)(command)  # type: ignore[arg-type]
    return command


def client_tls(ca: Path | None, certificate: Path | None, key: Path | None) -> ClientTls | None:
    """Return the settings that the parameters of `tls_options` mean, None without TLS.

    click.UsageError if there is a certificate or a key, but no authority.
    """
    from midflight.runtime.p4runtime.tls import ClientTls

    if ca is None:
        if certificate or key:
            raise click.UsageError("TLS needs --tls-ca")
        return None
    return ClientTls(ca, certificate, key)


def sheet_option(command: Command) -> Command:
    """Add the option `--sheet SHEET` to a command, as the parameter `sheet`: a name or a path, or None."""
    return click.option(
        "--sheet",
        metavar="SHEET",
        help="Assume the limits of this capability sheet: a name such as tofino, or a TOML file.",
    )(command)


def entries_option(command: Command) -> Command:
    """Add the option `--entries FILE` to a command, which may be repeated, as the parameter `entries`: a tuple of
    paths.
    """
    return click.option(
        "--entries", "entries", metavar="FILE", multiple=True, type=click.Path(path_type=Path), help=ENTRIES_HELP
    )(command)


def cpu_port_option(command: Command) -> Command:
    """Add the option `--cpu-port N` to a command: the port of packet-in and packet-out, 1 to 510, by default 510."""
    return click.option(
        "--cpu-port",
        metavar="N",
        type=click.IntRange(1, 510),
        default=510,
        show_default=True,
        help="The port of packet-in and packet-out.",
    )(command)


def queue_options(command: Command) -> Command:
    """Add the options of the queues between ingress and egress: `queues`, `depth`, `rate`, `port_rate`."""
    for add in (
        click.option(
            "--port-rate",
            metavar="RATE",
            help="Rate at which a port takes packets from all of its queues.  [default: unlimited]",
        ),
        click.option(
            "--queue-rate",
            "rate",
            metavar="RATE",
            help="Rate of each queue, in packets or bits a second: 100pps, 10Mbit.  [default: unlimited]",
        ),
        click.option(
            "--queue-depth",
            "depth",
            metavar="PACKETS",
            type=click.IntRange(0, 1 << 20),
            help="Packets that a queue holds; more are dropped.  [default: 64]",
        ),
        click.option(
            "--priority-queues",
            "queues",
            metavar="N",
            type=click.IntRange(1, 8),
            help="Queues of each port between ingress and egress; metadata field `priority` selects one.  [default: 1]",
        ),
    ):
        command = add(command)
    return command


def p4_options(command: Command) -> Command:
    """Add the argument FILE.p4 and the options -I and -D to a command.

    They are the parameters `file`, `include_dirs` (a tuple of paths) and `definitions` (a tuple of texts for
    `defines`).
    """
    command = click.option(
        "-D", "definitions", metavar="NAME[=VALUE]", multiple=True, help="Define a macro.  [default value: 1]"
    )(command)
    command = click.option(
        "-I",
        "include_dirs",
        metavar="DIR",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Search this folder for included files.",
    )(command)
    return click.argument("file", metavar="FILE.p4", type=click.Path(path_type=Path))(command)


def defines(definitions: tuple[str, ...]) -> dict[str, str]:
    """Return the values of macros by name, from texts NAME=VALUE. A name alone has the value 1.

    click.BadParameter if a name is not an identifier.
    """
    found = {}
    for each in definitions:
        name, equals, value = each.partition("=")
        if not name.isidentifier():
            raise click.BadParameter(f"{each!r} is not NAME or NAME=VALUE", param_hint="-D")
        found[name] = value if equals else "1"
    return found
