"""Interface of all kinds of devices: a P4Runtime endpoint with a capability sheet."""

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
    """A program compiled for a kind of device: its P4Info, and the device-specific config."""

    p4info: p4i.P4Info
    config: bytes


@runtime_checkable
class Device(Protocol):
    """A running device. A context manager, which closes it on exit."""

    @property
    def capabilities(self) -> Capabilities:
        """The limits and features of the device."""

    @property
    def address(self) -> str:
        """The P4Runtime endpoint in gRPC's form, "host:port" or "unix:/path"."""

    @property
    def device_id(self) -> int:
        """The P4Runtime device id."""

    def session(self, *, role: str = "", election_id: int | None = None) -> Session:
        """Open a controller's session, which the caller closes. Raises DeviceError if the device does not answer."""

    def compile(self, program: CheckedProgram) -> PipelineConfig:
        """Compile a program for this device, so that a session can load it. Raises P4Error for an invalid program."""

    def load(self, source: str, file: str = "<string>") -> None:
        """Compile a P4_16 program for this device and run it, without a controller's session."""

    def close(self) -> None:
        """Shut the device down. Idempotent."""

    def __enter__(self) -> Device: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class PacketDevice(Device, Protocol):
    """A device without ports: its owner passes packets in, and gets the resulting packets back."""

    def process(self, packets: Packets, now: int = 0) -> Packets:
        """Process packets at time `now`, in microseconds, and return the packets that leave through ports."""

    def transmitted(self) -> Packets:
        """Remove and return the packets that left through ports because of controllers' packet-outs."""

    def __enter__(self) -> PacketDevice: ...
