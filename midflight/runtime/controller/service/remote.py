"""The services of a running controller, as a path selector in another process sees them."""

from __future__ import annotations

from collections.abc import Mapping

from midflight.runtime.controller.service.client import CommandClient
from midflight.runtime.controller.service.wire import Json
from midflight.runtime.steering.cps.rounds import Served, ServedClass, ServedInstance

__all__ = ["RemoteServices"]


class RemoteServices:
    """A `steering.cps.rounds.Network` over a controller's command socket.

    Methods raise the MidflightError that the controller reports, or one of their own if it does not answer.
    """

    def __init__(self, client: CommandClient) -> None:
        self._client = client

    def served(self, switch: str = "") -> tuple[Served, ...]:
        """Return all services, as they are seen from an ingress, or from the whole network if `switch` is empty.

        MidflightError if there is no such switch, or if the controller does not answer.
        """
        return tuple(
            Served(
                each["name"],
                each["cs_id"],
                _instances(each),
                tuple(ServedClass(it["name"], _instances(it)) for it in each["classes"]),
            )
            for each in self._client.call("services", switch=switch)["services"]
        )

    def weigh(
        self,
        service: str,
        weights: Mapping[str, float],
        *,
        traffic_class: str = "",
        switch: str = "",
        valid: float | None = None,
        computed: bool = False,
    ) -> int:
        """Set the weights of a service's instances, by host, and return how many buckets moved: see `Services.weigh`.

        MidflightError if there is no such service, class, host or switch, if a weight or `valid` is out of its range,
        if all weights are 0, or if the controller does not answer. DeviceError if a switch refuses.
        """
        given: Json = {"service": service, "weights": dict(weights), "class": traffic_class, "switch": switch}
        found = self._client.call("weigh_service", **given | {"valid": valid, "computed": computed})
        return int(found["moved"])


def _instances(found: Json) -> tuple[ServedInstance, ...]:
    return tuple(ServedInstance(**it) for it in found["instances"])
