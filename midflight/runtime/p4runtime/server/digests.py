"""Digest lists from the data plane to its controllers (P4Runtime specification 1.5, section 9.7)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from finsy.proto import p4r

from midflight.runtime.engine import Digest
from midflight.runtime.p4runtime.schema import Schema
from midflight.runtime.p4runtime.status import Code, Refusal
from midflight.runtime.p4runtime.values import encode_data

__all__ = ["DigestBook"]

Message = tuple[int, ...]

UNACKNOWLEDGED = 1 << 14
"""The maximum number of unacknowledged messages of one digest. More are dropped and counted."""

LONGEST = 4096
"""The maximum number of messages in one list, even with a larger `max_list_size`."""


class _Sent:
    """The unacknowledged messages of one digest that have not timed out. Operations take constant time per message."""

    def __init__(self) -> None:
        self._messages: dict[Message, int] = {}  # the list that contains each
        self._lists: OrderedDict[int, tuple[int, list[Message]]] = OrderedDict()  # with their times, oldest first

    def __contains__(self, message: Message) -> bool:
        return message in self._messages

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, number: int, listed: list[Message], now: int) -> None:
        """Add a list that was sent."""
        self._lists[number] = now, listed
        self._messages.update((each, number) for each in listed)

    def drop(self, number: int) -> None:
        """Remove a list."""
        for each in self._lists.pop(number, (0, []))[1]:
            if self._messages.get(each) == number:
                del self._messages[each]

    def expire(self, before: int) -> None:
        """Remove the lists that were sent at `before` or earlier."""
        while self._lists:
            number = next(iter(self._lists))
            if self._lists[number][0] > before:
                return
            self.drop(number)


@dataclass(slots=True)
class _Waiting:
    """The distinct messages of the next list of one digest, and the time in microseconds when the first arrived."""

    since: int
    messages: dict[Message, None] = field(default_factory=dict)


class DigestBook:
    """The enabled digests, the messages of their next lists, and their unacknowledged messages.

    A list is sent when it has `max_list_size` messages, and `max_timeout_ns` after its first message arrived. `dropped`
    counts messages beyond `UNACKNOWLEDGED`.
    """

    def __init__(self, schema: Schema) -> None:
        self.configs: dict[int, p4r.DigestEntry.Config] = {}
        self.dropped = 0
        self._schema = schema
        self._sent: dict[int, _Sent] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._last = 0

    @property
    def due(self) -> int | None:
        """The time in microseconds at which the next list is to be sent even if it is not full; None without one."""
        return min((self._due(number) for number in self._waiting), default=None)

    @property
    def patience(self) -> int | None:
        """The shortest time in microseconds that a message may wait for its list to fill, over all enabled digests.

        None if every digest is sent at once.
        """
        return min((each.max_timeout_ns // 1000 for each in self.configs.values() if _size(each) > 1), default=None)

    def lists(self, messages: Iterable[Digest], now: int) -> list[p4r.DigestList]:
        """Return the lists to send at `now`, in microseconds, when these messages arrive.

        Messages of digests that are not enabled are ignored, and so are messages that equal one in the same list or an
        unacknowledged one. Messages beyond the limit of unacknowledged ones are counted in `dropped`.
        """
        by_name = {each.preamble.name: each.preamble.id for each in self._schema.digests}
        lists = [self._next(number, now) for number in list(self._waiting) if self._due(number) <= now]
        for number, each in self.configs.items():
            self._sent.setdefault(number, _Sent()).expire(now * 1000 - each.ack_timeout_ns)
        for message in messages:
            number = by_name.get(message.name, 0)
            config = self.configs.get(number)
            if config is None:
                continue
            waiting, sent = self._waiting.get(number) or _Waiting(now), self._sent[number]
            if message.values in waiting.messages or message.values in sent:
                continue
            if len(sent) + len(waiting.messages) >= UNACKNOWLEDGED:
                self.dropped += 1
                continue
            waiting.messages[message.values] = None
            self._waiting[number] = waiting
            if len(waiting.messages) >= _size(config):
                lists.append(self._next(number, now))
        return lists

    def rest(self, now: int) -> list[p4r.DigestList]:
        """Return the lists that are not full, to send them at `now`, in microseconds, because the program ends."""
        return [self._next(number, now) for number in list(self._waiting)]

    def acknowledge(self, digest_id: int, list_id: int) -> None:
        """Acknowledge a list, so that its messages may be sent again. Ignores an unknown list.

        Raises Refusal with INVALID_ARGUMENT for an unknown digest.
        """
        self._schema.digests.of_id(digest_id)
        if digest_id in self._sent:
            self._sent[digest_id].drop(list_id)

    def insert(self, digest_id: int, config: p4r.DigestEntry.Config) -> None:
        """Enable a digest.

        Raises Refusal with ALREADY_EXISTS if it is enabled, and with INVALID_ARGUMENT for an unknown digest.
        """
        name = self._name(digest_id)
        if digest_id in self.configs:
            raise Refusal(Code.ALREADY_EXISTS, f"{name} is already enabled")
        self.configs[digest_id] = config

    def modify(self, digest_id: int, config: p4r.DigestEntry.Config) -> None:
        """Change an enabled digest's configuration.

        Raises Refusal with NOT_FOUND if it is not enabled, and with INVALID_ARGUMENT for an unknown digest.
        """
        self.read(digest_id)
        self.configs[digest_id] = config

    def delete(self, digest_id: int) -> None:
        """Disable a digest, and forget its messages.

        Raises Refusal with NOT_FOUND if it is not enabled, and with INVALID_ARGUMENT for an unknown digest.
        """
        self.read(digest_id)
        del self.configs[digest_id]
        self._sent.pop(digest_id, None)
        self._waiting.pop(digest_id, None)

    def read(self, digest_id: int) -> p4r.DigestEntry.Config:
        """Return an enabled digest's configuration.

        Raises Refusal with NOT_FOUND if it is not enabled, and with INVALID_ARGUMENT for an unknown digest.
        """
        name = self._name(digest_id)
        if digest_id not in self.configs:
            raise Refusal(Code.NOT_FOUND, f"{name} is not enabled")
        return self.configs[digest_id]

    def _name(self, digest_id: int) -> str:
        return f"digest {self._schema.digests.of_id(digest_id).preamble.name}"

    def _due(self, number: int) -> int:
        """Return the time in microseconds at which the next list of a digest is to be sent."""
        config, waiting = self.configs[number], self._waiting[number]
        full = len(waiting.messages) >= _size(config)  # after a change of the configuration
        return waiting.since if full else waiting.since - -config.max_timeout_ns // 1000

    def _next(self, number: int, now: int) -> p4r.DigestList:
        """Return the next list of a digest, and begin another one."""
        digest, listed = self._schema.digests.of_id(number), list(self._waiting.pop(number).messages)
        self._last += 1
        if self.configs[number].ack_timeout_ns:
            self._sent[number].add(self._last, listed, now * 1000)
        message = p4r.DigestList(digest_id=number, list_id=self._last, timestamp=now * 1000)
        for values in listed:
            message.data.append(encode_data(digest.type_spec, self._schema.types, list(values)))
        return message


def _size(config: p4r.DigestEntry.Config) -> int:
    """Return the number of messages in a full list."""
    return min(config.max_list_size or LONGEST, LONGEST) if config.max_timeout_ns else 1
