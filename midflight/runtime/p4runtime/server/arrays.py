"""Reading and writing of register and counter cells (P4Runtime specification 1.5, sections 9.3 and 9.6)."""

from __future__ import annotations

from collections.abc import Iterator

from finsy.proto import p4d, p4i, p4r

from midflight.runtime.engine import CounterValue
from midflight.runtime.engine.registers import Register
from midflight.runtime.p4runtime.server.change import Change
from midflight.runtime.p4runtime.server.pipeline import Pipeline
from midflight.runtime.p4runtime.status import Code, Refusal
from midflight.runtime.p4runtime.values import decode_data, encode_data

__all__ = ["cells_of", "count_of", "counter_data", "read_counter", "read_register", "write_counter", "write_register"]


def write_register(pipeline: Pipeline, entry: p4r.RegisterEntry) -> Change:
    """Return the change that sets one cell of a register, or all cells if the message has no index.

    Refusal if the register, the index or the value is invalid.
    """
    info = pipeline.schema.registers.of_id(entry.register_id)
    cells = cells_of(entry, info.preamble.name, info.size)
    (value,) = decode_data(info.type_spec, pipeline.schema.types, entry.data, f"register {info.preamble.name}")
    register = pipeline.engine.registers[info.preamble.name]
    if register.signed and value >> (register.width - 1):
        value -= 1 << register.width
    yield
    before = [register.read(cell) for cell in cells]
    _fill(register, cells, [value] * len(cells))
    return lambda: _fill(register, cells, before)


def read_register(pipeline: Pipeline, entry: p4r.RegisterEntry) -> Iterator[p4r.RegisterEntry]:
    """Yield the requested cell, all cells of a register if there is no index, or all registers for id 0.

    Refusal for an unknown register, an index out of range, or cells of a type that P4Runtime cannot carry.
    """
    registers = pipeline.schema.registers
    for info in [registers.of_id(entry.register_id)] if entry.register_id else registers:
        register = pipeline.engine.registers[info.preamble.name]
        for cell in cells_of(entry, info.preamble.name, info.size):
            data: p4d.P4Data = encode_data(info.type_spec, pipeline.schema.types, [register.read(cell)])
            yield p4r.RegisterEntry(register_id=info.preamble.id, index=p4r.Index(index=cell), data=data)


def write_counter(pipeline: Pipeline, entry: p4r.CounterEntry) -> Change:
    """Return the change that sets one cell of a counter, or all cells if the message has no index.

    Without `data`, nothing changes. Refusal if the counter, the index or a value is invalid.
    """
    info = pipeline.schema.counters.of_id(entry.counter_id)
    cells = cells_of(entry, info.preamble.name, info.size)
    counter = pipeline.engine.counters[info.preamble.name]
    value = CounterValue(*count_of(entry.data)) if entry.HasField("data") else None
    yield
    before = [counter.read(cell) for cell in cells]
    if value is not None:
        for cell in cells:
            counter.write(cell, value)

    def undo() -> None:
        for cell, old in zip(cells, before, strict=True):
            counter.write(cell, old)

    return undo


def read_counter(pipeline: Pipeline, entry: p4r.CounterEntry) -> Iterator[p4r.CounterEntry]:
    """Yield the requested cell, all cells of a counter if there is no index, or all counters for id 0.

    Refusal for an unknown counter or an index out of range.
    """
    counters = pipeline.schema.counters
    for info in [counters.of_id(entry.counter_id)] if entry.counter_id else counters:
        counter = pipeline.engine.counters[info.preamble.name]
        packets, octets = counter.packets, counter.bytes
        for cell in cells_of(entry, info.preamble.name, info.size):
            data = counter_data(info.spec.unit, int(packets[cell]), int(octets[cell]))
            yield p4r.CounterEntry(counter_id=info.preamble.id, index=p4r.Index(index=cell), data=data)


def count_of(data: p4r.CounterData) -> tuple[int, int]:
    """Return the packets and bytes of counter data. Raises Refusal with INVALID_ARGUMENT if one is negative."""
    if data.packet_count < 0 or data.byte_count < 0:
        raise Refusal(Code.INVALID_ARGUMENT, f"a counter cannot be set to {data.packet_count}, {data.byte_count}")
    return data.packet_count, data.byte_count


def counter_data(unit: p4i.CounterSpec.Unit.ValueType, packets: int, octets: int) -> p4r.CounterData:
    """Return P4Runtime's counter data with these values, reduced to what a counter of this unit counts.

    `octets` are bytes.
    """
    data = p4r.CounterData()
    if unit != p4i.CounterSpec.BYTES:
        data.packet_count = packets
    if unit != p4i.CounterSpec.PACKETS:
        data.byte_count = octets
    return data


def cells_of(entry: p4r.RegisterEntry | p4r.CounterEntry | p4r.MeterEntry, name: str, size: int) -> range:
    """Return the cells that an entry refers to, all of them if it has no index.

    Raises Refusal with INVALID_ARGUMENT for a negative index, and with OUT_OF_RANGE for one of at least `size`.
    """
    if not entry.HasField("index"):
        return range(size)
    cell = entry.index.index
    if cell < 0:
        raise Refusal(Code.INVALID_ARGUMENT, f"{name}: index {cell} is negative")
    if cell >= size:
        raise Refusal(Code.OUT_OF_RANGE, f"{name}: index {cell} is out of range; it has {size} cells")
    return range(cell, cell + 1)


def _fill(register: Register, cells: range, values: list[int]) -> None:
    for cell, value in zip(cells, values, strict=True):
        register.write(cell, value)
