"""A deployment with its command socket, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from click.testing import Result

from midflight.runtime.controller.deployment import Deployment
from midflight.runtime.controller.service.commands import Commands
from midflight.runtime.controller.service.server import CommandServer
from tests.cli.run import midflight
from tests.controller.lab import Events, Lab

__all__ = ["Running", "commands_of"]


class Running:
    """A deployment with its command socket, and the command line for it."""

    def __init__(self, lab: Lab, deployment: Deployment, events: Events) -> None:
        self.lab, self.deployment, self.events = lab, deployment, events

    def run(self, *words: str) -> Result:
        return midflight(*words, "--state", self.lab.folder)

    def json(self, *words: str) -> dict[str, Any]:
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        return dict(json.loads(result.stdout))

    def refused(self, *words: str) -> str:
        """Run a command that must fail with status 1, and return its output."""
        result = self.run(*words)
        assert result.exit_code == 1, result.output
        return result.output


@contextmanager
def commands_of(lab: Lab, *, again: bool = False) -> Iterator[Running]:
    """Run a deployment in a lab that accepts commands."""
    with lab.deployed(again=again) as (deployment, events):
        commands = Commands(deployment)
        with CommandServer(lab.folder / "control", commands.calls, commands.streams):
            yield Running(lab, deployment, events)
