"""Two switches on loopback, with deployments on them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from midflight.cli.userfile import load_program
from midflight.runtime.controller.deployment import Deployment
from midflight.runtime.controller.network import Network, parse_network
from midflight.runtime.controller.observe.events import Event
from midflight.runtime.controller.sources import ProgramSource
from midflight.runtime.controller.store import Store
from midflight.runtime.devices.host import HostDevice

__all__ = ["APP", "APP2", "NETWORK", "Events", "Lab", "admit_all"]

APP = """\
from midflight.primitives import Aggregate, Cache, Header, Primitive, Program, Register, Threshold, bit


class Seen(Primitive):
    '''Count messages, and mirror large numbers.'''

    class Wire(Header):
        number = bit[16]

    def setup(self):
        self.count = Register(bit[32], 1)

    def ingress(self, packet, wire):
        self.count.update(0, lambda old: old + 1)
        if wire.number > 99:
            packet.mirror()
        packet.forward()


program = Program(
    Aggregate("sums", workers=2, lanes=4, slots=4),
    Cache("store", keys=[1, 2], lanes=2),
    Threshold("hot", above=9, clear=5, sensors=16),
    Seen("seen"),
)
"""
APP2 = APP.replace("above=9", "above=90").replace("lanes=2", "lanes=4")
MAC = "02:00:00:00:00:0"
NETWORK = f"""\
switches:
  s1: {{address: "unix:FOLDER/s1", kind: host}}
  s2: {{address: "unix:FOLDER/s2", kind: host}}
hosts:
  h1: {{address: 10.0.0.1, mac: "{MAC}1", port: "s1:1"}}
  h2: {{address: 10.0.0.2, mac: "{MAC}2", port: "s1:2"}}
  h3: {{address: 10.0.0.3, mac: "{MAC}3", port: "s2:1"}}
links: ["s1:3 s2:3"]
"""


class Events:
    """The events of a deployment, for which tests can wait."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._happened = threading.Condition()

    def __call__(self, event: Event) -> None:
        with self._happened:
            self.events.append(event)
            self._happened.notify_all()

    def wait(self, kind: str, switch: str = "") -> Event:
        """Wait for the first event of a kind, and of a switch if given, and return it."""

        return self.wait_for(lambda each: each.kind == kind and switch in ("", each.switch))

    def wait_for(self, wanted: Callable[[Event], bool]) -> Event:
        """Wait for the first event that is wanted, and return it."""

        def found() -> list[Event]:
            return [each for each in self.events if wanted(each)]

        with self._happened:
            assert self._happened.wait_for(found, 20), [each.line() for each in self.events]
            return found()[0]

    def kinds(self, switch: str = "") -> list[str]:
        return [each.kind for each in self.events if switch in ("", each.switch)]


class Lab:
    """Two switches on sockets in a folder, which can be stopped and started, with deployments on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network: Network = parse_network(NETWORK.replace("FOLDER", str(folder)))
        self.file = folder / "app.py"
        self.file.write_text(APP)
        self.devices = {name: self.start(name) for name in ("s1", "s2")}

    def start(self, switch: str) -> HostDevice:
        return HostDevice(address=f"unix:{self.folder / switch}")

    @contextmanager
    def deployed(self, *, again: bool = False) -> Iterator[tuple[Deployment, Events]]:
        events = Events()
        source = None if again else ProgramSource.read(self.file)
        with (
            Store(self.folder) as store,
            Deployment(self.network, store, load_program, source, sinks=[events]) as deployment,
        ):
            yield deployment, events

    def close(self) -> None:
        for each in self.devices.values():
            each.close()


def admit_all(lab: Lab, deployment: Deployment) -> None:
    controller, host = deployment.controller, lab.network.host
    controller.jobs.enlist("sums", [host("h1"), host("h2")], host("h3"))
    controller.admit("hot", [host("h3")], switch="s2")
    controller.limit("hot", 500)
    controller.map("store", "cached", "s1")[7] = 1
