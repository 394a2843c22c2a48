"""Ed25519 keys (RFC 8032). Needs the extra `trust`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from midflight.errors import MidflightError, UnsupportedError
from midflight.userfiles import failed, read_data

__all__ = ["PUBLIC_KEY", "SIGNATURE", "SigningKey", "key_id", "verifies"]

PUBLIC_KEY, SIGNATURE = 32, 64
"""The sizes of a public key and a signature in octets."""

KEY_ID = 8
"""The size of a key's id in octets."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key: 32 random octets. `public` is the public key to it, also 32 octets."""

    seed: bytes = field(repr=False)
    public: bytes

    @classmethod
    def new(cls) -> SigningKey:
        """Return a new random key. UnsupportedError if the extra `trust` is not installed."""
        return cls.of(os.urandom(32))

    @classmethod
    def of(cls, seed: bytes) -> SigningKey:
        """Return the key with this seed of 32 octets.

        MidflightError if the seed has another length; UnsupportedError if the extra `trust` is not installed.
        """
        if len(seed) != 32:
            raise MidflightError(f"a private key has 32 octets, not {len(seed)}")
        private = _ed25519().Ed25519PrivateKey.from_private_bytes(seed)
        return cls(seed, bytes(private.public_key().public_bytes_raw()))

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Return the key in a file, as written by `save`.

        MidflightError if the file cannot be read, or contains no key; UnsupportedError if the extra `trust` is not
        installed.
        """
        try:
            seed = bytes.fromhex(read_data(path).decode("ascii").strip())
        except ValueError:
            seed = b""
        if len(seed) != 32:
            raise MidflightError(f"{path} is not a private key", hint="it must be 64 hexadecimal digits")
        return cls.of(seed)

    def save(self, path: Path) -> None:
        """Write the key to a new file that only its owner can read, in hexadecimal digits.

        MidflightError if the file exists or cannot be written.
        """
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise MidflightError(
                f"{path}: File exists", hint="choose another name: a key is never overwritten"
            ) from None
        except OSError as error:
            raise failed(error, path) from None
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(self.seed.hex() + "\n")
        except OSError as error:
            path.unlink()
            raise failed(error, path) from None

    def sign(self, data: bytes) -> bytes:
        """Return the signature of some octets, 64 octets. UnsupportedError if the extra `trust` is not installed."""
        return bytes(_ed25519().Ed25519PrivateKey.from_private_bytes(self.seed).sign(data))


def key_id(public: bytes) -> bytes:
    """Return the id of a public key in records: the first eight octets of its SHA-256 digest."""
    return sha256(public).digest()[:KEY_ID]


def verifies(public: bytes, signature: bytes, data: bytes) -> bool:
    """Return whether a signature of `data` is that of the owner of a public key.

    UnsupportedError if the extra `trust` is not installed.
    """
    module = _ed25519()
    from cryptography.exceptions import InvalidSignature

    try:
        module.Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise UnsupportedError("signatures need cryptography", hint="pip install 'midflight[trust]'") from None
    return ed25519
