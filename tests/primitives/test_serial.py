"""Serial numbers and population counts: all pairs of numbers, on the executed kernel and on switches."""

from __future__ import annotations

import pytest

from midflight.primitives import Program
from tests.primitives.agreement import agree, agree_on_bmv2
from tests.primitives.more_kernels import Latest
from tests.primitives.rig import Sent

PAIRS = [(held, number) for held in range(16) for number in range(1, 16)]


def trace() -> list[Sent]:
    """Return requests for all pairs of 4-bit numbers, each pair in a separate flow."""
    both = [(flow, number) for flow, pair in enumerate(PAIRS) for number in pair]
    fields = [{"flow": flow, "number": number, "ahead": 0, "ones": 0} for flow, number in both]
    return [Sent("latest", 1, each) for each in fields]


def rfc1982(held: int, number: int) -> int:
    """Return 1 if a 4-bit number is newer, and -1 if it is older or incomparable (section 3.2)."""
    newer = (held < number and number - held < 8) or (held > number and held - number > 8)
    return 0 if held == number else 1 if newer else -1


def test_a_newer_number_replaces_an_older_one() -> None:
    program, sent = Program(Latest("latest")), trace()
    seen, _ = agree(program, sent)
    second = [each.fields["ahead"] for each in seen[1::2] if each.fields is not None]
    assert len(second) == len(PAIRS)
    for (held, number), ahead in zip(PAIRS, second, strict=True):
        if held == 0:
            assert ahead == 1, "an empty element accepts any number"
        else:
            assert (ahead > 0) - (ahead < 0) == rfc1982(held, number), (held, number)
            assert (held + ahead) % 16 == number

    # Repeating a number shows whether it is stored.
    held_now = [number if held == 0 or rfc1982(held, number) > 0 else held for held, number in PAIRS]
    again = [Sent("latest", 1, {"flow": flow, "number": each, "ahead": 0, "ones": 0})
             for flow, each in enumerate(held_now)]  # fmt: skip
    seen, _ = agree(program, sent + again)
    assert {each.fields["ahead"] for each in seen[len(sent) :] if each.fields is not None} == {0}


def test_popcount_counts_the_set_bits() -> None:
    sent = trace()
    seen, _ = agree(Program(Latest("latest")), sent)
    for each, one in zip(sent, seen, strict=True):
        assert one.fields is not None
        flow, number = each.fields["flow"], each.fields["number"]
        assert one.fields["ones"] == number.bit_count() + 100 * (16 - flow.bit_count()) + 10_000 * (number & 1)


@pytest.mark.bmv2
def test_serial_numbers_and_counts_on_bmv2() -> None:
    agree_on_bmv2(Program(Latest("latest")), trace())
