"""Comparison of the packets that left a switch with those that a test expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from midflight.p4 import ir
from midflight.testbed.stf.fields import layout
from midflight.testbed.stf.syntax import Expect

__all__ = ["differences"]


def differences(
    expected: Mapping[int, Sequence[Expect]], received: Mapping[int, Sequence[bytes]], program: ir.Program | None
) -> list[str]:
    """Return the differences between expected and received packets as texts, by port; empty if there are none.

    `expected` and `received` are by switch port, in order of the packets; a port in neither of them is not compared.
    `program` gives the names of fields for the texts; None describes differences by byte.
    """
    found = []
    for port in sorted({*expected, *received}):
        wanted, given = expected.get(port, ()), received.get(port, ())
        for number, (each, packet) in enumerate(zip(wanted, given, strict=False), 1):
            if lines := _difference(each, packet, port, program):
                head = f"port {port}, packet {number}: differs from {each.place.file}:{each.place.line}"
                found.append("\n".join([head, *lines]))
        for number, each in enumerate(wanted[len(given) :], len(given) + 1):
            shown = "" if each.digits is None else f": {_shown(each.digits)}"
            found.append(f"port {port}, packet {number}: missing, from {each.place.file}:{each.place.line}{shown}")
        for number, packet in enumerate(given[len(wanted) :], len(wanted) + 1):
            found.append(f"port {port}, packet {number}: not expected: {_shown(packet.hex())}")
    return found


def _difference(expected: Expect, packet: bytes, port: int, program: ir.Program | None) -> list[str]:
    """Return the lines of the difference between one packet and what is expected; empty if there is none."""
    digits, given = expected.digits, packet.hex().upper()
    if digits is None:
        return []
    if all(want in ("*", have) for want, have in zip(digits, given, strict=False)) and (
        len(given) == len(digits) if expected.exact else len(given) >= len(digits)
    ):
        return []
    lines = []
    if len(given) < len(digits) or (expected.exact and len(given) > len(digits)):
        more = "" if expected.exact else "at least "
        lines.append(f"  length: expected {more}{_length(digits)}, received {_length(given)}")
    end = 0
    for field in [] if program is None else layout(program, packet, port):
        end = (field.start + field.width) // 4
        want, have = (_bits(each, field.start, field.width) for each in (digits, given))
        if want and not _fits(want, have):
            lines.append(f"  {field.name}: expected {_value(want)}, received {_value(have)}")
    rest, other = digits[end:], given[end:]
    wrong = [at for at, (want, have) in enumerate(zip(rest, other, strict=False)) if want not in ("*", have)]
    if wrong:
        first, last = wrong[0] // 2 * 2, min(wrong[-1] // 2 * 2 + 2, len(other))
        start, stop = (end + first) // 2, (end + last - 1) // 2
        where = f"byte {start}" if start == stop else f"bytes {start} to {stop}"
        lines.append(f"  {where}: expected {_shown(rest[first:last])}, received {_shown(other[first:last])}")
    lines += [f"  expected {_shown(digits)}{'$' if expected.exact else ''}", f"  received {_shown(given)}"]
    return lines


def _bits(digits: str, start: int, width: int) -> str:
    """Return bits of hexadecimal digits as a text of `0`, `1` and `*`; empty beyond the end."""
    first, last = start // 4, (start + width + 3) // 4
    if last > len(digits):
        return ""
    bits = "".join("****" if each == "*" else f"{int(each, 16):04b}" for each in digits[first:last])
    return bits[start - first * 4 : start - first * 4 + width]


def _fits(want: str, have: str) -> bool:
    return all(each in ("*", other) for each, other in zip(want, have, strict=False))


def _value(bits: str) -> str:
    """Return bits as a number, with `*` for digits that may be anything."""
    if "*" not in bits:
        return hex(int(bits, 2)) if bits else "nothing"
    padded = bits.rjust(-(-len(bits) // 4) * 4, "0")
    digits = [padded[at : at + 4] for at in range(0, len(padded), 4)]
    return "0x" + "".join("*" if "*" in each else f"{int(each, 2):x}" for each in digits)


def _length(digits: str) -> str:
    return f"{len(digits) // 2} bytes" + (" and a half" if len(digits) % 2 else "")


def _shown(digits: str) -> str:
    """Return digits in groups of four bytes."""
    upper = digits.upper()
    return " ".join(upper[at : at + 8] for at in range(0, len(upper), 8)) or "nothing"
