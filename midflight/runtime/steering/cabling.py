"""Which port each end of a link is plugged in: as told, or numbered in the order of the links."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from midflight.errors import MidflightError

__all__ = ["End", "parse_end", "plugged"]

End = tuple[str, int]
"""A node and the number of its port."""


def parse_end(text: str) -> tuple[str, int | None]:
    """Take an end of a link apart: "s1:3" is port 3 of s1, and "s1" a port that is not told."""
    name, colon, number = text.partition(":")
    if colon and not number.isdecimal():
        raise MidflightError(f"{text!r} is no end of a link", hint='it is a node, "s1", or a node and its port, "s1:3"')
    return name, int(number) if colon else None


def plugged(links: Sequence[tuple[str, str]], switches: Collection[str]) -> list[tuple[End, End]]:
    """Return the ends of all links with their ports.

    A switch's ports that are not told count from 1, in the order of the links, and leave out those that are. A host has
    port 0 alone. MidflightError for what is no end of a link.
    """
    given = [(parse_end(one), parse_end(other)) for one, other in links]
    told = {(name, number) for ends in given for name, number in ends if number is not None}
    upcoming = dict.fromkeys(switches, 1)

    def port(name: str, number: int | None) -> End:
        if number is None and name in upcoming:
            number = upcoming[name]
            while (name, number) in told:
                number += 1
            upcoming[name] = number + 1
        return name, number or 0

    return [(port(*one), port(*other)) for one, other in given]
