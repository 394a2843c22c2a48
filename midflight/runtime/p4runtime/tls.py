"""TLS for P4Runtime: authentication of servers and clients, and the roles that each client may take."""

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
    """A P4Runtime server's TLS settings: the paths of its certificate and its key, as PEM files.

    With `client_ca`, the certificate of an authority, each client needs a certificate that this authority signed; None
    accepts any client. `roles` maps the common name of a client's certificate to the roles that the client may take,
    where "" is the default role. If `roles` is not empty, other clients may only read. DeviceError for `roles` without
    `client_ca`.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.roles and self.client_ca is None:
            raise DeviceError("roles need client certificates, and so the authority that signs them (client_ca)")

    def credentials(self) -> grpc.ServerCredentials:
        """Return the credentials for gRPC. Raises DeviceError if a file cannot be read."""
        pair = _read(self.key), _read(self.certificate)
        authority = None if self.client_ca is None else _read(self.client_ca)
        return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)

    def roles_of(self, name: str | None) -> frozenset[str] | None:
        """Return the roles that a client may take, by the common name in its certificate; empty if it may only read.

        None means any role: `roles` is empty. A client without a certificate has the name None.
        """
        return self.roles.get(name or "", frozenset()) if self.roles else None


@dataclass(frozen=True, slots=True)
class ClientTls:
    """A session's TLS settings, as paths of PEM files.

    `ca` is the authority that signed the server's certificate. `certificate` and `key` are the client's own, None if
    the server requires none. `server_name` is the name in the server's certificate, if that is not the server's
    address.
    """

    ca: Path
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""

    def credentials(self) -> GRPCCredentialsTLS:
        """Return the credentials for finsy. Raises DeviceError if a file cannot be read."""
        return GRPCCredentialsTLS(
            cacert=_read(self.ca),
            cert=None if self.certificate is None else _read(self.certificate),
            private_key=None if self.key is None else _read(self.key),
            target_name_override=self.server_name,
        )


def is_local(address: str) -> bool:
    """Return whether only this machine can connect to an address, "host:port" or "unix:/path"."""
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
