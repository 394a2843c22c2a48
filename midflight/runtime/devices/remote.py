"""Remote device: a running switch that is known only by its P4Runtime address."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from finsy.proto import p4i, p4r
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import StringValue

from midflight.errors import DeviceError, P4Error
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.folders import owned_prefix
from midflight.runtime.devices.sheetfile import named_sheet
from midflight.runtime.devices.toolchain import compile_p4
from midflight.runtime.p4runtime.client.link import Link, RequestError
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.p4runtime.server.stream import SERVER_NAME
from midflight.runtime.p4runtime.status import Code
from midflight.runtime.p4runtime.tls import ClientTls

__all__ = ["RemoteDevice"]

PLACES = ("{p4}", "{p4info}", "{config}")
PATIENCE = 300.0


class RemoteDevice:
    """A switch that is neither started nor stopped here.

    source: a P4_16 program to load, or None to leave the switch as it is; file: its name in messages
    address: of the P4Runtime server, "host:port" or "unix:/path"
    device_id: the P4Runtime device id
    compiler: "midflight" if the config of a program is its text, "p4c" if it is BMv2's JSON, or a command line that
        compiles {p4} to {p4info} and {config}; by default "midflight" for an embedded switch, otherwise "p4c"
    sheet: the capabilities; by default found out with P4Runtime requests, as far as possible
    timeout: for each request, in seconds
    tls: TLS settings of the connections; None for plain ones

    With both `compiler` and `sheet` and without `source`, the constructor does not connect to the switch, and `server`
    is empty. Otherwise it raises DeviceError if the switch does not answer, and `server` is the server's description of
    itself. Loading `source` raises the errors of `load`. DeviceError for an invalid `compiler`.
    """

    def __init__(
        self,
        source: str | None = None,
        *,
        address: str,
        file: str = "<string>",
        device_id: int = 1,
        compiler: str = "",
        sheet: Capabilities | None = None,
        timeout: float = 30.0,
        tls: ClientTls | None = None,
    ) -> None:
        self.address = address
        self.device_id = device_id
        self._tls = tls
        self._timeout = timeout
        self._early = False
        if compiler not in ("", "midflight", "p4c") and not all(each in compiler for each in PLACES):
            raise DeviceError(
                f"{compiler!r} is not a compiler",
                hint=f"use midflight, p4c, or a command line that contains {', '.join(PLACES)}",
            )
        try:
            shlex.split(compiler)
        except ValueError as error:
            raise DeviceError(f"{compiler!r} is not a command line: {error}") from None
        self.server, self.compiler, self._capabilities = "", compiler, sheet
        if sheet is None or not compiler:
            link = Link(address, timeout, tls=tls)
            try:
                self.server, ours = _identify(link)
            finally:
                link.close()
            # Such a switch has its own ports, so it is unknown when the processing of a packet is complete.
            known = replace(named_sheet("host"), kind="grpc", prompt_digests=False) if ours else None
            self._capabilities = sheet or known
            self.compiler = compiler or ("midflight" if ours else "p4c")
        if source is not None:
            self.load(source, file)

    @property
    def capabilities(self) -> Capabilities:
        """The capability sheet: that given to the constructor, or what the switch reveals.

        A read sends requests until the switch has a program: a switch without one may not report what it lacks.
        DeviceError if it does not answer.
        """
        if self._capabilities is not None:
            return self._capabilities
        self._early = False
        found = self._ask()
        if not self._early:
            self._capabilities = found
        return found

    def session(self, *, role: str = "", election_id: int | None = None) -> Session:
        """Open a controller's P4Runtime session, which the caller closes.

        `role` is the P4Runtime role, empty for the default one with full access. `election_id`, 0 to 2**128 - 1, is the
        controller's rank among those of its role; None means 1, or the highest id so far if the role has no primary.
        RequestError if another session of the role has this election id, as a second one with None; ValueError if it is
        out of range; DeviceError if the switch does not answer.
        """
        return Session(
            self.address, self.device_id, role=role, election_id=election_id, timeout=self._timeout, tls=self._tls
        )

    def compile(self, program: CheckedProgram) -> PipelineConfig:
        """Compile a program with the compiler that the constructor was given or chose. Loads nothing.

        P4Error if the compiler rejects it. DeviceError if the compiler is missing, cannot be run, takes too long (2
        minutes for p4c, 5 minutes for a command line), or does not write what it should.
        """
        if self.compiler == "midflight":
            return PipelineConfig(program.p4info, program.standalone.encode())
        if self.compiler == "p4c":
            return compile_p4(program.text, program.file)
        return _run(self.compiler, program.text, program.file)

    def load(self, source: str, file: str = "<string>") -> None:
        """Replace the program by the P4_16 text `source`, named `file` in messages.

        The errors of `compile`. DeviceError if the switch does not answer or rejects the program, or if another
        controller is the primary of the default role.
        """
        pipeline = self.compile(CheckedProgram(source, file))
        with self.session() as session:
            session.load(pipeline.p4info, pipeline.config)

    def close(self) -> None:
        """Do nothing: the switch continues to run with its program, and no connection stays open."""

    def __enter__(self) -> RemoteDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self) -> Capabilities:
        """Return the capabilities of a switch other than Midflight's, by trying to read all entities of each type."""
        groups = p4r.PacketReplicationEngineEntry(multicast_group_entry=p4r.MulticastGroupEntry())
        clones = p4r.PacketReplicationEngineEntry(clone_session_entry=p4r.CloneSessionEntry())
        link = Link(self.address, self._timeout, tls=self._tls)
        try:
            return Capabilities(
                kind="grpc",
                multicast=self._reads(link, p4r.Entity(packet_replication_engine_entry=groups)),
                clones=self._reads(link, p4r.Entity(packet_replication_engine_entry=clones)),
                digests=self._reads(link, p4r.Entity(digest_entry=p4r.DigestEntry())),
                registers_over_p4runtime=self._reads(link, p4r.Entity(register_entry=p4r.RegisterEntry())),
                repeated_digests=False,
                prompt_digests=False,
            )
        finally:
            link.close()

    def _reads(self, link: Link, entity: p4r.Entity) -> bool:
        try:
            link.read(p4r.ReadRequest(device_id=self.device_id, entities=[entity]))
        except RequestError as error:
            self._early = self._early or error.code == Code.FAILED_PRECONDITION
            # Other errors, for example that there is no program, do not mean that the type is unsupported.
            return Code.UNIMPLEMENTED not in (error.code, *(code for code, _ in error.refused.values()))
        return True


def _identify(link: Link) -> tuple[str, bool]:
    """Return the server's description of itself, and whether it is an embedded switch."""
    try:
        answer = link.request("Capabilities", p4r.CapabilitiesRequest())
    except RequestError as error:
        if error.code != Code.UNIMPLEMENTED:
            raise
        return "P4Runtime of an unknown version", False
    name = StringValue()
    ours = bool(answer.experimental.Unpack(name) and name.value == SERVER_NAME)
    return f"P4Runtime {answer.p4runtime_api_version}{f', {name.value}' if name.value else ''}", ours


def _run(command: str, source: str, file: str) -> PipelineConfig:
    with tempfile.TemporaryDirectory(prefix=owned_prefix("compile")) as folder:
        places = {name: Path(folder, name.strip("{}")) for name in PLACES}
        places["{p4}"] = Path(folder, "program.p4")
        places["{p4}"].write_text(source)
        arguments = shlex.split(command)
        for name, path in places.items():
            arguments = [each.replace(name, str(path)) for each in arguments]
        try:
            done = subprocess.run(arguments, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
        except OSError as error:
            raise DeviceError(f"cannot run {arguments[0]}: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise DeviceError(f"{arguments[0]} took more than {PATIENCE:g} s and was stopped") from None
        if done.returncode:
            words = (done.stderr or done.stdout).strip().splitlines()
            raise P4Error(f"{arguments[0]} rejects {file}", hint="\n    ".join(words[-12:]))
        try:
            return PipelineConfig(_p4info(places["{p4info}"].read_bytes()), places["{config}"].read_bytes())
        except OSError as error:
            raise DeviceError(f"{arguments[0]} succeeded, but wrote no {Path(error.filename).name}") from None


def _p4info(data: bytes) -> p4i.P4Info:
    """Return a P4Info from its text or binary form. Raises DeviceError if it is neither."""
    info = p4i.P4Info()
    try:
        text_format.Parse(data.decode(), info)
    except (UnicodeDecodeError, text_format.ParseError):
        try:
            info = p4i.P4Info.FromString(data)
        except DecodeError:
            raise DeviceError("the compiler's P4Info is neither in text nor in binary form") from None
    return info
