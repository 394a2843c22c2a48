"""Generated packets."""

from __future__ import annotations

from midflight.testbed.fuzz.draw import Draw, width_of
from midflight.testbed.fuzz.types import SERIAL, Types

__all__ = ["draw_packets"]

PORTS = 8


def draw_packets(draw: Draw, types: Types, count: int) -> tuple[tuple[int, bytes], ...]:
    """Return packets with the ports that they arrive by. Most begin with the program's first header, and have values
    that the program and its entries have; some are too short for it, or random.
    """
    return tuple((draw.between(0, PORTS - 1), _packet(draw, types)) for _ in range(count))


def _packet(draw: Draw, types: Types) -> bytes:
    if draw.chance(0.08):
        return draw.octets(draw.between(1, 40))
    bits = width = 0
    for name, kind in types.first:
        size = 8 if kind == SERIAL else width_of(kind)
        value = draw.between(0, 3) if name == "tag" and draw.chance(0.4) else draw.value(size)
        bits, width = bits << size | value, width + size
    head = bits.to_bytes(width // 8, "big")
    rest = b"".join(
        draw.value(8).to_bytes(1, "big") if draw.chance(0.7) else draw.octets(1) for _ in range(draw.between(0, 60))
    )
    return head + rest
