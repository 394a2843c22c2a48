"""The embedded switch in a process of its own, `midflight switch`, with Linux interfaces as ports."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.forkserver import ForkServer
from midflight.runtime.devices.sheetfile import named_sheet
from midflight.runtime.devices.switchprocess import SwitchProcess
from midflight.runtime.engine.queues import QueueOptions
from midflight.runtime.p4runtime.client.queues import RemoteQueues

__all__ = ["HostProcessDevice"]

# Runs until a controller loads a program.
_BLANK = """\
#include <core.p4>
#include <v1model.p4>

struct headers_t {}
struct metadata_t {}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    state start {
        transition accept;
    }
}

control verify_checksums(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    apply {
        mark_to_drop(standard_metadata);
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    apply {}
}

control compute_checksums(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control deparse(packet_out packet, in headers_t hdr) {
    apply {}
}

V1Switch(parse(), verify_checksums(), ingress(), egress(), compute_checksums(), deparse()) main;
"""


class HostProcessDevice(SwitchProcess):
    """An embedded switch in a process of its own, which is ready for controllers when the constructor returns.

    source: the P4_16 program to start with; without one, the switch drops packets until a controller loads a program
    file: the name of the program in messages
    interfaces: the Linux interfaces of the ports, by port number; requires root
    netns: the network namespace of the interfaces, by name or file
    folder: where to create the switch's folder for files; by default the system's temporary folder
    queues: the queues between ingress and egress
    forks: a fork server, which saves half a second of processor time for imports
    xdp: `native` or `generic` to run the program in the kernel, as an XDP program; empty for the embedded switch
    patience: the timeout for the start, in seconds

    P4Runtime is served on a unix socket, which can be reached from every network namespace. Raises P4Error for an
    invalid program, and DeviceError, with the end of the log, if the switch does not start or does not answer.
    """

    def __init__(
        self,
        source: str | None = None,
        *,
        file: str = "<string>",
        device_id: int = 1,
        cpu_port: int = 510,
        interfaces: Mapping[int, str] | None = None,
        netns: str = "",
        folder: Path | None = None,
        forks: ForkServer | None = None,
        queues: QueueOptions | None = None,
        xdp: str = "",
        patience: float = 60.0,
    ) -> None:
        if source is not None:
            _ = CheckedProgram(source, file).program  # raises errors of the program here, instead of in a log
        self.capabilities: Capabilities = named_sheet("xdp" if xdp else "host")
        super().__init__("midflight switch", device_id, kind="switch", place=folder)
        try:
            program = self.folder / "program.p4"
            program.write_text(_BLANK if source is None else source)
            command = ["switch", str(program)]
            command += ["--device-id", str(device_id), "--cpu-port", str(cpu_port), "--grpc-server-addr", self.address]
            if queues is not None:
                command += queues.command_line
            if xdp:
                command += ["--xdp", xdp]
            for port, interface in (interfaces or {}).items():
                command += ["-i", f"{port}@{interface}"]
            inside = netns if not netns or "/" in netns else f"/run/netns/{netns}"
            if forks is None:
                self._run([sys.executable, "-m", "midflight", *command], netns=inside, patience=patience)
            else:
                self._run(command, netns=inside, patience=patience, start=forks.start)
        except BaseException:
            self.close()
            raise

    @property
    def queues(self) -> RemoteQueues:
        """The queues between ingress and egress of the running switch; its methods send requests. DeviceError if it
        has died.
        """
        return RemoteQueues(self.address, self.device_id)

    def compile(self, program: CheckedProgram) -> PipelineConfig:
        """Check a program, and return it for a session to load; the config is its text. P4Error for an invalid
        program.
        """
        return PipelineConfig(program.p4info, program.standalone.encode())

    def load(self, source: str, file: str = "<string>") -> None:
        """Replace the program by the P4_16 text `source`, named `file` in messages.

        P4Error if it does not compile; the device then keeps its previous program. DeviceError while a controller is
        the primary, which must load programs itself, or if the process has died.
        """
        pipeline = self.compile(CheckedProgram(source, file))
        with self.session() as session:
            session.load(pipeline.p4info, pipeline.config)
