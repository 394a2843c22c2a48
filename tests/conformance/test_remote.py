"""Remote devices, which are reached only by P4Runtime, or also by interfaces that are connected to their ports."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from midflight.cli.root import midflight
from midflight.errors import DeviceError, MidflightError, P4Error
from midflight.p4.frontend import check as checked
from midflight.primitives import Program, Threshold
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.bmv2 import Bmv2Device
from midflight.runtime.devices.host import HostDevice
from midflight.runtime.devices.hostprocess import HostProcessDevice
from midflight.runtime.devices.registry import open_device
from midflight.runtime.devices.remote import RemoteDevice
from midflight.runtime.devices.toolchain import P4C
from midflight.runtime.p4runtime.client.session import DigestMessage, Session
from midflight.testbed.conformance.case import Case
from midflight.testbed.conformance.mutants import mutants
from midflight.testbed.conformance.player import Player
from midflight.testbed.conformance.reached import ReachedDevice
from midflight.testbed.conformance.run import Report, cases, check, opening
from midflight.testbed.conformance.tap import tapped
from tests.bmv2 import BMV2, ROOT
from tests.ports.lab import Lab

WRITTEN = list(cases(count=0))
NOTHING = r"no packet came from port \d to port 1"
PORTS = {port: f"s{port}" for port in range(1, 5)}
FAR_ENDS = {port: f"h{port}" for port in PORTS}


def differences(report: Report) -> list[object]:
    return [(each.case.name, each.differences) for each in report.results if not each.good]


def fitting() -> list[Case]:
    """Return the written cases without packets that no Ethernet interface can send."""
    return [case for case in WRITTEN if all(len(each.packet) >= 14 for each in case.steps)]


@pytest.fixture
def switch() -> Iterator[HostDevice]:
    """A running switch with an arbitrary program."""
    with HostDevice(Program(Threshold("other", above=2, clear=1)).p4()) as device:
        yield device


def test_every_case_passes_on_a_remote_switch(switch: HostDevice) -> None:
    report = check(f"grpc:{switch.address}", WRITTEN)
    assert differences(report) == []
    assert report.server == "P4Runtime 1.5.0, midflight"
    assert {each for result in report.results for each in result.unasked} == {
        "packets at its ports: without interfaces, a tap in the programs sends them to the controller"
    }


def test_late_alerts_are_waited_for(switch: HostDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    there_at_once = Session.digests

    def late(session: Session, timeout: float = 0.0) -> list[DigestMessage]:
        return there_at_once(session, timeout) if timeout > 1 else []

    monkeypatch.setattr(Session, "digests", late)
    alerting = next(each for each in WRITTEN if len(each.alerts) > 1)
    with ReachedDevice(RemoteDevice(address=switch.address)) as device, Player(device, alerting) as player:
        assert player.play(alerting).differences == ()


@pytest.mark.parametrize("name", ["copies-undelivered", "duplicate-multicast", "epoch-forgotten"])
def test_broken_programs_are_detected_on_a_remote_switch(switch: HostDevice, name: str) -> None:
    mutant = next(each for each in mutants() if each.name == name)
    tests = [each for each in WRITTEN if each.parameters == mutant.parameters and each.primitive == mutant.primitive]
    with ReachedDevice(RemoteDevice(address=switch.address)) as device:
        with Player(device, tests[0], mutant.apply(tests[0].program().p4())) as player:
            assert not all(player.play(each).passed for each in tests)
        with Player(device, tests[0]) as player:
            assert all(player.play(each).passed for each in tests)


def test_a_switch_that_does_not_forward_is_reported(switch: HostDevice) -> None:
    case = WRITTEN[0]
    p4 = case.program().p4()
    apply = "\n        if (hdr.packet_out.isValid()) {\n"
    assert apply in p4
    deaf = p4.replace(apply, f"\n        if (standard_metadata.ingress_port == 510) {{ return; }}{apply}")
    with (
        ReachedDevice(RemoteDevice(address=switch.address), timeout=0.2) as device,
        Player(device, case, deaf) as player,
        pytest.raises(DeviceError, match=NOTHING),
    ):
        player.play(case)


def test_the_command(switch: HostDevice) -> None:
    arguments = ["conformance", "--device", f"grpc:{switch.address}", "--primitive", "Filter", "--cases", "1"]
    done = CliRunner().invoke(midflight, [*arguments, "--json", "-"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["versions"][f"grpc:{switch.address}"]["server"] == "P4Runtime 1.5.0, midflight"
    (reason,) = document["matrix"]["Filter"][f"grpc:{switch.address}"]["unasked"]
    assert reason.startswith("packets at its ports")


def test_a_custom_compiler(switch: HostDevice, tmp_path: Path) -> None:
    script = tmp_path / "compile.py"
    script.write_text(
        "import shutil, sys\n"
        "from midflight.p4.frontend import check\n"
        "from midflight.p4.p4info import p4info\n"
        "p4, info, config = sys.argv[1:]\n"
        "open(info, 'w').write(str(p4info(check(open(p4).read()))))\n"
        "shutil.copy(p4, config)\n"
    )
    command = f"{sys.executable} {script} {{p4}} {{p4info}} {{config}}"
    with RemoteDevice(address=switch.address, compiler=command) as device:
        device.load(WRITTEN[0].program().p4())
    assert switch.switch.pipeline is not None
    assert "ingress.app.held" in {each.preamble.name for each in switch.switch.pipeline.config.p4info.registers}
    broken = f"{sys.executable} -c 1/0 {{p4}} {{p4info}} {{config}}"
    with pytest.raises(P4Error, match=r"rejects lab\.p4") as refused:
        RemoteDevice(address=switch.address, compiler=broken).compile(CheckedProgram("", "lab.p4"))
    assert "ZeroDivisionError" in refused.value.hint
    with pytest.raises(DeviceError, match="is not a command line: No closing quotation"):
        RemoteDevice(address=switch.address, compiler="cc '{p4} {p4info} {config}")


def test_mistakes() -> None:
    for arguments, message in (
        (["--device", "grpc"], "no device 'grpc'"),
        (["--device", "tofino"], "no device 'tofino'"),
        (["--device", "host", "-i", "1@lo"], "a host device is started here"),
        (["--device", "grpc:127.0.0.1:1", "-i", "veth0"], "'veth0' is not a port"),
        (["--device", "grpc:127.0.0.1:1", "--compiler", "gcc"], "'gcc' is not a compiler"),
        (["--device", "grpc:127.0.0.1:1"], "no P4Runtime server answers at 127.0.0.1:1"),
    ):
        done = CliRunner().invoke(midflight, ["conformance", "--primitive", "Filter", "--cases", "0", *arguments])
        reported = str(done.exception) + done.output
        assert done.exit_code == 1, reported
        assert message in reported, reported


def test_missing_ports_are_reported(switch: HostDevice) -> None:
    with pytest.raises(DeviceError, match="an interface for each of ports 1 to 4"):
        opening(f"grpc:{switch.address}", interfaces={1: "lo"})()


def test_a_program_without_a_place_for_a_tap_is_rejected() -> None:
    with pytest.raises(MidflightError, match="no place for a tap"):
        tapped("control ingress() {}")


def test_a_tapped_program_is_valid_p4() -> None:
    for case in WRITTEN:
        assert checked(tapped(case.program().p4()))


class TestInterfaces:
    pytestmark = ROOT

    def test_every_case_passes_through_interfaces(self) -> None:
        with Lab(4) as lab, HostProcessDevice(interfaces=PORTS, netns=lab.netns) as switch:
            start = opening(f"grpc:{switch.address}", interfaces=FAR_ENDS)
            report = check("lab", fitting(), start=partial(lab.inside, start))
            assert differences(report) == []
            assert not any(each.unasked for each in report.results)

    def test_an_unconnected_interface_is_reported(self, switch: HostDevice) -> None:
        with Lab(4) as lab:
            make = partial(ReachedDevice, RemoteDevice(address=switch.address), FAR_ENDS, timeout=0.2)
            with (
                lab.inside(make) as device,
                Player(device, WRITTEN[0]) as player,
                pytest.raises(DeviceError, match=NOTHING),
            ):
                player.play(WRITTEN[0])
            with pytest.raises(DeviceError, match="there is no interface h9"):
                lab.inside(partial(ReachedDevice, RemoteDevice(address=switch.address), {**FAR_ENDS, 4: "h9"}))


class TestBmv2:
    pytestmark = BMV2

    def test_every_case_passes_on_a_remote_bmv2(self) -> None:
        with Bmv2Device(cpu_port=510) as switch:
            report = check(f"grpc:{switch.address}", WRITTEN)
            assert differences(report) == []
            assert "registers" not in str([each.unasked for each in report.results])  # they are read in-band

    @ROOT[0]
    @ROOT[1]
    def test_every_case_passes_through_interfaces(self) -> None:
        with Lab(4) as lab, Bmv2Device(interfaces=PORTS, netns=lab.netns, cpu_port=510) as switch:
            start = opening(f"grpc:{switch.address}", interfaces=FAR_ENDS)
            report = check("lab", fitting(), start=partial(lab.inside, start))
            assert differences(report) == []

    def test_p4c_accepts_every_tapped_program(self) -> None:
        assert P4C.find()
        with Bmv2Device() as switch, RemoteDevice(address=switch.address) as device:
            assert device.compiler == "p4c"
            assert device.capabilities.registers_over_p4runtime  # not known yet
            device.load(WRITTEN[0].program().p4())
            assert not device.capabilities.registers_over_p4runtime
            assert device.capabilities.multicast
            for text in dict.fromkeys(case.program().p4() for case in WRITTEN):
                assert device.compile(CheckedProgram(tapped(text))).config


def test_a_remote_device_is_opened_by_name(switch: HostDevice) -> None:
    with open_device(f"grpc:{switch.address}") as device, device.session() as session:
        assert device.capabilities.kind == "grpc"
        assert session.is_primary
