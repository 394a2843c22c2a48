"""The embedded switch as a process of its own, `midflight switch`, with Linux interfaces for ports."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import grpc

from midflight.errors import DeviceError
from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.devices.host import CAPABILITIES
from midflight.runtime.devices.process import Process
from midflight.runtime.p4runtime.session import Session

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

# The lines of the switch's log that an error quotes.
_QUOTED = 12


class HostProcessDevice:
    """An embedded switch in a process of its own, ready for controllers as soon as it is made.

    `interfaces` are the Linux interfaces it has for ports, by port number; this takes root. `source` is the P4_16
    program to start with; without one it drops every packet until a controller loads one. `netns` names the network
    namespace that the interfaces are in. It serves P4Runtime on a unix socket of its own, which is reached from every
    network namespace. `folder` is where it makes a folder for its files, the system's by default. `patience` is how
    many seconds it is given to answer. DeviceError, with the end of its log, where it does not start or answer.
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
        patience: float = 60.0,
    ) -> None:
        self._id = device_id
        if source is not None:
            check(source, file)  # what is wrong with it is told here, not in a log
        folder = Path(tempfile.mkdtemp(prefix="midflight-switch-", dir=folder))
        self._folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._address = f"unix:{folder}/p4runtime"
        self._process: Process | None = None
        self._last_log = ""
        try:
            program = folder / "program.p4"
            program.write_text(_BLANK if source is None else source)
            command = [sys.executable, "-m", "midflight", "switch", str(program)]
            command += ["--device-id", str(device_id), "--cpu-port", str(cpu_port), "--grpc-server-addr", self._address]
            for port, interface in (interfaces or {}).items():
                command += ["-i", f"{port}@{interface}"]
            self._process = Process(command, folder / "log", netns=f"/run/netns/{netns}" if netns else "")
            self._wait_until_it_answers(patience)
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """Its P4Runtime endpoint, "unix:/path"."""
        return self._address

    @property
    def device_id(self) -> int:
        """Its P4Runtime device id."""
        return self._id

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int:
        """The process id of the switch; DeviceError when it is closed."""
        if self._process is None:
            raise self._lost()
        return self._process.pid

    def log(self) -> str:
        """Return what the switch has printed, the last 64 KiB of it; of a closed one, what it had."""
        return self._last_log if self._process is None else self._process.log()

    def compile(self, source: str, file: str = "<string>") -> PipelineConfig:
        """Check a program; its text is the config. P4Error where it is wrong."""
        return PipelineConfig(p4info(check(source, file)), source.encode())

    def load(self, source: str, file: str = "<string>") -> None:
        """Put a program in place; P4Error where it does not compile, and the device keeps what it had."""
        pipeline = self.compile(source, file)
        with self.session() as session:
            session.load(pipeline.p4info, pipeline.config)

    def session(self, *, role: str = "", election_id: int | None = None) -> Session:
        """Open a controller's session; the caller closes it. DeviceError with the log's end where it has died."""
        if not self.alive:
            raise self._lost()
        return Session(self.address, self.device_id, role=role, election_id=election_id)

    def close(self) -> None:
        """End the switch and remove what it left. May be called more than once."""
        if self._process is not None:
            self._process.stop()
            self._last_log = self._process.log()
            self._process = None
        self._folder()

    def __enter__(self) -> HostProcessDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait_until_it_answers(self, patience: float) -> None:
        assert self._process is not None
        options = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 100)]
        deadline = time.monotonic() + patience
        with grpc.insecure_channel(self._address, options=options) as channel:
            ready = grpc.channel_ready_future(channel)
            try:
                while True:
                    try:
                        ready.result(timeout=0.05)
                        return
                    except grpc.FutureTimeoutError:
                        if not self._process.alive:
                            raise self._lost() from None
                        if time.monotonic() > deadline:
                            raise DeviceError(
                                f"midflight switch does not answer after {patience:g} s", hint=self._quoted()
                            ) from None
            finally:
                ready.cancel()

    def _lost(self) -> DeviceError:
        if self._process is None:
            return DeviceError("this switch is closed")
        if self._process.wait(1.0):
            return DeviceError(f"midflight switch ended with {self._process.status}", hint=self._quoted())
        return DeviceError("midflight switch runs and does not answer", hint=self._quoted())

    def _quoted(self) -> str:
        lines = self.log().strip().splitlines()[-_QUOTED:]
        return "\n    ".join(["the end of its log:", *lines]) if lines else "its log is empty"
