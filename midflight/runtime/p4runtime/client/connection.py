"""A controller's connection to one device: arbitration, the order of messages, and batches of writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from finsy.proto import U128, p4r
from google.protobuf.wrappers_pb2 import StringValue

from midflight.closing import Closer
from midflight.errors import DeviceError
from midflight.runtime.p4runtime.client.journal import Journal, entity_key, made_key, undone
from midflight.runtime.p4runtime.client.link import Link, Observer, RequestError
from midflight.runtime.p4runtime.client.results import DigestMessage
from midflight.runtime.p4runtime.schema import Schema
from midflight.runtime.p4runtime.server.stream import SERVER_NAME
from midflight.runtime.p4runtime.status import Code
from midflight.runtime.p4runtime.tls import ClientTls

__all__ = ["Connection"]

Actions = p4r.SetForwardingPipelineConfigRequest

# The answer to a batch carries a status for each of its updates, in metadata of 64 KB.
BATCH_LIMIT = 1000


class Connection:
    """A controller's connection to one device: arbitration, the stream, and requests with their batches.

    `Session` extends it with tables, registers and the like, and documents the parameters.
    """

    def __init__(
        self,
        address: str,
        device_id: int = 1,
        *,
        role: str = "",
        election_id: int | None = None,
        timeout: float = 30.0,
        journal: Journal | None = None,
        observer: Observer | None = None,
        tls: ClientTls | None = None,
        death: Callable[[], DeviceError | None] = lambda: None,
    ) -> None:
        self.device_id = device_id
        self._journal = journal
        self.role = role
        self.election_id = 1 if election_id is None else _checked(election_id)
        self._arbitration = p4r.MasterArbitrationUpdate()
        self._known: Schema | None = None
        self._kept: list[DigestMessage] = []
        self.subscriptions: set[str] = set()
        """The digests of the current pipeline that this session subscribes to."""
        self._batch: list[tuple[p4r.Update, str]] | None = None
        self._planned: list[p4r.Entity] | None = None
        self._link = Link(address, timeout, observer, tls, death)
        self._close = Closer(self, self._link.close)
        try:
            self._echoes = self._learn_server()
            self._arbitrate()
            if election_id is None and self._arbitration.status.code == Code.NOT_FOUND:
                self.election_id = U128.decode(self._arbitration.election_id)
                self._arbitrate()
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """The address of the device's P4Runtime server, "host:port" or "unix:/path"."""
        return self._link.address

    @property
    def is_primary(self) -> bool:
        """Whether this controller may write. Waits until the device has answered earlier messages.

        Raises DeviceError if the device does not answer, or rejected an earlier message on the stream.
        """
        self.flush()
        self.update_primary()
        return self.was_primary

    def update_primary(self) -> None:
        """Process the arbitration updates that have arrived since the last call, for `was_primary`. Does not wait."""
        while self._link.arbitration:
            self._arbitration = self._link.arbitration.popleft()

    @property
    def was_primary(self) -> bool:
        """Whether this controller may write, according to the last arbitration update that was processed."""
        return bool(self._arbitration.status.code == Code.OK)

    @property
    def highest(self) -> int:
        """The highest election id so far in this role, by the last arbitration update that was processed; 0 if none."""
        return U128.decode(self._arbitration.election_id) if self._arbitration.HasField("election_id") else 0

    @property
    def has_rival(self) -> bool:
        """Whether another controller is the primary, according to the last arbitration update that was processed."""
        return bool(self._arbitration.status.code == Code.ALREADY_EXISTS)

    @property
    def failure(self) -> DeviceError | None:
        """The error that ended the stream, or None while it is open."""
        return self._link.failure

    def bid(self, election_id: int) -> None:
        """Join the arbitration again with another election id, which should exceed the previous one.

        Waits for an arbitration update from the device, after which `was_primary` says whether this controller may
        write. ValueError, without any effect, unless the id is 0 to 2**128 - 1; DeviceError if the device does not
        answer or ends the stream, as for an id that another controller of the role has.
        """
        self.election_id = _checked(election_id)
        self._arbitrate()

    def close(self) -> None:
        """End the session: close its stream and its channel. The device keeps its state. Idempotent."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def batch(self, *, atomic: bool = False) -> Iterator[None]:
        """Collect the writes in the `with` block, and send them together at its end; none if the block raises.

        With `atomic`, they are one request, and the device applies all of them or none. Otherwise they are sent in
        requests of at most 1000 writes, and the device applies those that it accepts. RequestError if writes are
        rejected; its `refused` has their positions in the batch. If a whole request is rejected, as those of a backup
        are, or not answered, the writes of earlier requests remain, and later ones are not sent. DeviceError inside
        another batch. Inside `planning`, a batch has no effect.
        """
        if self._planned is not None:
            yield
            return
        if self._batch is not None:
            raise DeviceError("another batch is open")
        self._batch = []
        try:
            yield
            gathered = self._batch
        finally:
            self._batch = None
        if gathered:
            self._send(gathered, atomic=atomic)

    @contextmanager
    def planning(self) -> Iterator[list[p4r.Entity]]:
        """Collect the entities that the writes in the `with` block would leave on the device, in order; send nothing.

        The list is complete at the end of the block. The session assumes that the device will get them: it does not
        subscribe again to digests from the block. DeviceError inside a batch or another such block.
        """
        if self._batch is not None or self._planned is not None:
            raise DeviceError("another batch is open")
        self._planned = []
        try:
            yield self._planned
        finally:
            self._planned = None

    def flush(self) -> None:
        """Wait until the device has processed everything sent on the stream, and its answers have arrived.

        RequestError for a message that the device rejected: one at a time, the oldest first. DeviceError if the device
        does not answer. With a server other than Midflight's, this works only for a primary, and returns immediately
        for a backup.
        """
        if self._echoes:
            self._link.sync()
        else:
            self._bid_again()
        if self._link.errors:
            error = self._link.errors.popleft()
            raise RequestError(error.message, Code(error.canonical_code))

    @property
    def _schema(self) -> Schema:
        if self._known is None:
            kind = p4r.GetForwardingPipelineConfigRequest.P4INFO_AND_COOKIE
            response = self._get_pipeline(kind)
            if not response.HasField("config"):
                raise DeviceError(f"{self.address} has no pipeline yet", hint="load one first")
            self._known = Schema(response.config.p4info)
        return self._known

    def _learn_server(self) -> bool:
        try:
            capabilities = self._link.request("Capabilities", p4r.CapabilitiesRequest())
        except RequestError as error:
            if error.code == Code.UNIMPLEMENTED:
                return False
            raise
        name = StringValue()
        return bool(capabilities.experimental.Unpack(name) and name.value == SERVER_NAME)

    def _arbitrate(self) -> None:
        """Send this controller's election id, and wait for the device's arbitration update."""
        update = p4r.MasterArbitrationUpdate(device_id=self.device_id, election_id=U128.encode(self.election_id))
        if self.role:
            update.role.name = self.role
        self._link.send(p4r.StreamMessageRequest(arbitration=update))
        self._arbitration = self._link.wait(self._link.arbitration)

    def _bid_again(self) -> None:
        """Make a server answer that does not support echoes, with an election id that differs (section 5.3).

        A primary sends an id higher by one, which no other controller can have, and then its own again. It remains the
        primary throughout.
        """
        self.update_primary()
        if self.was_primary:
            own = self.election_id
            try:
                for self.election_id in (own + 1, own):
                    self._arbitrate()
            finally:
                self.election_id = own

    def _get_pipeline(
        self, kind: p4r.GetForwardingPipelineConfigRequest.ResponseType.ValueType, timeout: float | None = None
    ) -> p4r.GetForwardingPipelineConfigResponse:
        request = p4r.GetForwardingPipelineConfigRequest(device_id=self.device_id, response_type=kind)
        response: p4r.GetForwardingPipelineConfigResponse = self._link.request(
            "GetForwardingPipelineConfig", request, timeout
        )
        return response

    def _set_pipeline(self, request: p4r.SetForwardingPipelineConfigRequest) -> None:
        request.device_id, request.role = self.device_id, self.role
        request.election_id.CopyFrom(U128.encode(self.election_id))
        self._link.request("SetForwardingPipelineConfig", request)
        if self._journal is not None and request.action in (Actions.VERIFY_AND_COMMIT, Actions.COMMIT):
            self._journal.drop()  # a new pipeline starts with empty tables

    def send(self, update: p4r.Update, what: str) -> None:
        """Send an update in a Write request, or add it to the open batch. `what` names it in errors.

        RequestError if the device rejects it; with an open batch, `batch` raises that at its end.
        """
        self._gather([(update, what)])

    def fetch(self, entity: p4r.Entity) -> list[p4r.Entity]:
        """Return the entities on the device that a read request for `entity` selects.

        A default value, such as id 0, selects all. RequestError if the device rejects the request.
        """
        return self._read(entity)

    def _read(self, entity: p4r.Entity) -> list[p4r.Entity]:
        return self._link.read(p4r.ReadRequest(device_id=self.device_id, role=self.role, entities=[entity]))

    def _write(self, kind: p4r.Update.Type.ValueType, entity: p4r.Entity, what: str) -> None:
        self._gather([(p4r.Update(type=kind, entity=entity), what)])

    def _gather(self, updates: list[tuple[p4r.Update, str]]) -> None:
        if self._planned is not None:
            gone = {entity_key(each.entity) for each, _ in updates if each.type == p4r.Update.DELETE}
            self._planned[:] = [each for each in self._planned if entity_key(each) not in gone]
            self._planned += [each.entity for each, _ in updates if each.type != p4r.Update.DELETE]
        elif self._batch is not None:
            self._batch.extend(updates)
        else:
            self._send(updates)

    def _send(self, updates: Sequence[tuple[p4r.Update, str]], *, atomic: bool = False) -> None:
        """Write updates, in several requests if necessary. Raises RequestError with all rejected updates."""
        limit = len(updates) if atomic else BATCH_LIMIT
        refused: dict[int, tuple[Code, str]] = {}
        for start in range(0, len(updates), limit):
            try:
                self._write_request([update for update, _ in updates[start : start + limit]], atomic=atomic)
            except RequestError as error:
                if not error.refused:
                    raise RequestError(f"{updates[start][1]}: {error.message}", error.code) from None
                refused.update({start + at: each for at, each in error.refused.items()})
        # The message names a cause, not an update that was rolled back because of another one.
        causes = [(at, *each) for at, each in refused.items() if each[0] != Code.ABORTED]
        if causes:
            at, code, message = causes[0]
            more = f"; and {len(causes) - 1} more of the batch's {len(updates)}" if len(causes) > 1 else ""
            raise RequestError(f"{updates[at][1]}: {message or code.name}{more}", code, refused=refused)

    def _write_request(self, updates: list[p4r.Update], *, atomic: bool) -> None:
        request = p4r.WriteRequest(device_id=self.device_id, role=self.role, updates=updates)
        request.election_id.CopyFrom(U128.encode(self.election_id))
        if atomic:
            request.atomicity = p4r.WriteRequest.DATAPLANE_ATOMIC
        if self._journal is None:
            self._link.request("Write", request)
            return
        fresh = self._journal.note([key for each in updates if (key := made_key(each))])
        try:
            self._link.request("Write", request)
        except RequestError as error:
            refused = error.refused or range(len(updates))
            self._journal.drop(undone(updates, refused, fresh))
            raise
        self._journal.drop(undone(updates, (), fresh))


def _checked(election_id: int) -> int:
    if not 0 <= election_id < 1 << 128:
        raise ValueError(f"an election id is 0 to 2**128 - 1, not {election_id}")
    return election_id
