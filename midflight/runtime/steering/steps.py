"""The steps of which changes to a switch consist: desired table entries, multicast groups and clone sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from midflight.runtime.steering.entry import Entry
from midflight.runtime.steering.routes import Member, Route
from midflight.runtime.steering.standing import Admission, Child

__all__ = ["Copies", "Entry", "Step", "admitting", "computing", "delivering", "enrolling", "inlets", "rank", "routing"]

ROUTES = {4: "ingress.route", 6: "ingress.route_ipv6"}
"""The table of routes, by IP version."""
ADMISSION, MEMBERSHIP, DELIVER = "ingress.admission", "ingress.membership", "egress.deliver"
STEERING = tuple(
    f"ingress.steering.{each}" for each in ("services", "classes", "buckets", "instances", "contacts", "trunks")
)
"""The tables of a program with `Steering`, each before those that its entries refer to."""
INSTANCES = "ingress.steering.instances"
"""The table of the ways to instances."""
REQUESTS = "ingress.steering.requests"
"""The counter of what is sent to each instance, by its number."""
APPLICATION, INGRESS = "hdr.midflight.application", "standard_metadata.ingress_port"


@dataclass(frozen=True, slots=True)
class Copies:
    """The desired ports to which a multicast group ("group") or clone session ("mirror") copies. Without ports, there
    is none.
    """

    kind: Literal["group", "mirror"]
    number: int
    ports: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, object]:
        """The kind and the number: of two steps with the same key, the later one replaces the earlier."""
        return self.kind, self.number

    def deletion(self) -> Copies:
        """Return the step that deletes this group or session."""
        return Copies(self.kind, self.number)


Step = Entry | Copies


def rank(step: Step) -> int:
    """Return a sort key for the deletion of steps: routes first, then services, then admissions, then the receivers
    that these depend on.
    """
    table = step.table if isinstance(step, Entry) else ""
    return (*ROUTES.values(), *STEERING, ADMISSION, MEMBERSHIP, DELIVER, "").index(table)


def routing(route: Route) -> Entry:
    """Return the table entry that implements a route: packets to its prefix leave by its port, with its MAC address."""
    version = route.address.version
    match = ((f"hdr.ipv{version}.destination", f"{route.address}/{route.prefix}"),)
    return Entry(ROUTES[version], match, "ingress.to_port", (("port", route.port), ("mac", route.mac)))


def computing(admission: Admission) -> list[Step]:
    """Return all steps that make a switch compute on an application, in order: receivers first, then the admission."""
    steps: list[Step] = [delivering(admission.application, each) for each in admission.members]
    outlets = tuple(sorted(each.port for each in admission.members))
    return [*steps, Copies("group", admission.group, outlets), *enrolling(admission), *admitting(admission)]


def inlets(admission: Admission) -> tuple[int | None, ...]:
    """Return the ports by which an application's requests arrive, in the order of `admitting`; (None,) for
    all ports.
    """
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
    """Return the entries that bind an application's senders: one for each port, address, member and job.

    Empty if the admission does not restrict its senders.
    """
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
    """Return the entry by which the switch addresses the copy of a result to one member; `application` is the id."""
    match = (APPLICATION, application), ("standard_metadata.egress_port", member.port)
    if isinstance(member, Child):
        return Entry(DELIVER, match, "egress.to_switch", (("mac", member.mac),))
    return Entry(
        DELIVER,
        match,
        "egress.to_host" if member.address.version == 4 else "egress.to_host_ipv6",
        (("mac", member.mac), ("address", int(member.address)), ("udp_port", member.udp_port)),
    )
