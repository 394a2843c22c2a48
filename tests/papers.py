"""Certificates for tests of TLS, made with openssl."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from midflight.runtime.p4runtime.tls import ClientTls

__all__ = ["Papers", "needs_openssl"]

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def authority(folder: Path, name: str) -> Path:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    ca = folder / f"{name}.pem"
    openssl("req", "-x509", *curve, "-keyout", folder / f"{name}.key", "-out", ca, "-days", 2, "-subj", f"/CN={name}")
    return ca


def signed(folder: Path, ca: Path, name: str, *, days: int = 2) -> tuple[Path, Path]:
    """Make a key, and a certificate that is valid for some days from now; with -1, it has expired."""
    key, request, certificate = (folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
    extra = folder / f"{name}.ext"
    extra.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", key, "-out", request, "-subj", f"/CN={name}")  # fmt: skip
    openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca.with_suffix(".key"), "-CAcreateserial",
            "-days", days, "-extfile", extra, "-out", certificate)  # fmt: skip
    return certificate, key


class Papers:
    """Certificates: of a server, of three clients, and of one that another authority has signed."""

    def __init__(self, folder: Path) -> None:
        self.ca, other = authority(folder, "ours"), authority(folder, "theirs")
        self.server = signed(folder, self.ca, "switch")
        self.other_ca = other
        self.clients = {each: signed(folder, self.ca, each) for each in ("alice", "bob", "carol")}
        self.clients["mallory"] = signed(folder, other, "mallory")
        self.clients["late"] = signed(folder, self.ca, "late", days=-1)

    def client(self, name: str = "", ca: Path | None = None) -> ClientTls:
        return ClientTls(ca or self.ca, *self.clients.get(name, (None, None)))
