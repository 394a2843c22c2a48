"""A scenario in network namespaces: services and clients with ordinary sockets, and switches that steer."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Program, Steering
from midflight.runtime.controller.services import Services
from midflight.runtime.devices.folders import owned_prefix
from midflight.runtime.steering.policies.selector import Described, choose_weights
from midflight.testbed.net import Net
from midflight.testbed.steer.scenario import Scenario
from midflight.testbed.steer.world import World
from midflight.testbed.topology import Topology

__all__ = ["Answered", "LiveRun", "live_topology", "run_live"]

PORT, FIRST_PORT = 7000, 20_000
_MOST = 400  # bytes of a request or reply, as each is one datagram
_READY = 60.0  # seconds for the services to start


@dataclass(frozen=True, slots=True)
class Answered:
    """A request: its class, the client's host and UDP port, the host that answered, and the host that the controller
    expected.

    `latency_us` is the time to the reply in microseconds, `tries` how often it was sent. Without a reply, `host` is
    empty.
    """

    service: str
    client: str
    port: int
    host: str
    expected: str
    latency_us: float
    tries: int


@dataclass(frozen=True, slots=True)
class LiveRun:
    """The requests of a live run, by client and in their order; `device` is the kind of the switches.

    `slower` is the factor by which all times of the scenario are longer.
    """

    scenario: str
    device: str
    slower: float
    requests: tuple[Answered, ...]

    @property
    def decisions(self) -> dict[tuple[str, str, int], str]:
        """The host that answered, by class, client and UDP port of the client."""
        return {(each.service, each.client, each.port): each.host for each in self.requests}

    def json(self) -> dict[str, object]:
        """Return the figures as data for JSON: by class, those of all requests, and how many each host answered."""
        classes = {}
        for name in dict.fromkeys(each.service for each in self.requests):
            those = [each for each in self.requests if each.service == name]
            answered = [each for each in those if each.host]
            delays = np.array([each.latency_us for each in answered] or [np.inf])
            hosts = sorted({each.host for each in answered})
            classes[name] = {
                "requests": len(those),
                "lost": len(those) - len(answered),
                "retried": sum(each.tries - 1 for each in those),
                "elsewhere": sum(each.host != each.expected for each in answered),
                "p50_us": float(np.percentile(delays, 50)),
                "p99_us": float(np.percentile(delays, 99)),
                "hosts": {host: sum(each.host == host for each in answered) for host in hosts},
            }
        return {"scenario": self.scenario, "device": self.device, "slower": self.slower, "classes": classes}


def live_topology(scenario: Scenario) -> tuple[Topology, dict[str, str]]:
    """Return the network of a scenario, and the hosts of its instances by the instance's name.

    There is a switch for each site (s1, s2, ...) with a host for each instance (h1, h2, ...), and one for all
    ingresses, each with a client's host, whose numbers follow.
    """
    sites = {each.name: f"s{number}" for number, each in enumerate(scenario.sites, start=1)}
    hosts = {each.name: f"h{number}" for number, each in enumerate(scenario.instances, start=1)}
    centre = f"s{len(sites) + 1}"
    links = [(hosts[each.name], sites[each.site]) for each in scenario.instances]
    links += [(each, centre) for each in _clients(scenario)]
    links += [(centre, each) for each in sites.values()]
    return Topology.of(links), hosts


def run_live(
    scenario: Scenario, *, device: str = "host", requests: int = 400, slower: float = 100.0, seed: int = 0
) -> LiveRun:
    """Run a scenario's services, switches and clients in namespaces, and return what became of requests. Needs root.

    device: the kind of the switches
    requests: their number in all, 1 to 40,000; each is one datagram with a UDP port of its own
    slower: the factor by which all times are longer, so that processes keep up
    seed: of the times, classes and ingresses of requests; service times are drawn from the instances' names

    Each class is a service whose static weights a C-PS chooses without measurements. Links have no delay, so a way
    costs nothing. MidflightError unless `requests` is 1 to 40,000; DeviceError without root, if the network or a
    service does not start, or if a client does not end within 10 minutes.
    """
    if not 1 <= requests <= 40_000:
        raise MidflightError(f"there can be 1 to 40000 requests, not {requests}")
    topology, hosts = live_topology(scenario)
    world = World(scenario)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix=owned_prefix("steer"))))
        steering = Steering(services=len(scenario.classes), instances=len(hosts))
        net = stack.enter_context(Net(topology, program=Program(steering), device=device, fabric="netns", seed=seed))
        services = _services(net, scenario, world, hosts)
        pool = stack.enter_context(ThreadPoolExecutor(len(hosts) + len(scenario.ingresses)))
        stack.callback((folder / "end").touch)  # services end before the pool waits for them
        running = [
            pool.submit(net.host(hosts[each.name]).run, _server(scenario, each.name, slower, folder), timeout=600.0)
            for each in scenario.instances
        ]
        _await([folder / each.name for each in scenario.instances], running)
        plans = _plans(scenario, world, requests, slower, seed)
        clients = {
            name: pool.submit(net.host(name).run, _client(plan, 20.0 * slower / 100.0), timeout=600.0)
            for name, plan in zip(_clients(scenario), plans, strict=True)
            if plan
        }
        found = [
            _answered(name, each, services, net, hosts)
            for name, client in clients.items()
            for each in json.loads(client.result())
        ]
    return LiveRun(scenario.name, device, slower, tuple(found))


def _clients(scenario: Scenario) -> list[str]:
    """Return the names of the clients' hosts, one for each ingress."""
    first = len(scenario.instances) + 1
    return [f"h{number}" for number in range(first, first + len(scenario.ingresses))]


def _address(number: int) -> str:
    return f"10.9.0.{number + 1}"


def _services(net: Net, scenario: Scenario, world: World, hosts: dict[str, str]) -> Services:
    """Steer to each class, with the weights that a C-PS chooses without measurements."""
    services = net.controller.services
    for number, (each, pool) in enumerate(zip(scenario.classes, world.pools, strict=True)):
        described = [
            Described(
                hosts[scenario.instances[at].name],
                2e-6 * float(np.mean([way[at] for way in world.delay])),
                float(world.servers[at]),
                world.service[number][at] * 1e-6,
                each.cv2,
            )
            for at in pool
        ]
        chosen = choose_weights(described, {}, 0.0, 0).weights
        net.steer(each.name, _address(number), {name: round(weight, 6) for name, weight in chosen.items()})
    return services


def _plans(
    scenario: Scenario, world: World, requests: int, slower: float, seed: int
) -> list[list[tuple[float, str, str, int, int]]]:
    """Return, by ingress, its requests: when, for which class, to which address, with which size, from which port."""
    random = Random(f"{seed}/live")
    capacity = [
        sum(world.servers[at] / world.service[number][at] for at in pool) for number, pool in enumerate(world.pools)
    ]
    rate = sum(capacity) * scenario.load / slower * 1e6  # requests a second
    made: list[list[tuple[float, str, str, int, int]]] = [[] for _ in scenario.ingresses]
    at = 0.0
    for count in range(requests):
        at += random.expovariate(rate)
        number = random.choices(range(len(capacity)), capacity)[0]
        where = random.choices(range(len(made)), [each.weight for each in scenario.ingresses])[0]
        one = scenario.classes[number]
        made[where].append((at, one.name, _address(number), min(one.request, _MOST), FIRST_PORT + count))
    return made


def _answered(
    client: str,
    found: Sequence[object],
    services: Services,
    net: Net,
    hosts: dict[str, str],
) -> Answered:
    service, port, instance, latency, tries = found
    assert isinstance(port, int)
    assert isinstance(tries, int)
    assert isinstance(latency, (int, float))
    expected = services.instance(str(service), net.host(client).address, port, PORT)
    return Answered(str(service), client, port, hosts.get(str(instance), ""), expected, float(latency), tries)


def _await(files: Sequence[Path], running: Sequence[Future[str]]) -> None:
    """Wait until each service has created its file. DeviceError if one ends before, or takes too long."""
    until = time.monotonic() + _READY
    while missing := [each.name for each in files if not each.exists()]:
        for each in running:
            if each.done():
                raise DeviceError(f"a service has ended: {each.exception() or each.result()}")
        if time.monotonic() > until:
            raise DeviceError(f"these services do not start: {', '.join(missing)}")
        time.sleep(0.05)


def _server(scenario: Scenario, name: str, slower: float, folder: Path) -> list[str]:
    instance = next(each for each in scenario.instances if each.name == name)
    serves = [
        (_address(number), instance.serves[each.name] * slower * 1e-6, each.cv2, min(each.reply, _MOST))
        for number, each in enumerate(scenario.classes)
        if each.name in instance.serves
    ]
    return [sys.executable, "-I", "-S", "-c", _SERVER, name, str(instance.servers), json.dumps(serves), str(folder)]


def _client(plan: Sequence[tuple[float, str, str, int, int]], patience: float) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", _CLIENT, json.dumps(plan), str(patience), str(PORT)]


_SERVER = """
import json, os, random, select, socket, sys, threading, time
name, servers, serves, folder = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4]
free, draw = threading.Semaphore(servers), random.Random(name)
def serve(own, client, request, mean, cv2, size):
    with free:
        time.sleep(mean if cv2 == 0 else draw.gammavariate(1 / cv2, mean * cv2))
    own.sendto(name.encode().ljust(size), client)
sockets = {}
for address, mean, cv2, size in serves:
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    own.bind((address, 7000))
    sockets[own] = mean, cv2, size
open(os.path.join(folder, name), "w").close()
while not os.path.exists(os.path.join(folder, "end")):
    for own in select.select(list(sockets), [], [], 0.1)[0]:
        request, client = own.recvfrom(2000)
        threading.Thread(target=serve, args=(own, client, request, *sockets[own]), daemon=True).start()
"""
"""A service: serves a few requests at a time, the others wait. Answers with its name."""

_CLIENT = """
import json, select, socket, sys, time
plan, patience, port = json.loads(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
waiting, found, start, following = {}, [], time.monotonic(), 0
while following < len(plan) or waiting:
    now = time.monotonic() - start
    while following < len(plan) and plan[following][0] <= now:
        at, service, address, size, number = plan[following]
        own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        own.bind(("", number))
        own.connect((address, port))
        own.send(bytes(size))
        waiting[own] = [service, number, now, now, 1, size]
        following += 1
    ready = select.select(list(waiting), [], [], 0.01)[0]
    now = time.monotonic() - start
    for own in ready:
        try:
            reply = own.recv(2000)
        except ConnectionError:
            continue
        service, number, sent, _, tries, _ = waiting.pop(own)
        found.append((service, number, reply.decode().strip(), (now - sent) * 1e6, tries))
        own.close()
    for own, each in list(waiting.items()):
        if now - each[3] > patience:
            if each[4] == 5:
                del waiting[own]
                own.close()
                found.append((each[0], each[1], "", 0, each[4]))
                continue
            own.send(bytes(each[5]))
            each[3], each[4] = now, each[4] + 1
print(json.dumps(sorted(found, key=lambda each: each[1])))
"""
"""A client: sends each request from a port of its own, and again if there is no reply."""
