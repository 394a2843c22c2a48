"""TLS and mutual TLS, roles by certificate, and access to unix sockets."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from midflight.errors import DeviceError
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
@pytest.mark.parametrize("who", ["no TLS", "another authority's word", "TLS to a server without"])
def test_peers_without_mutual_trust_do_not_connect(papers: Papers, who: str) -> None:
    tls = None if who == "TLS to a server without" else ServerTls(*papers.server)
    client = {"no TLS": None, "another authority's word": papers.client(ca=papers.other_ca)}.get(who, papers.client())
    with serving(tls) as server, pytest.raises(DeviceError, match=r"no P4Runtime server answers|did not answer"):
        Session(server.address, tls=client, timeout=3.0)


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
