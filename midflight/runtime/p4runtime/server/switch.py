"""The switch behind a P4Runtime server: its pipeline, its controllers, and the packets between them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TypedDict

import numpy as np
from finsy.proto import p4i, p4r, rpc_status
from numpy.typing import NDArray

from midflight.errors import DeviceError
from midflight.runtime.checked import CheckedProgram, Programs, user_programs
from midflight.runtime.engine import Gate, Packets, Trace
from midflight.runtime.engine.apart import CompileBudget
from midflight.runtime.engine.memory import DEFAULT
from midflight.runtime.engine.queues import Queueing
from midflight.runtime.engine.store import Store
from midflight.runtime.p4runtime.packets import from_metadata, header_bytes
from midflight.runtime.p4runtime.server import write
from midflight.runtime.p4runtime.server.arbitration import Arbitration, Role
from midflight.runtime.p4runtime.server.carrier import Carrier
from midflight.runtime.p4runtime.server.change import apply
from midflight.runtime.p4runtime.server.faults import Faults
from midflight.runtime.p4runtime.server.messages import Listener, Messages
from midflight.runtime.p4runtime.server.pipeline import Maker, Pipeline, assemble, build, describe, embedded
from midflight.runtime.p4runtime.server.queues import Queues
from midflight.runtime.p4runtime.server.read import Reading
from midflight.runtime.p4runtime.server.reconcile import carry_over
from midflight.runtime.p4runtime.server.stream import Stream
from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["Switch"]

Actions = p4r.SetForwardingPipelineConfigRequest

_KEPT = 2  # the number of compiled programs to keep: the current one, and the previous or verified one


class _Options(TypedDict):
    """The options of all pipelines of a switch."""

    cpu_port: int
    seed: int
    gate: Gate
    memory: int
    queueing: Queueing
    make: Maker


class Switch:
    """One device, which processes packets and P4Runtime requests.

    Changes and batches of packets hold the switch's lock, so a batch sees each write completely or not at all. A saved
    config that is not committed yet is a separate pipeline: reads and writes apply to it, while packets still use the
    current one (P4Runtime specification 1.5, section 14).

    programs: switches that share these compile each text once
    memory: the limit for the state of a pipeline, in bytes; two pipelines exist while one replaces the other
    apart: compile what controllers push in a separate process, with these limits
    queueing: the settings of the queues between ingress and egress, which `queues` changes
    make: creates what runs a program; by default, the embedded switch's engine

    `gate` is the lock of the engines, which a carrier shares. Whoever needs the switch's lock as well acquires that
    first. `packets_in` and `packets_out` count the packets to and from controllers, `lost` the undelivered messages,
    and `faults` the unexpected exceptions. `watchers` are called with the number of controllers when a controller has
    joined or left. `clock` returns the time in nanoseconds while there is no carrier, by default that of the last
    batch.
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
        queueing: Queueing | None = None,
        make: Maker = embedded,
    ) -> None:
        self.device_id = device_id
        self.cpu_port = cpu_port
        self.gate = Gate()
        self.packets_out = 0
        self.queues = Queues(
            queueing or Queueing(),
            self.apply_queueing,
            lambda: None if self._forwarding is None else self._forwarding.engine,
            settable=make is embedded,
        )
        self.faults = Faults()
        self.watchers: list[Callable[[int], None]] = []
        self.clock: Callable[[], int] = lambda: self._now * 1000
        self._now = 0
        self._seed = seed
        self._memory = memory
        self._apart = apart
        self._make = make
        self._lock = threading.RLock()
        self._arbitration = Arbitration(device_id)
        self._messages = Messages(self._arbitration, self.faults)
        self._forwarding: Pipeline | None = None
        self._saved: Pipeline | None = None
        self._programs = programs or user_programs()
        self._kept: list[CheckedProgram] = []  # the latest last
        self._transmitted: list[tuple[int, bytes]] = []
        self._carrier: Carrier | None = None
        self._streams: set[Stream] = set()

    @property
    def pipeline(self) -> Pipeline | None:
        """The pipeline that processes packets, or None before the first one."""
        return self._forwarding

    @property
    def store(self) -> Store | None:
        """The folder in which processes share compiled code, or None."""
        return self._programs.store

    def load(self, source: str, file: str = "<string>", p4info: p4i.P4Info | None = None) -> None:
        """Load a program without a controller, for a switch that starts with one. `file` is its name in messages.

        By default, the P4Info is that of the text. BMv2's JSON does not have all of it, so p4c's can be given. P4Error
        for an invalid program; UnsupportedError for one that XDP cannot run; Refusal, a DeviceError, if the P4Info does
        not fit it, or as for `assemble`. After an error, the switch keeps its previous program.
        """
        checked = self._programs.get(source, file)
        config = p4r.ForwardingPipelineConfig(p4info=p4info or checked.p4info, p4_device_config=source.encode())
        pipeline = assemble(config, checked, **self._options)
        with self._lock:
            self._commit(pipeline)

    @property
    def _options(self) -> _Options:
        return {
            "cpu_port": self.cpu_port,
            "seed": self._seed,
            "gate": self.gate,
            "memory": self._memory,
            "queueing": self.queues.queueing,
            "make": self._make,
        }

    # Packets

    def _time(self) -> int:
        """Return the time that the program would see now, in microseconds."""
        return self.clock() // 1000 if self._carrier is None else self._carrier.now

    def tick(self) -> None:
        """Notify controllers of idle entries, and check which ports can send. The server calls it once a second."""
        with self._lock:
            if (pipeline := self._forwarding) is not None:
                self._messages.deliver_idle(pipeline, self._time())
                if self._carrier is not None:
                    pipeline.observe(self._carrier.down)

    def send_digests(self) -> int | None:
        """Send lists of digests that are due. Return the shortest `max_timeout_ns`, in microseconds, or None."""
        with self._lock:
            if (pipeline := self._forwarding) is not None:
                self._messages.deliver(pipeline, self._time())
            return None if pipeline is None else pipeline.digests.patience

    def process(self, packets: Packets, now: int = 0, times: NDArray[np.uint64] | None = None) -> Packets:
        """Process a batch at time `now`, in microseconds, and return the packets that leave through ports.

        With `times`, each packet arrives at its own time, in nanoseconds: see `Engine.process`. Packets to the CPU
        port, and lists of digests that are full or due, are queued for the controllers before this returns. Without a
        pipeline, every packet is dropped.
        """
        with self._lock:
            self._now = now
            if (pipeline := self._forwarding) is None:
                return Packets.from_list([])
            return self._finish(pipeline, pipeline.engine.process(packets, now, times), now)

    def advance(self, time: int) -> Packets:
        """Return the packets that leave queues until a time in nanoseconds, with the time at which each leaves.

        Packets to the CPU port and digests are queued for the controllers. Without a pipeline, there are none.
        """
        with self._lock:
            if (pipeline := self._forwarding) is None:
                return Packets.from_list([])
            return self._finish(pipeline, pipeline.engine.advance(time), time // 1000)

    def _finish(self, pipeline: Pipeline, output: Packets, now: int) -> Packets:
        self._messages.deliver(pipeline, now)
        self._messages.deliver_idle(pipeline, now)
        return self._messages.split(pipeline, output, self.cpu_port)

    @property
    def due(self) -> int | None:
        """The time in nanoseconds for the next `advance`: see `Pipeline.due`. None without a pipeline."""
        with self._lock:
            return None if self._forwarding is None else self._forwarding.due

    @property
    def queued(self) -> bool:
        """Whether there are queues between ingress and egress, as the program or the settings of queues require."""
        return self._forwarding is not None and self._forwarding.engine.queued

    def apply_queueing(self) -> None:
        """Apply changed settings of queues to current and saved pipelines; may compile. DeviceError with XDP."""
        with self._lock:
            now = self.clock() if self._carrier is None else self._carrier.now * 1000
            for pipeline in filter(None, (self._forwarding, self._saved)):
                changed = pipeline.engine.apply_queueing(now)
                if self._carrier is not None and pipeline is self._forwarding:
                    if changed:
                        self._carrier.use(pipeline.engine)
                    self._carrier.wake()

    def transmitted(self) -> Packets:
        """Remove and return the packets that left through ports because of packet-outs, if there is no carrier."""
        with self._lock:
            packets, self._transmitted = self._transmitted, []
        return Packets.from_list(packets)

    def packet_out(self, stream: Stream, packet: p4r.PacketOut) -> None:
        """Process a packet-out, which enters by the CPU port. Refusal with PERMISSION_DENIED unless a role's primary
        sent it, FAILED_PRECONDITION without a pipeline, and INVALID_ARGUMENT for wrong metadata.
        """
        with self._lock:
            self._demand_primary(stream, "send packets")
            pipeline = self._demand_pipeline(self._forwarding)
            fields = pipeline.schema.packet_out
            header = header_bytes(fields, from_metadata(fields, packet.metadata), pipeline.widths["packet_out"])
            self.packets_out += 1
            entering = Packets.from_list([(self.cpu_port, header + packet.payload)])
            if self._carrier is None:
                self._transmitted.extend(self.process(entering, self._now))
                return
            for port, data in self.process(entering, self._carrier.now):
                self._carrier.send(port, data)
            self._carrier.wake()

    # Carriers

    def attach(self, carrier: Carrier) -> None:
        """Attach a carrier, which moves packets between ports and engine. Packet-outs now leave through its ports."""
        with self._lock:
            assert self._carrier is None, "the switch already has a carrier"
            self._carrier = carrier
            carrier.use(None if self._forwarding is None else self._forwarding.engine)

    def detach(self) -> None:
        """Detach the carrier, after delivering its last messages to the controllers."""
        with self._lock:
            self.collect()
            self._carrier = None

    def collect(self) -> None:
        """Deliver what the carrier's packets have produced to the controllers: packet-ins, digests and traces."""
        with self._lock:
            if self._carrier is None or self._forwarding is None:
                return
            self._messages.deliver(self._forwarding, self._carrier.now)
            for packet in self._carrier.packets_in():
                self._messages.packet_in(self._forwarding, packet)

    def _commit(self, pipeline: Pipeline) -> None:
        """Replace the current pipeline, after delivering its last messages. Refusal if the carrier cannot run it."""
        if self._messages.tracers:
            pipeline.engine.trace(True)
        with self.gate:  # no packet joins a queue after those in it were counted as dropped
            if self._carrier is not None:
                self.collect()
            if self._forwarding is not None:
                self._forwarding.engine.discard()
            if self._carrier is not None:
                try:
                    self._carrier.use(pipeline.engine)
                except DeviceError as error:
                    raise Refusal(Code.RESOURCE_EXHAUSTED, str(error)) from None
        if self._forwarding is not None:
            self._messages.retire(self._forwarding, self._time())
        self._forwarding, self._saved = pipeline, None

    # Traces and log messages

    def trace(self, who: object, observer: Callable[[Trace], None] | None) -> None:
        """Call `observer` with the trace of every packet from now on; with None, stop that. `who` identifies it.

        While there is an observer, the program runs with tracing, which is slower. When this returns, the traces of all
        earlier packets have been delivered. Refusal with UNIMPLEMENTED unless this is the embedded switch.
        """
        if observer is not None and self._make is not embedded:
            raise Refusal(Code.UNIMPLEMENTED, "this switch does not trace packets; only the embedded switch does")
        with self._lock:
            self.collect()
            before = bool(self._messages.tracers)
            if observer is None:
                self._messages.tracers.pop(who, None)
            else:
                self._messages.tracers[who] = observer
            if self._forwarding is not None and before != bool(self._messages.tracers):
                self._forwarding.engine.trace(bool(self._messages.tracers))
                if self._carrier is not None:
                    self._carrier.use(self._forwarding.engine)

    def trace_to(self, stream: Stream, on: bool) -> None:
        """Start or stop sending traces. Refusal unless the stream is its role's primary, and as for `trace`."""
        with self._lock:
            self._demand_primary(stream, "trace packets")
            self.trace(stream, (lambda trace: stream.send_trace(str(trace))) if on else None)

    def log(self, who: object, observer: Callable[[str], None] | None) -> None:
        """Call `observer`, which `who` identifies, with every message that the program logs from now on.

        These are the texts of `log_msg`, and of `assert` and `assume` that failed. With None, stop that.
        """
        with self._lock:
            self.collect()
            if observer is None:
                self._messages.loggers.pop(who, None)
            else:
                self._messages.loggers[who] = observer

    def listen(self, listener: Listener | None) -> None:
        """Pass all packet-ins and digests to `listener` from now on, besides the controllers; with None, stop that."""
        with self._lock:
            self._messages.listener = listener

    def on_assertion(self, stop: Callable[[], None]) -> None:
        """Call `stop` once, after the batch of packets in which an `assert` or `assume` first fails."""
        with self._lock:
            self._messages.assertion = stop

    # Messages to controllers

    @property
    def packets_in(self) -> int:
        """The number of packets that the program sent to controllers."""
        return self._messages.packets_in

    @property
    def lost(self) -> Mapping[str, int]:
        """The number of messages of the program that not every intended receiver got, by reason; 0 is left out.

        `packet-in too short`: a packet to the CPU port is shorter than the packet-in header. `packet-in backlog`,
        `digest backlog` and `idle timeout backlog`: a controller does not read fast enough. `digest memory` and `log
        memory`: the engine's buffer was full. `digest unacknowledged`: too many messages are not acknowledged.
        """
        with self._lock:
            return self._messages.lost(self._forwarding)

    # Streams

    def arbitrate(self, stream: Stream, message: p4r.MasterArbitrationUpdate) -> None:
        """Process an arbitration update, as `Arbitration.update`. Refusal also if the certificate forbids the role."""
        role = message.role.name
        if stream.roles is not None and role not in stream.roles:
            raise Refusal(Code.PERMISSION_DENIED, f"the client's certificate does not permit role {role!r}")
        with self._lock:
            self._arbitration.update(stream, message)
            self._streams.add(stream)
            self._call_watchers()

    def acknowledge(self, stream: Stream, message: p4r.DigestListAck) -> None:
        """Process an acknowledgement of a digest list. Refusal with PERMISSION_DENIED unless a primary sent it."""
        with self._lock:
            self._demand_primary(stream, "acknowledge digests")
            self._demand_pipeline(self._forwarding).digests.acknowledge(message.digest_id, message.list_id)

    def leave(self, stream: Stream) -> None:
        """Remove the controller whose stream this was: from its role, and from those that get traces."""
        with self._lock:
            if stream in self._messages.tracers:
                self.trace(stream, None)
            self._arbitration.leave(stream)
            self._streams.discard(stream)
            self._call_watchers()

    def _call_watchers(self) -> None:
        for each in self.watchers:
            with self.faults.survived("calling a watcher"):
                each(len(self._streams))

    # Requests

    def write(self, request: p4r.WriteRequest) -> rpc_status.Status | None:
        """Apply a batch of updates. Returns None, or the status of the batch if an update was rejected.

        Raises Refusal if the whole request is rejected. Packets and reads go on while the batch is prepared.
        """
        while True:
            with self._lock:
                prepared_for = pipeline, role, _ = self._writing(request)
                pipeline.now = self._time()
            changes = write.prepare(pipeline, request, role)
            with self._lock, self.gate:
                if all(now is then for now, then in zip(self._writing(request), prepared_for, strict=True)):
                    answer = write.commit(changes, atomic=request.atomicity != p4r.WriteRequest.CONTINUE_ON_ERROR)
                    pipeline.engine.commit()
                    return answer

    def preset(self, update: p4r.Update) -> None:
        """Apply one P4Runtime update without a controller, for the process that runs this switch. Refusal, with the
        reason, if the update is invalid or there is no pipeline.
        """
        with self._lock:
            pipeline = self._demand_pipeline(self._forwarding)
            changes = write.prepare(pipeline, p4r.WriteRequest(updates=[update]), Role(""))
            with self.gate:
                for each in changes:
                    if isinstance(each, Refusal):
                        raise each
                    apply(each)
                pipeline.engine.commit()

    def _writing(self, request: p4r.WriteRequest) -> tuple[Pipeline, Role, object]:
        """Return the pipeline that a request writes to, its role, and what limits that."""
        self.demand_device(request.device_id)
        role = self._arbitration.demand_primary(request.role, _election(request))
        return self._demand_pipeline(self._saved or self._forwarding), role, role.limits

    def read(self, request: p4r.ReadRequest) -> Reading:
        """Return the requested entities of the pipeline in parts; of the saved one, if a config waits to be committed.

        Raises Refusal if there is no pipeline, or for another device id. A rejected entity is in the `status` of the
        result.
        """
        with self._lock:
            self.demand_device(request.device_id)
            pipeline = self._demand_pipeline(self._saved or self._forwarding)
            pipeline.now = self._time()
            return Reading(pipeline, request, self._lock)

    def set_pipeline(self, request: p4r.SetForwardingPipelineConfigRequest) -> None:
        """Verify, save or commit a config. Raises Refusal, after which the device keeps its previous pipeline."""
        self._demand_pusher(request)
        match request.action:
            case Actions.COMMIT:
                if request.HasField("config"):
                    raise Refusal(Code.INVALID_ARGUMENT, "COMMIT has no config: it commits the saved one")
                with self._lock:
                    if self._saved is None:
                        raise Refusal(Code.NOT_FOUND, "there is no saved config to commit")
                    self._commit(self._saved)
                return
            case Actions.VERIFY | Actions.VERIFY_AND_SAVE | Actions.VERIFY_AND_COMMIT | Actions.RECONCILE_AND_COMMIT:
                if not request.HasField("config"):
                    raise Refusal(Code.INVALID_ARGUMENT, f"{Actions.Action.Name(request.action)} needs a config")
            case _:
                raise Refusal(Code.INVALID_ARGUMENT, "the action for the config is not specified")
        # Packets are processed while the compiler runs.
        fresh = build(request.config, programs=self._programs, apart=self._apart, **self._options)
        with self._lock:
            self._kept = [*(each for each in self._kept if each is not fresh.checked), fresh.checked][-_KEPT:]
            self._demand_pusher(request)
            if request.action == Actions.VERIFY_AND_SAVE:
                self._saved = fresh
            elif request.action != Actions.VERIFY:
                with self.gate:  # no packet is processed between copying the state and the change
                    if request.action == Actions.RECONCILE_AND_COMMIT and self._forwarding is not None:
                        carry_over(self._forwarding, fresh)
                    self._commit(fresh)

    def get_pipeline(self, request: p4r.GetForwardingPipelineConfigRequest) -> p4r.GetForwardingPipelineConfigResponse:
        """Return the requested parts of the saved config, or else of the current one. Refusal for another device id."""
        with self._lock:
            self.demand_device(request.device_id)
            response = p4r.GetForwardingPipelineConfigResponse()
            pipeline = self._saved or self._forwarding
            if pipeline is not None:
                response.config.CopyFrom(describe(pipeline.config, request.response_type))
            return response

    def demand_device(self, device_id: int) -> None:
        """Raise Refusal with NOT_FOUND unless `device_id`, which a request carries, is that of this switch."""
        if device_id != self.device_id:
            raise Refusal(Code.NOT_FOUND, f"there is no device {device_id} here; this is device {self.device_id}")

    def _demand_pusher(self, request: p4r.SetForwardingPipelineConfigRequest) -> None:
        with self._lock:
            self.demand_device(request.device_id)
            role = self._arbitration.demand_primary(request.role, _election(request))
            if not role.may_push:
                raise Refusal(Code.PERMISSION_DENIED, f"role {role.name!r} may not push a pipeline")

    def _demand_primary(self, stream: Stream, what: str) -> None:
        role = self._arbitration.role_of(stream)
        if role is None or role.primary is not stream:
            raise Refusal(Code.PERMISSION_DENIED, f"only a role's primary may {what}")

    @staticmethod
    def _demand_pipeline(pipeline: Pipeline | None) -> Pipeline:
        if pipeline is None:
            raise Refusal(Code.FAILED_PRECONDITION, "no forwarding pipeline config has been set")
        return pipeline


def _election(request: p4r.WriteRequest | p4r.SetForwardingPipelineConfigRequest) -> int:
    return request.election_id.high << 64 | request.election_id.low
