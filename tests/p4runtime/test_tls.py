"""TLS and mutual TLS, roles by certificate, and access to unix sockets."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.client.queues import RemoteQueues
from midflight.runtime.p4runtime.client.session import RequestError, Session
from midflight.runtime.p4runtime.server.server import Server
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.runtime.p4runtime.tls import ClientTls, ServerTls, is_local
from tests.p4runtime.support import EVERYTHING
from tests.papers import Papers, needs_openssl


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


def serving(tls: ServerTls | None) -> Server:
    switch = Switch()
    switch.load(EVERYTHING)
    return Server(switch, tls=tls)


def opened(server: Server, tls: ClientTls | None, role: str = "") -> Session:
    return Session(server.address, role=role, tls=tls, timeout=10.0)


@needs_openssl
def test_a_session_with_tls_works(papers: Papers) -> None:
    with serving(ServerTls(*papers.server)) as server, opened(server, papers.client()) as session:
        session.write_register("totals", 7, 3)
        assert session.read_register("totals", 3) == 7


@needs_openssl
@pytest.mark.parametrize(
    ("serves", "connects", "problem"),
    [
        ("switch", "nobody's TLS", "requires TLS, but TLS is not configured for it"),
        ("no TLS", "", "does not use TLS"),
        ("switch", "authority", "TLS: .*theirs.pem has not signed the certificate of 127"),
        ("mallory", "", "TLS: .*ours.pem has not signed the certificate of 127"),
        ("late", "", "TLS: the certificate of 127.* has expired"),
        ("switch", "name", "TLS: the certificate of 127.* is not for the name switch.example"),
        ("mutual", "", "requires TLS with a client certificate, and none is configured"),
        ("mutual", "mallory", "TLS: 127.* does not accept the client certificate .*mallory.pem"),
        ("mutual", "late", "TLS: 127.* does not accept the client certificate .*late.pem"),
    ],
)
def test_errors_name_what_is_wrong_with_tls(papers: Papers, serves: str, connects: str, problem: str) -> None:
    pair = papers.clients.get(serves, papers.server)
    tls = None if serves == "no TLS" else ServerTls(*pair, papers.ca if serves == "mutual" else None)
    client = {
        "nobody's TLS": None,
        "authority": papers.client(ca=papers.other_ca),
        "name": ClientTls(papers.ca, server_name="switch.example"),
    }.get(connects, papers.client(connects))
    with serving(tls) as server:
        with pytest.raises(DeviceError, match=problem) as found:
            opened(server, client)
        assert found.value.hint, "it says what to do"
        with pytest.raises(DeviceError, match=problem):
            RemoteQueues(server.address, tls=client).states()


@needs_openssl
def test_tls_on_a_unix_socket_expects_a_certificate_for_localhost(papers: Papers, tmp_path: Path) -> None:
    with Server(Switch(), f"unix:{tmp_path / 's'}", tls=ServerTls(*papers.server)) as server:
        with opened(server, papers.client()) as session:
            assert session.is_primary
        with pytest.raises(DeviceError, match=r"is not for the name switch\.example"):
            opened(server, ClientTls(papers.ca, server_name="switch.example"))


@needs_openssl
def test_wrong_files_are_reported_before_any_connection(papers: Papers, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    (certificate, _), (_, key) = papers.clients["alice"], papers.clients["bob"]
    with pytest.raises(DeviceError, match=r"TLS: .*junk.pem is not the certificate of an authority"):
        Session("127.0.0.1:1", tls=ClientTls(junk))
    with pytest.raises(DeviceError, match=r"TLS: .*alice.pem and .*bob.key are not a certificate and its key"):
        Session("127.0.0.1:1", tls=ClientTls(papers.ca, certificate, key))
    with pytest.raises(DeviceError, match=r"TLS: .*alice.pem and .*bob.key are not a certificate and its key"):
        Server(Switch(), tls=ServerTls(certificate, key))
    with pytest.raises(DeviceError, match=r"TLS: .*junk.pem is not the certificate of an authority"):
        Server(Switch(), tls=ServerTls(*papers.server, junk))


def test_a_switch_that_is_down_is_no_matter_of_tls() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(DeviceError, match="no P4Runtime server answers"):
            Session(address, timeout=10.0)


@needs_openssl
@pytest.mark.parametrize(("name", "welcome"), [("alice", True), ("", False), ("mallory", False)])
def test_clients_need_a_certificate_of_the_authority(papers: Papers, name: str, welcome: bool) -> None:
    with serving(ServerTls(*papers.server, papers.ca)) as server:
        if welcome:
            with opened(server, papers.client(name)) as session:
                assert session.is_primary
        else:
            with pytest.raises(DeviceError):
                Session(server.address, tls=papers.client(name), timeout=3.0)


@needs_openssl
def test_a_certificate_permits_only_its_roles(papers: Papers) -> None:
    roles = {"alice": frozenset({"", "ops"}), "bob": frozenset({"tenant"})}
    with serving(ServerTls(*papers.server, papers.ca, roles)) as server:
        with (
            opened(server, papers.client("alice")) as alice,
            opened(server, papers.client("alice"), "ops") as ops,
            opened(server, papers.client("bob"), "tenant") as bob,
        ):
            for each in (alice, ops, bob):
                each.write_register("totals", 1, 1)
            # Bob knows everything about Alice's session except her key.
            bob.role, bob.election_id = "", alice.election_id
            with pytest.raises(RequestError, match="does not permit role ''") as refused:
                bob.write_register("totals", 2, 1)
            assert refused.value.code.name == "PERMISSION_DENIED"
            with pytest.raises(RequestError, match="does not permit role ''"):
                bob.load(bob.p4info, EVERYTHING)
            assert alice.read_register("totals", 1) == 1
        for name, role in (("bob", ""), ("bob", "ops"), ("alice", "tenant"), ("carol", ""), ("carol", "tenant")):
            with pytest.raises(RequestError, match="does not permit role"):
                opened(server, papers.client(name), role)


def test_missing_files_are_reported(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"none\.pem: No such file"):
        Server(Switch(), tls=ServerTls(tmp_path / "none.pem", tmp_path / "none.pem"))
    with pytest.raises(DeviceError, match=r"none\.pem: No such file"):
        Session("127.0.0.1:1", tls=ClientTls(tmp_path / "none.pem"))
    with pytest.raises(DeviceError, match="the authority that signs them"):
        ServerTls(tmp_path, tmp_path, roles={"alice": frozenset({""})})


def test_only_the_owner_can_use_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "p4runtime"
    with Server(Switch(), f"unix:{path}") as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with Session(server.address) as session:
            assert session.is_primary


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:9559", True), ("127.8.9.10:1", True), ("[::1]:9559", True), ("localhost:1", True),
        ("unix:/tmp/x", True), ("unix-abstract:x", True), ("0.0.0.0:9559", False), ("[::]:9559", False),
        ("10.0.0.1:9559", False), ("192.168.1.1:1", False), ("switch.example:9559", False),
        ("127.0.0.1.example:1", False),
    ],
)  # fmt: skip
def test_addresses_that_other_machines_can_reach(address: str, local: bool) -> None:
    assert is_local(address) is local
