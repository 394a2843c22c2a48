"""Functions that the subjects of primitives that prune rows of a query share. A row is a request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from midflight.primitives import Verdict
from midflight.testbed.conformance.subject import Answer, Parameters, Request

__all__ = ["again", "pruned_or_forwarded"]


def again(requests: Sequence[Request]) -> list[bool]:
    """Return for each row whether it is marked as a retransmission: whether bit 0 of `flags` is set."""
    return [each.fields["flags"] % 2 == 1 for each in requests]


def pruned_or_forwarded(parameters: Parameters, requests: Sequence[Request], useless: Iterable[bool]) -> list[Answer]:
    """Return the answers of a pruning primitive: each row is forwarded unchanged unless the next value of `useless` is
    true.

    A useless row is dropped, or with the parameter `pruned="reply"` replied with bit 1 of `flags` set. `requests` and
    `useless` have the same length.
    """
    reply = parameters["pruned"] == "reply"
    return [
        Answer(Verdict.FORWARD, each.fields) if not gone
        else Answer(Verdict.REPLY, {**each.fields, "flags": each.fields["flags"] | 2}) if reply
        else Answer(Verdict.DROP)
        for each, gone in zip(requests, useless, strict=True)
    ]  # fmt: skip
