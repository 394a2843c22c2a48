"""The embedded switch in this process: an engine behind a P4Runtime server on loopback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from midflight.closing import Closer
from midflight.errors import DeviceError
from midflight.runtime.checked import CheckedProgram, Programs
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.devices.serving import serve
from midflight.runtime.devices.sheetfile import SheetOf
from midflight.runtime.engine import Packets
from midflight.runtime.engine.queues import Queueing
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.p4runtime.ports.opening import Ports, open_ports
from midflight.runtime.p4runtime.server.queues import Queues
from midflight.runtime.p4runtime.server.switch import Switch

__all__ = ["HostDevice"]


class HostDevice:
    """An embedded switch, which is ready for controllers when the constructor returns.

    source: the P4_16 program to start with; without one, the switch drops packets until a controller loads a program
    file: the name of the program in messages
    device_id: the P4Runtime device id
    address: where to serve P4Runtime, "host:port", with port 0 for a free one, or "unix:/path"
    cpu_port: the port number of packet-ins and packet-outs, which no interface may have
    seed: the first state of the program's random numbers is derived from it
    interfaces: by port number, 0 to 510, Linux interfaces, which require root, and UDP ports as `udp:ADDRESS:PORT` or
        `udp:ADDRESS:PORT,PEER:PORT`; or pcap files only, as `pcap:IN,OUT`
    netns: the network namespace of the interfaces, by name or file; P4Runtime is served in that of this process
    pcap: a folder for captures of each port; ignored without interfaces
    threads: the number of threads that process packets; one runs the program, and the others send packets. `threads`
        and `netns` are ignored without Linux interfaces
    programs: switches that share these compile each text once; None for those of this user
    queueing: the settings of the queues between ingress and egress; `queues` reads and changes them

    Without interfaces, packets are passed to `process`, for example by a simulated network. With them, `ports.stats`
    has the traffic counts. The constructor raises P4Error for an invalid program or one that the engine does not
    support, and DeviceError if the program's state needs too much memory, or if a port or the address cannot be opened.
    """

    capabilities = SheetOf("host")

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
        pcap: Path | None = None,
        threads: int = 1,
        programs: Programs | None = None,
        queueing: Queueing | None = None,
    ) -> None:
        self.switch = Switch(device_id=device_id, cpu_port=cpu_port, seed=seed, programs=programs, queueing=queueing)
        if source is not None:
            self.switch.load(source, file)
        self.ports: Ports | None = None
        if interfaces:
            self.ports = open_ports(self.switch, interfaces, netns=netns, captures=pcap, threads=threads)
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
        """Check a program, and return it for a session to load; the config is its text.

        P4Error for an invalid program. What the engine does not support shows when the program is loaded.
        """
        return PipelineConfig(program.p4info, program.standalone.encode())

    def load(self, source: str, file: str = "<string>") -> None:
        """Replace the program by the P4_16 text `source`, named `file` in messages.

        The new program starts with its own entries and initial state. P4Error if the text is invalid or the engine does
        not support it; DeviceError if its state needs too much memory. After an error, the device keeps its previous
        program.
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

    def process(self, packets: Packets, now: int = 0, times: NDArray[np.uint64] | None = None) -> Packets:
        """Process a batch at time `now`, in microseconds, and return the packets that leave through ports.

        times: uint64[n], when each packet arrives, in nanoseconds and ascending order; None if all arrive at `now`

        With queues, packets may leave later: see `due`. Packet-ins, and digests that do not wait for a full list, are
        queued for the controllers before this returns. Without a program, every packet is dropped. DeviceError for a
        switch with interfaces; ValueError for `times` of another shape or type.
        """
        if self.ports is not None:
            raise DeviceError("this switch gets its packets from its ports, not from `process`")
        return self.switch.process(packets, now, times)

    def advance(self, time: int) -> Packets:
        """Return the packets that leave their queues until `time` in nanoseconds, including that time.

        Raises DeviceError for a switch with interfaces.
        """
        if self.ports is not None:
            raise DeviceError("the packets of this switch leave by its ports")
        return self.switch.advance(time)

    @property
    def due(self) -> int | None:
        """The time in nanoseconds for the next `advance`, at which a packet leaves its queue or a list of digests is
        sent.

        None if neither waits.
        """
        return self.switch.due

    @property
    def queued(self) -> bool:
        """Whether the switch has queues between ingress and egress."""
        return self.switch.queued

    @property
    def queues(self) -> Queues:
        """The switch's queues between ingress and egress, through which their depth, rate and weight are set."""
        return self.switch.queues

    def follow(self, now: Callable[[], int], changed: Callable[[], None]) -> None:
        """Use the time of `now` (ns) when the settings of the queues change, and call `changed` afterwards.

        Both are called in the thread that makes the change.
        """
        self.switch.clock = now
        self.queues.observers.append(changed)

    def transmitted(self) -> Packets:
        """Remove and return the packets that left through ports because of controllers' packet-outs.

        With interfaces, such packets leave through these, and the result is always empty.
        """
        return self.switch.transmitted()

    def close(self) -> None:
        """Process the packets that have arrived, end the sessions and stop the server. Idempotent."""
        self._close()

    def __enter__(self) -> HostDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
