"""Playing an STF test on a switch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import eq, ge, gt, le, lt, ne

from finsy.proto import p4r

from midflight.errors import MidflightError, P4Error, UnsupportedError
from midflight.p4 import ir
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.bmv2 import Bmv2Device
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.registry import KINDS
from midflight.runtime.devices.xdp import in_kernel
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.entryfiles.steps import SessionTarget, SwitchTarget, Target, apply
from midflight.runtime.p4runtime.server.pipeline import embedded
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.runtime.p4runtime.values import decode
from midflight.runtime.placement import reasons_against
from midflight.testbed.stf.compare import differences
from midflight.testbed.stf.entries import Entries
from midflight.testbed.stf.syntax import CheckCounter, Expect, Line, NoPacket, Packet, Wait, parse

__all__ = ["Outcome", "Verdict", "run"]

COMPARISONS: dict[str, Callable[[int, int], bool]] = {"==": eq, "!=": ne, "<=": le, "<": lt, ">=": ge, ">": gt}

SECOND = 1_000_000


class Verdict(Enum):
    """The result of a test. `UNSUPPORTED`: the device does not support the program or a line of the test."""

    PASS = "pass"
    FAIL = "fail"
    UNSUPPORTED = "not supported"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one test.

    `reasons` are the differences for a failed test, the one reason for an unsupported one, and empty otherwise.
    `readings` are texts with the values that commands such as `register_read` returned, in order.
    """

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()


def run(
    source: str,
    program: str,
    test: str,
    file: str,
    device: str = "host",
    sheet: Capabilities | None = None,
    traces: list[str] | None = None,
) -> Outcome:
    """Play an STF test on a new device, which is closed afterwards, and return the result.

    `source` and `program` are the P4_16 text and its file's name; `test` and `file` are the STF text and its file's
    name. `device` is "host", "bmv2" or "xdp". A program that the device does not support, or that exceeds the limits of
    `sheet`, gives the verdict `UNSUPPORTED`; None is no further limits. On the embedded switch, the traces of packets
    are appended to `traces`, if it is not None.

    MidflightError, with the place in the test, for lines that are not STF and for names and values that the program
    does not have, or if there is no such kind; DeviceError if the device does not start.
    """
    if device not in KINDS:
        raise MidflightError(f"there is no device {device!r}", hint=f"the devices are {', '.join(sorted(KINDS))}")
    lines = parse(test, file)
    mentioned = {each.port for each in lines if isinstance(each, Packet | Expect)}
    cpu_port = next(each for each in range(510, 0, -1) if each not in mentioned)
    checked = CheckedProgram(source, program)
    try:
        if sheet is not None and (reasons := reasons_against(checked.footprint.total, sheet)):
            return Outcome(Verdict.UNSUPPORTED, (f"{program} does not fit {sheet.kind}: {'; '.join(reasons)}",))
        if device == "bmv2":
            with Bmv2Device(source, file=program, cpu_port=cpu_port) as bmv2, bmv2.session() as session:
                player = _Player(SessionTarget(session), bmv2.process)
                return player.play(lines, mentioned, _typed(checked))
        switch = Switch(cpu_port=cpu_port, make=in_kernel if device == "xdp" else embedded)
        switch.load(source, program)
        if traces is not None and device == "host":
            switch.trace("stf", lambda trace: traces.append(trace.detailed()))
        return _Player(SwitchTarget(switch), switch.process).play(lines, mentioned, _typed(checked))
    except (P4Error, UnsupportedError) as error:
        return Outcome(Verdict.UNSUPPORTED, (str(error),))


def _typed(checked: CheckedProgram) -> Callable[[], ir.Program | None]:
    """Return a function for the typed program, which is None if our front end rejects it."""

    def get() -> ir.Program | None:
        try:
            return checked.program
        except P4Error:
            return None

    return get


class _Player:
    """One test on one device."""

    def __init__(self, target: Target, process: Callable[[Packets, int], Packets]) -> None:
        self._target = target
        self._process = process
        self._entries = Entries(target.schema)
        self._now = 0
        self._pause = False
        self._received: dict[int, list[bytes]] = {}
        self._last: tuple[Packet, list[tuple[int, bytes]]] | None = None
        self._wrong: list[str] = []
        self._readings: list[str] = []

    def play(self, lines: Sequence[Line], ports: Iterable[int], program: Callable[[], ir.Program | None]) -> Outcome:
        """Play all lines. Only packets on `ports` are compared, as if the switch had no others."""
        expected: dict[int, list[Expect]] = {}
        for line in lines:
            match line:
                case Packet():
                    self._send(line)
                case Expect():
                    expected.setdefault(line.port, []).append(line)
                case NoPacket():
                    self._check_dropped(line)
                case CheckCounter():
                    self._check_counter(line)
                case Wait():
                    self._now += SECOND
                case _:
                    self._pause = True
                    for text, entity in apply(self._entries.steps(line), self._target):
                        self._readings.append(f"{text}: {shown(entity)}")
        mentioned = set(ports)
        received = {port: packets for port, packets in self._received.items() if port in mentioned}
        wrong = [*self._wrong, *differences(expected, received, None)]
        if wrong:
            wrong = [*self._wrong, *differences(expected, received, program())]
        return Outcome(Verdict.FAIL if wrong else Verdict.PASS, tuple(wrong), tuple(self._readings))

    def _send(self, line: Packet) -> None:
        # As in p4c, a second passes between commands and the next packet.
        self._now += SECOND if self._pause else 1
        self._pause = False
        left = list(self._process(Packets.from_list([(line.port, line.data)]), self._now))
        for port, packet in left:
            self._received.setdefault(port, []).append(packet)
        self._last = line, left

    def _check_dropped(self, line: NoPacket) -> None:
        if self._last is None:
            raise MidflightError("no packet is sent before this line", place=line.place)
        packet, left = self._last
        if left:
            sent = ", ".join(f"port {port}: {data.hex().upper()}" for port, data in left)
            self._wrong.append(f"{line.place}: the packet of line {packet.place.line} is not dropped, but sent: {sent}")

    def _check_counter(self, line: CheckCounter) -> None:
        entity = self._entries.counter(line)
        try:
            found = self._target.read(entity)
        except MidflightError as error:
            raise MidflightError(error.message, place=line.place, hint=error.hint) from None
        if not line.operator:
            return
        (cell,) = found
        data = cell.counter_entry.data if cell.HasField("counter_entry") else cell.direct_counter_entry.data
        value = data.packet_count if line.unit == "packets" else data.byte_count
        if not COMPARISONS[line.operator](value, line.value):
            what = f"{line.counter}({line.index}) {line.unit}"
            self._wrong.append(f"{line.place}: expected {what} {line.operator} {line.value}, which is {value}")


def shown(entity: p4r.Entity) -> str:
    """Return the value of a P4Runtime entity that was read (a register, counter, meter or clone session) as text."""
    match entity.WhichOneof("entity"):
        case "register_entry":
            data = entity.register_entry.data
            bits = data.bitstring
            return str(decode(bits, len(bits) * 8)) if bits else str(data).strip()
        case "counter_entry" | "direct_counter_entry" as which:
            data = getattr(entity, which).data
            return f"packets {data.packet_count}, bytes {data.byte_count}"
        case "meter_entry":
            config = entity.meter_entry.config
            return f"cir {config.cir}, cburst {config.cburst}, pir {config.pir}, pburst {config.pburst} (per second)"
        case "packet_replication_engine_entry":
            replicas = entity.packet_replication_engine_entry.clone_session_entry.replicas
            pairs = [f"port {int.from_bytes(each.port, 'big')}, instance {each.instance}" for each in replicas]
            return "; ".join(pairs) or "no ports"
        case _:
            return str(entity).strip()
