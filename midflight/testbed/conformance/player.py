"""The player of conformance cases on a device: it configures the device over P4Runtime, sends packets, compares
output.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import TracebackType

from midflight.errors import DeviceError
from midflight.primitives import Program
from midflight.primitives.wire import Schema
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.base import PacketDevice, PipelineConfig
from midflight.runtime.devices.tracing import open_tracer
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.maps import Maps
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.steering import Member, Offload, Route
from midflight.testbed.conformance.case import Alert, Case, Step
from midflight.testbed.conformance.differing import described
from midflight.testbed.conformance.network import EPOCH, MEMBERS, MIRROR, SERVER, address, mac, result_port

__all__ = ["Played", "Player", "admit", "configure"]

# Timeouts in seconds for an expected alert and for unexpected ones, if digests may arrive later than packets. The first
# one passes only if an alert is missing.
ALERT_PATIENCE = 10.0
MORE_PATIENCE = 0.05


@dataclass(frozen=True, slots=True)
class Played:
    """The result of playing a case on a device: the differences from the expected output, as texts; empty if it passed.

    `unasked` are texts that say what could not be tested on this device, and why.
    """

    differences: tuple[str, ...]
    unasked: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the device's output was as expected."""
        return not self.differences


class Player:
    """Plays cases of one program on a device, over a P4Runtime session. A context manager; leaving it ends the session.

    `case` is any case of the program. `p4` replaces the program's own P4, to test whether a broken program is detected;
    None for no replacement. MidflightError if the device's compiler rejects the program, DeviceError if
    the device does not answer.
    """

    def __init__(self, device: PacketDevice, case: Case, p4: str | None = None) -> None:
        self._device = device
        self._program = case.program()
        text = self._program.p4() if p4 is None else p4
        self._pipeline: PipelineConfig = device.compile(CheckedProgram(text, f"{case.name}.p4"))
        self._schema = Schema(self._program.schema())
        self._alerting = self._program.applications["app"].primitive.kernel.alert
        self._session: Session = device.session()

    def play(self, case: Case) -> Played:
        """Load the program again, so that its state is empty, play a case, and return the result.

        Differences are in the result. DeviceError if the device dies, RequestError if it refuses a request.
        """
        differences: list[str] = []
        unasked = list(getattr(self._device, "reservations", ()))
        self._session.load(self._pipeline.p4info, self._pipeline.config)
        maps, offload = configure(self._session, self._program, case.ipv6)
        if self._alerting:
            self._session.subscribe("app_alert_t")
        done = 0
        while done < len(case.steps):
            if operation := case.steps[done].control:
                if operation.startswith("withdraw"):
                    offload.withdraw(self._program.applications["app"].id)
                else:
                    admit(offload, self._program, case.ipv6)
            for each in case.steps[done].writes:
                each.apply(maps["app", each.map])
            later = range(done + 1, len(case.steps))
            upto = next((n for n in later if case.steps[n].control or case.steps[n].writes), len(case.steps))
            differences += self._batch(case.steps[done:upto], done)
            done = upto
        if self._alerting:
            expected = list(case.alerts)
            if not self._device.capabilities.repeated_digests:
                expected = list(dict.fromkeys(expected))
                if len(expected) < len(case.alerts):
                    unasked.append("repeated alerts: this device may suppress them")
            heard = self._receive_alerts(len(expected))
            differences += _alerts(expected, heard)
        differences += self._state(case)
        offload.close()  # A device may keep its multicast groups when it loads a new pipeline.
        return Played(tuple(differences), tuple(unasked))

    def traced(self, case: Case) -> str:
        """Play a case again, and return what happened in the switch to its first packet that differs, as text.

        Empty if no packet differs, only registers or alerts, or if the switch cannot be traced. DeviceError if the
        device dies.
        """
        try:
            tracer = open_tracer(self._device, self._session)
        except DeviceError:
            return ""
        try:
            played = self.play(case)
        finally:
            traces = tracer.close()
        numbers = [int(found[1]) for each in played.differences if (found := re.match(r"packet (\d+)", each))]
        return traces[numbers[0]] if numbers and numbers[0] < len(traces) else ""

    def _batch(self, steps: Sequence[Step], first: int) -> list[str]:
        out = self._device.process(Packets.from_list([(step.port, step.packet) for step in steps]))
        came: list[list[tuple[int, bytes]]] = [[] for _ in steps]
        for source, packet in zip(out.sources.tolist(), out, strict=True):
            came[source].append(packet)
        differences = []
        for number, (step, packets) in enumerate(zip(steps, came, strict=True), first):
            if wrong := described(self._schema, packets, step.expect):
                what = f"packet {number}{f' ({step.note})' if step.note else ''}"
                differences.append(f"{what}: {'; '.join(wrong)}")
        return differences

    def _state(self, case: Case) -> list[str]:
        """Compare registers, whose contents the program sends in packets, so this works on every device."""
        if not case.state:
            return []
        indexes = sorted({each.index for each in case.state})
        rows = dict(zip(indexes, self._program.state("app", self._session.inband).rows(indexes), strict=True))
        differences = []
        for each in case.state:
            held = rows[each.index][each.register]
            value = int(held) if each.lane is None else int(held[each.lane])  # type: ignore[arg-type, index]
            if value != each.value:
                where = f"{each.register}{'' if each.lane is None else f'[{each.lane}]'}[{each.index}]"
                differences.append(f"register {where} is {value}, must be {each.value}")
        return differences

    def _receive_alerts(self, number: int) -> list[Alert]:
        """Return the digests that have arrived, waiting for the expected number."""
        heard: list[Alert] = []
        sheet = self._device.capabilities
        late = not sheet.prompt_digests
        while more := self._session.digests(late * (ALERT_PATIENCE if len(heard) < number else MORE_PATIENCE)):
            heard += [(each.name, self._schema.alert(each.name, each.values.values())) for each in more]
            if not sheet.repeated_digests:
                heard = list(dict.fromkeys(heard))
        return heard

    def close(self) -> None:
        """Close the controller's session. The device stays open."""
        self._session.close()

    def __enter__(self) -> Player:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def configure(session: Session, program: Program, ipv6: Collection[int] = ()) -> tuple[Maps, Offload]:
    """Configure a device that has just loaded a program as the switch of the network of `conformance.network`.

    Writes the initial entries of the kernel's maps and the routes, admits the application `app`, and returns the
    objects with which to change maps and admissions. `ipv6` are the numbers of the members that receive results over
    IPv6; any host may send over either family. RequestError if the device refuses an entry.
    """
    maps = Maps(session, program)
    maps.install()
    offload = Offload(session)
    addresses = [(host, address(host, ipv6=each)) for host in (*MEMBERS, SERVER) for each in (False, True)]
    offload.install(Route(each, host, mac(host)) for host, each in addresses)
    admit(offload, program, ipv6)
    app = program.applications["app"]
    if app.primitive.kernel.mirrors:
        offload.mirror(app.id, [MIRROR])
    return maps, offload


def admit(offload: Offload, program: Program, ipv6: Collection[int] = ()) -> None:
    """Make the switch compute on the program's application `app`, for the members of `conformance.network`.

    `ipv6` are the numbers of the members that receive results over IPv6. RequestError if the device refuses an entry.
    """
    members = [Member(host, mac(host), address(host, ipv6=host in ipv6), result_port(host)) for host in MEMBERS]
    offload.admit(program.applications["app"].id, members, epoch=EPOCH)


def _alerts(expected: Sequence[Alert], heard: Sequence[Alert]) -> list[str]:
    if list(expected) == list(heard):
        return []
    for number, (one, other) in enumerate(zip(expected, heard, strict=False)):
        if one != other:
            return [f"alert {number} is {other[0]}{other[1]}, must be {one[0]}{one[1]}"]
    return [f"there are {len(heard)} alerts, must be {len(expected)}"]
