"""A network in namespaces whose switches and controllers are separate processes, which tests may kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from midflight.runtime.controller.service.client import CommandClient
from midflight.runtime.devices.base import Device
from midflight.runtime.devices.blank import blank_program
from midflight.runtime.devices.toolchain import SIMPLE_SWITCH_GRPC
from midflight.testbed.fabric.namespaces import mac
from midflight.testbed.fabric.netns import NetnsFabric
from midflight.testbed.topology import Topology

__all__ = ["ByHand", "Started"]

PATIENCE = 90.0
WORKER = Path(__file__).with_name("worker.py")


class Started:
    """A process. The lines of one of its output streams are collected as they arrive."""

    def __init__(self, arguments: Sequence[str], stream: str, *, netns: str = "") -> None:
        inside = ["ip", "netns", "exec", netns] if netns else []
        self.arguments = [*inside, *arguments]
        self.process = subprocess.Popen(
            self.arguments,
            stdin=subprocess.PIPE,
            text=True,
            **{"stdout": subprocess.DEVNULL, stream: subprocess.PIPE},  # type: ignore[call-overload]
        )
        self.lines: list[str] = []
        self._came = threading.Condition()
        self._output: IO[str] = getattr(self.process, stream)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self, wanted: Callable[[str], bool], after: int = 0) -> str:
        """Wait for the first wanted line from index `after` on, and return it."""

        def found() -> list[str]:
            return [each for each in self.lines[after:] if wanted(each)]

        with self._came:
            self._came.wait_for(lambda: found() or not self._reader.is_alive(), PATIENCE)
            assert found(), f"{' '.join(self.arguments)}\n{''.join(self.lines)}"
            return found()[0]

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Terminate the process, and read the rest of its output. Idempotent."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            self._reader.join()
            self._output.close()
            if self.process.stdin is not None:
                self.process.stdin.close()

    def _read(self) -> None:
        for line in self._output:
            with self._came:
                self.lines.append(line)
                self._came.notify_all()
        with self._came:
            self._came.notify_all()


class Controller(Started):
    """A controller that logs JSON."""

    def event(self, kind: str, switch: str = "", after: int = 0) -> dict[str, Any]:
        """Wait for the first event of a kind, and of a switch if given, and return it."""

        def wanted(line: str) -> bool:
            found = json.loads(line) if line.startswith("{") else {}
            return found.get("event") == kind and switch in ("", found.get("switch"))

        return dict(json.loads(self.wait(wanted, after)))

    def kinds(self, switch: str = "") -> list[str]:
        """Return the kinds of all events so far."""
        found = [json.loads(each) for each in self.lines if each.startswith("{")]
        return [each["event"] for each in found if switch in ("", each.get("switch"))]


class Worker(Started):
    """A worker that computes sums until all workers stop, and prints a line for each."""

    def rounds(self, more: int) -> None:
        """Wait until the worker has completed `more` further sums."""
        after = len(self.lines)
        self.wait(lambda _: len(self.lines) >= after + more)

    def stop(self) -> None:
        """Stop all workers of the job after one more sum."""
        assert self.process.stdin is not None
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()

    def report(self) -> dict[str, Any]:
        """Wait for the successful end of the worker, and return its statistics."""
        assert self.process.wait(PATIENCE) == 0, "".join(self.lines)
        self._reader.join()
        return dict(json.loads(self.lines[-1]))


class _Elsewhere:
    """Stands for a switch that the fabric does not start."""

    def close(self) -> None:
        """Do nothing."""

    def __enter__(self) -> _Elsewhere:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


class ByHand:
    """The network. Switch s1 is embedded, s2 is of `kind`. A context manager, which ends all processes on exit."""

    def __init__(self, topology: Topology, folder: Path, app: str, kind: str) -> None:
        self.folder = folder
        self.kinds = {"s1": "host", "s2": kind}
        self.switches: dict[str, Started] = {}
        self._stack = ExitStack()
        self._places: dict[str, tuple[str, Mapping[int, str]]] = {}
        (folder / "app.py").write_text(app)
        (folder / "blank.json").write_text(blank_program())

        def opener(name: str, netns: str, interfaces: Mapping[int, str], _: Path) -> Device:
            self._places[name] = netns, dict(interfaces)
            return cast(Device, _Elsewhere())

        self.fabric = self._stack.enter_context(NetnsFabric(topology, opener))
        (folder / "network.yaml").write_text(self._network(topology))

    def start_switch(self, name: str) -> Started:
        """Start a switch process, and wait until it accepts controllers."""
        netns, interfaces = self._places[name]
        ports = [word for port, interface in interfaces.items() for word in ("-i", f"{port}@{interface}")]
        address = f"unix:{self.folder / name}"
        if self.kinds[name] == "host":
            command = [sys.executable, "-m", "midflight", "switch", *ports, "--grpc-server-addr", address]
            ready = "P4Runtime on"
        else:
            command = [SIMPLE_SWITCH_GRPC.find(), str(self.folder / "blank.json"), "--device-id", "1", *ports]
            command += ["--thrift-port", "0", "--log-console", "-L", "info"]
            command += ["--", "--grpc-server-addr", address, "--cpu-port", "510"]
            ready = "Server listening"
        started = Started(command, "stdout", netns=netns)
        self._stack.callback(started.close)
        started.wait(lambda line: ready in line)
        self.switches[name] = started
        return started

    def deploy(self, *options: str, app: bool = True) -> Controller:
        """Start a controller process."""
        source = [str(self.folder / "app.py")] if app else []
        command = [sys.executable, "-m", "midflight", "deploy", *source, "--log", "json"]
        command += ["--switches", str(self.folder / "network.yaml"), "--state", str(self.folder / "state"), *options]
        started = Controller(command, "stderr")
        self._stack.callback(started.close)
        return started

    def command(self, *words: str) -> dict[str, Any]:
        """Run a command of the controller, and return its JSON output."""
        command = [sys.executable, "-m", "midflight", *words, "--state", str(self.folder / "state"), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def client(self) -> CommandClient:
        """Return a client of the controller's command socket."""
        return self._stack.enter_context(CommandClient(self.folder / "state"))

    def start_workers(self, application: str, *hosts: str, server: str, patient: bool) -> list[Worker]:
        """Start a job: one worker process in each host's namespace, configured by tickets."""
        found = self.command("admit", application, "--hosts", ",".join(hosts), "--server", server)
        workers = []
        for ticket in found["tickets"]:
            file = self.folder / f"{application}-{ticket['worker']}.json"
            file.write_text(json.dumps(ticket))
            command = [sys.executable, str(WORKER), str(file), "patient" if patient else "quick"]
            workers.append(Worker(command, "stdout", netns=self.fabric.hosts[ticket["host"]].netns))
            self._stack.callback(workers[-1].close)
        return workers

    def __enter__(self) -> ByHand:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _network(self, topology: Topology) -> str:
        lines = ["switches:"]
        lines += [f'  {name}: {{address: "unix:{self.folder / name}", kind: {it}}}' for name, it in self.kinds.items()]
        lines.append("hosts:")
        for name in topology.hosts:
            lines.append(f'  {name}: {{address: {topology.address(name)}, mac: "{mac(topology.mac(name))}"}}')
        lines.append("links:")
        lines += [f'  - "{link.one} {link.other}"' for link in topology.links]
        return "\n".join(lines) + "\n"
