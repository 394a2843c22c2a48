"""The embedded switch and BMv2 as switches for Mininet.

On the command line, without a controller of Mininet's:

    sudo mn --custom midflight/testbed/mininet.py --switch midflight,program=prog.p4 --controller none
    sudo mn --custom midflight/testbed/mininet.py --switch bmv2,program=prog.p4 --controller none --topo linear,3

and in scripts: `Mininet(topo=..., switch=partial(MidflightSwitch, program="prog.p4"), controller=None)`.

Mininet runs under the system's Python, where Midflight does not have to be installed: this file only imports Mininet
and the standard library, and starts the switch as a program. The program is `midflight` on PATH, unless the parameter
`midflight` or the environment variable MIDFLIGHT names another. sudo resets PATH, so pass it on: sudo env PATH="$PATH"
mn ... Switch sN serves P4Runtime on 127.0.0.1, port 9558 + N, with device id N.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mininet.node import Switch

__all__ = ["Bmv2Switch", "MidflightSwitch", "switches"]

_FIRST_PORT = 9558
_PATIENCE = 60.0  # seconds that a switch has to start
_PR_SET_PDEATHSIG = 1
# Turn off the offloads of checksums and segmentation, since there are no network cards to compute them:
# ETHTOOL_STXCSUM, SSG, STSO, SGSO and SGRO through SIOCETHTOOL, in the namespace of the interface.
_OFFLOADS_OFF = """
import ctypes, fcntl, socket, struct, sys
with socket.socket() as control:
    for number in (0x17, 0x19, 0x1F, 0x24, 0x2C):
        value = ctypes.create_string_buffer(struct.pack("II", number, 0))
        try:
            fcntl.ioctl(control, 0x8946, struct.pack("16sP16x", sys.argv[1].encode(), ctypes.addressof(value)))
        except OSError:
            pass
"""


class MidflightSwitch(Switch):  # type: ignore[misc]
    """A Mininet switch that runs the embedded switch as a process, with a P4_16 program for v1model.

    program: the P4 file.
    grpc: the address for P4Runtime, "host:port", instead of 127.0.0.1 and port 9558 + N for switch sN.
    cpu_port: the port number of packet-in and packet-out.
    pcap: a folder for captures of each interface.
    midflight: the executable to start, instead of `midflight` on PATH.
    """

    program_of = "midflight"
    variable = "MIDFLIGHT"

    def __init__(
        self,
        name: str,
        program: str = "",
        grpc: str = "",
        cpu_port: int = 510,
        pcap: str = "",
        midflight: str = "",
        **parameters: Any,
    ) -> None:
        super().__init__(name, **parameters)
        self.program = program
        self.device_id = int(self.dpid, 16)
        self.grpc = grpc or f"127.0.0.1:{_FIRST_PORT + self.device_id}"
        self.cpu_port = int(cpu_port)
        self.pcap = pcap
        self.executable = midflight
        self._process: Any = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def start(self, _controllers: object) -> None:
        """Start the switch's process, and return when it serves P4Runtime. Mininet calls this; controllers are ignored.

        RuntimeError if the P4 program or the switch's executable is missing, or, with its log, if it does not start.
        """
        if not self.program or not Path(self.program).is_file():
            raise RuntimeError(f"{self.name} needs a P4 program: program={self.program or 'prog.p4'}")
        self._folder = tempfile.TemporaryDirectory(prefix=f"midflight-mininet-{self.name}-")
        ports = {port: interface for port, interface in self.intfs.items() if interface.name != "lo"}
        for interface in ports.values():
            for end in (interface.link.intf1, interface.link.intf2):
                end.node.pexec([sys.executable, "-I", "-S", "-c", _OFFLOADS_OFF, end.name])
        command = self.command({port: interface.name for port, interface in ports.items()}, Path(self._folder.name))
        with self.log.open("wb") as log:
            self._process = self.popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_end_with_mininet
            )
        self._wait()

    @property
    def log(self) -> Path:
        """The file with the output of the switch's process. AssertionError before `start`."""
        assert self._folder is not None, "the switch has not been started"
        return Path(self._folder.name, "log")

    def command(self, ports: dict[int, str], _folder: Path) -> list[str]:
        """Return the command line that runs the switch with these interfaces, given by port number.

        The folder is for files of the switch's own. RuntimeError if the executable is not found.
        """
        pcap = ["--pcap", self.pcap] if self.pcap else []
        return [*self.find(), "switch", self.program, *_interfaces(ports), *self._options(), *pcap]

    def find(self) -> list[str]:
        """Return the beginning of the command line, which names the executable. RuntimeError if it is not found."""
        given = self.executable or os.environ.get(self.variable, "")
        if found := shutil.which(given or self.program_of):
            return [found]
        if not given and self.program_of == "midflight" and __name__ == "midflight.testbed.mininet":
            return [sys.executable, "-m", "midflight"]
        raise RuntimeError(
            f"{given or self.program_of} is not on PATH: set {self.variable} to its path, or use sudo env PATH=$PATH"
        )

    def stop(self, deleteIntfs: bool = True) -> None:  # noqa: N803 (Mininet's name)
        """Stop the switch's process and remove its files. Mininet calls this; `deleteIntfs` is passed on to Mininet."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        super().stop(deleteIntfs)

    def _options(self) -> list[str]:
        return ["--device-id", str(self.device_id), "--grpc-server-addr", self.grpc, "--cpu-port", str(self.cpu_port)]

    def _wait(self) -> None:
        host, _, port = self.grpc.rpartition(":")
        deadline = time.monotonic() + _PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection((host, int(port)), 1.0).close()
                return
            except OSError:
                time.sleep(0.05)
        log = self.log.read_text(errors="replace").strip()
        self.stop(deleteIntfs=False)
        raise RuntimeError(f"{self.name} does not serve P4Runtime on {self.grpc}:\n{log[-2000:]}")


class Bmv2Switch(MidflightSwitch):
    """A Mininet switch that runs BMv2's simple_switch_grpc. `bmv2` is the executable to start.

    Other parameters are those of `MidflightSwitch`. p4c-bm2-ss, or the program that MIDFLIGHT_P4C names, compiles the
    P4 file. A .json file is loaded without compiling.
    """

    program_of = "simple_switch_grpc"
    variable = "MIDFLIGHT_SIMPLE_SWITCH_GRPC"

    def __init__(self, name: str, program: str = "", bmv2: str = "", **parameters: Any) -> None:
        super().__init__(name, program, midflight=bmv2, **parameters)

    def command(self, ports: dict[int, str], folder: Path) -> list[str]:
        """Compile the program into the folder, and return the command line that runs the switch with these interfaces.

        RuntimeError if p4c or simple_switch_grpc is missing, or if p4c rejects the program.
        """
        compiled = self.program
        if Path(compiled).suffix != ".json":
            name = os.environ.get("MIDFLIGHT_P4C", "p4c-bm2-ss")
            compiler = shutil.which(name)
            if compiler is None:
                raise RuntimeError(f"{name} is not on PATH: install p4lang-p4c, or set MIDFLIGHT_P4C to its path")
            compiled = str(folder / "program.json")
            done = subprocess.run([compiler, "-o", compiled, self.program], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"p4c rejected {self.program}:\n{done.stderr.strip()}")
        pcap = [f"--pcap={self.pcap}"] if self.pcap else []
        command = [
            *self.find(),
            compiled,
            *_interfaces(ports),
            *pcap,
            "--thrift-port",
            "0",
            "--log-console",
            "-L",
            "info",
        ]
        device = ["--device-id", str(self.device_id)]
        return [*command, *device, "--", "--grpc-server-addr", self.grpc, "--cpu-port", str(self.cpu_port)]


def _interfaces(ports: dict[int, str]) -> list[str]:
    return [word for port, name in sorted(ports.items()) for word in ("-i", f"{port}@{name}")]


def _end_with_mininet() -> None:
    """Let the kernel kill this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)


switches = {"midflight": MidflightSwitch, "bmv2": Bmv2Switch}
"""The switches that `mn --custom` adds, by the names for `--switch`."""
