"""Ways to run a case, and the comparison of their outcomes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from finsy.proto import p4i, p4r

from midflight.errors import DeviceError, MidflightError, P4Error
from midflight.runtime.checked import CheckedProgram, Programs
from midflight.runtime.devices.bmv2 import Bmv2Device
from midflight.runtime.engine import Packets
from midflight.runtime.engine.compiled import Compiled
from midflight.runtime.engine.records import Digest
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.p4runtime.entryfiles.commands import read_commands
from midflight.runtime.p4runtime.entryfiles.steps import SessionTarget, SwitchTarget, Target, Write, apply
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.testbed.fuzz.program import Case

__all__ = ["Bmv2", "Embedded", "Finding", "Host", "Judge", "Outcome", "UnsupportedCaseError", "difference"]

PROGRAM, ENTRIES = "program.p4", "entries.txt"
"""The names of a case's files."""

DIGESTS, MORE = 10.0, 0.02
"""The seconds that BMv2 has for the digests of a case, and for further ones than those that are expected."""

PATIENCE = 10.0
"""The seconds that BMv2 has for the packets of a case, and for its start."""

_STATEFUL = re.compile(r"\bregister<")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a switch did with a case.

    `sent` has, for each packet that arrived, the packets that left, as pairs of port and bytes in any fixed order.
    `counters` has the cells of each counter by name; for a direct counter, with the entries in any fixed order.
    `digests` has the different messages of each digest by name, sorted, because BMv2 does not repeat a message.
    """

    sent: tuple[tuple[tuple[int, bytes], ...], ...]
    counters: dict[str, tuple[int, ...]] = field(default_factory=dict)
    digests: dict[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong in a case.

    kind: "differs" (two ways of running it disagree), "refused" (the embedded switch refuses a valid program) or
        "failed" (a way of running it raised something unexpected, or died)
    text: what is wrong, for people
    outcome: what the way that is compared with did, for the test that is kept; None if nothing
    """

    kind: str
    text: str
    outcome: Outcome | None = None

    @property
    def signature(self) -> str:
        """The kind of finding with its message, without place, numbers and names; only "differs" if two results differ.

        It stays the same while a case is made smaller.
        """
        if self.kind == "differs":
            return self.kind
        message = re.sub(r"^\S*:\d+:\d+: ", "", self.text.partition("\n")[0])
        return f"{self.kind} {re.sub(r'[0-9]+|`[^`]*`', '_', message)}"


def difference(expected: Outcome, received: Outcome, names: tuple[str, str]) -> str:
    """Return the first difference between two outcomes of a case as text; empty if there is none.

    Packets are compared first, in any order for each packet that arrived, then counters that both have. `names` are the
    names of the two ways, for the text.
    """
    width = max(map(len, names))
    for number, (left, right) in enumerate(zip(expected.sent, received.sent, strict=True), 1):
        if sorted(left) != sorted(right):
            lines = [f"  {name:<{width}} {_shown(sent)}" for name, sent in zip(names, (left, right), strict=True)]
            return "\n".join([f"packet {number}:", *lines])
    for name, cells in expected.counters.items():
        others = received.counters.get(name, cells)
        if cells != others:
            return f"counter {name}:\n  {names[0]:<{width}} {cells}\n  {names[1]:<{width}} {others}"
    for name in sorted({*expected.digests, *received.digests}):
        left_messages, right_messages = (each.digests.get(name, ()) for each in (expected, received))
        if left_messages != right_messages:
            return f"digest {name}:\n  {names[0]:<{width}} {left_messages}\n  {names[1]:<{width}} {right_messages}"
    return ""


def _shown(sent: Sequence[tuple[int, bytes]]) -> str:
    return ", ".join(f"port {port}: {data.hex()}" for port, data in sorted(sent)) or "nothing"


class Judge(Protocol):
    """Runs a case in two ways or more, and compares the outcomes. A context manager."""

    def judge(self, case: Case) -> Finding | None:
        """Return what is wrong with a case; None if nothing. UnsupportedCaseError if it cannot be compared."""


class UnsupportedCaseError(Exception):
    """A case cannot be compared, because p4c refuses its program. The message is the reason."""


class Embedded:
    """Runs cases on embedded switches, a new one for each case."""

    def run(
        self,
        case: Case,
        source: str,
        *,
        p4info: p4i.P4Info | None = None,
        programs: Programs | None = None,
        traced: bool = False,
    ) -> Outcome:
        """Run a case on a new embedded switch, and return what it did.

        `source` is the program as P4 or as BMv2's JSON; the latter needs `p4info`. `programs` may have its code
        already. With `traced`, packets are traced. P4Error if the program is refused, MidflightError if an entry is.
        """
        programs = programs or Programs()
        checked = programs.get(source, PROGRAM)
        switch = Switch(programs=programs)
        switch.load(source, PROGRAM, p4info)
        if traced:
            switch.trace(self, lambda _: None)
        target, learned = SwitchTarget(switch), _Learned()
        switch.listen(learned)
        _fill(case, target, checked.program.tables)
        sent = _play(case, lambda packets: switch.process(packets, 1))
        return Outcome(sent, _counters(target, checked.program.tables), learned.messages)


class Host:
    """Compares the embedded switch with itself: optimised code, code that LLVM does not optimise, and traced code."""

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def judge(self, case: Case) -> Finding | None:
        """Return what is wrong with a case; None if nothing. Errors of a switch become findings, so none is raised."""
        embedded, source = Embedded(), str(case.program)
        programs = Programs()
        checked = programs.get(source, PROGRAM)

        def optimised() -> Outcome:
            checked.adopt(Compiled(checked.program, plain_traces=True))
            return embedded.run(case, source, programs=programs)

        found = _guarded(optimised)
        if isinstance(found, Finding):
            return found
        plain = _guarded(lambda: embedded.run(case, source, programs=programs, traced=True))
        if isinstance(plain, Finding):
            return plain
        text = difference(plain, found, ("plain code", "optimised code"))
        return Finding("differs", text, plain) if text else None


class Bmv2:
    """Compares the embedded switch with BMv2, from the program's source and from the JSON that p4c makes of it.

    A context manager. One simple_switch_grpc, which entering the context starts, runs the cases; after a case in which
    it dies or reports an error, the next case starts another. DeviceError, on entering, if BMv2 is missing or does not
    start, and from `judge` if p4c is missing.
    """

    def __init__(self) -> None:
        self._device: Bmv2Device | None = None
        self._session: Session | None = None

    def __enter__(self) -> Bmv2:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def judge(self, case: Case) -> Finding | None:
        """Return what is wrong with a case; None if nothing. Errors of either switch become findings.

        UnsupportedCaseError if p4c refuses the program; DeviceError if BMv2 does not start.
        """
        source = str(case.program)
        found = _guarded(lambda: Embedded().run(case, source))
        if isinstance(found, Finding) and found.kind == "failed":
            return found
        device, session = self._start()
        try:
            config = device.compile(CheckedProgram(source, PROGRAM))
        except P4Error as error:
            raise UnsupportedCaseError(str(error)) from None
        if isinstance(found, Finding):
            return found
        try:
            session.load(config.p4info, config.config)
            expected = self._run(case, device, session, config.config, found.digests)
        except (DeviceError, MidflightError) as error:
            self._stop()
            return Finding("failed", f"BMv2: {error}")
        if text := difference(expected, found, ("BMv2", "embedded switch")):
            return Finding("differs", text, expected)
        other = _guarded(lambda: Embedded().run(case, config.config.decode(), p4info=config.p4info))
        if isinstance(other, Finding):
            return Finding(other.kind, f"from BMv2's JSON: {other.text}")
        text = difference(expected, other, ("BMv2", "embedded switch with BMv2's JSON"))
        return Finding("differs", text, expected) if text else None

    def _run(
        self,
        case: Case,
        device: Bmv2Device,
        session: Session,
        program: bytes,
        digests: Mapping[str, Collection[tuple[int, ...]]],
    ) -> Outcome:
        """Run a case on BMv2, and wait for as many different messages as there are in `digests`."""
        content = json.loads(program)
        tables = [table["name"] for pipeline in content["pipelines"] for table in pipeline["tables"]]
        sent_digests = {each["name"] for each in content["learn_lists"]}  # p4c removes those that no packet reaches
        target = SessionTarget(session)
        schema, session.subscriptions = target.schema, set()
        try:
            for each in schema.digests:
                if each.preamble.name in sent_digests:
                    session.subscribe(each.preamble.name)
            _fill(case, target, tables)
            sent = _play(case, device.process)
            messages = _receive(session, sum(map(len, digests.values()))) if sent_digests else {}
            return Outcome(sent, _counters(target, tables), messages)
        finally:
            if device.alive:  # BMv2 keeps groups and sessions when it gets another program
                _remove_replication(target)

    def _start(self) -> tuple[Bmv2Device, Session]:
        if self._device is None or self._session is None or not self._device.alive:
            self._stop()
            self._device = Bmv2Device(patience=PATIENCE)
            self._session = self._device.session()
        return self._device, self._session

    def _stop(self) -> None:
        session, self._session = self._session, None
        device, self._device = self._device, None
        if session is not None:
            session.close()
        if device is not None:
            device.close()


class _Learned:
    """Collects the different messages of digests by name, sorted."""

    def __init__(self) -> None:
        self.messages: dict[str, tuple[tuple[int, ...], ...]] = {}

    def packet_in(self, values: Mapping[int, int], payload: bytes) -> None:
        """Ignore a packet-in."""

    def digest(self, digest: Digest) -> None:
        """Add a message."""
        known = self.messages.get(digest.name, ())
        self.messages[digest.name] = tuple(sorted({*known, digest.values}))


def _receive(session: Session, wanted: int) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Return the messages of digests that arrive until there are `wanted` different ones, and shortly afterwards."""
    learned, end = _Learned(), time.monotonic() + DIGESTS
    while True:
        complete = sum(map(len, learned.messages.values())) >= wanted
        arrived = session.digests(MORE if complete else 0.1)
        for each in arrived:
            learned.digest(Digest(each.name, tuple(each.values.values())))
        if not arrived and (complete or time.monotonic() > end):
            return learned.messages


def _guarded(run: Callable[[], Outcome]) -> Outcome | Finding:
    """Return the outcome of `run`, which plays a case on the embedded switch, or a finding if it raises an error."""
    try:
        return run()
    except P4Error as error:
        return Finding("refused", str(error))
    except Exception as error:
        return Finding("failed", f"{type(error).__name__}: {error}")


def _play(case: Case, process: Callable[[Packets], Packets]) -> tuple[tuple[tuple[int, bytes], ...], ...]:
    """Return what a switch sends for each packet.

    Programs with registers get one packet at a time, because BMv2 may process the rounds of several in any order.
    """
    sent: list[list[tuple[int, bytes]]] = [[] for _ in case.packets]
    step = 1 if _STATEFUL.search(str(case.program)) else max(1, len(case.packets))
    for first in range(0, len(case.packets), step):
        left = process(Packets.from_list(list(case.packets[first : first + step])))
        for source, packet in zip(left.sources, left, strict=True):
            sent[first + int(source)].append(packet)
    return tuple(map(tuple, sent))


def _fill(case: Case, target: Target, tables: Collection[str]) -> None:
    """Apply the commands of a case, except those for tables that no packet reaches, which p4c removes."""
    lines = [
        line
        for line in str(case.commands).splitlines()
        if not line.startswith(("table_", "act_prof_")) or line.split()[1].removesuffix("_p") in tables
    ]
    apply(read_commands("\n".join(lines), ENTRIES, target.schema), target)


def _counters(target: Target, tables: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Return the cells of all counters, and of the direct counters of `tables`: packets, bytes or both, as declared."""
    found: dict[str, tuple[int, ...]] = {}
    for each in target.schema.counters:
        entities = target.read(p4r.Entity(counter_entry=p4r.CounterEntry(counter_id=each.preamble.id)))
        found[each.preamble.name] = _cells(each.spec, (one.counter_entry.data for one in entities))
    for direct in target.schema.direct_counters:
        if target.schema.tables.of_id(direct.direct_table_id).preamble.name in tables:
            wanted = p4r.DirectCounterEntry(table_entry=p4r.TableEntry(table_id=direct.direct_table_id))
            entries = [one.direct_counter_entry for one in target.read(p4r.Entity(direct_counter_entry=wanted))]
            entries.sort(key=lambda entry: (entry.table_entry.priority, [str(one) for one in entry.table_entry.match]))
            found[direct.preamble.name] = _cells(direct.spec, (one.data for one in entries))
    return found


def _cells(spec: p4i.CounterSpec, data: Iterable[p4r.CounterData]) -> tuple[int, ...]:
    cells: list[int] = []
    for each in data:
        if spec.unit != p4i.CounterSpec.BYTES:
            cells.append(each.packet_count)
        if spec.unit != p4i.CounterSpec.PACKETS:
            cells.append(each.byte_count)
    return tuple(cells)


def _remove_replication(target: Target) -> None:
    """Remove all multicast groups and clone sessions."""
    for entry in (
        p4r.PacketReplicationEngineEntry(multicast_group_entry=p4r.MulticastGroupEntry()),
        p4r.PacketReplicationEngineEntry(clone_session_entry=p4r.CloneSessionEntry()),
    ):
        for found in target.read(p4r.Entity(packet_replication_engine_entry=entry)):
            target.write(Write(p4r.Update(type=p4r.Update.DELETE, entity=found), "remove"))
