"""The forging host of a game, which is outside the job, and sends forged, replayed and spoofed messages."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from midflight.runtime.endpoint.aggregation import ASK, BEGUN, REQUEST, RESULT, SHARE

__all__ = ["Forged", "forged"]

# Defined here again, so that the check does not depend on the code that it checks.
_HEAD = struct.Struct("!BBHIQHBBHH")
_LIE = 666


@dataclass(frozen=True, slots=True)
class Forged:
    """A message of the forging host: the port that it arrives by, and the source address that it carries.

    `port` and `source` are numbers of hosts: the workers from 0, then the host outside the job; -1 is the server.
    `datagram` is the UDP payload. `replay` is whether it is an unchanged message of its source, which the protocol
    treats as a duplicate.
    """

    port: int
    source: int
    datagram: bytes
    replay: bool = False


def forged(seen: bytes, source: int, workers: int, random_: random.Random, *, to_switch: bool) -> Forged:
    """Return what the forging host makes of a message that it has seen.

    `seen` is the message's UDP payload, `source` the number of the host that sent it, and `to_switch` whether it was
    sent to a switch or to a worker. `workers` is the number of workers. The forger knows one of two secrets: where a
    message must come from, or the token. In some attacks it is a member's own host, which knows both, and sends in the
    name of another member or in another job.
    """
    stranger = workers
    attack = random_.randrange(4)
    if attack == 0:
        return Forged(source if source >= 0 else stranger, source, seen, replay=True)
    if attack == 1:
        return Forged(stranger, stranger, seen)
    version, kind, application, sequence, token, slot, worker, flags, job, epoch = _HEAD.unpack_from(seen)
    values = seen[_HEAD.size :]
    if random_.random() < 0.7:
        values = struct.pack(f"!{len(values) // 4}i", *[_LIE] * (len(values) // 4))
    if attack == 3:
        member = random_.randrange(workers)
        others = [each for each in range(workers) if each != member]
        if random_.random() < 0.5 or not to_switch:
            worker, kind = random_.choice(others), REQUEST if to_switch else SHARE
        else:
            worker, kind, job = member, REQUEST, (job + random_.choice((1, 16_000, 2**15, 2**16 - 1))) % 2**16
        head = _HEAD.pack(version, kind, application, sequence, token, slot, worker, flags, job, epoch)
        return Forged(member, member, head + values)
    kind = REQUEST if to_switch else random_.choice((RESULT, RESULT, ASK, SHARE, BEGUN))
    sequence = (sequence + random_.choice((0, 0, 1, 2, 2**20))) % 2**32
    epoch, flags = (epoch + random_.choice((0, 1, 20_000))) % 2**16, random_.choice((0, flags, 1))
    job = (job + random_.choice((0, 0, 0, 1, 16_000))) % 2**16
    worker = random_.randrange(workers)
    if random_.random() < 0.5:
        spoofed = random_.choice([-1, *range(workers)])
        token = random_.choice((0, token ^ 1, token ^ 1 << 63, random_.getrandbits(64)))
    else:
        spoofed = stranger
    head = _HEAD.pack(version, kind, application, sequence, token, slot, worker, flags, job, epoch)
    return Forged(stranger, spoofed, head + values)
