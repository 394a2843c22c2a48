"""Emits what a program declares for its applications in every architecture: their headers, alerts and descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from midflight.primitives.emit.expressions import p4_type
from midflight.primitives.emit.names import spelled
from midflight.primitives.emit.writer import Writer
from midflight.primitives.kernel.header import Layout
from midflight.primitives.kernel.primitive import Chain, Primitive, summary
from midflight.primitives.kernel.struct import Items

__all__ = ["about", "item_headers", "listed", "member", "message", "stateful"]


def listed(names: list[str]) -> str:
    """Return a program's title: the names of its applications, or what it does without any."""
    if not names:
        return "Forwarding"
    text = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return text[0].upper() + text[1:]


def stateful(applications: Mapping[str, tuple[int, Primitive]]) -> list[str]:
    """Return the names of the applications that have registers in use."""
    return [name for name, (_, primitive) in applications.items() if primitive.state_layout.fields]


def item_headers(name: str, items: Items) -> list[str]:
    """Return the header names of an application's items."""
    return [f"{name}_{items.name}_{place}" for place in range(len(items))]


def about(out: Writer, name: str, primitive: Primitive) -> None:
    """Write the comment above an application's kernel: where it comes from, its parameters, and what it does."""
    file = Path(primitive.kernel.file).name
    settings = _settings(primitive)
    out.comment(
        f"The kernel of {name}: {type(primitive).__name__}.ingress in {file}{', with' if settings else ''}"
        f" {settings}".rstrip()
        + "."
    )
    if text := summary(type(primitive)):
        out.comment(text)
    if isinstance(primitive, Chain):
        out.comment(f"They are {' >> '.join(each.title for each in primitive.stages)}.")


def _settings(primitive: Primitive) -> str:
    """Return the parameters as the user would write them."""
    return ", ".join(
        f"{name}={value!r}" for name, value in primitive.parameters.items() if isinstance(value, (int, str, bool))
    )


def message(out: Writer, name: str, primitive: Primitive, *, state: bool = True) -> None:
    """Write an application's headers and the struct of its alerts; with `state`, the header of its registers, too."""
    text = summary(type(primitive))
    out.comment(f"What {name} sends. {type(primitive).__name__}{': ' + text if text else ''}")
    _fields(out, f"{name}_t", primitive.layout.head)
    if items := primitive.layout.items:
        out.line(f"// One of the {items.name} of {name}, of which a packet has as many as {items.counted.name} says.")
        _fields(out, f"{name}_{items.name}_t", primitive.layout.item(0))
    if state and primitive.state_layout.fields:
        out.line(f"// An element of each register of {name}, for the controller.")
        _fields(out, f"{name}_state_t", primitive.state_layout)
    if primitive.kernel.alert:
        out.line(f"// What {name} tells the controller.")
        with out.block(f"struct {name}_alert_t"):
            for field_name, kind in primitive.kernel.alert:
                remark = "  // signed" if kind.signed else ""
                out.line(f"bit<{kind.width}> {spelled(field_name)};{remark}")
        out.line()


def _fields(out: Writer, name: str, layout: Layout) -> None:
    with out.block(f"header {name}"):
        for field in layout:
            if field.count is None:
                out.line(f"{p4_type(field.kind)} {spelled(field.name)};")
            else:
                for lane in range(field.count):
                    out.line(f"{p4_type(field.kind)} {field.name}_{lane};")
        if layout.padding:
            out.line(f"bit<{layout.padding}> reserved;  // up to a whole byte")
    out.line()


def member(out: Writer, applications: Mapping[str, tuple[int, Primitive]]) -> None:
    """Write the statements that copy a request's member and job numbers to the metadata, for `membership`."""
    opening = "if"
    for name, (_, primitive) in applications.items():
        if primitive.MEMBER:
            out.line(f"{opening} (hdr.{name}.isValid()) {{")
            out.line(f"    meta.member = (bit<16>)hdr.{name}.{spelled(primitive.MEMBER)};")
            if primitive.JOB:
                out.line(f"    meta.job = hdr.{name}.{spelled(primitive.JOB)};")
            opening = "} else if"
    if opening != "if":
        out.line("}")
