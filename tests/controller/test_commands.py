"""The commands of a running controller on the command line."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from midflight.cli.deploy import _stopping as stopping
from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Message, Schema
from midflight.primitives.wire import REQUEST, UDP_PORT
from midflight.runtime.controller.controller import Controller
from midflight.runtime.controller.deployment import Deployment
from midflight.runtime.controller.service.client import CommandClient
from midflight.runtime.controller.service.commands import Commands
from midflight.runtime.endpoint.frames import UdpFlow
from midflight.runtime.endpoint.ticket import worker_from_ticket
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import Session
from tests.cli.run import midflight
from tests.controller.lab import APP2, NETWORK, Lab
from tests.controller.processes import Process, processes
from tests.controller.running import Running, commands_of


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    tmp_path.chmod(0o700)
    with closing(Lab(tmp_path)) as made:
        yield made


@pytest.fixture
def running(lab: Lab) -> Iterator[Running]:
    with commands_of(lab) as made:
        yield made


def test_tickets_contain_everything_that_a_worker_needs(running: Running, tmp_path: Path) -> None:
    found = running.json("admit", "sums", "--hosts", "h1,h2", "--server", "h3", "--tickets", str(tmp_path / "t"))
    assert found["switches"] == ["s1"]
    first, second = found["tickets"]
    assert (first["host"], first["address"], second["worker"]) == ("h1", "10.0.0.1", 1)
    assert first["peers"] == [["10.0.0.1", 49153], ["10.0.0.2", 49153]]
    assert worker_from_ticket(first).job == 1
    assert json.loads((tmp_path / "t" / "ticket-h2.json").read_text()) == second
    assert first["token"] == second["token"] != 0
    assert stat.filemode((tmp_path / "t" / "ticket-h2.json").stat().st_mode) == "-rw-------"
    assert "to get the workers' tickets" in running.run("admit", "sums", "--hosts", "h2,h1", "--server", "h3").output
    job = running.json("status")["applications"][0]["job"]
    assert (job["number"], job["hosts"], job["server"], job["switches"]) == (2, ["h2", "h1"], "h3", ["s1"])
    assert "s1" in job["reason"]
    assert running.run("withdraw", "sums").output == "sums is only forwarded\n"
    assert running.json("status")["applications"][0]["job"] is None


def test_admissions_are_listed_and_withdrawn(running: Running) -> None:
    words = ("--hosts", "h3", "--switch", "s2", "--rate", "100")
    assert running.run("admit", "hot", *words).output == "hot is computed on s2\n"
    status = running.json("status")
    assert [each["computes"] for each in status["switches"]] == [[], ["hot"]]
    hot = status["applications"][2]
    assert hot["admissions"] == [{"switch": "s2", "hosts": ["h3"], "port": 49155}]
    assert (hot["rate"], hot["placements"]) == (100, {"s1": "has room", "s2": "has room"})
    assert [each["event"] for each in status["events"]] == ["deployed", "admitted"]
    text = running.run("status").output
    for words_ in ("s1", "hot", "s2: h3", "100/s", "admitted", "epoch 1", "on, election id 2"):
        assert words_ in text
    running.run("withdraw", "hot")
    assert running.json("status")["switches"][1]["computes"] == []
    refused = running.run("withdraw", "hot")
    assert (refused.exit_code, refused.output) == (1, "midflight: hot is not admitted\n")


def test_a_warning_names_switches_that_compute_on_the_same_requests(running: Running) -> None:
    assert running.json("admit", "hot", "--switch", "s1")["warnings"] == []
    assert running.json("admit", "hot", "--switch", "s2", "--hosts", "h3")["warnings"] == [
        "requests from h3 to h1 pass s2 and s1, which both compute on them"
    ]
    assert running.json("admit", "hot", "--switch", "s1", "--hosts", "h1,h2")["warnings"] == [], "h3 is behind port 3"
    again = running.run("admit", "hot", "--switch", "s1", "--hosts", "h1", "--senders", "h3")
    assert "warning: requests from h3 to h1 pass s1 and s2" in again.output
    running.run("admit", "store", "--switch", "s1")
    assert running.json("admit", "seen", "--switch", "s2")["warnings"] == [], "another application does not matter"


def test_an_ended_job_is_gone_from_the_switches_and_the_saved_state(running: Running) -> None:
    controller = running.deployment.controller
    running.run("admit", "sums", "--hosts", "h1,h2", "--server", "h3")
    with pytest.raises(MidflightError, match="s9 does not run sums"):
        controller.withdraw("sums", "s9")
    assert controller.steering["s1"].admitted.keys() == {1}
    controller.withdraw("sums")
    assert controller.jobs.jobs == {}
    assert controller.steering["s1"].admitted == {}
    saved = running.deployment.store.desired
    assert saved is not None
    assert saved["state"]["jobs"] == []
    controller.recovery.rearrange()
    assert controller.steering["s1"].admitted == {}, "a new epoch does not start it again"
    running.run("admit", "sums", "--hosts", "h1,h2", "--server", "h3")
    assert running.json("withdraw", "sums")["switches"] == ["s1"]


def test_a_job_has_ended_even_if_a_switch_refuses(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(application: int) -> None:
        raise DeviceError(f"s1 refuses to withdraw {application}")

    controller = running.deployment.controller
    running.run("admit", "sums", "--hosts", "h1,h2", "--server", "h3")
    monkeypatch.setattr(controller.steering["s1"], "withdraw", refuse)
    with pytest.raises(DeviceError, match="s1 refuses"):
        controller.withdraw("sums")
    saved = running.deployment.store.desired
    assert saved is not None
    assert saved["state"]["jobs"] == []


@pytest.mark.parametrize(
    ("wrong", "message"), [({"token": 1 << 64}, "a token must be 0 to"), ({"port": 70_000}, "UDP port must be 1 to")]
)
def test_an_invalid_admission_is_refused_also_while_the_switch_is_off(
    running: Running, wrong: dict[str, int], message: str
) -> None:
    controller = running.deployment.controller
    with controller.fleet.lock:
        controller.switches["s1"].lose("it is off")
        with pytest.raises(MidflightError, match=message):
            controller.admit("hot", [running.deployment.network.host("h1")], switch="s1", **wrong)  # type: ignore[arg-type]
    assert ("hot", "s1") not in controller.fleet.desired.admissions


def test_a_controller_needs_an_endpoint_for_each_switch(running: Running) -> None:
    with pytest.raises(MidflightError, match="not those of the graph's switches"):
        Controller(running.deployment.controller.program, [], running.deployment.network.graph)


def test_state_and_counters_come_from_the_switch(running: Running) -> None:
    running.run("admit", "hot", "--switch", "s1")
    frame = reading(running, 50)
    running.lab.devices["s1"].process(Packets.from_list([(1, frame), (1, frame[:20])]))
    found = running.json("counters", "hot")
    assert found["counters"] == [
        {"switch": "s1", "application": "hot", "port": "any", "packets": 1, "bytes": len(frame)}
    ]
    assert found["drops"]["s1"] == {"malformed": 1, "unroutable": 0}
    assert found["dropped"]["s1"] == {"sums": 0, "store": 0}
    assert found["refused"]["s1"] == {"not admitted": 0, "wrong token": 0, "no member": 0, "too fast": 0}
    armed = running.json("state", "hot", "--switch", "s1")["registers"]["armed"]
    assert armed == [0 if sensor == 3 else 1 for sensor in range(16)]
    assert "armed" in running.run("state", "hot", "--switch", "s1").output
    several = running.run("state", "hot")
    assert several.exit_code == 1
    assert "2 switches run hot" in several.output
    assert "s1 dropped 1 malformed, 0 unroutable" in running.run("counters").output
    assert running.run("counters", "cold").exit_code == 1
    metrics = scrape(running.deployment)
    for line in (
        'midflight_session{switch="s1"} 1.0',
        'midflight_admissions{switch="s1"} 1.0',
        'midflight_packets_total{application="hot",port="any",switch="s1"} 1.0',
        f'midflight_bytes_total{{application="hot",port="any",switch="s1"}} {float(len(frame))}',
        'midflight_drops_total{application="",reason="malformed",switch="s1"} 1.0',
        'midflight_events_total{event="admitted"} 1.0',
        "midflight_epoch 1.0",
    ):
        assert line in metrics
    assert re.search(r'midflight_writes_total{outcome="taken",switch="s1"} [1-9]', metrics)
    for request in ("Write", "Read", "Capabilities"):
        assert re.search(rf'midflight_request_seconds_count{{request="{request}",switch="s1"}} [1-9]', metrics)


def test_the_status_shows_requests_per_second(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    running.run("admit", "hot", "--switch", "s1")
    monkeypatch.setattr("midflight.runtime.controller.observe.rates._SHORTEST", 0)
    assert set(running.json("status")["applications"][2]["requests_per_second"]) <= {"s1"}
    running.lab.devices["s1"].process(Packets.from_list([(1, reading(running, 50))] * 5000))
    text = running.run("status").output
    assert re.search(r"s1: [1-9][\d,]*", text), text


def test_the_agent_of_a_switch_reads_free_slots_in_band(running: Running) -> None:
    running.run("admit", "hot", "--switch", "s1")
    running.lab.devices["s1"].process(Packets.from_list([(1, reading(running, 50))]))
    done = running.run("sma", "--service", "switch:hot", "--switch", "s1", "--count", "1")
    assert done.exit_code == 0, done.output
    assert "compute_slots_free 15" in done.output, "of 16 sensors, one is not armed"
    assert "service_comb 10, computing_comb 9, norm_fi 10" in done.output
    assert "cpu" not in done.output, "the load of this machine says nothing of the switch"
    with CommandClient(running.lab.folder) as client:
        found = client.call("resources", application="hot", switch="s1")
    assert (found["primitive"], found["snapshot"]["slots"], found["snapshot"]["used"]) == ("Threshold", 16, 1)
    assert found["snapshot"]["room"]["stages"] is None, "the embedded switch has no limit"


def reading(running: Running, value: int) -> bytes:
    """Return a frame from h1 to h3 with a reading of sensor 3."""
    network = running.lab.network
    flow = UdpFlow(
        source_mac=network.host("h1").mac,
        destination_mac=network.graph.node("s1").mac,
        source=network.host("h1").address,
        destination=network.host("h3").address,
        source_port=5000,
        destination_port=UDP_PORT,
    )
    schema = Schema(running.deployment.controller.program.schema())
    return flow.encode(schema.encode(Message(REQUEST, "hot", 1, {"sensor": 3, "value": value})))


def test_alerts_are_stored_and_followed(running: Running) -> None:
    running.run("admit", "hot", "--switch", "s1")
    device, heard = running.lab.devices["s1"], threading.Event()

    def follow() -> None:
        with CommandClient(running.lab.folder) as client:
            alert = next(client.follow("alerts", application="hot"))
        assert alert["values"] == {"sensor": 3, "value": 50}
        heard.set()

    follower = threading.Thread(target=follow)
    follower.start()
    while follower.is_alive():  # it receives only alerts that are raised after it started
        device.process(Packets.from_list([(1, reading(running, 50)), (1, reading(running, 1))]))
        follower.join(0.1)
    assert heard.is_set()
    reported = [json.loads(each) for each in running.run("alerts", "hot", "-n", "1", "--json").output.splitlines()]
    assert [(each["switch"], each["application"], each["values"]["value"]) for each in reported] == [("s1", "hot", 50)]
    assert "s1 hot: sensor=3, value=50" in running.run("alerts").output
    assert running.run("alerts", "cold").exit_code == 1
    assert running.run("alerts", "store").output == ""
    assert 'midflight_alerts_total{application="hot",switch="s1"}' in scrape(running.deployment)


def scrape(deployment: Deployment) -> str:
    """Return the metrics in Prometheus's text form."""
    port, close = deployment.metrics.serve(0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            return str(answer.read().decode())
    finally:
        close()


def test_metrics_report_a_switch_that_does_not_answer(running: Running) -> None:
    running.lab.devices["s2"].close()
    running.events.wait("switch-lost", "s2")
    assert 'midflight_session{switch="s2"} 0.0' in scrape(running.deployment)
    state = running.json("status")["switches"][1]
    assert (state["state"], state["computes"]) == ("off", [])
    assert state["reason"]
    assert f"s2 is off: {state['reason']}" in running.run("state", "hot", "--switch", "s2").output


def test_counters_leave_out_a_switch_that_hangs_after_one_short_request(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.run("admit", "hot", "--switch", "s2")
    asked: list[tuple[str, float | None]] = []
    answers = Session.read_cookie

    def read_cookie(session: Session, timeout: float | None = None) -> int | None:
        asked.append((session.address, timeout))
        if session.address.endswith("s2"):
            raise DeviceError(f"{session.address} did not answer within {timeout} s")
        return answers(session, timeout)

    monkeypatch.setattr(Session, "read_cookie", read_cookie)
    switches = running.json("counters")["drops"]
    assert [*switches] == ["s1"]
    assert {timeout for _, timeout in asked} == {3.0}


def test_a_change_loads_another_program_on_all_switches(running: Running) -> None:
    running.run("admit", "sums", "--hosts", "h1,h2", "--server", "h3")
    app2 = running.lab.folder / "app2.py"
    app2.write_text("program = 3")
    refused = running.run("change", str(app2))
    assert refused.exit_code == 1
    assert "there is no Program in" in refused.output
    app2.write_text(APP2)
    assert running.run("change", str(app2)).output == "the switches run sums, store, hot, seen\n"
    status = running.json("status")
    assert status["controller"]["program"] == str(app2)
    assert status["applications"][0]["job"]["switches"] == ["s1"]
    app2.write_text(APP2.replace("workers=2", "workers=3"))
    refused = running.run("change", str(app2))
    assert refused.exit_code == 1
    assert "sums has a group" in refused.output


def test_watching_the_status_ends_with_the_controller(running: Running) -> None:
    with CommandClient(running.lab.folder) as client:
        watched = client.follow("watch")
        assert next(watched)["controller"]["epoch"] == 1
        running.run("admit", "hot", "--switch", "s1")
        assert any(each["switches"][0]["computes"] == ["hot"] for each in watched)
        assert running.json("undeploy") == {"absent": []}
        assert all(watched)  # the loop ends with the controller
    lines = running.run("status", "--watch", "--json").output.splitlines()
    assert len(lines) == 1


def test_watching_yields_changes_only(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def follow(_: object) -> Iterator[None]:
        yield None  # a second without an event
        running.run("admit", "hot", "--switch", "s1")
        yield None
        yield None

    monkeypatch.setattr(running.deployment, "follow", follow)
    monkeypatch.setattr("midflight.runtime.controller.observe.rates._SHORTEST", 3600)
    found = list(Commands(running.deployment).watch({}, lambda: True))
    assert [each["switches"][0]["computes"] for each in found] == [[], ["hot"]]


def test_withdrawing_from_a_switch_that_does_not_compute_is_refused(running: Running) -> None:
    running.run("admit", "hot", "--switch", "s2")
    refused = running.run("withdraw", "hot", "--switch", "s1")
    assert refused.exit_code == 1
    assert "hot is not admitted on s1\n    it is admitted on s2" in refused.output
    assert running.run("withdraw", "hot", "--switch", "s2").output == "hot is only forwarded on s2\n"


def test_errors_are_reported_and_change_nothing(running: Running) -> None:
    before = running.json("status")["switches"]
    for words, message in (
        (("admit", "cold"), "the program has no application 'cold'"),
        (("admit", "sums", "--hosts", "h1,h9"), "there is no host named h9"),
        (("admit", "sums", "--hosts", "h1"), "sums sums over 2 workers; hosts passed: 1"),
        (("admit", "sums", "--hosts", "h1,h2", "--switch", "s1"), "sums is an Aggregate, which takes no switch"),
        (("admit", "hot", "--switch", "s1", "--server", "h3"), "hot takes no server"),
        (("admit", "hot", "--switch", "s1", "--hosts", "h1,h1", "--rate", "5"), "h1 is named twice"),
        (("admit", "hot", "--switch", "s1", "--senders", "h3,h3"), "h3 is named twice"),
        (("admit", "hot"), "2 switches run hot"),
        (("change", "nowhere.py"), "does not exist"),
    ):
        result = running.run(*words)
        assert result.exit_code in (1, 2)
        assert message in result.output
    assert running.json("status")["switches"] == before


@pytest.fixture
def deploy(lab: Lab) -> Iterator[Callable[..., Process]]:
    with processes(lab) as start:
        yield start


def test_a_controller_ends_with_the_requested_behaviour(lab: Lab, deploy: Callable[..., Process]) -> None:
    state = ("--state", str(lab.folder / "state"))
    first = deploy(str(lab.file), "--keep", "--metrics", "0")
    assert "http://127.0.0.1:" in first.until("metrics")
    first.until("ready")
    assert midflight("admit", "hot", "--switch", "s1", *state).exit_code == 0
    second = midflight("deploy", str(lab.file), "--switches", lab.folder / "network.yaml", *state)
    assert second.exit_code == 1
    assert f"process {first.process.pid} is already the controller of" in second.output
    assert "the switches are left unchanged" in first.end(signal.SIGTERM)
    with lab.devices["s1"].session() as session:
        assert len(session.read_table("ingress.admission")) == 1
    third = deploy("--log", "json")
    assert json.loads(third.until("ready"))["event"] == "ready"
    other = midflight("deploy", lab.file, "--switches", lab.folder / "network.yaml", "--state", lab.folder / "other")
    assert other.exit_code == 1
    assert "another controller" in other.output
    assert "has to disconnect, or to leave the switch's role" in other.output
    assert '"withdrawn"' in third.end(signal.SIGHUP)
    with lab.devices["s1"].session() as session:
        assert session.read_table("ingress.admission") == []
    again = midflight("deploy", "--switches", lab.folder / "network.yaml", *state)
    assert again.exit_code == 1
    assert "nothing is deployed yet" in again.output
    assert midflight("status", *state).exit_code == 1


def test_nothing_is_deployed_if_the_controller_could_not_run(lab: Lab) -> None:
    network = lab.folder / "network.yaml"
    network.write_text(NETWORK.replace("FOLDER", str(lab.folder)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for words, message in (
            (("--state", lab.folder / ("x" * 120)), "is too long for a socket"),
            (("--state", lab.folder / "state", "--metrics", port), "Address already in use"),
        ):
            result = midflight("deploy", lab.file, "--switches", network, *words)
            assert (result.exit_code, message in result.output) == (1, True), result.output
    with lab.devices["s1"].session() as session:
        assert session.cookie is None, "the switch has no program"


def test_a_rejected_program_is_reported_with_its_switch_and_kind(lab: Lab) -> None:
    network = lab.folder / "network.yaml"
    compiler = "compiler: \"sh -c 'touch $0; echo rubbish > $1' {p4info} {config} {p4}\""
    network.write_text(NETWORK.replace("FOLDER", str(lab.folder)).replace("kind: host", f"kind: host, {compiler}"))
    result = midflight("deploy", lab.file, "--switches", network, "--state", lab.folder / "state")
    assert result.exit_code == 1
    assert "s1 rejects the program, which was compiled for the kind host: " in result.output


def test_a_standby_waits_and_can_be_stopped(lab: Lab, deploy: Callable[..., Process]) -> None:
    first = deploy(str(lab.file))
    first.until("ready")
    standby = deploy("--standby")
    assert f"process {first.process.pid} is the controller" in standby.until("standby")
    assert standby.end(signal.SIGTERM) == ""
    standby = deploy("--standby")
    standby.until("standby")
    first.process.kill()
    standby.until("took-over")
    standby.until("ready")
    standby.end(signal.SIGINT)


@pytest.mark.parametrize(("number", "heeded"), [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGHUP, False)])
def test_only_an_ignored_hang_up_stays_ignored(number: signal.Signals, heeded: bool) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with stopping() as stop:
            os.kill(os.getpid(), number)
            assert stop.wait(0) == heeded
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)
