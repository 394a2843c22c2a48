"""The report of `midflight run`: captures by port, JSON, and lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from midflight.p4 import ir
from midflight.runtime.engine import Backend
from midflight.runtime.engine.ports.pcap import PcapWriter
from midflight.runtime.p4runtime.ports.oneshot import DigestOut, Message, Played
from midflight.runtime.p4runtime.ports.state import EntryCount, state_of
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.userfiles import failed

__all__ = ["Report", "trace_lines"]


class Report:
    """Collects the results of `midflight run` on `switch`, packet by packet.

    A context manager, which writes the captures in `folder`; None writes none. They get their names at its end: after
    an exception, earlier captures remain, and a new folder is removed. With `keep`, packets are kept in memory for
    `summary`. `packets` and `sent` count packets in and out. MidflightError if the folder cannot be created.
    """

    def __init__(self, switch: Switch, folder: Path | None, *, keep: bool) -> None:
        self.packets = self.sent = 0
        self._switch = switch
        self._folder = folder
        self._keep = keep
        self._kept: list[dict[str, object]] = []
        self._messages: list[tuple[int, Message]] = []
        self._log: list[tuple[int, str]] = []
        self._digests: list[tuple[int, DigestOut]] = []
        self._writers: dict[int, PcapWriter] = {}
        self._made = [] if folder is None else _made(folder)

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as undo:
            for folder in self._made:
                undo.callback(_remove_empty, folder)
            for each in self._writers.values():
                undo.callback(_part(each.path).unlink, missing_ok=True)
                undo.callback(each.close)
            if kind is None:
                for each in self._writers.values():
                    each.close()
                for each in self._writers.values():
                    _part(each.path).replace(each.path)

    def add(self, packet: Played) -> None:
        """Add the result of one packet, and write the packets that left to the captures.

        DeviceError if a capture cannot be written.
        """
        self.packets += 1
        self.sent += len(packet.sent)
        self._messages += [(packet.number, each) for each in packet.packet_ins]
        self._digests += [(packet.number, each) for each in packet.digests]
        self._log += [(packet.number, each) for each in packet.log]
        for each in packet.sent:
            if self._folder is not None:
                if each.port not in self._writers:
                    path = self._folder / f"port{each.port}.pcap"
                    self._writers[each.port] = PcapWriter(path, _part(path))
                self._writers[each.port].write(packet.time, each.data)
        if self._keep:
            self._kept.append(
                {
                    "number": packet.number,
                    "time_ns": packet.time,
                    "port": packet.port,
                    "data": packet.data.hex(),
                    "sent": [{"port": each.port, "data": each.data.hex()} for each in packet.sent],
                    "packet_ins": [
                        {"metadata": dict(each.metadata), "payload": each.payload.hex()} for each in packet.packet_ins
                    ],
                    "digests": [{"name": each.name, "values": dict(each.values)} for each in packet.digests],
                    "log": packet.log,
                    "trace": [list(step) for each in packet.traces for step in each.steps],
                    "details": [list(detail) for each in packet.traces for detail in each.details],
                }
            )

    def summary(self) -> dict[str, object]:
        """Return all results as data for JSON: packets, counters and registers that are not zero, and drops by
        reason.
        """
        engine = self._engine()
        state, stats = state_of(engine), engine.stats
        return {
            "packets": self._kept,
            "received": stats.received,
            "sent": self.sent,
            "dropped": {reason: count for reason, count in stats.dropped.items() if count},
            "counters": {
                name: {str(cell): {"packets": each.packets, "bytes": each.bytes} for cell, each in cells.items()}
                for name, cells in state.counters.items()
            },
            "direct_counters": [
                {
                    "counter": each.counter,
                    "table": each.table,
                    "entry": self._entry(each),
                    "packets": each.value.packets,
                    "bytes": each.value.bytes,
                }
                for each in state.entries
            ],
            "registers": {
                name: {str(cell): value for cell, value in cells.items()} for name, cells in state.registers.items()
            },
        }

    def lines(self) -> Iterator[str]:
        """Yield the results as lines of text: packet-ins, log messages, digests, counters, registers and totals."""
        engine = self._engine()
        state, stats = state_of(engine), engine.stats
        for number, message in self._messages:
            values = ", ".join(f"{name} {value}" for name, value in message.metadata.items())
            yield f"packet-in from packet {number}: {values + ', ' if values else ''}payload {message.payload.hex()}"
        for number, text in self._log:
            yield f"log from packet {number}: {text}"
        for number, digest in self._digests:
            values = ", ".join(f"{name} {value:#x}" for name, value in digest.values.items())
            yield f"digest from packet {number}: {digest.name}: {values}"
        for name, cells in state.counters.items():
            for cell, count in cells.items():
                yield f"counter {name}[{cell}]: packets {count.packets}, bytes {count.bytes}"
        for each in state.entries:
            counted = f"packets {each.value.packets}, bytes {each.value.bytes}"
            yield f"counter {each.counter}: {self._entry(each)}: {counted}"
        for name, values_of in state.registers.items():
            for cell, value in values_of.items():
                yield f"register {name}[{cell}]: {value:#x}"
        dropped = ", ".join(f"{reason} {count}" for reason, count in stats.dropped.items() if count)
        tail = f", dropped: {dropped}" if dropped else ""
        yield f"received {stats.received}, sent {self.sent}{tail}"
        if self._folder is not None and self._writers:
            yield "written: " + ", ".join(str(self._folder / f"port{each}.pcap") for each in sorted(self._writers))

    def _engine(self) -> Backend:
        assert self._switch.pipeline is not None
        return self._switch.pipeline.engine

    def _entry(self, counted: EntryCount) -> str:
        """Return an entry as text, with the names of its fields."""
        assert self._switch.pipeline is not None
        table = self._switch.pipeline.checked.program.tables[counted.table]
        entry = counted.entry
        keys = [f"{key.name}={_key(each, key)}" for key, each in zip(table.keys, entry.keys, strict=True)]
        action = next((each.action for each in table.actions if each.action.name == entry.action), None)
        names = [each.variable.name for each in action.data] if action else []
        values = ", ".join(f"{name}={value:#x}" for name, value in zip(names, entry.arguments, strict=False))
        return f"{' '.join(keys)} -> {entry.action}({values})"


def trace_lines(packet: Played, program: ir.Program) -> Iterator[str]:
    """Yield the trace and the log messages of one packet as lines of text.

    Steps of the parser and of tables have the file and the lines of the state, or of the table and action. A packet
    without a trace gives a line that says so.
    """
    for number, trace in enumerate(packet.traces):
        head = f"packet {packet.number}: " if not number else "  "
        yield f"{head}in by port {trace.port}, {trace.length} bytes, at {trace.time} us"
        for what, how, place in trace.details:
            places = place or _parser_places(what, how, program)
            yield f"  {what:<10} {how}" + (f"   ({places})" if places else "")
    for text in packet.log:
        yield f"  log        {text}"
    if not packet.traces:
        yield f"packet {packet.number}: no trace"


def _parser_places(what: str, how: str, program: ir.Program) -> str:
    """Return the places of the parser's states in a step of a trace; empty for other steps."""
    found = []
    if what == "parser":
        for name in how.split(", "):
            state = program.parser.states.get(name)
            if state is not None and state.place is not None:
                found.append(state.place)
    if not found:
        return ""
    lines = ", ".join(str(each.line) for each in found)
    return f"{found[0].file}:{lines}"


def _key(key: ir.EntryKey, field: ir.Key) -> str:
    if key.value is None:
        return "*"
    if key.high is not None:
        return f"{key.value:#x}..{key.high:#x}"
    if key.mask is None:
        return f"{key.value:#x}"
    return f"{key.value:#x}/{key.mask.bit_count()}" if field.kind == "lpm" else f"{key.value:#x}&&&{key.mask:#x}"


def _part(path: Path) -> Path:
    """Return where a capture is written until it is complete."""
    return path.with_name(f".{path.name}.part")


def _made(folder: Path) -> list[Path]:
    """Create a folder, and return the folders that did not exist, the outermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()][::-1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise failed(error, folder) from None
    return missing


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
