"""A self-contained HTML page about a program: pipeline, parser, state, wire format, and the P4 of each source line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

from midflight.p4 import ir
from midflight.primitives.explain import SourceLine, explain
from midflight.primitives.exports.drawing import parser_graph, pipeline
from midflight.primitives.kernel.primitive import summary
from midflight.primitives.kernel.register import Register
from midflight.primitives.program import Application, Program

__all__ = ["page"]

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1d2733; margin: 2em auto; padding: 0 1em;
  max-width: min(1700px, 96vw); }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #d5dce4; }
table { border-collapse: collapse; } th { text-align: left; color: #5b6875; font-weight: 600; }
td, th { padding: .15em 1.2em .15em 0; vertical-align: top; }
code, pre, .lines td { font: 12.5px/1.5 ui-monospace, monospace; }
.code { overflow-x: auto; } .lines td { white-space: pre; padding: 0 2em 0 0; }
.lines .n { width: 3.4em; color: #9aa5b1; text-align: right; } .lines tr:hover { background: #fff4d6; }
.lines .p4 { color: #0b5a8a; }
svg { max-width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: #1d2733; }
svg .small { font-size: 11px; fill: #5b6875; } svg .bold { font-weight: 600; }
svg rect { fill: #f4f7fa; stroke: #8795a5; } svg .kernel rect { fill: #e6f3ea; stroke: #4f9767; }
svg .end rect { fill: #fbeee6; stroke: #c07a4a; } svg .way { fill: none; stroke: #a9b4c0; stroke-width: 1.3; }
svg .way:hover { stroke: #d08a1d; stroke-width: 3; }
svg .value { stroke: #fff; stroke-width: 4; paint-order: stroke; stroke-linejoin: round; }
"""
_SHOWN = 12  # lines of P4 shown for a source line before the rest is folded


def page(program: Program, checked: ir.Program, title: str) -> str:
    """Return the HTML page about a program. `checked` is its checked P4, and `title` the page's heading.

    Reads the source files of the program's kernels. KernelError if one cannot be read.
    """
    parts = [
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n",
        _table(
            ("application", "id", "primitive", "what it does", "parameters"), map(_about, program.applications.values())
        ),
        "<h2>Pipeline</h2><div class='figure'>",
        pipeline(program, checked),
        "</div>\n<h2>Parser</h2><div class='figure'>",
        parser_graph(checked.parser),
        "</div>\n<h2>Tables</h2>",
        _table(("table", "key", "actions", "entries"), map(_of_table, checked.tables.values())),
        "\n<h2>Registers</h2>",
        _table(("register", "element", "elements", "lanes", "bytes"), _registers(program)),
        "\n<h2>Wire</h2>",
        _table(("header", "field", "type", "bit"), _wire(program)),
    ]
    lines = explain(program)
    for name in program.applications:
        parts.append(f"\n<h2>{escape(name)}: where each line went</h2>\n")
        parts.append(_lines([each for each in lines if each.application == name]))
    return "".join(parts) + "</body></html>\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    cells = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join(f"<tr>{''.join(f'<td>{_text(str(each))}</td>' for each in row)}</tr>\n" for row in rows)
    return f"<table><tr>{cells}</tr>\n{body}</table>" if body else "<p>None.</p>"


def _text(text: str) -> str:
    """Return text as HTML; what is between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _about(application: Application) -> tuple[object, ...]:
    primitive = application.primitive
    settings = ", ".join(f"{name}={value!r}" for name, value in primitive.parameters.items())
    return application.name, application.id, type(primitive).__name__, summary(type(primitive)), settings


def _of_table(table: ir.Table) -> tuple[object, ...]:
    keys = ", ".join(f"{each.name}: {each.kind}" for each in table.keys)
    actions = ", ".join(each.action.name.rpartition(".")[2] for each in table.actions)
    return table.name, keys, actions, table.size


def _registers(program: Program) -> Iterator[tuple[object, ...]]:
    for name, application in program.applications.items():
        for field in application.primitive.state_layout:
            register: Register = application.primitive.registers[field.name]
            lanes = register.lanes or 1
            size = -(-register.size * lanes * register.kind.width // 8)
            yield f"{name}.{field.name}", register.kind, register.size, register.lanes or "", f"{size:,}"


def _wire(program: Program) -> Iterator[tuple[object, ...]]:
    for name, application in program.applications.items():
        start = 0
        for field in application.primitive.layout:
            count = "" if field.count is None else f" x {field.count}"
            yield name, field.name, f"{field.kind}{count}", start
            start += field.bits


def _lines(lines: Iterable[SourceLine]) -> str:
    rows = []
    file = ""
    for each in lines:
        if each.file != file:
            file = each.file
            rows.append(f"<tr><td colspan='3'><b>{escape(Path(file).name)}</b></td></tr>")
        became = [f"{line.number:>5}  {line.text}" for line in each.p4]
        shown = "\n".join(map(escape, became[:_SHOWN]))
        if len(became) > _SHOWN:
            rest = "\n".join(map(escape, became[_SHOWN:]))
            shown += f"<details><summary>and {len(became) - _SHOWN} lines more</summary>{rest}</details>"
        rows.append(
            f"<tr><td class='n'>{each.number}</td><td>{escape(each.text)}</td><td class='p4'>{shown}</td></tr>\n"
        )
    return f"<div class='code'><table class='lines'>{''.join(rows)}</table></div>"
