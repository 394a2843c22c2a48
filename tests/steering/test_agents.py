"""The agents: services that report their load, C-SMA and C-NMA, and updates over UDP."""

from __future__ import annotations

import json
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from midflight.errors import DeviceError, MidflightError, UnsupportedError, WireError
from midflight.runtime.steering.agents import cnma, csma
from midflight.runtime.steering.agents.board import Board
from midflight.runtime.steering.agents.channel import Collector, Sender
from midflight.runtime.steering.agents.publisher import Publisher
from midflight.runtime.steering.agents.readers import Machine, Prometheus, service
from midflight.runtime.steering.agents.reflector import Reflector
from midflight.runtime.steering.agents.services import HttpService, Meter, UdpService
from midflight.runtime.steering.agents.stamp import SIZE, Prober, reflect
from midflight.runtime.steering.agents.switch import Snapshot, SwitchReader, snapshot
from midflight.runtime.steering.metrics import Metric, Room, Source, Update
from midflight.runtime.steering.metrics.yang import loads
from midflight.runtime.steering.trust.descriptor import Descriptor, issue
from midflight.runtime.steering.trust.identity import SpiffeId
from midflight.runtime.steering.trust.keys import SigningKey
from midflight.runtime.steering.trust.verifier import Verifier
from tests.cli.run import midflight

SECOND = 10**9
NOW = 1_700_000_000 * SECOND
CS_ID, CSCI_ID = "10.9.9.9", "10.0.0.5"


def post(url: str, data: bytes) -> bytes:
    with urllib.request.urlopen(url, data, timeout=5) as answer:
        return bytes(answer.read())


def test_a_meter_counts_waiting_and_running_requests() -> None:
    now = 0
    meter = Meter(queue=2, window=10 * SECOND, clock=lambda: now)
    assert [meter.arrive() for _ in range(3)] == [True, True, False]
    assert (meter.status()["service_queue_length"], meter.refused) == (2, 1)

    def work(request: bytes) -> bytes:
        nonlocal now
        now += SECOND // 2
        assert meter.status()["service_concurrency"] == 1
        return request[::-1]

    assert meter.run(work, b"ab") == b"ba"
    found = meter.status()
    assert (found["service_queue_length"], found["service_concurrency"]) == (1, 0)
    assert (found["service_time"], found["service_request_rate"]) == (0.5, 0.1)
    now += 11 * SECOND
    assert "service_time" not in meter.status(), "the window has passed"
    with pytest.raises(ZeroDivisionError):
        meter.run(lambda request: bytes(1 // 0), b"")
    assert meter.status()["service_concurrency"] == 0


def test_the_http_service_computes_and_reports_its_load() -> None:
    with HttpService(lambda request: json.dumps(dict(read())).encode() + request) as made:
        read = service(made.url)
        inside = post(made.url, b"")
        assert json.loads(inside)["service_concurrency"] == 1, "measured while the request ran"
        after = read()
        assert (after["service_concurrency"], after["service_available"]) == (0, 1)
        assert after["service_time"] > 0
    with pytest.raises(MidflightError, match="does not answer"):
        read()


def test_the_http_service_refuses_what_it_cannot_queue_and_survives_a_failing_handler() -> None:
    with HttpService(lambda request: bytes(1 // 0), queue=0) as made:
        with pytest.raises(urllib.error.HTTPError, match="503"):
            post(made.url, b"x")
        assert made.meter.refused == 1
    with HttpService(lambda request: bytes(1 // 0)) as made:
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError, match="500"):
                post(made.url, b"x")
        with pytest.raises(DeviceError, match="cannot listen on TCP"):
            HttpService(bytes, port=int(made.url.rpartition(":")[2]))
    with pytest.raises(DeviceError, match=r"cannot listen on TCP 127\.0\.0\.1:70000"):
        HttpService(bytes, port=70_000)
    with pytest.raises(DeviceError, match=r"cannot listen on UDP 127\.0\.0\.1:70000"):
        UdpService(bytes, port=70_000)


def test_the_udp_service_computes_and_reports_its_load() -> None:
    import socket

    with UdpService(lambda request: json.dumps(dict(read())).encode()) as made:
        read = service(made.url)
        host, _, port = made.url.removeprefix("udp://").rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.sendto(b"x", (host, int(port)))
            assert json.loads(client.recv(1000))["service_concurrency"] == 1
        assert read()["service_request_rate"] == 0.1
    made.close()


def test_unknown_and_impossible_readings_are_ignored() -> None:
    with HttpService(bytes) as made:
        made.meter.status = lambda: {"service_time": 0.5, "colour": 3, "service_concurrency": "two"}  # type: ignore
        assert service(made.url)() == {"service_time": 0.5}
        made.meter.status = lambda: {"service_time": 0.5, "service_workers": 10**400}  # type: ignore
        assert service(made.url)() == {"service_time": 0.5}, "no float holds the number of workers"
        made.meter.status = lambda: [1]  # type: ignore
        with pytest.raises(MidflightError, match="load in JSON"):
            service(made.url)()
    with pytest.raises(MidflightError, match="a port is 1 to 65535"):
        service("udp://h:x")
    for url in ("file:///etc/passwd", "udp://127.0.0.1", "cache"):
        with pytest.raises(MidflightError, match="is not a service's URL"):
            service(url)


@pytest.fixture
def scraped() -> Iterator[tuple[str, CollectorRegistry]]:
    registry = CollectorRegistry()
    server, thread = start_http_server(0, "127.0.0.1", registry)
    yield f"http://127.0.0.1:{server.server_port}/metrics", registry
    server.shutdown()
    server.server_close()
    thread.join()


def test_anybodys_service_is_scraped(scraped: tuple[str, CollectorRegistry]) -> None:
    url, registry = scraped
    depth = Gauge("depth", "Queue", ["pool", "kind"], registry=registry)
    seconds = Histogram("seconds", "Time", registry=registry)
    requests = Counter("requests", "Requests", ["method"], registry=registry)
    now = 0
    read = Prometheus(
        url,
        {
            "service_queue_length": "depth",
            "service_concurrency": 'depth{pool="b",kind="x"}',
            "service_time": "seconds_sum/seconds_count",
            "service_request_rate": "rate(requests_total)",
            "service_hit_rate": "nothing",
        },
        clock=lambda: now,
    )
    depth.labels("a", "x").set(3)
    depth.labels("b", "x").set(4)
    depth.labels("b", "y").set(5)
    requests.labels("GET").inc(100)
    seconds.observe(90)
    assert read() == {"service_available": 1, "service_queue_length": 12, "service_concurrency": 4}
    requests.labels("GET").inc(20)
    requests.labels("PUT").inc(10)
    seconds.observe(1)
    seconds.observe(2)
    now = 10 * SECOND
    found = read()
    assert (found["service_time"], found["service_request_rate"]) == (1.5, 3)


def test_a_counter_that_began_again_has_no_rate(scraped: tuple[str, CollectorRegistry]) -> None:
    url, registry = scraped
    counter, now = Gauge("count", "Falls when the service restarts", registry=registry), 0
    read = Prometheus(url, {"service_request_rate": "rate(count)"}, clock=lambda: now)
    rates = []
    for now, value in enumerate((100, 120, 7, 9)):  # noqa: B007 - the clock reads it
        counter.set(value)
        rates.append(read().get("service_request_rate", -1) / 1e9)
    assert rates == pytest.approx([-1e-9, 20, -1e-9, 2])


def test_a_scrape_that_is_none() -> None:
    with HttpService(bytes) as made, pytest.raises(MidflightError, match="Prometheus' text format"):
        Prometheus(f"{made.url}/status", {})()
    with pytest.raises(MidflightError, match="there is no raw metric colour"):
        Prometheus("http://127.0.0.1:1/", {"colour": "x"})


class Load:
    """A service and a machine whose readings a test sets."""

    def __init__(self) -> None:
        self.service: Mapping[str, float] | None = {"service_queue_length": 0, "service_time": 0.0}
        self.machine = {"compute_cpu_utilization": 0.0}

    def read(self) -> Mapping[str, float]:
        if self.service is None:
            raise MidflightError("connection refused")
        return self.service


@pytest.fixture
def load() -> Load:
    return Load()


@pytest.fixture
def agent(load: Load) -> csma.ServiceAgent:
    scored = csma.gauges(queue=10, service_time=0.1)
    return csma.ServiceAgent(Publisher(CS_ID, CSCI_ID), load.read, lambda: load.machine, scored, window=2 * SECOND)


def scores(update: Update | None) -> dict[str, int]:
    assert update is not None
    return {each.kind: each.value for each in update.scores}


def test_an_agent_scores_the_means_of_the_window(agent: csma.ServiceAgent, load: Load) -> None:
    assert scores(agent.poll(NOW)) == {"computing_comb": 10, "service_comb": 10, "norm_fi": 10}
    load.service, load.machine = {"service_queue_length": 10, "service_time": 0.1}, {"compute_cpu_utilization": 0.8}
    update = agent.poll(NOW + SECOND)
    # The mean of both samples; the service's gauges are availability 10, queue 5 and time 5, weighed 1, 2 and 2.
    assert scores(update) == {"computing_comb": 6, "service_comb": 6, "norm_fi": 6}
    assert update is not None
    assert {each.kind: each.value for each in update.raw}["service_queue_length"] == 5
    later = agent.poll(NOW + 4 * SECOND)
    assert scores(later)["computing_comb"] == 2, "the idle sample has left the window"


def test_a_service_that_does_not_answer_scores_0_at_once(agent: csma.ServiceAgent, load: Load) -> None:
    agent.poll(NOW)
    load.service = None
    assert scores(agent.poll(NOW + 1)) == {"computing_comb": 10, "service_comb": 0, "norm_fi": 0}
    assert agent.failure == "connection refused"
    load.service = {"service_queue_length": 0}
    assert scores(agent.poll(NOW + 2))["norm_fi"] == 10
    assert agent.failure == ""


def test_snapshots_of_primitives() -> None:
    state = [
        {"name": "seen", "size": 4, "initial": 0},
        {"name": "total", "size": 4, "initial": 0},
        {"name": "other", "size": 1, "initial": 7},
    ]
    registers = {"seen": [0, 3, 0, 0], "total": [[0, 0], [0, 0], [0, 1], [0, 0]], "other": [9]}
    found = snapshot({"primitive": "Aggregate", "state": state}, registers, arrived=9, dropped=6)
    assert found == Snapshot(4, 2, 9, 6, Room())
    cache = [{"name": name, "size": 2, "initial": 0} for name in ("valid", "hits", "misses")]
    values = {"valid": [1, 0], "hits": [5, 1], "misses": [[2, 1], [1, 2]]}
    assert snapshot({"primitive": "Cache", "state": cache}, values) == Snapshot(2, 1, 9, 6, Room())
    with pytest.raises(MidflightError, match="lacks the registers total, other"):
        snapshot({"primitive": "Aggregate", "state": state}, {"seen": [0] * 4})


def test_the_hit_rate_is_that_of_the_requests_between_two_readings() -> None:
    taken = iter(
        [Snapshot(8, 3, 100, 100, Room(stages=2)), Snapshot(8, 8, 110, 102, Room()), Snapshot(8, 8, 200, 1, Room())]
    )
    read = SwitchReader(lambda: next(taken))
    assert read() == {"service_available": 1, "compute_slots_free": 5, "compute_stages_free": 2}
    assert read() == {"service_available": 1, "compute_slots_free": 0, "service_hit_rate": 0.2}
    assert "service_hit_rate" not in read(), "the switch has restarted"


def test_a_round_trip_needs_no_synchronised_clocks() -> None:
    prober, ahead = Prober(), 3600 * SECOND
    probe = prober.probe(NOW)
    # 4 ms there, 50 ms in the reflector, whose clock is an hour ahead, and 2 ms back.
    answer = reflect(probe, NOW + ahead + 4_000_000, NOW + ahead + 54_000_000)
    assert len(probe) == len(answer) == SIZE
    assert prober.answer(answer, NOW + 56_000_000)
    found = {each.kind: each for each in prober.metrics(NOW + 56_000_000)}
    assert found["network_delay"].value == pytest.approx(0.003)
    assert found["network_delay"].source is Source.ESTIMATION
    assert found["network_loss"].value == 0


def test_loss_is_the_share_of_probes_without_an_answer_in_time() -> None:
    prober = Prober(timeout=SECOND)
    probes = [prober.probe(NOW + each) for each in range(4)]
    assert prober.metrics(NOW + 10) == (), "nothing has been answered or lost yet"
    answers = [reflect(each, NOW, NOW) for each in probes]
    assert prober.answer(answers[0], NOW + 100)
    assert not prober.answer(answers[0], NOW + 101), "a duplicate"
    assert not prober.answer(answers[1], NOW + 2 * SECOND), "too late"
    assert not prober.answer(answers[2][:28] + answers[3][28:], NOW + 102), "not the stamp that was sent"
    assert not prober.answer(b"short", NOW + 102)
    assert prober.strays == 4
    found = {each.kind: each.value for each in prober.metrics(NOW + 2 * SECOND)}
    assert found["network_loss"] == 0.75


def test_the_queue_follows_from_the_rate_and_the_delay_above_the_least() -> None:
    prober = Prober()
    for number, delay in enumerate((1_000_000, 3_000_000)):
        at = NOW + number * SECOND // 10
        prober.answer(reflect(prober.probe(at), at, at), at + 2 * delay)
    found = {each.kind: each.value for each in prober.metrics(NOW + SECOND, rate=8e6)}
    assert found["network_queue"] == pytest.approx(0.001 * 8e6 / 8)
    assert found["network_rate"] == 8e6


def test_a_path_is_scored_by_delay_loss_and_utilization() -> None:
    octets = iter([0, 125_000_000, 125_000_000, 5])
    prober, rate = Prober(), cnma.PortRate(lambda: next(octets))
    agent = cnma.PathAgent(Publisher(CS_ID, CSCI_ID), prober, cnma.gauges(delay=0.01), rate, capacity=2e9)
    assert agent.poll(NOW) is None, "nothing has been measured yet"
    for number in range(4):
        at = NOW + number
        assert prober.answer(reflect(prober.probe(at), at, at), at + 10_000_000)
    # A delay of 5 ms scores 5 and weighs 2, no loss scores 10, a utilisation of one half scores 5.
    assert scores(agent.poll(NOW + SECOND)) == {"communication_comb": 6}
    for number in range(4):
        prober.probe(NOW + SECOND + number)
    assert scores(agent.poll(NOW + 3 * SECOND)) == {"communication_comb": 0}, "loss is vital"
    assert rate(NOW + 4 * SECOND) is None, "the counter began again"


@pytest.fixture
def reflector() -> Iterator[Reflector]:
    stop = threading.Event()
    with Reflector(port=0) as made:

        def serve() -> None:
            while not stop.is_set():
                made.serve(0.05)

        thread = threading.Thread(target=serve)
        thread.start()
        yield made
        stop.set()
        thread.join()


def test_the_command_measures_paths(reflector: Reflector) -> None:
    host, port = reflector.address
    words = ("--path", f"{host}:{port}", "--path", f"10.0.0.6={host}:{port}", "--csci-id", CSCI_ID, "--count", "1")
    done = midflight("nma", *words)
    assert done.exit_code == 0, done.output
    assert f"{CSCI_ID} #" in done.output
    assert "10.0.0.6 #" in done.output
    assert done.output.count("network_loss 0, network_delay") == 2
    assert reflector.reflected == 20
    with pytest.raises(WireError, match="44 octets"):
        reflect(b"x", 0, 0)


def test_a_path_without_a_reflector_is_lost() -> None:
    with Reflector(port=0) as gone:
        host, port = gone.address
    done = midflight("nma", "--path", f"{host}:{port}", "--count", "1")
    assert (done.exit_code, done.output) == (0, ""), "nothing is known before the timeout has passed"
    assert "name the end of a path" in midflight("nma").output
    assert "'7700' is not an address" in midflight("nma", "--path", "7700").output


def test_the_command_reports_a_service_to_a_path_selector(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    pytest.importorskip("cryptography")
    authority, key = SigningKey.new(), SigningKey.new()
    key.save(tmp_path / "edge.key")
    verifier = Verifier({"f.example": authority.public})
    descriptor = Descriptor(SpiffeId.parse("spiffe://f.example/e"), CS_ID, CSCI_ID, key.public, 0, 1 << 63)
    assert verifier.admit(issue(descriptor, authority), NOW)
    board = Board()
    with HttpService(bytes) as made, Collector(board, verifier) as collector:
        host, port = collector.address
        words = ("sma", "--service", made.url, "--cs-id", CS_ID, "--csci-id", CSCI_ID, "--count", "1")
        done = midflight(*words, "--to", f"{host}:{port}", "--key", tmp_path / "edge.key", "--json")
        assert done.exit_code == 0, done.output
        (shown,) = loads(done.stdout)
        assert {"service_available", "compute_cpu_utilization"} <= {each.kind for each in shown.raw}
        assert collector.collect(shown.at, timeout=5) == 1
        entry = board.entry(CS_ID, CSCI_ID)
        assert entry is not None
        assert entry.update.scores == shown.scores
        midflight(*words, "--to", f"{host}:{port}")
        assert collector.collect(shown.at, timeout=5) == 0, "not signed"
        assert collector.counts == {"accepted": 1, "refused": 1}


def test_each_instance_of_an_agent_can_have_a_key() -> None:
    pytest.importorskip("cryptography")
    authority, keys = SigningKey.new(), {CSCI_ID: SigningKey.new(), "10.0.0.6": SigningKey.new()}
    verifier = Verifier({"f.example": authority.public})
    for number, (instance, key) in enumerate(keys.items()):
        name = SpiffeId.parse(f"spiffe://f.example/e{number}")
        descriptor = Descriptor(name, CS_ID, instance, key.public, 0, 1 << 63)
        assert verifier.admit(issue(descriptor, authority), NOW)
    updates = [Update(CS_ID, each, 1, NOW, SECOND, (Metric("norm_fi", 2, 5),)) for each in keys]
    with Collector(Board(), verifier) as collector:
        with Sender([collector.address], keys[CSCI_ID]) as sender:
            sender.send(updates[1])
            assert collector.collect(NOW, timeout=5) == 0, "signed with another instance's key"
        with Sender([collector.address], keys[CSCI_ID], {"10.0.0.6": keys["10.0.0.6"]}) as sender:
            for each in updates:
                sender.send(each)
                assert collector.collect(NOW, timeout=5) == 1


def test_keys_of_instances_on_the_command_line(reflector: Reflector, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    host, port = reflector.address
    for name in ("edge.key", "a=b.key"):
        SigningKey.new().save(tmp_path / name)
    words = ("nma", "--path", f"{host}:{port}", "--count", "1", "--to", "127.0.0.1:9")
    done = midflight(*words, "--key", f"10.0.0.6={tmp_path / 'edge.key'}", "--key", tmp_path / "a=b.key")
    assert done.exit_code == 0, done.output
    done = midflight(*words, "--key", tmp_path / "edge.key", "--key", tmp_path / "a=b.key")
    assert (done.exit_code, "there are two keys for all instances" in done.output) == (2, True)


def test_updates_travel_without_signatures_too() -> None:
    board = Board()
    update = Update(CS_ID, CSCI_ID, 1, NOW, SECOND, (Metric("norm_fi", 2, 5),))
    with Collector(board) as collector, Sender([collector.address, ("127.0.0.1", 1)]) as sender:
        sender.send(update)
        assert collector.collect(NOW, timeout=5) == 1
        sender.send(update)
        assert collector.collect(NOW, timeout=5) == 0
        assert collector.counts == {"accepted": 1, "ignored": 1}
        assert collector.collect(NOW) == 0


def test_a_service_that_does_not_answer_is_named_on_standard_error() -> None:
    pytest.importorskip("psutil")
    done = midflight("sma", "--service", "http://127.0.0.1:1", "--count", "2", "--period", "0")
    assert "service_comb 0, norm_fi 0" in done.stdout
    assert done.stderr.count("http://127.0.0.1:1/status does not answer") == 1


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, extra, use in (
        ("psutil", "sma", Machine),
        ("cryptography.hazmat.primitives.asymmetric", "trust", SigningKey.new),
        ("yangson", "yang", lambda: loads('{"midflight-cats-metrics:cats": {}}')),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(UnsupportedError, match=rf"pip install 'midflight\[{extra}\]'"):
            use()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--service", "http://127.0.0.1:1", "--to", "127.0.0.1"), "'127.0.0.1' is not an address"),
        (("--service", "prometheus:http://127.0.0.1:1", "--map", "x"), "'x' is not METRIC=NAME"),
        (("--service", "http://127.0.0.1:1", "--key", "nowhere"), "nowhere: No such file"),
        (("--service", "http://127.0.0.1:99999"), "http://127.0.0.1:99999: a port is 1 to 65535"),
        (("--service", "udp://127.0.0.1:65536"), "a port is 1 to 65535"),
        (("--service", "prometheus:http://127.0.0.1:99999/metrics", "--map", "queue_depth=q"), "a port is 1 to 65535"),
        (("--service", "switch:cache", "--state", "/nonexistent"), "controller"),
        (("--service", "http://127.0.0.1:1", "--queue", "0"), "is not in the range"),
        (("--service", "http://127.0.0.1:1", "--queue", "nan"), "nan is not a finite number"),
        (("--service", "http://127.0.0.1:1", "--interval", "nan"), "nan is not a finite number"),
        (("--service", "http://127.0.0.1:1", "--period", "inf"), "is not in the range"),
    ],
)
def test_mistakes_on_the_command_line(words: tuple[str, ...], message: str) -> None:
    done = midflight("sma", *words, "--count", "1")
    assert done.exit_code != 0
    assert message in done.output
