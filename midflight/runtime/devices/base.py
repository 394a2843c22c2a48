"""Interface of all kinds of devices: a P4Runtime endpoint with a capability sheet."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from midflight.runtime.devices.capabilities import Capabilities

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from finsy.proto import p4i
    from numpy.typing import NDArray

    from midflight.runtime.checked import CheckedProgram
    from midflight.runtime.engine import Packets
    from midflight.runtime.p4runtime.client.session import Session

__all__ = ["Device", "PacketDevice", "PipelineConfig", "QueueingDevice"]


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """A program compiled for one kind of device, as P4Runtime's SetForwardingPipelineConfig takes it.

    `p4info` describes its tables, actions and so on; `config` has the form that the device loads: the P4 text for the
    embedded switch, JSON for BMv2.
    """

    p4info: p4i.P4Info
    config: bytes


@runtime_checkable
class Device(Protocol):
    """A running switch that serves P4Runtime. A context manager, which closes it on exit."""

    @property
    def capabilities(self) -> Capabilities:
        """The limits and features of the device."""

    @property
    def address(self) -> str:
        """The address of its P4Runtime server in gRPC's form, "host:port" or "unix:/path"."""

    @property
    def device_id(self) -> int:
        """The P4Runtime device id, which requests to the server carry."""

    def session(self, *, role: str = "", election_id: int | None = None) -> Session:
        """Open a controller's P4Runtime session, which the caller closes.

        `role` is the P4Runtime role, empty for the default one with full access. `election_id`, 0 to 2**128 - 1, is the
        controller's rank among those of its role; None means 1, or the highest id so far if the role has no primary.
        RequestError if another session of the role has this election id, as a second one with None; ValueError if it is
        out of range; DeviceError if the device does not answer.
        """

    def compile(self, program: CheckedProgram) -> PipelineConfig:
        """Return a program compiled for this device, for a session to load. Loads nothing.

        P4Error for an invalid program, or for one that the compiler finds the device unable to run; DeviceError if the
        device's compiler is missing, cannot be run or takes too long. A device may still reject the result.
        """

    def load(self, source: str, file: str = "<string>") -> None:
        """Compile the P4_16 program `source` and run it in place of the present one, without a controller's session.

        `file` is its name in messages. P4Error for an invalid program; UnsupportedError for a valid one that the device
        cannot run; DeviceError if the device refuses it for another reason, or does not answer. The device then keeps
        its previous program, except for a defect of BMv2 that its module describes.
        """

    def close(self) -> None:
        """Shut the device down, if this process started it. Idempotent."""

    def __enter__(self) -> Device: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class PacketDevice(Device, Protocol):
    """A device without ports: its owner passes packets in, and gets the resulting packets back.

    A simulated network uses it.
    """

    def process(self, packets: Packets, now: int = 0) -> Packets:
        """Process packets in order at time `now`, in microseconds, and return the packets that leave through ports.

        Blocks until all are processed. `sources` of the result has the index of the input packet that each comes from.
        Devices with a clock of their own ignore `now`. DeviceError if the ports of the device are interfaces, or if it
        has died or does not answer.
        """

    def transmitted(self) -> Packets:
        """Remove and return the packets that left through ports because of controllers' packet-outs.

        A device whose ports are network interfaces sends them there, and returns none or raises DeviceError.
        DeviceError also if the device has died.
        """

    def __enter__(self) -> PacketDevice: ...


@runtime_checkable
class QueueingDevice(Protocol):
    """The interface of a `PacketDevice` whose packets may wait in queues between ingress and egress."""

    def process(self, packets: Packets, now: int = 0, times: NDArray[np.uint64] | None = None) -> Packets:
        """Process packets in order, and return the packets that leave through ports. Blocks until all are processed.

        `now` is the time in microseconds, and `times` are the arrivals of the packets in nanoseconds, in order; without
        `times`, all arrive at `now`. With queues, the result has `times`, at which packets leave, and packets may leave
        later: see `due`. DeviceError if the ports of the device are interfaces.
        """

    def advance(self, time: int) -> Packets:
        """Return the packets that leave their queues until a time in nanoseconds, including that time.

        DeviceError if the ports of the device are interfaces.
        """

    @property
    def due(self) -> int | None:
        """The time in nanoseconds for the next `advance`, at which a packet leaves its queue or a list of digests is
        sent.

        None if neither waits.
        """

    @property
    def queued(self) -> bool:
        """Whether the switch has queues between ingress and egress."""

    def follow(self, now: Callable[[], int], changed: Callable[[], None]) -> None:
        """Use the time of `now` (ns) when the settings of the queues change, and call `changed` afterwards.

        Both are called in the thread that makes the change.
        """
