"""The port numbers at both ends of links: as given in the description of a network, or numbered in the links' order."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from midflight.errors import MidflightError

__all__ = ["End", "parse_end", "plugged"]

_MOST_DIGITS = 10  # of a port: those of a 32-bit number

End = tuple[str, int]
"""The end of a link: the name of a node, and the number of its port."""


def parse_end(text: str) -> tuple[str, int | None]:
    """Return the node and port that a text names: "s1:3" is port 3 of s1; "s1" gives no port, so the port is None.

    MidflightError if the port is not a number of at most ten digits.
    """
    name, colon, number = text.partition(":")
    if colon and not (number.isdecimal() and len(number) <= _MOST_DIGITS):
        raise MidflightError(
            f"{text!r} is not an end of a link", hint='write a node, "s1", or a node and its port, "s1:3"'
        )
    return name, int(number) if colon else None


def plugged(links: Sequence[tuple[str, str]], switches: Collection[str]) -> list[tuple[End, End]]:
    """Return both ends of each link with their ports, in the order of `links`, whose ends are texts as for `parse_end`.

    Ports of the nodes in `switches` that are not given are numbered from 1, in the order of the links, skipping those
    that are given. Any other node is a host, whose port is 0 if not given. Whether the nodes exist and each port has
    one link is not checked: see `Graph`. MidflightError if an end is malformed.
    """
    parsed = [(parse_end(one), parse_end(other)) for one, other in links]
    given = {(name, number) for ends in parsed for name, number in ends if number is not None}
    upcoming = dict.fromkeys(switches, 1)

    def port(name: str, number: int | None) -> End:
        if number is None and name in upcoming:
            number = upcoming[name]
            while (name, number) in given:
                number += 1
            upcoming[name] = number + 1
        return name, number or 0

    return [(port(*one), port(*other)) for one, other in parsed]
