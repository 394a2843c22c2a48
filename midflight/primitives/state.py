"""Reads and writes an application's registers on a running switch, with packets to and from its CPU port."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from midflight.errors import MidflightError, WireError
from midflight.primitives.record import FieldValue, Record, lane_dtype
from midflight.primitives.wire import COMMON, VERSION

__all__ = ["STATE", "STATE_DONE", "Exchange", "RegisterState", "State", "Values"]

STATE: Final = 16
"""The message kind (the common header's second byte) of a controller's request to read or write registers."""

STATE_DONE: Final = 17
"""The message kind of the switch's answer to a `STATE` request."""

Exchange = Callable[[Sequence[bytes]], Sequence[bytes]]
"""A function that sends packets to a switch's CPU port, waits, and returns one answer per packet, in their order.

It writes the packets' sequence numbers. `Session.inband` is one.
"""

Values = npt.NDArray[Any] | list[Any]
"""The elements of a register: an array, or for numbers of more than 64 bits a list; see `RegisterState.read`."""

_HEAD = 8  # bytes of the state header: a mask of the registers to write, and the index


class State:
    """The registers of one application on one switch, each as an attribute with its name in the kernel.

        state = program.state("gradients", session.inband)
        state.total.read()      # an array: a row for each element, a column for each lane
        state.seen.write([0, 0, 3], start=5)
        state.clear()

    `application` is the application's name, `description` its part of `Program.schema()`, and `exchange` sends packets
    to the switch. A packet carries one element of every register, so the elements of a row (one index in all registers)
    are a consistent snapshot; different rows are not. All methods wait for the switch's answers. They raise
    MidflightError if the switch does not run that application, and whatever `exchange` raises, for example without an
    answer. An unknown attribute also raises MidflightError.
    """

    def __init__(self, application: str, description: Mapping[str, Any], exchange: Exchange) -> None:
        self._application = application
        self._id = int(description["id"])
        self._exchange = exchange
        self._record = Record(f"{application}'s state", description["state"])
        self.registers: Mapping[str, RegisterState] = {
            each["name"]: RegisterState(self, number, each) for number, each in enumerate(description["state"])
        }
        """The registers by name, in creation order."""

    def __getattr__(self, name: str) -> RegisterState:
        registers = self.__dict__.get("registers", {})
        if name not in registers:
            there = ", ".join(registers) or "none"
            raise MidflightError(f"{self._application} has no register {name!r}", hint=f"it has {there}")
        found: RegisterState = registers[name]
        return found

    def __repr__(self) -> str:
        registers = ", ".join(f"{name}[{each.size}]" for name, each in self.registers.items())
        return f"<state of {self._application}: {registers or 'no registers'}>"

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.registers]

    def read(self) -> dict[str, Values]:
        """Return all elements of all registers, by register name; `RegisterState.read` describes their form.

        MidflightError if the switch runs another program or does not have the application.
        """
        size = max((each.size for each in self.registers.values()), default=0)
        rows = self.rows(range(size))
        return {name: each.array([row[name] for row in rows[: each.size]]) for name, each in self.registers.items()}

    def restore(self, values: Mapping[str, Values]) -> None:
        """Write values that `read` returned, by register name, to a switch whose registers hold their initial values.

        An index is sent, with the elements of all registers, only if one of them differs from its initial value. At
        other indexes, elements that were different before the call remain. Before anything is sent, KeyError if a
        register is missing in `values`, IndexError if one has too few elements, and WireError for numbers that do not
        fit. MidflightError if the switch runs another program or does not have the application.
        """
        size = max((each.size for each in self.registers.values()), default=0)
        requests = []
        for index in range(size):
            there = {name: values[name][index] for name, each in self.registers.items() if index < each.size}
            if any(np.any(np.asarray(value) != self.registers[name].initial) for name, value in there.items()):
                mask = sum(1 << number for number, name in enumerate(self.registers) if name in there)
                row = {name: there.get(name, each.zero) for name, each in self.registers.items()}
                requests.append(self._request(index, mask, row))
        self._ask(requests)

    def clear(self) -> None:
        """Set every element of every register to its initial value.

        One register after the other, and element by element: packets may pass in between. After an error, some
        elements may be cleared. MidflightError if the switch does not run the application.
        """
        for each in self.registers.values():
            each.clear()

    def rows(self, indexes: Sequence[int]) -> list[dict[str, FieldValue]]:
        """Return one row per index, in the same order: the element with that index in every register, by register name.

        An element is an int, or the lanes of a register with lanes. It is 0 for registers without that index.
        MidflightError if the switch runs another program or does not have the application.
        """
        empty = {name: each.zero for name, each in self.registers.items()}
        return self._ask([self._request(index, 0, empty) for index in indexes])

    def put(self, number: int, name: str, start: int, values: Sequence[FieldValue]) -> None:
        """Write consecutive elements of one register, from index `start` on. The indexes are not checked.

        `number` is the register's place in `registers`, from 0, and `name` its name. An element is an int, or one int
        per lane. WireError, before anything is written, for numbers that do not fit. MidflightError if the switch runs
        another program or does not have the application.
        """
        empty = {name: each.zero for name, each in self.registers.items()}
        self._ask([self._request(start + n, 1 << number, empty | {name: value}) for n, value in enumerate(values)])

    def _request(self, index: int, written: int, values: Mapping[str, FieldValue]) -> bytes:
        common = bytes((VERSION, STATE)) + self._id.to_bytes(2, "big") + bytes(COMMON - 4)
        return common + written.to_bytes(4, "big") + index.to_bytes(4, "big") + self._record.encode(values)

    def _ask(self, requests: Sequence[bytes]) -> list[dict[str, FieldValue]]:
        rows = []
        for answer in self._exchange(requests):
            if answer[1] != STATE_DONE:
                raise MidflightError(
                    f"the switch has no state of {self._application}",
                    hint="it runs another program, or does not have this application",
                )
            rows.append(self._record.decode(answer[COMMON + _HEAD :]))
        return rows


class RegisterState:
    """One register on a running switch: `size` elements of `lanes` numbers each, or of one number if `lanes` is None.

    `initial` is the value of each number after a restart of the switch. Methods send packets and wait, as in `State`.
    """

    def __init__(self, state: State, number: int, description: Mapping[str, Any]) -> None:
        self._state = state
        self._number = number
        self.name: str = description["name"]
        self.size: int = description["size"]
        self.lanes: int | None = description["count"]
        self.initial: int = description["initial"]
        self._dtype = lane_dtype(description["bits"], description["signed"])

    @property
    def zero(self) -> FieldValue:
        """An element with the value 0: an int, or a list with a 0 for each lane."""
        return 0 if self.lanes is None else [0] * self.lanes

    def read(self, start: int = 0, stop: int | None = None) -> Values:
        """Return the elements from index `start` to `stop`, exclusive, by default all; both are as in a slice.

        The result is an array with shape (elements,) or (elements, lanes), of the narrowest integer type that fits. It
        is a list for numbers of more than 64 bits. MidflightError if the switch does not run the application.
        """
        indexes = range(*slice(start, stop).indices(self.size))
        return self.array([row[self.name] for row in self._state.rows(indexes)])

    def write(self, values: Sequence[FieldValue] | npt.NDArray[Any] | int, start: int = 0) -> None:
        """Set consecutive elements from index `start` on. `values` has the shape that `read` returns.

        An int sets one element of a register without lanes. Raises WireError for numbers that do not fit, for elements
        of another shape, and for indexes outside the register, without writing anything. MidflightError if the switch
        does not run the application.
        """
        rows = list(self._rows(values))
        if not 0 <= start <= self.size - len(rows):
            raise WireError(f"{self.name} has elements 0 to {self.size - 1}, not {start} to {start + len(rows) - 1}")
        self._state.put(self._number, self.name, start, rows)

    def clear(self) -> None:
        """Set every number of every element to `initial`. MidflightError if the switch does not run the application."""
        element: FieldValue = self.initial if self.lanes is None else [self.initial] * self.lanes
        self._state.put(self._number, self.name, 0, [element] * self.size)

    def array(self, elements: Sequence[FieldValue]) -> Values:
        """Return elements, each an int or a sequence of one int per lane, as the array or list that `read` returns."""
        if self._dtype is None:
            return list(elements)
        shape = (len(elements),) if self.lanes is None else (len(elements), self.lanes)
        return np.array(elements, dtype=self._dtype).reshape(shape)

    def _rows(self, values: Any) -> Iterator[FieldValue]:
        if isinstance(values, (int, np.integer)):
            values = [values]
        for each in values:
            try:
                yield int(each) if self.lanes is None else [int(lane) for lane in each]
            except (TypeError, ValueError):
                form = "an int" if self.lanes is None else f"{self.lanes} ints, one for each lane"
                raise WireError(f"an element of {self.name} is {form}, not {each!r}") from None
