"""TLS for P4Runtime: authentication of servers and clients, and the roles that each client may take."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from midflight.errors import DeviceError

__all__ = ["ClientTls", "ServerTls", "is_local", "open_channel"]

# Clients should accept more metadata than gRPC's 8 KB, for error details (P4Runtime 1.5, section 21.3.1).
_OPTIONS = (("grpc.max_metadata_size", 64 * 1024), ("grpc.max_reconnect_backoff_ms", 15_000))


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

    def credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials for gRPC. Raises DeviceError if a file cannot be read."""
        certificate = None if self.certificate is None else _read(self.certificate)
        key = None if self.key is None else _read(self.key)
        return grpc.ssl_channel_credentials(_read(self.ca), key, certificate)


def open_channel(address: str, tls: ClientTls | None) -> grpc.Channel:
    """Return a channel to the server at an address, "host:port" or "unix:/path"; without TLS if that is None.

    It connects on first use. Raises DeviceError if a file cannot be read.
    """
    if tls is None:
        return grpc.insecure_channel(address, _OPTIONS)
    name = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
    return grpc.secure_channel(address, tls.credentials(), [*_OPTIONS, *name])


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
