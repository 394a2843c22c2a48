"""Messages of a running program: packet-ins and digests for controllers, traces, and log messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import numpy as np
from finsy.proto import p4r

from midflight.runtime.engine import Packets, Trace
from midflight.runtime.engine.records import Digest
from midflight.runtime.p4runtime.packets import header_fields, to_metadata
from midflight.runtime.p4runtime.server.arbitration import Arbitration
from midflight.runtime.p4runtime.server.faults import Faults
from midflight.runtime.p4runtime.server.idle import notifications
from midflight.runtime.p4runtime.server.pipeline import Pipeline
from midflight.runtime.p4runtime.status import Refusal

__all__ = ["Listener", "Messages"]


class Listener(Protocol):
    """Receives all packet-ins and digests, whether there are controllers or not."""

    def packet_in(self, values: Mapping[int, int], payload: bytes) -> None:
        """Receive a packet-in: the values of its header by metadata id, and the bytes after the header."""

    def digest(self, digest: Digest) -> None:
        """Receive a digest message of the running program."""


class Messages:
    """Delivers a pipeline's messages. Not thread-safe: callers hold the switch's lock.

    `tracers` are called with every trace, while the program records them, and `loggers` with every log message.
    `listener` receives packet-ins and digests. `assertion` is called once when an `assert` or `assume` has failed.
    `packets_in` counts the packet-ins, whether there are controllers or not.
    """

    def __init__(self, arbitration: Arbitration, faults: Faults) -> None:
        self.packets_in = 0
        self.tracers: dict[object, Callable[[Trace], None]] = {}
        self.loggers: dict[object, Callable[[str], None]] = {}
        self.assertion: Callable[[], None] | None = None
        self.listener: Listener | None = None
        self._arbitration = arbitration
        self._faults = faults
        self._lost: Counter[str] = Counter()

    def deliver(self, pipeline: Pipeline, now: int) -> None:
        """Deliver the traces, log messages and digests of a batch of packets that ended at `now`, in microseconds.

        Also sends the lists of digests that are due by then.
        """
        self._deliver_traces(pipeline)
        self._deliver_log(pipeline)
        digests = pipeline.engine.digests()
        if self.listener is not None:
            for message in digests:
                self.listener.digest(message)
        due = pipeline.digests.due
        if digests or (due is not None and due <= now):
            self._send_lists(pipeline.digests.lists(digests, now))

    def deliver_idle(self, pipeline: Pipeline, now: int) -> None:
        """Notify controllers of entries that have been idle for their timeout, at `now` in microseconds."""
        for each in notifications(pipeline, now):
            self._send(p4r.StreamMessageResponse(idle_timeout_notification=each), "idle timeout")

    def packet_in(self, pipeline: Pipeline, packet: bytes) -> None:
        """Send a packet that the program sent to the CPU port to the controllers, as a packet-in.

        One that is too short for the packet-in header is counted as lost.
        """
        try:
            values, payload = header_fields(pipeline.schema.packet_in, packet, pipeline.widths["packet_in"])
        except Refusal:
            self._lost["packet-in too short"] += 1
            return
        self.packets_in += 1
        if self.listener is not None:
            self.listener.packet_in(values, payload)
        message = p4r.PacketIn(payload=payload, metadata=to_metadata(pipeline.schema.packet_in, values))
        self._send(p4r.StreamMessageResponse(packet=message), "packet-in")

    def split(self, pipeline: Pipeline, output: Packets, cpu_port: int) -> Packets:
        """Send the packets that left through the CPU port `cpu_port` to the controllers, and return the others."""
        inward = output.ports == cpu_port
        if not inward.any():
            return output
        for position in np.flatnonzero(inward):
            start = int(output.offsets[position])
            self.packet_in(pipeline, bytes(output.data[start : start + int(output.lengths[position])]))
        keep = ~inward
        return Packets(
            data=output.data,
            offsets=output.offsets[keep],
            lengths=output.lengths[keep],
            ports=output.ports[keep],
            sources=output.sources[keep],
            times=None if output.times is None else output.times[keep],
        )

    def retire(self, pipeline: Pipeline, now: int) -> None:
        """Send the digests of a pipeline that ends at `now`, in microseconds, and add its counts of lost messages to
        those of this object.
        """
        self._send_lists(pipeline.digests.rest(now))
        self._lost += _lost_by(pipeline)

    def lost(self, pipeline: Pipeline | None) -> Mapping[str, int]:
        """Return the number of messages that not everybody received, by reason, with those of the current pipeline."""
        lost = Counter(self._lost)
        if pipeline is not None:
            lost += _lost_by(pipeline)
        return {reason: count for reason, count in lost.items() if count}

    def _deliver_traces(self, pipeline: Pipeline) -> None:
        if self.tracers:
            for trace in pipeline.engine.traces():
                for observer in self.tracers.values():
                    with self._faults.survived("sending a trace"):
                        observer(trace)

    def _deliver_log(self, pipeline: Pipeline) -> None:
        for text in pipeline.engine.messages():
            for observer in self.loggers.values():
                with self._faults.survived("logging a message"):
                    observer(text)
        if self.assertion is not None and pipeline.engine.assertions:
            stop, self.assertion = self.assertion, None
            with self._faults.survived("stopping on an assertion"):
                stop()

    def _send_lists(self, lists: Iterable[p4r.DigestList]) -> None:
        for each in lists:
            self._send(p4r.StreamMessageResponse(digest=each), "digest")

    def _send(self, response: p4r.StreamMessageResponse, what: str) -> None:
        """Send a message to the primary of every role that receives it."""
        for role in self._arbitration.roles.values():
            with self._faults.survived("sending to a controller"):
                if role.primary is not None and role.takes(response) and not role.primary.send(response):
                    self._lost[f"{what} backlog"] += 1


def _lost_by(pipeline: Pipeline) -> Counter[str]:
    """Return the number of lost messages of a pipeline, by reason."""
    stats = pipeline.engine.stats
    return Counter(
        {
            "digest unacknowledged": pipeline.digests.dropped,
            "digest memory": stats.digests_lost,
            "log memory": stats.messages_lost,
        }
    )
