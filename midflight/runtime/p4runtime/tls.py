"""TLS for both ends of P4Runtime: who a server is, who its clients are, and which roles those may take."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from finsy import GRPCCredentialsTLS

from midflight.errors import DeviceError

__all__ = ["ClientTls", "ServerTls", "is_local"]


@dataclass(frozen=True, slots=True)
class ServerTls:
    """A server's certificate with its key, as PEM files.

    With `client_ca` every client needs a certificate that this authority has signed. With `roles`, which are by the
    common name of a client's certificate, a client takes those roles alone, "" for the default one; whoever is not
    named takes none, and can only read.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.roles and self.client_ca is None:
            raise DeviceError("roles are bound to client certificates, which take the authority that signs them")

    def credentials(self) -> grpc.ServerCredentials:
        """Return them as gRPC takes them; DeviceError where a file cannot be read."""
        pair = _read(self.key), _read(self.certificate)
        authority = None if self.client_ca is None else _read(self.client_ca)
        return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)

    def roles_of(self, name: str | None) -> frozenset[str] | None:
        """Return the roles that a client may take, by the common name of its certificate; None for any."""
        return self.roles.get(name or "", frozenset()) if self.roles else None


@dataclass(frozen=True, slots=True)
class ClientTls:
    """What a session needs of TLS, as PEM files: the authority that signed the server's certificate, and its own.

    `server_name` is the name in the server's certificate where that is not the address.
    """

    ca: Path
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""

    def credentials(self) -> GRPCCredentialsTLS:
        """Return them as finsy takes them; DeviceError where a file cannot be read."""
        return GRPCCredentialsTLS(
            cacert=_read(self.ca),
            cert=None if self.certificate is None else _read(self.certificate),
            private_key=None if self.key is None else _read(self.key),
            target_name_override=self.server_name,
        )


def is_local(address: str) -> bool:
    """Return whether only this machine reaches an address, "host:port" or "unix:/path"."""
    if address.startswith("unix"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from None
