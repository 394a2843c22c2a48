"""Tests of the lab "A P4Runtime controller". The oracle is a learning switch on a dictionary."""

from __future__ import annotations

from random import Random

from finsy.proto import p4r

from midflight.labs.bench import Bench, GradedTest, Incorrect, Packet, require
from midflight.labs.draw import draw_bytes
from midflight.labs.packets import ETHERNET, Layout, join
from midflight.labs.student import Object, StudentError
from midflight.labs.switch import Played, ProgramError, Switch

__all__ = ["TESTS"]

NAME = "controller.py"
LAYOUT = Layout(ETHERNET, {})
GROUP_BIT = 1 << 40


class Network:
    """The switch with the student's controller, and the oracle: where each address is, and what it may learn."""

    def __init__(self, bench: Bench, *, ports: int = 4, most: int = 100) -> None:
        self.random = bench.random
        self.ports = bench.random.sample(range(1, 60), ports)
        self.most = most
        self.switch: Switch = bench.switch("switch.p4", text=bench.course["switch.p4"])
        student = bench.student(NAME)
        try:
            self.controller: Object = student.new("Controller", self.switch.p4info(), self.ports, most)
            updates = self.controller.call("start")
        except StudentError as error:
            raise Incorrect(f"the controller does not start: {error}") from None
        require(isinstance(updates, list), "start() must return a list of updates")
        for each in updates:
            self.write(each)
        self.places: dict[int, int] = {}

    def write(self, update: object) -> None:
        """Carry out an update of the controller."""
        if not isinstance(update, bytes):
            raise Incorrect(f"an update must be a p4r.Update, not {update!r:.100}")
        try:
            self.switch.update(update)
        except (ProgramError, ValueError) as error:
            raise Incorrect(f"the switch refuses an update: {error}") from None

    def control(self, port: int, frame: bytes, head: str) -> list[Packet]:
        """Pass a packet-in to the controller and carry out what it returns. Return the frames that leave."""
        message = p4r.PacketIn(payload=frame)
        for number, value in ((1, port), (2, 0)):
            message.metadata.add(metadata_id=number, value=value.to_bytes(2, "big").lstrip(b"\0") or b"\0")
        try:
            actions = self.controller.call("packet_in", message.SerializeToString())
        except StudentError as error:
            raise Incorrect(f"{head}\n  the controller fails: {error}") from None
        require(isinstance(actions, list), f"{head}\n  packet_in() must return a list")
        left: list[Packet] = []
        for each in actions:
            match each:
                case ["write", update]:
                    require(not left, f"{head}\n  wrong order: a write comes after a packet-out")
                    try:
                        self.write(update)
                    except Incorrect as error:
                        raise Incorrect(f"{head}\n  {error}") from None
                case ["packet_out", bytes(data)]:
                    try:
                        played: Played = self.switch.packet_out(data)
                    except (ProgramError, ValueError) as error:
                        raise Incorrect(f"{head}\n  the switch refuses a packet-out: {error}") from None
                    left += [(sent.port, sent.data) for sent in played.sent]
                case _:
                    raise Incorrect(f"{head}\n  {each!r:.100} is neither a write nor a packet-out")
        return left

    def expected(self, port: int, source: int, destination: int) -> tuple[list[int], bool]:
        """The oracle: learn, and return the ports at which a frame arrives, and whether the controller is asked."""
        asked = self.places.get(source) != port
        if asked and source & GROUP_BIT:
            return [], True
        if asked:
            self.places.pop(source, None)
            if sum(each == port for each in self.places.values()) < self.most:
                self.places[source] = port
        if destination in self.places:
            to = self.places[destination]
            return ([to] if to != port else []), asked
        return sorted(each for each in self.ports if each != port), asked

    def send(self, port: int, source: int, destination: int, note: str) -> None:
        """Send a frame and compare."""
        frame = join([(ETHERNET, {"dst": destination, "src": source, "type": 0x0800})], draw_bytes(self.random, 46, 60))
        head = f"{note}, by port {port}: {LAYOUT.brief(frame)}"
        wanted, asked = self.expected(port, source, destination)
        played = self.switch.send([(port, frame)])
        left = played.of(0)
        if played.packet_ins:
            require(asked, f"{head}\n  it causes a packet-in, although the controller should know this source")
            left += self.control(port, frame, head)
        else:
            require(not asked, f"{head}\n  it causes no packet-in: the switch must not know this source here")
        have = sorted(at for at, _ in left)
        shown, must = (", ".join(map(str, each)) or "nowhere" for each in (have, wanted))
        require(have == wanted, f"{head}\n  it arrives at {shown}, must arrive at {must}")
        require(all(data == frame for _, data in left), f"{head}\n  the frame is changed")


def draw_hosts(random: Random, count: int) -> list[int]:
    """Return addresses of hosts."""
    return [0x02 << 40 | each for each in random.sample(range(1 << 40), count)]


def flooding(bench: Bench) -> None:
    """Frames of new hosts to unknown destinations."""
    network = Network(bench)
    hosts = draw_hosts(bench.random, 16)
    for source, destination in zip(hosts[:8], hosts[8:], strict=True):
        network.send(bench.random.choice(network.ports), source, destination, "a new host")


def learning(bench: Bench) -> None:
    """Hosts talk to each other."""
    network = Network(bench)
    hosts = draw_hosts(bench.random, 6)
    places = {each: bench.random.choice(network.ports) for each in hosts}
    for _ in range(50):
        source, destination = bench.random.sample(hosts, 2)
        network.send(places[source], source, destination, "a host")


def moving(bench: Bench) -> None:
    """Hosts move."""
    network = Network(bench)
    hosts = draw_hosts(bench.random, 4)
    places = {each: bench.random.choice(network.ports) for each in hosts}
    for number in range(60):
        source, destination = bench.random.sample(hosts, 2)
        note = "a host"
        if number % 6 == 5:
            places[source] = bench.random.choice([each for each in network.ports if each != places[source]])
            note = "a host that has moved"
        network.send(places[source], source, destination, note)
    first, second = network.ports[:2]
    for at in (first, second, first, second):
        network.send(at, hosts[0], hosts[1], "a host that has moved")


def groups(bench: Bench) -> None:
    """Sources that are group addresses."""
    network = Network(bench)
    hosts = draw_hosts(bench.random, 3)
    for _ in range(4):
        for source in hosts:
            network.send(network.ports[hosts.index(source)], source, bench.random.choice(hosts), "a host")
        network.send(network.ports[3], hosts[0] | GROUP_BIT, hosts[1], "a group address as source")


def limited(bench: Bench) -> None:
    """The limit of addresses for each port."""
    network = Network(bench, ports=3, most=3)
    hosts = draw_hosts(bench.random, 10)
    places = {each: network.ports[number % 2] for number, each in enumerate(hosts)}
    for number in range(70):
        source, destination = bench.random.sample(hosts, 2)
        note = "a host, with a limit of 3 addresses for each port"
        if number > 30 and bench.random.random() < 0.3:
            places[source] = bench.random.choice(network.ports)
            note = "a host that has moved, with a limit of 3 addresses for each port"
        network.send(places[source], source, destination, note)


TESTS = [
    GradedTest("flooding", 20, "Frames of new hosts reach all others", flooding),
    GradedTest("learning", 30, "Frames to known hosts leave by one port", learning),
    GradedTest("moving", 20, "Hosts that move are found again", moving),
    GradedTest("groups", 10, "Group addresses are not learned", groups),
    GradedTest("limit", 20, "Each port has a limit of addresses", limited),
]
