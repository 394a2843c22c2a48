"""Long runs that show that nothing crashes, hangs or loses count: `python -m tests.fuzz.proof packets|tokens`.

`packets` sends valid, mutated and random packets of 0 to 65,535 bytes through generated programs. `tokens` checks
mutated texts of generated programs.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass, field

import numpy as np

from midflight.errors import MidflightError
from midflight.p4.frontend import check
from midflight.runtime.engine import Engine, Packets
from midflight.testbed.fuzz.program import draw_case
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import targets

__all__ = ["PacketProof", "TokenProof", "main"]

LONGEST = 65_535
BATCH = 500


@dataclass(slots=True)
class PacketProof:
    """Packets through generated programs. `wrong` has what was inconsistent, by seed of the program."""

    programs: int = 0
    packets: int = 0
    sent: int = 0
    octets: int = 0
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def run(self, seeds: range, packets: int) -> None:
        """Send a number of packets through the program of each seed."""
        pool = np.random.default_rng(seeds[0]).integers(0, 256, 1 << 20, np.uint8).tobytes()
        for seed in seeds:
            self._program(seed, packets, pool)

    def _program(self, seed: int, packets: int, pool: bytes) -> None:
        case, draw = draw_case(seed, 64), random.Random(f"packets {seed}")
        text = str(case.program)
        engine = Engine(check(text, f"seed-{seed}.p4"))
        sent = size = 0
        for first in range(0, packets, BATCH):
            batch = [self._packet(case.packets, pool, draw) for _ in range(min(BATCH, packets - first))]
            begin = time.monotonic()
            sent += len(engine.process(Packets.from_list(batch), first))
            self.slowest = max(self.slowest, time.monotonic() - begin)
            size += sum(len(data) for _, data in batch)
        stats = engine.stats
        if (stats.received, stats.sent) != (packets, sent):
            self.wrong.append(f"seed {seed}: {stats.received} of {packets} received, {stats.sent} of {sent} sent")
        copies = any(each in text for each in ("clone", "mcast_grp", "recirculate", "resubmit"))
        if not copies and stats.received != stats.sent + sum(stats.dropped.values()):
            self.wrong.append(f"seed {seed}: {stats}")
        self.programs, self.packets = self.programs + 1, self.packets + packets
        self.sent, self.octets = self.sent + sent, self.octets + size

    @staticmethod
    def _packet(valid: tuple[tuple[int, bytes], ...], pool: bytes, draw: random.Random) -> tuple[int, bytes]:
        """Return a valid, mutated, short random or long packet."""
        port, data = draw.choice(valid)
        match draw.randrange(20):
            case 0:
                length = draw.choice((0, 1, LONGEST, draw.randrange(LONGEST + 1)))
                start = draw.randrange(len(pool) - LONGEST)
                return draw.randrange(512), pool[start : start + length]
            case 1 | 2 | 3 | 4 | 5:
                start = draw.randrange(len(pool) - LONGEST)
                return draw.randrange(512), pool[start : start + draw.randrange(200)]
            case 6 | 7 | 8 | 9 | 10 | 11 | 12:
                changed = bytearray(data)
                for _ in range(draw.randrange(1, 5)):
                    changed[draw.randrange(len(changed))] = draw.randrange(256)
                return port, bytes(changed[: draw.randrange(len(changed) + 1)] if draw.random() < 0.3 else changed)
            case _:
                return port, data


@dataclass(slots=True)
class TokenProof:
    """Mutated texts through the checker. `wrong` has the exceptions that are no errors for users."""

    programs: int = 0
    accepted: int = 0
    tokens: int = 0
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def run(self, count: int, seed: int) -> None:
        """Check a number of mutated programs."""
        target, draw = targets()["checker"], random.Random(f"tokens {seed}")
        seeds = [*target.seeds, *(str(draw_case(each).program).encode() for each in range(seed, seed + 20))]
        for _ in range(count):
            data = mutated(draw.choice(seeds), seeds, target.words, draw)
            begin = time.monotonic()
            try:
                target.run(data)
                self.accepted += 1
            except MidflightError:
                pass
            except Exception as error:
                self.wrong.append(f"{type(error).__name__}: {error} on {data!r}")
            self.slowest = max(self.slowest, time.monotonic() - begin)
            self.programs += 1
            self.tokens += len(data.split())


def main() -> int:
    """Run one of the proofs. The exit status is 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.proof", description=__doc__)
    parser.add_argument("what", choices=["packets", "tokens"])
    parser.add_argument("--count", type=int, default=1_000_000, help="the number of packets, or of mutated programs")
    parser.add_argument("--programs", type=int, default=50, help="the number of programs that share the packets")
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    if wanted.what == "packets":
        packets = PacketProof()
        packets.run(range(wanted.seed, wanted.seed + wanted.programs), wanted.count // wanted.programs)
        done: PacketProof | TokenProof = packets
        said = (
            f"{packets.packets:,} packets ({packets.octets:,} bytes) over {packets.programs} programs, "
            f"{packets.sent:,} sent, the slowest batch of {BATCH} took {packets.slowest:.2f} s"
        )
    else:
        tokens = TokenProof()
        tokens.run(wanted.count, wanted.seed)
        done = tokens
        said = (
            f"{tokens.programs:,} mutated programs ({tokens.tokens:,} words), {tokens.accepted:,} accepted, "
            f"the slowest took {tokens.slowest:.2f} s"
        )
    sys.stdout.write("\n    ".join([f"{said}, {len(done.wrong)} wrong", *done.wrong]) + "\n")
    return int(bool(done.wrong))


if __name__ == "__main__":
    sys.exit(main())
