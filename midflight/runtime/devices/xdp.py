"""The kernel's own data path as a device: a P4 program as an XDP program, behind a P4Runtime server on loopback."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from midflight.closing import Closer
from midflight.errors import DeviceError, P4Error
from midflight.p4 import ir
from midflight.p4.types import Bits
from midflight.runtime.checked import CheckedProgram, Programs
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.devices.serving import serve
from midflight.runtime.devices.sheetfile import SheetOf
from midflight.runtime.engine import Backend, Packets
from midflight.runtime.engine.bpf.engine import XdpEngine
from midflight.runtime.engine.bpf.syscall import unavailable
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.p4runtime.ports.kernel import KernelPorts
from midflight.runtime.p4runtime.server.switch import Switch

__all__ = ["XdpDevice", "in_kernel", "refuse"]

KEY = 256
"""The largest key of a table in bits: a lookup passes it in registers."""


def in_kernel(checked: CheckedProgram, **options: Any) -> Backend:
    """Load a program into the kernel, and return its engine. `options` are those of `XdpEngine`.

    P4Error, with the place, for an invalid program, or for what the sheet or the engine does not support.
    UnsupportedError if LLVM cannot translate the program to BPF, or if the kernel's verifier rejects it. BudgetError, a
    DeviceError, if its state exceeds the option `memory`. DeviceError if the kernel refuses anything else, as without
    root. After an error, no program stays loaded.
    """
    refuse(checked.program)
    return XdpEngine(checked.program, compiled=checked.bpf, **options)


class XdpDevice:
    """A switch whose program runs in the kernel, ready for controllers when the constructor returns. Needs root.

    source: the P4_16 program to start with; None waits for a controller to load one, and until then packets on the
        interfaces pass to the system
    file: the name of the program in messages
    device_id: the P4Runtime device id
    address: where to serve P4Runtime, "host:port", with port 0 for a free one, or "unix:/path"
    cpu_port: the port number of packet-ins and packet-outs, which no interface may have
    seed: the first state of the program's random numbers is derived from it
    interfaces: the Linux interfaces of the ports, by port number, 0 to 510
    netns: the network namespace of the interfaces, by name or file; P4Runtime is served in that of this process
    mode: how the program is attached to interfaces: `native`, `generic` or empty for the kernel's choice
    programs: switches that share these compile each text once

    Without interfaces, packets are passed to `process`, which runs the program on them in the kernel. The constructor
    raises P4Error for an invalid program or one that the sheet or the engine does not support, UnsupportedError for one
    that LLVM cannot translate to BPF or the kernel's verifier rejects, and DeviceError without root, on a kernel
    without support, for a program whose state needs too much memory, or if a port or the address cannot be opened.
    """

    capabilities = SheetOf("xdp")

    def __init__(
        self,
        source: str | None = None,
        *,
        file: str = "<string>",
        device_id: int = 1,
        address: str = "127.0.0.1:0",
        cpu_port: int = 510,
        seed: int = 0,
        interfaces: Mapping[int, str] | None = None,
        netns: str = "",
        mode: str = "",
        programs: Programs | None = None,
    ) -> None:
        if missing := unavailable():
            raise DeviceError(f"XDP cannot be used here: {missing}")
        self.switch = Switch(device_id=device_id, cpu_port=cpu_port, seed=seed, programs=programs, make=in_kernel)
        if source is not None:
            self.switch.load(source, file)
        self.ports = KernelPorts(self.switch, interfaces, netns=netns, mode=mode) if interfaces else None
        self._server, close = serve(self.switch, address, self.ports)
        self._close = Closer(self, close)
        if self.ports is not None:
            self.ports.start()

    @property
    def address(self) -> str:
        """The address of its P4Runtime server, "host:port" or "unix:/path"."""
        return self._server.address

    @property
    def device_id(self) -> int:
        """The P4Runtime device id, which requests to the server carry."""
        return self.switch.device_id

    def compile(self, program: CheckedProgram) -> PipelineConfig:
        """Check a program, also against the sheet, and return it for a session to load; the config is its text.

        P4Error for an invalid program, or one that the sheet cannot hold. A program that passes may still be rejected
        when it is loaded, because only that translates it to BPF.
        """
        refuse(program.program)
        return PipelineConfig(program.p4info, program.standalone.encode())

    def load(self, source: str, file: str = "<string>") -> None:
        """Replace the program by the P4_16 text `source`, named `file` in messages.

        The new program starts with its own entries and initial state. P4Error if the text is invalid, or if the sheet
        or the engine does not support it; UnsupportedError if LLVM cannot translate it to BPF, or if the kernel's
        verifier rejects it; DeviceError if its state needs too much memory, or if the kernel refuses it otherwise.
        After an error, the device keeps its previous program.
        """
        self.switch.load(source, file)

    def session(self, *, role: str = "", election_id: int | None = None) -> Session:
        """Open a controller's P4Runtime session, which the caller closes.

        `role` is the P4Runtime role, empty for the default one with full access. `election_id`, 0 to 2**128 - 1, is the
        controller's rank among those of its role; None means 1, or the highest id so far if the role has no primary.
        RequestError if another session of the role has this election id, as a second one with None; ValueError if it is
        out of range; DeviceError if the device is closed.
        """
        return Session(self.address, self.device_id, role=role, election_id=election_id)

    def process(self, packets: Packets, now: int = 0) -> Packets:
        """Process a batch at time `now`, in microseconds, and return the packets that leave through ports.

        Packet-ins, and digests that do not wait for a full list, are queued for the controllers before this returns.
        Packets of more than 3,840 bytes are dropped. DeviceError for a switch with interfaces, or if the kernel
        refuses.
        """
        if self.ports is not None:
            raise DeviceError("this switch gets its packets from its ports, not from `process`")
        return self.switch.process(packets, now)

    def transmitted(self) -> Packets:
        """Remove and return the packets that left through ports because of controllers' packet-outs."""
        return self.switch.transmitted()

    def settle(self) -> None:
        """Return when what the kernel has left to this process so far has been sent: packets' further copies, packets
        to controllers and digests.
        """
        self.switch.collect()

    def close(self) -> None:
        """Detach the program from its interfaces, end the sessions and stop the server. Idempotent."""
        self._close()

    def __enter__(self) -> XdpDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def refuse(program: ir.Program) -> None:
    """Raise P4Error, with the place, for the first table of a program whose key has more bits than an XDP device
    supports.
    """
    for table in program.tables.values():
        bits = sum(key.expression.type.width for key in table.keys if isinstance(key.expression.type, Bits))
        if bits > KEY:
            raise P4Error(
                f"the key of table {table.name} has {bits} bits; an XDP device supports {KEY}",
                place=table.place,
                hint="Use fewer or narrower fields, or run the program on another device.",
            )
