"""BMv2: p4lang's simple_switch_grpc as a device, a process of its own that runs what p4c compiled.

It does the same as the embedded switch, byte for byte, except where the language leaves it free and in these points,
as of BMv2 1.15.5 and p4c 1.2.5.16:

- A `register` of signed numbers gives a negative one back as a large one. A cast to bits and back mends it.
- A release build checks no index of a register or counter: one that is too large is another part of its memory.
- A `select` of which no case matches ends the parser without an error; the specification has it `error.NoMatch`.
- The fields of a header that is not valid are what an earlier packet left there.
- Of a packet's digests it sends the last; of several calls of `digest` with one struct it sends one's at once and the
  others' up to a second later. A digest that is equal to another on its way to the controller is not sent again.
- A table may be applied in one place of a control only, and a shift amount has at most 8 bits: p4c refuses more.
- A copy that finds 64 packets waiting for its port is dropped.
- A pipeline that it refuses it does not run, and yet its P4Runtime server takes that for the one there is: entries can
  neither be read nor written, nor another pipeline pushed, until the switch is started anew.
- Its P4Runtime server neither reads nor writes registers.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from midflight.errors import DeviceError
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.devices.blank import blank_program
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.dataplane import Dataplane
from midflight.runtime.devices.switchprocess import SwitchProcess
from midflight.runtime.devices.toolchain import SIMPLE_SWITCH_GRPC, compile_p4
from midflight.runtime.engine import Packets

__all__ = ["CAPABILITIES", "Bmv2Device"]

CAPABILITIES = Capabilities(
    kind="bmv2",
    match_kinds=frozenset({"exact", "lpm", "ternary", "range", "optional"}),
    registers_over_p4runtime=False,
    repeated_digests=False,
    prompt_digests=False,
    packets_per_second=2e4,
)

# The bytes that a unix socket's path may have.
LONGEST_PATH = 107


class Bmv2Device(SwitchProcess):
    """A BMv2 switch, ready for controllers as soon as it is made.

    `source` is the P4_16 program to start with; without one it waits for a controller's. `interfaces` are the Linux
    interfaces it has for ports, by port number; this takes root. Without any, its packets are given to it by
    `process`, and the switch runs in a network namespace of its own, where the system allows that, so that nobody
    reaches the Thrift server that it cannot be kept from running.

    `netns` is the network namespace that the interfaces are in, by name or file. `address` is where it serves
    P4Runtime: a unix socket of its own by default, which only this user reaches and which is reached from every
    network namespace; or "host:port", with port 0 for a free one. `pcap` is a folder to keep each interface's packets
    in, and `folder` where it makes one for its own files, the system's by default. `log_level` is one of BMv2's.
    `patience` is how many seconds it is given to answer.

    DeviceError where simple_switch_grpc is missing, does not start or does not answer, with the end of its log.
    """

    capabilities = CAPABILITIES

    def __init__(
        self,
        source: str | None = None,
        *,
        file: str = "<string>",
        device_id: int = 1,
        address: str | None = None,
        cpu_port: int = 510,
        interfaces: Mapping[int, str] | None = None,
        netns: str = "",
        pcap: Path | None = None,
        folder: Path | None = None,
        log_level: str = "info",
        patience: float = 30.0,
    ) -> None:
        if cpu_port in (interfaces or {}):
            raise DeviceError(f"port {cpu_port} is the controller's and cannot be an interface's")
        self._log_level = log_level
        program = SIMPLE_SWITCH_GRPC.find()
        pipeline = None if source is None else self.compile(CheckedProgram(source, file))
        super().__init__("simple_switch_grpc", device_id, prefix="midflight-bmv2-", place=folder)
        self._dataplane: Dataplane | None = None
        self._reserved: socket.socket | None = None
        try:
            self._address, self._reserved = self._place(address or self.address, netns)
            (self.folder / "blank.json").write_text(blank_program())
            options = [
                f"{self.folder}/blank.json",
                "--device-id",
                str(device_id),
                "--log-console",
                "-L",
                log_level,
                "--thrift-port",
                "0",
            ]
            for port, interface in (interfaces or {}).items():
                options += ["-i", f"{port}@{interface}"]
            if pcap is not None:
                options.append(f"--pcap={pcap.absolute()}")
            options += ["--", "--grpc-server-addr", self._address, "--cpu-port", str(cpu_port)]
            inside = netns if not netns or "/" in netns else f"/run/netns/{netns}"
            if not interfaces:
                options += ["--dp-grpc-server-addr", f"unix:{self.folder}/packets"]
                if address is None and not netns:
                    inside = "new"
            self._run([program, *options], netns=inside, patience=patience)
            if "Add port operation failed" in self.log():  # it goes on without
                raise DeviceError(
                    "BMv2 cannot have its interfaces; they must be there, and this root", hint=self._quoted()
                )
            if not interfaces:
                self._dataplane = Dataplane(f"unix:{self.folder}/packets", device_id, self._lost, patience)
            if pipeline is not None:
                self._push(pipeline)
        except BaseException:
            self.close()
            raise

    def compile(self, program: CheckedProgram) -> PipelineConfig:
        """Compile a program's text with p4c; P4Error with its words where it refuses."""
        return compile_p4(program.text, program.file)

    def load(self, source: str, file: str = "<string>") -> None:
        """Put a program in place; P4Error where it does not compile, and the device keeps what it had.

        DeviceError while a controller is its primary: then it is that one's to load.
        """
        self._push(self.compile(CheckedProgram(source, file)))

    def packet_log(self) -> Path:
        """Return the file of its log, which tells every packet's way; DeviceError where the level is not "trace"."""
        if self._log_level != "trace":
            raise DeviceError(
                "this BMv2 does not log its packets", hint='start it with log_level="trace", or midflight net --trace'
            )
        return self.folder / "log"

    def process(self, packets: Packets, now: int = 0) -> Packets:  # noqa: ARG002
        """Run packets through the pipeline and return what leaves by the ports, when the switch is done with all.

        In the order of the packets given, and of one packet's by port. `now` changes nothing: BMv2 has a clock of its
        own. Packet-ins and digests may reach the controllers after this returns. DeviceError for a switch that has
        interfaces.
        """
        return self._packets().process(packets)

    def transmitted(self) -> Packets:
        """Return, once, what controllers' packet-outs have sent by the ports since the last call."""
        return self._packets().transmitted()

    def close(self) -> None:
        """End the switch and remove what it left. May be called more than once."""
        if self._dataplane is not None:
            self._dataplane.close()
            self._dataplane = None
        super().close()
        if self._reserved is not None:
            self._reserved.close()

    @staticmethod
    def _place(address: str, netns: str) -> tuple[str, socket.socket | None]:
        """Return the address to serve at, and what keeps it free for the switch."""
        if address.startswith("unix:"):
            if len(address.removeprefix("unix:").encode()) > LONGEST_PATH:
                raise DeviceError(f"{address} is too long for a socket", hint="set TMPDIR to a shorter path")
            return address, None
        if netns:
            raise DeviceError(
                f"{address} would be in the network namespace {netns}, where no session reaches it",
                hint="leave the address out, or tell a unix:/path",
            )
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise DeviceError(f"{address!r} is no address", hint='tell "host:port" or "unix:/path"')
        # gRPC shares a port that another gRPC server has, silently. So it is first taken alone, and then kept for the
        # switch: bound and shared, but not listened to.
        try:
            family, _, _, _, where = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
            with socket.socket(family, socket.SOCK_STREAM) as alone:
                alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                alone.bind(where)
                where = alone.getsockname()
            reserved = socket.socket(family, socket.SOCK_STREAM)
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reserved.bind(where)
        except OSError as error:
            raise DeviceError(f"cannot serve at {address}: {error.strerror}") from None
        return f"{host}:{where[1]}", reserved

    def _push(self, pipeline: PipelineConfig) -> None:
        with self.session() as session:
            session.load(pipeline.p4info, pipeline.config)

    def _packets(self) -> Dataplane:
        if not self.alive:
            raise self._lost()
        if self._dataplane is None:
            raise DeviceError("this BMv2 has its packets from its interfaces, and takes none from here")
        return self._dataplane
