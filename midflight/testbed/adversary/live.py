"""Games with processes: all-reduce jobs in networks of namespaces, whose workers and switch are killed by a
schedule.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from midflight.primitives import Aggregate, Program
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.folders import owned_prefix
from midflight.runtime.endpoint.allreduce import Sum
from midflight.testbed.adversary.referee import ViolationError, judge
from midflight.testbed.adversary.schedule import Move
from midflight.testbed.adversary.witness import Capture, Frame, Witness
from midflight.testbed.group import Group
from midflight.testbed.star import Star
from midflight.testbed.topology import LinkQuality

__all__ = ["Arena", "LiveSchedule", "Played", "draw_live"]

_PROGRAM = Program(
    Aggregate("pair", workers=2, slots=3, lanes=8),
    Aggregate("trio", workers=3, slots=2, lanes=8, overflow="detect"),
    Aggregate("four", workers=4, slots=8, lanes=8),
)
_HOSTS = 6  # the last is the server
_SWITCH = "s1"
_POLL = 0.003  # seconds between checks of a job's progress
_STILL = 2.0  # seconds after which a move is made even if the first worker sends nothing more
_PATIENCE = 90.0  # seconds within which every sum must end


@dataclass(frozen=True, slots=True)
class LiveSchedule:
    """The schedule of one game with processes: the application, its hosts, the sizes of its vectors, the links, the
    moves.

    `hosts` are numbers from 0. `rounds` has the number of elements of each sum. `quality` is that of all links. A move
    consists of the sum in which it happens, counted from 0, the number of requests that the first worker has sent in
    that sum by then, the kind of move, and a number that selects the worker or host.
    """

    seed: int
    application: str
    hosts: tuple[int, ...]
    rounds: tuple[int, ...]
    quality: LinkQuality
    moves: tuple[tuple[int, int, Move, int], ...]


def draw_live(seed: int) -> LiveSchedule:
    """Return the schedule for a game with processes that a seed determines."""
    random_ = random.Random(seed)
    application = random_.choice([*_PROGRAM.applications])
    aggregate = _PROGRAM.applications[application].primitive
    assert isinstance(aggregate, Aggregate)
    hosts = tuple(random_.sample(range(_HOSTS - 1), aggregate.workers))
    rounds = tuple(random_.choice((0, 400, 800)) + random_.randint(0, 200) for _ in range(random_.choice((1, 2, 2))))
    loss, duplicate, reorder = (random_.choice((0.001, 0.01, 0.04)) for _ in range(3))
    kinds = random_.choices(
        (Move.RESTART, Move.REPLACE, Move.KILL, Move.RESET, Move.FAIL_OVER),
        (4, 2, 3, 2, 1),
        k=random_.choice((1, 2, 2, 3)),
    )
    moves = []
    for kind in kinds:
        round_ = random_.randrange(len(rounds))
        requests = random_.randint(0, 8 + rounds[round_] // aggregate.lanes)
        moves.append((round_, requests, kind, random_.randrange(1000)))
        if kind is Move.KILL:
            moves.append((round_, requests + random_.randint(0, 20), Move.REVIVE, 0))
    moves.sort(key=lambda move: move[:2])
    return LiveSchedule(
        seed, application, hosts, rounds, LinkQuality(loss=loss, duplicate=duplicate, reorder=reorder), tuple(moves)
    )


@dataclass(frozen=True, slots=True)
class Played:
    """The record of a game with processes: its moves as texts, its duration in seconds, and the number of checked sums
    of chunks.
    """

    seed: int
    application: str
    moves: tuple[str, ...]
    seconds: float
    sums: int


class Arena:
    """A star network in namespaces, for one game after another. A context manager; leaving it removes the network.

    `device` is the kind of its switch, which keeps running from game to game, with the state that earlier jobs left in
    it, unless a schedule kills it. `sheet` has the limits to assume instead of the device's; applications that do not
    fit are computed by the server. DeviceError without root.
    """

    def __init__(self, device: str = "host", sheet: Capabilities | None = None) -> None:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix=owned_prefix("arena"))))
            quality = LinkQuality(loss=0.001, duplicate=0.001, reorder=0.001)
            self.net = stack.enter_context(
                Star(
                    _HOSTS,
                    program=_PROGRAM,
                    device=device,
                    fabric="netns",
                    quality=quality,
                    pcap=folder,
                    capabilities=sheet,
                )
            )
            self._captures = [Capture(each.name, folder / f"{each.name}-{_SWITCH}.pcap") for each in self.net.hosts]
            self._stack = stack.pop_all()
        self._whole = True  # whether the switch computes

    def close(self) -> None:
        """Remove the arena's network. May be called more than once."""
        self._stack.close()

    def __enter__(self) -> Arena:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def play(self, schedule: LiveSchedule) -> Played:
        """Play one game: sum with workers as processes, make the schedule's moves, and check every sum and every
        packet.

        ViolationError if a guarantee is violated, or any error that the job ends with. After an error the arena has to
        be closed.
        """
        net, begin = self.net, time.monotonic()
        if not self._whole:
            net.revive(_SWITCH)
            self._whole = True
        net.fabric.impair(schedule.quality)
        primitive = _PROGRAM.applications[schedule.application].primitive
        assert isinstance(primitive, Aggregate)
        self._new_frames()  # of earlier games
        server = net.hosts[-1]
        with net.group(schedule.application, [net.hosts[each] for each in schedule.hosts], server=server) as group:
            identifier = _PROGRAM.applications[schedule.application].id
            game = _Game(
                self,
                schedule,
                group,
                Witness(identifier, primitive.workers, primitive.slots, primitive.lanes, int(server.address)),
            )
            game.play()
            game.witness.watch(self._new_frames(), game.jobs)
        return Played(
            schedule.seed,
            schedule.application,
            tuple(f"{move} {choice} in sum {sum_} after {requests}" for sum_, requests, move, choice in schedule.moves),
            round(time.monotonic() - begin, 3),
            game.witness.sums,
        )

    def kill(self) -> None:
        """Kill the arena's switch. Packets that reach it are lost until `revive`."""
        self.net.kill(_SWITCH)
        self._whole = False

    def revive(self) -> None:
        """Start the arena's switch again, with empty state. If it runs, it is killed first."""
        self.net.revive(_SWITCH)
        self._whole = True

    def give_up(self) -> None:
        """Make the arena's switch only forward from now on, so that the server computes."""
        self.net.give_up(_SWITCH)
        self._whole = False

    def _new_frames(self) -> list[list[Frame]]:
        self.net.totals()  # waits for the capturing process, which has then written all earlier packets
        return [each.new_frames() for each in self._captures]


class _Game:
    """One schedule being played."""

    def __init__(self, arena: Arena, schedule: LiveSchedule, group: Group, witness: Witness) -> None:
        self.witness = witness
        self.jobs: dict[int, list[tuple[str, int]]] = {}
        self._arena = arena
        self._schedule = schedule
        self._group = group
        self._random = np.random.default_rng(schedule.seed)
        self._note()

    def play(self) -> None:
        """Sum round after round, making the moves of each."""
        for which, size in enumerate(self._schedule.rounds):
            # Without headroom, some sums of these magnitudes overflow and others do not.
            vectors = [self._random.integers(-(2**20), 2**20, size).astype(np.float32) for _ in range(len(self._group))]
            for worker, result in enumerate(self._sum(which, vectors)):
                judge(worker, which, vectors, result)

    def _sum(self, which: int, vectors: Sequence[NDArray[np.float32]]) -> list[Sum]:
        sums: list[Sum] = []
        failures: list[BaseException] = []

        def work() -> None:
            try:
                sums.extend(self._group.sum(vectors))
            except BaseException as error:
                failures.append(error)

        net = self._arena.net
        before = {host.name: net.uplink(host).packets for host in net.hosts}
        thread = threading.Thread(target=work, name="sum", daemon=True)
        thread.start()
        dead = False
        for _, requests, move, choice in (each for each in self._schedule.moves if each[0] == which):
            latest = time.monotonic() + _STILL
            while thread.is_alive() and time.monotonic() < latest:
                first = self._group.hosts[0]
                if net.uplink(first).packets - before[first.name] >= requests:
                    break
                thread.join(_POLL)
            dead = self._move(move, choice, dead)
        if dead:
            self._arena.revive()
        thread.join(_PATIENCE)
        if thread.is_alive():
            raise ViolationError("the job does not end")
        if failures:
            raise failures[0]
        return sums

    def _move(self, move: Move, choice: int, dead: bool) -> bool:
        """Make a move. Return whether the switch is dead."""
        group, worker = self._group, choice % len(self._group)
        if move is Move.RESTART:
            self.witness.restarted(group.job, worker)
            group.restart(worker)
        elif move is Move.REPLACE:
            spare = [each for each in self._arena.net.hosts[:-1] if each not in group.hosts]
            group.replace(worker, spare[choice % len(spare)])
            self._note()
        elif move is Move.KILL:
            self._arena.kill()
            return True
        elif move is Move.FAIL_OVER:
            self._arena.give_up()
            return False
        else:
            self._arena.revive()
            return False
        return dead

    def _note(self) -> None:
        """Record the workers of the current job."""
        self.jobs[self._group.job] = [(each.name, int(each.address)) for each in self._group.hosts]
