"""Meter configurations (P4Runtime specification 1.5, section 9.4)."""

from __future__ import annotations

from collections.abc import Iterator

from finsy.proto import p4i, p4r

from midflight.errors import DeviceError
from midflight.runtime.engine import CounterValue, MeterConfig, MeterCounts
from midflight.runtime.p4runtime.server.arrays import cells_of, count_of
from midflight.runtime.p4runtime.server.change import Change
from midflight.runtime.p4runtime.server.pipeline import Pipeline
from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["config_message", "counts_message", "counts_of", "meter_config", "read_meter", "write_meter"]


def write_meter(pipeline: Pipeline, entry: p4r.MeterEntry) -> Change:
    """Return the change that configures one cell of a meter, or all cells if the message has no index.

    Without `config`, the cells mark every packet green. With `counter_data`, their counts by colour are set. Refusal
    with INVALID_ARGUMENT if the meter is unknown, or if the index, the configuration or a count is invalid.
    """
    info = pipeline.schema.meters.of_id(entry.meter_id)
    counts = counts_of(entry.counter_data) if entry.HasField("counter_data") else None
    cells = cells_of(entry, info.preamble.name, info.size)
    config = meter_config(entry.config, info.spec) if entry.HasField("config") else None
    meter = pipeline.engine.meters[info.preamble.name]
    yield
    before = [(meter.read(cell), meter.counts(cell)) for cell in cells]
    try:
        for cell in cells:
            meter.write(cell, config)
            if counts is not None:
                meter.set_counts(cell, counts)
    except DeviceError as error:
        raise Refusal(Code.INVALID_ARGUMENT, error.message) from None

    def undo() -> None:
        for cell, old in zip(cells, before, strict=True):
            meter.write(cell, old[0])
            meter.set_counts(cell, old[1])

    return undo


def read_meter(pipeline: Pipeline, entry: p4r.MeterEntry) -> Iterator[p4r.MeterEntry]:
    """Yield the requested cell, all cells of a meter if there is no index, or all meters for id 0.

    They have `counter_data`, the counts by colour, if the request has it. Refusal for an unknown meter or an index out
    of range.
    """
    meters = pipeline.schema.meters
    for info in [meters.of_id(entry.meter_id)] if entry.meter_id else meters:
        meter = pipeline.engine.meters[info.preamble.name]
        for cell in cells_of(entry, info.preamble.name, info.size):
            message = p4r.MeterEntry(meter_id=info.preamble.id, index=p4r.Index(index=cell))
            if (config := meter.read(cell)) is not None:
                message.config.CopyFrom(config_message(config))
            if entry.HasField("counter_data"):
                message.counter_data.CopyFrom(counts_message(meter.counts(cell)))
            yield message


def meter_config(message: p4r.MeterConfig, spec: p4i.MeterSpec) -> MeterConfig:
    """Return the meter configuration in a P4Runtime message, for a meter that P4Info describes by `spec`.

    Refusal with INVALID_ARGUMENT unless it is valid for the meter's type, and with UNIMPLEMENTED for an excess burst.
    """
    if message.eburst and spec.type != p4i.MeterSpec.SINGLE_RATE_THREE_COLOR:
        raise Refusal(Code.INVALID_ARGUMENT, "eburst is for single-rate three-colour meters")
    if message.eburst:
        raise Refusal(Code.UNIMPLEMENTED, "an excess burst is not supported")
    single = spec.type != p4i.MeterSpec.TWO_RATE_THREE_COLOR
    if single and (message.cir, message.cburst) != (message.pir, message.pburst):
        raise Refusal(Code.INVALID_ARGUMENT, "a single-rate meter has one rate: pir and pburst are cir and cburst")
    if min(message.cir, message.cburst, message.pir, message.pburst) < 0 or message.cir > message.pir:
        raise Refusal(Code.INVALID_ARGUMENT, "a meter's rates and bursts are 0 or more, and cir at most pir")
    return MeterConfig(message.cir, message.cburst, message.pir, message.pburst)


def config_message(config: MeterConfig) -> p4r.MeterConfig:
    """Return a meter's configuration (rates and bursts) as a P4Runtime message."""
    return p4r.MeterConfig(cir=config.cir, cburst=config.cburst, pir=config.pir, pburst=config.pburst)


def counts_of(message: p4r.MeterCounterData) -> MeterCounts:
    """Return the counts by colour in a P4Runtime message. Refusal with INVALID_ARGUMENT if one is negative."""
    colours = (message.green, message.yellow, message.red)
    return MeterCounts(*(CounterValue(*count_of(each)) for each in colours))


def counts_message(counts: MeterCounts) -> p4r.MeterCounterData:
    """Return a meter's counts by colour as a P4Runtime message."""
    colours = {"green": counts.green, "yellow": counts.yellow, "red": counts.red}
    made = {name: p4r.CounterData(byte_count=each.bytes, packet_count=each.packets) for name, each in colours.items()}
    return p4r.MeterCounterData(**made)
