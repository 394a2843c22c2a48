"""Services on a network's hosts: switches steer requests to them, and the hosts receive packets for their address."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from midflight.errors import MidflightError
from midflight.runtime.controller.services import Services
from midflight.testbed.fabric.base import Host

__all__ = ["steer"]


def steer(
    services: Services, hosts: Mapping[str, Host], service: str, address: str, weights: Mapping[str, float]
) -> None:
    """Add a service, and let the hosts that are its instances receive packets for its address. See `Net.steer`.

    For a prefix, hosts receive nothing more. MidflightError or DeviceError if a host cannot receive the address; the
    service is then removed again, and no host receives it any more.
    """
    services.add(service, address, weights)
    accepted: list[Host] = []
    try:
        network = services[service].address
        if network.prefixlen == network.max_prefixlen:
            for name in weights:
                hosts[name].accept(network.network_address)
                accepted.append(hosts[name])
    except BaseException:
        for each in accepted:
            with suppress(MidflightError):  # the first error is the one to raise
                each.reject(network.network_address)
        services.remove(service)
        raise
