"""Known policies that choose an instance for one request, as pure functions.

All take sequences with one value for each candidate, in the same order, and return the index of one of them. Loads are
requests in an instance for each of its servers. `up` says which candidates are known to be alive; at least one must be.
Ties go to the candidate that is listed first. Random numbers are passed in, from 0 up to but not including 1.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["ecmp", "jbsq", "least_loaded", "nearest", "oracle", "power_of_two", "random_choice", "round_robin"]


def nearest(delays: Sequence[float], up: Sequence[bool]) -> int:
    """Return the index of the candidate with the smallest delay, as anycast routing does.

    `delays` and `up` have a value for each candidate. `up` is whether it is alive; ValueError if none is.
    """
    return min((each for each in range(len(delays)) if up[each]), key=delays.__getitem__)


def random_choice(up: Sequence[bool], draw: float) -> int:
    """Return the index of a candidate that is alive, each with the same probability.

    `up` is whether each candidate is alive; at least one must be. `draw` is a random number from 0 up to but not
    including 1.
    """
    alive = [each for each, good in enumerate(up) if good]
    return alive[int(draw * len(alive))]


def round_robin(up: Sequence[bool], count: int) -> int:
    """Return the index of the next candidate in turn that is alive. `count` is the number of choices so far.

    `up` is whether each candidate is alive; at least one must be.
    """
    start = count % len(up)
    return next(each % len(up) for each in range(start, start + len(up)) if up[each % len(up)])


def ecmp(hops: Sequence[int], up: Sequence[bool], flow: int) -> int:
    """Return the index of one of the candidates with the fewest hops, by a hash of the flow (equal-cost multipath).

    `hops` and `up` have a value for each candidate; those that are not up are left out, and ValueError if none is up.
    `flow` is the hash, a non-negative integer.
    """
    fewest = min(hops[each] for each in range(len(hops)) if up[each])
    equal = [each for each in range(len(hops)) if up[each] and hops[each] == fewest]
    return equal[flow % len(equal)]


def least_loaded(loads: Sequence[float], delays: Sequence[float], up: Sequence[bool]) -> int:
    """Return the index of the candidate with the smallest known load, however old it is. Ties go to the smaller delay.

    All parameters have a value for each candidate; those that are not up are left out, and ValueError if none is up.
    """
    return min((each for each in range(len(loads)) if up[each]), key=lambda each: (loads[each], delays[each]))


def power_of_two(loads: Sequence[float], up: Sequence[bool], first: int, second: int) -> int:
    """Return the less loaded of the candidates with the indexes `first` and `second`, which the caller drew at random.

    Return `first` if they are equal. `loads` and `up` have a value for each candidate. One that is down is chosen only
    if both are. (M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.)
    """
    if up[first] != up[second]:
        return first if up[first] else second
    return second if loads[second] < loads[first] else first


def jbsq(outstanding: Sequence[float], delays: Sequence[float], up: Sequence[bool], bound: float) -> int | None:
    """Return the index of the candidate with the fewest outstanding requests for each of its servers.

    None if none is up, or if all that are up have `bound` or more; the request then waits until a reply arrives. The
    other parameters have a value for each candidate. Ties go to the smaller delay. (JBSQ(n): M. Kogias et al., "R2P2:
    Making RPCs first-class datacenter citizens", 2019.)
    """
    free = [each for each in range(len(outstanding)) if up[each] and outstanding[each] < bound]
    return min(free, key=lambda each: (outstanding[each], delays[each])) if free else None


def oracle(finishes: Sequence[float], up: Sequence[bool]) -> int:
    """Return the index of the candidate that will have answered first, of those that are `up`; ValueError if none is.

    `finishes` is the time at which each one would, which only a simulator knows: from what is queued, in service and
    under way to it now, and from how long each of these requests will take.
    """
    return min((each for each in range(len(finishes)) if up[each]), key=finishes.__getitem__)
