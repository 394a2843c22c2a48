"""Values of translated types (P4Runtime specification 1.5, section 18.6): the controller's, and the data plane's."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

from midflight.p4.types import Bits, Type
from midflight.runtime.engine.layout import scalar_width
from midflight.runtime.p4runtime.status import Code, Refusal
from midflight.runtime.p4runtime.values import decode, encode

__all__ = ["Codec", "Strings", "codec_of"]

MOST = 1 << 16
"""The maximum number of strings for one type that stand for no number of their own."""

LONGEST = 1024
"""The maximum bytes of a string."""

_DECIMAL = re.compile(r"0|[1-9]\d*")


class Strings:
    """The numbers in the data plane for the strings of one type. Thread-safe.

    A number in canonical decimal form stands for itself, so that ports can be called "1" and "2". Any other string gets
    the largest number that is free when it is first used, and keeps it.
    """

    def __init__(self, name: str, width: int) -> None:
        self.name = name
        self.width = width
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self._texts: dict[int, str] = {}
        self._plain: set[int] = set()

    def number(self, data: bytes, what: str) -> int:
        """Return the number of a string in UTF-8.

        Raises Refusal with INVALID_ARGUMENT for a string that is empty, too long or not UTF-8, and for a number that is
        too large or belongs to another string; with RESOURCE_EXHAUSTED if no number is free.
        """
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise Refusal(Code.INVALID_ARGUMENT, f"{what}: the string is not UTF-8") from None
        if not 0 < len(data) <= LONGEST:
            raise Refusal(Code.INVALID_ARGUMENT, f"{what}: a string has 1 to {LONGEST} bytes")
        with self._lock:
            if text in self._numbers:
                return self._numbers[text]
            if _DECIMAL.fullmatch(text):
                value = int(text)
                if value >> self.width or value in self._texts:
                    raise Refusal(Code.INVALID_ARGUMENT, f"{what}: {text} is not a free number of {self.width} bits")
                self._plain.add(value)
                return value
            return self._assign(text, what)

    def text(self, number: int) -> bytes:
        """Return the string of a number in UTF-8: its own, or its decimal form."""
        with self._lock:
            return self._texts.get(number, str(number)).encode()

    def adopt(self, other: Strings) -> None:
        """Replace this object's strings and numbers by a copy of those of `other`, a type with the same width."""
        with other._lock:
            numbers, plain = dict(other._numbers), set(other._plain)
        with self._lock:
            self._numbers = numbers
            self._texts = {number: text for text, number in numbers.items()}
            self._plain = plain

    def _assign(self, text: str, what: str) -> int:
        # Numbers in use are few, so the search is short.
        number = (1 << self.width) - 1 - len(self._numbers)
        while number in self._plain or number in self._texts:
            number -= 1
        if number < 0 or len(self._numbers) >= MOST:
            raise Refusal(Code.RESOURCE_EXHAUSTED, f"{what}: there is no number for another string of {self.name}")
        self._numbers[text], self._texts[number] = number, text
        return number


@dataclass(frozen=True, slots=True)
class Codec:
    """The form in which a value occurs in requests: bytes of at most `width` bits, or a string if `strings` is set."""

    width: int
    strings: Strings | None = None

    def decode(self, data: bytes, what: str) -> int:
        """Return the data plane's value.

        Raises Refusal with INVALID_ARGUMENT if the bytes are not a value of the type, and with RESOURCE_EXHAUSTED if
        there is no number for a new string.
        """
        if self.strings is not None:
            return self.strings.number(data, what)
        try:
            return decode(data, self.width, what)
        except Refusal as refusal:
            raise Refusal(Code.INVALID_ARGUMENT, refusal.message) from None

    def encode(self, value: int) -> bytes:
        """Return the data plane's value as controllers see it: canonical bytes, or the text of a string."""
        return encode(value) if self.strings is None else self.strings.text(value)


def codec_of(kind: Type, bitwidth: int, strings: dict[str, Strings]) -> Codec:
    """Return the codec of a type, which has `bitwidth` bits in P4Info (0 for a string).

    `strings` collects the types with strings, by name. Raises P4Error for a type that is neither a number nor a string.
    """
    if isinstance(kind, Bits) and kind.new is not None and kind.new.uri is not None and kind.new.width is None:
        name = kind.new.name
        return Codec(kind.width, strings.setdefault(name, Strings(name, kind.width)))
    return Codec(bitwidth or scalar_width(kind))
