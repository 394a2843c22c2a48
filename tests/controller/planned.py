"""Switches in this process on which a deployment runs a program by a plan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from midflight.cli.userfile import load_program
from midflight.runtime.controller.deployment import Deployment
from midflight.runtime.controller.network import parse_network
from midflight.runtime.controller.planning import PlanSource
from midflight.runtime.controller.sources import ProgramSource
from midflight.runtime.controller.store import Store
from midflight.runtime.devices.host import HostDevice
from tests.controller.lab import Events

__all__ = ["PlannedLab"]


class PlannedLab:
    """The switches of a network, whose addresses are in FOLDER, with the program and the plan that they get."""

    def __init__(self, folder: Path, network: str, app: str, plan: str) -> None:
        self.folder = folder
        self.network = parse_network(network.replace("FOLDER", str(folder)))
        (folder / "app.py").write_text(app)
        (folder / "app.yaml").write_text(plan)
        self.devices = {name: self.start(name) for name in self.network.switches}

    def start(self, switch: str) -> HostDevice:
        return HostDevice(address=f"unix:{self.folder / switch}")

    def close(self) -> None:
        for each in self.devices.values():
            each.close()

    @contextmanager
    def deployed(self, *, again: bool = False) -> Iterator[tuple[Deployment, Events]]:
        events = Events()
        source = None if again else ProgramSource.read(self.folder / "app.py")
        plan = None if again else PlanSource.read(self.folder / "app.yaml")
        with (
            Store(self.folder) as store,
            Deployment(self.network, store, load_program, source, plan=plan, sinks=[events]) as deployment,
        ):
            yield deployment, events
