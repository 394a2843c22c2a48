"""The switch behind a P4Runtime endpoint: its pipeline, its controllers, and the packets between the two."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol, TypedDict

import numpy as np
from finsy.proto import p4r, rpc_status

from midflight.runtime.checked import CheckedProgram, Programs
from midflight.runtime.engine import Engine, Gate, Packets, Trace
from midflight.runtime.engine.apart import CompileBudget
from midflight.runtime.engine.memory import DEFAULT
from midflight.runtime.engine.store import Store
from midflight.runtime.p4runtime.packets import from_metadata, header_bytes, header_fields, to_metadata
from midflight.runtime.p4runtime.server import write
from midflight.runtime.p4runtime.server.arbitration import Arbitration
from midflight.runtime.p4runtime.server.faults import Faults
from midflight.runtime.p4runtime.server.pipeline import Pipeline, assemble, build, describe
from midflight.runtime.p4runtime.server.read import Reading
from midflight.runtime.p4runtime.server.reconcile import carry_over
from midflight.runtime.p4runtime.server.stream import Stream
from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["Carrier", "Switch"]

Actions = p4r.SetForwardingPipelineConfigRequest

_KEPT = 2  # programs that are kept compiled: the one that runs, and the one before or the one that was verified


class _Options(TypedDict):
    """What every pipeline of a switch is made with."""

    cpu_port: int
    seed: int
    gate: Gate
    memory: int


class Carrier(Protocol):
    """What carries packets between ports and a switch's engine by itself, without `Switch.process`."""

    @property
    def now(self) -> int:
        """The time that the program is told, in microseconds."""

    def use(self, engine: Engine | None) -> None:
        """Carry packets through this engine from now on; drop them while there is none."""

    def packets_in(self) -> list[bytes]:
        """Return, once, the packets that the program sent to the CPU port."""

    def send(self, port: int, packet: bytes) -> None:
        """Send a packet by a port, at once."""


class Switch:
    """One device: takes packets on one side and P4Runtime requests on the other.

    Every change holds the switch's lock, and so does a batch of packets: a batch sees each write whole or not at
    all. A config that was saved and not yet committed is a pipeline of its own, to which reads and writes go until
    COMMIT puts it in place; the packets go through the old one meanwhile (specification 1.5, section 14).

    `gate` is the lock of its engines, for a carrier to take turns at. Whoever holds the switch's lock may take it, and
    nobody the other way round. `packets_in` and `packets_out` count what went to controllers and came from them, `lost`
    by reason what could not be told to any, and `faults` the exceptions that nobody expected.
    `watchers` are told how many controllers there are whenever one comes or goes; whoever `trace`s it, every packet's
    way through its program. Switches that share `programs` compile each text once. `memory` is how many bytes the state
    of a pipeline may take; while one takes the place of another there are two. With `apart`, what controllers push is
    compiled in a process of its own, within that budget.
    """

    def __init__(
        self,
        *,
        device_id: int = 1,
        cpu_port: int = 510,
        seed: int = 0,
        programs: Programs | None = None,
        memory: int = DEFAULT,
        apart: CompileBudget | None = None,
    ) -> None:
        self.device_id = device_id
        self.cpu_port = cpu_port
        self.gate = Gate()
        self.packets_in = self.packets_out = 0
        self._lost: Counter[str] = Counter()
        self.faults = Faults()
        self.watchers: list[Callable[[int], None]] = []
        self._tracers: dict[object, Callable[[Trace], None]] = {}
        self._now = 0
        self._seed = seed
        self._memory = memory
        self._apart = apart
        self._lock = threading.RLock()
        self._arbitration = Arbitration(device_id)
        self._forwarding: Pipeline | None = None
        self._saved: Pipeline | None = None
        self._programs = programs or Programs()
        self._kept: list[CheckedProgram] = []  # the latest last
        self._transmitted: list[tuple[int, bytes]] = []
        self._carrier: Carrier | None = None
        self._streams: set[Stream] = set()

    @property
    def pipeline(self) -> Pipeline | None:
        """The pipeline that packets go through, or None before there is one."""
        return self._forwarding

    @property
    def store(self) -> Store | None:
        """Where this process shares code with others."""
        return self._programs.store

    def load(self, source: str, file: str = "<string>") -> None:
        """Put a program in place without a controller, as when a switch starts with one. P4Error where it is wrong."""
        checked = self._programs.get(source, file)
        config = p4r.ForwardingPipelineConfig(p4info=checked.p4info, p4_device_config=source.encode())
        pipeline = assemble(config, checked, **self._options)
        with self._lock:
            self._commit(pipeline)

    @property
    def _options(self) -> _Options:
        return {"cpu_port": self.cpu_port, "seed": self._seed, "gate": self.gate, "memory": self._memory}

    # Packets

    def process(self, packets: Packets, now: int = 0) -> Packets:
        """Run a batch through the pipeline at `now` (microseconds); without a pipeline every packet is dropped.

        Returns what leaves by the ports, `sources` telling which input each came from. What the pipeline sends to
        the CPU port goes to the controllers, as do its digests, before this returns.
        """
        with self._lock:
            self._now = now
            pipeline = self._forwarding
            if pipeline is None:
                return Packets.from_list([])
            output = pipeline.engine.process(packets, now)
            self._tell_traces(pipeline)
            self._tell_digests(pipeline, now)
            return self._split(pipeline, output)

    def transmitted(self) -> Packets:
        """Return, once, what controllers' packet-outs have sent by the ports since the last call."""
        with self._lock:
            packets, self._transmitted = self._transmitted, []
        return Packets.from_list(packets)

    def packet_out(self, stream: Stream, packet: p4r.PacketOut) -> None:
        """Run a controller's packet through the pipeline, from the CPU port; a refusal is told on the stream."""
        with self._lock:
            role = self._arbitration.role_of(stream)
            if role is None or role.primary is not stream:
                raise Refusal(Code.PERMISSION_DENIED, "only a role's primary sends packets out")
            pipeline = self._demand_pipeline(self._forwarding)
            fields = pipeline.schema.packet_out
            header = header_bytes(fields, from_metadata(fields, packet.metadata))
            self.packets_out += 1
            entering = Packets.from_list([(self.cpu_port, header + packet.payload)])
            if self._carrier is None:
                self._transmitted.extend(self.process(entering, self._now))
                return
            for port, data in self.process(entering, self._carrier.now):
                self._carrier.send(port, data)

    # Carriers

    def attach(self, carrier: Carrier) -> None:
        """Let a carrier have the packets. What controllers send out goes by its ports from now on."""
        with self._lock:
            assert self._carrier is None, "the switch has a carrier"
            self._carrier = carrier
            carrier.use(None if self._forwarding is None else self._forwarding.engine)

    def detach(self) -> None:
        """Part with the carrier, when its last packet has been carried."""
        with self._lock:
            self.collect()
            self._carrier = None

    def collect(self) -> None:
        """Give the controllers what the carrier has for them: packets to the CPU port, and digests."""
        with self._lock:
            if self._carrier is None or self._forwarding is None:
                return
            self._tell_traces(self._forwarding)
            self._tell_digests(self._forwarding, self._carrier.now)
            for packet in self._carrier.packets_in():
                self._tell_packet(self._forwarding, packet)

    def _commit(self, pipeline: Pipeline) -> None:
        """Put a pipeline in place of the one there is, which first has its say."""
        if self._tracers:
            pipeline.engine.trace(True)
        if self._carrier is not None:
            self.collect()
            self._carrier.use(pipeline.engine)
        if self._forwarding is not None:
            self._lost += _lost_by(self._forwarding)
        self._forwarding, self._saved = pipeline, None

    # Traces

    def trace(self, who: object, tell: Callable[[Trace], None] | None) -> None:
        """Tell somebody every packet's way through the program from now on, or no more.

        While anybody is told, the program runs as one that takes notes, which is slower. What has passed before this
        has been told when it returns.
        """
        with self._lock:
            self.collect()
            before = bool(self._tracers)
            if tell is None:
                self._tracers.pop(who, None)
            else:
                self._tracers[who] = tell
            if self._forwarding is not None and before != bool(self._tracers):
                self._forwarding.engine.trace(bool(self._tracers))
                if self._carrier is not None:
                    self._carrier.use(self._forwarding.engine)

    def trace_to(self, stream: Stream, on: bool) -> None:
        """Tell a controller every packet's way, or no more; refused to all but a role's primary."""
        with self._lock:
            role = self._arbitration.role_of(stream)
            if role is None or role.primary is not stream:
                raise Refusal(Code.PERMISSION_DENIED, "only a role's primary has packets traced")
            self.trace(stream, (lambda trace: stream.send_trace(str(trace))) if on else None)

    def _tell_traces(self, pipeline: Pipeline) -> None:
        if self._tracers:
            for trace in pipeline.engine.traces():
                for tell in self._tracers.values():
                    with self.faults.survived("telling a trace"):
                        tell(trace)

    # What controllers are told

    def _tell_digests(self, pipeline: Pipeline, now: int) -> None:
        messages = pipeline.engine.digests()
        if messages:
            for digest in pipeline.digests.lists(messages, now):
                self._tell(p4r.StreamMessageResponse(digest=digest), "digest")

    def _tell_packet(self, pipeline: Pipeline, packet: bytes) -> None:
        try:
            values, payload = header_fields(pipeline.schema.packet_in, packet)
        except Refusal:
            self._lost["packet-in too short"] += 1
            return
        self.packets_in += 1
        message = p4r.PacketIn(payload=payload, metadata=to_metadata(pipeline.schema.packet_in, values))
        self._tell(p4r.StreamMessageResponse(packet=message), "packet-in")

    def _split(self, pipeline: Pipeline, output: Packets) -> Packets:
        """Send the CPU port's packets to the controllers and return the others."""
        inward = output.ports == self.cpu_port
        if not inward.any():
            return output
        for position in np.flatnonzero(inward):
            start = int(output.offsets[position])
            self._tell_packet(pipeline, bytes(output.data[start : start + int(output.lengths[position])]))
        keep = ~inward
        return Packets(
            data=output.data,
            offsets=output.offsets[keep],
            lengths=output.lengths[keep],
            ports=output.ports[keep],
            sources=output.sources[keep],
        )

    @property
    def lost(self) -> Mapping[str, int]:
        """Packet-ins and digests that no controller, or not every one that takes them, was told of, by reason.

        `packet-in too short`: the program sent to the CPU port what has no room for its own header. `packet-in backlog`
        and `digest backlog`: a controller does not read. `digest memory`: the program sent more than could be taken.
        `digest unacknowledged`: controllers owe acknowledgements for too many. Reasons without any are left out.
        """
        with self._lock:
            lost = Counter(self._lost)
            if self._forwarding is not None:
                lost += _lost_by(self._forwarding)
            return {reason: count for reason, count in lost.items() if count}

    def _tell(self, response: p4r.StreamMessageResponse, what: str) -> None:
        """Send a packet-in or a digest to the primary of every role that takes them."""
        for role in self._arbitration.roles.values():
            with self.faults.survived("telling a controller"):
                if role.primary is not None and role.takes(response) and not role.primary.send(response):
                    self._lost[f"{what} backlog"] += 1

    # Streams

    def arbitrate(self, stream: Stream, message: p4r.MasterArbitrationUpdate) -> None:
        """Take a controller's arbitration update; a refusal ends its stream."""
        role = message.role.name
        if stream.roles is not None and role not in stream.roles:
            raise Refusal(Code.PERMISSION_DENIED, f"the client's certificate is not for role {role!r}")
        with self._lock:
            self._arbitration.update(stream, message)
            self._streams.add(stream)
            self._tell_watchers()

    def acknowledge(self, stream: Stream, message: p4r.DigestListAck) -> None:
        """Take the acknowledgement of a digest list."""
        with self._lock:
            role = self._arbitration.role_of(stream)
            if role is None or role.primary is not stream:
                raise Refusal(Code.PERMISSION_DENIED, "only a role's primary acknowledges digests")
            self._demand_pipeline(self._forwarding).digests.acknowledge(message.digest_id, message.list_id)

    def leave(self, stream: Stream) -> None:
        """Forget a controller whose stream has ended."""
        with self._lock:
            if stream in self._tracers:
                self.trace(stream, None)
            self._arbitration.leave(stream)
            self._streams.discard(stream)
            self._tell_watchers()

    def _tell_watchers(self) -> None:
        for each in self.watchers:
            with self.faults.survived("telling a watcher"):
                each(len(self._streams))

    # Requests

    def write(self, request: p4r.WriteRequest) -> rpc_status.Status | None:
        """Apply a batch of updates; returns None, or the status of a batch that was not taken whole."""
        with self._lock, self.gate:
            self.demand_device(request.device_id)
            role = self._arbitration.demand_primary(request.role, _election(request))
            return write.write(self._demand_pipeline(self._saved or self._forwarding), request, role)

    def read(self, request: p4r.ReadRequest) -> Reading:
        """Return the entities that were asked for, in parts, of the pipeline that is there now."""
        with self._lock:
            self.demand_device(request.device_id)
            return Reading(self._demand_pipeline(self._saved or self._forwarding), request, self._lock)

    def set_pipeline(self, request: p4r.SetForwardingPipelineConfigRequest) -> None:
        """Verify, save or commit a config; a refusal leaves the device with what it had."""
        self._demand_pusher(request)
        match request.action:
            case Actions.COMMIT:
                if request.HasField("config"):
                    raise Refusal(Code.INVALID_ARGUMENT, "COMMIT takes no config: it commits the saved one")
                with self._lock:
                    if self._saved is None:
                        raise Refusal(Code.NOT_FOUND, "there is no saved config to commit")
                    self._commit(self._saved)
                return
            case Actions.VERIFY | Actions.VERIFY_AND_SAVE | Actions.VERIFY_AND_COMMIT | Actions.RECONCILE_AND_COMMIT:
                if not request.HasField("config"):
                    raise Refusal(Code.INVALID_ARGUMENT, f"{Actions.Action.Name(request.action)} needs a config")
            case _:
                raise Refusal(Code.INVALID_ARGUMENT, "say what to do with the config: its action is not specified")
        # Packets flow on while the compiler works.
        fresh = build(request.config, programs=self._programs, apart=self._apart, **self._options)
        with self._lock:
            others = [each for each in self._kept if each is not fresh.checked]
            self._kept = [*others, fresh.checked][-_KEPT:]
            self._demand_pusher(request)
            if request.action == Actions.VERIFY_AND_SAVE:
                self._saved = fresh
            elif request.action != Actions.VERIFY:
                with self.gate:  # no packet comes between what was and what is carried over
                    if request.action == Actions.RECONCILE_AND_COMMIT and self._forwarding is not None:
                        carry_over(self._forwarding, fresh)
                    self._commit(fresh)

    def get_pipeline(self, request: p4r.GetForwardingPipelineConfigRequest) -> p4r.GetForwardingPipelineConfigResponse:
        """Return the config in place; a response without one before there is any."""
        with self._lock:
            self.demand_device(request.device_id)
            response = p4r.GetForwardingPipelineConfigResponse()
            pipeline = self._saved or self._forwarding
            if pipeline is not None:
                response.config.CopyFrom(describe(pipeline.config, request.response_type))
            return response

    def demand_device(self, device_id: int) -> None:
        """Refuse a request for another device, with NOT_FOUND."""
        if device_id != self.device_id:
            raise Refusal(Code.NOT_FOUND, f"there is no device {device_id} here; this is {self.device_id}")

    def _demand_pusher(self, request: p4r.SetForwardingPipelineConfigRequest) -> None:
        with self._lock:
            self.demand_device(request.device_id)
            role = self._arbitration.demand_primary(request.role, _election(request))
            if not role.may_push:
                raise Refusal(Code.PERMISSION_DENIED, f"role {role.name!r} may not push a pipeline")

    @staticmethod
    def _demand_pipeline(pipeline: Pipeline | None) -> Pipeline:
        if pipeline is None:
            raise Refusal(Code.FAILED_PRECONDITION, "no forwarding pipeline config has been set")
        return pipeline


def _lost_by(pipeline: Pipeline) -> Counter[str]:
    """Return what a pipeline's digests lost, by reason."""
    unacknowledged, memory = pipeline.digests.dropped, pipeline.engine.stats.digests_lost
    return Counter({"digest unacknowledged": unacknowledged, "digest memory": memory})


def _election(request: p4r.WriteRequest | p4r.SetForwardingPipelineConfigRequest) -> int:
    return request.election_id.high << 64 | request.election_id.low
