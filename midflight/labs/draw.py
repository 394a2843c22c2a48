"""Random addresses, as numbers, and payloads for hidden packets."""

from __future__ import annotations

from random import Random

__all__ = ["draw_bytes", "draw_ip", "draw_mac", "draw_port", "packet_order"]


def draw_mac(random: Random) -> int:
    """Return a random unicast MAC address that is locally administered, 02:…, as a number."""
    return 0x02 << 40 | random.getrandbits(40)


def draw_ip(random: Random, prefix: int = 10 << 24, length: int = 8) -> int:
    """Return a random IPv4 address, as a number, below a prefix with `length` bits, 10.0.0.0/8 by default."""
    return prefix | random.getrandbits(32 - length)


def draw_port(random: Random) -> int:
    """Return a random UDP or TCP port number from 1024 to 65535."""
    return random.randrange(1024, 65536)


def draw_bytes(random: Random, least: int = 4, most: int = 40) -> bytes:
    """Return random bytes, at least `least` and at most `most` of them."""
    return random.randbytes(random.randint(least, most))


def packet_order(random: Random, counts: dict[str, int]) -> list[str]:
    """Return a list with each key as many times as its count, in random order."""
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    random.shuffle(kinds)
    return kinds
