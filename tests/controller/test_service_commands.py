"""Services of a running controller on the command line, and a path selector that weighs them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from midflight.runtime.controller.service.commands import Commands
from midflight.runtime.controller.service.server import CommandServer
from midflight.runtime.steering.agents.channel import Sender
from midflight.runtime.steering.cps.messages import Announce
from midflight.runtime.steering.cps.peering import Peering
from midflight.runtime.steering.metrics import Update, raw
from midflight.runtime.steering.metrics.binary import encode
from midflight.runtime.steering.trust.descriptor import Descriptor, issue
from midflight.runtime.steering.trust.identity import SpiffeId
from midflight.runtime.steering.trust.keys import SigningKey
from tests.controller.lab import Lab
from tests.controller.running import Running

APP = """\
from midflight.primitives import Program, Steering

program = Program(Steering(services=2, rules=2, pools=3, buckets=32, instances=8))
"""
CS_ID, SECOND = "10.9.0.1", 1_000_000_000


@contextmanager
def meanwhile(work: Callable[[Event], None]) -> Iterator[None]:
    """Do work in a thread, which ends when the context is left: the event is set then."""
    ended = Event()
    thread = Thread(target=work, args=(ended,))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("steered")
    folder.chmod(0o700)
    with closing(Lab(folder)) as lab:
        lab.file.write_text(APP)
        with lab.deployed() as (deployment, events):
            commands = Commands(deployment)
            with CommandServer(folder / "control", commands.calls, commands.streams):
                yield Running(lab, deployment, events)
            services = deployment.controller.fleet.desired.services
        with lab.deployed(again=True) as (again, _):
            assert again.controller.fleet.desired.services == services, "a controller resumes services"


def shares(running: Running, *options: str) -> dict[str, float]:
    (found,) = running.json("service", "list", *options)["services"]
    return {each["host"]: each["weight"] for each in found["instances"]}


def test_a_changed_program_has_the_steering_of_the_new_file(running: Running) -> None:
    running.lab.file.write_text(APP.replace("services=2", "services=3").replace("import ", "import Threshold, "))
    try:
        done = running.run("change", str(running.lab.file))
        assert done.exit_code == 0, done.output
        steering = running.deployment.controller.program.steering
        assert steering is not None
        assert steering.services == 3
    finally:
        running.lab.file.write_text(APP)
        assert running.run("change", str(running.lab.file)).exit_code == 0


def test_services_on_the_command_line(running: Running) -> None:
    assert running.run("service", "add", "vision", CS_ID, "h2=1", "h3=1").exit_code == 0
    assert running.run("service", "weigh", "vision", "h2=3", "h3=1", "--valid", "0.2").output == "8 buckets moved\n"
    running.events.wait("weights-expired")
    assert shares(running) == {"h2": 1.0, "h3": 1.0}
    assert running.run("service", "weigh", "vision", "h2=1", "h3=3", "--switch", "s1").exit_code == 0
    weighed = [each for each in running.events.events if each.kind == "service-weighed"][-1]
    assert (weighed.switch, weighed.message) == ("s1", "vision: h2 1, h3 3")
    assert (shares(running), shares(running, "--switch", "s1")["h3"]) == ({"h2": 1.0, "h3": 1.0}, 3.0)
    own = "vision: s1 has weights of its own"
    assert own in running.run("service", "list").output
    assert own not in running.run("service", "list", "--switch", "s1").output
    assert running.run("service", "drain", "vision", "h3").exit_code == 0
    assert shares(running, "--switch", "s1") == {"h2": 1.0, "h3": 0.0}
    assert "drained" in running.run("service", "list").output
    assert "10.9.0.1" in running.run("service", "list").output
    assert running.run("service", "remove", "vision").exit_code == 0
    assert running.json("service", "list") == {"services": []}


def test_weights_without_a_switch_replace_those_of_each_switch(running: Running) -> None:
    running.run("service", "add", "vision", CS_ID, "h2=1", "h3=1")
    running.run("service", "weigh", "vision", "h2=1", "h3=3", "--switch", "s1")
    running.run("service", "weigh", "vision", "h2=1", "h3=0", "--switch", "s2")
    assert running.json("service", "list")["services"][0]["local"] == ["s1", "s2"]
    assert "vision: s1, s2 have weights of their own" in running.run("service", "list").output
    assert running.json("service", "weigh", "vision", "h2=1", "h3=1")["moved"] == 8 + 16, "8 at s1, others at s2"
    weighed = [each for each in running.events.events if each.kind == "service-weighed"][-1]
    assert (weighed.switch, weighed.message) == ("", "vision: h2 1, h3 1")
    assert shares(running, "--switch", "s1") == shares(running, "--switch", "s2") == {"h2": 1.0, "h3": 1.0}
    assert running.json("service", "list")["services"][0]["local"] == []
    running.run("service", "remove", "vision")


def test_each_change_of_a_service_is_confirmed(running: Running) -> None:
    served = ("vision", CS_ID, "h2=1", "h3=1", "h1=0")
    assert running.run("service", "add", *served).output == "vision: requests to 10.9.0.1 go to h2, h3\n"
    assert running.run("service", "drain", "vision", "h3").output == "vision: h3 gets no new flows\n"
    assert running.run("service", "balance", "vision").output == "vision: no Balance follows its weights\n"
    removed = running.run("service", "remove", "vision").output
    assert removed == "vision is removed; its requests are routed to its address\n"
    weights = {"h2": 1.0, "h3": 1.0, "h1": 0.0}
    added = running.json("service", "add", *served)
    assert added == {"service": "vision", "address": CS_ID, "weights": weights}
    assert running.json("service", "drain", "vision", "h3") == {"service": "vision", "host": "h3"}
    assert running.json("service", "balance", "vision") == {"service": "vision", "application": ""}
    assert running.json("service", "remove", "vision") == {"service": "vision"}


def test_classes_on_the_command_line(running: Running) -> None:
    running.run("service", "add", "vision", CS_ID, "h2=1", "h3=1")
    rule = ("--source", "10.0.0.0/30", "--port", "7000")
    done = running.run("service", "classify", "vision", "lab", "h3=2", *rule)
    assert done.output == "vision: requests of class lab go to h3\n"
    (matched, pool) = running.deployment.controller.services["vision"].classes["lab"]
    assert (str(matched.source), matched.port, [*pool.weights.values()]) == ("10.0.0.0/30", 7000, [2.0])
    (found,) = running.json("service", "list")["services"]
    assert [(it["name"], it["instances"][0]["host"]) for it in found["classes"]] == [("lab", "h3")]
    assert "vision, class lab" in running.run("service", "list").output
    assert "has the same rule" in running.run("service", "classify", "vision", "other", "h2=1", *rule).output
    assert "is a network" in running.run("service", "classify", "vision", "lab", "h3=1", "--source", "x").output
    assert running.run("service", "declassify", "vision", "lab").exit_code == 0
    assert running.json("service", "list")["services"][0]["classes"] == []
    assert "no class 'lab'" in running.run("service", "declassify", "vision", "lab").output
    running.run("service", "remove", "vision")


def test_a_path_selector_weighs_classes_too(running: Running) -> None:
    running.run("service", "add", "classed", CS_ID, "h2=1", "h3=1")
    running.run("service", "classify", "classed", "urgent", "h3=1", "--dscp", "46")
    port = 20_000 + time.time_ns() // 1000 % 20_000

    def report(ended: Event) -> None:
        with Sender([("127.0.0.1", port)]) as sender:
            number = 0
            while not ended.wait(0.05):
                number += 1
                for address, up in (("10.0.0.2", 1), ("10.0.0.3", 0)):
                    raws = (raw("service_available", up),)
                    sender.send(Update(CS_ID, address, number, time.time_ns(), SECOND, raw=raws))

    with meanwhile(report):
        done = running.run("cps", "--listen", f"127.0.0.1:{port}", "--period", "0.2", "--count", "3", "--json")
    assert done.exit_code == 0, done.output
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["classes"]["urgent"]["weights"] == {"10.0.0.2": 1.0, "10.0.0.3": 0.0}, last
    assert running.run("service", "remove", "classed").exit_code == 0


def test_a_path_selector_listens_to_its_peers(running: Running) -> None:
    running.run("service", "add", "peered", CS_ID, "h2=1", "h3=1")
    port = 20_000 + time.time_ns() // 1000 % 20_000

    def announce(ended: Event) -> None:
        with Peering(9, peers=[("127.0.0.1", port)]) as peering:
            number = 0
            while not ended.wait(0.05):
                number += 1
                for address, up in (("10.0.0.2", 0), ("10.0.0.3", 1)):
                    update = Update(CS_ID, address, number, time.time_ns(), SECOND, raw=(raw("service_available", up),))
                    peering.tell([Announce(encode(update, with_raw=True), (9,))])

    with meanwhile(announce):
        done = running.run("cps", "--listen", f"127.0.0.1:{port}", "--period", "0.2", "--count", "12", "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["weights"] == {"10.0.0.2": 0.0, "10.0.0.3": 1.0}, done.output
    assert running.run("service", "remove", "peered").exit_code == 0


def test_a_weight_of_an_instance_to_which_no_way_leads_is_a_warning(running: Running) -> None:
    running.run("service", "add", "vision", CS_ID, "h2=1", "h3=1")
    switch = running.deployment.controller.fleet.switches["s1"]
    on, switch.on = switch.on, False
    try:
        warned = running.run("service", "weigh", "vision", "h2=1", "h3=0")
        listed = running.run("service", "list")
    finally:
        switch.on = on
    assert "warning: no way leads to h2 now, over switches that answer" in warned.output
    assert "unreachable" in listed.output
    assert "warning" not in running.run("service", "weigh", "vision", "h2=1", "h3=1").output
    running.run("service", "remove", "vision")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("add", "vision", CS_ID, "h2"), "'h2' is not HOST=WEIGHT"),
        (("add", "vision", CS_ID, "h2=1", "h2=2"), "h2 occurs twice"),
        (("add", "vision", "10.0.0.1", "h2=1"), "the address of host h1"),
        (("weigh", "sight", "h2=1"), "there is no service 'sight'"),
        (("list", "--switch", "s9"), "there is no switch named s9"),
    ],
)
def test_mistakes_are_reported(running: Running, words: tuple[str, ...], message: str) -> None:
    done = running.run("service", *words)
    assert done.exit_code in (1, 2)
    assert message in done.output


def test_a_path_selector_weighs_services_by_signed_records(running: Running, tmp_path: Path) -> None:
    authority, edge, far = SigningKey.new(), SigningKey.new(), SigningKey.new()
    files = []
    now = time.time_ns()
    for key, address in ((edge, "10.0.0.2"), (far, "10.0.0.3")):
        name = SpiffeId.parse(f"spiffe://lab.example/{address}")
        described = Descriptor(name, CS_ID, address, key.public, now - SECOND, now + 100 * SECOND)
        files.append(tmp_path / f"{address}.descriptor")
        files[-1].write_bytes(issue(described, authority))
    running.run("service", "add", "kept", CS_ID, "h2=1", "h3=1")
    running.run("service", "weigh", "kept", "h2=1", "h3=1", "--switch", "s1")

    def report(ended: Event) -> None:
        places = [("127.0.0.1", port)]
        with Sender(places, edge) as one, Sender(places, far) as other, Sender(places) as unsigned:
            number = 0
            while not ended.wait(0.05):
                number += 1
                for sender, address, up in ((one, "10.0.0.2", 1), (other, "10.0.0.3", 0), (unsigned, "10.0.0.2", 0)):
                    raws = (raw("service_available", up),)
                    sender.send(Update(CS_ID, address, number, time.time_ns(), SECOND, raw=raws))

    port = 20_000 + now // 1000 % 20_000
    with meanwhile(report):
        done = running.run(
            "cps", "--listen", f"127.0.0.1:{port}", "--period", "0.2", "--count", "3", "--json", "--switch", "s1",
            "--authority", f"lab.example={authority.public.hex()}",
            *[word for each in files for word in ("--descriptor", str(each))],
        )  # fmt: skip
    assert done.exit_code == 0, done.output
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["weights"] == {"10.0.0.2": 1.0, "10.0.0.3": 0.0}, last
    assert shares(running, "--switch", "s1") == {"h2": 1.0, "h3": 0.0}
    assert shares(running) == {"h2": 1.0, "h3": 1.0}, "it weighs one ingress"
    running.run("service", "weigh", "kept", "h2=1", "h3=2", "--switch", "s1")


def test_a_path_selector_refuses_what_it_cannot_use(running: Running, tmp_path: Path) -> None:
    assert "no service has an instance h1" in running.run("cps", "--probe", "h1=127.0.0.1:9").output
    (tmp_path / "bad").write_bytes(b"no descriptor")
    done = running.run("cps", "--authority", f"x={'00' * 32}", "--descriptor", str(tmp_path / "bad"))
    assert "is refused: malformed" in done.output
    assert "is not INSTANCE=HOST:PORT" in running.run("cps", "--probe", "h1").output
    done = running.run("cps", "--journal", str(tmp_path / "journal"))
    assert (done.exit_code, "--journal needs --authority" in done.output) == (2, True)
    assert not (tmp_path / "journal").exists()


def test_a_host_with_an_ipv4_address_does_not_serve_an_ipv6_address(running: Running) -> None:
    done = running.run("service", "add", "six", "2001:db8:9::1", "h2=1")
    assert done.exit_code == 1
    assert "h2 has an IPv4 address and cannot receive packets for 2001:db8:9::1" in done.output
    assert "six" not in running.run("service", "list").output
