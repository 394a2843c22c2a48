"""Packets of a BMv2 switch without interfaces, through its gRPC service p4.bm.DataplaneInterface."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import grpc
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from midflight.errors import DeviceError
from midflight.runtime.engine import Packets

__all__ = ["Dataplane"]

# The maximum number of packets in flight. An egress queue of the switch holds 64 packets and drops others, and the
# server accepts packets faster than egress sends them.
WINDOW = 32


class Dataplane:
    """A client that passes packets to one BMv2 switch and receives those that leave it.

    The switch's packet service at the gRPC address `address` accepts one client at a time. When the client ends a
    stream, the server ends it once the switch has no packets left; this shows that a batch is complete. Packets that
    leave without an open stream are lost, so there is always one. `died` returns the error to raise if a stream breaks.
    `timeout`, in seconds, limits the wait for a batch; `process` passes its packets in batches of 32. Thread-safe.
    Connects at once; raises the error of `died` if that fails or takes longer than `timeout`.
    """

    def __init__(self, address: str, device_id: int, died: Callable[[], DeviceError], timeout: float = 30.0) -> None:
        self.device_id = device_id
        self.timeout = timeout
        self._died = died
        self._lock = threading.Lock()
        self._channel = grpc.insecure_channel(address)
        request, response = _messages()
        self._request = request
        self._stream = self._channel.stream_stream(
            "/p4.bm.DataplaneInterface/PacketStream",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        self._transmitted: list[tuple[int, bytes]] = []
        self._open()

    def process(self, packets: Packets) -> Packets:
        """Process packets, block until the switch has finished, and return the packets that leave through ports.

        They are in the order of the input packets, and by port for the same input packet. Packets that come from
        elsewhere, such as a controller's packet-outs, wait for `transmitted`. Raises the error of `died` if the switch
        ends or takes longer than `timeout` for a batch.
        """
        left: list[tuple[int, int, bytes]] = []
        given = list(packets)
        with self._lock:
            for first in range(0, len(given), WINDOW):
                for number, (port, data) in enumerate(given[first : first + WINDOW], first):
                    self._requests.put(self._request(id=number + 1, device_id=self.device_id, port=port, packet=data))
                left += self._drain()
        left.sort(key=lambda each: each[:2])
        result = Packets.from_list([(port, data) for _, port, data in left])
        result.sources[:] = np.array([source for source, _, _ in left], dtype=result.sources.dtype)
        return result

    def transmitted(self) -> Packets:
        """Wait until the switch is idle; remove and return the packets that left but do not come from `process`.

        Raises the error of `died` if the switch ends or takes longer than `timeout`.
        """
        with self._lock:
            self._drain()
            packets, self._transmitted = self._transmitted, []
        return Packets.from_list(packets)

    def close(self) -> None:
        """Close the connection to the switch. Idempotent."""
        self._requests.put(None)
        self._channel.close()

    def _drain(self) -> list[tuple[int, int, bytes]]:
        """End the stream and open the next one. Return the packets that left as (source, port, packet)."""
        self._requests.put(None)
        left = []
        impatience = threading.Timer(self.timeout, self._call.cancel)
        impatience.start()
        try:
            for each in self._call:
                if each.id:
                    left.append((each.id - 1, each.port, each.packet))
                else:
                    self._transmitted.append((each.port, each.packet))
        except grpc.RpcError:
            raise self._died() from None
        finally:
            impatience.cancel()
        self._open()
        return left

    def _open(self) -> None:
        """Open a stream, and wait until the switch has accepted it.

        The switch does not confirm a stream, but rejects a second one. So this requests second streams until one is
        rejected.
        """
        deadline = time.monotonic() + self.timeout
        self._start()
        while not self._is_rejected(self._stream(iter(()), timeout=self.timeout)):
            if not self._call.is_active():  # the switch accepted the second stream first
                self._requests.put(None)
                self._start()
            if time.monotonic() > deadline:
                raise self._died()

    def _start(self) -> None:
        self._requests: SimpleQueue[Any] = SimpleQueue()
        self._call = self._stream(iter(self._requests.get, None))

    def _is_rejected(self, call: Any) -> bool:
        try:
            list(call)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
                return True
            if error.code() != grpc.StatusCode.UNAVAILABLE:  # which means that it is not ready yet
                raise self._died() from None
        return False


def _messages() -> tuple[Any, Any]:
    """Return the classes of request and response, which have the same four fields."""
    kind = descriptor_pb2.FieldDescriptorProto
    fields = {
        "id": kind.TYPE_UINT64,
        "device_id": kind.TYPE_UINT64,
        "port": kind.TYPE_UINT32,
        "packet": kind.TYPE_BYTES,
    }
    file = descriptor_pb2.FileDescriptorProto(name="dataplane.proto", package="p4.bm", syntax="proto3")
    names = ("PacketStreamRequest", "PacketStreamResponse")
    for name in names:
        message = file.message_type.add(name=name)
        for number, (field, type_) in enumerate(fields.items(), 1):
            message.field.add(name=field, number=number, type=type_, label=kind.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    request, response = (message_factory.GetMessageClass(pool.FindMessageTypeByName(f"p4.bm.{each}")) for each in names)
    return request, response
