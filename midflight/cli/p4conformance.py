"""The part of `midflight conformance` that tests a P4 program of a user, for --p4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from midflight.runtime.devices.capabilities import Capabilities
    from midflight.testbed.conformance.p4cases import Reference
    from midflight.testbed.conformance.run import Caught, Report

__all__ = ["play_p4"]


def play_p4(
    program: Path,
    folder: Path | None,
    devices: Sequence[str],
    console: Console,
    interrupted: Callable[[], bool],
    *,
    reference: str,
    seed: int,
    count: int,
    sheet: Capabilities | None,
    self_test: bool,
) -> tuple[list[Report], tuple[Caught, ...]]:
    """Play the tests of a P4 program on devices, and return the reports and the results of the self-test.

    `folder` has the tests. `reference` is a Python file with a function `reference`, or a kind of device; empty for the
    embedded switch. click.UsageError without a folder, and for a device that runs already; MidflightError for a
    mistake in a file; P4Error for an invalid program; DeviceError if a device for traces does not start.
    """
    from midflight.cli.terminal import bar
    from midflight.testbed.conformance.p4cases import check_p4, load_tests, self_test_p4

    if folder is None:
        raise click.UsageError("--p4 needs the folder with the program's tests: --cases DIR")
    if any(each.startswith("grpc:") for each in devices):
        raise click.UsageError("--p4 starts the devices that it tests: use --device host, bmv2 or xdp")
    answers = _reference(reference)
    cases = load_tests(program, folder)
    found: list[Report] = []
    caught: tuple[Caught, ...] = ()
    for device in devices:
        if not interrupted():
            with bar(console, f"Tests on {device}:") as progress:
                made = check_p4(
                    device, cases, seed=seed, count=count, reference=answers, progress=progress, stop=interrupted,
                    sheet=sheet,
                )  # fmt: skip
            found.append(made)
            if count and answers == device:
                console.print(f"{device}: no traces are generated, because {device} is the reference")
    if self_test and not interrupted():
        with bar(console, "Broken programs:") as progress:
            caught = self_test_p4(cases, progress=progress, stop=interrupted)
    return found, caught


def _reference(name: str) -> Reference | str:
    """Return the function `reference` of a Python file, or the name of a kind of device."""
    from midflight.cli.userfile import load_module
    from midflight.errors import MidflightError

    if not name.endswith(".py"):
        return name or "host"
    path = Path(name)
    function = vars(load_module(path, path.parent)).get("reference")
    if not callable(function):
        raise MidflightError(f"there is no function `reference` in {name}", hint="see docs/conformance.md")
    made: Reference = function
    return made
