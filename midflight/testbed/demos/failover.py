"""A service in network namespaces loses an instance, a link, a forwarder, its path selector and its controller.

All parts are processes, as on real machines: switches, `midflight deploy`, `midflight cps`, and on each host that
serves a service of ours with `midflight sma` beside it. A client sends requests all the time, each of a flow of its
own, and repeats none.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.controller.service.client import CommandClient
from midflight.runtime.devices.folders import owned_prefix
from midflight.runtime.devices.process import Process, quoted
from midflight.runtime.devices.switchprocess import SwitchProcess
from midflight.testbed.fabric.janitor import NETNS
from midflight.testbed.fabric.namespaces import command
from midflight.testbed.fabric.netns import NetnsFabric
from midflight.testbed.fabric.registry import open_fabric
from midflight.testbed.topology import Topology

__all__ = ["FAILURES", "Failover", "Failure", "run"]

FAILURES = ("instance", "link", "forwarder", "selector", "controller")
"""What can be killed: an instance with its agent, the link to it, its switch, the path selector, the controller."""

_CS_ID, _PORT = "10.9.0.1", 7000
_CLIENT, _SELECTOR, _INSTANCES = "h1", "h2", ("h3", "h4")
_SWITCHES = {"h3": "s2", "h4": "s3"}
_PATIENCE = 60.0  # seconds for a process to start, or for something to be noticed
_APP = """\
from midflight.primitives import Program, Steering

program = Program(Steering(services=1, rules=1, pools=2, buckets=256, instances=4))
"""


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failure cost.

    `kind` is one of `FAILURES`. `sent` requests were sent between the failure and the repair, and `lost` of them were
    not answered. `away_ms` is the time from the failure until the last lost request was sent, 0 if none was lost: the
    time to steer away. `decided_ms` is the time from the failure until the path selector had set other weights; None
    for "selector" and "controller", about which it decides nothing. `lost_after` counts the lost requests that were
    sent after that decision, or after the failure if there is none.
    """

    kind: str
    sent: int
    lost: int
    away_ms: float
    decided_ms: float | None
    lost_after: int


@dataclass(frozen=True, slots=True)
class Failover:
    """The failures of a run; `device` is the kind of the switches, `detect` the detection time in seconds."""

    device: str
    detect: float
    failures: tuple[Failure, ...]

    def json(self) -> dict[str, object]:
        """Return the figures as data for JSON."""
        return {
            "device": self.device,
            "detect_ms": self.detect * 1e3,
            "failures": {each.kind: asdict(each) for each in self.failures},
        }


def run(
    kinds: Sequence[str] = FAILURES,
    *,
    device: str = "host",
    detect: float = 1.0,
    progress: Callable[[str], object] = lambda _: None,
) -> Failover:
    """Run the network, let each of these kinds of failures happen and be repaired, and return what they cost.

    Failures happen one after the other. `device` is the kind of the switches, and `detect` the detection time in
    seconds. `progress` is called with what happens. MidflightError for an unknown kind; DeviceError without root, if a
    process does not start, or if it does not notice a failure or a repair within a minute. The network is removed in
    any case.
    """
    if unknown := [each for each in kinds if each not in FAILURES]:
        raise MidflightError(f"there is no failure {unknown[0]!r}", hint=f"use {', '.join(FAILURES)}")
    with ExitStack() as stack:
        progress("starting")
        lab = _Lab(stack, device, detect)
        windows = []
        for kind in kinds:
            progress(f"failure: {kind}")
            windows.append((kind, lab.play(kind)))
        progress("collecting")
        requests = lab.finish()
    return Failover(device, detect, tuple(_cost(kind, *times, requests) for kind, times in windows))


def _cost(
    kind: str, failed: float, decided: float | None, repaired: float, requests: Sequence[tuple[float, bool]]
) -> Failure:
    """Return the cost of a failure; times are in seconds, and requests have the time at which they were sent."""
    those = [(sent, answered) for sent, answered in requests if failed <= sent < repaired]
    lost = [sent for sent, answered in those if not answered]
    return Failure(
        kind,
        len(those),
        len(lost),
        1e3 * (max(lost) - failed) if lost else 0.0,
        None if decided is None else 1e3 * (decided - failed),
        sum(sent > (failed if decided is None else decided) for sent in lost),
    )


class _Lab:
    """The running network: a client and the path selector at s1, and an instance behind each of s2 and s3.

    Everything is closed by `stack`.
    """

    def __init__(self, stack: ExitStack, device: str, detect: float) -> None:
        self._folder = Path(stack.enter_context(TemporaryDirectory(prefix=owned_prefix("failover"))))
        self._state = self._folder / "state"
        self._state.mkdir(0o700)
        links = [(_CLIENT, "s1"), (_SELECTOR, "s1"), *_SWITCHES.items(), ("s1", "s2"), ("s1", "s3")]
        topology = Topology.of(links)
        fabric = stack.enter_context(open_fabric("netns", topology, device))
        assert isinstance(fabric, NetnsFabric)
        self._fabric, self._device, self._detect = fabric, device, detect
        self._processes: dict[str, Process] = {}
        stack.callback(lambda: [each.stop() for each in self._processes.values()])
        for switch in topology.switches:
            self._link_socket(switch)
        (self._folder / "app.py").write_text(_APP)
        (self._folder / "network.yaml").write_text(json.dumps(self._network()))  # which is YAML, too
        self._start_controller(str(self._folder / "app.py"))
        self._client = stack.enter_context(CommandClient(self._state))
        self._client.call("add_service", service="vision", address=_CS_ID, weights=dict.fromkeys(_INSTANCES, 1.0))
        for name in _INSTANCES:
            fabric.hosts[name].accept(ip_address(_CS_ID))
            self._start_instance(name)
        self._start("client", _CLIENT, [sys.executable, "-I", "-S", "-c", _CLIENT_SCRIPT, str(self._folder)])
        self._start_selector()

    def play(self, kind: str) -> tuple[float, float | None, float]:
        """Let a failure happen and be repaired; return when it happened, was decided on, and was repaired.

        Times are in seconds of the monotonic clock, which all processes share.
        """
        failed = time.monotonic()
        decided: float | None = None
        match kind:
            case "instance":
                self._kill("service h3", "agent h3")
            case "link":
                self._link("down")
            case "forwarder":
                self._fabric.power("s2", on=False)
            case "selector":
                expired = self._processes["controller"].log().count("weights-expired")
                self._kill("selector")
                self._await("controller", "weights-expired", "the static weights return", expired + 1)
            case _:
                self._kill("controller")
                time.sleep(2 * self._detect)
        if kind in ("instance", "link", "forwarder"):
            self._decides(dead=True)
            decided = time.monotonic()
        time.sleep(self._detect)  # in which nothing more may be lost
        repaired = time.monotonic()
        match kind:
            case "instance":
                self._start_instance("h3")
            case "link":
                self._link("up")
            case "forwarder":
                self._fabric.power("s2", on=True)
                self._link_socket("s2")
            case "selector":
                self._start_selector()
            case _:
                self._start_controller()
        if decided is not None:
            self._decides(dead=False)
        return failed, decided, repaired

    def finish(self) -> list[tuple[float, bool]]:
        """Stop the client, and return when it sent each request, and whether it was answered."""
        (self._folder / "end").touch()
        client = self._processes["client"]
        if not client.wait(_PATIENCE) or client.status != "status 0":
            raise DeviceError(f"the client ended with {client.status}", hint=quoted(client.log(), self._folder))
        return [(sent, answered) for sent, answered in json.loads((self._folder / "requests.json").read_text())]

    def _network(self) -> dict[str, object]:
        topology = self._fabric.topology
        hosts, links = {}, []
        for link in topology.links:
            one, other = link.ends
            if one.node in topology.hosts:
                mac = topology.mac(one.node).to_bytes(6).hex(":")
                address = str(topology.address(one.node))
                hosts[one.node] = {"address": address, "mac": mac, "port": f"{other.node}:{other.number}"}
            else:
                links.append(f"{one.node}:{one.number} {other.node}:{other.number}")
        kind = self._device
        switches = {each: {"address": f"unix:{self._socket(each)}", "kind": kind} for each in topology.switches}
        return {"switches": switches, "hosts": hosts, "links": links}

    def _socket(self, switch: str) -> Path:
        return self._folder / switch

    def _link_socket(self, switch: str) -> None:
        """Let the address in the network's file lead to the switch's present process."""
        device = self._fabric.devices[switch]
        assert isinstance(device, SwitchProcess)
        self._socket(switch).unlink(missing_ok=True)
        self._socket(switch).symlink_to(device.address.removeprefix("unix:"))

    def _start(self, name: str, host: str, arguments: Sequence[str]) -> None:
        netns = str(NETNS / self._fabric.hosts[host].netns) if host else ""
        log = self._folder / f"{name}.log"
        log.write_text("")
        self._processes[name] = Process(arguments, log, netns=netns)

    def _midflight(self, name: str, host: str, *words: str) -> None:
        self._start(name, host, [sys.executable, "-m", "midflight", *words])

    def _start_controller(self, *app: str) -> None:
        where = "--switches", str(self._folder / "network.yaml"), "--state", str(self._state)
        self._midflight("controller", "", "deploy", *app, *where)
        self._await("controller", "accepting commands", "the controller starts")

    def _start_instance(self, name: str) -> None:
        serve = [sys.executable, "-c", _SERVICE_SCRIPT, name]
        self._start(f"service {name}", name, serve)
        own, to = str(self._fabric.hosts[name].address), str(self._fabric.hosts[_SELECTOR].address)
        seconds = str(self._detect / 5)
        words = "--cs-id", _CS_ID, "--csci-id", own, "--to", f"{to}:7700", "--interval", seconds, "--period", seconds
        self._await(f"service {name}", "ready", f"{name} serves")
        self._midflight(f"agent {name}", name, "sma", "--service", f"udp://{_CS_ID}:{_PORT}", *words)

    def _start_selector(self) -> None:
        listen = f"{self._fabric.hosts[_SELECTOR].address}:7700"
        times = "--detect", str(self._detect), "--period", str(self._detect / 3)
        self._midflight("selector", _SELECTOR, "cps", "--listen", listen, *times, "--json", "--state", str(self._state))
        self._await("selector", '"measured"', "the path selector measures")

    def _kill(self, *names: str) -> None:
        for name in names:
            os.killpg(self._processes[name].pid, signal.SIGKILL)
        for name in names:
            self._processes[name].wait(_PATIENCE)

    def _link(self, state: str) -> None:
        topology = self._fabric.topology
        port = next(number for number, (far, _) in topology.ports("s1").items() if far.node == "s2")
        command([f"link set eth{port} {state}"], netns=self._fabric.run.namespaces["s1"])

    def _decides(self, *, dead: bool) -> None:
        """Wait until the last decision of the path selector leaves an instance out, or none."""
        what = "the path selector leaves an instance" if dead else "the path selector uses all instances again"

        def decided(log: str) -> bool:
            lines = [json.loads(each) for each in log.splitlines() if each.startswith("{") and each.endswith("}")]
            return bool(lines) and bool(lines[-1]["dead"]) == dead

        self._until("selector", decided, what)

    def _await(self, name: str, word: str, what: str, count: int = 1) -> None:
        self._until(name, lambda log: log.count(word) >= count, what)

    def _until(self, name: str, holds: Callable[[str], bool], what: str) -> None:
        process, until = self._processes[name], time.monotonic() + _PATIENCE
        while not holds(process.log()):
            if not process.alive or time.monotonic() > until:
                raise DeviceError(f"it does not happen that {what}", hint=quoted(process.log(), self._folder))
            time.sleep(0.02)


_SERVICE_SCRIPT = f"""
import sys, threading, time
from midflight.runtime.steering.agents.services import UdpService
def serve(request):
    time.sleep(0.012)
    return sys.argv[1].encode()
with UdpService(serve, "{_CS_ID}", {_PORT}, workers=2):
    print("ready", flush=True)
    threading.Event().wait()
"""
"""A service of 12 ms that answers with the name of its host. One instance alone can serve all requests."""

_CLIENT_SCRIPT = f"""
import json, os, select, socket, sys, time
folder, waiting, found, number, ending = sys.argv[1], {{}}, [], 0, 0.0
due = time.monotonic()
while not ending or (waiting and time.monotonic() < ending + 2):
    now = time.monotonic()
    if not ending and os.path.exists(os.path.join(folder, "end")):
        ending = now
    if not ending and now >= due:
        own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        own.bind(("", 20000 + number % 40000))
        own.connect(("{_CS_ID}", {_PORT}))
        waiting[own], number, due = (number, time.monotonic()), number + 1, max(due + 0.01, now)
        found.append([waiting[own][1], False])
        own.send(b"request")
    for own in select.select(list(waiting), [], [], 0.002)[0]:
        try:
            found[waiting[own][0]][1] = bool(own.recv(2000))
        except OSError:
            continue  # the host says that nobody serves
        del waiting[own]
        own.close()
    for own in [own for own, (_, sent) in waiting.items() if now - sent > 3]:
        del waiting[own]
        own.close()
with open(os.path.join(folder, "requests.json"), "w") as file:
    json.dump(found, file)
"""
"""A client: sends a request every 10 ms from another port, and waits 3 s for each answer."""
