"""Direct counters and meters, which exist as long as their table entry (P4Runtime specification 1.5, section 9.1.7)."""

from __future__ import annotations

from collections.abc import Iterator

from finsy.proto import p4r

from midflight.errors import DeviceError
from midflight.p4.ir import EntryKey
from midflight.runtime.engine import CounterValue, Entry, MeterConfig
from midflight.runtime.engine.counters import DirectCounter
from midflight.runtime.engine.meters import DirectMeter
from midflight.runtime.p4runtime.server.arrays import count_of, counter_data
from midflight.runtime.p4runtime.server.binding import BoundTable
from midflight.runtime.p4runtime.server.change import Change, Undo
from midflight.runtime.p4runtime.server.meters import config_message, counts_message, counts_of, meter_config
from midflight.runtime.p4runtime.server.pipeline import Pipeline
from midflight.runtime.p4runtime.server.tables import decode_keys, decode_priority, encode_entry
from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["check", "fill", "read_counters", "read_meters", "snapshot", "store", "write_counter", "write_meter"]


def check(pipeline: Pipeline, bound: BoundTable, message: p4r.TableEntry) -> None:
    """Check the counter and meter data of an entry that is to be written.

    Refusal with INVALID_ARGUMENT if its table has no direct counter or meter for them, or if a value is invalid, and
    with UNIMPLEMENTED for an excess burst.
    """
    if message.HasField("counter_data"):
        _counter(pipeline, bound)
        count_of(message.counter_data)
    if message.HasField("meter_counter_data"):
        _meter(pipeline, bound)
        counts_of(message.meter_counter_data)
    if message.HasField("meter_config"):
        _meter(pipeline, bound)
        info = pipeline.schema.meter_of(bound.info)
        assert info is not None
        meter_config(message.meter_config, info.spec)


def store(pipeline: Pipeline, bound: BoundTable, message: p4r.TableEntry, entry: Entry) -> None:
    """Set the direct counter and meter of an inserted or modified table entry to those of the message.

    A message without a counter leaves the counter unchanged; one without a meter config resets the meter. Refusal as
    for `check`, which finds such data before anything is written.
    """
    number = _number(pipeline, bound, entry)
    if message.HasField("counter_data"):
        _counter(pipeline, bound).write(number, CounterValue(*count_of(message.counter_data)))
    if (info := pipeline.schema.meter_of(bound.info)) is not None:
        given = message.HasField("meter_config")
        _set_meter(_meter(pipeline, bound), number, meter_config(message.meter_config, info.spec) if given else None)
    if message.HasField("meter_counter_data"):
        _meter(pipeline, bound).set_counts(number, counts_of(message.meter_counter_data))


def fill(pipeline: Pipeline, bound: BoundTable, wanted: p4r.TableEntry, message: p4r.TableEntry, entry: Entry) -> None:
    """Add an entry's direct counter and meter to `message`, the answer to a read, if the read requested them and the
    table has them.

    `wanted` is the table entry in the read request, and `entry` the entry of table `bound` that is answered.
    """
    number = _number(pipeline, bound, entry)
    if wanted.HasField("counter_data") and (counter := pipeline.schema.counter_of(bound.info)) is not None:
        value = _counter(pipeline, bound).read(number)
        message.counter_data.CopyFrom(counter_data(counter.spec.unit, value.packets, value.bytes))
    if wanted.HasField("meter_config") and pipeline.schema.meter_of(bound.info) is not None:
        config = _meter(pipeline, bound).read(number)
        if config is not None:
            message.meter_config.CopyFrom(config_message(config))
    if wanted.HasField("meter_counter_data") and pipeline.schema.meter_of(bound.info) is not None:
        message.meter_counter_data.CopyFrom(counts_message(_meter(pipeline, bound).counts(number)))


def snapshot(pipeline: Pipeline, bound: BoundTable, entry: Entry) -> Undo:
    """Return a function that restores the current counter and meter of an entry. The entry must exist when called."""
    table, number = pipeline.engine.tables[bound.name], _number(pipeline, bound, entry)
    counts = [(each, each.read(number)) for each in table.direct_counters.values()]
    configs = [(each, each.read(number), each.counts(number)) for each in table.direct_meters.values()]

    def restore() -> None:
        place = _number(pipeline, bound, entry)
        for counter, value in counts:
            counter.write(place, value)
        for meter, config, colours in configs:
            meter.write(place, config)
            meter.set_counts(place, colours)

    return restore


def write_counter(pipeline: Pipeline, message: p4r.DirectCounterEntry) -> Change:
    """Return the change that sets the direct counter of a table entry; without `data`, it changes nothing.

    Refusal if the table is unknown or has no direct counter, if a count is negative, or if there is no such entry.
    """
    bound, keys, priority = _identity(pipeline, message.table_entry)
    counter = _counter(pipeline, bound)
    value = CounterValue(*count_of(message.data)) if message.HasField("data") else None
    yield
    entry = pipeline.find(bound, keys, priority)
    undo = snapshot(pipeline, bound, entry)
    if value is not None:
        counter.write(_number(pipeline, bound, entry), value)
    return undo


def write_meter(pipeline: Pipeline, message: p4r.DirectMeterEntry) -> Change:
    """Return the change that configures the direct meter of a table entry; without `config`, it marks every packet
    green. With `counter_data`, its counts by colour are set.

    Refusal if the table is unknown or has no direct meter, if the configuration or a count is invalid, or if there is
    no such entry.
    """
    bound, keys, priority = _identity(pipeline, message.table_entry)
    meter, info = _meter(pipeline, bound), pipeline.schema.meter_of(bound.info)
    assert info is not None
    counts = counts_of(message.counter_data) if message.HasField("counter_data") else None
    config = meter_config(message.config, info.spec) if message.HasField("config") else None
    yield
    entry = pipeline.find(bound, keys, priority)
    undo = snapshot(pipeline, bound, entry)
    _set_meter(meter, _number(pipeline, bound, entry), config)
    if counts is not None:
        meter.set_counts(_number(pipeline, bound, entry), counts)
    return undo


def read_counters(pipeline: Pipeline, message: p4r.DirectCounterEntry) -> Iterator[p4r.DirectCounterEntry]:
    """Yield the direct counters that a read selects: of one entry, of all entries of a table, or of all tables.

    `message` without a table id selects all tables, and without a match and a priority all entries of its table.
    Refusal for an unknown table or entry, a malformed match or priority, and a table that has no direct counter or that
    p4c removed.
    """
    if not message.table_entry.table_id:
        tables = [pipeline.table(each.direct_table_id) for each in pipeline.schema.direct_counters]
        places: list[tuple[BoundTable, Entry | None]] = [(bound, None) for bound in tables]
    else:
        places = [_place(pipeline, message.table_entry)]
    for bound, only in places:
        counter, info = _counter(pipeline, bound), pipeline.schema.counter_of(bound.info)
        assert info is not None
        for entry in [only] if only else pipeline.engine.tables[bound.name].entries():
            value = counter.read(_number(pipeline, bound, entry))
            data = counter_data(info.spec.unit, value.packets, value.bytes)
            yield p4r.DirectCounterEntry(table_entry=_key_of(bound, entry), data=data)


def read_meters(pipeline: Pipeline, message: p4r.DirectMeterEntry) -> Iterator[p4r.DirectMeterEntry]:
    """Yield the direct meters that a read selects: of one entry, of all entries of a table, or of all tables.

    `message` without a table id selects all tables, and without a match and a priority all entries of its table.
    Refusal for an unknown table or entry, a malformed match or priority, and a table that has no direct meter or that
    p4c removed.
    """
    if not message.table_entry.table_id:
        tables = [pipeline.table(each.direct_table_id) for each in pipeline.schema.direct_meters]
        places: list[tuple[BoundTable, Entry | None]] = [(bound, None) for bound in tables]
    else:
        places = [_place(pipeline, message.table_entry)]
    for bound, only in places:
        meter = _meter(pipeline, bound)
        for entry in [only] if only else pipeline.engine.tables[bound.name].entries():
            answer = p4r.DirectMeterEntry(table_entry=_key_of(bound, entry))
            if (config := meter.read(_number(pipeline, bound, entry))) is not None:
                answer.config.CopyFrom(config_message(config))
            if message.HasField("counter_data"):
                answer.counter_data.CopyFrom(counts_message(meter.counts(_number(pipeline, bound, entry))))
            yield answer


def _identity(pipeline: Pipeline, message: p4r.TableEntry) -> tuple[BoundTable, tuple[EntryKey, ...], int]:
    """Return the table, keys and priority of the entry that a request is about."""
    bound = pipeline.table(message.table_id)
    return bound, decode_keys(bound, list(message.match)), decode_priority(bound, message.priority)


def _place(pipeline: Pipeline, message: p4r.TableEntry) -> tuple[BoundTable, Entry | None]:
    """Return the table and the entry that a request refers to; None for the entry if there is no match."""
    bound = pipeline.table(message.table_id)
    if not message.match and not message.priority:
        return bound, None
    return bound, pipeline.find(*_identity(pipeline, message))


def _key_of(bound: BoundTable, entry: Entry) -> p4r.TableEntry:
    message = encode_entry(bound, entry)
    message.ClearField("action")
    return message


def _number(pipeline: Pipeline, bound: BoundTable, entry: Entry) -> int:
    return pipeline.engine.tables[bound.name].number(entry.keys, entry.priority)


def _counter(pipeline: Pipeline, bound: BoundTable) -> DirectCounter:
    counters = pipeline.engine.tables[bound.name].direct_counters
    if not counters:
        raise Refusal(Code.INVALID_ARGUMENT, f"table {bound.name} has no direct counter")
    return next(iter(counters.values()))


def _meter(pipeline: Pipeline, bound: BoundTable) -> DirectMeter:
    meters = pipeline.engine.tables[bound.name].direct_meters
    if not meters:
        raise Refusal(Code.INVALID_ARGUMENT, f"table {bound.name} has no direct meter")
    return next(iter(meters.values()))


def _set_meter(meter: DirectMeter, number: int, config: MeterConfig | None) -> None:
    try:
        meter.write(number, config)
    except DeviceError as error:
        raise Refusal(Code.INVALID_ARGUMENT, error.message) from None
