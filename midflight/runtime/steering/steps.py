"""The steps of a change: desired table entries, multicast groups and clone sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from midflight.runtime.steering.routes import Member, Route
from midflight.runtime.steering.standing import Admission, Child

__all__ = ["Copies", "Entry", "Step", "admitting", "computing", "delivering", "enrolling", "inlets", "rank", "routing"]

ROUTES = {4: "ingress.route", 6: "ingress.route_ipv6"}
"""The table of routes, by IP version."""
ADMISSION, MEMBERSHIP, DELIVER = "ingress.admission", "ingress.membership", "egress.deliver"
APPLICATION, INGRESS = "hdr.midflight.application", "standard_metadata.ingress_port"


@dataclass(frozen=True, slots=True)
class Entry:
    """The desired state of one match of a table: an action with its parameters. Without an action, no entry."""

    table: str
    match: tuple[tuple[str, object], ...]
    action: str = ""
    params: tuple[tuple[str, int], ...] = ()
    priority: int = 0
    rate: int = 0

    @property
    def key(self) -> tuple[str, object]:
        """What the step is about. Of two steps with the same key, the later one is in force."""
        return self.table, self.match

    def deletion(self) -> Entry:
        """Return the step that deletes this entry."""
        return Entry(self.table, self.match, priority=self.priority)


@dataclass(frozen=True, slots=True)
class Copies:
    """The desired ports of a multicast group or clone session. Without ports, it does not exist."""

    kind: Literal["group", "mirror"]
    number: int
    ports: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, object]:
        """What the step is about, as for `Entry`."""
        return self.kind, self.number

    def deletion(self) -> Copies:
        """Return the step that deletes this group or session."""
        return Copies(self.kind, self.number)


Step = Entry | Copies


def rank(step: Step) -> int:
    """Return the order in which steps are deleted: routes first, then admissions, then what those depend on."""
    table = step.table if isinstance(step, Entry) else ""
    return (*ROUTES.values(), ADMISSION, MEMBERSHIP, DELIVER, "").index(table)


def routing(route: Route) -> Entry:
    """Return the entry for a route."""
    version = route.address.version
    match = ((f"hdr.ipv{version}.destination", f"{route.address}/{route.prefix}"),)
    return Entry(ROUTES[version], match, "ingress.to_port", (("port", route.port), ("mac", route.mac)))


def computing(admission: Admission) -> list[Step]:
    """Return all steps that make a switch compute on an application, in order: receivers first, then the admission."""
    steps: list[Step] = [delivering(admission.application, each) for each in admission.members]
    outlets = tuple(sorted(each.port for each in admission.members))
    return [*steps, Copies("group", admission.group, outlets), *enrolling(admission), *admitting(admission)]


def inlets(admission: Admission) -> tuple[int | None, ...]:
    """Return the ports by which requests arrive, in the order of `admitting`. None stands for all ports."""
    return (None,) if admission.ports is None else admission.ports


def admitting(admission: Admission) -> list[Entry]:
    """Return the entries that admit an application, one for each of its ports."""
    params = (
        ("group", admission.group),
        ("epoch", admission.epoch),
        ("token", admission.token),
        ("bound", int(admission.senders is not None)),
    )
    matches: list[tuple[tuple[str, object], ...]] = [((APPLICATION, admission.application),)]
    if admission.ports is not None:
        matches = [(*matches[0], (INGRESS, port)) for port in admission.ports]
    return [Entry(ADMISSION, each, "ingress.admit", params, priority=1, rate=admission.rate) for each in matches]


def enrolling(admission: Admission) -> list[Entry]:
    """Return the entries of an application's members, one for each port, address and number. None for an open one."""
    return [
        Entry(
            MEMBERSHIP,
            (
                (APPLICATION, admission.application),
                ("hdr.midflight.kind", each.kind),
                (INGRESS, each.port),
                ("meta.sender", int(each.address)),
                ("meta.member", each.number),
                ("meta.job", each.job),
            ),
            "NoAction",
        )
        for each in admission.senders or ()
    ]


def delivering(application: int, member: Member | Child) -> Entry:
    """Return the entry that addresses the copy of a result for one member."""
    match = (APPLICATION, application), ("standard_metadata.egress_port", member.port)
    if isinstance(member, Child):
        return Entry(DELIVER, match, "egress.to_switch", (("mac", member.mac),))
    return Entry(
        DELIVER,
        match,
        "egress.to_host" if member.address.version == 4 else "egress.to_host_ipv6",
        (("mac", member.mac), ("address", int(member.address)), ("udp_port", member.udp_port)),
    )
