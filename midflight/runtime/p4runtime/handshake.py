"""Diagnosis of connections that fail because of TLS: what is wrong, and what to do about it.

gRPC reports only that a connection failed. So a second connection repeats the TLS handshake with Python's `ssl`, which
reports the reason.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.tls import ClientTls

__all__ = ["tls_problem"]

_TIMEOUT = 2.0  # seconds
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # RFC 9113, with empty settings


def tls_problem(address: str, tls: ClientTls | None) -> DeviceError | None:
    """Return why a connection with these TLS settings, or without TLS, fails; None if that is not the reason.

    Connects to `address`, "host:port" or "unix:/path", for a few seconds at most. DeviceError if a PEM file is wrong.
    """
    context = _context(tls)
    try:
        plain, name = _connect(address)
    except (OSError, ValueError):
        return None
    with plain:
        try:
            with context.wrap_socket(plain, server_hostname=(tls and tls.server_name) or name) as secured:
                if tls is None:
                    return DeviceError(
                        f"{address} requires TLS, but TLS is not configured for it",
                        hint="name its authority: `tls: {authority: ca.pem}` in network.yaml, or --tls-ca",
                    )
                secured.sendall(_PREFACE)
                if secured.recv(1):
                    return None
        except ssl.SSLCertVerificationError as error:
            assert tls is not None
            return _unverified(address, tls, tls.server_name or name, error)
        except ssl.SSLError as error:
            if tls is None:
                return None
            if error.reason == "WRONG_VERSION_NUMBER":
                return DeviceError(
                    f"{address} does not use TLS", hint="remove `tls` for this switch, or start it with TLS"
                )
            if "ALERT" not in (error.reason or ""):
                return DeviceError(f"TLS with {address} fails: {error.reason}")
        except OSError:
            return None
    assert tls is not None
    if tls.certificate is None:
        return DeviceError(
            f"{address} requires TLS with a client certificate, and none is configured",
            hint="name `certificate` and `key` under `tls` in network.yaml, or use --tls-cert and --tls-key",
        )
    return DeviceError(
        f"TLS: {address} does not accept the client certificate {tls.certificate}",
        hint="check that it has not expired, and that the switch's --tls-client-ca has signed it",
    )


def _context(tls: ClientTls | None) -> ssl.SSLContext:
    if tls is not None:
        context = tls.context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def _connect(address: str) -> tuple[socket.socket, str]:
    """Return a connection to an address, and the name that the server's certificate should have, as gRPC expects it."""
    if address.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_TIMEOUT)
        try:
            connection.connect(str(Path(address.removeprefix("unix:"))))
        except BaseException:
            connection.close()
            raise
        return connection, "localhost"
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    return socket.create_connection((host, int(port)), _TIMEOUT), host


def _unverified(address: str, tls: ClientTls, name: str, error: ssl.SSLCertVerificationError) -> DeviceError:
    """Return the error for a server's certificate that OpenSSL refuses, by the code of X509_verify_cert."""
    match error.verify_code:
        case 9:
            return DeviceError(
                f"TLS: the certificate of {address} is not valid yet", hint="check the clock of this machine"
            )
        case 10:
            return DeviceError(f"TLS: the certificate of {address} has expired", hint="give the switch a new one")
        case 62 | 64:
            return DeviceError(
                f"TLS: the certificate of {address} is not for the name {name}",
                hint="set server_name, under `tls` in network.yaml, to a name in the certificate",
            )
    return DeviceError(
        f"TLS: {tls.ca} has not signed the certificate of {address} ({error.verify_message})",
        hint="name the certificate of the authority that has signed it",
    )
