"""A controller in plain gRPC, and packets from scapy. This shares no code with the tested modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Queue
from types import TracebackType
from typing import Any

import grpc
from finsy.proto import p4r, p4r_grpc, rpc_status
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

PROGRAMS = Path(__file__).parent / "programs"
EVERYTHING = (PROGRAMS / "everything.p4").read_text()
TIMEOUT = 20.0


def ipv4(destination: str, source: str = "10.9.9.9", ttl: int = 64, load: bytes = b"payload") -> bytes:
    ether = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
    return bytes(ether / IP(dst=destination, src=source, ttl=ttl) / UDP(sport=1, dport=2) / load)


def other(load: bytes = b"unknown") -> bytes:
    return bytes(Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02", type=0x1234) / load)


class Controller:
    """A stream, and requests as raw messages."""

    def __init__(self, address: str, device_id: int = 1) -> None:
        self.device_id = device_id
        self.election = 1
        self.channel = grpc.insecure_channel(address)
        self.stub: Any = p4r_grpc.P4RuntimeStub(self.channel)
        self._requests: Queue[p4r.StreamMessageRequest | None] = Queue()
        self._call: Any = None

    def send(self, **parts: Any) -> None:
        self._requests.put(p4r.StreamMessageRequest(**parts))
        if self._call is None:
            self._call = self.stub.StreamChannel(iter(self._requests.get, None), timeout=TIMEOUT)

    def receive(self) -> p4r.StreamMessageResponse:
        response: p4r.StreamMessageResponse = next(self._call)
        return response

    def bid(self, election: int | None, role: str = "", **parts: Any) -> None:
        update = p4r.MasterArbitrationUpdate(device_id=self.device_id, **parts)
        if election is not None:
            update.election_id.CopyFrom(p4r.Uint128(high=election >> 64, low=election & (1 << 64) - 1))
        if role:
            update.role.name = role
        self.send(arbitration=update)

    def arbitrate(self, election: int | None, role: str = "") -> p4r.MasterArbitrationUpdate:
        self.bid(election, role)
        return self.receive().arbitration

    def become_primary(self) -> None:
        """Become the primary with a higher election id than all others."""
        self.election = self.arbitrate(None).election_id.low + 1
        assert self.arbitrate(self.election).status.code == 0

    def write(self, *updates: p4r.Update, election: int | None = None, **parts: Any) -> None:
        number = p4r.Uint128(low=self.election if election is None else election)
        request = p4r.WriteRequest(device_id=self.device_id, election_id=number, updates=updates, **parts)
        self.stub.Write(request, timeout=TIMEOUT)

    def read(self, *entities: p4r.Entity) -> list[p4r.Entity]:
        request = p4r.ReadRequest(device_id=self.device_id, entities=entities)
        return [entity for response in self.stub.Read(request, timeout=TIMEOUT) for entity in response.entities]

    def push(
        self, action: str, config: p4r.ForwardingPipelineConfig | None = None, election: int = 1, **parts: Any
    ) -> None:
        kind = p4r.SetForwardingPipelineConfigRequest
        request = kind(
            device_id=parts.pop("device_id", self.device_id),
            election_id=p4r.Uint128(low=election),
            action=kind.Action.Value(action),
            **parts,
        )
        if config is not None:
            request.config.CopyFrom(config)
        self.stub.SetForwardingPipelineConfig(request, timeout=TIMEOUT)

    def pull(self, kind: str = "ALL") -> p4r.GetForwardingPipelineConfigResponse:
        request = p4r.GetForwardingPipelineConfigRequest(
            device_id=self.device_id,
            response_type=p4r.GetForwardingPipelineConfigRequest.ResponseType.Value(kind),
        )
        response: p4r.GetForwardingPipelineConfigResponse = self.stub.GetForwardingPipelineConfig(
            request, timeout=TIMEOUT
        )
        return response

    def hang_up(self) -> None:
        """Close the request side of the stream, as a controller does at its end."""
        self._requests.put(None)
        for _ in self._call:
            pass

    def close(self) -> None:
        if self._call is not None:
            with suppress(grpc.RpcError):
                self.hang_up()
        self.channel.close()

    def __enter__(self) -> Controller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def code_of(error: grpc.RpcError) -> str:
    """Return the name of an RPC's error status."""
    return str(error.code().name)


def details_of(error: grpc.RpcError) -> list[p4r.Error]:
    """Return the error of each element of a batch."""
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin":
            status = rpc_status.Status.FromString(value)
            assert status.code == error.code().value[0]
            assert status.message == error.details()
            errors = []
            for detail in status.details:
                message = p4r.Error()
                assert detail.Unpack(message)
                errors.append(message)
            return errors
    return []


def names(errors: list[p4r.Error]) -> list[str]:
    codes = {code.value[0]: code.name for code in grpc.StatusCode}
    return [codes[error.canonical_code] for error in errors]


def updates(kind: str, *entities: p4r.Entity) -> Iterator[p4r.Update]:
    for entity in entities:
        yield p4r.Update(type=p4r.Update.Type.Value(kind), entity=entity)


def entity(**parts: Any) -> p4r.Entity:
    """Return an entity from nested dicts, which protobuf accepts although its type stubs do not."""
    return p4r.Entity(**parts)
