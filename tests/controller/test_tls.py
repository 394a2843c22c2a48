"""Deployments whose switches require mutual TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from midflight.cli.userfile import load_program
from midflight.errors import DeviceError
from midflight.runtime.controller.deployment import Deployment
from midflight.runtime.controller.network import load_network
from midflight.runtime.controller.sources import ProgramSource
from midflight.runtime.controller.store import Store
from midflight.runtime.p4runtime.server.server import Server
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.runtime.p4runtime.tls import ServerTls
from tests.controller.lab import APP
from tests.papers import Papers, needs_openssl

NETWORK = """\
switches:
  s1: {{address: "{one}"}}
  s2: {{address: "{two}", kind: host}}
hosts:
  h1: {{address: 10.0.0.1, mac: "02:00:00:00:00:01", port: "s1:1"}}
  h2: {{address: 10.0.0.2, mac: "02:00:00:00:00:02", port: "s2:2"}}
links: ["s1:3 s2:3"]
tls: {{authority: ours.pem, certificate: {who}.pem, key: {who}.key}}
"""


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path)


@pytest.fixture
def servers(papers: Papers) -> Iterator[list[Server]]:
    tls = ServerTls(*papers.server, client_ca=papers.ca)
    with ExitStack() as stack:
        yield [stack.enter_context(Server(Switch(), tls=tls)) for _ in range(2)]


def deployment(folder: Path, servers: list[Server], who: str, store: Store) -> Deployment:
    file, app = folder / "network.yaml", folder / "app.py"
    file.write_text(NETWORK.format(one=servers[0].address, two=servers[1].address, who=who))
    app.write_text(APP)
    return Deployment(load_network(file), store, load_program, ProgramSource.read(app))


@needs_openssl
def test_a_deployment_speaks_tls_with_every_switch(tmp_path: Path, servers: list[Server]) -> None:
    with Store(tmp_path) as store, deployment(tmp_path, servers, "alice", store) as made:
        made.controller.admit("hot", switch="s1")
        assert all(made.controller.state("hot", "s1").armed.read())


@needs_openssl
def test_a_switch_takes_no_controller_of_another_authority(tmp_path: Path, servers: list[Server]) -> None:
    with Store(tmp_path) as store, pytest.raises(DeviceError, match="does not accept the client"):
        deployment(tmp_path, servers, "mallory", store)
