"""The queues of a running switch, from outside of its process."""

from __future__ import annotations

from dataclasses import replace

import grpc

from midflight.errors import DeviceError
from midflight.runtime.engine.queues import QueueState, Rate
from midflight.runtime.p4runtime.addresses import check_address
from midflight.runtime.p4runtime.handshake import tls_problem
from midflight.runtime.p4runtime.queuemessages import METHOD, SERVICE, QueueReport, QueueRequest
from midflight.runtime.p4runtime.tls import ClientTls, open_channel

__all__ = ["RemoteQueues"]


class RemoteQueues:
    """The queues between ingress and egress of the embedded switch at an address, "host:port" or "unix:/path".

    It has the methods of the `Queues` of a switch in this process. `device_id` is the P4Runtime device id, 0 for any.
    `timeout`, in seconds, limits each request. All methods raise DeviceError if the switch does not answer or refuses.
    """

    def __init__(
        self, address: str, device_id: int = 0, *, tls: ClientTls | None = None, timeout: float = 10.0
    ) -> None:
        check_address(address)
        self.address = address
        self.device_id = device_id
        self._tls = tls
        self._timeout = timeout

    @property
    def count(self) -> int:
        """The number of queues of each port, 1 to 8. Reading it sends a request; DeviceError without an answer."""
        return self.answer(QueueRequest(port=0, queue=0)).count

    def set(
        self,
        port: int | None = None,
        queue: int | None = None,
        *,
        depth: int | None = None,
        rate: Rate | str | None = None,
        weight: int | None = None,
    ) -> None:
        """Set depth (packets), rate or weight of a queue; without `queue`, of all of the port; without `port`, of all.

        Values that are None remain unchanged. DeviceError for a number out of its range: ports are 0 to 511, queues 0
        to `count` - 1, depths 0 to 1,048,576, and weights 0 (strict priority) to 100.
        """
        text = None if rate is None else str(rate)
        self.answer(QueueRequest(port=port, queue=queue, depth=depth, rate=text, weight=weight))

    def set_port(self, port: int | None = None, *, rate: Rate | str) -> None:
        """Set the rate at which a port, or every port if it is None, takes packets from its queues.

        DeviceError if the port is not 0 to 511, if the rate is invalid, or if the switch does not answer.
        """
        self.answer(QueueRequest(port=port, port_rate=str(rate)))

    def port_rate(self, port: int) -> Rate:
        """Return the rate at which a port (0 to 511) takes packets from its queues. DeviceError if there is no such
        port.
        """
        return self.answer(QueueRequest(port=port)).port_rates[port]

    def state(self, port: int, queue: int = 0) -> QueueState:
        """Return the settings and counts of a queue. The counts start with the program.

        DeviceError if the port is not 0 to 511, if it has no such queue, or if the switch does not answer.
        """
        return self.answer(QueueRequest(port=port, queue=queue)).states[port, queue]

    def states(self, port: int | None = None, queue: int | None = None) -> dict[tuple[int, int], QueueState]:
        """Return the states of queues by port and queue: of one queue, of a port, or of all ports.

        Without `port`, queues are left out if they have the default settings and no packet has reached them.
        DeviceError if there is no such port or queue, or if the switch does not answer.
        """
        return dict(self.answer(QueueRequest(port=port, queue=queue)).states)

    def answer(self, request: QueueRequest) -> QueueReport:
        """Send a request, with this device id, and return the answer. DeviceError if the switch does not answer or
        refuses.
        """
        sent = replace(request, device_id=self.device_id)
        with open_channel(self.address, self._tls) as channel:
            call = channel.unary_unary(f"/{SERVICE}/{METHOD}", None, QueueReport.decode)
            try:
                report: QueueReport = call(sent.encode(), timeout=self._timeout)
            except grpc.RpcError as error:
                raise self._error(error) from None
        return report

    def _error(self, error: grpc.RpcError) -> DeviceError:
        assert isinstance(error, grpc.Call)
        if error.code() == grpc.StatusCode.UNIMPLEMENTED:
            return DeviceError(
                f"the switch at {self.address} does not offer its queues", hint="is it `midflight switch`?"
            )
        if error.code() == grpc.StatusCode.UNAVAILABLE and (problem := tls_problem(self.address, self._tls)):
            return problem
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return DeviceError(f"no switch answers at {self.address}")
        return DeviceError(f"the switch at {self.address} refuses: {error.details()}")
