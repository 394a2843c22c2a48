"""What every kind of hardware is to the rest of the toolkit: a P4Runtime endpoint with a capability sheet."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from midflight.runtime.devices.capabilities import Capabilities

if TYPE_CHECKING:
    from finsy.proto import p4i

    from midflight.runtime.checked import CheckedProgram
    from midflight.runtime.engine import Packets
    from midflight.runtime.p4runtime.client.session import Session

__all__ = ["Device", "PacketDevice", "PipelineConfig"]


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """A program compiled for a kind of device: its P4Info, and the config that the device takes with it."""

    p4info: p4i.P4Info
    config: bytes


@runtime_checkable
class Device(Protocol):
    """A device that runs. A context manager: leaving closes it."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can hold and do."""

    @property
    def address(self) -> str:
        """Its P4Runtime endpoint as gRPC takes it, "host:port" or "unix:/path"."""

    @property
    def device_id(self) -> int:
        """Its P4Runtime device id."""

    def session(self, *, role: str = "", election_id: int | None = None) -> Session:
        """Open a controller's session with it; the caller closes it. DeviceError where it does not answer."""

    def compile(self, program: CheckedProgram) -> PipelineConfig:
        """Compile a program the way this device needs, for a session to load. P4Error where it is wrong."""

    def load(self, source: str, file: str = "<string>") -> None:
        """Compile a P4_16 program the way this device needs and run it, without a controller's session."""

    def close(self) -> None:
        """Take it down. May be called more than once."""

    def __enter__(self) -> Device: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class PacketDevice(Device, Protocol):
    """A device whose ports are in its owner's hand: it is given packets, and gives back what they became."""

    def process(self, packets: Packets, now: int = 0) -> Packets:
        """Run packets through the pipeline at `now` (microseconds) and return what leaves by the ports."""

    def transmitted(self) -> Packets:
        """Return, once, what controllers' packet-outs have sent by the ports since the last call."""

    def __enter__(self) -> PacketDevice: ...
