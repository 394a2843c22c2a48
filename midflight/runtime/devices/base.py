"""What every kind of hardware is to the rest of the toolkit: a P4Runtime endpoint with a capability sheet."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from midflight.runtime.devices.capabilities import Capabilities

if TYPE_CHECKING:
    from finsy.proto import p4i

    from midflight.runtime.p4runtime.session import Session

__all__ = ["Device", "PipelineConfig"]


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

    def compile(self, source: str, file: str = "<string>") -> PipelineConfig:
        """Compile a P4_16 program the way this device needs, for a session to load. P4Error where it is wrong."""

    def load(self, source: str, file: str = "<string>") -> None:
        """Compile a P4_16 program the way this device needs and run it, without a controller's session."""

    def close(self) -> None:
        """Take it down. May be called more than once."""

    def __enter__(self) -> Device: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
