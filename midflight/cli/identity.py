"""`midflight identity`: keys of instances and authorities, and signed descriptors."""

from __future__ import annotations

import time
from pathlib import Path

import click

from midflight.cli.options import FiniteRange

__all__ = ["identity"]

EPILOG = """\b
Examples:
  midflight identity key authority.key
  midflight identity key edge.key                      prints the public key
  midflight identity issue --authority authority.key --public 5f1c... --cs-id 10.9.9.9 --csci-id 10.0.0.5
      --id spiffe://factory.example/service/vision/edge-1 --best computing_comb=8 -o edge.descriptor
  midflight identity check edge.descriptor --authority-public 91ab...
"""


@click.group(epilog=EPILOG)
def identity() -> None:
    """Make keys and descriptors, with which path selectors identify the instances of a service."""


@identity.command()
@click.argument("file", type=click.Path(path_type=Path))
def key(file: Path) -> None:
    """Write a new private key to FILE, which only its owner can read, and print its public key.

    Fails if FILE exists already, or cannot be written.
    """
    from midflight.runtime.steering.trust.keys import SigningKey

    made = SigningKey.new()
    made.save(file)
    click.echo(made.public.hex())


@identity.command()
@click.option("--authority", required=True, type=click.Path(path_type=Path), help="The authority's private key.")
@click.option("--public", required=True, metavar="HEX", help="The instance's public key.")
@click.option("--id", "name", required=True, metavar="SPIFFE-ID", help="The instance's identity.")
@click.option("--cs-id", required=True, metavar="ADDRESS", help="The service's IP address.")
@click.option("--csci-id", required=True, metavar="ADDRESS", help="The instance's IP address.")
@click.option(
    "--days",
    metavar="N",
    default=30.0,
    show_default=True,
    type=FiniteRange(0, 36_500, min_open=True),
    help="How many days the descriptor is valid, from now on.",
)
@click.option(
    "--best",
    metavar="TYPE=SCORE",
    multiple=True,
    help="The highest score, 0 to 10, that the instance may claim for a type of metric. May be repeated.",
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The file of the descriptor.")
def issue(
    authority: Path, public: str, name: str, cs_id: str, csci_id: str, days: float, best: tuple[str, ...], output: Path
) -> None:
    """Sign a descriptor, which states the public key of an instance, and write it to a file.

    It is valid from now on, for --days. Fails, without writing, if the identity, an address, a key or a score is
    invalid.
    """
    from midflight.errors import MidflightError
    from midflight.runtime.steering.trust import descriptor
    from midflight.runtime.steering.trust.identity import SpiffeId
    from midflight.runtime.steering.trust.keys import SigningKey

    now = time.time_ns()
    made = descriptor.Descriptor(
        SpiffeId.parse(name),
        cs_id,
        csci_id,
        _public(public),
        not_before=now,
        not_after=now + int(days * 86_400e9),
        best=tuple(_limit(each) for each in best),
    )
    data = descriptor.issue(made, SigningKey.load(authority))
    try:
        output.write_bytes(data)
    except OSError as error:
        raise MidflightError(f"cannot write the descriptor to {output}: {error.strerror}") from None


@identity.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--authority-public", "public", required=True, metavar="HEX", help="The authority's public key.")
def check(file: Path, public: str) -> None:
    """Verify a descriptor now, as a path selector would, and print whose it is. Exit status 1 if it is refused."""
    from midflight.errors import MidflightError
    from midflight.runtime.steering.trust.descriptor import parse
    from midflight.runtime.steering.trust.verifier import Verifier
    from midflight.userfiles import read_data

    data = read_data(file)
    try:
        domain = parse(data)[0].id.trust_domain
    except MidflightError as error:
        raise MidflightError(f"{file}: {error.message}", hint=error.hint) from None
    verifier = Verifier({domain: _public(public)})
    found = verifier.admit(data, time.time_ns())
    if found is None:
        (reason,) = verifier.refused
        raise MidflightError(f"{file} is refused: {reason}")
    click.echo(f"{found.id}: instance {found.csci_id} of {found.cs_id}, key {found.public_key.hex()}")


def _public(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise click.BadParameter(f"a public key is 64 hexadecimal digits, not {text!r}")
    return found


def _limit(text: str) -> tuple[str, int]:
    kind, _, score = text.partition("=")
    if not score.isdecimal() or int(score) > 10:
        raise click.BadParameter(f"{text!r} is not TYPE=SCORE with a score from 0 to 10", param_hint="--best")
    return kind, int(score)
