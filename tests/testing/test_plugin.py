"""The pytest plugin in projects of users, which have no conftest."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from midflight.runtime.engine.bpf.syscall import unavailable
from tests.bmv2 import BMV2
from tests.testing.projects import project, run

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]

EVERYTHING = """\
def test_forwarding(p4_switch):
    switch = router(p4_switch)
    sent = switch.send(1, packet())
    assert [(each.port, each["ipv4.ttl"]) for each in sent] == [(2, 63)]
    switch.expect(2, packet(ttl=63, mac="02:00:00:00:00:05"))
    switch.expect_nothing()

def test_expectations(p4_switch):
    switch = router(p4_switch)
    switch.send(1, packet(), count=3)
    switch.expect(2, packet(mac="02:00:00:00:00:05"), ignore=["ipv4.ttl"])
    got = switch.expect(2, "0200 0000 0005 ************ 0800" + "**" * 25)
    assert got["ipv4.dst"] == 0x0a000202
    switch.expect(2, ipv4__ttl=63, ethernet__dst=0x020000000005)
    switch.send(1, packet(dst="10.9.9.9"))
    switch.expect_nothing()

def test_state(p4_switch):
    switch = router(p4_switch)
    switch.send(1, packet(), count=2)
    assert switch.counter("arrivals", 1).packets == 2
    assert [each.values for each in switch.digests()] == [{"dst": 0x0a000202}] * 2
    (entry,) = switch.table("routes")
    assert entry.match == {"hdr.ipv4.dst": (0x0a000200, 24)}
    switch.delete("routes", {"hdr.ipv4.dst": "10.0.2.0/24"})
    switch.default("routes", "punt")
    switch.send(1, packet())
    assert [each.metadata for each in switch.packet_ins()] == [{"port": 1}]
    switch.packet_out(b"some bytes, of which the first are an Ethernet header", port=3)
    switch.expect(3, b"some bytes, of which the first are an Ethernet header")

@pytest.mark.midflight_device("host", "xdp")
def test_registers(p4_switch):
    switch = router(p4_switch)
    switch.send(1, packet())
    assert switch.register("last", 1) == 0x0a000202

def test_entries(p4_switch, midflight_device):
    with open("commands.txt", "w") as file:
        file.write("table_add routes forward 10.0.3.0/24 => 02:00:00:00:00:07 3")
    switch = p4_switch("router.p4", entries="commands.txt")
    switch.send(1, packet(dst="10.0.3.1"))
    switch.expect(3, ethernet__dst=0x020000000007)

def test_own_controller(p4_switch):
    from midflight.runtime.p4runtime.client.session import Session
    switch = p4_switch("router.p4", controller=False)
    with Session(switch.address, switch.device.device_id) as mine:
        assert mine.is_primary
        mine.insert("routes", {"hdr.ipv4.dst": "10.0.2.0/24"}, "forward", {"mac": 5, "port": 4})
        switch.send(1, packet())
        switch.expect(4, ipv4__ttl=63)
"""


MORE = """\
import numpy as np
from midflight.primitives import Aggregate, Program, Threshold

def test_a_network(midflight_net):
    net = midflight_net(3, program=Program(Aggregate("sum", workers=2, lanes=4)))
    group = net.group("sum", net.hosts[:2])
    assert np.allclose(group.allreduce([np.ones(4), np.ones(4)])[0], 2)

def test_a_network_from_a_file(midflight_net):
    net = midflight_net("line.yaml", program=Program(Threshold("t", above=9, clear=5)))
    assert [each.name for each in net.hosts] == ["a", "b"]

def test_a_program_of_primitives(p4_switch):
    switch = p4_switch(Program(Threshold("t", above=9, clear=5)))
    switch.send(1, packet())
    switch.expect_nothing()

def test_the_session_compiles_each_program_once(p4_switch, midflight_openings):
    router(p4_switch)
    router(p4_switch)
    (program,) = [each for each in midflight_openings._checked.values() if each.file.endswith("router.p4")]
    assert program is midflight_openings._programs.get(program.text, program.file)
"""


def test_the_package_has_the_entry_point() -> None:
    project_of = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project_of["entry-points"]["pytest11"] == {"midflight": "midflight.testing.plugin"}


def test_a_project_without_conftest(pytester: pytest.Pytester) -> None:
    project(pytester, EVERYTHING + MORE)
    pytester.path.joinpath("line.yaml").write_text("hosts: [a, b]\nswitches: [s1]\nlinks: [[a, s1], [s1, b]]\n")
    run(pytester).assert_outcomes(passed=10)


@pytest.mark.parametrize("", [pytest.param(marks=BMV2)])
def test_bmv2(pytester: pytest.Pytester) -> None:
    project(pytester, EVERYTHING)
    done = run(pytester, "--midflight-device", "bmv2", "-rs")
    done.assert_outcomes(passed=5, skipped=1)
    done.stdout.fnmatch_lines(["*this test is for host, xdp, not for bmv2*"])


@pytest.mark.root
@pytest.mark.skipif(bool(unavailable()), reason=unavailable())
def test_xdp(pytester: pytest.Pytester) -> None:
    project(pytester, EVERYTHING)
    run(pytester, "--midflight-device=xdp").assert_outcomes(passed=6)


def test_a_missing_device_skips_with_the_reason(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDFLIGHT_P4C", "/nowhere/p4c")
    project(pytester, "def test_it(p4_switch): router(p4_switch)")
    pytester.makeini("[pytest]\nmidflight_device = host bmv2")
    done = run(pytester, "-v", "-rs")
    done.assert_outcomes(passed=1, skipped=1)
    done.stdout.fnmatch_lines(
        [
            "*::test_it[[]host[]] PASSED*",
            "*::test_it[[]bmv2[]] SKIPPED*",
            "*no bmv2 here: MIDFLIGHT_P4C is /nowhere/p4c*",
        ]
    )


def test_an_unknown_device_is_a_usage_error(pytester: pytest.Pytester) -> None:
    project(pytester, "def test_it(p4_switch): router(p4_switch)")
    done = run(pytester, "--midflight-device=tofino")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*there is no device 'tofino'*"])


FAILING = """\
def sent(p4_switch):
    switch = router(p4_switch)
    switch.send(1, packet())
    return switch

def test_difference(p4_switch):
    sent(p4_switch).expect(2, packet(dst="10.0.2.3", ttl=60, mac="02:00:00:00:00:05")[:-1] + b"!!")

def test_none(p4_switch):
    sent(p4_switch).expect(3)

def test_other(p4_switch):
    sent(p4_switch).expect_nothing()

def test_field(p4_switch):
    sent(p4_switch).expect(2, ipv4__ttl=64)

def test_name(p4_switch):
    sent(p4_switch).expect(2, packet(), ignore=["ipv4.hops"])

def test_mistake(p4_switch):
    p4_switch("wrong.p4")

def test_file(p4_switch):
    p4_switch("none.p4")
"""


def test_failures_say_what_differs_field_by_field_with_the_trace(pytester: pytest.Pytester) -> None:
    project(pytester, FAILING)
    pytester.path.joinpath("wrong.p4").write_text("control c() { apply { x = 1; } }")
    done = run(pytester)
    done.assert_outcomes(failed=7)
    done.stdout.fnmatch_lines(
        [
            "E * port 2: the packet differs",
            "E * the packet has 39 bytes, must have 40",
            "E * ipv4.ttl is 63 (0x3f), must be 60 (0x3c)",
            "E * ipv4.dst is 10.0.2.2, must be 10.0.2.3",
            "E * byte 38 is 6f, must be 21",
            "E * trace of the last packets:",
            "E * in by port 1, 39 bytes, at * us",
            "E * table * ingress.routes: hit, ingress.forward*",
            "E * out * by port 2, 39 bytes",
            "E * port 3: a packet must leave, but none did",
            "E * left by port 2: 39 bytes, 02000000 0005*",
            "E * no other packet must leave",
            "E * ipv4.ttl is 63, must be 64",
            "E * the expected packet has no field 'ipv4.hops'",
            "E * *wrong.p4:1:23: *",
            "E * there is no file none.p4",
        ]
    )


@pytest.mark.parametrize("", [pytest.param(marks=BMV2)])
def test_an_interrupt_closes_everything(pytester: pytest.Pytester) -> None:
    project(
        pytester,
        "import os, signal\nfrom pathlib import Path\n"
        "def test_it(p4_switch):\n"
        "    switch = router(p4_switch, device='bmv2')\n"
        "    Path('process').write_text(f'{switch.device.pid} {switch.device.folder}')\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "def test_never(p4_switch): Path('never').touch()\n",
    )
    done = run(pytester)
    assert done.ret == pytest.ExitCode.INTERRUPTED
    number, folder = pytester.path.joinpath("process").read_text().split()
    with pytest.raises(ProcessLookupError):
        os.kill(int(number), 0)
    assert not Path(folder).exists()
    assert not pytester.path.joinpath("never").exists()
