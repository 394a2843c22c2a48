"""A Wireshark dissector in Lua, generated from a wire schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["dissector"]

_HEAD = """\
-- Midflight's packets in Wireshark: {names}.
-- Generated from a wire schema. Put it into Wireshark's folder of personal plugins, or start
--   wireshark -X lua_script:FILE

local midflight = Proto("midflight", "Midflight")

local kinds = {{
    [1] = "request",
    [2] = "result",
    [3] = "result for all",
    [4] = "left to the host",
    [16] = "asks for state",
    [17] = "state",
}}
local applications = {{
{applications}
}}

local f = {{}}
f.version = ProtoField.uint8("midflight.version", "Version")
f.kind = ProtoField.uint8("midflight.kind", "Kind", base.DEC, kinds)
f.application = ProtoField.uint16("midflight.application", "Application", base.DEC, applications)
f.sequence = ProtoField.uint32("midflight.sequence", "Sequence")
f.token = ProtoField.uint64("midflight.token", "Token", base.HEX)
local cut_short = ProtoExpert.new("midflight.cut_short", "Too short for its application's header",
    expert.group.MALFORMED, expert.severity.ERROR)
"""

_HELPERS = """\
-- Adds `bits` bits from bit `start` of the buffer, a number in two's complement where `signed`.
local function add(tree, field, label, buffer, start, bits, signed)
    local first = math.floor(start / 8)
    local range = buffer(first, math.ceil((start + bits) / 8) - first)
    if bits > 64 then
        tree:add(field, range):prepend_text(label)
        return
    end
    local value = range:bitfield(start - 8 * first, bits)
    if bits > 32 then
        if signed then
            value = Int64.new(value:lower(), value:higher())
            value = value:lshift(64 - bits):arshift(64 - bits)
        end
    elseif signed and value >= 2 ^ (bits - 1) then
        value = value - 2 ^ bits
    end
    tree:add(field, range, value):prepend_text(label)
end
"""

_TAIL = """\
function midflight.dissector(buffer, info, tree)
    if buffer:len() < 16 or buffer(0, 1):uint() ~= {version} then
        return 0
    end
    info.cols.protocol = "Midflight"
    local branch = tree:add(midflight, buffer())
    local number, which = buffer(1, 1):uint(), buffer(2, 2):uint()
    branch:add(f.version, buffer(0, 1))
    branch:add(f.kind, buffer(1, 1))
    branch:add(f.application, buffer(2, 2))
    branch:add(f.sequence, buffer(4, 4))
    branch:add(f.token, buffer(8, 8))
    local name = applications[which] or "application " .. which
    info.cols.info = name .. " " .. (kinds[number] or "kind " .. number) .. " " .. buffer(4, 4):uint()
    local show = headers[which]
    if show and (number <= 4) then
        show(buffer(16):tvb(), branch)
    end
    return buffer:len()
end

DissectorTable.get("udp.port"):add({port}, midflight)
"""


def dissector(schema: Mapping[str, Any]) -> str:
    """Return the Lua text of a Wireshark dissector for messages; `schema` is the dict of `Program.schema()`.

    It shows the common header and, for requests and results, the application's fields, with lanes as `values[3]`.
    Display filters refer to them as `midflight.gradients.slot == 7`.
    """
    applications: Mapping[str, Mapping[str, Any]] = schema["applications"]
    listed = "\n".join(f'    [{each["id"]}] = "{name}",' for name, each in applications.items())
    parts = [_HEAD.format(names=", ".join(applications), applications=listed)]
    for name, each in applications.items():
        for field in each["fields"]:
            path, kind = f"midflight.{name}.{field['name']}", _kind(field)
            parts.append(f'{_local(name, field)} = {kind}("{path}", "{field["name"]}")\n')
    parts.append(
        "\nmidflight.fields = f\nmidflight.experts = { cut_short }\n\n" + _HELPERS + "\nlocal headers = {}\n\n"
    )
    for name, each in applications.items():
        parts.append(f"headers[{each['id']}] = function(buffer, tree)\n" + "".join(_shown(name, each)) + "end\n\n")
    parts.append(_TAIL.format(version=schema["version"], port=schema["udp_port"]))
    return "".join(parts)


def _local(application: str, field: Mapping[str, Any]) -> str:
    return f"f.{application}_{field['name']}"


def _kind(field: Mapping[str, Any]) -> str:
    bits = field["bits"]
    if bits > 64:
        return "ProtoField.bytes"
    size = next(each for each in (8, 16, 32, 64) if bits <= each)
    return f"ProtoField.{'' if field['signed'] else 'u'}int{size}"


def _shown(name: str, application: Mapping[str, Any]) -> Iterator[str]:
    size = application["bytes"]
    yield f"    if buffer:len() < {size} then\n"
    yield "        tree:add_proto_expert_info(cut_short)\n        return\n    end\n"
    yield f'    local branch = tree:add(buffer(0, {size}), "{name}")\n'
    fields, items = application["fields"], application.get("items")
    own = len(fields) - (items["fields"] * items["capacity"] if items else 0)
    yield from _added(name, fields[:own], 0, "    ")
    if items is None:
        return
    places = [sum(each["bits"] * (each["count"] or 1) for each in fields[:number]) for number in range(own)]
    where, bits = next(
        (place, each["bits"]) for place, each in zip(places, fields, strict=False) if each["name"] == items["count"]
    )
    first, last = where // 8, (where + bits - 1) // 8
    yield f"    local count = buffer({first}, {last - first + 1}):bitfield({where % 8}, {bits})\n"
    for place in range(items["capacity"]):
        first, end = own + place * items["fields"], size + (place + 1) * items["bytes"]
        yield f"    if count > {place} then\n        if buffer:len() < {end} then\n"
        yield "            tree:add_proto_expert_info(cut_short)\n            return\n        end\n"
        yield from _added(name, fields[first : first + items["fields"]], 8 * (end - items["bytes"]), " " * 8)
        yield "    end\n"


def _added(name: str, fields: Sequence[Mapping[str, Any]], start: int, indent: str) -> Iterator[str]:
    """Yield the lines that show the fields from bit `start` on."""
    for field in fields:
        bits, signed = field["bits"], str(field["signed"]).lower()
        local = _local(name, field)
        if field["count"] is None:
            yield f'{indent}add(branch, {local}, "", buffer, {start}, {bits}, {signed})\n'
        else:
            where = f"{start} + {bits} * lane"
            yield f"{indent}for lane = 0, {field['count'] - 1} do\n"
            yield f'{indent}    add(branch, {local}, "[" .. lane .. "] ", buffer, {where}, {bits}, {signed})\n'
            yield f"{indent}end\n"
        start += bits * (field["count"] or 1)
