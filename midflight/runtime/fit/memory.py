"""Needs of an operation in its stage: memory blocks, bytes of match keys, hash bits, ALUs.

The rules are those of reconfigurable match tables (Bosshart et al., Forwarding Metamorphosis, SIGCOMM 2013) with the
sizes of the sheet. Without blocks in the sheet, memory is not counted.

* A register array lies in SRAM in cells of 1, 8, 16, 32, 64 or a multiple of 128 bits, and takes one block more for the
  second port that a read-modify-write needs (as in p4lang/p4c, backends/tofino: "spare bank"). So do counters, with 64
  bits a cell, and meters, with 128.
* An exact table stores key, action data and 8 bits for its state and action in four ways of a cuckoo hash, in fewer if
  it is small. A row is as many blocks wide as an entry needs, or up to three more if that takes fewer in all.
* An lpm, ternary, range or optional table lies in TCAM, with 4 bits of each block's width for its state, and its action
  data in SRAM. A range takes twice its bits of TCAM.
"""

from __future__ import annotations

from math import ceil

from midflight.p4 import ir
from midflight.p4.types import Bits, Type, width_of
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.footprint.operations import REGISTER, TABLE, Operation

__all__ = ["cell_bits", "needs_of"]

_CELLS = (1, 8, 16, 32, 64, 128)
_STATE = 8  # bits of an exact entry for its state and action
_TCAM_STATE = 4  # bits of a TCAM row for its state
_WAYS = 4
_HASH = 52  # bits of hash for the ways of one exact table
_HASH_UNIT = 16  # bits of hash that one unit gives to an action or an address
_INDEX = 4  # bytes of an array's index
_COUNTER = 64  # bits of a counter
_METER = 128  # bits of a meter


def needs_of(program: ir.Program, operation: Operation, sheet: Capabilities) -> tuple[dict[str, int], bool]:
    """Return what an operation takes of a stage, by the names of `RESOURCES`, and whether its memory may be split.

    Actions and random numbers take nothing here; actions in the same stage share a table.
    """
    if operation.kind == TABLE:
        return _table(program.tables[operation.name], sheet)
    instance = program.instances.get(operation.name)
    if operation.kind == REGISTER and instance is not None:
        return {"table": 1, "register": 1, **_array(_cell(instance), instance, sheet), **_addressed()}, False
    if operation.kind == "counter" and instance is not None:
        return {"table": 1, "counter": 1, **_array(_COUNTER, instance, sheet), **_addressed()}, False
    if operation.kind == "meter" and instance is not None:
        return {"table": 1, "register": 1, **_array(_METER, instance, sheet), **_addressed()}, False
    if operation.kind == "hash":
        return {"hash_units": 2, "hash_bits": 32, "exact_bytes": 16}, False
    return {}, False


def cell_bits(width: int) -> int:
    """Return the bits that a cell of `width` bits of a register array takes in memory."""
    return next((each for each in _CELLS if each >= width), 128 * ceil(width / 128))


def _cell(instance: ir.Instance) -> int:
    return cell_bits(_width(instance.type_arguments[0]) if instance.type_arguments else 32)


def _addressed() -> dict[str, int]:
    return {"exact_bytes": _INDEX, "hash_bits": _HASH_UNIT, "hash_units": 1}


def _array(bits: int, instance: ir.Instance, sheet: Capabilities) -> dict[str, int]:
    if "sram" not in sheet.blocks:
        return {}
    rows, width = sheet.blocks["sram"]
    size = next((each for each in instance.arguments if isinstance(each, int)), 1)
    per_row = max(1, width // bits)
    return {"sram": max(1, ceil(ceil(size / per_row) * max(1, ceil(bits / width)) / rows)) + 1}


def _table(table: ir.Table, sheet: Capabilities) -> tuple[dict[str, int], bool]:
    takes = {"table": 1}
    if not table.keys:
        return takes, False
    size = len(table.entries) if table.entries_const else max(table.size, len(table.entries))
    key = sum(_width(each.expression.type) for each in table.keys)
    data = max((sum(_width(each.variable.type) for each in it.action.data) for it in table.actions), default=0)
    memory: dict[str, int] = {}
    if all(each.kind == "exact" for each in table.keys):
        takes |= {"exact_bytes": ceil(key / 8), "hash_bits": _HASH}
        if "sram" in sheet.blocks:
            memory["sram"] = _exact_blocks(size, key + data + _STATE, *sheet.blocks["sram"])
    else:
        takes["ternary_bytes"] = ceil(key / 8)
        if "tcam" in sheet.blocks:
            wide = sum(_width(each.expression.type) * (2 if each.kind == "range" else 1) for each in table.keys)
            rows, width = sheet.blocks["tcam"]
            memory["tcam"] = ceil(wide / (width - _TCAM_STATE)) * ceil(size / rows)
        if "sram" in sheet.blocks and data:
            rows, width = sheet.blocks["sram"]
            memory["sram"] = ceil(size * _power(data + _STATE) / (rows * width))
    for each in table.direct:
        meter = "meter" in each.kind
        takes["register" if meter else "counter"] = 1
        if "sram" in sheet.blocks:
            rows, width = sheet.blocks["sram"]
            memory["sram"] = memory.get("sram", 0) + ceil(size * (_METER if meter else _COUNTER) / (rows * width)) + 1
    return {**takes, **memory}, bool(memory) and not table.direct


def _exact_blocks(size: int, entry: int, rows: int, width: int) -> int:
    """Return the blocks of an exact table: the fewest over rows of one to four blocks, in whole ways."""
    best = 0
    for wide in range(max(1, ceil(entry / width)), max(1, ceil(entry / width)) + 4):
        per_row = wide * width // entry
        ways = max(min(_WAYS, ceil(size / (rows // 2))), 1)
        blocks = wide * max(ways, ceil(size / (per_row * rows)))
        best = min(best or blocks, blocks)
    return best


def _power(bits: int) -> int:
    """Return the next power of two that is at least 8: the width at which action data lies in memory."""
    return 1 << max(3, (bits - 1).bit_length())


def _width(kind: Type) -> int:
    try:
        return width_of(kind)
    except ValueError:  # such as an enum without a representation
        return 32 if not isinstance(kind, Bits) else kind.width
