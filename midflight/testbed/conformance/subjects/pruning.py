"""Shared by the subjects that prune rows: which rows are sent again, and the answers to pruned rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from midflight.primitives import Verdict
from midflight.testbed.conformance.subject import Answer, Parameters, Request

__all__ = ["again", "pruned_or_forwarded"]


def again(requests: Sequence[Request]) -> list[bool]:
    """Return for each row whether its sender has sent it before."""
    return [each.fields["flags"] % 2 == 1 for each in requests]


def pruned_or_forwarded(parameters: Parameters, requests: Sequence[Request], useless: Iterable[bool]) -> list[Answer]:
    """Answer rows as they are, but for those that are useless: dropped, or replied with bit 1 of `flags` set."""
    reply = parameters["pruned"] == "reply"
    return [
        Answer(Verdict.FORWARD, each.fields) if not gone
        else Answer(Verdict.REPLY, {**each.fields, "flags": each.fields["flags"] | 2}) if reply
        else Answer(Verdict.DROP)
        for each, gone in zip(requests, useless, strict=True)
    ]  # fmt: skip
