"""Parts of a program for Tofino that its writers share: applications, the means that they use, headers, checksums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap

from midflight.errors import KernelError
from midflight.primitives.emit.declarations import item_headers
from midflight.primitives.emit.names import constant, spelled
from midflight.primitives.emit.tna.architecture import RESERVED, Architecture
from midflight.primitives.emit.verdicts import Verdicts
from midflight.primitives.emit.writer import WIDTH, Writer
from midflight.primitives.kernel.packet import Verdict
from midflight.primitives.kernel.primitive import Primitive
from midflight.primitives.kernel.struct import Items

__all__ = ["Applications", "Parts", "checksum_externs", "checksums", "parse_applications"]

Applications = Mapping[str, tuple[int, Primitive]]

DIGESTS = 7
"""The most applications with alerts: digests have numbers of 3 bits, and one number means that there is none."""


class Parts:
    """The applications of a program, and which of an architecture's means they use.

    Raises KernelError for a name that the architecture uses, and for too many applications with alerts.
    """

    def __init__(self, applications: Applications, architecture: Architecture) -> None:
        self.applications = applications
        self.architecture = architecture
        kernels = {name: primitive.kernel for name, (_, primitive) in applications.items()}
        self.verdicts = Verdicts(kernels)
        self.alerting = [name for name, kernel in kernels.items() if kernel.alert]
        self.dropping = [name for name, kernel in kernels.items() if Verdict.DROP in kernel.verdicts]
        self.around = any(kernel.rounds for kernel in kernels.values())
        self.mirrors = any(kernel.mirrors for kernel in kernels.values())
        self.timed = any(kernel.timed for kernel in kernels.values())
        self.fallback = any(Verdict.FALLBACK in kernel.verdicts for kernel in kernels.values())
        self.recirculates = any(Verdict.RECIRCULATE in kernel.verdicts for kernel in kernels.values())
        self.stamped = [name for name, (_, primitive) in applications.items() if primitive.stamps() is not None]
        for name, (_, primitive) in applications.items():
            for each in (name, *primitive.registers, *primitive.tables):
                if each in RESERVED:
                    raise KernelError(
                        f"{primitive.title}: {architecture.name} has no room for the name {each!r}, which P4 for"
                        f" {architecture.chip} uses",
                        hint=f"for example, use {each}_app" if each == name else f"for example, use {each}_",
                    )
        if len(self.alerting) > DIGESTS:
            raise KernelError(
                f"{architecture.name}: {len(self.alerting)} applications raise alerts; the limit is {DIGESTS} digests",
                hint="divide the applications between two programs",
            )

    def headers(self) -> Iterator[tuple[str, str]]:
        """Yield all headers of a packet in deparsing order, with their types."""
        for name in ("ethernet", "ipv4", "ipv6", "udp", "midflight"):
            yield name, f"{name}_t"
        for name, (_, primitive) in self.applications.items():
            yield name, f"{name}_t"
            if items := primitive.layout.items:
                for each in item_headers(name, items):
                    yield each, f"{name}_{items.name}_t"

    def egress_headers(self) -> Iterator[tuple[str, str]]:
        """Yield the headers that egress looks at, in deparsing order, with their types."""
        for name in ("ethernet", "ipv4", "ipv6", "udp", "midflight", *self.stamped):
            yield name, f"{name}_t"

    def fields(self, name: str) -> Iterator[str]:
        """Yield the P4 paths of all fields of an application's headers, padding included, such as
        `hdr.sums.value_0`.
        """
        layout = self.applications[name][1].layout
        headers = [(name, layout.head)]
        if layout.items:
            headers += [(each, layout.item(0)) for each in item_headers(name, layout.items)]
        for header, fields in headers:
            for field in fields:
                if field.count is None:
                    yield f"hdr.{header}.{spelled(field.name)}"
                else:
                    yield from (f"hdr.{header}.{field.name}_{lane}" for lane in range(field.count))
            if fields.padding:
                yield f"hdr.{header}.reserved"

    def entered_by(self, text: str) -> str:
        """Return P4 text that reads the port by which a packet came at first, in place of its ingress port.

        They differ if packets recirculate or are mirrored; otherwise `text` is returned unchanged.
        """
        return text.replace("ig_intr_md.ingress_port", "meta.entered") if self.around or self.mirrors else text


def parse_applications(out: Writer, parts: Parts, kind: str, names: list[str]) -> None:
    """Write the parser states of the common header and of the headers of the applications `names`.

    `kind` is the P4 constant for the kind of messages whose application headers are parsed; others are only accepted.
    """
    with out.block("state parse_midflight"):
        out.line("packet.extract(hdr.midflight);")
        if not names:
            out.line("transition accept;")
            return
        with out.block("transition select(hdr.midflight.version, hdr.midflight.kind, hdr.midflight.application)"):
            for name in names:
                out.line(f"(VERSION, {kind}, {constant(name)}): parse_{name};")
            out.line("default: accept;")
    for name in names:
        items = parts.applications[name][1].layout.items
        if items is None:
            out.line()
            with out.block(f"state parse_{name}"):
                out.line(f"packet.extract(hdr.{name});")
                out.line("transition accept;")
        else:
            _parse_items(out, name, items)


def _parse_items(out: Writer, name: str, items: Items) -> None:
    """Write the parser states that extract an application's header and then its items."""
    count = f"hdr.{name}.{spelled(items.counted.name)}"
    for place, header in enumerate((name, *item_headers(name, items))):
        out.line()
        with out.block(f"state parse_{header}"):
            out.line(f"packet.extract(hdr.{header});")
            if place == len(items):
                out.line("transition accept;")
                continue
            following = f"parse_{name}_{items.name}_{place}"
            with out.block(f"transition select({count})"):
                out.line(f"{place}: accept;")
                if place == 0 and items.counted.kind.high > len(items):
                    out.line(f"1 .. {len(items)}: {following};")
                    out.line("default: parse_malformed;")
                else:
                    out.line(f"default: {following};")


def checksum_externs(out: Writer) -> None:
    """Write the declarations of the externs that `checksums` uses."""
    out.line("Checksum() ipv4_checksum;")
    out.line("Checksum() udp_checksum;")


def checksums(out: Writer, parts: Parts, names: list[str]) -> None:
    """Write the statements of a deparser that update the checksums of IPv4 and UDP.

    That of UDP covers the headers of the applications `names`.
    """
    with out.block("if (hdr.ipv4.isValid())"):
        out.lines(
            "hdr.ipv4.checksum = ipv4_checksum.update({\n"
            "    hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.length, hdr.ipv4.identification,\n"
            "    hdr.ipv4.reserved, hdr.ipv4.dont_fragment, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset,\n"
            "    hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.source, hdr.ipv4.destination\n"
            "});"
        )
    fields = ["hdr.ipv4.source", "hdr.ipv4.destination", "hdr.ipv6.source", "hdr.ipv6.destination"]
    fields += ["hdr.udp.source", "hdr.udp.destination"]
    fields += [f"hdr.midflight.{each}" for each in ("version", "kind", "application", "sequence", "token")]
    for name in names:
        fields += parts.fields(name)
    with out.block("if (meta.summed)"):
        out.line("hdr.udp.checksum = udp_checksum.update({")
        for each in wrap(f"{', '.join(fields)}, meta.rest", WIDTH - 16):
            out.line(f"    {each}")
        out.line("}, true);")
