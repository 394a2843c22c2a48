"""The parameter server: the executed kernel at a UDP port."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Filter, Message, Program, Schema
from midflight.primitives.record import FieldValue
from midflight.primitives.wire import FOR_HOST
from midflight.runtime.endpoint.software import SoftwareServer

PROGRAM = Program(Aggregate("sums", workers=2, lanes=2, slots=1), Filter("telemetry", keep="temperature > 80"))
SCHEMA = Schema(PROGRAM.schema())
MEMBERS = [("10.0.0.1", 1001), ("10.0.0.2", 1002)]


def request(worker: int, sequence: int = 1) -> bytes:
    values = np.array([worker + 1, -5])
    fields: dict[str, FieldValue] = {"slot": 0, "worker": worker, "flags": 0, "job": 1, "epoch": 0, "values": values}
    return SCHEMA.encode(Message(1, "sums", sequence, fields))


def test_a_complete_sum_goes_to_all_members_and_again_on_request() -> None:
    server = SoftwareServer(PROGRAM)
    server.serve("sums", MEMBERS)
    server.receive(MEMBERS[0], request(0), 0)
    server.receive(MEMBERS[0], request(0), 0)
    assert server.poll(0) == []
    server.receive(MEMBERS[1], request(1), 0)
    results = server.poll(0)
    assert [destination for destination, _ in results] == MEMBERS
    for _, datagram in results:
        message = SCHEMA.decode(datagram)
        assert (message.kind, message.sequence) == (2, 1)
        assert np.asarray(message.fields["values"]).tolist() == [3, -10]
    server.receive(MEMBERS[0], request(0), 0)
    [(destination, again)] = server.poll(0)
    assert destination == MEMBERS[0]
    assert np.asarray(SCHEMA.decode(again).fields["values"]).tolist() == [3, -10]
    assert server.poll(0) == []
    assert server.next_deadline() is None


def test_other_messages_are_counted_and_dropped() -> None:
    server = SoftwareServer(PROGRAM)
    server.serve("sums", MEMBERS)
    telemetry = SCHEMA.encode(Message(1, "telemetry", 1, {"temperature": 90}))
    for datagram in (b"", b"\1" + request(0)[1:], b"\2\2" + request(0)[2:], request(0)[:-1], telemetry):
        server.receive(MEMBERS[0], datagram, 0)
    assert (server.statistics.refused.malformed, server.statistics.requests, server.poll(0)) == (5, 0, [])


def test_a_request_with_the_verdict_forward_ends_at_the_server() -> None:
    server = SoftwareServer(PROGRAM)
    server.serve("telemetry", MEMBERS)
    server.receive(MEMBERS[0], SCHEMA.encode(Message(1, "telemetry", 1, {"temperature": 90})), 0)
    assert (server.statistics.requests, server.poll(0)) == (1, [])


def test_only_the_programs_applications_are_served() -> None:
    with pytest.raises(MidflightError, match="no application 'average'"):
        SoftwareServer(PROGRAM).serve("average", MEMBERS)


def test_the_server_computes_on_requests_after_fallback() -> None:
    server = SoftwareServer(PROGRAM)
    server.serve("sums", MEMBERS)
    for worker in range(2):
        message = SCHEMA.decode(request(worker))
        server.receive(MEMBERS[worker], SCHEMA.encode(replace(message, kind=FOR_HOST)), 0)
    assert [destination for destination, _ in server.poll(0)] == MEMBERS
    assert (server.statistics.requests, server.statistics.left, server.statistics.refused.malformed) == (2, 2, 0)
