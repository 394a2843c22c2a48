"""Limits on concurrent calls, in total and per peer, and that waiting calls do not block others."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from queue import Queue
from threading import Event, Thread
from threading import enumerate as enumerate_threads
from typing import Any

import grpc
import pytest
from finsy.proto import p4r, p4r_grpc
from grpc._cython import cygrpc

from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.runtime.p4runtime.server import service
from midflight.runtime.p4runtime.server.arbitration import PEER_LIMIT
from midflight.runtime.p4runtime.server.calls import Calls
from midflight.runtime.p4runtime.server.server import Server
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.runtime.p4runtime.status import Code, Refusal
from tests.p4runtime.support import EVERYTHING, TIMEOUT, Controller, code_of

S = "/p4.v1.P4Runtime/"


# Limits


def calls(most: int = 4, per_peer: int = 2, patience: float = 10.0) -> Calls:
    return Calls("calls", most=most, per_peer=per_peer, patience=patience)


def test_a_new_call_ends_the_longest_waiting_call_of_its_peer() -> None:
    counted = calls()
    ended: list[int] = []
    for now in range(5):
        counted.enter("a", lambda _, now=now: ended.append(now), waiting=float(now))  # type: ignore[misc]
    assert ended == [0, 1, 2]
    assert len(counted) == 2


def test_calls_that_do_not_wait_remain_and_the_new_one_is_rejected() -> None:
    counted = calls()
    first = counted.enter("a", lambda _: None)
    counted.enter("a", lambda _: None)
    with pytest.raises(Refusal, match="too many calls"):
        counted.enter("a", lambda _: None)
    counted.enter("b", lambda _: None)
    counted.leave(first)
    counted.leave(first)
    counted.enter("a", lambda _: None)


def test_at_the_total_limit_the_peer_with_the_most_calls_loses_one() -> None:
    counted = calls(most=5, per_peer=3)
    ended: list[str] = []
    for peer in ("a", "b", "b", "b", "c"):
        counted.enter(peer, lambda _, peer=peer: ended.append(peer), waiting=1.0)  # type: ignore[misc]
    counted.enter("d", lambda _: None)
    assert ended == ["b"]
    assert len(counted) == 5


def test_calls_end_after_their_patience() -> None:
    counted = calls(patience=10.0)
    ended: list[Refusal] = []
    waiting = counted.enter("a", ended.append, waiting=5.0)
    counted.enter("b", ended.append)
    assert not counted.expire(14.9, most=1)
    assert ended == []
    waiting.waiting = None
    assert not counted.expire(20.0, most=1)
    assert ended == []
    waiting.waiting = 20.0
    assert not counted.expire(30.0, most=1)
    assert [each.code.name for each in ended] == ["DEADLINE_EXCEEDED"]
    assert len(counted) == 1


def test_only_some_calls_end_at_once() -> None:
    counted = calls(most=9, per_peer=9)
    ended: list[Refusal] = []
    for _ in range(5):
        counted.enter("a", ended.append, waiting=0.0)
    assert [counted.expire(10.0, most=2) for _ in range(3)] == [True, True, False]
    assert len(ended) == 5


# The server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    switch = Switch()
    switch.load(EVERYTHING.replace("register<int<16>>(4) levels;", "register<int<16>>(40000) levels;"))
    with Server(switch) as running:
        yield running


class Raw:
    """A separate channel with silent streams."""

    def __init__(self, address: str, stack: ExitStack) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        self.channel = stack.enter_context(grpc.insecure_channel(address, options=options))
        self.stub: Any = p4r_grpc.P4RuntimeStub(self.channel)
        self._stack = stack

    def silent(self) -> Any:
        requests: Queue[None] = Queue()
        self._stack.callback(requests.put, None)
        return self.stub.StreamChannel(iter(requests.get, None), timeout=TIMEOUT)

    def answers(self) -> bool:
        return bool(self.stub.Capabilities(p4r.CapabilitiesRequest(), timeout=TIMEOUT).p4runtime_api_version)


def test_silent_streams_do_not_block_other_clients(server: Server) -> None:
    with ExitStack() as stack:
        raw, other = (Raw(server.address, stack) for _ in range(2))
        streams = [raw.silent() for _ in range(300)]
        for _ in range(20):
            assert other.answers()
        codes = []
        for stream in streams[: 300 - service.PEER_SILENT]:
            with pytest.raises(grpc.RpcError) as ended:
                next(stream)
            codes.append(code_of(ended.value))
        assert set(codes) == {"RESOURCE_EXHAUSTED"}
        with Controller(server.address) as late:
            assert late.arbitrate(5, "late").status.code == 0
        for stream in streams:
            stream.cancel()


def test_silent_streams_occupy_no_threads() -> None:
    with Server(Switch()) as running, ExitStack() as stack:
        before = set(enumerate_threads())
        raw = Raw(running.address, stack)
        streams = [raw.silent() for _ in range(2 * service.PEER_SILENT)]
        for stream in streams[: service.PEER_SILENT]:
            with pytest.raises(grpc.RpcError):
                next(stream)
        names = [each.name for each in set(enumerate_threads()) - before]
        assert sum(name.startswith("p4runtime") for name in names) <= 1, "the patrol has one, streams have more"
        for stream in streams:
            stream.cancel()


def test_a_stream_that_does_not_arbitrate_is_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SILENT_PATIENCE", 0.0)
    with Server(Switch()) as impatient, ExitStack() as stack:
        with pytest.raises(grpc.RpcError) as ended:
            next(Raw(impatient.address, stack).silent())
        assert code_of(ended.value) == "DEADLINE_EXCEEDED"
        with Controller(server.address) as held:  # a new server with this patience
            assert held.arbitrate(5, "patient").status.code == 0


def test_unfinished_requests_do_not_block_other_clients(server: Server) -> None:
    """Unary calls whose message is never sent must not occupy a thread of the server."""
    with ExitStack() as stack:
        raw, other = (Raw(server.address, stack) for _ in range(2))
        halted = Event()

        def never() -> Iterator[bytes]:
            halted.wait()
            yield b""

        names = ("Write", "Capabilities", "GetForwardingPipelineConfig") * 20
        open_calls = [raw.channel.stream_unary(S + name).future(never(), timeout=TIMEOUT) for name in names]
        for _ in range(20):
            assert other.answers()
        for call in open_calls:
            call.cancel()
        halted.set()


def test_readers_that_do_not_read_do_not_block_other_clients(server: Server) -> None:
    with ExitStack() as stack:
        raw, other = (Raw(server.address, stack) for _ in range(2))
        info = server.switch.pipeline
        assert info is not None
        register = next(each for each in info.schema.registers if each.preamble.name == "ingress.levels")
        request = p4r.ReadRequest(device_id=1)
        request.entities.add().register_entry.register_id = register.preamble.id
        slow = [raw.stub.Read(request, timeout=TIMEOUT) for _ in range(100)]
        for each in slow:
            next(each)  # read only the first part
        for _ in range(20):
            assert other.answers()
        whole = sum(len(part.entities) for part in other.stub.Read(request, timeout=60))
        assert whole == 40_000
        for each in slow:
            each.cancel()


def test_requests_are_answered_while_a_program_is_compiled(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = Event(), Event()
    set_pipeline = server.switch.set_pipeline

    def slow(request: p4r.SetForwardingPipelineConfigRequest) -> None:
        begun.set()
        assert go_on.wait(TIMEOUT)
        set_pipeline(request)

    monkeypatch.setattr(server.switch, "set_pipeline", slow)
    config = p4r.ForwardingPipelineConfig(p4info=p4info(check(EVERYTHING)), p4_device_config=EVERYTHING.encode())
    with ExitStack() as stack:
        pusher = stack.enter_context(Controller(server.address))
        pusher.become_primary()
        pushes = [
            Thread(target=pusher.push, args=("VERIFY", config), kwargs={"election": pusher.election}) for _ in range(4)
        ]
        for each in pushes:
            each.start()
        assert begun.wait(TIMEOUT)
        assert Raw(server.address, stack).answers()
        pusher.write()
        assert pusher.pull().HasField("config")
        go_on.set()
        for each in pushes:
            each.join()


def test_the_number_of_controllers_of_one_peer_is_limited() -> None:
    with Server(Switch()) as running, ExitStack() as stack:
        for number in range(PEER_LIMIT):
            stack.enter_context(Controller(running.address)).arbitrate(number, "crowd")
        one_more = stack.enter_context(Controller(running.address))
        one_more.bid(PEER_LIMIT, "crowd")
        with pytest.raises(grpc.RpcError) as refused:
            one_more.receive()
        assert code_of(refused.value) == "RESOURCE_EXHAUSTED"


def test_a_message_too_long_for_a_stream_ends_it(server: Server) -> None:
    with Controller(server.address) as raw:
        raw.arbitrate(5, "long")
        raw.send(packet=p4r.PacketOut(payload=bytes(service.STREAM_MESSAGE)))
        with pytest.raises(grpc.RpcError) as ended:
            raw.receive()
        assert code_of(ended.value) == "INVALID_ARGUMENT"
    with Controller(server.address) as again:
        assert again.arbitrate(6, "long").status.code == 0


@pytest.mark.parametrize("rpc", ["Write", "Read", "SetForwardingPipelineConfig", "GetForwardingPipelineConfig"])
def test_internal_errors_are_reported_only_by_an_id(
    server: Server, rpc: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("SECRET in an exception")

    methods = {"SetForwardingPipelineConfig": "set_pipeline", "GetForwardingPipelineConfig": "get_pipeline"}
    with ExitStack() as stack, monkeypatch.context() as patch:
        patch.setattr(server.switch, methods.get(rpc, rpc.lower()), fail)
        raw = Raw(server.address, stack)
        with pytest.raises(grpc.RpcError) as failed:
            list(raw.channel.unary_stream(S + rpc)(b"", timeout=TIMEOUT))
        assert code_of(failed.value) == "INTERNAL"
        words = str(failed.value.details())
        assert "SECRET" not in words
        assert any(word.strip(",") + ":" in caplog.text for word in words.split() if word.startswith("fault-"))
        assert raw.answers()


class _Gone:
    """The context of a call whose client has gone, so that gRPC cannot send it a status."""

    async def abort(self, _: grpc.StatusCode, __: str) -> None:
        raise grpc.aio.InternalError("execute_batch failed")


def test_a_refusal_to_a_client_that_has_gone_is_no_fault(server: Server) -> None:
    switch = server.switch
    before = dict(switch.faults.counts)
    asked = service.Service(switch)

    async def refuse(_: object, context: Any) -> None:
        await service._abort(context, Refusal(Code.UNAVAILABLE, "the switch is stopping"))

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(asked.guarded(refuse)(None, _Gone()))  # type: ignore[arg-type]
    asked.close()
    assert switch.faults.counts == before


class _Calm:
    """The context of a call whose client is still there."""

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"


def test_a_request_that_is_refused_after_its_client_has_gone_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    switch = Switch()
    asked = service.Service(switch)
    begun, go_on = Event(), Event()

    def refuse(_: object) -> None:
        begun.set()
        go_on.wait(TIMEOUT)
        raise Refusal(Code.FAILED_PRECONDITION, "nobody waits for this")

    async def leave_early() -> None:
        asyncio.get_running_loop().set_exception_handler(asked.report)
        read: Any = asked.guarded(asked.Read)
        call: asyncio.Task[None] = asyncio.create_task(read(p4r.ReadRequest(), _Calm()))
        await asyncio.to_thread(begun.wait, TIMEOUT)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        del call
        go_on.set()
        await asyncio.to_thread(asked.close)  # The exception has arrived in the loop before what comes later.
        await asyncio.sleep(0)
        gc.collect()

    monkeypatch.setattr(switch, "read", refuse)
    asyncio.run(leave_early())
    assert switch.faults.counts == {}


@pytest.mark.parametrize("kind", [grpc.aio.InternalError, cygrpc._ServerStoppedError])
def test_a_stream_that_ends_with_its_client_or_its_server_is_no_fault(kind: type[Exception]) -> None:
    switch = Switch()
    asked = service.Service(switch)

    async def end(_: object, __: Any) -> None:
        raise kind("it is over")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(asked.guarded(end)(None, _Calm()))  # type: ignore[arg-type]
    asked.close()
    assert switch.faults.counts == {}


def test_the_closed_loop_of_another_server_is_no_fault_of_this_one() -> None:
    switch = Switch()
    asked = service.Service(switch)
    other = asyncio.new_event_loop()
    other.close()

    async def deliver(event: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(asked.report)
        loop.call_soon(event)
        await asyncio.sleep(0)

    asyncio.run(deliver(lambda: other.call_soon_threadsafe(print)))
    assert switch.faults.counts == {}
    asyncio.run(deliver(lambda: 1 // 0))
    assert switch.faults.counts == {"the event loop": 1}
    asked.close()
