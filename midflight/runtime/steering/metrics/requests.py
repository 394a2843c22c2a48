"""The demand model: what a class of requests needs, and whether a resource can serve it."""

from __future__ import annotations

from dataclasses import dataclass, field

from midflight.errors import MidflightError
from midflight.runtime.steering.metrics.resources import Resource, Room

__all__ = ["Match", "RequestClass", "match"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestClass:
    """Requests with the same needs.

    * `operations`: operations of one request, at least 0; `memory`: the bytes that it occupies, at least 0.
    * `latency_bound`: the seconds in which the answer must be back, above 0; None is no bound.
    * `tenant`: whose requests they are. `primitive`: the name of the primitive that answers them, or None if only
      general code does.
    * `room`: what the primitive needs of a switch pipeline.

    MidflightError if one of these numbers is out of its range.
    """

    name: str
    operations: float
    memory: int = 0
    latency_bound: float | None = None
    tenant: str = ""
    primitive: str | None = None
    room: Room = field(default_factory=Room)

    def __post_init__(self) -> None:
        if not self.operations >= 0 or self.memory < 0 or (self.latency_bound is not None and self.latency_bound <= 0):
            raise MidflightError(
                f"request class {self.name}: operations and memory must be at least 0, and a latency bound positive"
            )


@dataclass(frozen=True, slots=True)
class Match:
    """Whether a resource can serve a request class, and at what cost.

    `reasons` are those against it, as texts. `seconds` is the expected time from the request to the answer, with the
    network's; `joules` and `grams` are energy and carbon of one request.
    """

    reasons: tuple[str, ...]
    seconds: float
    joules: float
    grams: float

    @property
    def fits(self) -> bool:
        """Whether the resource can serve the request class: whether there are no `reasons` against it."""
        return not self.reasons


def match(request: RequestClass, resource: Resource, round_trip: float = 0.0) -> Match:
    """Return whether a resource that is `round_trip` seconds away can serve a request class, and at what cost.

    Raises nothing: reasons against it are part of the result.
    """
    reasons = []
    if resource.tenants is not None and request.tenant not in resource.tenants:
        reasons.append(f"does not serve the tenant {request.tenant or 'without a name'}")
    if resource.primitives is not None and request.primitive not in resource.primitives:
        reasons.append(f"does not compute {request.primitive or 'general code'}")
    if resource.memory is not None and request.memory > resource.memory:
        reasons.append(f"needs {request.memory:,} bytes of memory, has {resource.memory:,}")
    if resource.room is not None:
        reasons += resource.room.lacks(request.room)
    seconds = round_trip + resource.time(request.operations)
    if request.latency_bound is not None and seconds > request.latency_bound:
        reasons.append(f"answers after {seconds * 1e3:.3g} ms, at most {request.latency_bound * 1e3:.3g} ms allowed")
    energy = resource.energy
    return Match(tuple(reasons), seconds, energy.joules(request.operations), energy.grams(request.operations))
