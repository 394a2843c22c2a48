"""The embedded switch in this process: an engine behind a P4Runtime server on loopback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from midflight.errors import DeviceError
from midflight.runtime.checked import CheckedProgram, Programs
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.p4runtime.ports.opening import Ports, open_ports
from midflight.runtime.p4runtime.server.server import Server
from midflight.runtime.p4runtime.server.switch import Switch

__all__ = ["CAPABILITIES", "HostDevice"]

CAPABILITIES = Capabilities(
    kind="host",
    match_kinds=frozenset({"exact", "lpm", "ternary", "range", "optional"}),
    packets_per_second=5e6,
)


class HostDevice:
    """An embedded switch, ready for controllers as soon as it is made.

    `source` is the P4_16 program to start with; without one it waits for a controller's, dropping every packet.
    The program is given packets by `process`: whoever simulates the network calls it. Or it has ports: `interfaces`
    are, by port number, Linux interfaces, which takes root, or captures to play and to write, as `pcap:IN,OUT`.
    `netns` is the network namespace of the interfaces, by name or file; P4Runtime is served where this process is.
    `pcap` is a folder to keep each port's packets in. Of `threads` one runs the program and the others send. What the
    ports have seen is in `ports.stats`. Switches that share `programs` compile each text once.
    """

    capabilities = CAPABILITIES

    def __init__(
        self,
        source: str | None = None,
        *,
        file: str = "<string>",
        device_id: int = 1,
        address: str = "127.0.0.1:0",
        cpu_port: int = 510,
        seed: int = 0,
        interfaces: Mapping[int, str] | None = None,
        netns: str = "",
        pcap: Path | None = None,
        threads: int = 1,
        programs: Programs | None = None,
    ) -> None:
        self.switch = Switch(device_id=device_id, cpu_port=cpu_port, seed=seed, programs=programs)
        if source is not None:
            self.switch.load(source, file)
        self.ports: Ports | None = None
        if interfaces:
            self.ports = open_ports(self.switch, interfaces, netns=netns, captures=pcap, threads=threads)
        try:
            self._server = Server(self.switch, address).start()
        except BaseException:
            if self.ports is not None:
                self.ports.close()
            raise
        if self.ports is not None:
            self.ports.start()

    @property
    def address(self) -> str:
        """Its P4Runtime endpoint, "host:port"."""
        return self._server.address

    @property
    def device_id(self) -> int:
        """Its P4Runtime device id."""
        return self.switch.device_id

    def compile(self, program: CheckedProgram) -> PipelineConfig:
        """Check a program; its text is the config. P4Error where it is wrong."""
        return PipelineConfig(program.p4info, program.standalone.encode())

    def load(self, source: str, file: str = "<string>") -> None:
        """Put a program in place; P4Error where it does not compile, and the device keeps what it had."""
        self.switch.load(source, file)

    def session(self, *, role: str = "", election_id: int | None = None) -> Session:
        """Open a controller's session; the caller closes it."""
        return Session(self.address, self.device_id, role=role, election_id=election_id)

    def process(self, packets: Packets, now: int = 0) -> Packets:
        """Run a batch through the pipeline at `now` (microseconds) and return what leaves by the ports.

        Packet-ins and digests are with the controllers' streams when this returns. DeviceError for a switch that has
        ports of its own.
        """
        if self.ports is not None:
            raise DeviceError("this switch has its packets from its ports, and takes none from here")
        return self.switch.process(packets, now)

    def transmitted(self) -> Packets:
        """Return, once, what controllers' packet-outs have sent by the ports since the last call."""
        return self.switch.transmitted()

    def close(self) -> None:
        """Work off what has arrived, end the sessions and stop the server. May be called more than once."""
        if self.ports is not None:
            self.ports.close()
        self._server.stop()

    def __enter__(self) -> HostDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
