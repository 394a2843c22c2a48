"""A device that somebody else runs: all that is known of it is where it serves P4Runtime."""

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

from midflight.errors import DeviceError, MidflightError, P4Error
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.host import CAPABILITIES as MIDFLIGHT
from midflight.runtime.devices.toolchain import compile_p4
from midflight.runtime.p4runtime.client.link import Link, RequestError
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.p4runtime.server.stream import SERVER_NAME
from midflight.runtime.p4runtime.status import Code

__all__ = ["RemoteDevice"]

PLACES = ("{p4}", "{p4info}", "{config}")
PATIENCE = 300.0


class RemoteDevice:
    """A P4Runtime server at `address`, "host:port" or "unix:/path", that is neither started nor ended here.

    What it can do is asked, as far as P4Runtime has an answer to that; DeviceError where it does not answer. `compiler`
    tells how it takes programs: "midflight" as their text, "p4c" as BMv2's JSON, or by a command line that compiles
    {p4} into {p4info} and {config}; by default as text where the server says that it is a Midflight switch, and with
    p4c else. `sheet` is what it can do, if that is known; with a compiler it need not answer before it is used.
    `source` is a P4_16 program to load.
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
    ) -> None:
        self.address = address
        self.device_id = device_id
        self._timeout = timeout
        self._early = False
        if compiler not in ("", "midflight", "p4c") and not all(each in compiler for each in PLACES):
            raise DeviceError(
                f"{compiler!r} is no compiler",
                hint=f"midflight, p4c, or a command line with {', '.join(PLACES)} in it",
            )
        self.server, self.compiler, self._capabilities = "", compiler, sheet
        if sheet is None or not compiler:
            link = Link(address, timeout)
            try:
                self.server, ours = _greet(link)
            finally:
                link.close()
            # Packets reach such a switch by ports of its own: nobody here knows when it is done with one.
            known = replace(MIDFLIGHT, kind="grpc", prompt_digests=False) if ours else None
            self._capabilities = sheet or known
            self.compiler = compiler or ("midflight" if ours else "p4c")
        if source is not None:
            self.load(source, file)

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, as far as it tells. Before it has a program it may not know better than that it can."""
        if self._capabilities is not None:
            return self._capabilities
        self._early = False
        found = self._ask()
        if not self._early:
            self._capabilities = found
        return found

    def session(self, *, role: str = "", election_id: int | None = None) -> Session:
        """Open a controller's session with it; the caller closes it. DeviceError where it does not answer."""
        return Session(self.address, self.device_id, role=role, election_id=election_id, timeout=self._timeout)

    def compile(self, program: CheckedProgram) -> PipelineConfig:
        """Compile a program with the device's compiler; P4Error where it is wrong, or refused."""
        if self.compiler == "midflight":
            return PipelineConfig(program.p4info, program.standalone.encode())
        if self.compiler == "p4c":
            return compile_p4(program.text, program.file)
        return _run(self.compiler, program.text, program.file)

    def load(self, source: str, file: str = "<string>") -> None:
        """Put a program in place; DeviceError while another controller is its primary."""
        pipeline = self.compile(CheckedProgram(source, file))
        with self.session() as session:
            session.load(pipeline.p4info, pipeline.config)

    def close(self) -> None:
        """Do nothing: it stays as it is, with the program that it has."""

    def __enter__(self) -> RemoteDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self) -> Capabilities:
        """Return what a server that is not ours says it can do: a Read of everything of a kind tells."""
        groups = p4r.PacketReplicationEngineEntry(multicast_group_entry=p4r.MulticastGroupEntry())
        clones = p4r.PacketReplicationEngineEntry(clone_session_entry=p4r.CloneSessionEntry())
        link = Link(self.address, self._timeout)
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
            # Anything else, such as that there is no program yet, says nothing against it.
            return Code.UNIMPLEMENTED not in (error.code, *(code for code, _ in error.refused.values()))
        return True


def _greet(link: Link) -> tuple[str, bool]:
    """Return what the server says about itself, and whether it is a Midflight switch's."""
    try:
        told = link.request("Capabilities", p4r.CapabilitiesRequest())
    except RequestError as error:
        if error.code != Code.UNIMPLEMENTED:
            raise
        return "P4Runtime of a version that it does not tell", False
    name = StringValue()
    ours = bool(told.experimental.Unpack(name) and name.value == SERVER_NAME)
    return f"P4Runtime {told.p4runtime_api_version}{f', {name.value}' if name.value else ''}", ours


def _run(command: str, source: str, file: str) -> PipelineConfig:
    with tempfile.TemporaryDirectory(prefix="midflight-compile-") as folder:
        places = {name: Path(folder, name.strip("{}")) for name in PLACES}
        places["{p4}"] = Path(folder, "program.p4")
        places["{p4}"].write_text(source)
        arguments = shlex.split(command)
        for name, path in places.items():
            arguments = [each.replace(name, str(path)) for each in arguments]
        try:
            done = subprocess.run(arguments, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
        except OSError as error:
            raise DeviceError(f"{arguments[0]} does not run: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise DeviceError(f"{arguments[0]} was not done within {PATIENCE:g} s and was stopped") from None
        if done.returncode:
            words = (done.stderr or done.stdout).strip().splitlines()
            raise P4Error(f"{arguments[0]} refuses {file}", hint="\n    ".join(words[-12:]))
        try:
            return PipelineConfig(_p4info(places["{p4info}"].read_bytes()), places["{config}"].read_bytes())
        except OSError as error:
            raise DeviceError(f"{arguments[0]} ended well and left no {Path(error.filename).name}") from None


def _p4info(data: bytes) -> p4i.P4Info:
    """Read a P4Info, as text or as bytes."""
    info = p4i.P4Info()
    try:
        text_format.Parse(data.decode(), info)
    except (UnicodeDecodeError, text_format.ParseError):
        try:
            info = p4i.P4Info.FromString(data)
        except DecodeError:
            raise MidflightError("the P4Info that the compiler left is neither text nor binary") from None
    return info
