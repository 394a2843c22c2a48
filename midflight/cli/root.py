"""The `midflight` command: the group of all commands."""

from __future__ import annotations

import click

from midflight import __version__
from midflight.cli.group import LazyGroup

__all__ = ["midflight"]

COMMANDS = (
    "demo",
    "primitives",
    "compile",
    "fit",
    "check",
    "p4info",
    "switch",
    "run",
    "stf",
    "fuzz",
    "queues",
    "shell",
    "lab",
    "bench",
    "conformance",
    "adversary",
    "net",
    "steer",
    "place",
    "deploy",
    "status",
    "admit",
    "withdraw",
    "change",
    "replan",
    "limit",
    "mirror",
    "map",
    "state",
    "counters",
    "service",
    "cps",
    "alerts",
    "undeploy",
    "sma",
    "nma",
    "identity",
    "audit",
    "clean",
)
MODULES = {name: f"midflight.cli.{name}" for name in COMMANDS}


@click.group(
    cls=LazyGroup,
    modules=MODULES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Details and examples of a command: midflight COMMAND --help",
)
@click.version_option(__version__, prog_name="midflight", message="%(prog)s %(version)s")
def midflight() -> None:
    """Compute on packets mid-flight: Python primitives become P4 and run on programmable switches."""
