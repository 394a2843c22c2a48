"""BMv2: p4lang's simple_switch_grpc as a device, in a process of its own, with programs compiled by p4c.

It behaves like the embedded switch, byte for byte, except where P4 leaves the behaviour open, and for these differences
of BMv2 1.15.5 and p4c 1.2.5.16:

- A negative number in a `register` of signed numbers is read as a large positive one. A cast to bits and back corrects
  it.
- A release build does not check indexes of registers and counters: an index out of range accesses other memory.
- A `select` without a matching case ends the parser without an error, instead of with `error.NoMatch`.
- The fields of an invalid header have the values of an earlier packet.
- Of several digests of one packet, only the last is sent. Of several `digest` calls with the same struct, one is sent
  immediately, and the others up to a second later. A digest that equals an unacknowledged one is not sent.
- A control may apply a table in only one place, and a shift amount has at most 8 bits; p4c rejects others.
- A copy for a port with 64 waiting packets is dropped.
- If the switch rejects a pipeline, its P4Runtime server nevertheless considers it the current one: entries can be
  neither read nor written, and no other pipeline pushed, until the switch restarts.
- Its P4Runtime server cannot read or write registers.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from midflight.errors import DeviceError
from midflight.p4.bmv2json.emit import is_bmv2_json
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.devices.blank import blank_program
from midflight.runtime.devices.dataplane import Dataplane
from midflight.runtime.devices.sheetfile import SheetOf
from midflight.runtime.devices.switchprocess import SwitchProcess
from midflight.runtime.devices.toolchain import SIMPLE_SWITCH_GRPC, compile_p4
from midflight.runtime.engine import Packets

__all__ = ["Bmv2Device"]

# The maximum bytes in the path of a unix socket.
LONGEST_PATH = 107


class Bmv2Device(SwitchProcess):
    """A BMv2 switch, which is ready for controllers when the constructor returns.

    source: the P4_16 program to start with; without one, the switch drops packets until a controller loads a program
    file: the name of the program in messages
    device_id: the P4Runtime device id
    address: where to serve P4Runtime: "host:port", with port 0 for a free one, or "unix:/path"; by default a unix
        socket that only this user can connect to, from every network namespace
    cpu_port: the port number of packet-ins and packet-outs, which no interface may have
    interfaces: the Linux interfaces of the ports, by port number; requires root
    netns: the network namespace in which the process runs and the interfaces are, by name or file
    pcap: a folder for captures of each interface
    folder: where to create the switch's folder for files; by default the system's temporary folder
    log_level: one of BMv2's, such as "trace"
    patience: the timeout for the start, and for each batch of packets in `process`, in seconds

    Without interfaces, packets are passed to `process`, and the switch runs in a network namespace of its own if the
    system permits it, so that its Thrift server, which cannot be disabled, is not reachable.

    Raises P4Error for an invalid program. DeviceError if simple_switch_grpc or p4c is missing, if the address is
    invalid or in use, or, with the end of the log, if the switch does not start, does not answer, or cannot open an
    interface.
    """

    capabilities = SheetOf("bmv2")

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
            raise DeviceError(f"port {cpu_port} is the controller's port and cannot have an interface")
        self._log_level = log_level
        program = SIMPLE_SWITCH_GRPC.find()
        pipeline = None if source is None else self.compile(CheckedProgram(source, file))
        super().__init__("simple_switch_grpc", device_id, kind="bmv2", place=folder)
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
            if "Add port operation failed" in self.log():  # BMv2 continues without the port
                raise DeviceError(
                    "BMv2 cannot open its interfaces: they must exist, and this requires root", hint=self._quoted()
                )
            if not interfaces:
                self._dataplane = Dataplane(f"unix:{self.folder}/packets", device_id, self.lost, patience)
            if pipeline is not None:
                self._push(pipeline)
        except BaseException:
            self.close()
            raise

    def compile(self, program: CheckedProgram) -> PipelineConfig:
        """Compile a program's text with p4c. A text in BMv2's JSON format is the config as it is.

        P4Error with p4c's message for an invalid program; DeviceError if p4c is missing, cannot be run, or takes more
        than 2 minutes.
        """
        if is_bmv2_json(program.text):
            return PipelineConfig(program.p4info, program.text.encode())
        return compile_p4(program.text, program.file)

    def load(self, source: str, file: str = "<string>") -> None:
        """Replace the program by the P4_16 text `source`, named `file` in messages.

        P4Error if it does not compile. DeviceError as for `compile`, while a controller is the primary, which must load
        programs itself, or if the process has died. The device then keeps its previous program. DeviceError also if
        BMv2 rejects what p4c has compiled; the switch is then of no use until it restarts (see the module).
        """
        self._push(self.compile(CheckedProgram(source, file)))

    def packet_log(self) -> Path:
        """Return the path of the log file with traces of all packets. DeviceError unless `log_level` is "trace"."""
        if self._log_level != "trace":
            raise DeviceError(
                "this BMv2 does not log its packets", hint='start it with log_level="trace", or midflight net --trace'
            )
        return self.folder / "log"

    def process(self, packets: Packets, now: int = 0) -> Packets:  # noqa: ARG002
        """Process packets, wait until the switch has finished, and return the packets that leave through ports.

        They are in the order of the input packets, and by port for the same input packet. `now` is ignored, because
        BMv2 has its own clock. Packet-ins and digests may reach the controllers later. DeviceError for a switch with
        interfaces, or if it has died or takes longer than `patience` for 32 packets.
        """
        return self._packets().process(packets)

    def transmitted(self) -> Packets:
        """Remove and return the packets that left through ports because of controllers' packet-outs, after waiting for
        them.

        DeviceError for a switch with interfaces, or if it has died or does not answer.
        """
        return self._packets().transmitted()

    def close(self) -> None:
        """Stop the switch's process, and remove its folder with its files. Idempotent."""
        if self._dataplane is not None:
            self._dataplane.close()
            self._dataplane = None
        super().close()
        if self._reserved is not None:
            self._reserved.close()

    @staticmethod
    def _place(address: str, netns: str) -> tuple[str, socket.socket | None]:
        """Return the address to serve at, and for "host:port" a socket that reserves it for the switch."""
        if address.startswith("unix:"):
            if len(address.removeprefix("unix:").encode()) > LONGEST_PATH:
                raise DeviceError(f"{address} is too long for a unix socket", hint="set TMPDIR to a shorter path")
            return address, None
        if netns:
            raise DeviceError(
                f"{address} would be in the network namespace {netns}, where no session can reach it",
                hint="omit the address, or use a unix:/path",
            )
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise DeviceError(f"{address!r} is not an address", hint='use "host:port" or "unix:/path"')
        # gRPC silently shares a port with another gRPC server. So the port is first bound exclusively, and then
        # reserved for the switch: bound and shared, but without listening.
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
            raise self.lost()
        if self._dataplane is None:
            raise DeviceError("this BMv2 gets its packets from its interfaces, not from `process`")
        return self._dataplane
