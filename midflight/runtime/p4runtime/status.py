"""Errors of requests: gRPC's canonical codes and P4Runtime's error details (specification 1.5, section 10)."""

from __future__ import annotations

from collections.abc import Sequence

from finsy import GRPCStatusCode as Code
from finsy.proto import p4r, rpc_status
from google.protobuf.any_pb2 import Any as AnyMessage

from midflight.errors import DeviceError

__all__ = ["Code", "Refusal", "batch_status"]

# gRPC clients accept at least 8 KB of metadata; the specification advises controllers to accept more (section 21.3.1).
DETAILS_BUDGET = 48 * 1024


class Refusal(DeviceError):  # noqa: N818 - the client gets the error; this is the server saying no
    """The error with which the server rejects a request, or one element of a batch: a gRPC code and a message."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code

    def error(self) -> p4r.Error:
        """Return the P4Runtime error detail for an element of a batch."""
        return p4r.Error(canonical_code=int(self.code), message=self.message)


def batch_status(outcomes: Sequence[Refusal | None], what: str) -> rpc_status.Status:
    """Return the status of a batch with at least one rejected element. It has one detail for each element, in order.

    If the status would exceed DETAILS_BUDGET bytes, the details lose their messages, or are left out entirely.
    """
    status = rpc_status.Status(code=int(Code.UNKNOWN))
    refused = [outcome for outcome in outcomes if outcome is not None]
    status.message = f"{len(refused)} of {len(outcomes)} {what} refused; the first: {refused[0].message}"
    for outcome in outcomes:
        detail = AnyMessage()
        detail.Pack(outcome.error() if outcome else p4r.Error(canonical_code=int(Code.OK)))
        status.details.append(detail)
    if status.ByteSize() > DETAILS_BUDGET:
        # Codes matter more than messages: gRPC drops the whole reply if it exceeds the client's metadata limit.
        for position, outcome in enumerate(outcomes):
            code = outcome.code if outcome else Code.OK
            status.details[position].Pack(p4r.Error(canonical_code=int(code)))
    if status.ByteSize() > DETAILS_BUDGET:
        status.ClearField("details")
    return status
