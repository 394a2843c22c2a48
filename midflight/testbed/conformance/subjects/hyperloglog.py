"""The conformance subject of `HyperLogLog`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import HyperLogLog, Verdict
from midflight.primitives.oracles.hyperloglog import records
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject

__all__ = ["SUBJECT"]

# Items of 32 bits whose hashes have the highest bit 3, 4, ... 31, and two whose hashes are 2**16 - 1 and 0.
RARE = (
    0x011231CF, 0xDF405646, 0x5FFF8F86, 0x5367B374, 0x95C79C56, 0x8D90521B, 0x5659DB88, 0xA79D45F3, 0x44D7C1E3,
    0x925C069C, 0xFD333A15, 0x5D781F9C, 0xA03799F6, 0x9249BF10, 0xF1240F1F, 0xED381CAA, 0xE4DA4432, 0xFFA4D830,
    0x7318DD29, 0x958AF468, 0xCC0CF3BC, 0x4E3AB84E, 0xFBAFD0D3, 0x2A62CD27, 0x0E8FABFD, 0x9D0AD96D,
)  # fmt: skip


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    largest = 2 ** parameters["item_bits"] - 1
    rare = [each for each in RARE if each <= largest]
    for sequence in range(random.randint(10, 40)):
        item = random.choice(
            (0, largest, random.randint(0, 20), random.randint(0, largest), *[random.choice(rare)] * 4)
        )
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, {"item": item})


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    found = records([each.fields["item"] for each in requests], **parameters)
    return [
        Answer(Verdict.FORWARD, each.fields, () if record is None else (record,))
        for each, record in zip(requests, found, strict=True)
    ]


SUBJECT = Subject(
    primitive=HyperLogLog,
    parameters=(
        {"precision": 4, "item_bits": 32},
        {"precision": 6, "item_bits": 32},
        {"precision": 5, "item_bits": 77},
    ),
    requests=_requests,
    oracle=_oracle,
    equivalent={"for step in range(5): -> for step in range(6):": "the sixth step shifts by 0 and adds 0"},
)
