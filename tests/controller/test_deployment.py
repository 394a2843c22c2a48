"""Deployments on running switches: failures and restarts of the controller and of switches."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.controller.deployment import Deployment
from midflight.runtime.controller.network import parse_network
from midflight.runtime.controller.sources import ProgramSource
from midflight.runtime.controller.store import Store
from midflight.runtime.p4runtime.client.session import RequestError
from midflight.runtime.p4runtime.status import Code
from tests.controller.lab import APP2, NETWORK, Lab, admit_all


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with closing(Lab(tmp_path)) as made:
        yield made


def writes(deployment: Deployment) -> dict[str, int]:
    return {name: sum(each.values()) for name, each in deployment.metrics.counts.items()}


def test_a_restarted_controller_writes_nothing_if_nothing_differs(lab: Lab) -> None:
    with lab.deployed() as (deployment, events):
        admit_all(lab, deployment)
        assert events.kinds() == ["deployed"]
        job, epoch = deployment.controller.jobs.jobs["sums"], deployment.controller.fleet.epoch
    with lab.deployed() as (deployment, events):
        assert events.kinds() == ["resumed", "switch-adopted", "switch-adopted"]
        assert writes(deployment) == {"s1": 0, "s2": 0}
        controller = deployment.controller
        now = controller.jobs.jobs["sums"]
        assert (now.number, now.hosts, now.server) == (job.number, job.hosts, job.server)
        assert now.receivers == job.receivers
        assert controller.fleet.epoch == epoch
        assert controller.steering["s2"].admitted[3].rate == 500
        assert dict(controller.map("store", "cached", "s1"))[7] == 1
        controller.limit("hot", 0)
        assert writes(deployment)["s2"] > 0


def test_only_differences_are_repaired_and_entries_of_others_remain(lab: Lab) -> None:
    with lab.deployed() as (deployment, _):
        admit_all(lab, deployment)
    with lab.devices["s1"].session() as other:
        other.delete("ingress.route", {"hdr.ipv4.destination": "10.0.0.3/32"})
        other.insert("ingress.route", {"hdr.ipv4.destination": "10.9.0.0/16"}, "ingress.unreachable", {})
    with lab.deployed() as (_, events):
        repaired = events.wait("switch-repaired", "s1")
        assert (repaired.details["missing"], repaired.details["foreign"]) == (1, 1)
        assert events.kinds("s2") == ["switch-adopted"]
    with lab.devices["s1"].session() as other:
        there = [each.match["hdr.ipv4.destination"] for each in other.read_table("ingress.route")]
    assert len(there) == 4
    assert (0x0A09_0000, 16) in there


def test_an_interrupted_change_is_rolled_back(lab: Lab) -> None:
    with lab.deployed() as (deployment, _):
        controller = deployment.controller
        controller.fleet.changed = lambda: (_ for _ in ()).throw(KeyboardInterrupt)  # as if killed before it is saved
        with pytest.raises(KeyboardInterrupt):
            controller.admit("hot", [lab.network.host("h3")], switch="s2")
    with lab.deployed() as (_, events):
        assert events.wait("switch-repaired", "s2").details["stale"] == 4  # entry, group, receiver and alerts
    with lab.devices["s2"].session() as session:
        assert session.read_table("ingress.admission") == []


def test_an_empty_restarted_switch_is_restored(lab: Lab) -> None:
    with lab.deployed() as (deployment, events):
        admit_all(lab, deployment)
        controller = deployment.controller
        epoch, admitted = controller.fleet.epoch, controller.steering["s1"].admitted[1]
        lab.devices["s1"].close()
        events.wait("switch-lost", "s1")
        assert not controller.switches["s1"].on
        controller.admit("store", switch="s1")  # which is applied when the switch is back
        lab.devices["s1"] = lab.start("s1")
        restored = events.wait("switch-restored", "s1")
        assert restored.details["epoch"] == epoch + 1
        now = controller.steering["s1"].admitted
        assert now[1].members == admitted.members
        assert (now[1].epoch, {*now}) == (epoch + 1, {1, 2})
        assert controller.steering["s2"].admitted[3].epoch == epoch + 1
        assert dict(controller.map("store", "cached", "s1"))[7] == 1


def test_the_controller_waits_for_a_switch_that_is_down_at_its_start(lab: Lab) -> None:
    with lab.deployed() as (deployment, _):
        admit_all(lab, deployment)
    lab.devices["s2"].close()
    with lab.deployed() as (deployment, events):
        assert events.kinds("s2")[0] == "switch-absent"
        assert events.kinds("s1") == ["switch-adopted"]
        deployment.controller.withdraw("hot", "s2")
        lab.devices["s2"] = lab.start("s2")
        events.wait("switch-restored", "s2")
        assert deployment.controller.steering["s2"].admitted == {}


def test_a_switch_without_a_kind_is_asked_for_its_capabilities(lab: Lab) -> None:
    lab.network = parse_network(NETWORK.replace("FOLDER", str(lab.folder)).replace(", kind: host", ""))
    with lab.deployed() as (deployment, _):
        admit_all(lab, deployment)
        assert [each.sheet.kind for each in deployment.controller.switches.values()] == ["grpc, midflight"] * 2
    with lab.deployed() as (_, events):
        assert events.kinds() == ["resumed", "switch-adopted", "switch-adopted"]


def test_a_hanging_switch_does_not_delay_others(lab: Lab) -> None:
    with lab.deployed() as (deployment, events):
        lab.devices["s1"].close()
        events.wait("switch-lost", "s1")
        with socket.socket(socket.AF_UNIX) as mute:  # it accepts connections, but never answers
            (lab.folder / "s1").unlink(missing_ok=True)
            mute.bind(str(lab.folder / "s1"))
            mute.listen()
            mute.accept()[0].close()  # the monitor has connected
            lab.devices["s2"].close()
            events.wait("switch-lost", "s2")
            lab.devices["s2"] = lab.start("s2")
            events.wait("switch-restored", "s2")
            assert deployment.controller.switches["s2"].on
        (lab.folder / "s1").unlink()


def test_the_first_deployment_needs_all_switches(lab: Lab) -> None:
    lab.devices["s2"].close()
    with pytest.raises(DeviceError, match="no P4Runtime server answers"), lab.deployed():
        pass
    with Store(lab.folder) as store:
        assert store.desired is None


def test_a_later_controller_outbids_an_earlier_one_permanently(lab: Lab) -> None:
    with lab.deployed() as (old, _):
        admit_all(lab, old)
        old.monitor.close()  # so the old controller does not notice
        left = old.controller.switches["s1"].session
        with lab.deployed() as (new, _):
            assert writes(new)["s1"] == 0
            with pytest.raises(RequestError) as caught:
                left.multicast(1, [1])
            assert caught.value.code == Code.PERMISSION_DENIED
            assert not left.is_primary
            assert new.controller.switches["s1"].session.is_primary


def test_a_controller_that_is_outbid_continues_without_the_switch(lab: Lab) -> None:
    with lab.deployed() as (deployment, events):
        with lab.devices["s1"].session(election_id=99):
            assert "another controller has become the primary" in events.wait("switch-lost", "s1").message
            before = writes(deployment)["s1"]
            deployment.controller.admit("store", switch="s1")
            assert writes(deployment)["s1"] == before
        assert events.wait("switch-repaired", "s1").details["missing"] == 2  # entry and alerts


def test_a_foreign_primary_is_not_outbid_until_it_disconnects(lab: Lab) -> None:
    with lab.deployed() as (deployment, _):
        admit_all(lab, deployment)
    with lab.devices["s1"].session(election_id=1000) as other, lab.deployed() as (deployment, events):
        assert "with election id 1000" in events.wait("switch-absent", "s1").message
        assert other.is_primary
        assert events.kinds("s2") == ["switch-adopted"]
        other.close()
        events.wait("switch-adopted", "s1")
        assert deployment.controller.switches["s1"].session.election_id > 1000


def test_a_foreign_role_is_not_taken_over(lab: Lab) -> None:
    with lab.devices["s1"].session(role="theirs", election_id=7) as other, lab.deployed() as (deployment, _):
        admit_all(lab, deployment)
        other.insert("ingress.route", {"hdr.ipv4.destination": "10.9.0.0/16"}, "ingress.unreachable", {})
        deployment.controller.recovery.rearrange()
        assert other.is_primary
        assert len(other.read_table("ingress.route")) == 4


def test_a_restarted_controller_resumes_the_changed_program(lab: Lab) -> None:
    with lab.deployed() as (deployment, _):
        admit_all(lab, deployment)
        app2 = lab.folder / "app2.py"
        app2.write_text(APP2)
        deployment.change(ProgramSource.read(app2))
        assert [each.id for each in deployment.controller.program.applications.values()] == [1, 5, 3, 4]
        app2.write_text("what the file says later is of no account")
    with lab.deployed() as (deployment, events):
        assert events.kinds() == ["resumed", "switch-adopted", "switch-adopted"]
        applications = deployment.controller.program.applications
        assert [each.id for each in applications.values()] == [1, 5, 3, 4]
        assert applications["hot"].primitive.parameters["above"] == 90
    lab.file.write_text(APP2)
    with lab.deployed() as (_, events):  # the running program is accepted as well as the first one
        assert events.kinds()[0] == "resumed"
    lab.file.write_text(APP2.replace("above=90", "above=91"))
    with pytest.raises(MidflightError, match="differs from the deployed program"), lab.deployed():
        pass


def test_undeploying_leaves_forwarding_switches_and_no_saved_state(lab: Lab) -> None:
    with lab.deployed() as (deployment, events):
        admit_all(lab, deployment)
        lab.devices["s2"].close()
        events.wait("switch-lost", "s2")
        assert deployment.withdraw_all() == ["s2"]
        assert deployment.withdraw_all() == []
        assert deployment.ended.is_set()
    with lab.devices["s1"].session() as session:
        assert session.read_table("ingress.admission") == []
        assert len(session.read_table("ingress.route")) == 3
    with pytest.raises(MidflightError, match="nothing is deployed"), lab.deployed(again=True):
        pass


def test_hosts_and_switches_that_the_network_no_longer_has_are_named(lab: Lab) -> None:
    with lab.deployed() as (deployment, _):
        admit_all(lab, deployment)
    text = NETWORK.replace("FOLDER", str(lab.folder)).replace("h2:", "h9:").replace("10.0.0.2", "10.0.0.9")
    lab.network = parse_network(text)
    with pytest.raises(MidflightError, match="the saved state names host h2"), lab.deployed():
        pass
