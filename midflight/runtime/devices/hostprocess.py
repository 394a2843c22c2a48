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
    file: the name of the program in messages; included files are searched in its folder
    device_id: the P4Runtime device id
    cpu_port: the port number of packet-ins and packet-outs, which no interface may have
    interfaces: by port number, Linux interfaces, which require root, or UDP ports as `udp:ADDRESS:PORT,PEER:PORT`
    netns: the network namespace in which the process runs and the interfaces are, as the name of a namespace of
        `ip netns` or the path of its file; empty for the current one
    folder: where to create the switch's folder for files; by default the system's temporary folder
    forks: a fork server, which saves half a second of processor time for imports
    queues: the queues between ingress and egress; None for the defaults; not with `xdp`
    xdp: `native` or `generic` to run the program in the kernel, as an XDP program; empty for the embedded switch
    patience: the timeout for the start, in seconds

    P4Runtime is served on a unix socket, which can be reached from every network namespace. Raises P4Error for an
    invalid program. DeviceError, with the end of the log, if the process ends before it answers, for example because an
    interface does not exist or XDP does not support the program, or if it does not answer in time.
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
            checked = CheckedProgram(source, file)
            _ = checked.program  # raises errors of the program here, instead of in a log
            source = checked.standalone  # the process reads it from another folder
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
        """The queues between ingress and egress of the running switch.

        Their methods send requests to it, and raise DeviceError if it does not answer.
        """
        return RemoteQueues(self.address, self.device_id)

    def compile(self, program: CheckedProgram) -> PipelineConfig:
        """Check a program, and return it for a session to load; the config is its text.

        P4Error for an invalid program. What the engine or XDP does not support shows when the program is loaded.
        """
        return PipelineConfig(program.p4info, program.standalone.encode())

    def load(self, source: str, file: str = "<string>") -> None:
        """Replace the program by the P4_16 text `source`, named `file` in messages.

        P4Error for an invalid program. DeviceError if the engine or XDP does not support it, while a controller is the
        primary of the default role, which must load programs itself, or if the process has died. After an error, the
        device keeps its previous program.
        """
        pipeline = self.compile(CheckedProgram(source, file))
        with self.session() as session:
            session.load(pipeline.p4info, pipeline.config)
