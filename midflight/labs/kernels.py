"""Primitives that students write: the compiled program, requests to it, and what comes back (docs/wire.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from midflight.labs.bench import Bench, Incorrect, require
from midflight.labs.packets import Header, Layout, header, udp_packet
from midflight.labs.student import StudentError
from midflight.labs.switch import Switch

__all__ = ["DROPPED", "FORWARDED", "REPLIED", "Kernel", "Outcome"]

PORT, REQUEST, RESULT, APPLICATION = 19782, 1, 2, 1
COMMON = header("midflight", "version:8 kind:8 application:16 sequence:32 token:64")
BEFORE = 14 + 20 + 8
CLIENT, SERVER = 3, 4
FORWARDED, REPLIED, DROPPED = "is forwarded", "is answered", "is dropped"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a request: one of `FORWARDED`, `REPLIED` and `DROPPED`, its fields, and the alerts."""

    verdict: str
    fields: Mapping[str, int] = field(default_factory=dict)
    alerts: tuple[tuple[int, ...], ...] = ()


class Kernel:
    """A submitted primitive as the only one of a program, on a switch with a client and a server.

    file, name: the module of the submission, and the class in it
    wire: the header of the requests, which the lab prescribes
    parameters: of the primitive

    Incorrect if the file is missing, or if the primitive cannot be imported or does not compile.
    """

    def __init__(self, bench: Bench, file: str, name: str, wire: Header, **parameters: object) -> None:
        self._wire = wire
        self._layout = Layout(COMMON, {COMMON: ("application", {APPLICATION: wire})})
        student = bench.student(file)
        try:
            text = student.p4(name, **parameters)
        except StudentError as error:
            raise Incorrect(f"the primitive does not compile:\n{error}") from None
        finally:
            student.close()
        self._switch: Switch = bench.switch(
            file,
            f"table_add ingress.admission ingress.admit {APPLICATION} 0&&&0 => 0 1 0 0 1",
            f"table_add ingress.route ingress.to_port 10.0.0.1/32 => {CLIENT} 0x020000000001",
            f"table_add ingress.route ingress.to_port 10.0.0.2/32 => {SERVER} 0x020000000002",
            text=text,
        )

    def send(self, requests: Sequence[Mapping[str, int]], gap: int = 1) -> list[Outcome]:
        """Send requests, given by their fields, `gap` microseconds apart, and return what becomes of each.

        Incorrect if one leaves more than once, or as anything other than the request at the server or a result at the
        client.
        """
        packets = [(number * gap * 1000, CLIENT, self._packet(number, each)) for number, each in enumerate(requests, 1)]
        played = self._switch.play(packets)
        alerts: dict[int, list[tuple[int, ...]]] = {}
        for index, _, values in played.digests:
            alerts.setdefault(index, []).append(tuple(values.values()))
        return [
            self._outcome(requests[index], left, tuple(alerts.get(index, ())))
            for index, left in enumerate(played.by_source(len(requests)))
        ]

    def _packet(self, sequence: int, fields: Mapping[str, int]) -> bytes:
        common = {"version": 2, "kind": REQUEST, "application": APPLICATION, "sequence": sequence}
        return udp_packet(
            ethernet={"dst": 0x02 << 40 | 9, "src": 0x02 << 40 | 1},
            ip={"src": 10 << 24 | 1, "dst": 10 << 24 | 2},
            udp={"sport": 20001, "dport": PORT},
            payload=COMMON.pack(common) + self._wire.pack(fields),
        )

    def _outcome(
        self, request: Mapping[str, int], left: Sequence[tuple[int, bytes]], alerts: tuple[tuple[int, ...], ...]
    ) -> Outcome:
        shown = ", ".join(f"{name} {value}" for name, value in request.items())
        require(len(left) <= 1, f"the request {shown} leaves more than once")
        if not left:
            return Outcome(DROPPED, {}, alerts)
        port, data = left[0]
        parts, _ = self._layout.parse(data[BEFORE:])
        require(len(parts) == 2, f"what leaves for the request {shown} is not a message with the header of the lab")
        kind = parts[0][1]["kind"]
        known = {(SERVER, REQUEST): FORWARDED, (CLIENT, RESULT): REPLIED}.get((port, kind))
        if known is None:
            raise Incorrect(f"the request {shown} leaves by port {port} as a message of kind {kind}")
        return Outcome(known, parts[1][1], alerts)
