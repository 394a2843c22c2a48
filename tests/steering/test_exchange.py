"""The exchange between path selectors: routes to records, withdrawal, and sessions over TCP."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from midflight.errors import DeviceError, WireError
from midflight.runtime.steering.cps.exchange import Exchange
from midflight.runtime.steering.cps.messages import (
    HEADER,
    Announce,
    Keepalive,
    Message,
    Notice,
    Open,
    Withdraw,
    decode_message,
    encode_message,
)
from midflight.runtime.steering.cps.peering import Closed, Event, Heard, Opened, Peering, PeerTls
from midflight.runtime.steering.cps.selector import PATHS, PathSelector
from midflight.runtime.steering.metrics import Update
from midflight.runtime.steering.metrics.binary import decode, encode
from tests.papers import Papers, needs_openssl

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
CS_ID, ONE, OTHER = "10.9.0.1", "10.0.0.2", "2001:db8::3"


def read(record: bytes, now: int) -> Update | None:
    with suppress(WireError):
        return decode(record)
    return None


class Mesh:
    """Path selectors, and the sessions between them, over which messages travel at once and in order."""

    def __init__(self, *names: str) -> None:
        self.selectors = {name: PathSelector(3 * SECOND) for name in names}
        self.nodes = {
            name: Exchange(number, self.selectors[name], read) for number, name in enumerate(names, start=101)
        }
        self.sessions: dict[tuple[str, str], int] = {}  # from and to, and the number at the latter
        self.numbered = 0
        self.now = NOW

    def connect(self, one: str, other: str) -> None:
        for begin, end in ((one, other), (other, one)):
            self.numbered += 1
            self.sessions[begin, end] = self.numbered
            for message in self.nodes[begin].table():
                self.nodes[end].received(self.sessions[begin, end], message, self.now)
        self.settle()

    def cut(self, one: str, other: str) -> None:
        for begin, end in ((one, other), (other, one)):
            if (number := self.sessions.pop((begin, end), None)) is not None and end in self.nodes:
                self.nodes[end].closed(number)

    def kill(self, name: str) -> None:
        del self.nodes[name]
        for begin, end in list(self.sessions):
            if name in (begin, end):
                self.cut(begin, end)
        self.settle()

    def hear(self, name: str, csci_id: str, sequence: int) -> None:
        """Let an agent send an update to a path selector."""
        update = Update(CS_ID, csci_id, sequence, self.now, 4 * SECOND)
        record = encode(update)
        assert self.selectors[name].accept(update, self.now)
        self.nodes[name].learned(record, update, self.now)
        self.settle()

    def settle(self) -> None:
        for _ in range(20):
            news = {name: each.news() for name, each in self.nodes.items()}
            if not any(news.values()):
                return
            for (begin, end), number in self.sessions.items():
                for message in news.get(begin, ()):
                    kind, body = split(encode_message(message))
                    found = decode_message(kind, body)
                    assert isinstance(found, Announce | Withdraw)
                    self.nodes[end].received(number, found, self.now)
        raise AssertionError("it does not settle")

    def known(self, csci_id: str) -> dict[str, int]:
        """Return the sequence number that each path selector has."""
        entries = {name: self.selectors[name].board.entry(CS_ID, csci_id) for name in self.nodes}
        return {name: each.update.sequence for name, each in entries.items() if each is not None}

    def dead(self, name: str) -> dict[str, str]:
        return self.selectors[name].liveness.dead([ONE, OTHER], self.now)


def split(data: bytes) -> tuple[int, bytes]:
    length, kind = HEADER.unpack_from(data)
    assert length == len(data)
    return kind, data[HEADER.size :]


def chain() -> Mesh:
    mesh = Mesh("a", "b", "c")
    mesh.connect("a", "b")
    mesh.connect("b", "c")
    return mesh


def full() -> Mesh:
    mesh = chain()
    mesh.connect("a", "c")
    return mesh


@pytest.mark.parametrize("made", [chain, full])
def test_all_path_selectors_know_what_one_hears(made: Callable[[], Mesh]) -> None:
    mesh = made()
    mesh.hear("a", ONE, 1)
    mesh.hear("c", OTHER, 7)
    mesh.hear("a", ONE, 2)
    assert mesh.known(ONE) == dict.fromkeys("abc", 2)
    assert mesh.known(OTHER) == dict.fromkeys("abc", 7)


def test_one_that_joins_late_is_told_everything() -> None:
    mesh = Mesh("a", "b", "late")
    mesh.connect("a", "b")
    mesh.hear("a", ONE, 1)
    assert mesh.known(ONE) == {"a": 1, "b": 1}
    mesh.connect("b", "late")
    assert mesh.known(ONE) == {"a": 1, "b": 1, "late": 1}


@pytest.mark.parametrize("made", [chain, full])
def test_what_a_dead_path_selector_heard_is_withdrawn_everywhere(made: Callable[[], Mesh]) -> None:
    mesh = made()
    mesh.hear("a", ONE, 1)
    mesh.hear("b", OTHER, 1)
    mesh.kill("a")
    assert mesh.known(ONE) == {}, "none takes it from another that has it from there"
    assert mesh.dead("b") == mesh.dead("c") == {ONE: "its updates are withdrawn"}
    mesh.hear("c", ONE, 2)
    assert mesh.known(ONE) == {"b": 2, "c": 2}
    assert mesh.dead("b") == mesh.dead("c") == {}, "it is heard again"


def test_a_lost_session_withdraws_nothing_that_is_known_by_another_way() -> None:
    mesh = full()
    mesh.hear("a", ONE, 1)
    mesh.cut("a", "c")
    mesh.settle()
    assert mesh.known(ONE) == {"a": 1, "b": 1, "c": 1}
    mesh.hear("a", ONE, 2)
    assert mesh.known(ONE) == {"a": 2, "b": 2, "c": 2}
    mesh.cut("a", "b")
    mesh.settle()
    assert (mesh.known(ONE), mesh.dead("c")) == ({"a": 2}, {ONE: "its updates are withdrawn"})
    mesh.connect("a", "c")
    assert (mesh.known(ONE), mesh.dead("c")) == ({"a": 2, "b": 2, "c": 2}, {}), "the session is back"


def test_an_agent_that_reports_to_two_path_selectors_survives_the_loss_of_one() -> None:
    mesh = full()
    mesh.hear("a", ONE, 1)
    update = Update(CS_ID, ONE, 1, NOW, 4 * SECOND)
    mesh.nodes["b"].learned(encode(update), update, NOW)
    mesh.kill("a")
    assert (mesh.known(ONE), mesh.dead("c")) == ({"b": 1, "c": 1}, {})


def test_the_newest_record_counts_also_by_a_longer_path() -> None:
    mesh = Mesh("a")
    records = [encode(Update(CS_ID, ONE, sequence, NOW, 4 * SECOND)) for sequence in (1, 2)]
    mesh.nodes["a"].received(1, Announce(records[0], (5,)), NOW)
    mesh.nodes["a"].received(2, Announce(records[1], (6, 7)), NOW)
    assert mesh.nodes["a"].table() == [Announce(records[1], (6, 7, 101))]
    mesh.nodes["a"].closed(2)
    assert mesh.nodes["a"].table() == [Announce(records[0], (5, 101))]


def test_a_withdrawn_record_does_not_come_back_when_it_is_old() -> None:
    mesh = chain()
    mesh.hear("a", ONE, 1)
    kept = mesh.nodes["b"].table()[0]
    mesh.kill("a")
    mesh.now += 5 * SECOND
    mesh.nodes["c"].received(99, kept, mesh.now)
    assert mesh.known(ONE) == {}
    assert mesh.nodes["c"].counts["ignored"] == 1


def test_a_withdrawn_record_does_not_come_back_from_a_peer_that_has_it_from_here() -> None:
    mesh = chain()
    update = Update(CS_ID, ONE, 1, NOW, 4 * SECOND)
    mesh.nodes["a"].received(9, Announce(encode(update), (5,)), NOW)
    mesh.settle()
    late = mesh.nodes["b"].table()[0]
    mesh.nodes["a"].closed(9)
    mesh.nodes["a"].received(mesh.sessions["b", "a"], late, NOW)  # b sent it before it heard of the withdrawal
    mesh.settle()
    assert mesh.known(ONE) == {}
    assert mesh.dead("a") == {ONE: "its updates are withdrawn"}


def test_what_is_no_record_or_concerns_paths_is_not_exchanged() -> None:
    mesh = chain()
    mesh.nodes["a"].received(9, Announce(b"no record", (5,)), NOW)
    path = Update(PATHS, ONE, 1, NOW, SECOND)
    mesh.nodes["a"].received(9, Announce(encode(path), (5,)), NOW)
    assert mesh.nodes["a"].counts["refused"] == 2
    mesh.nodes["a"].learned(encode(path), path, NOW)
    assert mesh.nodes["a"].news() == []


def test_routes_to_records_that_are_gone_are_forgotten() -> None:
    mesh = chain()
    mesh.hear("a", ONE, 1)
    mesh.selectors["b"].board.expire(NOW + 13 * SECOND)
    mesh.nodes["b"].expire()
    assert mesh.nodes["b"].table() == []
    assert len(mesh.nodes["a"].table()) == 1


MESSAGES: list[tuple[Message, str]] = [
    (Open(0x0102030405060708, 3.0), "000e01 01 012c 0102030405060708"),
    (Announce(b"record", (1, 2), 9), "001e02 00000009 02 0000000000000001 0000000000000002 7265636f7264"),
    (Withdraw(CS_ID, OTHER, 1), f"002703 00000001 {'00' * 10}ffff0a090001 20010db8{'00' * 11}03"),
    (Keepalive(), "000304"),
    (Notice("too late"), "000b05 746f6f206c617465"),
]


@pytest.mark.parametrize(("message", "octets"), MESSAGES, ids=[type(each).__name__ for each, _ in MESSAGES])
def test_messages_have_the_documented_form(message: Message, octets: str) -> None:
    assert encode_message(message) == bytes.fromhex(octets)
    assert decode_message(*split(bytes.fromhex(octets))) == message


@pytest.mark.parametrize(
    "octets",
    ["00", "000e01 02 012c 0102030405060708", "000e01 01 0000 0102030405060708", "000802 00000009 00",
     "000802 00000009 ff", "000403 00", "000404 00", "000306"],
)  # fmt: skip
def test_malformed_messages_are_errors(octets: str) -> None:
    data = bytes.fromhex(octets)
    with pytest.raises(WireError):
        decode_message(data[2] if len(data) > 2 else 1, data[3:])


def test_messages_that_are_too_long_are_errors() -> None:
    with pytest.raises(WireError, match="cannot be encoded"):
        encode_message(Announce(bytes(70_000), ()))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def until(peering: Peering, kind: type[Event], count: int = 1) -> list[Event]:
    """Wait for events of a kind, and return all events until the last of them."""
    found: list[Event] = []
    for _ in range(3000):
        found += peering.events()
        if sum(isinstance(each, kind) for each in found) >= count:
            return found
        time.sleep(0.01)
    raise AssertionError(f"only {found}")


def test_a_session_carries_messages_in_order_and_begins_again(stack: ExitStack) -> None:
    listener = stack.enter_context(Peering(1))
    with Peering(2, peers=[listener.address]) as peer:
        assert until(peer, Opened) == [Opened(0)]
        told = [Announce(bytes([number]), (2,)) for number in range(200)]
        peer.tell(told, 0)
        peer.tell([Withdraw(CS_ID, ONE)])
        found = until(listener, Heard, 201)
    assert [(each.source, each.message) for each in found if isinstance(each, Heard)] == [
        (1, Announce(each.record, (2,), number)) for number, each in enumerate(told, start=1)
    ] + [(1, Withdraw(CS_ID, ONE, 201))]
    assert until(listener, Closed) == [Closed(1, "the peer has ended the session")]
    port = listener.address
    with Peering(3, peers=[port]) as peer:
        until(peer, Opened)
        peer.tell([Withdraw(CS_ID, ONE)])
        assert until(listener, Heard)[-1] == Heard(2, Withdraw(CS_ID, ONE, 1))
        listener.close()
        again = stack.enter_context(Peering(1, *port))
        assert Opened(0) in until(peer, Opened), "it connects again by itself"
        peer.tell([Withdraw(CS_ID, OTHER)])
        assert until(again, Heard)[-1] == Heard(1, Withdraw(CS_ID, OTHER, 1))


def test_a_silent_peer_loses_its_session(stack: ExitStack) -> None:
    listener = stack.enter_context(Peering(1, hold=60.0))
    with socket.create_connection(listener.address) as silent:
        silent.sendall(encode_message(Open(2, 0.1)))
        assert until(listener, Closed) == [Closed(1, "the peer is silent")]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (encode_message(Withdraw(CS_ID, ONE, 2)), "message 1 is missing"),
        (encode_message(Open(5, 1.0)), "a second OPEN"),
        (b"\0\3\x09", "a malformed message of type 9"),
        (encode_message(Notice("it ends")), "it ends"),
    ],
)
def test_a_peer_that_breaks_the_protocol_loses_its_session(stack: ExitStack, data: bytes, why: str) -> None:
    listener = stack.enter_context(Peering(1, hold=60.0))
    with socket.create_connection(listener.address) as wrong:
        wrong.sendall(encode_message(Open(2, 60.0)) + data)
        assert until(listener, Closed) == [Closed(1, why)]


def test_a_session_with_itself_or_without_an_opening_is_none(stack: ExitStack) -> None:
    listener = stack.enter_context(Peering(1, hold=60.0))
    for data in (encode_message(Open(1, 60.0)), encode_message(Keepalive())):
        with socket.create_connection(listener.address) as wrong:
            wrong.settimeout(30)
            wrong.sendall(data)
            while wrong.recv(1000):
                pass
    assert listener.events() == []


def test_an_address_that_is_in_use_is_an_error(stack: ExitStack) -> None:
    listener = stack.enter_context(Peering(1))
    with pytest.raises(DeviceError, match="cannot listen on TCP"):
        Peering(2, *listener.address)


@needs_openssl
def test_sessions_with_tls_need_a_certificate_of_the_authority(stack: ExitStack, tmp_path: Path) -> None:
    papers = Papers(tmp_path)
    tls = PeerTls(*papers.server, papers.ca)
    listener = stack.enter_context(Peering(1, tls=tls))
    peer = stack.enter_context(Peering(2, peers=[listener.address], tls=tls))
    plain = stack.enter_context(Peering(3, peers=[listener.address]))
    until(peer, Opened)
    peer.tell([Withdraw(CS_ID, ONE)])
    assert until(listener, Heard)[-1] == Heard(1, Withdraw(CS_ID, ONE, 1))
    assert plain.events() == []
    with pytest.raises(DeviceError, match="authority of sessions cannot be used"):
        PeerTls(tmp_path / "missing", tmp_path / "missing", papers.ca).context(0x10)
