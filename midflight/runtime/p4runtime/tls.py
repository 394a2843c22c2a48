"""TLS for P4Runtime: authentication of servers and clients, and the roles that each client may take."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from midflight.errors import DeviceError, MidflightError
from midflight.userfiles import read_data

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
        """Return the credentials for gRPC. DeviceError if a file cannot be read or is wrong."""
        _check_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.certificate, self.key)
        if self.client_ca is not None:
            _check_authority(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.client_ca)
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
    address, or "localhost" for a Unix socket.
    """

    ca: Path
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""

    def credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials for gRPC. DeviceError if a file cannot be read or is wrong."""
        self.context()
        certificate = None if self.certificate is None else _read(self.certificate)
        key = None if self.key is None else _read(self.key)
        return grpc.ssl_channel_credentials(_read(self.ca), key, certificate)

    def context(self) -> ssl.SSLContext:
        """Return the same settings for Python's `ssl`. DeviceError if a file cannot be read or is wrong."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _check_authority(made, self.ca)
        if self.certificate is not None:
            _check_pair(made, self.certificate, self.key)
        return made


def open_channel(address: str, tls: ClientTls | None) -> grpc.Channel:
    """Return a channel to the server at an address, "host:port" or "unix:/path"; without TLS if that is None.

    It connects on first use. DeviceError if a file cannot be read or is wrong.
    """
    if tls is None:
        return grpc.insecure_channel(address, _OPTIONS)
    expected = tls.server_name or ("localhost" if address.startswith("unix:") else "")
    name = [("grpc.ssl_target_name_override", expected)] if expected else []
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


def _check_authority(context: ssl.SSLContext, ca: Path) -> None:
    """Load the certificate of an authority. DeviceError if the file cannot be read or has no certificate."""
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise DeviceError(f"TLS: {ca} is not the certificate of an authority ({error.reason})") from None
    except OSError as error:
        raise DeviceError(f"{ca}: {error.strerror}") from None


def _check_pair(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Load a certificate and its key. DeviceError if a file cannot be read, or if they do not belong together."""
    for each in (certificate, key):
        if each is not None:
            _read(each)
    try:
        context.load_cert_chain(certificate, key, password="")  # gRPC cannot use a key with a password either
    except ssl.SSLError as error:
        raise DeviceError(f"TLS: {certificate} and {key} are not a certificate and its key ({error.reason})") from None


def _read(path: Path) -> bytes:
    try:
        return read_data(path)
    except MidflightError as error:
        raise DeviceError(error.message, hint=error.hint) from None
