"""Graphs for the tests: a small known one, and random ones."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import strategies as st

from midflight.runtime.steering import Graph, Host, Link, Switch


def host(number: int) -> Host:
    return Host(f"h{number}", 0x0200_0000_0000 + number, IPv4Address("10.0.0.0") + number)


def switch(number: int) -> Switch:
    return Switch(f"s{number}", 0x0600_0000_0000 + number)


def diamond() -> Graph:
    """Return h1 and h2 with two paths, through s2 (delay 2 + 2) or s3 (delay 1 + 5), and h3 at s3."""
    return Graph(
        hosts=(host(1), host(2), host(3)),
        switches=(switch(1), switch(2), switch(3), switch(4)),
        links=(
            Link("h1", 0, "s1", 1, 1),
            Link("s1", 2, "s2", 1, 2),
            Link("s1", 3, "s3", 1, 1),
            Link("s2", 2, "s4", 1, 2),
            Link("s3", 2, "s4", 2, 5),
            Link("s4", 3, "h2", 0, 1),
            Link("s3", 3, "h3", 0, 1),
        ),
    )


def star(hosts: int) -> Graph:
    """`hosts` hosts around s1, host n on port n."""
    numbers = range(1, hosts + 1)
    return Graph(tuple(map(host, numbers)), (switch(1),), tuple(Link(f"h{n}", 0, "s1", n) for n in numbers))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draw up to seven switches with arbitrary links, also parallel and without delay, and hosts with one or two."""
    switches = [switch(n) for n in range(1, draw(st.integers(1, 7)) + 1)]
    hosts = [host(n) for n in range(1, draw(st.integers(1, 5)) + 1)]
    names = st.sampled_from([each.name for each in switches])
    delays = st.integers(0, 4)
    ends = draw(st.lists(st.tuples(names, names, delays), max_size=14))
    for each in hosts:
        ends += [(each.name, draw(names), draw(delays)) for _ in range(draw(st.integers(1, 2)))]
    used = dict.fromkeys([each.name for each in switches] + [each.name for each in hosts], 0)
    links = []
    for left, right, delay in ends:
        if left == right:
            continue
        used[left] += 1
        used[right] += 1
        links.append(Link(left, used[left], right, used[right], delay))
    return Graph(tuple(hosts), tuple(switches), tuple(draw(st.permutations(links))))
