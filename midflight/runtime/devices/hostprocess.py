"""The embedded switch as a process of its own, `midflight switch`, with Linux interfaces for ports."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.devices.forkserver import ForkServer
from midflight.runtime.devices.host import CAPABILITIES
from midflight.runtime.devices.switchprocess import SwitchProcess

__all__ = ["HostProcessDevice"]

# For the time before a controller loads a program.
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
    """An embedded switch in a process of its own, ready for controllers as soon as it is made.

    `interfaces` are the Linux interfaces it has for ports, by port number; this takes root. `source` is the P4_16
    program to start with; without one it drops every packet until a controller loads one. `netns` is the network
    namespace of the interfaces, by name or file. It serves P4Runtime on a unix socket of its own, which is reached from
    every network namespace. `folder` is where it makes a folder for its files, the system's by default. Switches with
    the same folder `code`, which is their user's alone, share what they compile, and those with the same `forks` what
    they import: half a second of a processor. `patience` is how many seconds it is given to answer. DeviceError, with
    the end of its log, where it does not start or answer.
    """

    capabilities = CAPABILITIES

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
        code: Path | None = None,
        forks: ForkServer | None = None,
        patience: float = 60.0,
    ) -> None:
        if source is not None:
            _ = CheckedProgram(source, file).program  # what is wrong with it is told here, not in a log
        super().__init__("midflight switch", device_id, prefix="midflight-switch-", place=folder)
        try:
            program = self.folder / "program.p4"
            program.write_text(_BLANK if source is None else source)
            command = ["switch", str(program)]
            command += ["--device-id", str(device_id), "--cpu-port", str(cpu_port), "--grpc-server-addr", self.address]
            if code is not None:
                command += ["--code", str(code)]
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

    def compile(self, program: CheckedProgram) -> PipelineConfig:
        """Check a program; its text is the config. P4Error where it is wrong."""
        return PipelineConfig(program.p4info, program.standalone.encode())

    def load(self, source: str, file: str = "<string>") -> None:
        """Put a program in place; P4Error where it does not compile, and the device keeps what it had."""
        pipeline = self.compile(CheckedProgram(source, file))
        with self.session() as session:
            session.load(pipeline.p4info, pipeline.config)
