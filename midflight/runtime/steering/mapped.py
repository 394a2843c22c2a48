"""Addresses of both IP versions as switches compare them: as IPv6 addresses, in which IPv4 addresses are embedded."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network

from midflight.runtime.steering.graph import IPAddress

__all__ = ["IPNetwork", "mapped", "mapped_prefix"]

IPNetwork = IPv4Network | IPv6Network

_MAPPED = IPv6Address("64:ff9b:1::")


def mapped(address: IPAddress) -> int:
    """Return an address as the IPv6 address that a switch compares: IPv4 addresses are mapped to 64:ff9b:1::/96."""
    return int(address) if address.version == 6 else int(_MAPPED) + int(address)


def mapped_prefix(network: IPNetwork) -> tuple[int, int]:
    """Return a network as the IPv6 prefix that a switch compares: its address and its length in bits.

    An IPv4 network becomes one of 64:ff9b:1::/96, so its length grows by 96.
    """
    return mapped(network.network_address), network.prefixlen + (96 if network.version == 4 else 0)
